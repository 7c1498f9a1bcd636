# What a Redis, or what is taken for one, may answer: each has its outcome,
# the worker lives, and the next request is served as if nothing had been.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Resp qw(array bulk error integer map_of null push_of simple);
use StoreTest;
use Test::More;
use Time::HiRes qw(sleep);

my $value = session_of(1);
my $fake  = fake_redis(data => { map { (key($_), session_of($_)) } 1 .. 9 });
my $nginx = session_nginx(url => $fake->url, store => 'timeout 2s;');
my ($worker) = $nginx->workers;

# Back to normal: the fake behaves, the store is up.
sub all_well ($what) {
    $fake->behave;
    until_found($nginx, 1);
    my @wrong = grep { get($nginx, '/need', $_)->{body} ne "user=u$_\n" } 2 .. 4;
    is_deeply(\@wrong, [], "$what: then others are served");
    is_deeply([$nginx->workers], [$worker], "$what: by the same worker");
    return;
}

# The outcome of a lookup that is answered so: [code, status].
sub answered ($action, $expected, $what) {
    $fake->on(GET => $action);
    my $response = get($nginx, '/need', 1);
    is_deeply([$response->{code}, header($response, 'X-Status')], $expected, $what);
    is($response->{body}, "user=u1\n", "$what: with its user") if $response->{code} == 200;
    return;
}

my $found       = [200, 'found'];
my $nameless    = [401, 'found'];
my $missing     = [401, 'missing'];
my $undecodable = [401, 'undecodable'];
my $failed      = [503, 'error'];

subtest 'pieces' => sub {
    answered([{ bytes => bulk($value), split => 1, every => 0.001 }], $found, 'one byte per read');
    my $reply = bulk($value);
    $fake->on(GET => { sequence => [map { [substr($reply, 0, $_), { delay => 0.003 }, substr($reply, $_)] } 1 .. length($reply) - 1] });
    my @codes = map { get($nginx, '/need', 1)->{body} } 1 .. length($reply) - 1;
    is_deeply(\@codes, [("user=u1\n") x (length($reply) - 1)], 'split at each of its bytes');
    all_well('pieces');
};

subtest 'many replies in one read' => sub {
    my $held = fake_redis(on => { GET => { sequence => [[{ delay => 0.2 }, bulk(session_of(0))], map { bulk(session_of($_)) } 1 .. 49] } });
    my $front = session_nginx(url => $held->url, store => 'timeout 2s;');
    my @clients = map { my $c = open_connection($front->port); syswrite $c, request('/need', $_); sleep 0.002; $c } 0 .. 49;
    my @bodies  = map { read_response($_)->{body} } @clients;
    is_deeply(\@bodies, [map { "user=u$_\n" } 0 .. 49], 'each goes to its own request');
};

subtest 'nothing' => sub {
    answered($_, $missing, 'null as ' . s/\r\n//r) for "\$-1\r\n", "*-1\r\n", "_\r\n";
    answered(bulk(''), $nameless, 'an empty string is a session without names');
    all_well('null');
};

subtest 'RESP3' => sub {
    answered("|1\r\n+ttl\r\n:3600\r\n" . bulk($value), $found, 'an attribute before the reply');
    answered(push_of(bulk('invalidate'), "*1\r\n" . bulk('x')) . bulk($value), $found, 'a push before the reply');
    all_well('RESP3');
};

my %unexpected = (
    'a status' => simple('OK'), 'an integer' => integer(1), 'an array' => array(bulk($value)), 'an empty array' => "*0\r\n",
    'a map' => map_of(bulk('user'), bulk('u1')), 'an empty map' => "%0\r\n", 'a set' => "~1\r\n" . bulk($value), 'an empty set' => "~0\r\n",
    'a double' => ",1.5\r\n", 'a boolean' => "#t\r\n", 'a big number' => "(3492890328409238509324850943850943825024385\r\n",
    'a verbatim string' => '=' . (4 + length $value) . "\r\ntxt:$value\r\n", 'a streamed string' => "\$?\r\n;4\r\nabcd\r\n;0\r\n",
);
for my $what (sort keys %unexpected) {
    subtest $what => sub {
        my $before = $fake->connections;
        answered($unexpected{$what}, $failed, $what);
        all_well($what);
        is(scalar lines_like($nginx, qr/unexpected type|invalid reply/) > 0, 1, 'the log says so');
    };
}

my %invalid = (
    'a length that is no number'  => "\$abc\r\n",
    'no length'                   => "\$\r\n",
    'a negative length'           => "\$-2\r\nab\r\n",
    'an overflowing length'       => "\$99999999999999999999999999\r\nab\r\n",
    'a length of 2^64 + 2'        => "\$18446744073709551618\r\nab\r\n",
    'a string over 512 MB'        => "\$536870913\r\nab",
    'an array of 10^9'            => "*1000000000\r\n",
    'an array of -5'              => "*-5\r\n",
    'a map of 2^63'               => "%9223372036854775808\r\n",
    '100 000 arrays in arrays'    => "*1\r\n" x 100_000,
    'a string longer than said'   => "\$3\r\nabcdef\r\n",
    'an integer that is none'     => ":12a\r\n",
    'a line without an end'       => '+' . 'x' x 10_000,
    'an error without an end'     => '-ERR ' . 'x' x 100_000,
    'a line end without CR'       => "\$2\nab\n",
    'a push within a reply'       => "*2\r\n>1\r\n+x\r\n+y\r\n",
    'HTTP'                        => "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    'memcached'                   => "ERROR\r\n",
    'NULs'                        => "\0" x 100,
);
for my $what (sort keys %invalid) {
    subtest $what => sub {
        my $before = () = lines_like($nginx, qr/invalid reply/);
        answered($invalid{$what}, $failed, $what);
        my $after = () = lines_like($nginx, qr/invalid reply/);
        cmp_ok($after, '>', $before, 'the log says that the reply is invalid');
        all_well($what);
    };
}
like(join("\n", lines_like($nginx, qr/invalid reply/)), qr/it begins with "H", is it a Redis server\?/, 'another protocol is guessed');

subtest 'too long for us' => sub {
    $fake->reset_counts;
    answered(bulk('x' x 70_000), $undecodable, 'over max_size');
    answered([{ bytes => bulk('x' x 70_000), split => 7_000, every => 0.001 }], $undecodable, 'in pieces');
    answered(bulk(session_of(1) . ' ' x 60_000), $found, 'a large one that is not');
    is($fake->connections, 0, 'the connection stays');
    all_well('too long');
    is(scalar lines_like($nginx, qr/\[warn\].*70000 bytes are more than "max_size"; 1 sessions not read/), 1, 'said once a minute');
};

subtest '100 MB' => sub {
    my $huge  = fake_redis(data => { key(1) => session_of(1) }, on => { GET => sub ($words, $) { $words->[1] eq key(2) ? bulk('x' x (100 << 20)) : undef } });
    my $front = session_nginx(url => $huge->url, store => 'timeout 20s;');
    is(get($front, '/need', 1)->{code}, 200, 'an ordinary session');
    my $before   = $front->resident_kb;
    my $response = get($front, '/need', 2, timeout => 30);
    is(header($response, 'X-Status'), 'undecodable', 'one of 100 MB');
    cmp_ok($front->resident_kb - $before, '<', 4096, 'is not kept in memory');
    is(get($front, '/need', 1)->{code}, 200, 'the next one');
    is($huge->connections, 2, 'over a fresh connection, since nobody reads all that');
    is(header(get($front, '/need', 2), 'X-Status'), 'undecodable', 'and once more');
    is(scalar grep({ $_->[1] eq 'GET' && $_->[2] eq key(2) } $huge->commands), 1, 'which is known by now');
    $huge->stop;
};

subtest 'more than was asked for' => sub {
    for my $more ([bulk(session_of(2)), 'another reply'], ["junk\r\n", 'bytes'], ["\$5\r\nab", 'half a reply'], [null(), 'null'], [error('ERR oops'), 'an error']) {
        my ($bytes, $what) = @$more;
        $fake->on(GET => { sequence => [bulk($value) . $bytes, 'default'] });
        is(get($nginx, '/need', 1)->{body}, "user=u1\n", "$what: the first is served");
        my %bodies = map { ($_ => 1) } map { my $r = get($nginx, '/need', 3); $r->{code} == 200 ? $r->{body} : 'error' } 1 .. 10;
        delete @bodies{"user=u3\n", 'error'};
        is_deeply(\%bodies, {}, "$what: it is nobody's");
        all_well($what);
    }
};

subtest 'what comes to an idle connection' => sub {
    all_well('idle');
    $fake->reset_counts;
    $fake->push_bytes(push_of(bulk('invalidate'), null()));
    is(get($nginx, '/need', 3)->{body}, "user=u3\n", 'a push is no reply');
    is($fake->connections, 0, 'and ends nothing');
    for my $bytes (bulk(session_of(2)), null(), simple('OK'), integer(1), "garbage\r\n", "\$10\r\nab", error('ERR Client sent too much')) {
        all_well('idle');
        $fake->push_bytes($bytes);
        sleep 0.03;
        my %bodies = map { ($_ => 1) } map { my $r = get($nginx, '/need', 3); $r->{code} == 200 ? $r->{body} : 'error' } 1 .. 5;
        delete @bodies{"user=u3\n", 'error'};
        is_deeply(\%bodies, {}, ($bytes =~ /\A([^\r]*)/)[0] . ' is nobody\'s');
    }
    all_well('idle');
    $fake->push_bytes(push_of(bulk('message'), bulk('x' x 100_000)));
    sleep 0.03;
    all_well('a push that is too large');
};

subtest 'an answer less than asked for' => sub {
    my $mute  = fake_redis(data => { map { (key($_), session_of($_)) } 1 .. 9 }, on => { GET => { sequence => [[], 'default'] } });
    my $front = session_nginx(url => $mute->url, store => 'timeout 300ms;');
    my @first = map { my $c = open_connection($front->port); syswrite $c, request('/need', $_); sleep 0.02; $c } 1 .. 3;
    my @right = grep { my $r = read_response($first[$_ - 1]); $r->{code} == 503 || $r->{body} eq "user=u$_\n" } 1 .. 3;
    # A server that forgets a reply cannot be told from one that is merely late, until the count is found to be wrong.
    note "right: @right";
    until_found($front, 1);
    is(get($front, '/need', $_)->{body}, "user=u$_\n", 'later ones are right') for 4 .. 6;
};

subtest 'the wrong type of key' => sub {
    my $redis = start_redis();
    $redis->cmd('RPUSH', key(1), 'a');
    $redis->cmd('HSET', key(2), 'user', 'u2');
    put_sessions($redis, 3, 3);
    my $front = session_nginx(url => $redis->url);
    is(header(get($front, '/need', $_), 'X-Status'), 'undecodable', 'is not a session') for 1, 2;
    is(get($front, '/need', 3)->{code}, 200, 'others are');
    is(scalar lines_like($front, qr/\[warn\].*the key holds neither string nor hash/), 1, 'said once');
};

for my $text ('LOADING Redis is loading the dataset in memory', 'BUSY Redis is busy running a script. You can only call SCRIPT KILL',
    'MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to \'no\'.', 'CLUSTERDOWN The cluster is down', 'NOAUTH Authentication required.') {
    my ($code) = split ' ', $text;
    subtest "-$code" => sub {
        my $sick  = fake_redis(data => { key(1) => session_of(1) }, on => { GET => error($text) });
        my $front = session_nginx(url => $sick->url);
        my $result = many(port => $front->port, count => 200, at_once => 4, request => sub ($i) { request('/need', 1) });
        is_deeply($result->{codes}, { 503 => 200 }, 'nobody is served');
        sleep 1;
        is(get($front, '/need', 1)->{code}, 503, 'a while later');
        cmp_ok($sick->count('GET'), '<', 20, 'and it is left alone');
        cmp_ok($sick->open_now, '<=', 2, 'connections do not pile up');
        is(scalar lines_like($front, qr/session store "s" is down: server answered "$code/), 1, 'one line');
        $sick->behave;
        cmp_ok(until_found($front, 1), '<', 2, 'back as soon as it is well');
        cmp_ok($sick->open_now, '<=', 1, 'with one connection');
        is(scalar lines_like($front, qr/is back/), 1, 'one line');
    };
}

for my $text ('READONLY You can\'t write against a read only replica.', 'OOM command not allowed when used memory > \'maxmemory\'.',
    'MISCONF Redis is configured to save RDB snapshots', 'NOREPLICAS Not enough good replicas to write.', 'TRYAGAIN Multiple keys request during rehashing of slot',
    'MOVED 3999 127.0.0.1:6381', 'ASK 3999 127.0.0.1:6381', 'NOPERM this user has no permissions', 'ERR unknown command', 'EXECABORT x', '') {
    my ($code) = split ' ', $text;
    subtest '-' . ($code // '') => sub {
        $fake->reset_counts;
        answered({ sequence => [error($text), 'default'] }, $failed, 'this request fails');
        is(get($nginx, '/need', 2)->{body}, "user=u2\n", 'the next does not');
        is($fake->connections, 0, 'over the same connection');
    };
}

subtest 'too many clients' => sub {
    my $redis = start_redis(maxclients => 2);
    put_sessions($redis, 1, 1);
    my $other = $redis->client;
    my $front = session_nginx(url => $redis->url);
    is(get($front, '/need', 1)->{code}, 503, 'no room for us') for 1 .. 3;
    is(scalar lines_like($front, qr/session store "s" is down: .*(?:max number of clients reached|closed|reset)/), 1, 'one line says why');
    undef $other;
    cmp_ok(until_found($front, 1), '<', 2, 'there is room again');
};

is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]|panicked|signal/), 0, 'nothing worse than an error');
is(scalar lines_like($nginx, qr/sess:|session0|"user"/), 0, 'no line holds an id, a key or a value');
cmp_ok($fake->open_now, '<=', 1, 'one connection is left');

done_testing();
