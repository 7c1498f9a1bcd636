# A real redis-server of the test's own, on a free port and a Unix socket,
# which keeps nothing on disk; and a client that speaks to it.
package SessionRedis::Redis;

use v5.26;
use warnings;
use experimental 'signatures';

use IO::Socket::INET;
use IO::Socket::UNIX;
use SessionRedis::Process qw(alive free_port in_path spawn stop temp_dir wait_for);

# %how: password (requirepass), users (list of ACL lines: "user web on >pw ~sess:* +get"), maxclients,
# config (hash of other directives). Waits until it answers.
sub start ($class, %how) {
    my $self = bless { %how, dir => temp_dir(), port => $how{port} // free_port() }, $class;
    $self->{binary} = in_path('redis-server', 'valkey-server') // die "no redis-server installed\n";
    $self->write_config;
    $self->up;
    return $self;
}

sub port   ($self) { return $self->{port} }
sub pid    ($self) { return $self->{pid} }
sub socket ($self) { return "$self->{dir}/redis.sock" }

# As session_redis wants it.
sub url      ($self, $database = 0) { return "redis://127.0.0.1:$self->{port}/$database" }
sub unix_url ($self, $database = 0) { return 'redis+unix://' . $self->socket . "?db=$database" }

# Runs a command as the superuser, and returns its reply: undef for null, a list for an array. Dies of an error. The
# connection is kept, and made anew where the server has ended it, as one does that becomes a replica.
sub cmd ($self, @words) {
    my $kept  = $self->{client};
    my $reply = eval { $self->ask_once(@words) };
    $reply = eval { $self->ask_once(@words) } if $kept && $@ =~ /\A(?:writing to Redis|Redis closed)/;
    die $@ if $@;
    return $reply;
}

sub ask_once ($self, @words) {
    $self->{client} //= $self->client(password => $self->{password});
    my $reply = eval { $self->{client}->cmd(@words) };
    return $reply if !$@;
    delete $self->{client} if !ref $@;
    die $@;
}

# A connection of its own. %how: user, password, database.
sub client ($self, %how) {
    return SessionRedis::Redis::Client->connect($self->socket, %how);
}

# A section of INFO as a hash.
sub info ($self, $section = 'all') {
    return { map { /\A([^#:][^:]*):(.*?)\r?\z/ ? ($1, $2) : () } split /\n/, $self->cmd('INFO', $section) };
}

# Ends it at once; data is lost.
sub down ($self) {
    delete $self->{client};
    stop(delete $self->{pid}, signal => 'KILL') if $self->{pid};
    return;
}

# Starts it (again), at the same port and socket.
sub up ($self) {
    return if $self->{pid};
    $self->{pid} = spawn([$self->{binary}, "$self->{dir}/redis.conf"], log => "$self->{dir}/log", dir => $self->{dir});
    wait_for(sub {
        alive($self->{pid}) or die 'redis-server does not start: ', $self->log;
        return eval { $self->cmd('PING') };
    }, what => 'redis-server', seconds => 10);
    return;
}

# Accepts connections and answers nothing, until it is thawed.
sub freeze ($self) { SessionRedis::Process::freeze($self->{pid}); return }
sub thaw   ($self) { SessionRedis::Process::thaw($self->{pid}); return }

sub log ($self) {
    open my $in, '<', "$self->{dir}/log" or return '';
    local $/;
    return <$in>;
}

sub write_config ($self) {
    my %config = (
        port => $self->{port}, bind => '127.0.0.1 -::1', unixsocket => $self->socket, unixsocketperm => 777,
        save => '""', appendonly => 'no', daemonize => 'no', dir => $self->{dir},
        $self->{maxclients} ? (maxclients => $self->{maxclients}) : (),
        defined $self->{password} ? (requirepass => $self->{password}) : (),
        ($self->{config} // {})->%*,
    );
    open my $out, '>', "$self->{dir}/redis.conf" or die "redis.conf: $!\n";
    print {$out} "$_ $config{$_}\n" for sort keys %config;
    print {$out} "$_\n" for ($self->{users} // [])->@*;
    close $out;
    return;
}

package SessionRedis::Redis::Client;

use v5.26;
use warnings;
use experimental 'signatures';

use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use SessionRedis::Resp qw(command parse_reply);

# Longer than any answer of a Redis that runs.
use constant TIMEOUT => 5;

# To a port number or the path of a Unix socket.
sub connect ($class, $where, %how) {
    my $socket = $where =~ m{/} ? IO::Socket::UNIX->new(Peer => $where)
        : IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $where, Timeout => TIMEOUT);
    die "no connection to $where: $!\n" if !$socket;
    my $self = bless { socket => $socket, in => '' }, $class;
    $self->cmd('AUTH', defined $how{user} ? $how{user} : (), $how{password}) if defined $how{password};
    $self->cmd('SELECT', $how{database}) if $how{database};
    return $self;
}

# Dies, with the error as an object, when the reply is one.
sub cmd ($self, @words) {
    $self->send_bytes(command(@words));
    my $reply = $self->reply;
    die $reply if ref $reply eq 'SessionRedis::Resp::Error';
    return $reply;
}

sub send_bytes ($self, $bytes) {
    local $SIG{PIPE} = 'IGNORE';
    my $sent = syswrite $self->{socket}, $bytes;
    die "writing to Redis: $!\n" if !defined $sent || $sent != length $bytes;
    return;
}

# The next reply, errors too as a value.
sub reply ($self) {
    while (1) {
        my $found = parse_reply(\$self->{in});
        return $found->[0] if $found;
        IO::Select->new($self->{socket})->can_read(TIMEOUT) or die "no reply from Redis\n";
        sysread $self->{socket}, $self->{in}, 65536, length $self->{in} or die "Redis closed the connection\n";
    }
}

1;
