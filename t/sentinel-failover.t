# Failovers with real Sentinels, under load: by plan, of a master that is
# killed, of one that is frozen and comes back as a replica, and during reloads.
# SESSION_REDIS_LONG=1 repeats them for figures, which are shown in any case.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Sentinel;
use SessionRedis::Steady;
use StoreTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $rounds = $ENV{SESSION_REDIS_LONG} ? 5 : 1;

# What is promised is a second. Here the machine may have other things to do.
use constant SOON => 2;

# A topology of its own for each, since it takes Sentinels long to put one in order again.
sub whole (%how) {
    my $after = delete $how{down_after};
    my $topology = SessionRedis::Sentinel->start($after ? (down_after => $after) : ());
    put_sessions($topology->master, 1, 9);
    $topology->replicated;
    my $nginx = session_nginx(where => 'sentinel mymaster ' . $topology->hosts . ';', life => 1, %how);
    is(get($nginx, '/need', 1)->{code}, 200, 'served at first');
    return ($topology, $nginx);
}

sub steady ($nginx, $path = '/need', @how) {
    return SessionRedis::Steady->start(port => $nginx->port, path => $path, headers => [cookie(1)], expected => "user=u1\n", @how);
}

# Breaks the master while requests come; returns the new one, when it was elected, and what became of the requests.
sub failover ($topology, $nginx, $what, $break, %how) {
    my $old    = $topology->master;
    my $steady = steady($nginx);
    sleep 0.5;
    my $since = time;
    $break->($old);
    my ($elected, $new) = $topology->election($since);
    $how{meanwhile}->() if $how{meanwhile};
    wait_for(sub { get($nginx, '/need', 1)->{code} == 200 }, seconds => 10, what => 'an answer of the new master');
    sleep 0.5;
    my @requests = $steady->finish;
    my $sum  = SessionRedis::Steady::summary(@requests);
    my ($right) = grep { $_->[0] >= $elected && $_->[3] } @requests;
    my %took = (election => $elected - $since, right => ($right ? $right->[1] : 9e9) - $elected,
        last => defined $sum->{last} ? $sum->{last} - $elected : undef);
    my $failed = join ', ', map { "$sum->{failed}{$_} x $_" } sort keys $sum->{failed}->%*;
    diag sprintf '%s: elected after %.2f s; of %d requests failed %s, from %s to %s s after the election; first right answer %.0f ms after it; longest %.0f ms',
        $what, $took{election}, $sum->{all}, $failed || 'none', (map { defined $_ ? sprintf '%.3f', $_ - $elected : '-' } @$sum{qw(first last)}),
        1000 * $took{right}, 1000 * $sum->{longest};
    return ($new, $elected, $sum, \%took);
}

sub keeps_the_promise ($nginx, $sum, $took, @codes) {
    is($sum->{wrong}, 0, 'no wrong answer');
    is_deeply([sort keys $sum->{failed}->%*], \@codes, 'requests fail in no other way') or diag explain $sum;
    cmp_ok($took->{right}, '<', SOON, 'right again soon after the election');
    cmp_ok($took->{last} // 0, '<', SOON, 'and it stays so');
    is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]|panicked/), 0, 'nothing worse in the log');
    return;
}

# How often a server was asked for a session, and extended or deleted one; reset by the test.
sub asked ($server) {
    my $stats = $server->info('commandstats');
    my %count = map { ($_, ($stats->{"cmdstat_$_"} // '') =~ /calls=(\d+)/ ? $1 : 0) } qw(get pttl pexpire del);
    return \%count;
}

my %nothing = (get => 0, pttl => 0, pexpire => 0, del => 0);

subtest 'a failover by plan' => sub {
    my ($topology, $nginx) = whole(down_after => 30_000);
    my $old = $topology->master;
    my ($new, $elected, $sum, $took) = failover($topology, $nginx, 'by plan', sub ($) { $topology->ask(0, 'SENTINEL', 'FAILOVER', 'mymaster') });
    is_deeply($sum->{failed}, {}, 'nobody notices') or diag explain $sum;
    keeps_the_promise($nginx, $sum, $took);
    is(header(get($nginx, '/need', 1), 'X-Server'), '127.0.0.1:' . $new->port, 'the new master is asked');
    my ($from, $to) = ($old->port, $new->port);
    is(scalar lines_like($nginx, qr/\[notice\].*session store "s": master is now 127\.0\.0\.1:$to \(was 127\.0\.0\.1:$from\), sentinel 127\.0\.0\.1:\d+/), 1, 'one line says so');
    is(scalar lines_like($nginx, qr/is down/), 0, 'the store was never down');

    $new->cmd('PEXPIRE', key(2), 10_000);
    $_->cmd('CONFIG', 'RESETSTAT') for $old, $new;
    is(get($nginx, '/touch', 2)->{code}, 200, 'a touch');
    is(get($nginx, '/logout', 3, method => 'POST')->{code}, 204, 'the end of a session');
    wait_for(sub { asked($new)->{del} });
    is($new->cmd('EXISTS', key(3)), 0, 'is written to the new master');
    my %count = asked($new)->%*;
    is_deeply([@count{qw(pexpire del)}], [1, 1], 'each once');
    is(asked($old)->{get}, 0, 'the old one is not asked');
};

for my $round (1 .. $rounds) {
    subtest "a master that is killed, $round" => sub {
        my ($topology, $nginx) = whole();
        my ($new, $elected, $sum, $took) = failover($topology, $nginx, 'killed', sub ($old) { $old->down });
        keeps_the_promise($nginx, $sum, $took, 503);
        is(scalar lines_like($nginx, qr/\[error\].*session store "s" is down/), 1, 'one line says that it is down');
        is(scalar lines_like($nginx, qr/\[notice\].*session store "s" is back, server: 127\.0\.0\.1:@{[$new->port]}/), 1, 'one that it is back');
        cmp_ok($sum->{longest}, '<', 2, 'nobody waits for it');
        is($nginx->quit, 0, 'leaves');
        is(scalar lines_like($nginx, qr/\[alert\]/), 0, 'without an alert');
    };

    subtest "a master that is frozen, and comes back as a replica, $round" => sub {
        my ($topology, $nginx) = whole();
        my $old = $topology->master;
        my ($new, $elected, $sum, $took) = failover($topology, $nginx, 'frozen', sub ($old) { $old->freeze });
        keeps_the_promise($nginx, $sum, $took, 503);

        my $steady = steady($nginx, '/touch');
        $new->cmd('PEXPIRE', key(1), 10_000);
        $old->thaw;
        # What it was sent before the failover it reads now.
        $old->cmd('PING');
        sleep 0.3;
        $old->cmd('CONFIG', 'RESETSTAT');
        wait_for(sub { $old->cmd('ROLE')->[0] eq 'slave' }, seconds => 30, what => 'the old master as a replica');
        sleep 0.5;
        my $then = SessionRedis::Steady::summary($steady->finish);
        is_deeply([$then->{failed}, $then->{wrong}], [{}, 0], 'nobody notices that it is back') or diag explain $then;
        is_deeply(asked($old), \%nothing, 'it is asked nothing, and nothing is written to it');
        is(scalar lines_like($nginx, qr/is a read-only replica/), 0, 'nor was that tried');
    };
}

subtest 'a session that the replicas do not have yet' => sub {
    my ($topology, $nginx) = whole(down_after => 30_000);
    my $master  = $topology->master;
    my @replicas = $topology->others($master);
    $_->freeze for @replicas;
    $_->cmd('CONFIG', 'RESETSTAT') for $master;
    my @wrong;
    for my $n (100 .. 140) {
        $master->cmd('SET', key($n), session_of($n));
        push @wrong, $n if get($nginx, '/need', $n)->{body} ne "user=u$n\n";
    }
    is_deeply(\@wrong, [], 'is found: replicas are not asked');
    $_->thaw for @replicas;
};

subtest 'reloads in the middle of it' => sub {
    my ($topology, $nginx) = whole(workers => 2);
    my @old;
    my ($new, $elected, $sum, $took) = failover($topology, $nginx, 'killed, with reloads', sub ($old) {
        $old->down;
        push @old, $nginx->reload;
    }, meanwhile => sub { push @old, $nginx->reload });
    # nginx itself resets connections that are queued at a worker which leaves.
    delete $sum->{failed}{lost};
    is($sum->{wrong}, 0, 'no wrong answer');
    cmp_ok($took->{right}, '<', SOON + 1, 'right again soon after the election');
    ok($nginx->gone(\@old, 10), 'the old workers are gone');
    is($nginx->quit, 0, 'leaves');
    is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]|panicked/), 0, 'no alert, no socket left open') or diag join "\n", lines_like($nginx, qr/\[alert\]/);
};

done_testing();
