# Redis' protocol, versions 2 and 3: replies and commands to bytes and back.
package SessionRedis::Resp;

use v5.26;
use warnings;
use experimental 'signatures';

use Exporter 'import';

our @EXPORT_OK = qw(array bulk command error integer map_of null parse_command parse_reply push_of simple);

# Replies, as bytes.
sub simple  ($text)   { return "+$text\r\n" }
sub error   ($text)   { return "-$text\r\n" }
sub integer ($number) { return ":$number\r\n" }
sub null    ()        { return "\$-1\r\n" }
sub bulk    ($bytes)  { return '$' . length($bytes) . "\r\n$bytes\r\n" }

# Of replies that are bytes already.
sub array   (@replies) { return '*' . @replies . "\r\n" . join '', @replies }
sub map_of  (@replies) { return '%' . @replies / 2 . "\r\n" . join '', @replies }
sub push_of (@replies) { return '>' . @replies . "\r\n" . join '', @replies }

# A command as a client sends it.
sub command (@words) {
    return array(map { bulk($_) } @words);
}

# Takes one reply from the front of a buffer. Returns [value], or undef while it is not whole. Null is
# undef, an array or a push a list, a map a hash, an error a SessionRedis::Resp::Error.
sub parse_reply ($buffer) {
    my $at = 0;
    my $value = eval { [read_reply($buffer, \$at)] };
    if (!$value) {
        return if ref $@;
        die $@;
    }
    substr $$buffer, 0, $at, '';
    return $value;
}

# Takes one command from the front of a buffer. Returns its words in a list, or undef.
sub parse_command ($buffer) {
    if ($$buffer =~ /\A\*/) {
        my $reply = parse_reply($buffer) // return;
        return $reply->[0];
    }
    return if $$buffer !~ s/\A([^\r\n]*)\r?\n//;
    return [split ' ', $1];
}

# Thrown, as a reference, by whatever finds the end of the buffer.
my $incomplete = \'incomplete';

sub read_reply ($buffer, $at) {
    my $line = read_line($buffer, $at);
    my ($type, $rest) = (substr($line, 0, 1), substr $line, 1);

    return $rest                                            if $type eq '+' || $type eq '(' || $type eq ',';
    return $rest + 0                                        if $type eq ':';
    return bless { message => $rest }, 'SessionRedis::Resp::Error' if $type eq '-';
    return undef                                            if $type eq '_' || $rest eq '-1';   ## no critic
    return $rest eq 't' ? 1 : 0                             if $type eq '#';
    return read_bytes($buffer, $at, $rest)                  if $type eq '$';
    return substr read_bytes($buffer, $at, $rest), 4        if $type eq '=';
    return bless { message => read_bytes($buffer, $at, $rest) }, 'SessionRedis::Resp::Error' if $type eq '!';
    return [map { scalar read_reply($buffer, $at) } 1 .. $rest] if $type =~ /[*~>]/;
    return { map { scalar read_reply($buffer, $at) } 1 .. 2 * $rest } if $type eq '%';
    if ($type eq '|') {
        read_reply($buffer, $at) for 1 .. 2 * $rest;
        return read_reply($buffer, $at);
    }
    die "not a reply: $line\n";
}

sub read_line ($buffer, $at) {
    my $end = index $$buffer, "\r\n", $$at;
    die $incomplete if $end < 0;
    my $line = substr $$buffer, $$at, $end - $$at;
    $$at = $end + 2;
    return $line;
}

sub read_bytes ($buffer, $at, $length) {
    die $incomplete if length $$buffer < $$at + $length + 2;
    my $bytes = substr $$buffer, $$at, $length;
    $$at += $length + 2;
    return $bytes;
}

package SessionRedis::Resp::Error;

use overload '""' => sub { $_[0]{message} }, fallback => 1;

1;
