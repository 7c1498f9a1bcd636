# memcached as a store: a real one on the event loop, and one that misbehaves.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use IO::Socket::INET;
use SessionRedis;
use SessionRedis::Resp qw(bulk error);
use StoreTest;
use Test::More;
use Time::HiRes qw(sleep);

sub put ($memcached, $first, $last, %how) {
    $memcached->set(key($_), session_of($_), %how) for $first .. $last;
    return;
}

# Many requests at once; each answer must be that of its own session.
sub all_right ($nginx, $count, $sessions, %how) {
    my $path  = delete $how{path} // '/need';
    my $wrong = 0;
    my $result = many(port => $nginx->port, count => $count, at_once => 100, %how,
        request => sub ($i) { request($path, 1 + $i % $sessions) },
        each    => sub ($i, $response) { $wrong++ if $response->{body} ne "user=u@{[1 + $i % $sessions]}\n" });
    is_deeply($result->{codes}, { 200 => $count }, "$count requests are answered");
    is($wrong, 0, 'each with its own session');
    return;
}

sub is_clean ($nginx) {
    is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]|panicked|exited on signal/), 0, 'nothing worse than an error in the log');
    my @spoken = grep { /\A\S+ \S+ \[(?!debug)\w+\]/ } split /\n/, $nginx->log;
    is(scalar(grep { /sess:|session0|"user"|geheim/ } @spoken), 0, 'no line holds an id, a key, a value or a password') or diag explain \@spoken;
    return;
}

subtest 'sessions are found, or not' => sub {
    my $memcached = start_memcached();
    put($memcached, 1, 3);
    $memcached->set(key(4), '');
    $memcached->set(key(5), "\r\nEND\r\n");
    $memcached->set(key(6), '{"user":"u6"}', flags => 4_294_967_295);
    $memcached->set(key(7), '{"user":"' . 'x' x 5000 . '"}');
    $memcached->set(key(8), 'no JSON');
    my $before = $memcached->stat('total_connections');
    my $nginx  = session_nginx(url => $memcached->url, store => 'max_size 4k;');
    is(get($nginx, '/need', $_)->{body}, "user=u$_\n", "session $_") for 1, 2, 3, 6;
    for my $case ([7, 'undecodable'], [4, 'found'], [5, 'undecodable'], [8, 'undecodable'], [9, 'missing']) {
        my ($n, $status) = @$case;
        my $response = get($nginx, '/need', $n);
        is_deeply([$response->{code}, header($response, 'X-Status')], [401, $status], "session $n is $status");
    }
    is(get($nginx, '/need', 1)->{body}, "user=u1\n", 'and the connection goes on');
    is(header(get($nginx, '/need', 1), 'X-Server'), '127.0.0.1:' . $memcached->port, 'the server has its name');
    is($memcached->stat('total_connections'), $before + 1, 'over one connection');
    is(scalar lines_like($nginx, qr/50\d\d bytes are more than "max_size"/), 1, 'the log says what is too large');
    is_clean($nginx);
};

subtest 'an upstream block, a Unix socket, the default port' => sub {
    my @memcached = map { start_memcached() } 1 .. 2;
    put($_, 1, 1) for @memcached;
    my $nginx = session_nginx(url => 'memcached://pool', http => "upstream pool { server 127.0.0.1:@{[$memcached[0]->port]}; server 127.0.0.1:@{[$memcached[1]->port]}; }");
    my %servers = map { header(get($nginx, '/need', 1), 'X-Server') => 1 } 1 .. 4;
    is(scalar keys %servers, 2, 'the servers of an upstream block share the lookups');
    $memcached[0]->down;
    is_deeply([statuses($nginx, '/need', (1) x 6)], [(200) x 6], 'and stand in for each other');

    my $local = start_memcached(socket => 1);
    put($local, 1, 1);
    $nginx = session_nginx(url => $local->url);
    is(get($nginx, '/need', 1)->{body}, "user=u1\n", 'over a Unix socket');
    is(header(get($nginx, '/need', 1), 'X-Server'), 'unix:' . $local->socket, 'by its name');

    my (undef, $text) = check_config(http => 'upstream pool { server 127.0.0.1; } session_redis_store s { server memcached://pool; }', server => 'session_redis s;');
    like($text, qr/\[warn\].*server "127\.0\.0\.1" in upstream "pool" has no port, nginx gave it 80; memcached listens on 11211/, 'a server without a port is named');
    ($nginx) = session_nginx(url => 'memcached://127.0.0.1');
    get($nginx, '/pass', 1);
    is(header(get($nginx, '/pass', 1), 'X-Server'), undef, 'nobody may be there') if !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => 11211);
    is(scalar lines_like($nginx, qr/is down: .*server: 127\.0\.0\.1:11211/), 1, 'at the port of memcached')
        if !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => 11211);
};

subtest 'keys that memcached cannot have are not asked for' => sub {
    my $memcached = start_memcached();
    my $long = 'x' x 250;
    $memcached->set($long, '{"user":"long"}');
    my $front = start_nginx(http => "session_redis_store s { server @{[$memcached->url]}; }", server => <<~'END', log_level => 'info');
        session_redis s; session_redis_cookie sid; session_redis_format json; session_redis_id_length 1 4000;
        add_header X-Status $session_redis_status always;
        location = /plain  { session_redis_key $session_redis_id; session_redis_require /user; }
        location = /spaced { session_redis_key "a b$session_redis_id"; session_redis_require /user; }
        END
    my $status = sub ($path, $id) { header(http($front->port, $path, headers => ["Cookie: sid=$id"]), 'X-Status') };
    is($status->('/plain', $long), 'found', '250 bytes are a key');
    my $gets = $memcached->stat('cmd_get');
    is($status->('/plain', "${long}x"), 'invalid', '251 bytes are none');
    is($status->('/spaced', 'abc'), 'invalid', 'nor is one with a space');
    is($memcached->stat('cmd_get'), $gets, 'and nothing is asked');
    is_clean($front);
};

subtest 'the life of a session' => sub {
    my $memcached = start_memcached();
    my $nginx = session_nginx(url => $memcached->url, life => 1, server => <<~END);
        location /long   { session_redis_touch 60d; session_redis_set_header X-User \@user; proxy_pass http://127.0.0.1:@{[StoreTest::backend()]}; }
        location /short  { session_redis_touch 900ms after=0; session_redis_set_header X-User \@user; proxy_pass http://127.0.0.1:@{[StoreTest::backend()]}; }
        END
    my $life = sub ($ttl, $path) {
        $memcached->set(key(1), session_of(1), ttl => $ttl);
        is(get($nginx, $path, 1)->{code}, 200, "$path is answered");
        get($nginx, '/need', 2);     # on the same connection: what was sent before is done
        return $memcached->ttl(key(1));
    };
    my $about = sub ($got, $expected, $what) { ok(abs($got - $expected) <= 3, $what) or diag "$got, not $expected" };
    $memcached->set(key(1), session_of(1), ttl => 1440);
    my ($left) = get($nginx, '/ttl', 1)->{body} =~ /user=(\d+)/;
    $about->($left, 1440, '$session_redis_ttl is what is left');
    $memcached->set(key(1), session_of(1));
    is(get($nginx, '/ttl', 1)->{body}, "user=\n", 'of what has no end it is empty');
    $about->($life->(100, '/touch'), 3600, 'what is nearly over lives on');
    $about->($life->(7200, '/touch'), 7200, 'what has longer is not shortened');
    is($life->(0, '/touch'), -1, 'what has no end is given none');
    $about->($life->(100, '/long'), 60 * 86400, 'more than 30 days are a date');
    cmp_ok($life->(1, '/short') // -1, '<=', 1, 'less than a second is not sent as "no end"');
    isnt($memcached->ttl(key(1)) // 0, -1, 'nor does it become endless');
    is_clean($nginx);
};

subtest 'a server that knows no lives (memcached before 1.6)' => sub {
    my $old = fake_memcached(data => { key(1) => session_of(1) }, on => { MG => "ERROR\r\n", TOUCH => "ERROR\r\n" });
    my $nginx = session_nginx(url => $old->url, life => 1);
    is(get($nginx, '/ttl', 1)->{body}, "user=\n", 'the session is read, its life is not known');
    is(get($nginx, '/touch', 1)->{body}, "user=u1\n", 'nor extended');
    is($old->count('TOUCH'), 0, 'nothing is written blindly');
    is($old->connections, 1, 'the connection goes on');
    is(scalar lines_like($nginx, qr/\[(?:error|alert|crit|emerg)\]/), 0, 'and nothing is wrong');
};

subtest 'a server that closes connections, but not for being asked for a life' => sub {
    my $shy = fake_memcached(data => { key(1) => session_of(1) }, on => { MG => 'HD k' . key(1) . " t77\r\n", GET => { sequence => [{ close => 1 }, { close => 1 }, 'default'] } });
    my $nginx = session_nginx(url => $shy->url, life => 1);
    is(get($nginx, '/ttl', 1)->{code}, 503, 'twice it serves nobody');
    until_status($nginx, '/ttl', 1, 200);
    wait_for(sub { get($nginx, '/ttl', 1)->{body} eq "user=77\n" }, what => 'the life to be known');
    pass('then lives are known');
    is(scalar lines_like($nginx, qr/is not known from now on/), 0, 'and the log does not say otherwise');
};

subtest 'valid ids without a session' => sub {
    my $memcached = start_memcached();
    my $nginx = session_nginx(url => $memcached->url);
    many(port => $nginx->port, count => 600, request => sub ($i) { request('/pass', $i) });
    is(scalar lines_like($nginx, qr/\[warn\].*session store "s": 500 valid ids, 0 sessions found: check prefix, version(?:,|$)/), 1, 'one line asks for the prefix');
};

subtest 'the end of a session' => sub {
    my $memcached = start_memcached();
    put($memcached, 1, 2);
    my $nginx = session_nginx(url => $memcached->url);
    is(get($nginx, '/logout', 1, method => 'POST')->{code}, 204, 'a logout');
    is($memcached->get(key(1)), undef, 'the item is gone');
    is(get($nginx, '/need', 1)->{code}, 401, 'and the session with it');
    is(get($nginx, '/logout', 1, method => 'POST')->{code}, 204, 'a second one is no mistake');
    is(get($nginx, '/need', 2)->{body}, "user=u2\n", 'others stay');
    $memcached->down;
    my $response = get($nginx, '/logout', 2, method => 'POST');
    is($response->{code}, 503, 'nobody there: 503');
    is(header($response, 'Set-Cookie'), undef, 'the cookie stays');
    is_clean($nginx);
};

subtest 'what a framework keeps beside a session ends with it' => sub {
    my $id    = 'A1B2C3D4E5F60718293A4B5C6D7E8F90-n1.tomcat1';
    my $php   = 'nvo7je1puqt5fqpmlimb09ne8i';
    my %cases = (
        'tomcat manager=msm'     => ["JSESSIONID=$id", $id, "validity:$id", "lock:$id", "bak:$id"],
        'php store=memcached'    => ["PHPSESSID=$php", "memc.sess.key.$php", "memc.sess.key.lock.$php"],
        'php store=memcache'     => ["PHPSESSID=$php", $php, "$php.lock"],
        'php store=memcached prefix=s.' => ["PHPSESSID=$php", "s.$php", "s.lock.$php"],
    );
    my $memcached = start_memcached();
    my @names = sort keys %cases;
    my $nginx = start_nginx(http => "session_redis_store s { server @{[$memcached->url]}; }",
        server => "session_redis s;\n" . join '', map { "location = /$_ { session_redis_framework $names[$_]; session_redis_destroy; }\n" } 0 .. $#names);
    for my $at (0 .. $#names) {
        my ($cookie, @keys) = $cases{ $names[$at] }->@*;
        $memcached->set($_, 'x') for @keys, 'other';
        is(http($nginx->port, "/$at", method => 'POST', headers => ["Cookie: $cookie"])->{code}, 204, $names[$at]);
        is_deeply([grep { defined $memcached->get($_) } @keys, 'other'], ['other'], 'nothing of it is left');
    }
    my $refusing = fake_memcached(data => { map { ($_ => 'x') } $id, "validity:$id", "lock:$id", "bak:$id" },
        on => { DELETE => { sequence => ["DELETED\r\n", "SERVER_ERROR out of memory\r\n", "DELETED\r\n", "DELETED\r\n", 'default'] } });
    $nginx = start_nginx(http => "session_redis_store s { server @{[$refusing->url]}; retry 0; }",
        server => 'session_redis s; location / { session_redis_framework tomcat manager=msm; session_redis_destroy; }');
    my $ask = sub { http($nginx->port, '/', method => 'POST', headers => ["Cookie: JSESSIONID=$id"])->{code} };
    is($ask->(), 503, 'one of them refused: 503');
    is($ask->(), 204, 'replies and commands still belong together');
    is($refusing->connections, 1, 'on the same connection');
};

subtest 'many at once' => sub {
    my $memcached = start_memcached();
    put($memcached, 1, 500, ttl => 10_000);
    my $before = $memcached->stat('total_connections');
    my $nginx  = session_nginx(url => $memcached->url, life => 1, worker_connections => 4096);
    all_right($nginx, 2000, 500);
    all_right($nginx, 2000, 500, path => '/touch');
    is($memcached->stat('total_connections'), $before + 1, 'over one connection of one worker');
    is_clean($nginx);

    my $fake = fake_memcached(data => { map { (key($_), session_of($_)) } 1 .. 500 });
    $nginx = session_nginx(url => $fake->url);
    all_right($nginx, 2000, 500);
    is($fake->count('GET'), 2000, 'a command each');
    cmp_ok($fake->reads, '<', 1900, 'several in one write');
};

subtest 'a network at its worst' => sub {
    my $memcached = start_memcached();
    $memcached->set(key($_), sprintf('{"pad":"%s","user":"u%d"}', 'x' x ($_ * 7 % 3000), $_), ttl => 100_000) for 1 .. 300;
    my $proxy = chaos_proxy(to => $memcached->port, seed => 7, split => 1, direction => 'reply');
    my $url   = 'memcached://127.0.0.1:' . $proxy->port;
    my $nginx = session_nginx(url => $url, store => 'timeout 10s;', life => 1);
    all_right($nginx, 300, 300, at_once => 16);
    all_right($nginx, 300, 300, at_once => 16, path => '/touch');

    $proxy->set(split => 0.3, delay => 0.05, delay_time => [0.01, 0.4], close => 0.01, reset => 0.01, direction => 'both');
    $nginx = session_nginx(url => $url);
    my (%codes, $wrong);
    for my $round (1 .. 5) {
        my $result = many(port => $nginx->port, count => 1000, at_once => 32, timeout => 20, request => sub ($i) { request('/need', 1 + $i * 13 % 300) },
            each => sub ($i, $response) {
                $codes{ $response->{code} }++;
                $wrong++ if $response->{code} == 200 && $response->{body} ne "user=u@{[1 + $i * 13 % 300]}\n" || $response->{code} == 401;
            });
    }
    is($wrong, undef, 'never a wrong session, nor a false "missing"');
    cmp_ok($codes{200} // 0, '>', 100, 'some are served');
    is_deeply([grep { !/\A(?:200|503)\z/ } keys %codes], [], 'the others are refused');
    is_clean($nginx);
};

subtest 'down, up, frozen, and not there at start' => sub {
    my $memcached = start_memcached();
    put($memcached, 1, 2);
    my $nginx = session_nginx(url => $memcached->url);
    is(get($nginx, '/need', 2)->{body}, "user=u2\n", 'at first it is there');
    $memcached->down;
    is_deeply([statuses($nginx, '/need', 1, 2, 1)], [503, 503, 503], 'killed: 503');
    is(get($nginx, '/pass', 1)->{body}, "user=\n", 'no user where none is needed');
    is(scalar lines_like($nginx, qr/\[error\].*session store "s" is down: connect\(\) failed \(111: Connection refused\)/), 1, 'one line says so');
    $memcached->up;
    put($memcached, 1, 2);
    cmp_ok(until_found($nginx, 1), '<', 3, 'back soon');
    is(scalar lines_like($nginx, qr/\[notice\].*session store "s" is back/), 1, 'one line says so');

    $memcached->freeze;
    cmp_ok(seconds { is(get($nginx, '/need', 1)->{code}, 503, 'frozen: 503') }, '<', 2, 'within the timeout');
    is_deeply([statuses($nginx, '/need', 1, 2)], [503, 503], 'others too');
    $memcached->thaw;
    cmp_ok(until_found($nginx, 1), '<', 3, 'back when it thaws');
    is(get($nginx, '/need', 2)->{body}, "user=u2\n", 'with the right session');
    is_clean($nginx);

    $memcached->down;
    $nginx = session_nginx(url => $memcached->url);
    is(get($nginx, '/need', 1)->{code}, 503, 'nobody there at start');
    $memcached->up;
    put($memcached, 1, 1);
    cmp_ok(until_found($nginx, 1), '<', 3, 'found when it appears');
};

subtest 'a connection that was closed as idle' => sub {
    my $fake  = fake_memcached(data => { map { (key($_), session_of($_)) } 1 .. 3 });
    my $nginx = session_nginx(url => $fake->url);
    is(get($nginx, '/need', 1)->{code}, 200, 'at first');
    $fake->on(GET => { sequence => [{ close => 1 }, 'default'] });
    is(get($nginx, '/need', 2)->{body}, "user=u2\n", 'the lookup is sent again');
    is(scalar lines_like($nginx, qr/is down/), 0, 'nobody is down');
};

subtest 'users' => sub {
    my $memcached = start_memcached(users => { web => 'geheim42:x' });
    put($memcached, 1, 2);
    my $file = temp_dir() . '/password';
    open my $out, '>', $file or die "$file: $!\n";
    print {$out} "geheim42:x\n";
    close $out;
    chmod 0640, $file;
    my $nginx = session_nginx(url => $memcached->url, store => "username web; password_file $file;", log_level => 'debug');
    is(get($nginx, '/need', 1)->{body}, "user=u1\n", 'are let in');
    is_clean($nginx);
    for my $case (['', qr/CLIENT_ERROR unauthenticated/, 'without a password'],
        ['username web; password falsch;', qr/CLIENT_ERROR authentication failure\\?" to AUTH/, 'with a wrong password'],
        ['username other; password "geheim42:x";', qr/CLIENT_ERROR authentication failure/, 'who does not exist']) {
        my ($store, $why, $what) = @$case;
        $nginx = session_nginx(url => $memcached->url, store => $store, log_level => 'info');
        is_deeply([statuses($nginx, '/need', 1, 2)], [503, 503], "$what: 503");
        my @lines = lines_like($nginx, qr/\[error\].*session store "s" is down/);
        is(scalar @lines, 1, 'one line');
        like($lines[0] // '', $why, 'says why');
        is_clean($nginx);
    }
    $nginx = session_nginx(url => $memcached->url, store => 'username web; password_file ' . $file . ';');
    open $out, '>', $file or die "$file: $!\n";
    print {$out} "geheim43\n";
    close $out;
    $memcached->down;
    $memcached->{users}{web} = 'geheim43';
    $memcached->up;
    put($memcached, 1, 1);
    cmp_ok(until_found($nginx, 1, seconds => 15), '<', 13, 'a rotated password is read again');

    my $open = start_memcached();
    put($open, 1, 1);
    $nginx = session_nginx(url => $open->url, store => "username web; password geheim;");
    is(get($nginx, '/need', 1)->{body}, "user=u1\n", 'a server that wants none lets us in');
    is($open->get('session_redis_auth'), undef, 'and keeps no password as an item');
};

# What a memcached, or what is taken for one, may answer.
my $fake  = fake_memcached(data => { map { (key($_), session_of($_)) } 1 .. 9 });
my $nginx = session_nginx(url => $fake->url, store => 'timeout 2s;');
my ($worker) = $nginx->workers;
my $value = session_of(1);
my $whole = 'VALUE ' . key(1) . ' 0 ' . length($value) . "\r\n$value\r\nEND\r\n";

sub answered ($action, $expected, $what) {
    $fake->on(GET => $action);
    my $response = get($nginx, '/need', 1);
    is_deeply([$response->{code}, header($response, 'X-Status')], $expected, $what);
    return $response;
}

subtest 'pieces' => sub {
    is(answered([{ bytes => $whole, split => 1, every => 0.001 }], [200, 'found'], 'one byte per read')->{body}, "user=u1\n", 'with its user');
    $fake->on(GET => { sequence => [map { [substr($whole, 0, $_), { delay => 0.003 }, substr($whole, $_)] } 1 .. length($whole) - 1] });
    is_deeply([map { get($nginx, '/need', 1)->{body} } 1 .. length($whole) - 1], [("user=u1\n") x (length($whole) - 1)], 'split at each of its bytes');
};

my %wrong = (
    'an item of another key'       => 'VALUE ' . key(2) . ' 0 ' . length(session_of(2)) . "\r\n" . session_of(2) . "\r\nEND\r\n",
    'a large item of another key'  => 'VALUE ' . key(2) . " 0 100000\r\n" . 'x' x 100_000 . "\r\nEND\r\n",
    'two items'                    => $whole =~ s/END\r\n\z/$whole/r,
    'a negative length'            => 'VALUE ' . key(1) . " 0 -5\r\n",
    'a length that overflows'      => 'VALUE ' . key(1) . " 0 99999999999999999999\r\n",
    'a length over 1 GB'           => 'VALUE ' . key(1) . " 0 1073741825\r\n",
    'a length that is too short'   => $whole =~ s/0 \d+/0 3/r,
    'no END'                       => $whole =~ s/END\r\n\z/DONE\r\n/r,
    'an endless line'              => 'VALUE ' . 'x' x 5000,
    'a word that is no answer'     => "STORED\r\n",
    'an answer to "mg"'            => "EN\r\n",
    'an unknown word'              => "HELLO\r\n",
    'a bare line end'              => "END\n",
    'nothing but a line end'       => "\r\n",
    'RESP'                         => "\$-1\r\n",
    'HTTP'                         => "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    'a TLS alert'                  => "\x15\x03\x03\0\x02\x02\x46",
    'too many connections'         => ["ERROR Too many open connections\r\n", { close => 1 }],
    'a wish for a password'        => "CLIENT_ERROR unauthenticated\r\n",
    'closed in mid-value'          => [substr($whole, 0, 40), { close => 1 }],
    'reset in mid-line'            => ['VALUE', { reset => 1 }],
);
for my $what (sort keys %wrong) {
    subtest $what => sub {
        my $response = answered($wrong{$what}, [503, 'error'], $what);
        unlike($response->{body}, qr/u2/, 'nobody gets the session of another');
        $fake->behave;
        until_found($nginx, 1);
        is_deeply([map { get($nginx, '/need', $_)->{body} } 2 .. 4], [map { "user=u$_\n" } 2 .. 4], 'then others are served');
        is_deeply([$nginx->workers], [$worker], 'by the same worker');
    };
}

for my $text ('ERROR', 'CLIENT_ERROR bad command line format', 'SERVER_ERROR out of memory writing get response', 'SERVER_ERROR Connection refused', 'SERVER_ERROR') {
    subtest $text => sub {
        until_found($nginx, 1);
        $fake->reset_counts;
        answered({ sequence => ["$text\r\n", 'default'] }, [503, 'error'], 'this request fails');
        is(get($nginx, '/need', 2)->{body}, "user=u2\n", 'the next does not');
        is($fake->connections, 0, 'over the same connection');
    };
}

subtest 'a reply that comes late is nobody else\'s' => sub {
    my $slow  = fake_memcached(data => { map { (key($_), session_of($_)) } 1 .. 3 });
    my $front = session_nginx(url => $slow->url, store => 'timeout 150ms;');
    is(get($front, '/need', 3)->{code}, 200, 'at first');
    $slow->on(GET => { sequence => [[{ delay => 0.25 }, $whole], 'default'] });
    my @clients = map { my $c = open_connection($front->port); syswrite $c, request('/need', $_); sleep 0.1; $c } 1 .. 3;
    my @bodies  = map { read_response($_) } @clients;
    is($bodies[0]{code}, 503, 'the first is too late');
    for my $n (2, 3) {
        my $response = $bodies[$n - 1];
        ok($response->{code} == 503 || $response->{body} eq "user=u$n\n", "session $n or none") or diag $response->{body};
    }
    is(get($front, '/need', 2)->{body} // '', "user=u2\n", 'then all is well') if until_found($front, 1) >= 0;
};

subtest 'the wrong server at the port' => sub {
    my $redis     = start_redis();
    my $memcached = start_memcached();
    my $http      = start_nginx(server => 'location / { return 200; }');
    my $secured   = start_redis(password => 'geheim');
    for my $case (
        ['memcached://127.0.0.1:' . $redis->port, qr/server sent an invalid reply: it begins with "\$", is it a Redis server\?/, 'Redis'],
        ['memcached://127.0.0.1:' . $secured->port, qr/server sent an invalid reply: it begins with "-", is it a Redis server\?/, 'Redis with a password'],
        ['memcached://127.0.0.1:' . $http->port, qr/server sent an invalid reply: .*is it a memcached server\?/, 'HTTP'],
        ['redis://127.0.0.1:' . $memcached->port, qr/server sent an invalid reply: it begins with "E", is it a memcached server\?/, 'memcached'],
    ) {
        my ($url, $why, $what) = @$case;
        my $front = session_nginx(url => $url);
        is_deeply([statuses($front, '/need', 1, 2)], [503, 503], "$what: 503");
        my @lines = lines_like($front, qr/\[error\].*session store "s" is down/);
        is(scalar @lines, 1, 'one line');
        like($lines[0] // '', $why, 'says what it may be');
        is_clean($front);
    }
};

subtest 'a reload under load' => sub {
    my $memcached = start_memcached();
    put($memcached, 1, 100);
    my $front = session_nginx(url => $memcached->url, workers => 1);
    my ($old) = $front->workers;
    my $done = 0;
    my $wrong = 0;
    my $result = many(port => $front->port, count => 3000, at_once => 16, request => sub ($i) { request('/need', 1 + $i % 100, keepalive => 0) },
        each => sub ($i, $response) { $front->reload if ++$done == 500; $wrong++ if $response->{body} ne "user=u@{[1 + $i % 100]}\n" });
    is($wrong, 0, 'no request is lost');
    wait_for(sub { !alive($old) }, what => 'the old worker to leave', seconds => 10);
    is_clean($front);
};

is_clean($nginx);
cmp_ok($fake->open_now, '<=', 1, 'one connection is left');

done_testing();
