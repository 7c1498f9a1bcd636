# A fleet: two nginx, four servers, one Redis. A session has one server, the same from everywhere, whatever happens.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Learning;
use SessionRedis::Process qw(fork_server);
use StoreTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $long = $ENV{SESSION_REDIS_LONG};

# The answers of an nginx to one request of each session: which server, by session.
sub answers ($nginx, $sessions, %how) {
    my (%by, @codes);
    my $done = many(port => $nginx->port, count => scalar @$sessions, at_once => $how{at_once} // 16,
        request => sub ($i) { request('/app', $sessions->[$i], keepalive => 1) },
        each    => sub ($i, $response) { $by{ $sessions->[$i] } = served_by($response) });
    return (\%by, $done);
}

sub moved ($was, $is) { return grep { $was->{$_} ne $is->{$_} } keys %$was }

sub counts ($by) {
    my %count;
    $count{$_}++ for values %$by;
    return %count;
}

subtest 'each session has one server, the same from both' => sub {
    my $count = 10_000;
    my $redis = start_redis();
    put_sessions($redis, 1, $count);
    my @nginx = map { learning_nginx($redis, workers => 2, upstream => 'session_redis_sticky; keepalive 16;') } 1, 2;
    my @all  = 1 .. $count;
    my @half = ([grep { $_ % 2 } @all], [grep { $_ % 2 == 0 } @all]);
    my %first;
    for my $which (0, 1) {
        my ($by, $done) = answers($nginx[$which], $half[$which]);
        is($done->{codes}{200}, $count / 2, 'all are answered');
        @first{ keys %$by } = values %$by;
    }
    for my $which (0, 1) {
        my ($by) = answers($nginx[$which], \@all);
        is(scalar moved(\%first, $by), 0, 'each at the server that it was at first') or diag scalar moved(\%first, $by);
    }
    is(scalar(grep { route_of($redis, $_) ne $first{$_} } 1 .. 200), 0, 'as Redis says');
    my %count = counts(\%first);
    is(scalar keys %count, 4, 'over all servers');
    cmp_ok(abs($count{$_} - $count / 4), '<=', $count / 4 * 0.05, "$count{$_} at one of them, as round robin spreads them") for sort keys %count;
    is(scalar lines_like($_, qr/\[(?:warn|error|alert|crit)\]/), 0, 'nothing to complain of') for @nginx;
};

subtest 'two that choose for one session at the same moment' => sub {
    my $rounds = $long ? 10_000 : 2000;
    my $redis  = start_redis();
    put_sessions($redis, 1, $rounds);
    my @nginx = map { learning_nginx($redis, upstream => 'random; session_redis_sticky;') } 1, 2;
    my @open  = map { open_connection($_->port) } @nginx;
    my ($differ, $wrong) = (0, 0);
    for my $n (1 .. $rounds) {
        syswrite $open[$_], request('/app', $n, keepalive => 1) for 0, 1;
        # Whoever is answered first asks again at once, the other nginx.
        my $in = q();
        vec($in, fileno $_, 1) = 1 for @open;
        select $in, undef, undef, 5;
        my @order = vec($in, fileno $open[0], 1) ? (0, 1) : (1, 0);
        my @first = map { served_by(read_response($open[$_])) } @order;
        my $stands = route_of($redis, $n);
        $differ++ if $first[0] ne $first[1];
        for my $which (@order) {
            syswrite $open[$which], request('/app', $n, keepalive => 1);
            my $then = served_by(read_response($open[$which]));
            $wrong++ if $then ne $stands;
        }
    }
    is($wrong, 0, "of $rounds sessions none has two servers after its first response");
    cmp_ok($differ, '>', 0, "though $differ were chosen for at the same moment");
};

subtest 'the response says where the next goes, at once and everywhere' => sub {
    my $redis = start_redis();
    my $count = 300;
    put_sessions($redis, 1, $count);
    my @nginx = map { learning_nginx($redis, upstream => 'random; session_redis_sticky;', store => 'timeout 2s; connect_timeout 2s; cache 1m;') } 1, 2;
    my @open  = map { open_connection($_->port) } @nginx;
    my $wrong = 0;
    for my $n (1 .. $count) {
        my @got = map {
            syswrite $open[$_], request('/app', $n, keepalive => 1);
            served_by(read_response($open[$_]));
        } 0, 1, 1, 0;
        $wrong++ if grep { $_ ne $got[0] } @got;
    }
    is($wrong, 0, 'with a near-cache too');
};

# Servers that can be killed one by one.
sub own_servers ($count) {
    local $ENV{TEST_NGINX_LOAD_MODULES} = '';
    return map {
        my $port = free_port();
        start_nginx(port => $port, server => 'access_log off; keepalive_requests 1000000; location / { return 200 "$server_port user=$http_x_user\n"; }');
    } 1 .. $count;
}

subtest 'a server that is killed' => sub {
    my $count = 400;
    my $redis = start_redis();
    put_sessions($redis, 1, $count);
    my @servers = own_servers(4);
    my $lines   = join ' ', map { 'server 127.0.0.1:' . $_->port . ' fail_timeout=2s;' } @servers;
    my @nginx   = map { learning_nginx($redis, http => "upstream own { zone own 256k; $lines session_redis_sticky; }",
        server => 'location /own { proxy_pass http://own/; proxy_connect_timeout 1s; }') } 1, 2;
    my $ask = sub ($which, $n) { answer($nginx[$which], $n, '/own') };
    my %first = map { ($_ => $ask->($_ % 2, $_)) } 1 .. $count;
    my ($dead) = grep { $_->port == $first{1} } @servers;
    my @theirs = grep { $first{$_} == $dead->port } keys %first;
    my ($port, $dir) = ($dead->port, $dead->dir);
    $dead->quit;

    my (%seen, %failed);
    for my $turn (1 .. 3) {
        for my $n (1 .. $count) {
            for my $which (0, 1) {
                my $server = $ask->($which, $n);
                $failed{$server}++ if $server < 1000;
                $seen{$n}{$server}++ if $turn > 1;
            }
        }
    }
    is(join(' ', %failed), '', 'no request is lost');
    is(scalar(grep { keys $seen{$_}->%* != 1 } 1 .. $count), 0, 'each session has one server, from both');
    is(scalar(grep { (keys $seen{$_}->%*)[0] == $port } 1 .. $count), 0, 'one that lives');
    my %others = map { ($_ => $first{$_}) } grep { $first{$_} != $port } keys %first;
    is(scalar(grep { (keys $seen{$_}->%*)[0] ne $others{$_} } keys %others), 0, 'the others have not moved');

    local $ENV{TEST_NGINX_LOAD_MODULES} = '';
    start_nginx(port => $port, server => 'location / { return 200 "$server_port user=$http_x_user\n"; }');
    sleep 2.5;
    my @back = grep { my $n = $_; grep { $ask->($_, $n) ne (keys $seen{$n}->%*)[0] } 0, 1 } @theirs;
    is(scalar @back, 0, 'nor do those that moved go back') or diag scalar @back;
    put_sessions($redis, $count + 1, $count + 40);
    my %new = map { ($ask->($_ % 2, $_) => 1) } $count + 1 .. $count + 40;
    ok($new{$port}, 'new ones it has again');
};

# Requests of all sessions, again and again, in a process of their own: when each was made and answered, and by whom.
sub load ($nginx, $count, $requests) {
    pipe my $in, my $out or die "pipe: $!\n";
    fork_server(sub {
        my %start;
        my $line = sub ($i, $server) { syswrite $out, join(' ', 1 + $i % $count, $start{$i}, time, $server) . "\n" };
        my $done = many(port => $nginx->port, count => $requests, at_once => 8,
            request => sub ($i) { $start{$i} = time; request('/own', 1 + $i % $count, keepalive => 1) },
            each    => sub ($i, $response) { $line->($i, served_by($response)) });
        $line->(0, 0) for 1 .. $done->{lost} + $done->{timed_out} + $done->{refused};
    });
    return $in;
}

sub finish ($in) {
    return map { my %answer; @answer{qw(n start end server)} = split; \%answer } <$in>;
}

subtest 'a server that is killed under load' => sub {
    my $count = 100;
    my $redis = start_redis();
    put_sessions($redis, 1, $count);
    my @servers = own_servers(4);
    my $lines   = join ' ', map { 'server 127.0.0.1:' . $_->port . ' fail_timeout=60s;' } @servers;
    my @nginx   = map { learning_nginx($redis, workers => 2, http => "upstream own { zone own 256k; $lines session_redis_sticky; }",
        server => 'location /own { proxy_pass http://own/; }') } 1, 2;
    my %first = map { ($_ => answer($nginx[$_ % 2], $_, '/own')) } 1 .. $count;
    my @loads = map { load($_, $count, 4000) } @nginx;
    sleep 0.3;
    # All its processes at once: a master that lives on starts another worker.
    kill KILL => -$servers[0]->pid;
    my @answers = sort { $a->{end} <=> $b->{end} } map { finish($_) } @loads;
    is(scalar(grep { $_->{server} < 1000 } @answers), 0, 'no request is lost');
    is(scalar @answers, 8000, 'all are answered');
    cmp_ok(scalar(grep { $_->{server} == $servers[0]->port } @answers), '>', 100, 'under load');

    # Whoever asks after the first response from another server, and be it of the other nginx, goes there too.
    my (%since, %then);
    for my $answer (@answers) {
        my $n = $answer->{n};
        $since{$n} //= $answer->{end} if $answer->{server} != $first{$n};
        $then{$n}{ $answer->{server} } = 1 if defined $since{$n} && $answer->{start} > $since{$n};
    }
    is(scalar(grep { keys $_->%* > 1 } values %then), 0, 'a session has one server after its first response from that');
    is_deeply([sort { $a <=> $b } keys %since], [sort { $a <=> $b } grep { $first{$_} == $servers[0]->port } keys %first], 'those have moved whose server died');
    is(scalar(grep { ($then{$_} // {})->%* && (keys $then{$_}->%*)[0] ne route_of($redis, $_) } keys %since), 0, 'as Redis says');
};

subtest 'a server that is gone from the configuration' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 1);
    my $nginx = learning_nginx($redis, upstream => 'session_redis_sticky;');
    $redis->cmd('SET', route_key(1), '10.9.9.9:1 ' . int(time) . ' 1000');
    my %seen = map { (answer($nginx, 1) => 1) } 1 .. 8;
    is(scalar keys %seen, 1, 'its sessions get another');
    is(route_of($redis, 1), (keys %seen)[0], 'for good');
};

subtest 'servers that are drained' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 400);
    my @ports = servers()->{ports}->@*;
    my $nginx = learning_nginx($redis, upstream => "session_redis_sticky; session_redis_drain 127.0.0.1:$ports[0];");
    my %seen  = map { (answer($nginx, $_) => 1) } 1 .. 40;
    ok(!$seen{ $ports[0] }, 'by the configuration: no new sessions');
    my @fleet = map { learning_nginx($redis, upstream => 'session_redis_sticky;') } 1, 2;
    my %first = map { ($_ => answer($fleet[$_ % 2], $_)) } 41 .. 120;
    my @old   = grep { $first{$_} == $ports[1] } keys %first;
    cmp_ok(scalar @old, '>', 5, 'some are at a server');
    $redis->cmd('SADD', 'srr:drain', "127.0.0.1:$ports[1]");
    sleep 2.3;
    %seen = map { (answer($fleet[$_ % 2], $_) => 1) } 121 .. 200;
    ok(!$seen{ $ports[1] }, 'that is drained by the set in Redis: it gets no new ones');
    is(scalar(grep { answer($fleet[$_ % 2], $_) != $ports[1] } @old), 0, 'and keeps those that it has');
    $redis->down;
    %seen = map { (answer($fleet[$_ % 2], $_) => 1) } 201 .. 240;
    ok(!$seen{ $ports[1] }, 'nor while Redis is down');
    $redis->up;
    put_sessions($redis, 241, 400);
    until_found($fleet[$_], 241) for 0, 1;
    sleep 2.3;
    %seen = map { (answer($fleet[$_ % 2], $_) => 1) } 242 .. 320;
    ok($seen{ $ports[1] }, 'an empty set drains nobody');
};

subtest 'strict' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 2);
    my ($server) = own_servers(1);
    my $other    = (servers()->{ports}->@*)[0];
    my $nginx    = learning_nginx($redis, http => "upstream own { server 127.0.0.1:@{[$server->port]}; server 127.0.0.1:$other; session_redis_sticky strict; }",
        server => 'location /own { proxy_pass http://own/; }');
    $redis->cmd('SET', route_key(1), '127.0.0.1:' . $server->port . ' ' . int(time) . ' 1000');
    is(answer($nginx, 1, '/own'), $server->port, 'its server');
    $server->quit;
    is(answer($nginx, 1, '/own'), 502, 'or none') for 1 .. 3;
    is(route_of($redis, 1), $server->port, 'which is not written');
};

done_testing();
