# A network at its worst between nginx and Redis: delays past the timeout,
# replies in pieces, connections that end anywhere. Many requests fail then;
# none gets the session of another.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use StoreTest;
use Test::More;

my $sessions = 1000;
my $answers  = $ENV{SESSION_REDIS_LONG} ? 100_000 : 6_000;

my $redis = start_redis();
for my $n (1 .. $sessions) {
    # Of all sizes, so that replies fall on every boundary of a read.
    $redis->cmd('SET', key($n), sprintf('{"pad":"%s","user":"u%d"}', 'x' x ($n * 7 % 3000), $n), 'PX', 100_000_000 + 1_000_000 * $n);
}

# Asks until so many requests were answered with a session; counts those that got a wrong one.
sub torment ($nginx, $path, $expected, $wanted) {
    my %count = (right => 0, wrong => 0, failed => 0, other => 0, asked => 0);
    my ($worker) = $nginx->workers;
    while ($count{right} < $wanted && $count{asked} < 40 * $wanted) {
        my $offset = $count{asked};
        my $result = many(port => $nginx->port, count => 2000, at_once => 32, timeout => 20,
            request => sub ($i) { request($path, 1 + ($offset + $i) * 13 % $sessions, keepalive => $i % 4) },
            each => sub ($i, $response) {
                my $n = 1 + ($offset + $i) * 13 % $sessions;
                my $kind = $response->{code} == 503 ? 'failed' : $response->{code} != 200 ? 'other' : $expected->($n, $response->{body}) ? 'right' : 'wrong';
                $count{$kind}++;
                diag "session $n: $response->{body}" if $kind eq 'wrong';
            });
        $count{asked} += 2000;
        $count{lost}  += $result->{lost} + $result->{timed_out} + $result->{refused};
        last if $count{wrong} > 10;
    }
    is($count{wrong}, 0, 'never a wrong user');
    cmp_ok($count{right}, '>=', $wanted, "in $wanted answers");
    is($count{other}, 0, 'a request is served or refused');
    is($count{lost}, 0, 'and answered');
    is_deeply([$nginx->workers], [$worker], 'the worker lives');
    is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]/), 0, 'without an alert');
    note join ', ', map { "$_: $count{$_}" } sort keys %count;
    return;
}

my $user = sub ($n, $body) { $body eq "user=u$n\n" };
my $life = sub ($n, $body) { $body =~ /user=(\d+)\n/ && abs($1 - 100_000 - 1000 * $n) < 900 };

my @front = (log_level => 'warn', worker_connections => 1024, http => 'keepalive_requests 100000;');

subtest 'replies' => sub {
    my $chaos = chaos_proxy(to => $redis->port, seed => 11, direction => 'reply', split => 0.1, delay => 0.02, delay_time => [0.001, 0.15], close => 0.01, reset => 0.01);
    my $nginx = session_nginx(url => $chaos->url, store => 'timeout 60ms;', @front);
    torment($nginx, '/need', $user, $answers / 2);
    my $done = $chaos->counts;
    cmp_ok($done->{$_}, '>', 5, "$_: $done->{$_}") for qw(split delay close reset);
};

subtest 'both directions, several connections, two commands, refused connections' => sub {
    my $chaos = chaos_proxy(to => $redis->port, seed => 12, split => 0.05, delay => 0.02, delay_time => [0.001, 0.15], close => 0.002, reset => 0.002, refuse => 0.2);
    my $nginx = session_nginx(url => $chaos->url, store => 'timeout 60ms; connections 3; retry 2;', life => 1, @front);
    torment($nginx, '/ttl', $life, $answers / 4);
};

subtest 'two servers over Unix sockets, with a password and a database' => sub {
    my @chaos = map { chaos_proxy(to => $redis->socket, seed => $_, split => 0.1, delay => 0.02, delay_time => [0.001, 0.15], close => 0.005, reset => 0.005) } 21, 22;
    my $block = join ' ', map { 'server unix:' . $_->socket . ' max_fails=2 fail_timeout=1s;' } @chaos;
    my $nginx = session_nginx(url => 'redis://block', store => 'timeout 60ms;', @front, http => "keepalive_requests 100000; upstream block { $block }");
    torment($nginx, '/need', $user, $answers / 4);
};

# The nodes announce the proxies' ports, so that redirects and the map lead through them too.
subtest 'a cluster' => sub {
    my $cluster = start_cluster(replicas => 0, node_timeout => 60_000);
    my %node;
    for my $n (1 .. $sessions) {
        my $key = key($n);
        push $node{ $cluster->node_of($key) }->@*, ($key, $redis->cmd('GET', $key));
    }
    for my $node ($cluster->nodes) {
        $node->cmd('SET', splice $node{$node}->@*, 0, 2) while $node{$node}->@*;
    }
    my @chaos = map { chaos_proxy(to => $_->port, seed => 30 + $_->port % 7, split => 0.1, delay => 0.02, delay_time => [0.001, 0.15], close => 0.005, reset => 0.005, refuse => 0.05) } $cluster->nodes;
    my @nodes = $cluster->nodes;
    $nodes[$_]->cmd('CONFIG', 'SET', 'cluster-announce-port', $chaos[$_]->port) for 0 .. $#nodes;
    wait_for(sub {
        my %ports = map { $_->[2][1] => 1 } map { $_->cmd('CLUSTER', 'SLOTS')->@* } @nodes;
        return join(',', sort keys %ports) eq join ',', sort map { $_->port } @chaos;
    }, what => 'the ports of the proxies', seconds => 20);
    my $nginx = session_nginx(where => 'cluster ' . join(' ', map { '127.0.0.1:' . $_->port } @chaos) . ';', store => 'timeout 60ms; connections 2;', @front);
    torment($nginx, '/need', $user, $answers / 4);
};

done_testing();
