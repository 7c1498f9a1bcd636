# A store whose servers stand in an upstream block: who is asked, who is left
# alone, who is asked instead.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Resp qw(bulk error);
use StoreTest;
use Test::More;
use Time::HiRes qw(sleep time);

my %data = map { (key($_), session_of($_)) } 1 .. 8;

# As many fake servers, each with the session of the others.
sub servers ($count, @each) {
    return map { fake_redis(data => \%data, ($each[$_] // [])->@*) } 0 .. $count - 1;
}

# An nginx with these "server" lines in the upstream.
sub with_servers ($lines, %how) {
    my $text = join "\n", map { "server $_;" } @$lines;
    return session_nginx(url => 'redis://block', http => "upstream block { $text }", %how);
}

sub address ($fake) { return '127.0.0.1:' . $fake->port }

sub all_found ($nginx, $count, $what) {
    my @codes = statuses($nginx, '/need', (1) x $count);
    return is_deeply(\@codes, [(200) x $count], $what);
}

subtest 'weight' => sub {
    my ($heavy, $light) = servers(2);
    my $nginx = with_servers([address($heavy) . ' weight=3', address($light)]);
    all_found($nginx, 40, 'all found');
    is($heavy->count('GET'), 30, 'three quarters');
    is($light->count('GET'), 10, 'a quarter');
    is(header(get($nginx, '/need', 1), 'X-Server') =~ /\A127\.0\.0\.1:\d+\z/, 1, 'the server is named');
};

subtest 'backup and down' => sub {
    my ($main, $backup, $off) = servers(3);
    my $nginx = with_servers([address($main) . ' fail_timeout=1s', address($backup) . ' backup', address($off) . ' down']);
    all_found($nginx, 10, 'all found');
    is($backup->count, 0, 'the backup is not asked');
    $main->down;
    all_found($nginx, 10, 'found at the backup');
    is($backup->count('GET'), 10, 'which is asked now');
    is(scalar lines_like($nginx, qr/\[warn\].*a server of session store "s" is down: .* server: @{[address($main)]}/), 1, 'one line');
    is(scalar lines_like($nginx, qr/\[error\]/), 0, 'no request has failed');
    $main->up;
    $main->reset_counts;
    wait_for(sub { get($nginx, '/need', 1); $main->count('GET') > 1 }, what => 'the main server');
    $backup->reset_counts;
    all_found($nginx, 10, 'found');
    is($backup->count, 0, 'the backup rests again');
    is(scalar lines_like($nginx, qr/\[notice\].*a server of session store "s" is back/), 1, 'one line');
    is($off->connections, 0, 'nobody ever looks at one that is down');
};

subtest 'max_fails' => sub {
    my ($bad, $good) = servers(2, [on => { GET => { close => 1 } }]);
    my $nginx = with_servers([address($bad) . ' max_fails=3 fail_timeout=60s', address($good)]);
    all_found($nginx, 30, 'each is found, if not here, then there');
    is($bad->count('GET'), 3, 'asked as often as it may fail');
    is(scalar lines_like($nginx, qr/a server of session store "s" is down/), 1, 'one line');
};

subtest 'max_fails=0' => sub {
    my ($bad, $good) = servers(2, [on => { GET => { close => 1 } }]);
    my $nginx = with_servers([address($bad) . ' max_fails=0', address($good)]);
    all_found($nginx, 20, 'each is found');
    cmp_ok($bad->count('GET'), '>', 5, 'it is never left alone');
    is(scalar lines_like($nginx, qr/is down/), 0, 'nor said to be down');
};

subtest 'fail_timeout' => sub {
    my ($bad, $good) = servers(2, [on => { GET => { close => 1 } }]);
    my $nginx = with_servers([address($bad) . ' fail_timeout=1s', address($good)]);
    all_found($nginx, 6, 'each is found');
    is($bad->count('GET'), 1, 'asked once');
    $bad->behave;
    wait_for(sub { get($nginx, '/need', 1); $bad->count('GET') > 1 }, what => 'the server that is well again');
    pass('asked again after its fail_timeout');
};

subtest 'no server left' => sub {
    my @fakes = servers(2);
    my $nginx = with_servers([map { address($_) } @fakes]);
    all_found($nginx, 4, 'found');
    $_->down for @fakes;
    is(get($nginx, '/need', 1)->{code}, 503, 'refused') for 1 .. 5;
    is(scalar lines_like($nginx, qr/\[error\].*: session store "s" is down/), 1, 'one line for the store');
    is(scalar lines_like($nginx, qr/\[warn\].*a server of session store "s" is down/), 1, 'one for the server before');
    $fakes[1]->up;
    cmp_ok(until_found($nginx, 1), '<', 2, 'one is enough');
};

subtest 'retry on another server' => sub {
    for my $how ([{ close => 1 }], [error('LOADING Redis is loading the dataset in memory')], [error('MASTERDOWN Link with MASTER is down')],
        [error('BUSY Redis is busy running a script')], ["nonsense\r\n"], [":1\r\n"]) {
        my ($bad, $good) = servers(2, [on => { GET => $how }]);
        my $nginx = with_servers([address($bad), address($good)]);
        all_found($nginx, 4, 'the other server is asked');
        $nginx->quit;
    }
    my ($bad, $good) = servers(2, [on => { GET => { close => 1 } }]);
    my $nginx = with_servers([address($bad), address($good)], store => 'retry 0;');
    my %codes;
    $codes{$_}++ for statuses($nginx, '/need', (1) x 4);
    is_deeply(\%codes, { 200 => 3, 503 => 1 }, 'not with retry 0');
};

subtest 'a server that is frozen' => sub {
    my $redis  = start_redis();
    my ($good) = servers(1);
    put_sessions($redis, 1, 8);
    my $nginx = with_servers(['127.0.0.1:' . $redis->port, address($good)], store => 'timeout 1s;');
    all_found($nginx, 4, 'at first both answer');
    $redis->freeze;
    # The first to wait times out and finds the server stuck: those behind it are sent to the other one.
    my @clients = map { open_connection($nginx->port) } 1 .. 2;
    syswrite $clients[$_], request('/need', 1 + $_) for 0, 1;
    sleep 0.5;
    push @clients, map { open_connection($nginx->port) } 1 .. 6;
    syswrite $clients[$_], request('/need', 1 + $_) for 2 .. $#clients;
    my %codes;
    $codes{ read_response($_)->{code} }++ for @clients;
    is_deeply(\%codes, { 200 => 7, 503 => 1 }, 'only whose time is up fails');
    all_found($nginx, 4, 'then the other serves all');
    $redis->thaw;
};

subtest 'a reused connection that is dead' => sub {
    for my $retry (1, 0) {
        my ($fake) = servers(1, [on => { GET => { sequence => ['default', { close => 1 }, 'default'] } }]);
        my $nginx = with_servers([address($fake)], store => "retry $retry;");
        my @codes = statuses($nginx, '/need', 1, 1, 1);
        is_deeply(\@codes, [200, $retry ? 200 : 503, 200], "retry $retry");
        is($fake->connections, 2, 'a fresh connection');
        is(scalar lines_like($nginx, qr/is down/), 0, 'the server is not to blame');
    }
};

subtest 'several reused connections that are dead' => sub {
    my ($fake) = servers(1, [on => { GET => { sequence => [([{ delay => 0.2 }, bulk($data{ key(1) })]) x 4, ([{ delay => 0.1 }, { close => 1 }]) x 4, 'default'] } }]);
    my $nginx = with_servers([address($fake)], store => 'connections 4; timeout 2s;');
    for my $round (1, 2) {
        my $result = many(port => $nginx->port, count => 4, at_once => 4, request => sub ($i) { request('/need', 1 + $i) });
        is_deeply($result->{codes}, { 200 => 4 }, $round == 1 ? 'four connections' : 'all dead, all asked again over fresh ones');
        is($fake->connections, 4, 'opened') if $round == 1;
    }
    cmp_ok($fake->connections, '<=', 8, 'and not more than needed');
    is(scalar lines_like($nginx, qr/is down/), 0, 'the server is not to blame');
};

subtest 'CLIENT KILL' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 50);
    my $nginx  = session_nginx(url => $redis->url, store => 'connections 3;');
    my $count  = 3000;
    my $wrong  = 0;
    my $result = many(port => $nginx->port, count => $count, at_once => 20, request => sub ($i) { request('/need', 1 + $i % 50) },
        each => sub ($i, $response) {
            $wrong++ if $response->{body} ne "user=u@{[1 + $i % 50]}\n";
            $redis->cmd('CLIENT', 'KILL', 'TYPE', 'NORMAL', 'SKIPME', 'YES') if $i % 300 == 150;
        });
    is_deeply($result->{codes}, { 200 => $count }, 'nobody notices');
    is($wrong, 0, 'each has its own session');
    is(scalar lines_like($nginx, qr/is down/), 0, 'the server is not said to be down');
};

subtest 'a Unix socket in a block' => sub {
    my ($fake) = servers(1);
    my $nginx = with_servers(['unix:' . $fake->socket]);
    all_found($nginx, 2, 'is asked');
};

subtest 'a replica that takes no writes' => sub {
    my $readonly = error("READONLY You can't write against a read only replica.");
    my @read_only = (on => { DEL => $readonly, PEXPIRE => $readonly, PTTL => ":600000\r\n" });
    my ($replica, $primary) = servers(2, \@read_only, [on => { PTTL => ":600000\r\n" }]);
    my $nginx = with_servers([address($replica), address($primary)], life => 1);
    # Ending a session reads it before, since the test's headers show its status: the next to be asked is the replica.
    is(get($nginx, '/need', 1)->{code}, 200, 'a session');
    is(get($nginx, '/logout', $_, method => 'POST')->{code}, 204, 'a session is ended elsewhere') for 1 .. 3;
    is($primary->count('DEL'), 3, 'at the primary');
    is($replica->count('DEL'), 1, 'the replica is asked once');
    $replica->set_data(%data);
    $primary->set_data(%data);
    is(get($nginx, '/touch', 1)->{code}, 200, 'touched') for 1 .. 10;
    $primary->wait_for_command('PEXPIRE', 10);
    is($replica->count('PEXPIRE'), 0, 'lives are extended at the primary');
    cmp_ok($replica->count('GET'), '>', 3, 'the replica is read from');
    is(scalar lines_like($nginx, qr/\[warn\].*@{[address($replica)]} is a read-only replica/), 1, 'one line says so');
};

subtest 'a life is extended where it was read' => sub {
    my ($a, $b) = servers(2, ([on => { PTTL => ":600000\r\n" }]) x 2);
    my $nginx = with_servers([address($a), address($b)], life => 1);
    is(get($nginx, '/touch', 1)->{code}, 200, 'touched') for 1 .. 8;
    $_->wait_for_command('PEXPIRE', 4) for $a, $b;
    is_deeply([map { $_->count('GET') } $a, $b], [4, 4], 'lookups are still spread evenly');
};

subtest 'what nginx -t says' => sub {
    my ($ok, $text) = check_config(http => 'upstream block { server 127.0.0.1; server 127.0.0.2:6379; } session_redis_store s { server redis://block; }',
        server => 'session_redis s;');
    ok($ok, 'a server without a port is accepted') or diag $text;
    like($text, qr/\[warn\] .*server "127\.0\.0\.1" in upstream "block" has no port, nginx gave it 80; Redis listens on 6379/, 'with a warning');
    unlike($text, qr/127\.0\.0\.2/, 'about that one');
    ($ok, $text) = check_config(http => 'upstream block { server 127.0.0.1:6379; }', server => 'session_redis block;');
    ok(!$ok, 'an upstream is no store');
    like($text, qr/"block" is an upstream, not a session store; write "session_redis redis:\/\/block"/, 'says what to write');
};

done_testing();
