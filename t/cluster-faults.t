# A Redis Cluster whose nodes die, freeze, come back, or talk nonsense: only
# the sessions of that node notice, and only for as long as it takes.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use IO::Socket::INET;
use SessionRedis;
use SessionRedis::Resp qw(array bulk error integer);
use StoreTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $sessions = 60;

sub filled_cluster (%how) {
    my $cluster = start_cluster(%how);
    $cluster->cmd('SET', key($_), session_of($_)) for 1 .. $sessions;
    $cluster->wait_until_well;
    return $cluster;
}

sub cluster_nginx ($cluster, %how) {
    return session_nginx(where => "cluster @{[$cluster->seeds]};", %how);
}

# The sessions whose keys this node has, and the others.
sub shared ($cluster, $node) {
    my (@its, @others);
    for my $n (1 .. $sessions) {
        if ($cluster->node_of(key($n)) == $node) { push @its, $n } else { push @others, $n }
    }
    return (\@its, \@others);
}

sub name ($node) { return '127.0.0.1:' . $node->port }

# Requests many at once for these sessions; returns the codes, each answer being that of its own session.
sub codes ($nginx, $of, $count, %how) {
    my $wrong = 0;
    my $result = many(port => $nginx->port, count => $count, at_once => 20, %how,
        request => sub ($i) { request('/need', $of->[$i % @$of]) },
        each    => sub ($i, $response) { $wrong++ if $response->{code} == 200 && $response->{body} ne "user=u$of->[$i % @$of]\n" });
    is($wrong, 0, 'nobody gets the session of another');
    return $result->{codes};
}

sub no_alert ($nginx) {
    is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]|panicked/), 0, 'no alert') or diag $nginx->log;
    return;
}

subtest 'a master is killed' => sub {
    my $cluster = filled_cluster(node_timeout => 2000);
    my $victim  = $cluster->node(0);
    my $slot    = $cluster->slot(key((shared($cluster, $victim))[0][0]));
    my ($its, $others) = shared($cluster, $victim);
    my $nginx = cluster_nginx($cluster);
    is_deeply(codes($nginx, [1 .. $sessions], 120), { 200 => 120 }, 'all are there');

    $victim->down;
    is_deeply(codes($nginx, $others, 200), { 200 => 200 }, 'the others do not notice');
    is(get($nginx, '/need', $its->[0])->{code}, 503, 'its own sessions cannot be read');
    my $took = seconds { codes($nginx, $its, 200) };
    cmp_ok($took, '<', 2, 'which is said at once');
    is_deeply(codes($nginx, $others, 200), { 200 => 200 }, 'the others still do not notice');
    my @down = lines_like($nginx, qr/a server of session store "s" is down/);
    is(scalar @down, 1, 'one line in the log') or diag explain \@down;
    like($down[0], qr/\[warn\].* is down: (?:connect\(\) failed|server closed|connection broke).*server: \Q@{[name($victim)]}\E/, 'names it and says why');

    until_found($nginx, $_, seconds => 20) for @$its;
    # Which a node that had no part in it is told a little later.
    ok($cluster->wait_for_failover($victim, $slot), 'a replica took over');
    is_deeply(codes($nginx, [1 .. $sessions], 120), { 200 => 120 }, 'and all is well');
    is(header(get($nginx, '/need', $its->[0]), 'X-Server'), name($cluster->master_of($slot)), 'it answers');

    $victim->up;
    ok(wait_for(sub { lines_like($nginx, qr/\[notice\].*a server of session store "s" is back, server: \Q@{[name($victim)]}\E/) }, seconds => 30, every => 0.1),
        'the log says when it is back, as a replica');
    is_deeply(codes($nginx, [1 .. $sessions], 120), { 200 => 120 }, 'as before');
    is(scalar lines_like($nginx, qr/\[error\](?!.*while)/), 0, 'the store was never down');
    no_alert($nginx);
};

subtest 'a master is killed that comes back itself' => sub {
    my $cluster = filled_cluster(replicas => 0, node_timeout => 60_000);
    my $victim  = $cluster->node(1);
    my ($its, $others) = shared($cluster, $victim);
    my $nginx = cluster_nginx($cluster);
    is_deeply(codes($nginx, [1 .. $sessions], 120), { 200 => 120 }, 'all are there');
    $victim->down;
    is(get($nginx, '/need', $its->[0])->{code}, 503, 'it is down');
    $victim->up;
    until_status($nginx, '/need', $its->[0], 401, seconds => 20);
    is_deeply(codes($nginx, $others, 100), { 200 => 100 }, 'it is back, without its data');
    is(scalar lines_like($nginx, qr/is down/), 1, 'a line when it went');
    is(scalar lines_like($nginx, qr/is back/), 1, 'a line when it came');
    # Its connections were closed meanwhile: each is replaced without a failure.
    $cluster->node(0)->cmd('CLIENT', 'KILL', 'TYPE', 'NORMAL', 'SKIPME', 'YES');
    is_deeply(codes($nginx, $others, 100), { 200 => 100 }, 'connections closed as idle are nothing');
    no_alert($nginx);
};

subtest 'a node is frozen' => sub {
    my $cluster = filled_cluster(node_timeout => 3000);
    my $victim  = $cluster->node(0);
    my ($its, $others) = shared($cluster, $victim);
    my $nginx = cluster_nginx($cluster, store => 'timeout 1s;');
    is_deeply(codes($nginx, [1 .. $sessions], 120), { 200 => 120 }, 'all are there');
    $cluster->freeze($victim);

    my @stuck = map { open_connection($nginx->port) } 1 .. 5;
    syswrite $stuck[$_], request('/need', $its->[$_ % @$its]) for 0 .. $#stuck;
    sleep 0.05;
    my $result  = many(port => $nginx->port, count => 500, at_once => 10, request => sub ($i) { request('/need', $others->[$i % @$others]) });
    is_deeply($result->{codes}, { 200 => 500 }, 'others do not notice');
    cmp_ok($result->{longest}, '<', 0.9, 'nor wait for it');
    is(read_response($_)->{code}, 503, 'who asked it is told in the end') for @stuck;
    cmp_ok(seconds { codes($nginx, $its, 100) }, '<', 0.9, 'then it is said at once');
    is(scalar lines_like($nginx, qr/a server of session store "s" is down: server timed out/), 1, 'one line');

    until_found($nginx, $its->[0], seconds => 20);
    is_deeply(codes($nginx, [1 .. $sessions], 120), { 200 => 120 }, 'a replica took over');
    $cluster->thaw($victim);
    $cluster->wait_until_well;
    is_deeply(codes($nginx, [1 .. $sessions], 120), { 200 => 120 }, 'it is back as a replica');
    no_alert($nginx);
};

subtest 'a node is frozen for a moment' => sub {
    my $cluster = filled_cluster(replicas => 0, node_timeout => 60_000);
    my $victim  = $cluster->node(0);
    my ($its)   = shared($cluster, $victim);
    my $nginx   = cluster_nginx($cluster);
    for my $round (1 .. 3) {
        is(get($nginx, '/need', $its->[0])->{code}, 200, 'it answers');
        $cluster->freeze($victim);
        is(get($nginx, '/need', $its->[1])->{code}, 503, 'it does not');
        $cluster->thaw($victim);
        until_found($nginx, $its->[2]);
        is_deeply(codes($nginx, $its, 50), { 200 => 50 }, 'late replies are nobody\'s');
    }
    no_alert($nginx);
};

subtest 'the whole cluster is gone, and comes' => sub {
    my @ports = map { free_port() } 1 .. 2;
    my $where = 'cluster ' . join(' ', map { "127.0.0.1:$_" } @ports) . ';';
    my ($ok, $text) = check_config(http => "session_redis_store s { $where }", server => 'session_redis s;');
    ok($ok, 'nginx -t does not mind') or diag $text;
    my $nginx = session_nginx(where => $where);
    is_deeply([statuses($nginx, '/need', 1, 1, 1)], [503, 503, 503], 'nobody is there');
    cmp_ok(seconds { codes($nginx, [1], 200) }, '<', 2, 'which is said at once');
    is(scalar lines_like($nginx, qr/\[error\].* session store "s" is down: connect\(\) failed \(111: Connection refused\)/), 1, 'one line');
    is(get($nginx, '/pass', 1)->{body}, "user=\n", 'others go on without');

    # One of the two only knows where the cluster is.
    my $cluster = filled_cluster(replicas => 0);
    my $seed    = fake_redis(port => $ports[1], on => { CLUSTER => raw_slots($cluster) });
    cmp_ok(until_found($nginx, 1), '<', 5, 'found when it appears');
    is(scalar lines_like($nginx, qr/\[notice\].* session store "s" is back/), 1, 'one line');
    $seed->down;
    is_deeply(codes($nginx, [1 .. $sessions], 120), { 200 => 120 }, 'the seed is not needed any more');
    $_->down for $cluster->nodes;
    is(get($nginx, '/need', 1)->{code}, 503, 'all are gone');
    codes($nginx, [1 .. $sessions], 120);
    is(scalar lines_like($nginx, qr/\[error\].* session store "s" is down/), 2, 'the log says that the store is down');
    no_alert($nginx);
};

# What a cluster says of its slots, as bytes.
sub raw_slots ($cluster) {
    my $bytes = sub ($value, $self) { ref $value ? array(map { $self->($_, $self) } @$value) : $value =~ /\A\d+\z/ ? integer($value) : bulk($value) };
    return $bytes->($cluster->a_node->cmd('CLUSTER', 'SLOTS'), $bytes);
}

subtest 'some of the seeds are dead' => sub {
    my $cluster = filled_cluster(replicas => 0);
    my $silent  = fake_redis(listen => 'never');
    my $where   = 'cluster 127.0.0.1:' . free_port() . ' 127.0.0.1:' . $silent->port . ' ' . $cluster->seeds . ';';
    my $nginx   = session_nginx(where => $where, store => 'timeout 5s;');
    is_deeply(codes($nginx, [1 .. $sessions], 120, timeout => 20), { 200 => 120 }, 'one that lives is enough');
    is(scalar lines_like($nginx, qr/is down/), 0, 'nobody is down');
    no_alert($nginx);
};

# The system's resolver keeps a thread much longer than lookups wait for it.
subtest 'a seed whose name the system looks up for long' => sub {
    plan skip_all => 'memory is checked otherwise' if $ENV{TEST_NGINX_USE_VALGRIND} || $ENV{ASAN_OPTIONS};
    my $silent = $> == 0 && system('unshare -m true 2>/dev/null') == 0 && IO::Socket::INET->new(LocalAddr => '127.0.0.7', LocalPort => 53, Proto => 'udp');
    plan skip_all => 'the system cannot be given a name server here' if !$silent;
    my $dir    = temp_dir();
    my $binary = $ENV{TEST_NGINX_BINARY} || 'nginx';
    open my $out, '>', "$dir/nginx" or die "$dir/nginx: $!\n";
    print {$out} <<~"END";
        #!/bin/sh
        printf 'nameserver 127.0.0.7\\noptions timeout:30\\n' >$dir/resolv.conf
        exec unshare -m sh -c 'mount --bind $dir/resolv.conf /etc/resolv.conf && exec $binary "\$@"' nginx "\$@"
        END
    close $out;
    chmod 0755, "$dir/nginx";
    local $ENV{TEST_NGINX_BINARY} = "$dir/nginx";
    my $nginx   = session_nginx(where => 'cluster node.example:7000;', store => 'timeout 50ms;', worker_connections => 2048);
    my $refused = sub ($count) {
        my $result = many(port => $nginx->port, count => $count, at_once => 300, request => sub ($i) { request('/need', $i) });
        is_deeply($result->{codes}, { 503 => $count }, 'lookups end in time');
    };
    $refused->(3000);
    my $before = $nginx->resident_kb;
    $refused->(15_000);
    is(scalar lines_like($nginx, qr/is down/), 0, 'it is still looked up');
    keeps_its_size($nginx, $before);
    no_alert($nginx);
};

subtest 'a slot that nobody serves' => sub {
    my $cluster = filled_cluster(replicas => 0);
    my $nginx   = cluster_nginx($cluster);
    my $slot    = $cluster->slot(key(1));
    my $owner   = $cluster->master_of($slot);
    is(get($nginx, '/need', 1)->{code}, 200, 'at first');
    my @others = grep { $cluster->slot(key($_)) != $slot } 2 .. $sessions;
    $cluster->cmd('DEL', key(1));
    # Its owner first, or it would tell the others again.
    $_->cmd('CLUSTER', 'DELSLOTS', $slot) for $owner, grep { $_ != $owner } $cluster->nodes;
    ok(wait_for(sub { !grep { $_->[0] <= $slot && $slot <= $_->[1] } map { $_->cmd('CLUSTER', 'SLOTS')->@* } $cluster->nodes }), 'nobody serves it');
    is(get($nginx, '/need', 1)->{code}, 503, 'its sessions cannot be read');
    is(header(get($nginx, '/pass', 1), 'X-Status'), 'error', 'is an error, not a missing session');
    is_deeply(codes($nginx, \@others, 120), { 200 => 120 }, 'all others can');
    is(scalar lines_like($nginx, qr/is down/), 0, 'no node is down');
    ok(wait_for(sub { get($nginx, '/need', 1); lines_like($nginx, qr/\[error\].*no server of the cluster serves the key's slot; \d+ lookups failed/) }), 'the log says so');
    codes($nginx, [1], 50);
    is(scalar lines_like($nginx, qr/\[error\].*no server of the cluster serves the key's slot/), 1, 'one line says so');
    $owner->cmd('CLUSTER', 'ADDSLOTS', $slot);
    $owner->cmd('SET', key(1), session_of(1));
    cmp_ok(until_found($nginx, 1, seconds => 15), '<', 14, 'served as soon as somebody does');
    no_alert($nginx);
};

subtest 'a cluster that says it is down' => sub {
    my $cluster = filled_cluster(replicas => 0, node_timeout => 500, config => { 'cluster-require-full-coverage' => 'yes' });
    my $nginx   = cluster_nginx($cluster);
    my $victim  = $cluster->node(2);
    my ($its, $others) = shared($cluster, $victim);
    is_deeply(codes($nginx, [1 .. $sessions], 120), { 200 => 120 }, 'at first');
    $victim->down;
    until_status($nginx, '/need', $others->[0], 503, seconds => 20);
    codes($nginx, $others, 200);
    cmp_ok(scalar lines_like($nginx, qr/\[(?:warn|error)\].* session store "s" is down: server answered \\?"CLUSTERDOWN The cluster is down/), '>=', 1, 'the log says why') or diag join "\n", lines_like($nginx, qr/session store "s"/);
    $victim->up;
    until_found($nginx, $others->[0], seconds => 30);
    cmp_ok(scalar lines_like($nginx, qr/session store "s" is back/), '>=', 1, 'and when it is back');
    no_alert($nginx);
};

# Nodes that a script plays. All slots are at the first.
sub fake_cluster (%script) {
    my $fake = fake_redis(data => { map { (key($_), session_of($_)) } 1 .. 9 });
    $fake->on(CLUSTER => fake_slots($fake->port), %script);
    return $fake;
}

sub fake_slots ($port, $host = '127.0.0.1', @extra) {
    return array(array(integer(0), integer(16383), array(bulk($host), integer($port), bulk('0' x 40), @extra), @extra));
}

subtest 'nodes that send us round in circles' => sub {
    my $fake  = fake_cluster();
    my $nginx = session_nginx(where => "cluster 127.0.0.1:@{[$fake->port]};");
    is(get($nginx, '/need', 1)->{code}, 200, 'a node that does not');
    $fake->on(GET => error('MOVED 1 127.0.0.1:' . $fake->port));
    is(get($nginx, '/need', 1)->{code}, 503, 'a loop of MOVED');
    cmp_ok($fake->count('GET'), '<', 30, 'ends');
    $fake->on(GET => error('ASK 1 127.0.0.1:' . $fake->port));
    is(get($nginx, '/need', 1)->{code}, 503, 'a loop of ASK');
    for my $nonsense ('MOVED', 'MOVED x', 'MOVED 1', 'MOVED 99999 127.0.0.1:1', 'MOVED 1 127.0.0.1:0', 'ASK 1 :', 'MOVED 1 ?:1', 'TRYAGAIN no') {
        $fake->on(GET => error($nonsense));
        is(get($nginx, '/need', 1)->{code}, 503, "\"$nonsense\"");
    }
    $fake->on(GET => error('MOVED 1 127.0.0.1:' . free_port()));
    is(get($nginx, '/need', 1)->{code}, 503, 'MOVED to where nobody is');
    $fake->on(GET => undef);
    until_found($nginx, 1);
    ok(1, 'all is well when the node is');
    no_alert($nginx);
};

subtest 'a redirect or a map without a host means the node that was asked' => sub {
    my $other = fake_redis(data => { map { (key($_), session_of($_)) } 1 .. 9 });
    my $fake  = fake_cluster(GET => error('MOVED 1 :' . $other->port));
    my $nginx = session_nginx(where => "cluster 127.0.0.1:@{[$fake->port]};");
    is(get($nginx, '/need', 1)->{body}, "user=u1\n", 'MOVED');
    is($other->count('GET'), 1, 'to the other port');
    $fake->on(GET => error('ASK 1 :' . $other->port));
    is(get($nginx, '/need', 2)->{body}, "user=u2\n", 'ASK') or diag $nginx->log;
    my $bare = fake_cluster(CLUSTER => fake_slots($other->port, ''));
    $nginx = session_nginx(where => "cluster 127.0.0.1:@{[$bare->port]};");
    is(get($nginx, '/need', 3)->{body}, "user=u3\n", 'in the map');
    no_alert($nginx);
};

subtest 'maps as they may come' => sub {
    my $data = fake_cluster();
    my $extra = array(bulk('hostname'), bulk('node-1.example'));
    for my $map (fake_slots($data->port, '127.0.0.1', $extra), fake_slots($data->port, 'localhost'), fake_slots($data->port, '127.0.0.1', bulk('x'), integer(7))) {
        my $fake  = fake_cluster(CLUSTER => $map);
        my $nginx = session_nginx(where => "cluster 127.0.0.1:@{[$fake->port]};");
        is(get($nginx, '/need', 1)->{code}, 200, 'more fields, a host name') or diag $nginx->log;
    }
    for my $map (error('ERR This instance has cluster support disabled'), array(), integer(1), bulk('x'), array(array()), error('NOPERM no')) {
        my $fake  = fake_cluster(CLUSTER => $map);
        my $nginx = session_nginx(where => "cluster 127.0.0.1:@{[$fake->port]};");
        is(get($nginx, '/need', 1)->{code}, 503, 'no map') or diag $map;
        $fake->on(CLUSTER => fake_slots($data->port));
        cmp_ok(until_found($nginx, 1, seconds => 15), '<', 14, 'until there is one');
        no_alert($nginx);
    }
    my $nginx = session_nginx(where => 'cluster 127.0.0.1:' . start_redis()->port . ';');
    is(get($nginx, '/need', 1)->{code}, 503, 'a Redis that is no cluster');
    is(scalar lines_like($nginx, qr/is down: server answered \\?"ERR This instance has cluster support disabled/), 1, 'is called so');
};

# How a node can fail before it says a word.
my %mute = (
    'accepted, then silent' => { GET => [{ silence => 1 }] },
    'closed when asked'     => { GET => { close => 1 } },
    'closed in mid-reply'   => { GET => ["\$20\r\n{\"user\"", { close => 1 }] },
    'reset in mid-reply'    => { GET => ["\$20\r\n{\"user\"", { reset => 1 }] },
    'no RESP'               => { GET => "HTTP/1.1 400 Bad Request\r\n\r\n" },
    'a reply too many'      => { GET => bulk(session_of(2)) . bulk(session_of(3)) },
);
for my $what (sort keys %mute) {
    subtest $what => sub {
        my $fake  = fake_cluster($mute{$what}->%*);
        my $nginx = session_nginx(where => "cluster 127.0.0.1:@{[$fake->port]};");
        my $code  = get($nginx, '/need', 2)->{code};
        is($code, 503, 'fails') if $what !~ /too many/;
        my $wrong = 0;
        # Of several commands at once nobody could tell which reply is one too many.
        many(port => $nginx->port, count => 60, at_once => $what =~ /too many/ ? 1 : 10, request => sub ($i) { request('/need', 2) },
            each => sub ($i, $response) { $wrong++ if $response->{body} =~ /user=u[^2]/ });
        is($wrong, 0, 'no session of another');
        $fake->on(GET => undef);
        cmp_ok(until_found($nginx, 1), '<', 4, 'served again');
        no_alert($nginx);
    };
}

done_testing();
