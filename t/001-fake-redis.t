# The fake Redis and the chaos proxy do what their scripts say.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Resp qw(bulk command error integer null push_of simple);
use Test::More;
use Time::HiRes qw(sleep time);

# A connection to a server of ours; cmd, send_bytes and reply as the real client has them.
sub connect_to ($where) {
    return SessionRedis::Redis::Client->connect($where);
}

# All that comes within some seconds, and how it ended: open, closed or reset.
sub read_all ($client, $seconds = 5) {
    my ($bytes, $end) = ('', time + $seconds);
    while ((my $left = $end - time) > 0) {
        vec(my $in = '', fileno $client->{socket}, 1) = 1;
        next if select($in, undef, undef, $left) < 1;
        my $got = sysread $client->{socket}, $bytes, 65536, length $bytes;
        return ($bytes, 'reset') if !defined $got;
        return ($bytes, 'closed') if !$got;
    }
    return ($bytes, 'open');
}

subtest 'without a script it behaves' => sub {
    my $fake = fake_redis(data => { a => "1\r\n2" });
    for my $where ($fake->port, $fake->socket) {
        my $client = connect_to($where);
        is($client->cmd('PING'), 'PONG', 'PING');
        is($client->cmd('get', 'a'), "1\r\n2", 'GET of data');
        is($client->cmd('GET', 'b'), undef, 'GET of nothing');
        is($client->cmd('SET', 'b', 'two'), 'OK', 'SET');
        is($client->cmd('GET', 'b'), 'two', 'GET of what was set');
        is($client->cmd('DEL', 'b', 'c'), 1, 'DEL');
        is_deeply($client->cmd('HELLO', 3), { server => 'redis', version => '7.0.15', proto => 3 }, 'HELLO 3');
        ok(!eval { $client->cmd('NONSENSE') }, 'an unknown command');
        like($@, qr/^ERR unknown command 'NONSENSE'/, 'is an error');
    }
    is($fake->connections, 2, 'connections counted');
    is($fake->count('GET'), 6, 'commands counted');
    is_deeply([($fake->commands)[0]], [[1, 'PING']], 'commands kept');
    $fake->set_data(b => 'new');
    is(connect_to($fake->port)->cmd('GET', 'b'), 'new', 'data changed from outside');
};

subtest 'bytes, errors, wrong types, nothing, more than asked' => sub {
    my $fake = fake_redis(on => {
        get  => sub ($words, $connection) { bulk("$words->[1] on $connection->{id}") },
        ttl  => error('LOADING Redis is loading the dataset in memory'),
        type => integer(7),
        echo => [],
        mget => simple('a') . simple('b'),
    });
    my $client = connect_to($fake->port);
    is($client->cmd('GET', 'k'), 'k on 1', 'code decides');
    ok(!eval { $client->cmd('TTL', 'k') } && $@ =~ /^LOADING/, 'an error');
    is($client->cmd('TYPE', 'k'), 7, 'another type');
    $client->send_bytes(command('ECHO', 'x') . command('PING'));
    is($client->reply, 'PONG', 'no reply for one command, the next is answered');
    is($client->cmd('MGET'), 'a', 'a reply');
    is($client->reply, 'b', 'and one more than asked');
    $fake->on(GET => null());
    is($client->cmd('GET', 'k'), undef, 'changed while the connection is open');
    $fake->behave;
    ok(!eval { $client->cmd('MGET') }, 'and forgotten');
};

subtest 'delays and pieces' => sub {
    my $fake = fake_redis(on => {
        GET  => [{ delay => 0.1 }, bulk('late')],
        MGET => [{ bytes => bulk('0123456789'), split => 1, every => 0.01 }],
        TTL  => ["\$5\r\nab", { delay => 0.05 }, "cde\r\n"],
    });
    my $client = connect_to($fake->port);
    my $start = time;
    $client->send_bytes(command('GET', 'a') . command('PING'));
    is($client->reply, 'late', 'late');
    cmp_ok(time - $start, '>=', 0.1, 'by the delay');
    is($client->reply, 'PONG', 'in order');
    $start = time;
    is($client->cmd('MGET'), '0123456789', 'in pieces');
    cmp_ok(time - $start, '>=', 0.12, 'with time between them');
    is($client->cmd('TTL'), 'abcde', 'a pause in mid-reply');
};

subtest 'endings' => sub {
    my $fake = fake_redis(on => {
        GET  => ["\$10\r\nabc", { close => 1 }],
        TTL  => ["\$10\r\nabc", { delay => 0.02 }, { reset => 1 }],
        MGET => { close => 1 },
        PTTL => { silence => 1 },
    });
    my %expected = (GET => ["\$10\r\nabc", 'closed'], TTL => ["\$10\r\nabc", 'reset'], MGET => ['', 'closed'], PTTL => ['', 'open']);
    for my $command (sort keys %expected) {
        my $client = connect_to($fake->port);
        $client->send_bytes(command($command, 'k'));
        is_deeply([read_all($client, $command eq 'PTTL' ? 0.2 : 5)], $expected{$command}, $command);
    }
    my $client = connect_to($fake->port);
    $client->send_bytes(command('PTTL', 'k') . command('PING'));
    is_deeply([read_all($client, 0.1)], ['', 'open'], 'silence is for good');
};

subtest 'sequences' => sub {
    my $fake = fake_redis(on => { GET => { sequence => [error('ERR first'), bulk('second'), 'default'] } }, data => { k => 'data' });
    my $client = connect_to($fake->port);
    ok(!eval { $client->cmd('GET', 'k') }, 'first');
    is($client->cmd('GET', 'k'), 'second', 'second');
    is($client->cmd('GET', 'k'), 'data', 'last') for 1 .. 2;
};

subtest 'when a connection is made' => sub {
    my $fake = fake_redis(on => { connect => { reset => 1 } });
    is(eval { (read_all(connect_to($fake->port)))[0] } // '', '', 'reset at once');
    $fake->on(connect => error('ERR max number of clients reached'));
    is(connect_to($fake->port)->reply, 'ERR max number of clients reached', 'an error unasked');
    $fake->behave;
    my $client = connect_to($fake->port);
    is($client->cmd('PING'), 'PONG', 'as usual');
    $fake->push_bytes(push_of(bulk('invalidate'), null()));
    is_deeply($client->reply, ['invalidate', undef], 'a push on an idle connection');
    is($fake->open_now, 1, 'one is open');
    $fake->close_all(reset => 1);
    is((read_all($client))[1], 'reset', 'and now none');
};

subtest 'down and up' => sub {
    my $fake = fake_redis();
    my $client = connect_to($fake->port);
    $client->cmd('PING');
    $fake->down;
    is((read_all($client))[1], 'closed', 'connections end');
    ok(!eval { connect_to($fake->port) }, 'refused');
    ok(!eval { connect_to($fake->socket) }, 'no socket');
    $fake->up;
    is(connect_to($_)->cmd('PING'), 'PONG', 'up again') for $fake->port, $fake->socket;
};

subtest 'connections that nobody accepts' => sub {
    my $never = fake_redis(listen => 'never');
    my $client = connect_to($never->port);
    $client->send_bytes(command('PING'));
    is_deeply([read_all($client, 0.1)], ['', 'open'], 'made by the kernel, and that is all');

    my $full = fake_redis(listen => 'full');
    my $start = time;
    ok(!IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $full->port, Timeout => 0.3), 'not even made');
    cmp_ok(time - $start, '>=', 0.25, 'and not refused either');
};

subtest 'counts' => sub {
    my $fake = fake_redis();
    my $client = connect_to($fake->port);
    $client->send_bytes(command('GET', 'a') x 10);
    $client->reply for 1 .. 10;
    is($fake->reads, 1, 'ten commands in one read');
    is($fake->count, 10, 'any command');
    $fake->reset_counts;
    is($fake->count('GET'), 0, 'begun anew');
    $client->cmd('GET', 'a');
    ok($fake->wait_for_command('GET'), 'waited for');
};

subtest 'the chaos proxy passes everything on, somehow' => sub {
    my $fake = fake_redis(on => { GET => sub ($words, $) { bulk("value of $words->[1] ") } });
    my $chaos = chaos_proxy(to => $fake->port, seed => 7, split => 0.5, delay => 0.2, delay_time => [0.001, 0.003]);
    my $client = connect_to($chaos->port);
    my $wrong = grep { $client->cmd('GET', $_) ne "value of $_ " } 1 .. 200;
    is($wrong, 0, 'nothing is changed');
    my $counts = $chaos->counts;
    cmp_ok($counts->{split}, '>', 50, 'much is split');
    cmp_ok($counts->{delay}, '>', 20, 'some is late');
    is($counts->{connections}, 1, 'one connection');

    $chaos->set(split => 0, delay => 0, direction => 'reply', close => 0.3, reset => 0.3);
    my ($good, $ended) = (0, 0);
    for my $i (1 .. 100) {
        my $value = eval { connect_to($chaos->socket)->cmd('GET', $i) };
        !defined $value ? $ended++ : $value eq "value of $i " ? $good++ : fail('a wrong value');
    }
    cmp_ok($_, '>', 15, 'some ended, some not') for $good, $ended;
    $chaos->set(refuse => 1);
    ok(!eval { connect_to($chaos->port)->cmd('PING') }, 'refused');
};

subtest 'the fake name server' => sub {
    my $dns  = fake_dns('app.test' => ['127.0.0.1'], 'silent.test' => 'silence');
    my $app  = start_nginx(server => 'location / { return 200 ok; }');
    my $port = $app->port;
    my $nginx = start_nginx(server => <<~"END");
        resolver 127.0.0.1:@{[$dns->port]} ipv6=off;
        resolver_timeout 200ms;
        location / { proxy_connect_timeout 200ms; proxy_pass http://\$arg_name:$port/; }
        END
    is(http($nginx->port, '/?name=app.test')->{body}, 'ok', 'a name');
    is(http($nginx->port, '/?name=other.test')->{code}, 502, 'no such name');
    is(http($nginx->port, '/?name=silent.test')->{code}, 502, 'no answer');
    like($nginx->log, qr/other\.test could not be resolved \(3: Host not found\)/, 'as nginx says');
    $dns->set('other.test' => ['127.0.0.1', '::1'], 'app.test' => undef);
    sleep 2.1;
    is(http($nginx->port, '/?name=other.test')->{code}, 200, 'a name added');
    is(http($nginx->port, '/?name=app.test')->{code}, 502, 'a name removed');
    cmp_ok($dns->count('app.test'), '>=', 2, 'asked again');
};

done_testing();
