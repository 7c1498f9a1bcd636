# A Redis that does what a script says, for what a real one cannot be made to
# do. Without a script for a command it behaves (GET and SET of "data", AUTH,
# SELECT, HELLO, PING, …).
#
# A script is a hash of actions by command. An action is
#   "bytes"                   the reply, as bytes (bulk, simple, error, … of SessionRedis::Resp make them)
#   [steps]                   several, as SessionRedis::Writer knows them: bytes, { delay }, { bytes, split, every },
#                             { close }, { reset }, { silence }; [] is no reply at all
#   { sequence => [actions] } the first time the first, and so on; the last one stays
#   undef, "default"          as a real one
#   sub ($words, $connection) code that returns an action; only in start()
# The pseudo-command "connect" is what happens when a connection is accepted; "*" is any command without its own.
package FakeRedis;

use v5.26;
use warnings;
use experimental 'signatures';

use IO::Socket::INET;
use SessionRedis::Loop    qw(ask start_loop);
use SessionRedis::Process qw(temp_dir wait_for);

# Commands kept for commands(), at most.
use constant LOG_LENGTH => 100_000;

# %how: on => { command => action }, data => { key => value }, listen => "accept" (as usual), "never" (the kernel
# takes connections, nobody accepts them) or "full" (not even the kernel does: connecting hangs).
sub start ($class, %how) {
    my $self = bless { socket => temp_dir() . '/fake.sock' }, $class;
    my $tcp  = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $how{port} // 0, ReuseAddr => 1)
        or die "fake Redis: $!\n";
    $self->{port} = $tcp->sockport;
    $self->{remote} = start_loop(sub ($loop) { "${class}::Server"->new($loop, $tcp, $self->{socket}, %how)->answers });
    return $self;
}

sub port     ($self) { return $self->{port} }
sub socket   ($self) { return $self->{socket} }
sub pid      ($self) { return $self->{remote}{pid} }
sub url      ($self) { return "redis://127.0.0.1:$self->{port}" }
sub unix_url ($self) { return "redis+unix://$self->{socket}" }

# Changes actions from now on (for what comes in later, on open connections too).
sub on ($self, %script) { return ask($self->{remote}, 'on', \%script) }

# Forgets actions given, counts and sequences; data stays.
sub behave ($self) { return ask($self->{remote}, 'behave') }

sub set_data ($self, %data) { return ask($self->{remote}, 'set_data', \%data) }

# How often a command came (any command without a name); connections accepted so far; open now;
# how many reads they came in, which tells pipelining.
sub count       ($self, $command = undef) { return ask($self->{remote}, 'count', $command) }
sub connections ($self) { return ask($self->{remote}, 'connections') }
sub open_now    ($self) { return ask($self->{remote}, 'open_now') }
sub reads       ($self) { return ask($self->{remote}, 'reads') }

# What came: [[number of the connection, word, …], …].
sub commands ($self) { return ask($self->{remote}, 'commands')->@* }

# Counts, and the commands kept, begin anew.
sub reset_counts ($self) { return ask($self->{remote}, 'reset_counts') }

# Bytes that nobody asked for, to every open connection.
sub push_bytes ($self, $bytes) { return ask($self->{remote}, 'push_bytes', $bytes) }

# Ends every open connection; reset => 1: by RST.
sub close_all ($self, %how) { return ask($self->{remote}, 'close_all', \%how) }

# Refuses connections and ends those open; takes them again, at the same port and socket.
sub down ($self) { return ask($self->{remote}, 'down') }
sub up   ($self) { return ask($self->{remote}, 'up') }

sub wait_for_command ($self, $command, $times = 1, %how) {
    return wait_for(sub { $self->count($command) >= $times }, what => "$command at the fake Redis", %how);
}

sub stop ($self) { return SessionRedis::Process::stop($self->pid) }

# The half that runs in the other process.
package FakeRedis::Server;

use v5.26;
use warnings;
use experimental 'signatures';

use IO::Socket::INET;
use IO::Socket::UNIX;
use SessionRedis::Resp qw(array bulk error integer map_of null parse_command simple);
use SessionRedis::Writer;
use Socket qw(IPPROTO_TCP SOCK_STREAM TCP_NODELAY);

sub new ($class, $loop, $tcp, $path, %how) {
    my $self = bless {
        loop => $loop, path => $path, port => $tcp->sockport, mode => $how{listen} // 'accept',
        script => normal($how{on} // {}), data => { ($how{data} // {})->%* },
        count => {}, turn => {}, log => [], open => {}, accepted => 0, reads => 0,
    }, $class;
    $self->listen($tcp);
    return $self;
}

sub answers ($self) {
    return {
        on           => sub ($script) { $self->{script} = { $self->{script}->%*, normal($script)->%* }; $self->forget_turns($script) },
        behave       => sub () { $self->{script} = {}; $self->reset_counts },
        set_data     => sub ($data) { $self->{data} = { $self->{data}->%*, %$data }; 1 },
        count        => sub ($name) { defined $name ? $self->{count}{ uc $name } // 0 : $self->total },
        connections  => sub () { $self->{accepted} },
        open_now     => sub () { scalar keys $self->{open}->%* },
        reads        => sub () { $self->{reads} },
        commands     => sub () { $self->{log} },
        reset_counts => sub () { $self->reset_counts },
        push_bytes   => sub ($bytes) { $_->{writer}->add($bytes) for values $self->{open}->%*; 1 },
        close_all    => sub ($how) { $_->{writer}->end(%$how) for values $self->{open}->%*; 1 },
        down         => sub () { $self->down },
        up           => sub () { $self->listen if !$self->{listeners}->@*; 1 },
    };
}

# Commands are known by their names in capitals.
sub normal ($script) {
    return { map { (/\A(?:connect|\*)\z/ ? $_ : uc, $script->{$_}) } keys %$script };
}

sub forget_turns ($self, $script) {
    delete $self->{turn}{$_} for keys normal($script)->%*;
    return 1;
}

sub reset_counts ($self) {
    @$self{qw(count turn log accepted reads)} = ({}, {}, [], 0, 0);
    return 1;
}

sub total ($self) {
    my $sum = 0;
    $sum += $_ for values $self->{count}->%*;
    return $sum;
}

sub listen ($self, $tcp = undef) {
    $tcp //= IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $self->{port}, ReuseAddr => 1) // die "fake Redis: $!\n";
    my $backlog = $self->{mode} eq 'full' ? 0 : 1024;
    CORE::listen $tcp, $backlog or die "listen: $!\n";   # IO::Socket would make 5 of 0
    unlink $self->{path};
    my $unix = IO::Socket::UNIX->new(Local => $self->{path}, Type => SOCK_STREAM, Listen => 1) // die "fake Redis: $!\n";
    CORE::listen $unix, $backlog;
    chmod 0777, $self->{path};
    $self->{listeners} = [$tcp, $unix];
    if ($self->{mode} eq 'accept') {
        for my $listener ($tcp, $unix) {
            $listener->blocking(0);
            $self->{loop}->reads($listener, sub { $self->accept_all($listener) });
        }
    } elsif ($self->{mode} eq 'full') {
        $self->fill_backlog;
    }
    return;
}

sub down ($self) {
    for my $listener ($self->{listeners}->@*) {
        $self->{loop}->forget($listener);
        close $listener;
    }
    $self->{listeners} = [];
    unlink $self->{path};
    $_->{writer}->end for values $self->{open}->%*;
    return 1;
}

# Takes all the places that the kernel has for connections nobody accepted yet.
sub fill_backlog ($self) {
    for (1 .. 4) {
        push $self->{fillers}->@*,
            IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}, Blocking => 0),
            IO::Socket::UNIX->new(Peer => $self->{path}, Blocking => 0);
    }
    return;
}

sub accept_all ($self, $listener) {
    while (my $socket = $listener->accept) {
        setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1 if $listener->isa('IO::Socket::INET');
        my $id = ++$self->{accepted};
        my $connection = { id => $id, in => '', commands => 0 };
        $connection->{writer} = SessionRedis::Writer->new($self->{loop}, $socket, sub { delete $self->{open}{$id} });
        $self->{open}{$id} = $connection;
        $self->{loop}->reads($socket, sub { $self->read_commands($connection, $socket) });
        $self->act($connection, 'connect', ['connect']) if exists $self->{script}{connect};
    }
    return;
}

sub read_commands ($self, $connection, $socket) {
    my $got = sysread $socket, $connection->{in}, 65536, length $connection->{in};
    return if !defined $got && $!{EAGAIN};
    return $connection->{writer}->end if !$got;
    $self->{reads}++;
    while (1) {
        my $words = eval { $self->parse(\$connection->{in}) };
        if ($@) {
            $connection->{in} = '';
            return $connection->{writer}->add(error("ERR Protocol error: $@" =~ s/\n.*//sr), { close => 1 });
        }
        last if !$words;
        $self->obey($connection, $words) if @$words;
    }
    return;
}

# A command off the front of what came, as words.
sub parse ($self, $in) { return parse_command($in) }

sub obey ($self, $connection, $words) {
    my $name = uc $words->[0];
    $self->{count}{$name}++;
    $connection->{commands}++;
    push $self->{log}->@*, [$connection->{id}, @$words] if $self->{log}->@* < FakeRedis::LOG_LENGTH;
    $self->act($connection, exists $self->{script}{$name} ? $name : '*', $words);
    return;
}

sub act ($self, $connection, $name, $words) {
    my $action = $self->resolve($self->{script}{$name}, $name, $words, $connection);
    $action = $self->default_reply($words) if !defined $action || !ref $action && $action eq 'default';
    $connection->{writer}->add(ref $action eq 'ARRAY' ? @$action : $action);
    return;
}

sub resolve ($self, $action, $name, $words, $connection) {
    while (ref $action eq 'CODE' || ref $action eq 'HASH' && $action->{sequence}) {
        if (ref $action eq 'CODE') {
            $action = $action->($words, $connection);
        } else {
            my $turn = $self->{turn}{$name}++;
            my $last = $action->{sequence}->$#*;
            $action = $action->{sequence}[$turn < $last ? $turn : $last];
        }
    }
    return $action;
}

sub default_reply ($self, $words) {
    my ($name, @rest) = (uc $words->[0], @$words[1 .. $#$words]);
    my $data = $self->{data};
    state $fixed = { PING => simple('PONG'), AUTH => simple('OK'), SELECT => simple('OK'), CLIENT => simple('OK') };
    return $fixed->{$name} if $fixed->{$name};
    if ($name eq 'GET') { return defined $data->{ $rest[0] } ? bulk($data->{ $rest[0] }) : null() }
    if ($name eq 'SET') { $data->{ $rest[0] } = $rest[1]; return simple('OK') }
    if ($name eq 'DEL' || $name eq 'UNLINK') { return integer(scalar grep { defined } delete @$data{@rest}) }
    if ($name =~ /\AP?EXPIRE\z/) { return integer(exists $data->{ $rest[0] } ? 1 : 0) }
    if ($name =~ /\AP?TTL\z/) { return integer(exists $data->{ $rest[0] } ? -1 : -2) }
    if ($name eq 'HELLO') {
        my @pairs = (bulk('server'), bulk('redis'), bulk('version'), bulk('7.0.15'), bulk('proto'), integer($rest[0] // 2));
        return ($rest[0] // 2) == 3 ? map_of(@pairs) : array(@pairs);
    }
    if ($name eq 'QUIT') { return [simple('OK'), { close => 1 }] }
    return error("ERR unknown command '$words->[0]'");
}

1;
