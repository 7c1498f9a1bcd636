# Requests that ask for the same session at the same time share one command; one that comes later never gets what was
# there before.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Resp qw(bulk);
use StoreTest;
use Test::More;
use Time::HiRes qw(sleep);

sub gets ($redis) {
    my $line = $redis->info('commandstats')->{cmdstat_get} // 'calls=0';
    return $line =~ /calls=(\d+)/ ? $1 : 0;
}

subtest 'a thousand at once, one question' => sub {
    my $redis = start_redis(password => 'secret');
    put_sessions($redis, 1, 2);
    my $nginx = session_nginx(url => $redis->url, store => 'password secret; timeout 20s; connect_timeout 20s;', worker_connections => 4096);
    # All come before the connection is open, so that none finds its question written.
    $redis->freeze;
    my @clients = map { open_connection($nginx->port) } 1 .. 1000;
    syswrite $_, request('/need', 1) for @clients;
    syswrite $clients[0], request('/need', 1);      # pipelined behind the first
    sleep 1;
    $redis->thaw;
    my @answers = map { read_response($_) } @clients;
    is(scalar(grep { $_->{code} == 200 && $_->{body} eq "user=u1\n" } @answers), 1000, 'all are answered');
    cmp_ok(gets($redis), '<=', 2, 'by one GET') or diag gets($redis);
    leave($_) for @clients;
    is(get($nginx, '/need', 2)->{body}, "user=u2\n", 'another session is another question');
};

subtest 'one leaves, the others stay' => sub {
    my $fake  = fake_redis(on => { AUTH => [{ delay => 0.5 }, "+OK\r\n"] }, data => { key(1) => session_of(1) });
    my $nginx = session_nginx(url => $fake->url, store => 'password secret; timeout 20s; connect_timeout 20s;', log_level => 'info');
    my @clients = map { open_connection($nginx->port) } 1 .. 9;
    syswrite $_, request('/need', 1) for @clients;
    sleep 0.2;
    leave($_, reset => 1) for @clients[0, 4, 8];
    is(read_response($_)->{body}, "user=u1\n", 'answered') for @clients[1 .. 3, 5 .. 7];
    is($fake->count('GET'), 1, 'by one GET');
};

subtest 'all leave' => sub {
    my $fake  = fake_redis(on => { AUTH => [{ delay => 0.5 }, "+OK\r\n"] }, data => { key(1) => session_of(1) });
    my $nginx = session_nginx(url => $fake->url, store => 'password secret; timeout 20s; connect_timeout 20s;');
    my @clients = map { open_connection($nginx->port) } 1 .. 9;
    syswrite $_, request('/need', 1) for @clients;
    sleep 0.2;
    leave($_) for @clients;
    sleep 0.5;
    is(get($nginx, '/need', 1)->{body}, "user=u1\n", 'the worker goes on');
};

subtest 'who comes later asks anew' => sub {
    my $fake = fake_redis(on => { GET => { sequence => [
        [{ delay => 0.5 }, bulk('{"user":"before"}')],
        bulk('{"user":"after"}'),
    ] } });
    my $nginx = session_nginx(url => $fake->url, store => 'timeout 20s; connections 2;');
    my $first = open_connection($nginx->port);
    syswrite $first, request('/need', 1);
    sleep 0.2;
    is(get($nginx, '/need', 1)->{body}, "user=after\n", 'the second sees what is there now');
    is(read_response($first)->{body}, "user=before\n", 'the first what was there then');
    is($fake->count('GET'), 2, 'two questions');
};

subtest 'a logout is seen by the next request' => sub {
    my $redis = start_redis();
    my $nginx = session_nginx(url => $redis->url);
    my @wrong;
    for my $round (1 .. 200) {
        put_sessions($redis, 1, 1);
        my @clients = map { open_connection($nginx->port) } 1 .. 4;
        syswrite $_, request('/need', 1) for @clients;
        get($nginx, '/logout', 1, method => 'POST');
        my $code = get($nginx, '/need', 1)->{code};
        push @wrong, $code if $code != 401;
        leave($_) for @clients;
    }
    is_deeply(\@wrong, [], 'whatever was under way');
};

subtest 'sessions that turn out to be hashes, many at once' => sub {
    my $redis = start_redis();
    $redis->cmd('HSET', key($_), user => qq("u$_")) for 1 .. 4;
    my $nginx = session_nginx(url => $redis->url, store => 'timeout 20s;');
    is(get($nginx, '/need', 9)->{code}, 401, 'a connection is open');
    $redis->freeze;
    my @clients = map { open_connection($nginx->port) } 1 .. 4;
    syswrite $clients[$_ - 1], request('/need', $_) for 1 .. 4;
    sleep 0.3;
    $redis->thaw;
    is_deeply([map { read_response($_)->{body} } @clients], [map { "user=u$_\n" } 1 .. 4], 'each is found');
};

done_testing();
