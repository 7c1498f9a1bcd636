# Everything that a test needs beside the blocks, in one "use": servers of its
# own, clients, sessions. t/README.md shows how; each function is described
# where it lives. Works with this driver and with OpenResty's.
package SessionRedis;

use v5.26;
use warnings;
use experimental 'signatures';

use ChaosProxy               ();
use Exporter 'import';
use FakeDns                  ();
use FakeMemcached            ();
use FakeRedis                ();
use SessionRedis::Apps       qw(have_node have_php start_node start_php);
use SessionRedis::Cluster    ();
use SessionRedis::Http       qw(header http http2 leave many open_connection raw_http read_response request_bytes);
use SessionRedis::Memcached  ();
use SessionRedis::Nginx      qw(h2_listen nginx_test nginx_version);
use SessionRedis::Process    qw(alive children freeze free_port have resident_kb stop temp_dir thaw wait_for);
use SessionRedis::Redis      ();
use SessionRedis::Sessions   qw(express_cookie fixture fixture_names store_fixture url_encode);

our @EXPORT = qw(
    alive chaos_proxy children express_cookie fake_dns fake_memcached fake_redis fixture fixture_names free_port freeze h2_listen have have_node
    have_php header http http2 leave many nginx_test nginx_version open_connection quiet_logs raw_http read_response
    request_bytes resident_kb start_cluster start_memcached start_nginx start_node start_php start_redis stop store_fixture temp_dir thaw url_encode
    wait_for
);

# Servers. Blocks reach them by the environment: start_redis also sets $TEST_NGINX_REDIS_PORT and
# $TEST_NGINX_REDIS_SOCKET, or what "env" names instead of REDIS.
sub start_redis (%how) {
    my $redis = SessionRedis::Redis->start(%how);
    publish($redis, $how{env} // 'REDIS');
    return $redis;
}

# Nodes on ports of their own, which no block reaches.
sub start_cluster (%how) {
    return SessionRedis::Cluster->start(%how);
}

sub fake_redis (%how) {
    my $fake = FakeRedis->start(%how);
    publish($fake, $how{env} // 'FAKE');
    return $fake;
}

# A memcached, $TEST_NGINX_MEMCACHED_PORT and $TEST_NGINX_MEMCACHED_SOCKET, and one that follows a script.
sub start_memcached (%how) {
    my $memcached = SessionRedis::Memcached->start(%how);
    publish($memcached, $how{env} // 'MEMCACHED');
    return $memcached;
}

sub fake_memcached (%how) {
    my $fake = FakeMemcached->start(%how);
    publish($fake, $how{env} // 'FAKE_MEMCACHED');
    return $fake;
}

sub chaos_proxy (%how) {
    my $proxy = ChaosProxy->start(%how);
    publish($proxy, $how{env} // 'CHAOS');
    return $proxy;
}

# A name server; blocks write "resolver 127.0.0.1:$TEST_NGINX_DNS_PORT".
sub fake_dns (%how) {
    my $dns = FakeDns->start(%how);
    $ENV{TEST_NGINX_DNS_PORT} = $dns->port;
    return $dns;
}

sub start_nginx (%how) {
    return SessionRedis::Nginx->start(%how);
}

# A block without "no_error_log" must leave nothing worse than an error in its log, unless its "error_log" names it.
sub quiet_logs () {
    Test::Nginx::Socket::add_block_preprocessor(sub {
        my ($block) = @_;
        return if defined $block->no_error_log || defined $block->must_die;
        my $wanted = $block->error_log // '';
        my @all    = map { "$_" } ref $wanted eq 'ARRAY' ? grep { defined } @$wanted : $wanted;
        my @quiet  = grep { my $level = $_; !grep { index(s/\\//gr, $level) >= 0 } @all } qw([alert] [crit] [emerg] panicked);
        $block->set_value('no_error_log', join "\n", @quiet);
    });
    return;
}

sub publish ($server, $name) {
    $ENV{"TEST_NGINX_${name}_PORT"}   = $server->port;
    $ENV{"TEST_NGINX_${name}_SOCKET"} = $server->socket;
    return;
}

1;
