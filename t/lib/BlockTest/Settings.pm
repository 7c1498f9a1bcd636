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

# The default port of the real driver.
use constant DEFAULT_PORT => 1984;

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

if ($ENV{TEST_NGINX_RANDOMIZE}) {
    $set{port}        = free_port();
    $set{client_port} = $set{port};
    $set{root}        = File::Spec->rel2abs("t/servroot_$set{port}");
} else {
    $set{port} = $ENV{TEST_NGINX_SERVER_PORT} || $ENV{TEST_NGINX_PORT} || DEFAULT_PORT;
    $set{client_port} = $ENV{TEST_NGINX_CLIENT_PORT} || $set{port};
    $set{root} = File::Spec->rel2abs($ENV{TEST_NGINX_SERVROOT} || 't/servroot');
}
$ENV{TEST_NGINX_SERVER_ROOT} = $set{root};

# A file or directory below the server root.
sub path (@parts) {
    return File::Spec->catfile($set{root}, @parts);
}

# A TCP port of 127.0.0.1 that nobody listens on just now.
sub free_port () {
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 1)
        or die "no free port: $!\n";
    return $socket->sockport;
}

1;
