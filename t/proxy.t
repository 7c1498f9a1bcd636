# twemproxy (Debian's nutcracker) between nginx and Redis or memcached: a proxy that knows fewer commands, and closes
# the connection at all others.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use IO::Socket::INET;
use SessionRedis;
use SessionRedis::Process qw(in_path spawn);
use StoreTest;
use Test::More;

plan skip_all => 'nutcracker is not installed' if !in_path('nutcracker');

# The port of a proxy to servers at these ports.
sub proxy ($redis, @ports) {
    my ($dir, $port, $stats) = (temp_dir(), free_port(), free_port());
    open my $out, '>', "$dir/nutcracker.yml" or die "$dir/nutcracker.yml: $!\n";
    print {$out} "pool:\n  listen: 127.0.0.1:$port\n  hash: fnv1a_64\n  distribution: ketama\n  timeout: 500\n  redis: $redis\n  servers:\n",
        map { "   - 127.0.0.1:$_:1\n" } @ports;
    close $out;
    spawn([in_path('nutcracker'), '-c', "$dir/nutcracker.yml", '-s', $stats], log => "$dir/log");
    wait_for(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) }, what => 'nutcracker');
    return $port;
}

sub all_right ($nginx, $path, $count, $sessions) {
    my $wrong  = 0;
    my $result = many(port => $nginx->port, count => $count, at_once => 50, request => sub ($i) { request($path, 1 + $i % $sessions) },
        each => sub ($i, $response) { $wrong++ if $response->{body} ne "user=u@{[1 + $i % $sessions]}\n" });
    is_deeply([$result->{codes}, $wrong], [{ 200 => $count }, 0], "$count requests at $path, each with its own session");
    return;
}

subtest 'Redis' => sub {
    my @redis = map { start_redis() } 1 .. 2;
    my $port  = proxy('true', map { $_->port } @redis);
    put_sessions($_, 1, 100) for @redis;
    $_->cmd('EXPIRE', key(1), 100) for @redis;
    my $nginx = session_nginx(url => "redis://127.0.0.1:$port", life => 1);
    all_right($nginx, '/need', 1000, 100);
    all_right($nginx, '/touch', 1000, 100);
    get($nginx, '/touch', 1);
    wait_for(sub { grep { $_->cmd('TTL', key(1)) > 3000 } @redis }, what => 'a longer life');
    pass('the life of a session is extended');
    is(get($nginx, '/logout', 2, method => 'POST')->{code}, 204, 'a session is ended');
    is(get($nginx, '/need', 2)->{code}, 401, 'and gone');
    is(scalar lines_like($nginx, qr/\[(?:error|alert|crit|emerg)\]/), 0, 'and nobody notices what the proxy does not know');

    put_sessions($_, 2, 2) for @redis;
    my $cached = session_nginx(url => "redis://127.0.0.1:$port", store => 'cache 1m; retry 2;');
    all_right($cached, '/need', 1000, 100);
    wait_for(sub { lines_like($cached, qr/\[warn\].*server closed the connection when sent HELLO/) }, what => 'a line that no changes are told');
    all_right($cached, '/need', 1000, 100);
    is(scalar lines_like($cached, qr/\[(?:warn|error|alert|crit|emerg)\]/), 1, 'with a cache one line is all');

    my $other = session_nginx(url => "redis://127.0.0.1:$port/1");
    is_deeply([statuses($other, '/need', 1, 1)], [503, 503], 'it has no other database');
    is(scalar lines_like($other, qr/session store "s" is down: server closed the connection when sent SELECT/), 1, 'which the log says');

    $_->down for @redis;
    my @codes = statuses($nginx, '/need', 3, 4);
    is_deeply(\@codes, [503, 503], 'no server behind it: 503');
    $_->up for @redis;
    put_sessions($_, 1, 100) for @redis;
    cmp_ok(until_found($nginx, 3, seconds => 40), '<', 40, 'and back');
};

subtest 'memcached' => sub {
    my @memcached = map { start_memcached() } 1 .. 2;
    my $port = proxy('false', map { $_->port } @memcached);
    for my $memcached (@memcached) {
        $memcached->set(key($_), session_of($_), ttl => 100) for 1 .. 100;
    }
    my $nginx = session_nginx(url => "memcached://127.0.0.1:$port", life => 1);
    all_right($nginx, '/need', 1000, 100);
    all_right($nginx, '/touch', 1000, 100);
    is(scalar lines_like($nginx, qr/\[warn\].*server closed the connection when asked for the life of a session, which is not known from now on, nor extended/), 1, 'it cannot tell lives, which one line says');
    is(get($nginx, '/ttl', 1)->{body}, "user=\n", 'nor are they known');
    is(get($nginx, '/logout', 2, method => 'POST')->{code}, 204, 'a session is ended');
    is(get($nginx, '/need', 2)->{code}, 401, 'and gone');
    is(scalar lines_like($nginx, qr/\[(?:error|alert|crit|emerg)\]/), 0, 'nothing else is wrong');

    $_->down for @memcached;
    is_deeply([statuses($nginx, '/need', 3, 4)], [503, 503], 'no server behind it: 503');
    is(scalar lines_like($nginx, qr/server answered "SERVER_ERROR Connection refused" while reading session/), 2, 'as the proxy says');
};

done_testing();
