# Real Sentinels of the test's own on loopback: one master, replicas, and those
# who watch them; and what they say when masters change.
package SessionRedis::Sentinel;

use v5.26;
use warnings;
use experimental 'signatures';

use SessionRedis::Process qw(fork_server free_port spawn stop temp_dir wait_for);
use SessionRedis::Redis   ();
use SessionRedis::Resp    qw(array bulk integer);
use Time::HiRes           qw(sleep time);

# The name that they know the master by.
use constant MASTER => 'mymaster';

# %how: replicas (2), sentinels (3), quorum (2), down_after (500, ms), password (of the servers), users (ACL lines of
# the servers), sentinel_password, sentinel_users (of the Sentinels), tls => { ca, certificate } of SessionRedis::Certificates
# (all of them then speak TLS to each other, and to us where it matters). Waits until all know each other.
sub start ($class, %how) {
    my $self = bless { replicas => 2, sentinels => 3, quorum => 2, down_after => 500, %how, dir => temp_dir() }, $class;
    my @servers = map { free_port() } 0 .. $self->{replicas};
    $self->{servers} = [map { $self->start_server($_, $_ == $servers[0] ? () : $servers[0]) } @servers];
    $self->{watchers} = [map { my $port = free_port(); { port => $port, listens => $self->{tls} ? free_port() : $port } } 1 .. $self->{sentinels}];
    for my $at (0 .. $#{ $self->{watchers} }) {
        $self->write_config($at, $servers[0]);
        $self->up($at);
    }
    wait_for(sub { $self->is_formed }, what => 'Sentinels that know each other', seconds => 30, every => 0.05);
    $self->begin_events;
    return $self;
}

# Ports of the Sentinels, and where they are as the directive "sentinel" wants it.
sub ports ($self) { return map { $_->{listens} } $self->{watchers}->@* }
sub hosts ($self) { return join ' ', map { "127.0.0.1:$_" } $self->ports }

# The server that most Sentinels say is the master, as SessionRedis::Redis.
sub master ($self) {
    my %votes;
    for my $at (0 .. $#{ $self->{watchers} }) {
        my $answer = eval { $self->ask($at, 'SENTINEL', 'GET-MASTER-ADDR-BY-NAME', MASTER) } // next;
        $votes{ $answer->[1] }++;
    }
    my ($port) = sort { $votes{$b} <=> $votes{$a} } keys %votes;
    return $self->server_at($port // 0);
}

# The server that the Sentinels know by this port.
sub server_at ($self, $port) { return (grep { $_->{listens} == $port } $self->{servers}->@*)[0] }

# All servers but this one.
sub others ($self, $server) { return grep { $_ != $server } $self->{servers}->@* }

# Ends a Sentinel, starts it (again), stops and continues it; by its place from 0.
sub down   ($self, $at) { stop(delete $self->{watchers}[$at]{pid}, signal => 'KILL') if $self->{watchers}[$at]{pid}; return }
sub freeze ($self, $at) { SessionRedis::Process::freeze($self->{watchers}[$at]{pid}); return }
sub thaw   ($self, $at) { SessionRedis::Process::thaw($self->{watchers}[$at]{pid}); return }

sub up ($self, $at) {
    my $watcher = $self->{watchers}[$at];
    return if $watcher->{pid};
    my $binary = $self->{servers}[0]{binary};
    $watcher->{pid} = spawn([$binary, $watcher->{conf}, '--sentinel'], log => "$self->{dir}/log.$at", dir => $self->{dir});
    wait_for(sub { eval { $self->ask($at, 'PING') } }, what => 'a Sentinel', seconds => 10);
    return;
}

# A command to a Sentinel, over a connection of its own; its reply.
sub ask ($self, $at, @words) {
    my @login = defined $self->{sentinel_password} ? (password => $self->{sentinel_password}) : ();
    return SessionRedis::Redis::Client->connect($self->{watchers}[$at]{port}, @login)->cmd(@words);
}

# What the Sentinels have announced: [time, port of the Sentinel, channel, message], in order.
sub events ($self) {
    open my $in, '<', "$self->{dir}/events" or return;
    return map { chomp; [split / /, $_, 4] } grep { /\n\z/ } <$in>;
}

# Waits until a Sentinel announces another master, after this time; returns when that was, and the new master.
sub election ($self, $since, %how) {
    my $name  = MASTER;
    my $event = wait_for(sub {
        my ($first) = grep { $_->[0] > $since && $_->[2] eq '+switch-master' && $_->[3] =~ /\A$name / } $self->events;
        return $first;
    }, what => 'an election', seconds => 30, every => 0.02, %how);
    my ($port) = $event->[3] =~ / (\d+)\z/;
    return ($event->[0], $self->server_at($port));
}

# Waits until all replicas have what was written to the master.
sub replicated ($self) {
    my $master = $self->master;
    my $count  = grep { $_ != $master && $_->pid } $self->{servers}->@*;
    return $master->cmd('WAIT', $count, 5000);
}

# Waits until the Sentinels agree on a master, with all servers that live as its replicas.
sub settled ($self) {
    return wait_for(sub { $self->is_formed }, what => 'a topology that is whole again', seconds => 60, every => 0.1);
}

sub is_formed ($self) {
    my @alive   = grep { $_->{pid} } $self->{watchers}->@*;
    my @servers = grep { $_->pid } $self->{servers}->@*;
    my %masters;
    for my $at (grep { $self->{watchers}[$_]{pid} } 0 .. $#{ $self->{watchers} }) {
        my %known = eval { $self->ask($at, 'SENTINEL', 'MASTER', MASTER)->@* } or return 0;
        $masters{ $known{port} } = 1;
        return 0 if $known{flags} ne 'master' || $known{'num-other-sentinels'} < @alive - 1;
        my @replicas = map { { @$_ } } eval { $self->ask($at, 'SENTINEL', 'REPLICAS', MASTER)->@* };
        return 0 if @servers - 1 != grep { $_->{flags} eq 'slave' && $_->{'master-link-status'} eq 'ok' } @replicas;
    }
    return keys %masters == 1;
}

# For a fake Redis that is to be a Sentinel: what it does, if the master is there.
sub says ($host, $port) {
    my $confirmed = sub ($kind) { join '', map { array(bulk($kind), bulk("+$_"), integer(1)) } 1 .. 4 };
    return (
        SENTINEL    => array(bulk($host), bulk($port)),
        SUBSCRIBE   => $confirmed->('subscribe'),
        UNSUBSCRIBE => $confirmed->('unsubscribe'),
    );
}

# What a Sentinel tells its subscribers when the master is there from now on.
sub switch_event ($host, $port) {
    return array(bulk('message'), bulk('+switch-master'), bulk(MASTER . " 127.0.0.1 1 $host $port"));
}

sub start_server ($self, $port, $master = undef) {
    my %config = ('repl-diskless-sync-delay' => 0, 'repl-ping-replica-period' => 1, ($self->{config} // {})->%*);
    $config{masterauth} = $self->{password} if defined $self->{password};
    $config{replicaof} = "127.0.0.1 $master" if defined $master;
    %config = (%config, 'tls-port' => $port, $self->tls) if $self->{tls};
    my $server = SessionRedis::Redis->start(
        port => $self->{tls} ? free_port() : $port, password => $self->{password}, users => $self->{users}, config => \%config);
    $server->{listens} = $port;
    return $server;
}

# What servers and Sentinels that speak TLS have in common.
sub tls ($self) {
    my ($ca, $certificate) = $self->{tls}->@{qw(ca certificate)};
    return (
        'tls-cert-file' => $certificate->{file}, 'tls-key-file' => $certificate->{key}, 'tls-ca-cert-file' => $ca->file,
        'tls-auth-clients' => 'no', 'tls-replication' => 'yes',
    );
}

sub write_config ($self, $at, $master) {
    my $watcher = $self->{watchers}[$at];
    $watcher->{conf} = "$self->{dir}/sentinel.$at.conf";
    my $name = MASTER;
    open my $out, '>', $watcher->{conf} or die "$watcher->{conf}: $!\n";
    print {$out} <<~"END";
        port $watcher->{port}
        bind 127.0.0.1
        dir $self->{dir}
        sentinel monitor $name 127.0.0.1 $master $self->{quorum}
        sentinel down-after-milliseconds $name $self->{down_after}
        sentinel failover-timeout $name 3000
        END
    print {$out} "sentinel auth-pass $name $self->{password}\n" if defined $self->{password};
    if ($self->{tls}) {
        my %tls = ('tls-port' => $watcher->{listens}, $self->tls);
        print {$out} "$_ $tls{$_}\n" for sort keys %tls;
    }
    print {$out} "requirepass $self->{sentinel_password}\n" if defined $self->{sentinel_password};
    print {$out} "$_\n" for ($self->{sentinel_users} // [])->@*;
    close $out;
    return;
}

# A process that writes down what the Sentinels announce, and when.
sub begin_events ($self) {
    my @ports = map { $_->{port} } $self->{watchers}->@*;
    fork_server(sub {
        open my $out, '>', "$self->{dir}/events" or die "events: $!\n";
        $out->autoflush(1);
        my %open;
        while (1) {
            for my $port (grep { !$open{$_} } @ports) {
                $open{$port} = eval { $self->subscribed($port) } or delete $open{$port};
            }
            my $ready = '';
            vec($ready, fileno $_->{socket}, 1) = 1 for values %open;
            select $ready, undef, undef, 0.1;
            for my $port (grep { vec $ready, fileno $open{$_}{socket}, 1 } keys %open) {
                my $event = eval { $open{$port}->reply };
                delete $open{$port}, next if !$event;
                printf {$out} "%.6f %d %s %s\n", time, $port, @$event[2, 3] if $event->[0] eq 'pmessage';
                redo if length $open{$port}{in};
            }
        }
    });
    wait_for(sub { -e "$self->{dir}/events" }, what => 'who writes down events');
    return;
}

sub subscribed ($self, $port) {
    my @login  = defined $self->{sentinel_password} ? (password => $self->{sentinel_password}) : ();
    my $client = SessionRedis::Redis::Client->connect($port, @login);
    $client->cmd('PSUBSCRIBE', '*');
    return $client;
}

1;
