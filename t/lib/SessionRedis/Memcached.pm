# A real memcached of the test's own, on a free port or, with socket => 1, on a Unix socket; and a client that
# speaks its text protocol.
package SessionRedis::Memcached;

use v5.26;
use warnings;
use experimental 'signatures';

use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use SessionRedis::Process qw(alive free_port in_path spawn stop temp_dir wait_for);

# Longer than any answer of a memcached that runs.
use constant TIMEOUT => 5;

# %how: users (hash of name => password: only they are let in), socket, args (more of its command line). Waits until it
# listens.
sub start ($class, %how) {
    my $self = bless { %how, dir => temp_dir(), port => free_port() }, $class;
    $self->{binary} = in_path('memcached') // die "no memcached installed\n";
    $self->up;
    return $self;
}

sub port   ($self) { return $self->{port} }
sub pid    ($self) { return $self->{pid} }
sub socket ($self) { return "$self->{dir}/memcached.sock" }

# As session_redis wants it.
sub url ($self) { return $self->{socket} ? 'memcached+unix://' . $self->socket : "memcached://127.0.0.1:$self->{port}" }

sub freeze ($self) { return SessionRedis::Process::freeze($self->{pid}) }
sub thaw   ($self) { return SessionRedis::Process::thaw($self->{pid}) }

# Items.
sub set ($self, $key, $value, %how) {
    return $self->line(sprintf "set %s %u %d %d\r\n%s", $key, $how{flags} // 0, $how{ttl} // 0, length $value, $value);
}

# The value, and its flags; nothing where there is none.
sub get ($self, $key) {
    my $head = $self->line("get $key");
    my ($flags, $length) = $head =~ /\AVALUE \S+ (\d+) (\d+)\z/ or return;
    my $value = $self->bytes($length + 2);
    $self->reply_line;
    return wantarray ? (substr($value, 0, $length), $flags) : substr $value, 0, $length;
}

# Seconds left: -1 without an end, undef where there is no item.
sub ttl ($self, $key) {
    my ($ttl) = $self->line("mg $key t") =~ /\AHD t(-?\d+)\z/;
    return $ttl;
}

sub delete ($self, $key) { return $self->line("delete $key") }

# A number of "stats".
sub stat ($self, $name) {
    my $value;
    my $line = $self->line('stats');
    while ($line ne 'END') {
        $value = $1 if $line =~ /\ASTAT \Q$name\E (\S+)\z/;
        $line = $self->reply_line;
    }
    return $value;
}

# Sends a line; returns the first line of the answer.
sub line ($self, $line) {
    my $socket = $self->connection;
    local $SIG{PIPE} = 'IGNORE';
    syswrite $socket, "$line\r\n" or die "writing to memcached: $!\n";
    return $self->reply_line;
}

# Ends it at once; data is lost.
sub down ($self) {
    delete $self->{client};
    stop(delete $self->{pid}, signal => 'KILL') if $self->{pid};
    return;
}

# Starts it (again), at the same port or socket.
sub up ($self) {
    return if $self->{pid};
    unlink $self->socket;
    my @where = $self->{socket} ? ('-s', $self->socket, '-a', '777') : ('-l', '127.0.0.1', '-p', $self->{port}, '-U', '0');
    my @users = $self->{users} ? ('-Y', $self->auth_file) : ();
    my @owner = $> == 0 ? ('-u', 'root') : ();
    $self->{pid} = spawn([$self->{binary}, @where, @users, @owner, ($self->{args} // [])->@*], log => "$self->{dir}/log");
    wait_for(sub {
        alive($self->{pid}) or die "memcached does not start, see what it says:\n", slurp("$self->{dir}/log");
        return $self->open_socket;
    }, what => 'memcached');
    return;
}

sub auth_file ($self) {
    my $path = "$self->{dir}/users";
    open my $out, '>', $path or die "$path: $!\n";
    print {$out} "$_:$self->{users}{$_}\n" for sort keys $self->{users}->%*;
    close $out;
    return $path;
}

sub open_socket ($self) {
    return $self->{socket} ? IO::Socket::UNIX->new(Peer => $self->socket)
        : IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}, Timeout => TIMEOUT);
}

sub connection ($self) {
    return $self->{client}{socket} if $self->{client};
    $self->{client} = { in => '', socket => $self->open_socket // die "no connection to memcached: $!\n" };
    if ($self->{users}) {
        my ($user) = sort keys $self->{users}->%*;
        my $line = "$user $self->{users}{$user}";
        my $answer = $self->line('set auth 0 0 ' . length($line) . "\r\n$line");
        die "memcached does not let us in: $answer\n" if $answer ne 'STORED';
    }
    return $self->{client}{socket};
}

sub reply_line ($self) {
    my $client = $self->{client};
    $self->more while $client->{in} !~ /\r\n/;
    $client->{in} =~ s/\A(.*?)\r\n//s;
    return $1;
}

sub bytes ($self, $count) {
    my $client = $self->{client};
    $self->more while length $client->{in} < $count;
    return substr $client->{in}, 0, $count, '';
}

sub more ($self) {
    my $client = $self->{client};
    IO::Select->new($client->{socket})->can_read(TIMEOUT) or die "no reply from memcached\n";
    sysread $client->{socket}, $client->{in}, 65536, length $client->{in} or die "memcached closed the connection\n";
    return;
}

sub slurp ($path) {
    open my $in, '<', $path or return '';
    local $/;
    return <$in> // '';
}

1;
