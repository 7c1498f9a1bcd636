# The near-cache: a session is read once, and what changes in Redis is seen at once.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Resp qw(bulk);
use StoreTest;
use Test::More;
use Time::HiRes qw(sleep time);

# An nginx with a cache; %how as for session_nginx.
sub cached_nginx ($redis, %how) {
    my $store = delete $how{store} // '';
    $store = "cache 1m; $store" if $store !~ /\bcache\b/;
    return session_nginx(url => $redis->url, store => "$store timeout 2s; connect_timeout 2s;",
        http => 'add_header X-Cache $session_redis_cache_status always;', %how);
}

# What a request gets: the user, or the code where there is none; and what the cache had to do with it.
sub seen ($nginx, $n, $path = '/need', %how) {
    my $response = get($nginx, $path, $n, %how);
    my ($user) = $response->{body} =~ /\Auser=(\w*)/;
    return join ' ', $user // $response->{code}, header($response, 'X-Cache') // '-';
}

# Whether something comes to be so: Redis' word takes its time to arrive.
sub soon ($nginx, $n, $wanted, $what) {
    my $got;
    my $ok = eval { wait_for(sub { ($got = seen($nginx, $n)) =~ /\A$wanted\b/ }, seconds => 2, every => 0.002); 1 };
    return ok($ok, $what) || diag "got $got";
}

sub set ($redis, $n, $user) { return $redis->cmd('SET', key($n), qq({"user":"$user"}), 'KEEPTTL') }

subtest 'read once' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 2);
    my $nginx = cached_nginx($redis);
    is(seen($nginx, 1), 'u1 MISS', 'the store is asked');
    is(seen($nginx, 1), 'u1 HIT', 'and not again') for 1 .. 3;
    is(seen($nginx, 1, '/pass'), 'u1 HIT', 'nor from another location');
    is(seen($nginx, 2), 'u2 MISS', 'another session is another');
    is(seen($nginx, undef), '401 -', 'nobody is nobody');
    my ($gets) = $redis->info('commandstats')->{cmdstat_get} =~ /calls=(\d+)/;
    is($gets, 2, 'one GET each');
};

my %changes = (
    'SET'             => [sub ($redis) { set($redis, 1, 'changed') }, 'changed'],
    'DEL'             => [sub ($redis) { $redis->cmd('DEL', key(1)) }, '401'],
    'RENAME'          => [sub ($redis) { $redis->cmd('RENAME', key(1), key(9)) }, '401'],
    'the end of it'   => [sub ($redis) { $redis->cmd('PEXPIRE', key(1), 300) }, '401'],
    'FLUSHALL'        => [sub ($redis) { $redis->cmd('FLUSHALL') }, '401'],
    'FLUSHDB'         => [sub ($redis) { $redis->cmd('FLUSHDB') }, '401'],
    'another type'    => [sub ($redis) { $redis->cmd('DEL', key(1)); $redis->cmd('HSET', key(1), 'user', '"hash"') }, 'hash'],
    'a killed client' => [sub ($redis) { $redis->cmd('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'); set($redis, 1, 'later') }, 'later'],
);
for my $what (sort keys %changes) {
    subtest $what => sub {
        my ($change, $then) = $changes{$what}->@*;
        my $redis = start_redis();
        put_sessions($redis, 1, 1);
        $redis->cmd('PEXPIRE', key(1), 60_000);
        my $nginx = cached_nginx($redis);
        is(seen($nginx, 1), 'u1 MISS', 'read');
        is(seen($nginx, 1), 'u1 HIT', 'and kept');
        $change->($redis);
        soon($nginx, 1, $then, 'seen');
        like(seen($nginx, 1), qr/\A$then (?:HIT|NEGATIVE|MISS)\z/, 'and stays so');
        is(scalar lines_like($nginx, qr/\[(?:error|alert|crit)\]/), 0, 'nothing to complain of');
    };
}

subtest 'an end that comes while it is kept' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 1);
    $redis->cmd('CONFIG', 'SET', 'hz', 1);      # Redis itself is in no hurry to notice
    my $nginx = cached_nginx($redis);
    $redis->cmd('PEXPIRE', key(1), 1000);
    is(seen($nginx, 1), 'u1 MISS', 'read');
    sleep 1.1;
    like(seen($nginx, 1), qr/\A401 MISS/, 'never beyond the life that was read with it');
};

subtest 'no session, and then one' => sub {
    my $redis = start_redis();
    my $nginx = cached_nginx($redis, store => 'cache 1m negative=30s;');
    is(seen($nginx, 1), '401 MISS', 'asked');
    is(seen($nginx, 1), '401 NEGATIVE', 'and remembered');
    put_sessions($redis, 1, 1);
    soon($nginx, 1, 'u1', 'until it is there');
};

subtest 'logout' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 1);
    my $nginx = cached_nginx($redis);
    is(seen($nginx, 1), 'u1 MISS', 'read');
    is(get($nginx, '/logout', 1, method => 'POST')->{code}, 204, 'ended by nginx');
    like(seen($nginx, 1), qr/\A401/, 'the next request knows');
};

subtest 'touch' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 1);
    $redis->cmd('PEXPIRE', key(1), 100_000);
    my $nginx = cached_nginx($redis, life => 1);
    like(seen($nginx, 1, '/ttl'), qr/\A(?:99|100) MISS/, 'the life left');
    like(seen($nginx, 1, '/ttl'), qr/\A(?:99|100) HIT/, 'is known of a kept one too');
    is(seen($nginx, 1, '/touch'), 'u1 HIT', 'a kept session');
    wait_for(sub { $redis->cmd('PTTL', key(1)) > 3_500_000 }, what => 'its life to be extended');
    pass('lives on');
    soon($nginx, 1, 'u1 HIT', 'and is kept again');
    my ($touches) = $redis->info('commandstats')->{cmdstat_pexpire} =~ /calls=(\d+)/;
    seen($nginx, 1, '/touch') for 1 .. 5;
    is(($redis->info('commandstats')->{cmdstat_pexpire} =~ /calls=(\d+)/)[0], $touches, 'sparingly');
};

subtest 'each location has its own part of a session' => sub {
    my $redis = start_redis();
    $redis->cmd('SET', key(1), '{"user":"u1","name":"Ann","roles":["a","b"]}');
    my $backend = StoreTest::backend();
    my $nginx = cached_nginx($redis, server => <<~"END");
        location = /name  { session_redis_set_header X-User /name; proxy_pass http://127.0.0.1:$backend; }
        location = /roles { session_redis_set_header X-User /roles/1; proxy_pass http://127.0.0.1:$backend; }
        location = /mixed { session_redis_set_header X-User \$arg_x; proxy_pass http://127.0.0.1:$backend; }
        location = /moved { rewrite ^ /name last; }
        END
    is(seen($nginx, 1), 'u1 MISS', 'first');
    for (1 .. 2) {
        is(seen($nginx, 1, '/name'), 'Ann HIT', 'another value');
        is(seen($nginx, 1, '/roles'), 'b HIT', 'and another');
        is(seen($nginx, 1, "/mixed?x=$_"), "$_ HIT", 'what a string stands for is asked each time');
        is(seen($nginx, 1, '/moved'), 'Ann HIT', 'redirected');
    }
};

subtest 'a session that has ended though it is stored' => sub {
    my $redis = start_redis();
    my $id    = 'a' x 32;
    my $until = time + 1.5;
    my @t     = gmtime int $until;
    my $date  = sprintf '%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', $t[5] + 1900, $t[4] + 1, @t[3, 2, 1, 0], ($until - int $until) * 1000;
    $redis->cmd('SET', "sess:$id", qq({"cookie":{"expires":"$date"},"user":"u1"}));
    my $backend = StoreTest::backend();
    my $nginx = cached_nginx($redis, server => <<~"END");
        location = /fastify {
            session_redis_framework fastify;
            session_redis_cookie    sessionId;
            session_redis_secret    "0123456789abcdef0123456789abcdef";
            session_redis_require   /user;
            session_redis_set_header X-User /user;
            proxy_pass http://127.0.0.1:$backend;
        }
        END
    my $cookie = express_cookie($id, '0123456789abcdef0123456789abcdef') =~ s/\As(?:%3A|:)//r;
    my $see = sub { seen($nginx, undef, '/fastify', headers => ["Cookie: sessionId=$cookie"]) };
    is($see->(), 'u1 MISS', 'alive');
    is($see->(), 'u1 HIT', 'alive and kept');
    sleep 2;
    is($see->(), '401 HIT', 'each time the clock is asked anew');
};

subtest 'a connection that is dead without a sign' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 1);
    my $nginx = session_nginx(url => $redis->url, store => 'cache 1m; timeout 500ms; connect_timeout 500ms;',
        http => 'add_header X-Cache $session_redis_cache_status always;');
    is(seen($nginx, 1), 'u1 MISS', 'read');
    $redis->freeze;
    is(seen($nginx, 1), 'u1 HIT', 'kept for a moment');
    my $took = seconds { until_status($nginx, '/need', 1, 503, seconds => 10) };
    cmp_ok($took, '<', 6, 'then it is noticed');
    $redis->thaw;
    set($redis, 1, 'after');
    soon($nginx, 1, 'after', 'and seen again');
};

# A location that takes what is stale where the store fails.
sub stale_location () {
    return 'location /stale { session_redis_require @user; session_redis_on_error stale;
        session_redis_set_header X-User @user; proxy_pass http://127.0.0.1:' . StoreTest::backend() . '; }';
}

subtest 'a store that fails' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 2);
    my $nginx = cached_nginx($redis, store => 'cache 1m stale=30s;', server => stale_location());
    is(seen($nginx, 1), 'u1 MISS', 'read');
    is(seen($nginx, 2), 'u2 MISS', 'read');
    $redis->cmd('DEL', key(2));
    soon($nginx, 2, '401', 'gone');
    $redis->down;
    wait_for(sub { seen($nginx, 1) =~ /503/ }, what => 'the loss to be noticed');
    is(seen($nginx, 1, '/stale'), 'u1 STALE', 'what was there stands in') for 1 .. 3;
    like(seen($nginx, 1), qr/\A503 /, 'not where that is not wanted');
    like(seen($nginx, 2, '/stale'), qr/\A503 /, 'what was gone does not');
    like(seen($nginx, 3, '/stale'), qr/\A503 /, 'nor what was never read');
    $redis->up;
    until_status($nginx, '/need', 1, 401);
    like(seen($nginx, 1, '/stale'), qr/\A401 /, 'until the store is back');
};

subtest 'servers that do not tell' => sub {
    my %servers = (
        'an old one' => fake_redis(on => { HELLO => "-ERR unknown command 'HELLO'\r\n", CLIENT => "-ERR unknown command 'CLIENT'\r\n" },
            data => { key(1) => session_of(1) }),
        'one that may not' => start_redis(users => ['user default on nopass ~* +@all -client']),
    );
    for my $what (sort keys %servers) {
        my $redis = $servers{$what};
        put_sessions($redis, 1, 1) if $what ne 'an old one';
        my $nginx = cached_nginx($redis, store => 'cache 1m negative=30s;');
        is(seen($nginx, 1), 'u1 MISS', "$what: read");
        is(seen($nginx, 1), 'u1 HIT', "$what: kept");
        is(seen($nginx, 2), '401 MISS', "$what: an absence");
        is(seen($nginx, 2), '401 MISS', "$what: is not");
        sleep 1.1;
        is(seen($nginx, 1), 'u1 MISS', "$what: for a second");
    }
};

subtest 'a start behind something that takes connections and closes them' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 3);
    my $proxy = chaos_proxy(to => $redis->port, refuse => 1);
    my $nginx = cached_nginx($proxy, store => 'cache 1m valid=60s; connections 1;');
    is(seen($nginx, 1), '503 MISS', 'Redis is not there');
    $proxy->set(refuse => 0);
    until_status($nginx, '/need', 1, 200);
    wait_for(sub { grep { /\bresp=3\b/ } split /\n/, $redis->cmd('CLIENT', 'LIST') }, what => 'a connection that is told of changes');
    soon($nginx, 1, 'u1 HIT', 'it is, and what is read is kept');
    seen($nginx, 2) for 1 .. 2;
    $redis->cmd('DEL', key($_)) for 1 .. 2;
    soon($nginx, $_, '401', 'until it is gone') for 1 .. 2;
    my @clients = grep { /\bname=nginx/ } split /\n/, $redis->cmd('CLIENT', 'LIST');
    cmp_ok(scalar(grep { /\bresp=2\b/ } @clients), '==', 0, 'no other connection is left') or diag explain \@clients;
    is(scalar lines_like($nginx, qr/HELLO/), 0, 'nothing is said of what Redis knows');
};

subtest 'a server that closes the connection at HELLO' => sub {
    my $redis = fake_redis(on => { HELLO => [{ close => 1 }] }, data => { key(1) => session_of(1) });
    my $nginx = cached_nginx($redis);
    is(seen($nginx, 1), 'u1 MISS', 'is asked without');
    is(seen($nginx, 1), 'u1 HIT', 'kept');
    wait_for(sub { lines_like($nginx, qr/\[warn\].*server closed the connection when sent HELLO/) }, what => 'a line that says so');
    sleep 1.1;
    is(seen($nginx, 1), 'u1 MISS', 'for a second');
    $redis->close_all;
    is(seen($nginx, 2), '401 MISS', 'and over another connection');
    is($redis->count('HELLO'), 2, 'it was asked twice');
    is(scalar lines_like($nginx, qr/\[(?:warn|error|alert|crit)\]/), 1, 'and one line said');
};

my %places = (
    'another type'     => sub ($redis) { $redis->cmd('DEL', key(1)); $redis->cmd('LPUSH', key(1), 'x') },
    'more than can be' => sub ($redis) { set($redis, 1, 'x' x 2000) },
);
for my $what (sort keys %places) {
    subtest "$what in the place of a session" => sub {
        # It does not tell.
        my $redis = start_redis(users => ['user default on nopass ~* +@all -client']);
        put_sessions($redis, 1, 1);
        my $nginx = cached_nginx($redis, store => 'cache 1m valid=200ms stale=30s; max_size 1k;', server => stale_location());
        is(seen($nginx, 1), 'u1 MISS', 'read');
        $places{$what}->($redis);
        wait_for(sub { header(get($nginx, '/need', 1), 'X-Status') eq 'undecodable' }, what => 'that to be seen');
        $redis->down;
        wait_for(sub { get($nginx, '/need', 2)->{code} == 503 }, what => 'the loss to be noticed');
        like(seen($nginx, 1, '/stale'), qr/\A503 /, 'what was there before does not stand in');
    };
}

subtest 'how long it is kept' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 1);
    my $nginx = cached_nginx($redis, store => 'cache 1m valid=300ms;');
    is(seen($nginx, 1), 'u1 MISS', 'read');
    sleep 0.4;
    is(seen($nginx, 1), 'u1 MISS', 'valid=');
};

subtest 'more sessions than there is room for' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 5000);
    my $nginx = cached_nginx($redis, store => 'cache 256k;');
    my $result = many(port => $nginx->port, count => 5000, request => sub ($i) { request('/need', 1 + $i) });
    is_deeply($result->{codes}, { 200 => 5000 }, 'all are served');
    my %seen;
    $seen{ seen($nginx, $_) =~ s/.* //r }++ for 1 .. 500;
    cmp_ok($seen{MISS}, '>', 0, 'not all are kept') or diag explain \%seen;
};

# Each location keeps its own part of a session with it, of which much may become.
subtest 'sessions that grow while they are kept' => sub {
    plan skip_all => 'memory is checked otherwise' if $ENV{TEST_NGINX_USE_VALGRIND} || $ENV{ASAN_OPTIONS};
    my $redis = start_redis();
    my ($sessions, @locations) = (60, 1 .. 18);
    my $list = join ',', (1) x 4000;
    $redis->cmd('SET', key($_), qq({"user":"u$_","list":[$list]})) for 1 .. $sessions;
    my $nginx = cached_nginx($redis, store => 'cache 8m;',
        server => join('', map { "location = /$_ { session_redis_require /list; empty_gif; }\n" } @locations));
    my $ask = sub ($location) {
        my $result = many(port => $nginx->port, count => $sessions, request => sub ($i) { request("/$location", 1 + $i % $sessions) });
        return $result->{codes}{200} // 0;
    };
    is($ask->(1), $sessions, 'read for one location');
    my $before = $nginx->resident_kb;
    is($ask->($_), $sessions, "and for number $_") for @locations;
    cmp_ok($nginx->resident_kb - $before, '<', 8 * 1024, 'the cache holds what it may');
};

subtest 'reload' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 1);
    my $nginx = cached_nginx($redis);
    is(seen($nginx, 1), 'u1 MISS', 'read');
    my @old = $nginx->reload;
    is(seen($nginx, 1), 'u1 MISS', 'anew');
    ok($nginx->gone(\@old, 5), 'the old worker leaves');
    is($nginx->quit, 0, 'nginx ends well');
    is(scalar lines_like($nginx, qr/\[alert\]/), 0, 'no alert');
};

# A writer counts up in a session; what is read may never be older than what was written 5 ms before, or where the machine
# has other things to do, some turns of its scheduler.
subtest 'two workers never fall behind' => sub {
    my $redis = start_redis();
    my ($count, $late) = $ENV{SESSION_REDIS_LONG} ? (10_000, 0.005) : (1000, 0.2);
    $redis->cmd('SET', key(1), '{"user":"0"}');
    my $nginx = cached_nginx($redis, workers => 2, server => 'keepalive_requests 1000000;');
    my @readers = map { open_connection($nginx->port) } 1 .. 8;
    my (@written, $old, $read, $newest) = ([time, 0]);
    my $next = 1;
    my $ask = sub ($client) { syswrite $client, request('/need', 1, keepalive => 1) };
    my %asked = map { $_ => time } @readers;
    $ask->($_) for @readers;
    while ($next <= $count) {
        my $in = '';
        vec($in, fileno $_, 1) = 1 for @readers;
        select $in, undef, undef, 0.0005;
        for my $client (grep { vec $in, fileno $_, 1 } @readers) {
            my ($user) = read_response($client)->{body} =~ /user=(\d+)/;
            $read++;
            # The last that was acknowledged so long before this was asked.
            my ($due) = grep { $_->[0] <= $asked{$client} - $late } reverse @written;
            $old++ if $due && ($user // -1) < $due->[1];
            $newest = $user if defined $user && (!defined $newest || $user > $newest);
            $asked{$client} = time;
            $ask->($client);
        }
        $redis->cmd('SET', key(1), qq({"user":"$next"}));
        push @written, [time, $next++];
        shift @written while @written > 2000;
    }
    is($old // 0, 0, "none of $read answers was older") or diag "$old were";
    cmp_ok($newest, '>', $count / 2, 'and they were read while they were written');
    cmp_ok($read, '>', $count / 4, 'often');
};

subtest 'nginx -t' => sub {
    my %cases = (
        'cache 1k;'            => qr/"1k" is not a size from 64k to 512m/,
        'cache 1m valid=x;'    => qr/cache/,
        'cache 1m age=1s;'     => qr/unknown parameter "age=1s"/,
        'cache 1m valid=1s valid=2s;' => qr/duplicate/,
        'cache 1m; cache 2m;'  => qr/duplicate/,
    );
    for my $line (sort keys %cases) {
        my ($ok, $text) = check_config(http => "session_redis_store s { server redis://127.0.0.1:1; $line }", server => 'session_redis s;');
        ok(!$ok, "$line is refused");
        like($text, $cases{$line}, 'and why');
    }
    my ($ok, $text) = check_config(http => 'session_redis_store s { server redis://127.0.0.1:1; cache 1m; }',
        server => 'session_redis s; session_redis_framework php; session_redis_on_error stale;');
    ok(!$ok, 'nothing stale is kept');
    like($text, qr/"session_redis_on_error stale" needs "cache … stale=time" in store "s"/, 'and why');
};

done_testing();
