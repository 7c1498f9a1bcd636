# A Redis Cluster as a store: its directives, who we are there, replicas that
# are read from, reloads and leaving, a bad network.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::ConfigTable;
use SessionRedis::Resp qw(array bulk integer);
use StoreTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $sessions = 60;

sub fill ($cluster) {
    $cluster->cmd('SET', key($_), session_of($_)) for 1 .. $sessions;
    return $cluster;
}

sub cluster_nginx ($cluster, %how) {
    return session_nginx(where => "cluster @{[$cluster->seeds]};", %how);
}

# Requests many at once; each answer must be that of its own session.
sub all_right ($nginx, $count, %how) {
    my $wrong  = 0;
    my $result = many(port => $nginx->port, count => $count, at_once => 30, %how,
        request => sub ($i) { request('/need', 1 + $i % $sessions) },
        each    => sub ($i, $response) { $wrong++ if $response->{body} ne "user=u@{[1 + $i % $sessions]}\n" });
    is_deeply($result->{codes}, { 200 => $count }, "$count requests are answered") or diag $nginx->log;
    is($wrong, 0, 'each with its own session');
    return;
}

sub no_alert ($nginx) {
    is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]|panicked/), 0, 'no alert') or diag join "\n", lines_like($nginx, qr/\[alert\]|panicked/);
    return;
}

subtest 'what nginx -t says' => sub {
    my $in_block = '"session_redis_store" directive: ';
    accepted("accepted: $_", in_store($_)) for
        'cluster 127.0.0.1;', 'cluster 127.0.0.1:7000 127.0.0.1:7001;', 'cluster [::1]:7000;', 'cluster no.such.host.invalid:7000;',
        'cluster 127.0.0.1; read_from master;', 'cluster 127.0.0.1; read_from replica;',
        'cluster 127.0.0.1; username web; password_file ' . file_of('secret') . '; database 0; connections 4; max_size 1m; timeout 1s; connect_timeout 1s; retry 0; max_pending 9;';
    refused('neither', "${in_block}store \"s\" has no \"server\"; for instance \"server redis://127.0.0.1:6379;\"", http => "session_redis_store s { #!\n}");
    refused('both', "${in_block}store \"s\" has both \"server\" and \"cluster\"",
        http => "session_redis_store s { #!\ncluster 127.0.0.1;\nserver redis://127.0.0.1;\n}");
    refused('another database', "${in_block}a cluster has only database 0", http => "session_redis_store s { #!\ncluster 127.0.0.1;\ndatabase 1;\n}");
    refused('a resolver', "${in_block}\"resolver\" is of no use to a cluster; the names of its nodes are resolved by the system, whenever one is connected to",
        http => "session_redis_store s { #!\ncluster 127.0.0.1;\nresolver 127.0.0.1;\n}");
    refused('read_from without a cluster', "${in_block}\"read_from\" is for a \"cluster\" only", http => "session_redis_store s { #!\nserver redis://127.0.0.1;\nread_from master;\n}");
    refused('TLS', "${in_block}a cluster cannot be spoken to over TLS; it is asked in threads, which would need a second TLS library beside nginx's; write \"ssl off\"",
        http => "session_redis_store s { #!\ncluster 127.0.0.1;\nssl on;\n}");
    accepted('no TLS', in_store('cluster 127.0.0.1; ssl off;'));
    my $urls = 'write "cluster host[:port] …", with some of the cluster\'s nodes';
    for my $case (
        ['cluster', qr/\Ainvalid number of arguments in "cluster" directive\z/],
        ['cluster rediss://127.0.0.1', "\"cluster\" directive: \"cluster\" takes hosts, not urls; $urls"],
        ['cluster redis://127.0.0.1', "\"cluster\" directive: \"cluster\" takes hosts, not urls; $urls"],
        ['cluster 127.0.0.1/1', "\"cluster\" directive: \"cluster\" takes hosts, not urls; $urls"],
        ['cluster 127.0.0.1:0', '"cluster" directive: "127.0.0.1:0" is not host[:port]; an IPv6 address stands in brackets: [::1]:6379'],
        ['cluster ::1', '"cluster" directive: "::1" is not host[:port]; an IPv6 address stands in brackets: [::1]:6379'],
        ['cluster a:7000 A:7000', '"cluster" directive: duplicate node "a:7000"'],
        ["cluster a;\ncluster b", '"cluster" directive: is duplicate'],
        ['read_from slave', '"read_from" directive: "slave" is neither "master" nor "replica"'],
        ['read_from master replica', qr/\Ainvalid number of arguments in "read_from" directive\z/],
    ) {
        my ($line, $message) = @$case;
        refused($line, $message, in_store("$line; #!"));
    }
    refused('a secret is not repeated', qr/\A"cluster" directive: "cluster" takes hosts, not urls; /, in_store('cluster web:geheim@127.0.0.1; #!'));
};

subtest 'a password, and another one' => sub {
    my $cluster = fill(start_cluster(password => 'first-Pass', replicas => 0));
    my $path    = temp_dir() . '/redis.password';
    my $write   = sub ($password) {
        open my $out, '>', $path or die "$path: $!\n";
        print {$out} "$password\n";
        close $out;
        chmod 0640, $path;
    };
    $write->('first-Pass');
    my $nginx = cluster_nginx($cluster, store => "password_file $path;", log_level => 'debug');
    all_right($nginx, 100);

    $write->('second-Pass');
    for my $node ($cluster->nodes) {
        $node->cmd('CONFIG', 'SET', 'requirepass', 'second-Pass', 'masterauth', 'second-Pass');
        $node->{password} = 'second-Pass';
        $node->cmd('CLIENT', 'KILL', 'TYPE', 'NORMAL', 'SKIPME', 'YES');
    }
    all_right($nginx, 100);
    is(scalar lines_like($nginx, qr/\[notice\].*session store "s": password read again from/), 1, 'one line says so');

    my $wrong = cluster_nginx($cluster, store => 'password third-Pass;', log_level => 'debug');
    is_deeply([statuses($wrong, '/need', 1, 2)], [503, 503], 'a wrong one is refused');
    is(scalar lines_like($wrong, qr/\[error\].*session store "s" is down: server answered \\?"WRONGPASS .*to AUTH/), 1, 'the log says why');
    my $none = cluster_nginx($cluster);
    is_deeply([statuses($none, '/need', 1, 2)], [503, 503], 'none is refused');
    is(scalar lines_like($none, qr/\[error\].*session store "s" is down: server answered \\?"NOAUTH/), 1, 'the log says why');
    for my $log ($nginx->log, $wrong->log) {
        unlike($log, qr/(?:first|second|third)-Pass/, 'no secret in a log');
        is(scalar(grep { /sess:|session0|"user"/ } grep { /\A\S+ \S+ \[(?!debug)\w+\]/ } split /\n/, $log), 0, 'nor an id, a key or a value');
    }
    no_alert($_) for $nginx, $wrong, $none;
};

subtest 'a user with no more rights than it needs' => sub {
    my $cluster = fill(start_cluster());
    $_->cmd('ACL', 'SETUSER', 'web', 'on', '>secret', '~sess:*', '+get', '+pttl', '+cluster|slots', '+readonly', '+asking') for $cluster->nodes;
    for my $from ('master', 'replica') {
        my $nginx = cluster_nginx($cluster, store => "username web; password_file @{[file_of('secret')]}; read_from $from;");
        all_right($nginx, 100);
        is(scalar lines_like($nginx, qr/\[(?:error|warn)\]/), 0, 'the log is quiet') or diag $nginx->log;
    }
    $_->cmd('ACL', 'SETUSER', 'web', 'resetkeys', '~other:*') for $cluster->nodes;
    my $nginx = cluster_nginx($cluster, store => 'username web; password secret;');
    is(get($nginx, '/need', 1)->{code}, 503, 'a key that it may not read');
    is(scalar lines_like($nginx, qr/is down/), 0, 'is nobody\'s fault');
    cmp_ok(scalar lines_like($nginx, qr/\[error\].*NOPERM/), '>=', 1, 'the log says why');
};

subtest 'replicas are read from' => sub {
    my $cluster  = fill(start_cluster());
    my @replicas = ($cluster->nodes)[3 .. 5];
    my @masters  = ($cluster->nodes)[0 .. 2];
    ok(wait_for(sub { $masters[0]->cmd('WAIT', 1, 100) >= 1 }), 'they are in step');
    my $nginx = cluster_nginx($cluster, store => 'read_from replica;', life => 1);
    $_->cmd('CONFIG', 'RESETSTAT') for $cluster->nodes;
    all_right($nginx, 200);
    is(calls('get', @masters), 0, 'not the masters');
    cmp_ok(calls('get', @replicas), '>', 50, 'but these');
    my %replica = map { '127.0.0.1:' . $_->port => 1 } @replicas;
    ok($replica{ header(get($nginx, '/need', 1), 'X-Server') }, 'as $session_redis_server says');

    is(get($nginx, '/need', 900)->{code}, 401, 'a session that is not there');
    is(calls('get', @masters), 1, 'is asked for at the master once');

    is_deeply([statuses($nginx, '/touch', 1, 2, 3)], [200, 200, 200], 'a life is extended');
    $cluster->cmd('PEXPIRE', key(1), 50_000);
    ok(wait_for(sub { get($nginx, '/touch', 1); $cluster->cmd('PTTL', key(1)) > 100_000 }, every => 0.05), 'at the master');
    is(get($nginx, '/logout', 2, method => 'POST')->{code}, 204, 'a logout');
    is($cluster->cmd('EXISTS', key(2)), 0, 'too');
    $cluster->cmd('SET', key(2), session_of(2));

    # A replica that dies or freezes: another one, or the master.
    $replicas[0]->down;
    all_right($nginx, 200);
    is(scalar lines_like($nginx, qr/\[warn\].*a server of session store "s" is down/), 1, 'the log says so');
    no_alert($nginx);
};

sub calls ($command, @nodes) {
    my $sum = 0;
    for my $node (@nodes) {
        $sum += $1 if ($node->info('commandstats')->{"cmdstat_$command"} // '') =~ /\bcalls=(\d+)/;
    }
    return $sum;
}

# The same with nodes that a script plays: a replica that is behind.
subtest 'a replica that is behind' => sub {
    my @fake = map { fake_redis(on => { READONLY => "+OK\r\n" }) } 1, 2;
    my ($master, $replica) = @fake;
    my $map = array(array(integer(0), integer(16383), map { array(bulk('127.0.0.1'), integer($_->port), bulk('0' x 40)) } @fake));
    $_->on(CLUSTER => $map) for @fake;
    $master->set_data(key(1) => session_of(1));
    $replica->set_data(key(2) => session_of(2));
    my $nginx = session_nginx(where => "cluster 127.0.0.1:@{[$master->port]};", store => 'read_from replica;');
    is(get($nginx, '/need', 2)->{body}, "user=u2\n", 'what it has');
    is($master->count('GET'), 0, 'is not asked for elsewhere');
    is(get($nginx, '/need', 1)->{body}, "user=u1\n", 'what it has not');
    is($master->count('GET'), 1, 'is asked for at its master, once');
    is(get($nginx, '/need', 3)->{code}, 401, 'what neither has');
    is_deeply([map { $_->count('GET') } @fake], [2, 3], 'is missing');
    is_deeply([map { $_->[1] } grep { $_->[1] eq 'READONLY' } $replica->commands], ['READONLY'], 'the replica was told that we only read');
};

subtest 'redirects leave no connection behind' => sub {
    my $cluster = fill(start_cluster(replicas => 0));
    my $nginx   = cluster_nginx($cluster);
    all_right($nginx, 120);
    for my $n (1 .. 6) {
        my ($to) = grep { $_ != $cluster->node_of(key($n)) } $cluster->nodes;
        $cluster->move_slot($cluster->slot(key($n)), $to);
        is(get($nginx, '/need', $n)->{body}, "user=u$n\n", 'a redirect is followed');
    }
    all_right($nginx, 120);
    my $left;
    my $ours = sub ($node) { scalar grep { /name=nginx-session-redis / } split /\n/, $node->cmd('CLIENT', 'LIST') };
    ok(eval { wait_for(sub { ($left = join ' ', map { $ours->($_) } $cluster->nodes) eq '1 1 1' }) }, 'one to each node') or diag "connections: $left";
    no_alert($nginx);
};

subtest 'reloads under load' => sub {
    my $cluster = fill(start_cluster(replicas => 0));
    my $nginx   = cluster_nginx($cluster, workers => 2, store => 'timeout 3s;');
    my ($wrong, $done, @old) = (0, 0);
    my $floor = many(port => $nginx->port, count => 900, at_once => 16, request => sub ($i) { request('/plain', 1) },
        each => sub ($i, $) { $nginx->reload if $i % 300 == 150 });
    my $result = many(port => $nginx->port, count => 1500, at_once => 16, request => sub ($i) { request('/need', 1 + $i % $sessions) },
        each => sub ($i, $response) {
            $wrong++ if $response->{body} ne "user=u@{[1 + $i % $sessions]}\n";
            push @old, $nginx->reload if ++$done % 300 == 150;
        });
    is($wrong, 0, 'no wrong answer');
    is_deeply([keys $result->{codes}->%*], [200], 'every answer is a good one') or diag explain $result->{codes};
    my $lost = sub ($of) { $of->{lost} + $of->{refused} + $of->{timed_out} };
    cmp_ok($lost->($result), '<=', 2 * $lost->($floor), 'no request is lost that plain nginx would not lose');
    ok($nginx->gone(\@old), 'the old workers are gone');
    ok(wait_for(sub { 9 > grep { /cmd=get/ } map { split /\n/, $_->cmd('CLIENT', 'LIST') } $cluster->nodes }), 'their connections too');
    is($nginx->quit, 0, 'leaves in the end');
    no_alert($nginx);
};

subtest 'leaving while nodes do not answer' => sub {
    my $cluster = fill(start_cluster(replicas => 0, node_timeout => 60_000));
    for my $leave ('quit', 'reload', 'stop') {
        my $nginx = cluster_nginx($cluster, store => 'timeout 700ms;');
        all_right($nginx, 60);
        my ($worker) = $nginx->workers;
        $cluster->freeze($_) for $cluster->nodes;
        my @clients = map { open_connection($nginx->port) } 1 .. 6;
        syswrite $clients[$_], request('/need', 1 + $_) for 0 .. $#clients;
        sleep 0.1;
        my $start = time;
        $leave eq 'quit' ? kill(QUIT => $nginx->pid) : $leave eq 'reload' ? $nginx->reload : kill(TERM => $nginx->pid);
        is_deeply([map { read_response($_)->{code} } @clients], [(503) x 6], "$leave: those who wait are told") if $leave ne 'stop';
        ok($nginx->gone([$worker], 3), "$leave: then the worker leaves");
        cmp_ok(time - $start, '<', 3, 'in time');
        $cluster->thaw($_) for $cluster->nodes;
        is($nginx->quit, 0, 'nginx ends well') if $leave eq 'reload';
        no_alert($nginx);
        is(scalar lines_like($nginx, qr/exited on signal/), 0, 'and so does its worker');
    }
};

subtest 'a lookup under way is waited for' => sub {
    my $fake = fake_redis(data => { key(1) => session_of(1) }, on => { GET => [{ delay => 0.5 }, bulk(session_of(1))] });
    $fake->on(CLUSTER => array(array(integer(0), integer(16383), array(bulk('127.0.0.1'), integer($fake->port)))));
    for my $leave ('quit', 'reload') {
        my $nginx = session_nginx(where => "cluster 127.0.0.1:@{[$fake->port]};", store => 'timeout 5s;');
        my ($worker) = $nginx->workers;
        my $client = open_connection($nginx->port);
        $fake->reset_counts;
        syswrite $client, request('/need', 1);
        $fake->wait_for_command('GET');
        $leave eq 'quit' ? kill(QUIT => $nginx->pid) : $nginx->reload;
        is(read_response($client)->{code}, 200, $leave);
        ok($nginx->gone([$worker], 5), 'then the worker leaves');
        no_alert($nginx);
    }
};

subtest 'clients that leave' => sub {
    my $cluster = fill(start_cluster(replicas => 0, node_timeout => 60_000));
    my $nginx   = cluster_nginx($cluster, store => 'timeout 2s;', worker_connections => 512);
    my ($worker) = $nginx->workers;
    my $come_and_go = sub {
        many(port => $nginx->port, count => 3000, at_once => 50, request => sub ($i) { request('/need', 1 + $i % $sessions) }, leave => sub ($i) { $i % 2 ? rand() * 0.005 : undef });
    };
    # The allocator takes its pages, of each thread's, with the first of them.
    $come_and_go->();
    my $before = $nginx->resident_kb;
    $come_and_go->();
    keeps_its_size($nginx, $before);
    # While nodes are frozen, what nobody waits for any more is not asked for.
    $_->cmd('CONFIG', 'RESETSTAT') for $cluster->nodes;
    $cluster->freeze($_) for $cluster->nodes;
    my @first = map { open_connection($nginx->port) } 1 .. 3;
    syswrite $_, request('/need', 1) for @first;
    sleep 0.1;
    my @clients = map { open_connection($nginx->port) } 1 .. 30;
    syswrite $clients[$_], request('/need', 1 + $_) for 0 .. $#clients;
    sleep 0.1;
    leave($_) for @clients;
    sleep 0.1;
    $cluster->thaw($_) for $cluster->nodes;
    is(read_response($_)->{code}, 200, 'who stayed is answered') for @first;
    sleep 0.2;
    cmp_ok(calls('get', $cluster->nodes), '<', 30, 'who left is not asked for');
    all_right($nginx, 120);
    is_deeply([$nginx->workers], [$worker], 'the worker lives');
    no_alert($nginx);
};

subtest 'too many lookups' => sub {
    my $cluster = fill(start_cluster(replicas => 0, node_timeout => 60_000));
    my $nginx   = cluster_nginx($cluster, store => 'timeout 2s; max_pending 5;');
    all_right($nginx, 10, at_once => 2);
    $cluster->freeze($_) for $cluster->nodes;
    my $result = many(port => $nginx->port, count => 60, at_once => 60, request => sub ($i) { request('/need', 1 + $i % $sessions) });
    is_deeply($result->{codes}, { 503 => 60 }, 'are refused');
    cmp_ok(scalar lines_like($nginx, qr/too many lookups in flight/), '>=', 50, 'at once');
    $cluster->thaw($_) for $cluster->nodes;
    until_found($nginx, 1);
    no_alert($nginx);
};

done_testing();
