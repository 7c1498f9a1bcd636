# Commands of all requests of a worker share its few connections, and each
# reply goes to whom it belongs.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Resp qw(bulk);
use StoreTest;
use Test::More;

# Requests many at once; each answer must be that of its own session.
sub all_right ($nginx, $count, $sessions, %how) {
    my $wrong = 0;
    my $result = many(port => $nginx->port, count => $count, at_once => 100, %how,
        request => sub ($i) { request('/need', 1 + $i % $sessions) },
        each    => sub ($i, $response) { $wrong++ if $response->{body} ne "user=u@{[1 + $i % $sessions]}\n" });
    is_deeply($result->{codes}, { 200 => $count }, "$count requests are answered");
    is($wrong, 0, 'each with its own session');
    return;
}

# Connections of nginx to a Redis: all but that of the test itself.
sub clients ($redis) {
    return -1 + scalar grep { /\S/ } split /\n/, $redis->cmd('CLIENT', 'LIST', 'TYPE', 'NORMAL');
}

subtest 'one connection of a worker' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 1000);
    my $nginx = session_nginx(url => $redis->url, worker_connections => 4096);
    all_right($nginx, 1000, 1000, at_once => 1000);
    is(clients($redis), 1, 'for 1000 requests in parallel');
};

subtest 'commands are written together' => sub {
    my $fake  = fake_redis(on => { GET => sub ($words, $) { bulk(session_of($words->[1] =~ s/.*?0*(\d+)\z/$1/r)) } });
    my $nginx = session_nginx(url => $fake->url);
    all_right($nginx, 2000, 500);
    is($fake->connections, 1, 'over one connection');
    is($fake->count('GET'), 2000, 'a command each');
    cmp_ok($fake->reads, '<', 1900, 'several in one write');
};

subtest 'several connections' => sub {
    my $fake = fake_redis(on => { GET => sub ($words, $) { [{ delay => 0.01 }, bulk(session_of($words->[1] =~ s/.*?0*(\d+)\z/$1/r))] } });
    my $nginx = session_nginx(url => $fake->url, store => 'connections 4; timeout 5s;');
    is(get($nginx, '/need', 1)->{code}, 200, 'one request');
    is($fake->connections, 1, 'needs one');
    all_right($nginx, 400, 100, at_once => 50);
    is($fake->connections, 4, 'many have as many as allowed');
};

subtest 'a connection for each worker' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 10);
    my $nginx = session_nginx(url => $redis->url, workers => 2);
    all_right($nginx, 500, 10);
    cmp_ok(clients($redis), '<=', 2, 'and no more');
};

subtest 'two commands of a request' => sub {
    my $redis = start_redis();
    $redis->cmd('SET', key($_), session_of($_), 'PX', 1_000_000 + 1_000_000 * $_) for 1 .. 100;
    my $nginx = session_nginx(url => $redis->url, life => 1);
    my $wrong  = 0;
    my $result = many(port => $nginx->port, count => 1000, request => sub ($i) { request('/ttl', 1 + $i % 100) },
        each => sub ($i, $response) {
            my ($left) = $response->{body} =~ /user=(\d+)/;
            my $given = 1000 + 1000 * (1 + $i % 100);
            $wrong++ if !defined $left || $left > $given || $left < $given - 60;
        });
    is_deeply($result->{codes}, { 200 => 1000 }, 'value and life are read together');
    is($wrong, 0, 'each gets the life of its own session');
};

done_testing();
