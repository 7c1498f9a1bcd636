# A store that is known by name: resolved at run time where there is a
# resolver, at start where there is none.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use FakeDns;
use IO::Socket::INET;
use SessionRedis;
use StoreTest;
use Test::More;
use Time::HiRes qw(sleep);

my $redis = start_redis(config => { bind => '127.0.0.1' });
put_sessions($redis, 1, 3);
my $port = $redis->port;

# Another one, at the same port of another address, whose users are others.
my $second = start_redis(port => $port, env => 'SECOND', config => { bind => '127.0.0.2' });
$second->cmd('SET', key(1), '{"user":"second"}');

sub named ($dns, %how) {
    my $store = delete $how{store} // '';
    return session_nginx(url => "redis://sessions.test:$port", store => "resolver 127.0.0.1:@{[$dns->port]} valid=1s ipv6=off; $store", %how);
}

# Has nginx connect anew.
sub disconnect () {
    $_->cmd('CLIENT', 'KILL', 'TYPE', 'NORMAL', 'SKIPME', 'YES') for $redis, $second;
    return;
}

subtest 'a name' => sub {
    my $dns   = FakeDns->start('sessions.test' => ['127.0.0.1']);
    my $nginx = named($dns);
    is($dns->count('sessions.test'), 0, 'is not resolved at start');
    is(get($nginx, '/need', 1)->{body}, "user=u1\n", 'but when it is needed');
    is(header(get($nginx, '/need', 1), 'X-Server'), "sessions.test:$port", 'and is what the server is called');
    statuses($nginx, '/need', (1) x 20);
    is($dns->count('sessions.test'), 1, 'once for a connection');
};

subtest 'a resolver of http{}' => sub {
    my $dns   = FakeDns->start('sessions.test' => ['127.0.0.1']);
    my $nginx = session_nginx(url => "redis://sessions.test:$port", http => "resolver 127.0.0.1:@{[$dns->port]} ipv6=off;");
    is(get($nginx, '/need', 1)->{code}, 200, 'serves as well');
};

subtest 'an address that changes' => sub {
    my $dns   = FakeDns->start('sessions.test' => ['127.0.0.1']);
    my $nginx = named($dns);
    is(get($nginx, '/need', 1)->{body}, "user=u1\n", 'the old one');
    $dns->set('sessions.test' => ['127.0.0.2']);
    sleep 2.1;
    is(get($nginx, '/need', 1)->{body}, "user=u1\n", 'as long as its connection lives');
    disconnect();
    ok(wait_for(sub { get($nginx, '/need', 1)->{body} eq "user=second\n" }), 'the new one for new connections');
    is(scalar lines_like($nginx, qr/is down/), 0, 'nothing was down');
};

subtest 'a server that moves away' => sub {
    my $dns   = FakeDns->start('sessions.test' => ['127.0.0.3']);
    my $nginx = named($dns);
    is(get($nginx, '/need', 1)->{code}, 503, 'nobody is there');
    $dns->set('sessions.test' => ['127.0.0.1']);
    cmp_ok(until_found($nginx, 1), '<', 4, 'found where it is now, without a reload');
};

subtest 'a name that resolves late' => sub {
    my $dns   = FakeDns->start('sessions.test' => { delay => 0.5, to => ['127.0.0.1'] });
    my $nginx = named($dns, store => 'timeout 250ms;');
    is(get($nginx, '/need', 1)->{code}, 503, 'later than a lookup may take');
    cmp_ok(until_found($nginx, 1), '<', 4, 'found when it is there');
    my $again   = FakeDns->start('sessions.test' => { delay => 0.5, to => ['127.0.0.1'] });
    my $patient = named($again, store => 'timeout 3s;');
    is(get($patient, '/need', 1)->{code}, 200, 'in time');
    is(scalar lines_like($patient, qr/is down/), 0, 'nothing was down');
};

subtest 'many wait for one name' => sub {
    my $dns    = FakeDns->start('sessions.test' => { delay => 0.3, to => ['127.0.0.1'] });
    my $nginx  = named($dns, store => 'timeout 3s; connections 3;');
    my $wrong  = 0;
    my $result = many(port => $nginx->port, count => 100, at_once => 100, request => sub ($i) { request('/need', 1 + $i % 3) },
        each => sub ($i, $response) { $wrong++ if $response->{body} ne "user=u@{[1 + $i % 3]}\n" });
    is_deeply($result->{codes}, { 200 => 100 }, 'and are served');
    is($wrong, 0, 'each with its own');
};

for my $case ([undef, 'does not exist'], [[], 'has no address'], ['servfail', 'fails'], ['silence', 'is not answered']) {
    my ($entry, $what) = @$case;
    subtest "a name that $what" => sub {
        my $dns   = FakeDns->start(defined $entry ? ('sessions.test' => $entry) : ());
        my $nginx = named($dns, store => 'resolver_timeout 1s;');
        my $took  = seconds { is(get($nginx, '/need', 1)->{code}, 503, 'refused') };
        cmp_ok($took, '<', 2, 'not longer than a lookup may take');
        is(get($nginx, '/pass', 1)->{body}, "user=\n", 'passed without a user');
        is(scalar lines_like($nginx, qr/\[error\].*session store "s" is down: (?:server name could not be resolved|server timed out), server: sessions\.test/), 1, 'one line');
        $dns->set('sessions.test' => ['127.0.0.1']);
        cmp_ok(until_found($nginx, 1, seconds => 8), '<', 7, 'found when it has one');
    };
}

subtest 'a lookup goes while its name is resolved' => sub {
    my $dns   = FakeDns->start('sessions.test' => 'silence');
    my $nginx = named($dns, store => 'timeout 2s;');
    for (1 .. 20) {
        my $client = open_connection($nginx->port);
        syswrite $client, request('/need', 1);
        sleep 0.005;
        leave($client, reset => 1);
    }
    my @old = $nginx->reload;
    ok($nginx->gone(\@old, 10), 'the worker leaves');
    is($nginx->quit, 0, 'nginx too');
    is(scalar lines_like($nginx, qr/\[alert\]/), 0, 'without an alert');
};

subtest 'leaving while a name is resolved that nobody needs any more' => sub {
    my $dns   = FakeDns->start('sessions.test' => 'silence');
    my $nginx = named($dns, store => 'timeout 300ms; resolver_timeout 30s;');
    is(get($nginx, '/need', 1)->{code}, 503, 'no answer in time');
    my @old = $nginx->reload;
    ok($nginx->gone(\@old, 5), 'a worker that was reloaded leaves');
    is(get($nginx, '/need', 1)->{code}, 503, 'as little in time');
    cmp_ok(seconds { is($nginx->quit, 0, 'nginx leaves') }, '<', 5, 'at once');
    is(scalar lines_like($nginx, qr/\[alert\]/), 0, 'without an alert');
};

subtest 'leaving while a lookup waits for a name' => sub {
    my $dns    = FakeDns->start('sessions.test' => { delay => 1, to => ['127.0.0.1'] });
    my $nginx  = named($dns, store => 'timeout 5s;');
    my $client = open_connection($nginx->port);
    syswrite $client, request('/need', 1);
    ok(wait_for(sub { $dns->count('sessions.test') }), 'it is asked for');
    my @old = $nginx->reload;
    is(read_response($client)->{code}, 200, 'the lookup is answered');
    ok($nginx->gone(\@old, 3), 'then the worker leaves');
};

subtest 'several addresses of which some are dead' => sub {
    my $dns   = FakeDns->start('sessions.test' => ['127.0.0.3', '127.0.0.1', '127.0.0.4']);
    my $nginx = named($dns);
    for (1 .. 15) {
        is(get($nginx, '/need', 1)->{body}, "user=u1\n", 'the one that lives is found');
        disconnect();
    }
    is(scalar lines_like($nginx, qr/is down/), 0, 'the server is never said to be down');
};

SKIP: {
    my $has_ipv6 = eval { require IO::Socket::IP; IO::Socket::IP->new(LocalHost => '::1', LocalPort => 0, Listen => 1) };
    skip 'no IPv6 here', 1 if !$has_ipv6;
    subtest 'IPv6' => sub {
        my $six = start_redis(env => 'SIX', config => { bind => '::1' });
        put_sessions($six, 1, 1);
        my $dns = FakeDns->start('sessions.test' => ['::1']);
        my $url = 'redis://sessions.test:' . $six->port;
        my $nginx = session_nginx(url => $url, store => "resolver 127.0.0.1:@{[$dns->port]} valid=1s;");
        is(get($nginx, '/need', 1)->{code}, 200, 'a name with no other address');
        $nginx = session_nginx(url => 'redis://[::1]:' . $six->port);
        is(get($nginx, '/need', 1)->{code}, 200, 'an address');
        is(header(get($nginx, '/need', 1), 'X-Server'), '[::1]:' . $six->port, 'and what it is called');
        $dns = FakeDns->start('sessions.test' => ['::1', '127.0.0.1']);
        for my $only ($six, $redis) {
            my $front = session_nginx(url => 'redis://sessions.test:' . $only->port, store => "resolver 127.0.0.1:@{[$dns->port]} valid=1s;");
            for (1 .. 6) {
                is(get($front, '/need', 1)->{code}, 200, 'one family of two is dead');
                $only->cmd('CLIENT', 'KILL', 'TYPE', 'NORMAL', 'SKIPME', 'YES');
            }
            is(scalar lines_like($front, qr/is down/), 0, 'and not said to be down');
        }
    };
}

subtest 'without a resolver' => sub {
    my ($ok, $text) = check_config(http => 'session_redis_store s { server redis://no-such-host.invalid; }', server => 'session_redis s;');
    ok(!$ok, 'a name must be known at start');
    like($text, qr/\[emerg\] .*host not found in .*no-such-host\.invalid/, 'else nginx says so');
    my $nginx = session_nginx(url => "redis://localhost:$port");
    is(get($nginx, '/need', 1)->{code}, 200, 'one that is') for 1 .. 4;
    my $dns = FakeDns->start;
    ($ok, $text) = check_config(http => "resolver 127.0.0.1:@{[$dns->port]}; session_redis_store s { server redis://no-such-host.invalid; }", server => 'session_redis s;');
    ok($ok, 'with one it need not') or diag $text;
};

done_testing();
