# A name server for nginx's resolver, whose names the test changes as it goes.
# Names: name => address, list of addresses (IPv4 or IPv6), [] (the name is there and has none), or
# "silence" (no answer); a name that is not given does not exist.
package FakeDns;

use v5.26;
use warnings;
use experimental 'signatures';

use IO::Socket::INET;
use SessionRedis::Loop    qw(ask start_loop);
use SessionRedis::Process ();

# %how: names => { … }, ttl (s, 1), delay (s, 0).
sub start ($class, %how) {
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Proto => 'udp') or die "fake DNS: $!\n";
    my $remote = start_loop(sub ($loop) { FakeDns::Server->new($loop, $socket, %how)->answers });
    return bless { port => $socket->sockport, remote => $remote }, $class;
}

sub port ($self) { return $self->{port} }
sub pid  ($self) { return $self->{remote}{pid} }

# Changes names, and forgets those whose address is undef.
sub names ($self, %names) { return ask($self->{remote}, 'names', \%names) }

# Changes ttl or delay.
sub set ($self, %how) { return ask($self->{remote}, 'set', \%how) }

# How often a name was asked for (A and AAAA).
sub count ($self, $name) { return ask($self->{remote}, 'count', $name) }

sub stop ($self) { return SessionRedis::Process::stop($self->pid) }

# The half that runs in the other process.
package FakeDns::Server;

use v5.26;
use warnings;
use experimental 'signatures';

use Socket qw(AF_INET AF_INET6 inet_pton);

# Of RFC 1035 and 3596: types, and the header's flags of an answer (authoritative; 3: no such name).
use constant { TYPE_A => 1, TYPE_AAAA => 28, FLAGS => 0x8580, NO_SUCH_NAME => 3, IN => 1 };

# In an answer: the name asked for, which stands after the header.
use constant NAME_POINTER => 0xc00c;

sub new ($class, $loop, $socket, %how) {
    my $self = bless { loop => $loop, socket => $socket, ttl => 1, delay => 0, names => {}, count => {}, %how }, $class;
    $loop->reads($socket, sub { $self->receive });
    return $self;
}

sub answers ($self) {
    return {
        set   => sub ($how) { @$self{ keys %$how } = values %$how; 1 },
        count => sub ($name) { $self->{count}{$name} // 0 },
        names => sub ($names) {
            for my $name (keys %$names) {
                defined $names->{$name} ? $self->{names}{$name} = $names->{$name} : delete $self->{names}{$name};
            }
            1;
        },
    };
}

sub receive ($self) {
    my $from = recv $self->{socket}, my $query, 4096, 0;
    return if !defined $from || length $query < 17;
    my $reply = $self->reply($query) // return;
    $self->{loop}->after($self->{delay}, sub { send $self->{socket}, $reply, 0, $from });
    return;
}

sub reply ($self, $query) {
    my ($id)  = unpack 'n', $query;
    my $at    = 12;
    my @labels;
    while (my $length = ord substr $query, $at, 1) {
        push @labels, substr $query, $at + 1, $length;
        $at += 1 + $length;
    }
    my $question = substr $query, 12, $at + 5 - 12;
    my ($type)   = unpack 'n', substr $query, $at + 1;
    my $name     = lc join '.', @labels;
    $self->{count}{$name}++;

    my $known = $self->{names}{$name};
    return if defined $known && $known eq 'silence';
    my @packed = map { address($_, $type) } ref $known ? @$known : $known // ();
    my $flags  = FLAGS | (defined $known ? 0 : NO_SUCH_NAME);
    my @records = map { pack 'n n n N n/a*', NAME_POINTER, $type, IN, $self->{ttl}, $_ } @packed;
    return pack('n6', $id, $flags, 1, scalar @records, 0, 0) . join '', $question, @records;
}

# An address as bytes, if it is of the type asked for.
sub address ($text, $type) {
    my $family = $text =~ /:/ ? AF_INET6 : AF_INET;
    return if $type != ($family == AF_INET6 ? TYPE_AAAA : TYPE_A);
    return inet_pton($family, $text);
}

1;
