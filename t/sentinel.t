# The master found through Sentinels: whom of them to believe, those that are
# dead, silent, wrong or none at all, and what is logged. Failovers have a
# test of their own.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Resp qw(array bulk error integer null);
use SessionRedis::Sentinel;
use StoreTest;
use Test::More;
use Time::HiRes qw(sleep);

sub sentinel_nginx ($hosts, %how) {
    return session_nginx(where => "sentinel mymaster $hosts;", %how);
}

# A fake Sentinel which says that the master is at this port.
sub fake_sentinel ($port, %on) {
    return fake_redis(on => { SessionRedis::Sentinel::says('127.0.0.1', $port), %on });
}

# It says that the master is there from now on.
sub switches ($fake, $host, $port) {
    $fake->on(SessionRedis::Sentinel::says($host, $port));
    $fake->push_bytes(SessionRedis::Sentinel::switch_event($host, $port));
    return;
}

sub at (@fakes) { return join ' ', map { '127.0.0.1:' . $_->port } @fakes }

sub calm ($nginx, $what = 'nothing worse') {
    is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]|panicked/), 0, $what);
    return;
}

# No failover is wanted here, however slow the machine is.
my $topology = SessionRedis::Sentinel->start(down_after => 60_000);
my $master   = $topology->master;
put_sessions($master, 1, 9);
$topology->replicated;

subtest 'all are well' => sub {
    my $nginx = sentinel_nginx($topology->hosts, workers => 2, life => 1);
    is(get($nginx, '/need', 1)->{body}, "user=u1\n", 'a session is found');
    is(header(get($nginx, '/need', 2), 'X-Server'), '127.0.0.1:' . $master->port, 'at the master');
    is(get($nginx, '/need', 99)->{code}, 401, 'another is not');
    is(get($nginx, '/touch', 3)->{code}, 200, 'a session is touched');
    my $port = $master->port;
    is(scalar lines_like($nginx, qr/\[notice\].*session store "s": master is 127\.0\.0\.1:$port, sentinel 127\.0\.0\.1:/), 2, 'each worker says so, once');
    is(scalar lines_like($nginx, qr/\[(?:warn|error)\]/), 0, 'without a word of complaint');
    my $took = seconds { is($nginx->quit, 0, 'leaves') };
    cmp_ok($took, '<', 3, 'at once: idle connections hold no worker');
    calm($nginx);
};

subtest 'the first Sentinel is dead' => sub {
    $topology->down(0);
    my $nginx = sentinel_nginx($topology->hosts);
    is(get($nginx, '/need', 1)->{body}, "user=u1\n", 'the others are asked');
    sleep 0.5;
    my ($port) = $topology->ports;
    my @lines = lines_like($nginx, qr/\[(?:warn|error)\]/);
    is(scalar @lines, 1, 'one line') or diag explain \@lines;
    like($lines[0], qr/session store "s": Sentinel 127\.0\.0\.1:$port cannot be asked: connect\(\) failed \(111: Connection refused\)/, 'says which');
    $topology->up(0);
    calm($nginx);
};

subtest 'a Sentinel that is frozen' => sub {
    $topology->freeze(0);
    my $nginx = sentinel_nginx($topology->hosts);
    is(get($nginx, '/need', 1)->{code}, 200, 'is not waited for');
    wait_for(sub { lines_like($nginx, qr/Sentinel \S+ cannot be asked: server timed out/) }, what => 'a line');
    $topology->thaw(0);
    calm($nginx);
};

subtest 'all Sentinels are dead' => sub {
    my $known = sentinel_nginx($topology->hosts);
    is(get($known, '/need', 1)->{code}, 200, 'one that knows the master');
    $topology->down($_) for 0 .. 2;
    my ($ok, $text) = check_config(http => "session_redis_store s { sentinel mymaster @{[$topology->hosts]}; }", server => 'session_redis s;');
    ok($ok, 'nginx -t does not mind') or diag $text;

    my $nginx  = sentinel_nginx($topology->hosts);
    until_status($nginx, '/need', 1, 503);
    wait_for(sub { lines_like($nginx, qr/session store "s" is down/) });
    my $result = many(port => $nginx->port, count => 1000, request => sub ($i) { request('/need', 1) });
    is_deeply($result->{codes}, { 503 => 1000 }, 'one that does not is down');
    cmp_ok($result->{longest}, '<', 2, 'nobody waits');
    my @down = lines_like($nginx, qr/\[error\].*session store "s" is down: no Sentinel names its master/);
    is(scalar @down, 1, 'one line says so') or diag explain \@down;
    is(scalar lines_like($nginx, qr/\[warn\].*cannot be asked/), 3, 'and one for each Sentinel');
    is(get($nginx, '/pass', 1)->{body}, "user=\n", 'passed where no session is required');
    is(get($known, '/need', 1)->{code}, 200, 'who knew the master still asks it');

    $topology->up($_) for 0 .. 2;
    cmp_ok(until_found($nginx, 1, seconds => 10), '<', 5, 'found when they come');
    is(scalar lines_like($nginx, qr/\[notice\].*session store "s" is back, server: 127/), 1, 'one line says so');
    calm($_) for $nginx, $known;
};

subtest 'lookups before the first answer' => sub {
    my ($port) = $topology->ports;
    my $dns    = fake_dns('late.test' => { delay => 4, to => ['127.0.0.1'] });
    my $nginx  = sentinel_nginx("late.test:$port", store => 'resolver 127.0.0.1:' . $dns->port . ' ipv6=off; timeout 10s; max_pending 3;');
    my @open  = map { open_connection($nginx->port) } 1 .. 5;
    syswrite $open[$_], request('/need', $_ + 1) for 0 .. 4;
    my @answers = map { read_response($_, timeout => 1) } @open[3, 4];
    is_deeply([map { $_->{code} } @answers], [503, 503], 'over max_pending they fail at once');
    is(read_response($open[0], timeout => 0.1)->{timed_out}, 1, 'the others wait');
    is_deeply([map { read_response($_)->{code} } @open[0 .. 2]], [200, 200, 200], 'and are answered when the Sentinel has been found');

    my $fake = fake_redis(on => { '*' => [{ silence => 1 }] });
    $nginx = sentinel_nginx(at($fake), store => 'timeout 300ms;');
    my $took = seconds { is(get($nginx, '/need', 1)->{code}, 503, 'nobody waits for ever') };
    cmp_ok($took, '<', 3, 'but for its timeout');
    calm($nginx);
};

subtest 'what is not a Sentinel' => sub {
    my $nginx = sentinel_nginx('127.0.0.1:' . $master->port);
    until_status($nginx, '/need', 1, 503);
    wait_for(sub { lines_like($nginx, qr/is down: no Sentinel names its master/) });
    is(scalar lines_like($nginx, qr/\[warn\].*session store "s": 127\.0\.0\.1:\d+ is not a Sentinel/), 1, 'a Redis is named, once');

    my $http = sentinel_nginx('127.0.0.1:' . $nginx->port);
    until_status($http, '/need', 1, 503);
    wait_for(sub { lines_like($http, qr/\[warn\].*Sentinel \S+ cannot be asked: server sent an invalid reply: it begins with "H"/) }, what => 'a line about HTTP');

    for my $reply (integer(1), bulk('x'), array(), array(bulk('host name'), bulk('1')), array(bulk('127.0.0.1'), bulk('0')), array(bulk('127.0.0.1'), bulk(1), bulk(2))) {
        my $fake = fake_redis(on => { SENTINEL => $reply });
        my $odd  = sentinel_nginx(at($fake));
        wait_for(sub { lines_like($odd, qr/cannot be asked: server sent a reply of an unexpected type/) }, what => 'a line');
        is(get($odd, '/need', 1)->{code}, 503, 'an odd answer is none');
        calm($odd);
    }
};

subtest 'a master that nobody knows' => sub {
    my $nginx = session_nginx(where => 'sentinel nobody ' . $topology->hosts . ';');
    until_status($nginx, '/need', 1, 503);
    wait_for(sub { lines_like($nginx, qr/is down: no Sentinel names its master/) });
    sleep 0.5;
    my @lines = lines_like($nginx, qr/\[warn\].*session store "s": Sentinel 127\.0\.0\.1:\d+ knows no master "nobody"/);
    is(scalar @lines, 3, 'each Sentinel is named once') or diag explain \@lines;
};

subtest 'one Sentinel of three is wrong' => sub {
    my $other = start_redis();
    $other->cmd('SET', key(1), '{"user":"mallory"}');
    my $fake  = fake_sentinel($other->port);
    my @ports = ($topology->ports)[0, 1];
    my $nginx = sentinel_nginx("127.0.0.1:@{[$fake->port]} 127.0.0.1:$ports[0] 127.0.0.1:$ports[1]");
    my $ask   = sub ($what) {
        my %got = map { (get($nginx, '/need', 1)->{body}, 1) } 1 .. 50;
        is_deeply([keys %got], ["user=u1\n"], $what);
    };
    $ask->('from the start');
    switches($fake, '127.0.0.1', $other->port);
    sleep 0.3;
    $ask->('when it says that the master has changed');
    $fake->on(SENTINEL => null());
    $fake->close_all;
    $ask->('when it comes and goes');
    is($other->info('commandstats')->{cmdstat_get}, undef, 'the wrong server was never asked');
    calm($nginx);
};

subtest 'a Sentinel that names a replica' => sub {
    my ($replica) = $topology->others($master);
    my $before = $replica->info('stats')->{keyspace_hits};
    my $fake   = fake_sentinel($replica->port);
    my $nginx  = sentinel_nginx(at($fake));
    until_status($nginx, '/need', 1, 503);
    wait_for(sub { lines_like($nginx, qr/\[error\].*session store "s" is down: server is a replica, not the master, server: 127\.0\.0\.1:\d+/) }, what => 'a line');
    is(get($nginx, '/need', 1)->{code}, 503, 'it is not asked');
    switches($fake, '127.0.0.1', $master->port);
    cmp_ok(until_found($nginx, 1), '<', 2, 'the master is, as soon as it is named');
    is($replica->info('stats')->{keyspace_hits}, $before, 'no session was read from the replica');

    my $better = fake_sentinel($master->port);
    $fake  = fake_sentinel($replica->port);
    my $second = fake_sentinel($replica->port);
    $nginx = sentinel_nginx(at($fake, $second, $better));
    cmp_ok(until_found($nginx, 1), '<', 3, 'two that name a replica are worth less than one that names the master');
    calm($nginx);
};

subtest 'who the Sentinels want, and who the master' => sub {
    my ($sentinel_pw, $redis_pw) = ('s3cret-Of/sentinels', 'an0ther-Of/redis');
    my $guarded = SessionRedis::Sentinel->start(
        down_after => 60_000, replicas => 1, password => $redis_pw, sentinel_password => $sentinel_pw,
        sentinel_users => ["user nginx on >watch-$sentinel_pw allchannels -\@all +auth +sentinel|get-master-addr-by-name +subscribe +unsubscribe"],
    );
    put_sessions($guarded->master, 1, 3);
    my $file = sub ($text) {
        my $path = temp_dir() . '/password';
        open my $out, '>', $path or die "$path: $!\n";
        print {$out} $text;
        close $out;
        chmod 0640, $path;
        return $path;
    };
    my $redis = 'password_file ' . $file->($redis_pw) . ';';
    my $said  = sub ($nginx) {
        is(scalar(grep { /s3cret|an0ther|watch-/ && !/\[debug\]/ } split /\n/, $nginx->log), 0, 'the log holds no secret');
        calm($nginx);
    };
    for my $case (['a password', $sentinel_pw], ['a user and a password', "watch-$sentinel_pw", 'sentinel_username nginx;']) {
        my ($what, $password, $more) = @$case;
        my $nginx = sentinel_nginx($guarded->hosts, store => "$redis sentinel_password_file @{[$file->($password)]}; @{[$more // '']}");
        is(get($nginx, '/need', 1)->{code}, 200, $what);
        is(scalar lines_like($nginx, qr/\[(?:warn|error)\]/), 0, 'without a complaint');
        $said->($nginx);
    }
    my %wrong = (
        'none'  => ['', qr/server answered "NOAUTH/],
        'wrong' => ['sentinel_password_file ' . $file->('wrong') . ';', qr/server answered "WRONGPASS [^"]*" to AUTH/],
    );
    for my $what (sort keys %wrong) {
        my ($store, $why) = $wrong{$what}->@*;
        my $nginx = sentinel_nginx($guarded->hosts, store => "$redis $store");
        until_status($nginx, '/need', 1, 503);
        wait_for(sub { lines_like($nginx, qr/is down: no Sentinel names its master/) });
        is(scalar lines_like($nginx, qr/\[warn\].*Sentinel \S+ cannot be asked: $why/), 3, "password $what: each Sentinel is named once");
        $said->($nginx);
    }
    my $path  = $file->('not yet');
    my $nginx = sentinel_nginx($guarded->hosts, store => "$redis sentinel_password_file $path;");
    until_status($nginx, '/need', 1, 503);
    rename $file->($sentinel_pw), $path;
    cmp_ok(until_found($nginx, 1, seconds => 20), '<', 15, 'a password that is rotated is read again');
};

subtest 'names, resolved at run time' => sub {
    my ($port) = $topology->ports;
    my $dns = fake_dns('s1.test' => ['127.0.0.1'], map { ("redis$_.test" => ['127.0.0.1']) } 1 .. 40);
    my $resolver = 'resolver 127.0.0.1:' . $dns->port . ' ipv6=off; timeout 2s;';
    my $nginx = sentinel_nginx("s1.test:$port", store => $resolver);
    is(get($nginx, '/need', 1)->{code}, 200, 'of a Sentinel');

    # The same server by ever other names, as in Kubernetes: the list of servers is bounded, and the answers are right.
    my $fake = fake_redis(on => { SessionRedis::Sentinel::says('redis1.test', $master->port) });
    $nginx = sentinel_nginx(at($fake), store => $resolver);
    is(header(get($nginx, '/need', 1), 'X-Server'), 'redis1.test:' . $master->port, 'of the master');
    for my $number (2 .. 40) {
        switches($fake, "redis$number.test", $master->port);
        my $name = "redis$number.test:" . $master->port;
        eval { wait_for(sub { header(get($nginx, '/need', $number % 9 + 1), 'X-Server') eq $name }) } or return fail("stuck before $name");
    }
    is(get($nginx, '/need', 7)->{body}, "user=u7\n", 'of forty masters one after the other');
    is(scalar lines_like($nginx, qr/master is now redis\d+/), 39, 'each named once');
    calm($nginx);
};

subtest 'a Sentinel taken for a Redis' => sub {
    my ($port) = $topology->ports;
    my $nginx = session_nginx(url => "redis://127.0.0.1:$port");
    is_deeply([statuses($nginx, '/need', 1, 1, 1)], [503, 503, 503], 'requests fail');
    wait_for(sub { lines_like($nginx, qr/is a Sentinel/) }, what => 'a line');
    my @lines = lines_like($nginx, qr/\[warn\].*session store "s": 127\.0\.0\.1:$port is a Sentinel, not a Redis; use "sentinel mymaster 127\.0\.0\.1:$port"/);
    is(scalar @lines, 1, 'the log says what to write, once') or diag $nginx->log;
};

subtest 'leaving while Sentinels are silent, dead, or not connected yet' => sub {
    for my $how ([on => { '*' => [{ silence => 1 }] }], [listen => 'never'], [listen => 'full']) {
        my $fake  = fake_redis(@$how);
        my $nginx = sentinel_nginx(at($fake), store => 'timeout 700ms; connect_timeout 5s;');
        my ($old) = $nginx->workers;
        my @open  = map { open_connection($nginx->port) } 1 .. 3;
        syswrite $_, request('/need', 1) for @open;
        sleep 0.2;
        $nginx->reload;
        is_deeply([map { read_response($_)->{code} } @open], [503, 503, 503], 'answered');
        ok($nginx->gone([$old], 5), 'and gone');
        is($nginx->quit, 0, 'all of it');
        calm($nginx);
    }
};

done_testing();
