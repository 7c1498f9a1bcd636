# What the environment and the test file set for all blocks, under the names
# that Test::Nginx::Socket documents.
package BlockTest::Settings;

use v5.26;
use warnings;
use experimental 'signatures';

use Exporter 'import';
use File::Spec    ();
use IO::Socket::INET;

our @EXPORT_OK = qw(%set path free_port);

our %set = (
    binary             => $ENV{TEST_NGINX_BINARY} || 'nginx',
    load_modules       => $ENV{TEST_NGINX_LOAD_MODULES} // '',
    log_level          => $ENV{TEST_NGINX_LOG_LEVEL} || 'debug',
    master             => $ENV{TEST_NGINX_MASTER_PROCESS} || 'off',
    event_type         => $ENV{TEST_NGINX_EVENT_TYPE},
    worker_user        => $ENV{TEST_NGINX_WORKER_USER},
    timeout            => $ENV{TEST_NGINX_TIMEOUT} || 3,
    sleep              => $ENV{TEST_NGINX_SLEEP} || 0.015,
    verbose            => $ENV{TEST_NGINX_VERBOSE},
    no_shuffle         => $ENV{TEST_NGINX_NO_SHUFFLE},
    no_clean           => $ENV{TEST_NGINX_NO_CLEAN},
    force_restart      => $ENV{TEST_NGINX_FORCE_RESTART_ON_TEST},
    use_valgrind       => $ENV{TEST_NGINX_USE_VALGRIND},
    accumulate_log     => $ENV{TEST_NGINX_CHECK_ACCUM_ERR_LOG},
    workers            => 1,
    worker_connections => 64,
    repeat_each        => 1,
    server_addr        => '127.0.0.1',
    server_name        => 'localhost',
    config_preamble    => '',
    no_root_location   => 0,
    env                => [],
    owner              => $$,
);

# Unless told otherwise, a port of its own, and with it a server root: suites may run side by side.
$set{port} = $ENV{TEST_NGINX_RANDOMIZE} ? undef : $ENV{TEST_NGINX_SERVER_PORT} || $ENV{TEST_NGINX_PORT};
$set{own_root} = !$set{port} && !$ENV{TEST_NGINX_SERVROOT};
$set{port} ||= own_port();
$set{client_port} = !$ENV{TEST_NGINX_RANDOMIZE} && $ENV{TEST_NGINX_CLIENT_PORT} || $set{port};
$set{root} = File::Spec->rel2abs($set{own_root} ? "t/servroot_$set{port}" : $ENV{TEST_NGINX_SERVROOT} || 't/servroot');
$ENV{TEST_NGINX_SERVER_ROOT} = $set{root};

# A file or directory below the server root.
sub path (@parts) {
    return File::Spec->catfile($set{root}, @parts);
}

# A port for nginx, below those that the kernel gives to connections of others until nginx listens there.
sub own_port () {
    for (1 .. 100) {
        my $port = 10_000 + int rand 20_000;
        next if -e "t/servroot_$port";
        my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1, ReuseAddr => 1) or next;
        return $port;
    }
    return free_port();
}

# A TCP port of 127.0.0.1 that nobody listens on just now.
sub free_port () {
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 1)
        or die "no free port: $!\n";
    return $socket->sockport;
}

1;
