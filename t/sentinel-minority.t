# A Sentinel that lies, while the others are away: it moves no master that
# serves, nor gets the password; once the master is gone it may, with a warning.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Resp qw(array bulk integer);
use SessionRedis::Sentinel;
use StoreTest;
use Test::More;

my $password = 'the-Master-password';

sub file_of ($text) {
    my $path = temp_dir() . '/password';
    open my $out, '>', $path or die "$path: $!\n";
    print {$out} $text;
    close $out;
    chmod 0600, $path;
    return $path;
}

# A server that takes any password, says what it is when asked for its ROLE, and that everybody is mallory.
sub evil (@role) {
    @role = (bulk('master'), integer(0), array()) if !@role;
    return fake_redis(on => { ROLE => array(@role), GET => bulk('{"user":"mallory"}') });
}

sub lying ($evil) { return fake_redis(on => { SessionRedis::Sentinel::says('127.0.0.1', $evil->port) }) }

sub switches ($fake, $server) {
    $fake->on(SessionRedis::Sentinel::says('127.0.0.1', $server->port));
    $fake->push_bytes(SessionRedis::Sentinel::switch_event('127.0.0.1', $server->port));
    return;
}

sub minority_nginx ($hosts, %how) {
    return session_nginx(where => "sentinel mymaster $hosts;", store => 'timeout 3s; password_file ' . file_of($password) . ';', %how);
}

sub calm ($nginx) {
    is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]|panicked|\Q$password\E/), 0, 'nothing worse in the log');
    return;
}

# Two real Sentinels and one that lies; no failover is wanted, however slow the machine is.
my $topology = SessionRedis::Sentinel->start(down_after => 60_000, sentinels => 2, replicas => 1, password => $password);
my $master   = $topology->master;
put_sessions($master, 1, 9);
$topology->replicated;
my $named = '127.0.0.1:' . $master->port;

subtest 'a master that serves' => sub {
    my ($evil, $liar) = (evil());
    $liar = lying($master);
    my $nginx = minority_nginx($topology->hosts . ' 127.0.0.1:' . $liar->port, workers => 2);
    is(get($nginx, '/need', 1)->{body}, "user=u1\n", 'the master is found');
    is(scalar lines_like($nginx, qr/\[warn\]/), 0, 'by a majority, without a word of complaint');

    $topology->down($_) for 0, 1;
    wait_for(sub { lines_like($nginx, qr/\[warn\].*Sentinel \S+ cannot be asked/) >= 4 }, what => 'the others to be away');
    switches($liar, $evil);
    my $place = '127\.0\.0\.1:' . $evil->port;
    my $odd   = qr/\[warn\].*session store "s": 1 of 3 Sentinels name $place as the master, fewer than a majority; \Q$named\E serves and stays, sentinel 127\.0\.0\.1:@{[$liar->port]}/;
    my %got;
    wait_for(sub { $got{ get($nginx, '/need', 1)->{body} }++; lines_like($nginx, $odd) >= 2 }, seconds => 20, every => 0.02, what => 'the word of each worker');
    is_deeply([keys %got], ["user=u1\n"], 'is not left for what one of three says');
    is($evil->connections, 0, 'the other server is not even connected to');

    $liar->close_all;
    switches($liar, $evil);
    wait_for(sub { $liar->connections >= 4 }, seconds => 20, what => 'it to be asked anew');
    is(get($nginx, '/need', 2)->{body}, "user=u2\n", 'nor when it comes back with it');
    is($evil->connections, 0, 'still not connected to');

    $topology->up($_) for 0, 1;
    calm($nginx);
};

subtest 'a master that is gone' => sub {
    my ($replica) = $topology->others($master);
    my ($evil, $slave) = (evil(), evil(bulk('slave'), bulk('127.0.0.1'), integer(1), bulk('connected'), integer(0)));
    my $liar  = lying($master);
    my $nginx = minority_nginx($topology->hosts . ' 127.0.0.1:' . $liar->port);
    is(get($nginx, '/need', 1)->{code}, 200, 'is found first');
    $topology->down($_) for 0, 1;
    wait_for(sub { lines_like($nginx, qr/\[warn\].*Sentinel \S+ cannot be asked/) >= 2 }, what => 'the others to be away');
    $master->down;
    until_status($nginx, '/need', 1, 503);

    switches($liar, $slave);
    wait_for(sub { lines_like($nginx, qr/\[warn\].*master is now 127\.0\.0\.1:@{[$slave->port]} \(was \Q$named\E\), named by 1 of 3 Sentinels, fewer than a majority, sentinel/) }, seconds => 20, what => 'a warning');
    is(get($nginx, '/need', 1)->{code}, 503, 'what says by ROLE that it is a replica is not asked');
    is(scalar(grep { $_->[1] eq 'GET' && $_->[2] =~ /^sess:/ } $slave->commands), 0, 'for any session');
    switches($liar, $evil);
    is(until_status($nginx, '/need', 1, 200, seconds => 20) > 0, 1, 'what says that it is the master is used');
    is(scalar lines_like($nginx, qr/\[warn\].*master is now 127\.0\.0\.1:@{[$evil->port]} .*, named by 1 of 3 Sentinels, fewer than a majority/), 1, 'with a warning');

    $master->up;
    put_sessions($master, 1, 9);
    $topology->up($_) for 0, 1;
    wait_for(sub { get($nginx, '/need', 1)->{body} eq "user=u1\n" }, seconds => 30, what => 'the master again');
    is(scalar lines_like($nginx, qr/\[notice\].*master is now \Q$named\E \(was 127\.0\.0\.1:@{[$evil->port]}\), sentinel/), 1, 'as soon as a majority says so');
    calm($nginx);
};

subtest 'the first master' => sub {
    my $evil  = evil();
    my $liar  = lying($evil);
    my $hosts = $topology->hosts . ' 127.0.0.1:' . $liar->port;
    $topology->down($_) for 0, 1;
    my $nginx = minority_nginx($hosts);
    until_status($nginx, '/need', 1, 200);
    is(get($nginx, '/need', 1)->{body}, "user=mallory\n", 'it is, where no other answers');
    is(scalar lines_like($nginx, qr/\[warn\].*session store "s": master is 127\.0\.0\.1:@{[$evil->port]}, named by 1 of 3 Sentinels, fewer than a majority, sentinel/), 1, 'with a warning');
    $topology->up($_) for 0, 1;
    wait_for(sub { get($nginx, '/need', 1)->{body} eq "user=u1\n" }, seconds => 30, what => 'the master that a majority names');
    calm($nginx);
};

subtest 'two against two' => sub {
    my ($evil, @liars) = (evil());
    @liars = map { lying($master) } 1, 2;
    my $nginx = minority_nginx($topology->hosts . join '', map { ' 127.0.0.1:' . $_->port } @liars);
    is(get($nginx, '/need', 1)->{code}, 200, 'all agree at first');
    switches($_, $evil) for @liars;
    wait_for(sub { lines_like($nginx, qr/4 Sentinels name/) || get($nginx, '/need', 1)->{body} ne "user=u1\n" || $liars[1]->count('SENTINEL') >= 2 }, seconds => 30, what => 'them to be asked again');
    is(get($nginx, '/need', 1)->{body}, "user=u1\n", 'half of them move nobody');
    is($evil->connections, 0, 'the other is not connected to');
    calm($nginx);
};

done_testing();
