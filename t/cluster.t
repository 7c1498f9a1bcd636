# A Redis Cluster as a store: each session is asked for where it is, wherever
# its slot moves to. What happens when nodes fail is in cluster-faults.t.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Process qw(fork_server);
use StoreTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $sessions = 300;
my $cluster  = start_cluster();
$cluster->cmd('SET', key($_), session_of($_)) for 1 .. $sessions;

sub cluster_nginx (%how) {
    my $of = delete $how{of} // $cluster;
    return session_nginx(where => "cluster @{[$of->seeds]};", %how);
}

# The first session from a number on whose key this node has.
sub session_at ($node, $from = 1) {
    return (grep { $cluster->node_of(key($_)) == $node } $from .. $sessions)[0];
}

sub name ($node) { return '127.0.0.1:' . $node->port }

sub masters () { return ($cluster->nodes)[0 .. 2] }

sub is_quiet ($nginx) {
    is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg|error)\]/), 0, 'the log is quiet') or diag $nginx->log;
    return;
}

# Requests many at once, sessions in turn; each must get its own.
sub all_right ($nginx, $count, %how) {
    my ($wrong, $path) = (0, delete $how{path} // '/need');
    my $result = many(port => $nginx->port, count => $count, at_once => 50, %how,
        request => sub ($i) { request($path, 1 + $i % $sessions) },
        each    => sub ($i, $response) { $wrong++ if $response->{body} ne "user=u@{[1 + $i % $sessions]}\n" });
    is_deeply($result->{codes}, { 200 => $count }, "$count requests are answered") or diag $nginx->log;
    is($wrong, 0, 'each with its own session');
    return $result;
}

# Commands that came to a node from others than us.
sub calls ($node, $command) {
    my ($calls) = ($node->info('commandstats')->{"cmdstat_$command"} // '') =~ /\bcalls=(\d+)/;
    return $calls // 0;
}

subtest 'each session is asked for at the node that has it' => sub {
    my $nginx = cluster_nginx();
    for my $n (map { session_at($_) } masters()) {
        my $response = get($nginx, '/need', $n);
        is($response->{body}, "user=u$n\n", "session $n");
        is(header($response, 'X-Server'), name($cluster->node_of(key($n))), 'of its own node');
    }
    is_deeply([statuses($nginx, '/need', $sessions + 1)], [401], 'one that is not there');
    is(header(get($nginx, '/pass', $sessions + 1), 'X-Status'), 'missing', 'is missing');
    is_deeply([map { calls($_, 'asking') } $cluster->nodes], [(0) x 6], 'nobody was sent elsewhere');
    is_quiet($nginx);
    is($nginx->quit, 0, 'leaves');
    is(scalar lines_like($nginx, qr/\[alert\]/), 0, 'without an alert');
};

subtest 'lookups of one turn go to a node together' => sub {
    my $nginx = cluster_nginx();
    all_right($nginx, 20);
    $_->cmd('CONFIG', 'RESETSTAT') for masters();
    my $before = sum('total_reads_processed');
    all_right($nginx, 3000, at_once => 100);
    my $reads = sum('total_reads_processed') - $before;
    cmp_ok($reads, '<', 2400, "3000 lookups in $reads reads of Redis");
    my @clients = map { -1 + grep { /cmd=get|name=/ } split /\n/, $_->cmd('CLIENT', 'LIST', 'TYPE', 'NORMAL') } masters();
    is_deeply(\@clients, [1, 1, 1], 'over one connection to each');
    is_quiet($nginx);
};

sub sum ($field) {
    my $sum = 0;
    $sum += $_->info('stats')->{$field} for masters();
    return $sum;
}

subtest 'what is stored is found out as in any store' => sub {
    my $nginx = cluster_nginx(store => 'max_size 1k;', life => 1);
    my @keys  = map { key($_) } 901 .. 904;
    $cluster->cmd('RPUSH', $keys[0], 'x');
    $cluster->cmd('SET',   $keys[1], '{"user":"u902","pad":"' . 'x' x 5000 . '"}');
    $cluster->cmd('HSET',  $keys[2], 'user', '"u903"');
    $cluster->cmd('SET',   $keys[3], session_of(904), 'PX', 50_000);
    my @status = map { header(get($nginx, '/pass', $_), 'X-Status') } 901 .. 904;
    is_deeply(\@status, [qw(undecodable undecodable found found)], 'a list, too large, a hash, a string');
    is(get($nginx, '/need', 903)->{body}, "user=u903\n", 'the hash is read');
    like(get($nginx, '/ttl', 904)->{body}, qr/\Auser=(?:49|50)\n\z/, 'its life');
    is(get($nginx, '/ttl', 1)->{body}, "user=\n", 'one without an end');

    # All in one batch: what is wrong with one is nothing to the others. (An nginx that has seen no hash.)
    $nginx = cluster_nginx(store => 'max_size 1k;');
    my %codes;
    many(port => $nginx->port, count => 400, at_once => 50, request => sub ($i) { request('/need', $i % 2 ? 1 + $i % 100 : 902) },
        each => sub ($i, $response) { $codes{ $i % 2 ? 'good' : 'bad' }{ $response->{code} }++ });
    is_deeply($codes{good}, { 200 => 200 }, 'others in the same batch do not notice') or diag explain \%codes;
    is(scalar keys $codes{bad}->%*, 1, 'those are refused alike');
    $cluster->cmd('DEL', $_) for @keys;
    is(scalar lines_like($nginx, qr/is down/), 0, 'nobody is down');
};

subtest 'a life is extended, a session ended, at the master' => sub {
    my $nginx = cluster_nginx(life => 1);
    $cluster->cmd('PEXPIRE', key($_), 60_000) for 1, 2, 3;
    is_deeply([statuses($nginx, '/touch', 1, 2, 3)], [200, 200, 200], 'touched');
    for my $n (1, 2, 3) {
        ok(wait_for(sub { $cluster->cmd('PTTL', key($n)) > 3_000_000 }), "session $n lives longer");
        $cluster->cmd('PERSIST', key($n));
    }
    $cluster->cmd('SET', key(900), session_of(900));
    is(get($nginx, '/logout', 900, method => 'POST')->{code}, 204, 'a logout');
    is($cluster->cmd('EXISTS', key(900)), 0, 'is one');
    is(get($nginx, '/logout', 900, method => 'POST')->{code}, 204, 'a second one too');
    is_quiet($nginx);
};

# Several keys of one logout lie in different slots: a DEL of all is refused by a cluster.
subtest 'a session with several keys is ended at each node' => sub {
    my $nginx = start_nginx(http => "session_redis_store s { cluster @{[$cluster->seeds]}; }",
        server => 'location /two { session_redis s; session_redis_framework tomcat manager=msm; session_redis_destroy; }');
    my $id    = '0123456789ABCDEF0123456789ABCDEF';
    my @keys  = map { "$_$id" } '', 'validity:', 'lock:', 'bak:';
    my %nodes = map { $cluster->node_of($_)->port => 1 } @keys;
    cmp_ok(scalar keys %nodes, '>', 1, 'on several nodes');
    $cluster->cmd('SET', $_, 'x') for @keys;
    is(http($nginx->port, '/two', method => 'POST', headers => ["Cookie: JSESSIONID=$id"])->{code}, 204, 'is ended') or diag $nginx->log;
    is_deeply([map { $cluster->cmd('EXISTS', $_) } @keys], [0, 0, 0, 0], 'its keys are gone');
    is_quiet($nginx);
};

subtest 'a slot that has moved is found, and asked for at its new node from then on' => sub {
    my $nginx = cluster_nginx();
    my ($from, $to) = masters();
    my $n = session_at($from);
    is(get($nginx, '/need', $n)->{code}, 200, 'before');
    $cluster->move_slot($cluster->slot(key($n)), $to);
    my $response = get($nginx, '/need', $n);
    is($response->{body}, "user=u$n\n", 'the first request after it');
    is(header($response, 'X-Server'), name($to), 'of the new node');
    my $before = calls($from, 'get');
    is(get($nginx, '/need', $n)->{code}, 200, 'the next');
    is(calls($from, 'get'), $before, 'does not ask the old one');
    $cluster->move_slot($cluster->slot(key($n)), $from);
    is(get($nginx, '/need', $n)->{code}, 200, 'and back');
    is_quiet($nginx);
};

subtest 'a slot on its way' => sub {
    my $nginx = cluster_nginx(life => 1);
    my ($from, $to) = masters();
    my $n = session_at($from);
    # With one tag all are in one slot.
    my @n = grep { $cluster->slot(key($_)) == $cluster->slot(key($n)) } 1 .. $sessions;
    my $other = id($n) =~ s/0/x/r;
    $cluster->move_slot($cluster->slot(key($n)), $to, between => sub ($keys) {
        is(get($nginx, '/need', $_)->{body}, "user=u$_\n", "session $_ is found wherever it is") for @n;
        $cluster->migrate($from, $to, key($n));
        my $response = get($nginx, '/need', $n);
        is($response->{body}, "user=u$n\n", 'one that is there already');
        is(header($response, 'X-Server'), name($to), 'of the node it is on its way to');
        is(get($nginx, '/ttl', $n)->{body}, "user=\n", 'with its life');
        is(get($nginx, '/touch', $n)->{code}, 200, 'and touched');
        cmp_ok(calls($to, 'asking'), '>', 0, 'it was asked in the way for it');
    });
    is(get($nginx, '/need', $n)->{code}, 200, 'then');
    $cluster->move_slot($cluster->slot(key($n)), $from);
    is_quiet($nginx);
};

subtest '1000 slots move under load' => sub {
    my $nginx = cluster_nginx(worker_connections => 1024, store => 'timeout 3s;');
    my ($from, $to) = masters();
    my @slots = 0 .. 999;
    my $mover = fork_server(sub {
        delete $_->{client} for $cluster->nodes;
        $cluster->move_slot($_, $to) for @slots;
    });
    my ($count, $rounds) = (0, 0);
    until (!alive($mover) || $rounds > 200) {
        my $wrong = 0;
        my $result = many(port => $nginx->port, count => 500, at_once => 30,
            request => sub ($i) { request('/need', 1 + $i % $sessions) },
            each    => sub ($i, $response) { $wrong++ if $response->{body} ne "user=u@{[1 + $i % $sessions]}\n" });
        $rounds++;
        $count += $result->{codes}{200} // 0;
        if ($wrong || keys $result->{codes}->%* > 1) {
            fail('a request failed') or diag explain $result, $nginx->log;
            last;
        }
    }
    is(scalar(grep { $cluster->master_of($_) == $to } @slots), 1000, 'all have moved');
    is($count, 500 * $rounds, "not one of $count requests failed meanwhile");
    all_right($nginx, 600);
    is_quiet($nginx);
};

subtest 'a node is added, another leaves' => sub {
    my $nginx = cluster_nginx(store => 'timeout 3s;');
    all_right($nginx, 300);
    my $old = (masters())[2];
    my $new = $cluster->add_node;
    my @slots = map { $_->[0] .. $_->[1] } grep { $_->[2][1] == $old->port } $cluster->a_node->cmd('CLUSTER', 'SLOTS')->@*;
    # Slots without sessions move faster: only the owner changes.
    my %used = map { $cluster->slot(key($_)) => 1 } 1 .. $sessions;
    $cluster->move_slot($_, $new) for grep { $used{$_} } @slots;
    for my $node ($cluster->nodes) {
        next if $node->info('replication')->{role} eq 'slave';
        $node->cmd('CLUSTER', 'SETSLOT', $_, 'NODE', $new->{id}) for grep { !$used{$_} } @slots;
    }
    # A node that has just come to its slots may take the cluster to be down for a moment.
    $cluster->wait_until_well;
    all_right($nginx, 600);
    my @replicas = $cluster->replicas_of($old);
    for my $gone ($old, @replicas) {
        $_->cmd('CLUSTER', 'FORGET', $gone->{id}) for grep { my $n = $_; !grep { $_ == $n } $old, @replicas } $cluster->nodes;
    }
    $_->down for $old, @replicas;
    all_right($nginx, 600);
    is(scalar lines_like($nginx, qr/\[(?:error|alert|crit)\]/), 0, 'nobody noticed') or diag $nginx->log;
};

done_testing();
