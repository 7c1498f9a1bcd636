# A block's "request", "raw_request", "pipelined_requests" and "more_headers"
# as what is sent: a list of requests, each a list of packets
# { value => bytes, delay_before => seconds }.
package BlockTest::Request;

use v5.26;
use warnings;
use experimental 'signatures';

use BlockTest::Config   qw(expand);
use BlockTest::Settings qw(%set);
use Exporter 'import';

our @EXPORT_OK = qw(requests);

sub requests ($block) {
    if (defined $block->raw_request) {
        my $raw = $block->raw_request;
        return [map { { value => $_ } } ref $raw ? @$raw : $raw];
    }
    if (defined $block->pipelined_requests) {
        my @all = map { expand($_) } $block->pipelined_requests->@*;
        return [{ value => join '', map { whole([$all[$_]], $block, $_, $_ == $#all ? 'close' : 'keep-alive') } 0 .. $#all }];
    }
    my $request = $block->request // die "no request\n";
    if (!ref $request) {
        1 while $request =~ s/\A(?:\s*\#[^\n]+\s+|\s+)//;
        $request = [$request];
    }
    return map { packets($request->[$_], $block, $_) } 0 .. $#$request;
}

# One of several requests: a string, or a list of strings and { value, delay_before }.
sub packets ($request, $block, $index) {
    my @given = map { ref ? {%$_} : { value => $_ } } ref $request ? @$request : $request;
    my @bytes = whole([map { $_->{value} } @given], $block, $index, 'close');
    return [map { { $given[$_]->%*, value => $bytes[$_] } } 0 .. $#given];
}

# Completes a request (line and body as the block gives them) with a version and headers, and
# returns it cut where it was cut before.
sub whole ($pieces, $block, $index, $connection) {
    my $text = join '', @$pieces;
    my ($line, $eol, $body) = $text =~ /\A([^\n]*)(\n|\z)(.*)\z/s;
    my ($space, $method, $url, $version, $end) = $line =~ /\A(\s*)(\S+)(?: +(\S+))?(?: +(\S+))?(\s*)\z/
        or die "request line is not \"method [url [version]]\": \"$line\"\n";

    my ($more, $chunked) = more_headers($block, $index);
    if (!$chunked && $more !~ /^Content-Length:/m) {
        $body =~ s/\A\s+|\s+\z//g;
        $more .= 'Content-Length: ' . length($body) . "\r\n" if length $body;
    }
    my $head = join ' ', $method, $url // '/', $version // 'HTTP/1.1';
    my $fields = "\r\n";
    $fields .= "Host: $set{server_name}\r\n"   if $more !~ /^Host:/mi;
    $fields .= "Connection: $connection\r\n" if $more !~ /^Connection/mi;
    $fields .= "$more\r\n";
    return $head . $fields . $body if @$pieces == 1;
    return cut($pieces, length $line . $eol, $head, $fields, $body);
}

# Cuts the completed request at the places where the given one was cut: in the line and in the
# body at the same bytes; the headers stand where the line ends.
sub cut ($pieces, $line_length, $head, $fields, $body) {
    my @out;
    my $offset = 0;
    my $sent_fields;
    for my $piece (@$pieces) {
        my $end  = $offset + length $piece;
        my $part = '';
        if ($offset < $line_length) {
            my $last = $end >= $line_length;
            my $from = $offset < length $head ? $offset : length $head;
            $part .= $last ? substr $head, $from : substr $head, $from, length $piece;
            $part .= $fields if $last;
        }
        if ($end > $line_length) {
            my $from = $offset > $line_length ? $offset - $line_length : 0;
            $part .= substr $body, $from, $end - $line_length - $from if $from < length $body;
        }
        push @out, $part;
        $offset = $end;
    }
    return @out;
}

# Returns the header lines as sent, and whether they announce a chunked body.
sub more_headers ($block, $index) {
    my $given = $block->more_headers // '';
    $given = $given->[$index] // die "more_headers has no entry for request $index\n" if ref $given;
    my ($out, $chunked) = ('', 0);
    for my $line (split /\n+/, $given) {
        next if $line =~ /^\s*\#/;
        my ($name, $value) = split /:\s*/, $line, 2;
        $value //= '';
        $chunked = 1 if lc $name eq 'transfer-encoding' && $value eq 'chunked';
        $out .= "$name: $value\r\n";
    }
    return ($out, $chunked);
}

1;
