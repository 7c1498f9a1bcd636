# The helpers that go beyond blocks, each against a plain nginx.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib"; delete $ENV{TEST_NGINX_LOAD_MODULES} }
use SessionRedis;
use SessionRedis::Sessions ();
use Test::More;
use Time::HiRes qw(sleep time);

subtest 'a real Redis' => sub {
    my $redis = start_redis();
    is($redis->cmd('SET', 'a', "x\r\ny"), 'OK', 'SET');
    is($redis->cmd('GET', 'a'), "x\r\ny", 'GET');
    is($ENV{TEST_NGINX_REDIS_PORT}, $redis->port, 'known to blocks');
    is_deeply($redis->cmd('CONFIG', 'GET', 'save'), ['save', ''], 'keeps nothing');
    is($redis->client(database => 3)->cmd('DBSIZE'), 0, 'another database');
    ok($redis->info('clients')->{connected_clients} > 0, 'INFO');

    $redis->freeze;
    my $client = SessionRedis::Redis::Client->connect($redis->port);
    $client->send_bytes("PING\r\n");
    vec(my $in = '', fileno $client->{socket}, 1) = 1;
    is(select($in, undef, undef, 0.1), 0, 'frozen: accepts, and says nothing');
    $redis->thaw;
    is($client->reply, 'PONG', 'thawed');

    $redis->down;
    ok(!eval { $redis->client }, 'down');
    $redis->up;
    is($redis->cmd('DBSIZE'), 0, 'up again, empty');
};

subtest 'a Redis with passwords and users' => sub {
    my $redis = start_redis(env => 'OTHER', password => 'top', users => ['user web on >pw ~sess:* +get']);
    is($redis->cmd('SET', 'sess:1', 'v'), 'OK', 'the superuser');
    is($redis->client(user => 'web', password => 'pw')->cmd('GET', 'sess:1'), 'v', 'a user');
    ok(!eval { $redis->client(user => 'web', password => 'pw')->cmd('DEL', 'sess:1') }, 'what it may not');
    like($@, qr/^NOPERM/, 'is refused');
    ok(!eval { $redis->client->cmd('PING') } && $@ =~ /^NOAUTH/, 'no password, no answer');
    is($ENV{TEST_NGINX_OTHER_SOCKET}, $redis->socket, 'under the name given');

    my $full = start_redis(maxclients => 2);
    my @clients = map { eval { my $c = $full->client; $c->cmd('PING'); $c } } 1 .. 2;
    ok(@clients < 2 || !defined $clients[1], 'maxclients');
};

subtest 'an nginx of its own' => sub {
    my $nginx = start_nginx(
        workers => 2,
        server  => 'location = /pid { return 200 "$pid $http_x_a\n"; } location /big { limit_rate 10; return 200 "0123456789abcdefghijklmno"; }',
    );
    my @workers = $nginx->workers;
    is(@workers, 2, 'workers');
    my ($pid, $header) = http($nginx->port, '/pid', headers => ['X-A: b'])->{body} =~ /(\d+) (\w+)/;
    ok((grep { $_ == $pid } @workers), 'one of which answers');
    is($header, 'b', 'and sees a header');
    cmp_ok($nginx->resident_kb, '>', 1000, 'memory');

    my @old = $nginx->reload(server => 'location / { return 200 new; }');
    is_deeply(\@old, \@workers, 'reload: the old ones');
    ok($nginx->gone(\@old), 'are gone');
    is(http($nginx->port, '/')->{body}, 'new', 'the new configuration');
    like($nginx->log, qr/gracefully shutting down/, 'the log');
    like($nginx->access_log, qr{GET /pid}, 'the access log');
    is($nginx->quit, 0, 'quit');
    ok(!eval { open_connection($nginx->port) }, 'nobody listens');
    ok(!eval { start_nginx(server => 'nonsense;') }, 'a wrong configuration');
    like($@, qr/unknown directive "nonsense"/, 'is told');
};

subtest 'nginx -t' => sub {
    my ($ok, $text) = nginx_test(server => 'location / { return 200; }');
    ok($ok, 'accepted') or diag $text;
    ($ok, $text) = nginx_test(http => 'retrun 200;');
    ok(!$ok, 'refused');
    like($text, qr/unknown directive "retrun" in \S+nginx\.conf:\d+/, 'why');
    cmp_ok(nginx_version(), '>', 1_000_000, 'version');
};

subtest 'HTTP clients' => sub {
    my $h2    = free_port();
    my $nginx = start_nginx(http => 'server { ' . h2_listen($h2) . ' location / { return 200 "$server_protocol $http_cookie\n"; } }', server => <<~'END');
        location = /echo  { return 200 "$request_method $content_length\n"; }
        location = /none  { return 444; }
        location = /slow  { limit_rate 5; return 200 "0123456789abcdefghij"; }
        location = /multi { add_header X-M a always; add_header X-M b always; return 404; }
        END
    is(http($nginx->port, '/echo', body => 'abc')->{body}, "POST 3\n", 'a body');
    is(http($nginx->port, '/echo', method => 'HEAD')->{body}, '', 'HEAD');
    my $response = http($nginx->port, '/multi');
    is($response->{code}, 404, 'code');
    is(header($response, 'x-m'), 'a, b', 'header');
    is(raw_http($nginx->port, "GET /none HTTP/1.0\r\n\r\n"), '', 'no answer');
    like(raw_http($nginx->port, "BAD\r\n\r\n"), qr/400 Bad Request/, 'bytes as they are');

    my $socket = open_connection($nginx->port);
    for (1 .. 2) {
        syswrite $socket, request_bytes('/echo', keepalive => 1);
        is(read_response($socket)->{body}, "GET \n", 'a kept connection');
    }
    leave($socket, reset => 1);

    SKIP: {
        skip 'no curl', 2 if !have('curl');
        $response = http2($h2, '/', headers => ['Cookie: a=1', 'Cookie: b=2']);
        is($response->{code}, 200, 'HTTP/2');
        is($response->{body}, "HTTP/2.0 a=1; b=2\n", 'with cookies in two fields');
    }
};

subtest 'many requests at once' => sub {
    my $nginx = start_nginx(http => 'keepalive_requests 100000;', server => <<~'END');
        location /n { return 200 "$arg_i\n"; }
        location = /none { return 444; }
        location = /slow { limit_rate 1; return 200 "0123456789abcdefghij"; }
        END
    my $wrong = 0;
    my $result = many(
        port => $nginx->port, count => 5000, at_once => 100,
        request => sub ($i) { request_bytes("/n?i=$i", keepalive => $i % 10) },
        each    => sub ($i, $response) { $wrong++ if $response->{body} ne "$i\n" },
    );
    is_deeply($result->{codes}, { 200 => 5000 }, 'all are answered');
    is($wrong, 0, 'each with its own answer');
    note sprintf '%d requests/s', 5000 / $result->{seconds};

    $result = many(port => $nginx->port, count => 20, request => sub ($i) { request_bytes('/none') });
    is($result->{lost}, 20, 'lost');
    $result = many(port => $nginx->port, count => 20, request => sub ($i) { request_bytes('/slow') }, leave => sub ($i) { 0.01 });
    is($result->{left}, 20, 'clients that leave');
    $result = many(port => $nginx->port, count => 3, request => sub ($i) { request_bytes('/slow') }, timeout => 0.1);
    is($result->{timed_out}, 3, 'timed out');
    $result = many(port => free_port(), count => 3, request => sub ($i) { request_bytes('/') });
    is($result->{refused}, 3, 'refused');
};

subtest 'sessions' => sub {
    my $redis = start_redis();
    my $dir   = temp_dir();
    SessionRedis::Sessions::set_data_dir($dir);
    open my $out, '>', "$dir/plain.json" or die $!;
    print {$out} '{"name":"plain","cookie_name":"sid","cookie_value":"a%2Fb","redis_key":"s:a","ttl":60,"value_base64":"eyJhIjoxfQ=="}';
    close $out;
    open $out, '>', "$dir/hash.json" or die $!;
    print {$out} '{"name":"hash","redis_key":"h:a","ttl":-1,"hash_base64":{"data":"AAE="},"expected":{"n":9007199254740993}}';
    close $out;
    is_deeply([fixture_names()], [qw(hash plain)], 'names');
    is(store_fixture($redis, 'plain')->{cookie}, 'sid=a%2Fb', 'a cookie');
    is($redis->cmd('GET', 's:a'), '{"a":1}', 'a string');
    is($redis->cmd('TTL', 's:a'), 60, 'its TTL');
    is(store_fixture($redis, 'hash')->{expected}{n}, '9007199254740993', 'a large integer');
    is($redis->cmd('HGET', 'h:a', 'data'), "\0\1", 'a hash');
    is(
        express_cookie('cHpUiV7wDyBcQkpfsYRiyLq-GQSIlbB8', 'keyboard cat'),
        's%3AcHpUiV7wDyBcQkpfsYRiyLq-GQSIlbB8.5ioZhFw2%2F25127zq6w0dbcsHqltBe%2FDEe14YLImDUDE',
        'an Express cookie, as Express signed it',
    );
};

subtest 'PHP writes a session' => sub {
    plan skip_all => 'no php-fpm with phpredis' if !have_php();
    my $redis = start_redis();
    my $php   = start_php(redis => $redis, files => { 'login.php' => '<?php session_start(); $_SESSION["user_id"] = $_GET["u"]; echo "in";' });
    my $nginx = start_nginx(server => $php->{location});
    my $response = http($nginx->port, '/login.php?u=7');
    is($response->{body}, 'in', 'it runs');
    my ($id) = header($response, 'Set-Cookie') =~ /PHPSESSID=([^;]+)/;
    is($redis->cmd('GET', "PHPREDIS_SESSION:$id"), 'user_id|s:1:"7";', 'its session');
};

subtest 'a Node program' => sub {
    plan skip_all => 'no node' if !have_node();
    my $node = start_node(script => q{
        require('http').createServer((q, s) => s.end(process.env.WHO + q.url)).listen(process.env.PORT, '127.0.0.1')
    }, env => { WHO => 'node' });
    is(http($node->{port}, '/x')->{body}, 'node/x', 'answers');
    ok(!have_node(packages => ['no-such-package']), 'a package that is not there');
};

subtest 'nothing outlives a test' => sub {
    my $script = <<'END';
        use SessionRedis;
        my $redis = start_redis(); my $fake = fake_redis(); my $nginx = start_nginx(server => '');
        $| = 1; print join(' ', $redis->pid, $fake->pid, $nginx->pid), "\n", join(' ', temp_dir(), $redis->{dir}), "\n";
END
    for my $end ('die "on purpose"', 'kill KILL => $$', 'kill INT => $$; sleep 5') {
        open my $test, '-|', $^X, "-I$FindBin::Bin/lib", '-e', "open STDERR, '>', '/dev/null'; $script; $end" or die $!;
        my @pids = split ' ', <$test>;
        my @dirs = split ' ', <$test>;
        1 while <$test>;
        close $test;
        ok(eval { wait_for(sub { !grep { alive($_) } @pids }) }, "processes, after: $end");
        ok(eval { wait_for(sub { !grep { -e } @dirs }) }, "directories, after: $end");
    }
};

done_testing();
