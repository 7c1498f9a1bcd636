# A name server with a table that a test changes while it runs.
package FakeDns;

use v5.26;
use warnings;
use experimental 'signatures';

use IO::Socket::INET;
use SessionRedis::Loop qw(ask start_loop);
use Socket qw(AF_INET AF_INET6 inet_pton);

use constant { A => 1, AAAA => 28, NXDOMAIN => 3, SERVFAIL => 2 };

# Ends when the object goes. %names: name => [addresses of either family], "silence", "servfail", or { delay => s, to => [addresses] }.
# A name that is not in the table does not exist; one with no address of the family asked for has none.
sub start ($class, %names) {
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Proto => 'udp') or die "name server: $!\n";
    my $self = bless { port => $socket->sockport }, $class;
    $self->{remote} = start_loop(sub ($loop) {
        my ($table, $count) = ({%names}, {});
        $loop->reads($socket, sub { answer($loop, $socket, $table, $count) });
        return {
            set   => sub (%more) { %$table = (%$table, %more); 1 },
            count => sub ($name) { $count->{$name} // 0 },
        };
    });
    return $self;
}

sub port ($self) { return $self->{port} }

# Changes entries from now on.
sub set ($self, %names) { return ask($self->{remote}, 'set', %names) }

# How often a name was asked for, in either family.
sub count ($self, $name) { return ask($self->{remote}, 'count', $name) }

sub answer ($loop, $socket, $table, $count) {
    my $from = recv $socket, my $query, 512, 0;
    return if !defined $from || length $query < 17;
    my ($name, $type, $question) = question_of($query);
    $count->{$name}++;
    my $entry = $table->{$name};
    return if defined $entry && !ref $entry && $entry eq 'silence';
    my $delay = ref $entry eq 'HASH' ? $entry->{delay} : 0;
    my $to    = ref $entry eq 'HASH' ? $entry->{to} : $entry;
    my $code  = !defined $to ? NXDOMAIN : ref $to ? 0 : SERVFAIL;
    my @data  = ref $to ? grep { defined } map { inet_pton($type == AAAA ? AF_INET6 : AF_INET, $_) } grep { (/:/ ? AAAA : A) == $type } @$to : ();
    my $reply = pack('a2 n n n n n', $query, 0x8180 | $code, 1, scalar @data, 0, 0) . $question
        . join '', map { pack('n n n N n/a*', 0xC00C, $type, 1, 1, $_) } @data;
    my $send = sub { send $socket, $reply, 0, $from };
    $delay ? $loop->after($delay, $send) : $send->();
    return;
}

sub question_of ($query) {
    my ($at, @labels) = (12);
    while (my $length = ord substr $query, $at, 1) {
        push @labels, substr $query, $at + 1, $length;
        $at += 1 + $length;
    }
    return (lc join('.', @labels), unpack('n', substr $query, $at + 1, 2), substr $query, 12, $at + 5 - 12);
}

1;
