# Bytes of one response, or of several that follow each other, read as HTTP/1.
package BlockTest::Response;

use v5.26;
use warnings;
use experimental 'signatures';

use Exporter 'import';

our @EXPORT_OK = qw(parse_response header);

# Returns { code, raw_headers (status line and fields), fields => [[name, value] …], body,
# left (bytes after this response), error }. A response that never came has the code "".
sub parse_response ($bytes, %how) {
    return { code => '', raw_headers => '', fields => [], body => '', left => '' } if $bytes eq '';
    return { code => 200, raw_headers => '', fields => [], body => $bytes, left => '' } if $how{http09};

    my ($head, $rest) = $bytes =~ /\A(.*?\r?\n)\r?\n(.*)\z/s ? ($1, $2) : ($bytes, '');
    my ($status, @lines) = split /\r?\n/, $head;
    my (undef, $code) = split ' ', $status // '', 3;
    my %response = (
        code        => defined $code && $code =~ /\A\d+\z/ ? $code : '',
        raw_headers => $head,
        fields      => fields(@lines),
        body        => $rest,
        left        => '',
    );
    read_body(\%response, $how{head});
    return \%response;
}

# The value of a field; several of one name are joined by commas.
sub header ($response, $name) {
    my @values = map { $_->[1] } grep { same_name($_->[0], $name) } $response->{fields}->@*;
    return @values ? join ', ', @values : undef;
}

sub same_name ($one, $other) {
    return lc($one =~ tr/_/-/r) eq lc($other =~ tr/_/-/r);
}

sub fields (@lines) {
    my @fields;
    for my $line (@lines) {
        if ($line =~ /\A([^\s:]+)[ \t]*: ?(.*)\z/s) {
            push @fields, [$1, $2];
        } elsif (@fields && $line =~ /\A[ \t]/) {
            $fields[-1][1] .= "\n$line";
        }
    }
    return \@fields;
}

sub read_body ($response, $is_head) {
    my $code = $response->{code};
    if ($is_head || $code eq '304' || $code eq '204' || $code =~ /\A1/) {
        @$response{qw(body left)} = ('', $response->{body});
        return;
    }
    if ((header($response, 'Transfer-Encoding') // '') eq 'chunked') {
        return read_chunks($response);
    }
    my $length = header($response, 'Content-Length');
    return if !defined $length || $length !~ /\A\d+\z/;
    my $there = length $response->{body};
    if ($there < $length) {
        warn "response body cut off: $length bytes announced, $there came\n";
    } else {
        $response->{left} = substr $response->{body}, $length, $there, '';
    }
    return;
}

sub read_chunks ($response) {
    my $raw  = $response->{body};
    my $body = '';
    while ($raw =~ /\G[ \t]*([0-9A-Fa-f]+)[^\r\n]*\r\n/gc) {
        my $size = hex $1;
        if ($size == 0) {
            if ($raw !~ /\G(?:[^\r\n]+\r\n)*\r\n/gc) {
                $response->{error} = 'the last chunk is cut off';
            }
            @$response{qw(body left)} = ($body, substr $raw, pos $raw);
            return;
        }
        my $start = pos $raw;
        if (length $raw < $start + $size + 2 || substr($raw, $start + $size, 2) ne "\r\n") {
            $response->{error} = 'a chunk is cut off or too long';
            return;
        }
        $body .= substr $raw, $start, $size;
        pos($raw) = $start + $size + 2;
    }
    $response->{error} = 'no last chunk';
    return;
}

1;
