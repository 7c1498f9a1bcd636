# A store that is not there: requests are decided at once, and served again
# soon after it is back. The log says each once.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
use IO::Select;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Resp qw(bulk);
use StoreTest;
use Test::More;

# What a request meets when the store does not answer, by location.
sub is_down ($nginx, $what) {
    my $need = get($nginx, '/need', 1);
    is($need->{code}, 503, "$what: 503 where a session is required");
    is(header($need, 'Retry-After'), 1, "$what: with Retry-After");
    is(header($need, 'Cache-Control'), 'no-store', "$what: not to be kept");
    is(header($need, 'Set-Cookie'), undef, "$what: the cookie is left alone");
    is(header($need, 'X-Status'), 'error', "$what: the status says error");
    my $pass = get($nginx, '/pass', 1, headers => [cookie(1), 'X-User: mallory']);
    is($pass->{code}, 200, "$what: passed where none is");
    is($pass->{body}, "user=\n", "$what: without a user, the client's own one gone");
    is(get($nginx, '/fail', 1)->{code}, 503, "$what: 503 with on_error fail");
    is(get($nginx, '/need')->{code}, 401, "$what: without an id the store does not matter");
    return;
}

subtest 'a Redis that is killed and comes back' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 3);
    my $nginx = session_nginx(url => $redis->url);
    is(get($nginx, '/need', 2)->{body}, "user=u2\n", 'at first it is there');

    $redis->down;
    is_down($nginx, 'killed');
    my $result = many(port => $nginx->port, count => 2000, request => sub ($i) { request('/need', $i) });
    is_deeply($result->{codes}, { 503 => 2000 }, 'whatever the traffic');
    cmp_ok($result->{longest}, '<', 2, 'nobody waits');

    my @lines = lines_like($nginx, qr/\[(?:error|warn|alert|crit|emerg)\]/);
    is(scalar(grep { /session store "s" is down/ } @lines), 1, 'one line says that it is down') or diag @lines;
    like($lines[0], qr/is down: connect\(\) failed \(111: Connection refused\), server: 127\.0\.0\.1:\d+/, 'and why');
    cmp_ok(scalar @lines, '<=', 3, 'and hardly any other') or diag explain \@lines;

    $redis->up;
    put_sessions($redis, 1, 3);
    cmp_ok(until_found($nginx, 1), '<', 2, 'back within 2 s of its return');
    is(get($nginx, '/need', 3)->{body}, "user=u3\n", 'with the right session');
    is(scalar lines_like($nginx, qr/\[notice\].*session store "s" is back, server: 127/), 1, 'one line says so');
    is(scalar lines_like($nginx, qr/is down/), 1, 'and no other that it is down');
    is(scalar lines_like($nginx, qr/session0000|sess:/), 0, 'no line holds an id or a key');
};

subtest 'a store that is slower than a connect may be comes back' => sub {
    my $fake = fake_redis(on => { GET => [{ delay => 0.3 }, "\$-1\r\n"] });
    my $nginx = session_nginx(url => $fake->url, store => 'connect_timeout 50ms; timeout 3s; retry 0;');
    $fake->down;
    is(get($nginx, '/need', 1)->{code}, 503, 'down');
    $fake->up;
    my $until = time + 60;
    my $code  = 503;
    $code = get($nginx, '/need', 1)->{code} while $code == 503 && time < $until;
    is($code, 401, 'it answers: there is no such session');
};

subtest 'nobody was there at start' => sub {
    my $fake = fake_redis(data => { key(1) => session_of(1) });
    $fake->down;
    my ($ok, $text) = check_config(http => "session_redis_store s { server @{[$fake->url]}; }", server => 'session_redis s;');
    ok($ok, 'nginx -t does not mind') or diag $text;
    my $nginx = session_nginx(url => $fake->url);
    is_down($nginx, 'refused');
    $fake->up;
    cmp_ok(until_found($nginx, 1), '<', 2, 'found when it appears');
};

subtest 'a Unix socket' => sub {
    my $fake = fake_redis(data => { key(1) => session_of(1) });
    $fake->down;
    my $nginx = session_nginx(url => $fake->unix_url);
    is_down($nginx, 'missing');
    is(scalar lines_like($nginx, qr/is down: connect\(\) failed \(2: No such file or directory\)/), 1, 'the log says so');
    $fake->up;
    cmp_ok(until_found($nginx, 1), '<', 2, 'found when it appears');
    is(header(get($nginx, '/need', 1), 'X-Server'), 'unix:' . $fake->socket, 'by its name');
};

subtest 'a Unix socket that may not be opened' => sub {
    plan skip_all => 'root may open any' if $> == 0;
    my $fake = fake_redis();
    chmod 0, $fake->socket;
    my $nginx = session_nginx(url => $fake->unix_url);
    is_down($nginx, 'not permitted');
};

subtest 'connections that nobody accepts' => sub {
    my $fake  = fake_redis(listen => 'full');
    my $nginx = session_nginx(url => $fake->url, store => 'connect_timeout 100ms;');
    my $took  = seconds { is_down($nginx, 'connect hangs') };
    cmp_ok($took, '<', 2, 'for the time of one connect at most');
    is(scalar lines_like($nginx, qr/is down: connecting timed out/), 1, 'one line');
};

# How a server can fail before it says a word: what it does to a connection, what the log says.
my %mute = (
    'accepted, then silent' => [{ on => { '*' => [{ silence => 1 }] } }, qr/timed out/],
    'never accepted'        => [{ listen => 'never' }, qr/timed out/],
    'accepted, then closed' => [{ on => { connect => { close => 1 } } }, qr/closed the connection|broke/],
    'accepted, then reset'  => [{ on => { connect => { reset => 1 } } }, qr/closed the connection|broke|connect\(\) failed \(104/],
    'closed when asked'     => [{ on => { GET => { close => 1 }, PING => { close => 1 } } }, qr/closed the connection|broke/],
    'closed in mid-reply'   => [{ on => { GET => ["\$20\r\n{\"user\"", { close => 1 }], PING => { close => 1 } } }, qr/closed the connection/],
    'reset in mid-reply'    => [{ on => { GET => ["\$20\r\n{\"user\"", { reset => 1 }], PING => { reset => 1 } } }, qr/closed the connection|broke/],
);

for my $what (sort keys %mute) {
    subtest $what => sub {
        my ($how, $why) = $mute{$what}->@*;
        my $fake  = fake_redis(%$how, data => { key(1) => session_of(1) });
        my $nginx = session_nginx(url => $fake->url);
        my $first = get($nginx, '/need', 1);
        is($first->{code}, 503, 'the first request is refused');
        is_down($nginx, $what);
        my $result = many(port => $nginx->port, count => 200, request => sub ($i) { request('/need', 1) });
        is_deeply($result->{codes}, { 503 => 200 }, 'others too');
        my @down = lines_like($nginx, qr/session store "s" is down/);
        is(scalar @down, 1, 'one line') or diag explain \@down;
        like($down[0], qr/is down: (?:server |connection )?$why/, 'says why');
        return if $how->{listen};
        $fake->behave;
        cmp_ok(until_found($nginx, 1), '<', 2.5, 'served again');
        is(scalar lines_like($nginx, qr/session store "s" is back/), 1, 'one line');
        is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]/), 0, 'nothing worse');
    };
}

# Clients that are in the middle of a request take all that the worker has, but for one.
for my $what ('worker_connections', 'descriptors') {
    subtest "out of $what" => sub {
        my $redis = start_redis();
        put_sessions($redis, 1, 1);
        my %few = $what eq 'descriptors' ? (main => 'worker_rlimit_nofile 40;') : (worker_connections => 24);
        my $nginx  = session_nginx(url => $redis->url, %few);
        my $reason = $what eq 'descriptors' ? qr/connect\(\) failed \(24: Too many open files\)/ : qr/no connection left, worker_connections are not enough/;
        my ($worker) = $nginx->workers;
        my @clients;
        for my $count (1 .. 60) {
            push @clients, open_connection($nginx->port);
            syswrite $clients[-1], "GET /need HTTP/1.1\r\nHost: ";
            my $asking = open_connection($nginx->port);
            syswrite $asking, request('/need', 1);
            my $response = read_response($asking, timeout => 1);
            leave($asking);
            # The connection to Redis is opened anew each time: it is the one to be missing.
            $redis->cmd('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
            last if lines_like($nginx, $reason) || !$response->{code};
        }
        is(scalar grep({ /is down/ } lines_like($nginx, $reason)), 1, 'the log says so once');
        leave($_) for @clients;
        cmp_ok(until_found($nginx, 1, seconds => 10), '<', 9, 'served when there is room again');
        is_deeply([$nginx->workers], [$worker], 'the worker lives');
    };
}

# Whether nginx has not closed a connection.
sub is_open ($client) {
    return IO::Select->new($client)->can_read(0) ? 0 : 1;
}

for my $what ('worker_connections', 'descriptors') {
    subtest "out of $what while the store serves over one connection of two" => sub {
        my $slow  = sub ($words, $) { return $words->[1] eq key(1) ? [{ delay => 1 }, bulk(session_of(1))] : bulk(session_of(2)) };
        my $fake  = fake_redis(on => { GET => $slow });
        my %few   = $what eq 'descriptors' ? (main => 'worker_rlimit_nofile 40;') : (worker_connections => 24);
        my $nginx = session_nginx(url => $fake->url, store => 'connections 2; timeout 5s;', %few,
            server => 'location /gif { session_redis_require @user; empty_gif; }');
        is(get($nginx, '/gif', 2)->{code}, 200, 'it serves');
        # All have begun a request, which nginx does not close. (Before it has read of that it may, "reusing connections" then.)
        my @clients = map { my $client = open_connection($nginx->port); syswrite $client, 'GET '; $client } 1 .. 60;
        wait_for(sub { lines_like($nginx, qr/worker_connections are not enough$|accept4?\(\) failed \(24/) }, what => 'the last one');
        @clients = (undef, grep { is_open($_) } @clients);
        my $begin = sub ($n) { syswrite $clients[$n], substr request('/gif', $n), 4 };
        $begin->(1);
        ok($fake->wait_for_command('GET', 2), 'a lookup takes its time');
        $begin->(2);
        is(read_response($clients[$_])->{code}, 200, "lookup $_ is served") for 1, 2;
        is($fake->connections, 1, 'over one connection');
        is(scalar lines_like($nginx, qr/is down/), 0, 'nothing is said to be down');
    };
}

done_testing();
