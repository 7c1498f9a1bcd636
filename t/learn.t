# session_redis_route learn: which server a session belongs to is written once, in Redis, for all nginx of a fleet.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use IO::Socket::INET;
use SessionRedis;
use SessionRedis::Certificates qw(certificate_authority);
use SessionRedis::Learning;
use SessionRedis::Process qw(fork_server);
use SessionRedis::Sentinel;
use StoreTest;
use Test::More;
use Time::HiRes qw(sleep time);

sub routes ($redis) { return scalar $redis->cmd('KEYS', 'srr:*')->@* }

sub evals ($redis) { return ($redis->info('commandstats')->{cmdstat_eval} // '') =~ /calls=(\d+)/ ? $1 : 0 }

subtest 'written once, read by all' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 2);
    $redis->cmd('PEXPIRE', key(1), 1_440_000);
    my @nginx = map { learning_nginx($redis) } 1, 2;
    my $first = get($nginx[0], '/app', 1);
    is($first->{code}, 200, 'answered');
    is(header($first, 'X-Route'), undef, 'no route was there');
    my $server = served_by($first);
    is(route_of($redis, 1), $server, 'the server that has answered is written');
    my ($written, $life) = $redis->cmd('GET', route_key(1)) =~ / (\d+) (\d+)\z/;
    cmp_ok(abs($written - time), '<', 5, 'when');
    like($life, qr/\A14(?:40|39)\z/, 'and for how long: as long as the session lives');
    cmp_ok(abs($redis->cmd('PTTL', route_key(1)) - 1_801_000), '<', 5000, 'Redis keeps it a quarter longer');
    my $value = $redis->cmd('GET', route_key(1));
    is(header(get($_, '/app', 1), 'X-Route'), "127.0.0.1:$server", 'both read it') for @nginx;
    get($nginx[0], '/app', 1) for 1 .. 8;
    is($redis->cmd('GET', route_key(1)), $value, 'whoever answers later');
    is(evals($redis), 1, 'one write');
    answer($nginx[1], 2);
    like($redis->cmd('GET', route_key(2)), qr/ 86400\z/, 'a day, where the session has no end');
    is(scalar lines_like($_, qr/\[(?:error|warn|alert|crit)\]/), 0, 'nothing to complain of') for @nginx;
};

subtest 'whom nothing is written for' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 1);
    my $nginx = learning_nginx($redis, server => <<~"END");
        location /own  { return 200 "own\\n"; }
        location /dead { proxy_pass http://127.0.0.1:@{[free_port()]}; }
        location /page { proxy_intercept_errors on; error_page 404 /own; proxy_pass http://servers/files/none; }
        location /auth { auth_request /sub; return 200 "own\\n"; }
        location /sub  { proxy_pass http://servers/; }
        END
    get($nginx, '/app') for 1 .. 3;
    is(routes($redis), 0, 'visitors without a session');
    my $done = many(port => $nginx->port, count => 10_000, at_once => 32,
        request => sub ($i) { request_bytes('/app', headers => [sprintf 'Cookie: sid=random%014d', $i], keepalive => 1) });
    is($done->{codes}{200}, 10_000, 'ten thousand made-up ids');
    is(routes($redis), 0, 'are not written');
    is(evals($redis), 0, 'nor tried');
    get($nginx, $_, 1) for '/own', '/dead', '/page', '/auth', '/plain';
    is(routes($redis), 0, 'what no server has answered');
    is(get($nginx, '/logout', 1, method => 'POST')->{code}, 204, 'a logout');
    is(routes($redis), 0, 'is no route');
};

subtest 'a logout by nginx deletes the route' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 2);
    my $nginx = learning_nginx($redis);
    answer($nginx, $_) for 1, 2;
    is(get($nginx, '/logout', 1, method => 'POST')->{code}, 204, 'ended');
    is(route_of($redis, 1), undef, 'with its route');
    ok(route_of($redis, 2), 'others stay');
};

subtest 'responses that name a session' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 5);
    my $nginx = learning_nginx($redis);
    my $new   = id(100);
    my $set   = sub ($n, $cookie) { get($nginx, "/app?set=$cookie", $n) };
    $set->(undef, "sid=$new;Path=/");
    ok(my $server = route_of($redis, 100), 'the session of a login, for who had none');
    like($redis->cmd('GET', route_key(100)), qr/ 0\z/, 'which is not there yet and has no life to tell');
    cmp_ok($redis->cmd('TTL', route_key(100)), '>=', 86_400, 'for a day at least');
    is(routes($redis), 1, 'no other');
    put_sessions($redis, 100, 100);
    $redis->cmd('EXPIRE', key(100), 604_800);
    answer($nginx, 100);
    ok(eval { wait_for(sub { $redis->cmd('GET', route_key(100)) =~ / 604(?:800|799)\z/ }) }, 'its next request takes the life that it has then');

    put_sessions($redis, 101, 101);
    $redis->cmd('PEXPIRE', key(101), 60_000);
    $set->(1, 'sid=' . id(101));
    like($redis->cmd('GET', route_key(101)), qr/ (?:60|59)\z/, 'a new name, whose session is there: as long as that');
    is(route_of($redis, 1), undef, 'the old one is not written any more');

    $set->(999, 'sid=' . id(102));
    ok(route_of($redis, 102), 'in place of one that is missing');
    is(route_of($redis, 999), undef, 'which is not written');

    answer($nginx, 2);
    my $before = route_of($redis, 2);
    $set->(2, 'sid=' . id(2));
    is(route_of($redis, 2), $before, 'the same again is nothing new');
    $set->(3, 'sid=' . id(3));
    ok(route_of($redis, 3), 'the same, of a session without a route');

    for my $cookie ('sid=', "sid=$new;Max-Age=0", "sid=$new;Expires=Thu,%2001%20Jan%201970%2000:00:00%20GMT") {
        $redis->cmd('DEL', route_key(100));
        $set->(4, $cookie =~ s/%20/ /gr =~ s/ /-/gr);
        is(route_of($redis, 100), undef, "$cookie: no new session");
        is(route_of($redis, 4), undef, 'and the old one has ended');
    }
    $set->(4, 'other=' . id(103));
    is(route_of($redis, 103), undef, 'another cookie');
    ok(route_of($redis, 4), 'tells nothing of the session');
    $set->(5, 'sid=bad!');
    ok(route_of($redis, 5), 'nor does what is no id');
};

subtest 'a session that its response ends, without a word to the browser' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 2);
    my $port   = free_port();
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 8, ReuseAddr => 1) or die;
    fork_server(sub {
        my $client = $redis->client;
        while (my $socket = $listen->accept) {
            my $in = '';
            1 while $in !~ /\r\n\r\n/ && sysread $socket, $in, 4096, length $in;
            $client->cmd('DEL', key($in =~ m{\A\w+ /(\d+)}));
            syswrite $socket, "HTTP/1.0 200 OK\r\n\r\nended";
        }
    });
    my $nginx = learning_nginx($redis, server => "location /end { proxy_pass http://127.0.0.1:$port; rewrite ^/end(.*) \$1 break; }");
    is(get($nginx, '/end/1', 1)->{body}, 'ended', 'the first');
    is(evals($redis), 1, 'a route is tried');
    is(route_of($redis, 1), undef, 'and not written');

    my $value = "127.0.0.1:$port " . (int(time) - 900) . ' 1000';
    $redis->cmd('SET', route_key(2), $value, 'EX', 100);
    is(get($nginx, '/end/2', 2)->{body}, 'ended', 'one whose route is due');
    ok(eval { wait_for(sub { evals($redis) == 2 }) }, 'is tried too');
    is($redis->cmd('GET', route_key(2)), $value, 'it stays as it was');
    cmp_ok($redis->cmd('TTL', route_key(2)), '<=', 100, 'and as long as it was to');
};

subtest 'responses of frameworks' => sub {
    my $redis = start_redis();
    my ($php, $express, $spring) = ('0123456789abcdefghijklmnop', 'cHpUiV7wDyBcQkpfsYRiyLq-GQSIlbB8', '7a3f1c2e-9b7d-4f7a-8f21-0d6f3a5b9c11');
    require MIME::Base64;
    my %cookie = (
        php     => [$php, "PHPSESSID=$php;path=/;HttpOnly"],
        express => [$express, 'connect.sid=' . express_cookie($express, 'keyboard cat') . ';Path=/;HttpOnly'],
        spring  => [$spring, 'SESSION=' . MIME::Base64::encode_base64($spring, '') . ';Path=/;HttpOnly;SameSite=Lax'],
    );
    my $nginx = learning_nginx($redis, server => <<~"END");
        location /php     { session_redis_framework php; session_redis_cookie PHPSESSID; session_redis_key "p:\$session_redis_id"; proxy_pass http://servers/; }
        location /express { session_redis_framework express; session_redis_cookie connect.sid; session_redis_secret "keyboard cat"; proxy_pass http://servers/; }
        location /spring  { session_redis_framework spring; session_redis_cookie SESSION; session_redis_user /x; proxy_pass http://servers/; }
        location /create  { session_redis_route learn create=fresh prefix=other: ttl=90s; proxy_pass http://servers/; }
        END
    for my $framework (sort keys %cookie) {
        my ($id, $cookie) = $cookie{$framework}->@*;
        http($nginx->port, "/$framework?set=$cookie");
        ok($redis->cmd('EXISTS', route_key($id)), "$framework: the id is found in its cookie");
    }
    my ($id, $cookie) = $cookie{express}->@*;
    $redis->cmd('FLUSHALL');
    http($nginx->port, '/express?set=' . $cookie =~ s/keyboard|.(?=;Path)/x/r);
    is(routes($redis), 0, 'a signature that is not the framework\'s');

    get($nginx, '/create?set=fresh=' . id(9), undef);
    my $key = route_key(9) =~ s/\Asrr/other/r;
    like($redis->cmd('TTL', $key), qr/\A(?:9\d|1[01]\d)\z/, 'create=, prefix= and ttl=');
    get($nginx, '/create?set=sid=' . id(8), undef);
    is($redis->cmd('DBSIZE'), 1, 'create= names the only one');
};

subtest 'its life slides, sparingly' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 2);
    $redis->cmd('PEXPIRE', key(1), 8000);
    my $nginx = learning_nginx($redis);
    my $server = answer($nginx, 1);
    my $value = $redis->cmd('GET', route_key(1));
    answer($nginx, 1) for 1 .. 5;
    is($redis->cmd('GET', route_key(1)), $value, 'not before a quarter has passed');
    my $writes = evals($redis);
    sleep 0.8;
    $redis->cmd('PEXPIRE', key(1), 8000);
    answer($nginx, 1);
    is($redis->cmd('GET', route_key(1)), $value, 'though the session slides with each request');
    cmp_ok($redis->cmd('PTTL', route_key(1)), '>=', $redis->cmd('PTTL', key(1)), 'it does not end before its session');
    $redis->cmd('PEXPIRE', key(1), 60_000);
    sleep 1.7;
    my $done = many(port => $nginx->port, count => 50, at_once => 50, request => sub ($i) { request('/app', 1) });
    wait_for(sub { $redis->cmd('GET', route_key(1)) ne $value });
    is(route_of($redis, 1), $server, 'the same server');
    like($redis->cmd('GET', route_key(1)), qr/ (?:60|5\d)\z/, 'as long as the session lives now');
    sleep 0.1;
    cmp_ok(evals($redis) - $writes, '<=', 3, 'fifty at once do not all write');

    $redis->cmd('PEXPIRE', key(2), 1000_000);
    my $touching = learning_nginx($redis, server => 'location /touched { session_redis_touch 1h after=1s; proxy_pass http://servers/; }');
    answer($touching, 2);
    like($redis->cmd('GET', route_key(2)), qr/ (?:1000|999)\z/, 'before');
    answer($touching, 2, '/touched');
    ok(eval { wait_for(sub { $redis->cmd('GET', route_key(2)) =~ / (?:3600|3599)\z/ }) }, 'a session that is touched takes its route along');
};

subtest 'what stands there and is no route' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 4);
    my $nginx = learning_nginx($redis);
    for my $junk ('', 'junk', 'a 1', "a 1 2\n", "\0", 'x' x 1000) {
        $redis->cmd('SET', route_key(1), $junk);
        is(get($nginx, '/app', 1)->{code}, 200, 'traffic goes on');
        like(route_of($redis, 1), qr/\A\d+\z/, 'it is mended');
    }
    is(scalar lines_like($nginx, qr/\[warn\].*session store "s": what is stored as a session's route is none; 1 routes not read/), 1, 'said once');
    $redis->cmd('SET', route_key(2), 'x' x 2000);
    is(get($nginx, '/app', 2)->{code}, 200, 'a value that is far too long');
    $redis->cmd('DEL', route_key(3));
    $redis->cmd('HSET', route_key(3), 'a', 'b');
    is(get($nginx, '/need', 3)->{code}, 200, 'the wrong type') for 1 .. 3;
    is($redis->cmd('HGET', route_key(3), 'a'), 'b', 'is left alone');
    my $response = get($nginx, '/need', 3);
    like($response->{body}, qr/user=u3/, 'the session is read');
    is(scalar lines_like($nginx, qr/\[(?:error|alert|crit)\]/), 0, 'no error');
};

subtest 'users who may do less' => sub {
    my %users = (
        'no script'      => ['~* +@all -eval', qr/routes of sessions are not written: server answered "NOPERM/],
        'no routes'      => ['~sess:* +@all', qr/routes of sessions are not written: server answered "NOPERM|set of drained servers is not read: server answered "NOPERM/],
        'no set'         => ['~* +@all -smembers', qr/set of drained servers is not read: server answered "NOPERM/],
        'what it takes'  => ['~sess:* ~srr:* +get +pttl +set +eval +smembers +client|setname', undef],
    );
    for my $what (sort keys %users) {
        my ($acl, $line) = $users{$what}->@*;
        my $redis = start_redis(users => ["user web on >pw $acl", 'user default on nopass ~* +@all']);
        put_sessions($redis, 1, 1);
        my $nginx = learning_nginx($redis, where => "server redis://web\@127.0.0.1:@{[$redis->port]}; password_file @{[password_file()]};");
        is(get($nginx, '/need', 1)->{code}, 200, "$what: sessions are read") for 1 .. 3;
        sleep 0.05;
        is(get($nginx, '/app', 1)->{code}, 200, 'requests are answered') for 1 .. 3;
        my @lines = lines_like($nginx, qr/\[(?:warn|error|alert|crit)\]/);
        if ($line) {
            cmp_ok(scalar(grep { /$line/ } @lines), '>=', 1, 'said') or diag @lines;
            cmp_ok(scalar @lines, '<=', 2, 'and not again');
        } else {
            is(scalar @lines, 0, 'nothing to complain of') or diag @lines;
            like(route_of($redis, 1), qr/\A\d+\z/, 'written');
        }
    }
};

sub password_file () {
    my $file = temp_dir() . '/password';
    open my $out, '>', $file or die;
    print {$out} 'pw';
    close $out;
    chmod 0600, $file;
    return $file;
}

subtest 'a replica takes no routes, its master does' => sub {
    my ($master, $replica) = map { start_redis(config => { 'repl-diskless-sync-delay' => 0 }) } 1, 2;
    put_sessions($master, 1, 20);
    $replica->cmd('REPLICAOF', '127.0.0.1', $master->port);
    wait_for(sub { $replica->info('replication')->{master_link_status} eq 'up' && $replica->cmd('DBSIZE') == 20 }, seconds => 15);
    my $alone = learning_nginx($replica);
    is(get($alone, '/app', 1)->{code}, 200, 'a replica alone: traffic goes on') for 1 .. 3;
    is(scalar lines_like($alone, qr/read-only replica, touch, destroy and routes are not possible there/), 1, 'said once');
    my $both = learning_nginx($replica, http => "upstream stores { server 127.0.0.1:@{[$replica->port]}; server 127.0.0.1:@{[$master->port]}; }",
        where => 'server redis://stores;');
    get($both, '/app', $_) for 2 .. 20;
    is(scalar(grep { route_of($master, $_) } 2 .. 20), 19, 'written to the master');
};

subtest 'a store that is down' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 3);
    my $nginx = learning_nginx($redis, store => 'timeout 300ms; connect_timeout 300ms;');
    answer($nginx, 1);
    $redis->down;
    my $took = seconds { is(get($nginx, '/app', 1)->{code}, 200, 'traffic goes on') for 1 .. 20 };
    cmp_ok($took, '<', 2, 'and does not wait');
    $redis->up;
    put_sessions($redis, 1, 3);
    until_found($nginx, 2);
    wait_for(sub { answer($nginx, 2); route_of($redis, 2) });
    pass('written when it is back');
    $redis->freeze;
    $took = seconds { is(get($nginx, '/app', 3)->{code}, 200, 'one that is frozen') for 1 .. 5 };
    $redis->thaw;
    cmp_ok($took, '<', 4, 'holds nobody for long');
    is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]|panicked/), 0, 'no alert');
};

subtest 'a server without scripts' => sub {
    my $fake  = fake_redis(data => { key(1) => session_of(1) }, on => { EVAL => "-ERR unknown command 'eval', with args beginning with: 'local ...'\r\n" });
    my $nginx = learning_nginx(undef, url => 'redis://127.0.0.1:' . $fake->port);
    is(get($nginx, '/need', 1)->{code}, 200, 'sessions are read');
    is(get($nginx, '/app', 1)->{code}, 200, 'traffic goes on') for 1 .. 3;
    is(scalar lines_like($nginx, qr/routes of sessions are not written: server answered "ERR unknown command 'eval'/), 1, 'said once');
};

# What a server says of a route: whether the session is read, though it may take another connection.
my %replies = (
    'an error'           => "-ERR no\r\n",
    'LOADING'            => "-LOADING Redis is loading\r\n",
    'NOPERM'             => "-NOPERM no\r\n",
    'a type it never has' => ":1\r\n",
    'no RESP'            => "junk\r\n",
    'a connection that is closed' => [{ close => 1 }],
    'half a reply, then the end'  => ["\$100\r\nhalf", { close => 1 }],
    'too large'          => "\$100000\r\n" . 'x' x 100_000 . "\r\n",
    'one byte at a time' => [{ bytes => "\$18\r\n127.0.0.1:1 1 1000\r\n", split => 1, every => 0.001 }],
);
for my $what (sort keys %replies) {
    subtest "instead of a route: $what" => sub {
        my $once = 0;
        my $fake = fake_redis(data => { key(1) => session_of(1) },
            on => { GET => sub ($words, $) { $words->[1] =~ /\Asrr/ && !$once++ ? $replies{$what} : undef } });
        my $nginx = learning_nginx(undef, url => 'redis://127.0.0.1:' . $fake->port);
        my ($code) = statuses($nginx, '/need', 1);
        # A fresh connection that breaks is the server's fault, with routes and without.
        like($code, $what =~ /connection|half|RESP|type/ ? qr/\A(?:200|503)\z/ : qr/\A200\z/, 'the session is read');
        until_found($nginx, 1);
        is(get($nginx, '/need', 1)->{body}, "user=u1\n", 'nothing is mixed up') for 1 .. 5;
        is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]|panicked/), 0, 'no alert');
    };
}

subtest 'the near-cache' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 3);
    my @nginx = map { learning_nginx($redis, store => 'timeout 2s; connect_timeout 2s; cache 1m;') } 1, 2;
    my $seen  = sub ($nginx, $n = 1) {
        my $response = get($nginx, '/app', $n);
        return join ' ', header($response, 'X-Route') // '-', header($response, 'X-Cache') // '-';
    };
    is($seen->($nginx[0]), '- MISS', 'asked, and written');
    my $server = '127.0.0.1:' . route_of($redis, 1);
    is($seen->($nginx[0]), "$server MISS", 'that there was none is not kept');
    is($seen->($nginx[0]), "$server HIT", 'what there is is kept') for 1 .. 3;
    is($seen->($nginx[1]), "$server MISS", 'the other asks too');
    is($seen->($nginx[1]), "$server HIT", 'and keeps it');
    $redis->cmd('SET', route_key(1), '10.9.9.9:1 ' . int(time) . ' 1000', 'EX', 1000);
    for my $nginx (@nginx) {
        ok(eval { wait_for(sub { $seen->($nginx) =~ /\A10\.9\.9\.9:1 / }, seconds => 2) }, 'a change is seen by both');
    }
    is($seen->($nginx[1]), '10.9.9.9:1 HIT', 'and kept');
    $redis->cmd('DEL', route_key(1));
    ok(eval { wait_for(sub { $seen->($nginx[1]) =~ /\A127/ }, seconds => 2) }, 'its end is seen, and it is written anew');
    is(get($nginx[0], '/logout', 2, method => 'POST')->{code}, 204, 'a logout');
    is($seen->($nginx[0], 2), '- MISS', 'a session that is gone');
    is($seen->($nginx[0], 2), '- NEGATIVE', 'is known to be so without its route');
};

subtest 'drained servers are read from the store' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 1);
    my $nginx = learning_nginx($redis);
    sleep 0.1;
    my ($reads) = ($redis->info('commandstats')->{cmdstat_smembers} // '') =~ /calls=(\d+)/;
    is($reads, 1, 'at once');
    ok(eval { wait_for(sub { ($redis->info('commandstats')->{cmdstat_smembers} =~ /calls=(\d+)/)[0] >= 2 }, seconds => 3) }, 'and again');
    $redis->cmd('SADD', 'srr:drain', map { "server$_" . 'x' x 100 } 1 .. 2000);
    sleep 2.2;
    is(get($nginx, '/app', 1)->{code}, 200, 'a set of absurd size');
    is(scalar lines_like($nginx, qr/\[(?:warn|error|alert|crit)\]/), 0, 'nothing to complain of');
    $redis->cmd('DEL', 'srr:drain');
    $redis->cmd('SET', 'srr:drain', 'x');
    ok(eval { wait_for(sub { lines_like($nginx, qr/the set of drained servers is not read: server answered "WRONGTYPE/) }, seconds => 3) }, 'what is no set is said');
    my @old = $nginx->reload;
    ok($nginx->gone(\@old, 5), 'the reading keeps no worker');
};

subtest 'the processes that manage the cache of responses' => sub {
    my $redis = start_redis();
    my $nginx = learning_nginx($redis, workers => 1, http => 'proxy_cache_path cache keys_zone=cache:1m;');
    my $count = sub { return scalar grep { /name=nginx-session-redis/ } split /\n/, $redis->cmd('CLIENT', 'LIST') };
    ok(wait_for(sub { $count->() }), 'the worker reads which servers are drained');
    sleep 0.5;
    is($count->(), 1, 'they do not');
    cmp_ok(scalar children($nginx->pid), '>', 1, 'although they are there');
};

subtest 'what another location does not learn' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 2);
    my $nginx = learning_nginx($redis, server => <<~'END');
        location /redirected { error_page 404 = @learns; proxy_intercept_errors on; session_redis_route /node; session_redis_set_header X-User @user; proxy_pass http://servers/files/none; }
        location @learns     { session_redis_set_header X-User @user; proxy_pass http://servers; }
        location /value      { session_redis_route /user; proxy_pass http://servers/; }
        END
    get($nginx, '/value', 2);
    is(route_of($redis, 2), undef, 'a route of another kind is not written');
    like(get($nginx, '/redirected', 1)->{body}, qr/user=u1/, 'a request that goes on to another location');
    ok(route_of($redis, 1), 'which learns');
};

subtest 'behind Sentinels, through a failover' => sub {
    my $topology = SessionRedis::Sentinel->start(down_after => 1000);
    my $master   = $topology->master;
    put_sessions($master, 1, 20);
    $topology->replicated;
    my $nginx = learning_nginx(undef, where => 'sentinel mymaster ' . $topology->hosts . ';', upstream => 'session_redis_sticky;');
    my %first = map { ($_ => answer($nginx, $_)) } 1 .. 10;
    is(scalar(grep { route_of($master, $_) eq $first{$_} } 1 .. 10), 10, 'written to the master');
    $topology->replicated;
    $master->down;
    wait_for(sub { $topology->master != $master }, seconds => 30, what => 'another master');
    until_found($nginx, 1, seconds => 20);
    is(scalar(grep { answer($nginx, $_) ne $first{$_} } 1 .. 10), 0, 'all are where they were');
    ok(eval { wait_for(sub { answer($nginx, 11); route_of($topology->master, 11) }, seconds => 10) }, 'and new ones are written to the new one');
};

SKIP: {
    skip('no openssl installed', 1) if !have('openssl');
    subtest 'over TLS' => sub {
        my $ca    = certificate_authority();
        my $own   = $ca->certificate(ips => ['127.0.0.1']);
        my $port  = free_port();
        my $redis = start_redis(config => {
            'tls-port' => $port, 'tls-cert-file' => $own->{file}, 'tls-key-file' => $own->{key}, 'tls-ca-cert-file' => $ca->file, 'tls-auth-clients' => 'no',
        });
        put_sessions($redis, 1, 1);
        my $nginx  = learning_nginx($redis, url => "rediss://127.0.0.1:$port", store => 'ssl_trusted_certificate ' . $ca->file . '; timeout 5s; connect_timeout 5s;');
        my $server = answer($nginx, 1);
        is(route_of($redis, 1), $server, 'written');
        is(header(get($nginx, '/app', 1), 'X-Route'), "127.0.0.1:$server", 'and read');
    };
}

subtest 'nginx -t' => sub {
    my $store = 'session_redis redis://127.0.0.1:1; session_redis_framework php;';
    my %cases = (
        "$store session_redis_route learn;" => undef,
        "$store session_redis_route learn create=a ttl=1h prefix=r:;" => undef,
        'location / { session_redis_route learn; }' => qr/"session_redis_route" directive: "learn" without session_redis: there is no store/,
        "session_redis_route learn; location / { $store }" => undef,
        "$store session_redis_route learn; location / { session_redis off; }" => undef,
        "$store session_redis_route learn creat=a;" => qr/unknown parameter "creat="; did you mean "create="\?/,
        "$store session_redis_route learn create=a,b;" => qr/"a,b" is not a cookie's name/,
        "$store session_redis_route learn ttl=soon;" => qr/"soon" is not a time/,
        "$store session_redis_route learn ttl=10ms;" => qr/"ttl=" must be a second at least/,
        "$store session_redis_route learn prefix=;" => qr/"prefix=" is empty/,
        "$store session_redis_route learn ttl=1s ttl=2s;" => qr/"ttl=" stands twice/,
        "$store session_redis_route lern;" => qr/unknown route "lern"/,
        "$store session_redis_route /a /b;" => qr/takes one argument/,
        'session_redis memcached://127.0.0.1:1; session_redis_framework php; session_redis_route learn;' => qr/store "memcached:.*" cannot keep the routes of sessions.*; use a store with a single Redis/,
        'session_redis c; session_redis_framework php; session_redis_route learn;' => qr/store "c" cannot keep the routes/,
    );
    for my $lines (sort keys %cases) {
        my ($ok, $text) = check_config(http => 'session_redis_store c { cluster 127.0.0.1:1; }', server => $lines);
        is(!!$ok, !$cases{$lines}, $lines) or diag $text;
        like($text, $cases{$lines}, 'and why') if $cases{$lines};
    }
};

done_testing();
