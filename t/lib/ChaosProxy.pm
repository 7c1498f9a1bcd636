# Stands between nginx and a Redis and does to what passes what a bad network
# does: delays it, splits it, ends the connection. What it does is drawn from a
# seeded generator, so that a run can be had again.
package ChaosProxy;

use v5.26;
use warnings;
use experimental 'signatures';

use IO::Socket::INET;
use SessionRedis::Loop    qw(ask start_loop);
use SessionRedis::Process qw(temp_dir);
use Socket                qw(SO_RCVBUF SOL_SOCKET);

# %how: to (port or path of the Redis), seed, and what is done to a chunk of bytes that arrived, each with its
# probability from 0 to 1: delay, split (to single bytes), close, reset (both in the middle of the chunk), and
# refuse (a new connection is closed at once). delay_time => [from, to] (s), split_every (s).
# direction: both (default), request, reply. receive: bytes that the system takes for it before it reads them.
sub start ($class, %how) {
    my $self = bless { socket => temp_dir() . '/chaos.sock' }, $class;
    my $tcp = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 1024) or die "proxy: $!\n";
    setsockopt $tcp, SOL_SOCKET, SO_RCVBUF, $how{receive} if $how{receive};
    $self->{port}   = $tcp->sockport;
    $self->{remote} = start_loop(sub ($loop) { ChaosProxy::Server->new($loop, $tcp, $self->{socket}, %how)->answers });
    return $self;
}

sub port     ($self) { return $self->{port} }
sub socket   ($self) { return $self->{socket} }
sub pid      ($self) { return $self->{remote}{pid} }
sub url      ($self) { return "redis://127.0.0.1:$self->{port}" }
sub unix_url ($self) { return "redis+unix://$self->{socket}" }

# Changes probabilities and times from now on.
sub set ($self, %how) { return ask($self->{remote}, 'set', \%how) }

# { connections, open, chunks, delay, split, close, reset, refuse }: how often each was done.
sub counts ($self) { return ask($self->{remote}, 'counts') }

# Ends every connection; reset => 1: by RST.
sub close_all ($self, %how) { return ask($self->{remote}, 'close_all', \%how) }

sub stop ($self) { return SessionRedis::Process::stop($self->pid) }

# The half that runs in the other process.
package ChaosProxy::Server;

use v5.26;
use warnings;
use experimental 'signatures';

use IO::Socket::INET;
use IO::Socket::UNIX;
use SessionRedis::Writer;
use Socket qw(IPPROTO_TCP SOCK_STREAM TCP_NODELAY);

sub new ($class, $loop, $tcp, $path, %how) {
    my $self = bless {
        loop => $loop, direction => 'both', delay_time => [0.001, 0.02], split_every => 0, %how,
        counts => { map { $_ => 0 } qw(connections chunks delay split close reset refuse) }, open => {},
    }, $class;
    srand($how{seed} // 1);
    my $unix = IO::Socket::UNIX->new(Local => $path, Type => SOCK_STREAM, Listen => 1024) or die "proxy: $!\n";
    chmod 0777, $path;
    for my $listener ($tcp, $unix) {
        $listener->blocking(0);
        $loop->reads($listener, sub { $self->accept_all($listener) });
    }
    return $self;
}

sub answers ($self) {
    return {
        set       => sub ($how) { @$self{ keys %$how } = values %$how; srand $how->{seed} if defined $how->{seed}; 1 },
        counts    => sub () { return { $self->{counts}->%*, open => scalar keys $self->{open}->%* } },
        close_all => sub ($how) { $_->(%$how) for values $self->{open}->%*; 1 },
    };
}

# Draws whether something happens, and counts it.
sub happens ($self, $what) {
    return 0 if !$self->{$what} || rand() >= $self->{$what};
    $self->{counts}{$what}++;
    return 1;
}

sub accept_all ($self, $listener) {
    while (my $client = $listener->accept) {
        my $id = ++$self->{counts}{connections};
        my $server = $self->happens('refuse') ? undef : open_server($self->{to});
        if (!$server) {
            close $client;
            next;
        }
        setsockopt $_, IPPROTO_TCP, TCP_NODELAY, 1 for grep { $_->isa('IO::Socket::INET') } $client, $server;
        $self->join_up($id, $client, $server);
    }
    return;
}

sub join_up ($self, $id, $client, $server) {
    my ($to_client, $to_server);
    my $end = sub (%how) {
        delete $self->{open}{$id} or return;
        $_->end(%how) for $to_client, $to_server;
        undef $_ for $to_client, $to_server;
    };
    $self->{open}{$id} = $end;
    $to_client = SessionRedis::Writer->new($self->{loop}, $client, $end);
    $to_server = SessionRedis::Writer->new($self->{loop}, $server, $end);
    $self->{loop}->reads($client, sub { $self->pass($client, $to_server, 'request') });
    $self->{loop}->reads($server, sub { $self->pass($server, $to_client, 'reply') });
    return;
}

sub pass ($self, $from, $to, $direction) {
    my $got = sysread $from, my $bytes, 16384;
    return if !defined $got && $!{EAGAIN};
    if (!$got) {
        $self->{loop}->reads($from);
        return $to->add({ close => 1 });
    }
    $self->{counts}{chunks}++;
    if ($self->{direction} ne 'both' && $self->{direction} ne $direction) {
        return $to->add($bytes);
    }
    $to->add($self->fate_of($bytes));
    return;
}

# The steps that take the place of simply passing the bytes on.
sub fate_of ($self, $bytes) {
    my @steps;
    if ($self->happens('delay')) {
        my ($least, $most) = $self->{delay_time}->@*;
        push @steps, { delay => $least + rand($most - $least) };
    }
    for my $end (qw(close reset)) {
        return (@steps, substr($bytes, 0, int rand length $bytes), { $end => 1 }) if $self->happens($end);
    }
    return (@steps, { bytes => $bytes, split => 1, every => $self->{split_every} }) if $self->happens('split');
    return (@steps, $bytes);
}

sub open_server ($to) {
    return $to =~ m{/} ? IO::Socket::UNIX->new(Peer => $to) : IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $to);
}

1;
