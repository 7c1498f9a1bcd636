# Reloads, leaving and upgrades while sessions are looked up: no request is
# lost that plain nginx would not lose, and no connection is left behind.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Resp qw(bulk integer);
use StoreTest;
use Test::More;
use Time::HiRes qw(sleep time);

sub slow_reply ($seconds) {
    return sub ($words, $) {
        my $reply = bulk(session_of($words->[1] =~ s/.*?0*(\d+)\z/$1/r));
        return rand() < 0.2 ? [{ delay => $seconds }, $reply] : $reply;
    };
}

# Requests on connections of their own, while an nginx is reloaded again and again.
sub under_load ($nginx, $path, $reloads, $doing) {
    my ($wrong, $done, $count) = (0, 0, 300 * $reloads);
    my @old;
    my $result = many(port => $nginx->port, count => $count, at_once => 16, request => sub ($i) { request($path, 1 + $i % 9) },
        each => sub ($i, $response) {
            $wrong++ if $path ne '/plain' && $response->{body} ne "user=u@{[1 + $i % 9]}\n";
            push @old, $doing->() if ++$done % 300 == 150;
        });
    return ($result, $wrong, @old);
}

# nginx itself resets connections that were queued at a socket which a worker closes: the same load with nothing to look up.
sub lost_by_nginx_itself ($nginx) {
    my ($result) = under_load($nginx, '/plain', 5, sub { $nginx->reload });
    return $result->{lost} + $result->{refused} + $result->{timed_out};
}

my %stores = (
    'a quick store' => [],
    'a slow store'  => [on => { GET => slow_reply(0.02) }],
);
for my $what (sort keys %stores) {
    subtest "ten reloads under load, $what" => sub {
        my $fake  = fake_redis(data => { map { (key($_), session_of($_)) } 1 .. 9 }, $stores{$what}->@*);
        my $nginx = session_nginx(url => $fake->url, workers => 2, store => 'timeout 3s; connections 2;');
        my $floor = lost_by_nginx_itself($nginx);
        my ($result, $wrong, @old) = under_load($nginx, '/need', 10, sub { $nginx->reload });
        is($wrong, 0, 'no wrong answer');
        is_deeply([keys $result->{codes}->%*], [200], 'every answer is a good one') or diag explain $result->{codes};
        cmp_ok($result->{lost} + $result->{refused} + $result->{timed_out}, '<=', $floor, "no request is lost (nginx itself: $floor)") or diag explain $result;
        is(scalar @old, 20, 'ten reloads');
        ok($nginx->gone(\@old), 'the old workers are gone');
        ok(wait_for(sub { $fake->open_now <= 4 }), 'their connections too');
        is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]/), 0, 'no alert, no socket left open') or diag join "\n", lines_like($nginx, qr/\[alert\]/);
        is($nginx->quit, 0, 'leaves in the end');
        is(scalar lines_like($nginx, qr/\[alert\]/), 0, 'without an alert');
    };
}

# Each of these is under way when nginx is told to leave; each must be answered, and nothing may be left behind.
# The first reply is late, and with it all behind it.
sub late ($seconds, $reply) {
    return { sequence => [[{ delay => $seconds }, $reply], $reply] };
}

my %flight = (
    'a lookup'               => ['/need', on => { GET => late(0.5, bulk(session_of(1))) }],
    'a lookup with its life' => ['/ttl', on => { GET => late(0.5, bulk(session_of(1))) }],
    'a touch'                => ['/touch', data => { map { (key($_), session_of($_)) } 0 .. 4 }, on => { PTTL => late(0.4, integer(1000)), PEXPIRE => late(1, integer(1)) }],
    'the end of a session'   => ['/logout', on => { DEL => late(0.5, integer(1)) }, data => { key(1) => session_of(1) }],
);
for my $what (sort keys %flight) {
    for my $leave ('quit', 'reload') {
        subtest "$leave with $what under way" => sub {
            my ($path, @how) = $flight{$what}->@*;
            my $fake   = fake_redis(@how);
            my $nginx  = session_nginx(url => $fake->url, store => 'timeout 3s;', life => 1);
            my ($old)  = $nginx->workers;
            my @clients = map { open_connection($nginx->port) } 1 .. 5;
            my $method  = $path eq '/logout' ? 'POST' : 'GET';
            syswrite $clients[$_], request_bytes($path, method => $method, headers => [cookie($_)]) for 0 .. $#clients;
            $fake->wait_for_command('GET', 5);
            sleep 0.1;
            $leave eq 'quit' ? kill(QUIT => $nginx->pid) : $nginx->reload;
            my @codes = map { read_response($_)->{code} } @clients;
            is_deeply(\@codes, [($path eq '/logout' ? 204 : 200) x 5], 'is waited for');
            ok($nginx->gone([$old], 5), 'then the worker leaves');
            is($nginx->quit, 0, 'nginx ends well');
            is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]/), 0, 'no alert') or diag join "\n", lines_like($nginx, qr/\[alert\]/);
        };
    }
}

subtest 'leaving while the store is silent, down, or not connected yet' => sub {
    for my $how ([on => { '*' => [{ silence => 1 }] }], [listen => 'never'], [listen => 'full']) {
        my $fake  = fake_redis(@$how);
        my $nginx = session_nginx(url => $fake->url, store => 'timeout 700ms; connect_timeout 5s;');
        my ($old) = $nginx->workers;
        my @clients = map { open_connection($nginx->port) } 1 .. 3;
        syswrite $_, request('/need', 1) for @clients;
        sleep 0.2;
        $nginx->reload;
        my @codes = map { read_response($_)->{code} } @clients;
        is_deeply(\@codes, [503, 503, 503], 'answered');
        ok($nginx->gone([$old], 3), 'and gone');
        is($nginx->quit, 0, 'all of it');
        is(scalar lines_like($nginx, qr/\[alert\]/), 0, 'no alert');
    }
};

subtest 'leaving when nothing is under way' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 1);
    my $nginx = session_nginx(url => $redis->url, store => 'connections 3; timeout 30s;');
    is(get($nginx, '/need', 1)->{code}, 200, 'a connection is open');
    my $took = seconds { is($nginx->quit, 0, 'leaves') };
    cmp_ok($took, '<', 3, 'at once');
    is(scalar lines_like($nginx, qr/\[alert\]/), 0, 'without an alert');

    $redis->down;
    $nginx = session_nginx(url => $redis->url, store => 'timeout 30s;');
    is(get($nginx, '/need', 1)->{code}, 503, 'a store that is down, which is probed');
    $took = seconds { is($nginx->quit, 0, 'leaves') };
    cmp_ok($took, '<', 3, 'at once');
};

subtest 'a client with a connection that is kept, and a time limit for leaving' => sub {
    my $fake  = fake_redis(on => { GET => { sequence => [bulk(session_of(1)), [{ silence => 1 }]] } });
    my $nginx = session_nginx(url => $fake->url, store => 'timeout 20s;', main => 'worker_shutdown_timeout 500ms;');
    my $client = open_connection($nginx->port);
    syswrite $client, request('/need', 1, keepalive => 1);
    is(read_response($client)->{code}, 200, 'a request');
    my $waiting = open_connection($nginx->port);
    syswrite $waiting, request('/need', 1);
    $fake->wait_for_command('GET', 2);
    my ($old) = $nginx->workers;
    $nginx->reload;
    ok($nginx->gone([$old], 10), 'the worker leaves when its time is up');
    ok(read_response($client)->{closed}, 'idle clients are let go');
    is(scalar lines_like($nginx, qr/signal 11|signal 6|panicked/), 0, 'alive to the end');
};

# nginx takes the signal for an upgrade only when the process that started it is gone by then.
subtest 'a binary upgrade' => sub {
    plan skip_all => 'not under valgrind' if $ENV{TEST_NGINX_USE_VALGRIND};
    my $fake  = fake_redis(data => { map { (key($_), session_of($_)) } 1 .. 9 }, on => { GET => slow_reply(0.01) });
    my $nginx = session_nginx(url => $fake->url, store => 'timeout 3s;');
    my $dir   = $nginx->dir;
    $nginx->quit;
    my $binary = $ENV{TEST_NGINX_BINARY} || 'nginx';
    system "$binary -p $dir/ -e $dir/logs/error.log -c $dir/nginx.conf </dev/null >/dev/null 2>&1 & sleep 0.5";
    my $old_master = wait_for(sub { pid_in("$dir/nginx.pid") }, what => 'nginx');
    my ($old)      = wait_for(sub { my @workers = children($old_master); @workers && \@workers })->@*;
    my ($new_master, @wrong);
    my $result = many(port => $nginx->port, count => 1500, at_once => 8, request => sub ($i) { request('/need', 1 + $i % 9) }, each => sub ($i, $response) {
        push @wrong, $response->{code} if $response->{body} ne "user=u@{[1 + $i % 9]}\n";
        if ($i == 300) {
            kill USR2 => $old_master;
            $new_master = wait_for(sub { pid_in("$dir/nginx.pid.oldbin") && pid_in("$dir/nginx.pid") }, what => 'the new master');
            wait_for(sub { my @workers = children($new_master); scalar @workers }, what => 'its worker');
            kill WINCH => $old_master;
        }
        kill QUIT => $old_master if $i == 900;
    });
    is_deeply(\@wrong, [], 'every answer is right');
    is_deeply($result->{codes}, { 200 => 1500 }, 'none is lost') or diag explain $result;
    ok($nginx->gone([$old, $old_master]), 'the old processes are gone');
    kill QUIT => $new_master;
    ok($nginx->gone([$new_master]), 'the new ones leave too');
    is(scalar lines_like($nginx, qr/\[alert\]/), 0, 'no alert');
};

sub pid_in ($path) {
    open my $in, '<', $path or return;
    my $pid = <$in> // return;
    chomp $pid;
    push our(@masters), $pid;
    return $pid;
}

END { kill KILL => grep { alive($_) && title($_) =~ /nginx: master/ } our @masters }

sub title ($pid) {
    open my $in, '<', "/proc/$pid/cmdline" or return '';
    return <$in> // '';
}

done_testing();
