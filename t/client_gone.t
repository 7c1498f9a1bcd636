# Clients that leave while their session is looked up: nothing is kept of
# them, neither memory nor connections, and nobody else gets their answer.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Resp qw(bulk);
use StoreTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $rounds = $ENV{SESSION_REDIS_LONG} ? 10 : 1;

# "Active connections" as nginx counts them, without that of the question.
sub active ($nginx) {
    my ($count) = http($nginx->port, '/status')->{body} =~ /Active connections: (\d+)/;
    return $count - 1;
}

# The server is never taken out, so that each request is looked up, whatever became of those before.
sub fresh ($fake, %how) {
    my $upstream = "upstream block { server 127.0.0.1:@{[$fake->port]} max_fails=0; }";
    return session_nginx(url => 'redis://block', http => $upstream, worker_connections => 512, log_level => 'info', life => 1,
        server => 'location = /status { session_redis off; stub_status; access_log off; }', %how);
}

# Clients ask, 50 at a time, and leave, until so many have left before they were answered: on a busy machine
# some are answered first. Returns how many were not.
sub leaving ($nginx, $count) {
    my $left = 0;
    for my $batch (1 .. $count / 5) {
        last if $left >= $count;
        my @clients = map { open_connection($nginx->port) } 1 .. 50;
        syswrite $clients[$_], request('/need', 1 + $_) for 0 .. $#clients;
        sleep 0.01;
        my $ready = '';
        vec($ready, fileno $_, 1) = 1 for @clients;
        select $ready, undef, undef, 0;
        $left += grep { !vec $ready, fileno $_, 1 } @clients;
        leave($clients[$_], reset => $_ % 2) for 0 .. $#clients;
        sleep 0.02;
    }
    return $left;
}

sub reply_to ($words, $) { return bulk(session_of($words->[1] =~ s/.*?0*(\d+)\z/$1/r)) }

my %ways = (
    'the reply comes later'     => [{ on => { GET => sub ($w, $c) { $w->[1] eq key(1) ? [{ delay => 0.03 }, reply_to($w, $c)] : reply_to($w, $c) } } }, 'timeout 10s; max_pending 100000;'],
    'no reply comes in time'    => [{ on => { GET => [{ silence => 1 }] } }, 'timeout 50ms;'],
    'the store is closed then'  => [{ on => { GET => [{ delay => 0.03 }, { close => 1 }] } }, 'timeout 10s;'],
    'the store does not answer' => [{ listen => 'full' }, 'timeout 60ms;'],
);

for my $what (sort keys %ways) {
    subtest "a client is gone, $what" => sub {
        my ($how, $store) = $ways{$what}->@*;
        my $fake  = fake_redis(%$how);
        my $nginx = fresh($fake, store => $store);
        my $left  = leaving($nginx, 200);
        my ($worker) = $nginx->workers;
        my $before   = $nginx->resident_kb;
        $left += leaving($nginx, 1000 * $rounds);
        cmp_ok($left, '>=', 1000 * $rounds, 'clients have left') or note $left;
        ok(wait_for(sub { active($nginx) == 0 }, seconds => 15), 'their connections are back');
        keeps_its_size($nginx, $before);
        is_deeply([$nginx->workers], [$worker], 'the worker lives');
        is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]/), 0, 'no alert');
        return if $how->{listen};

        $fake->on(GET => undef);
        $fake->set_data(map { (key($_), session_of($_)) } 1 .. 9);
        wait_for(sub { get($nginx, '/need', 1)->{code} == 200 }, seconds => 15);
        my @wrong = grep { get($nginx, '/need', $_)->{body} ne "user=u$_\n" } 1 .. 9;
        is_deeply(\@wrong, [], 'others get their own sessions');
        my @old = $nginx->reload;
        ok($nginx->gone(\@old), 'nothing keeps the worker');
        is(scalar lines_like($nginx, qr/\[alert\]/), 0, 'nor stays open');
    };
}

subtest 'some leave, some stay' => sub {
    my $fake  = fake_redis(on => { GET => sub ($w, $c) { [{ delay => 0.002 }, reply_to($w, $c)] } });
    my $nginx = fresh($fake, store => 'timeout 10s;');
    my ($wrong, $count) = (0, 1000 * $rounds);
    my $result = many(port => $nginx->port, count => $count, at_once => 50, request => sub ($i) { request('/need', 1 + $i) },
        leave => sub ($i) { $i % 2 ? 0.01 : undef },
        each  => sub ($i, $response) { $wrong++ if $response->{body} ne "user=u@{[1 + $i]}\n" });
    is($wrong, 0, 'those who stay get their own session');
    cmp_ok($result->{codes}{200}, '>=', $count / 2, 'all of them');
    cmp_ok($result->{left}, '>', $count / 10, 'others have left');
    is($result->{lost} + $result->{timed_out}, 0, 'none is lost');
    ok(wait_for(sub { active($nginx) == 0 }), 'connections are back');
};

subtest 'gone by a reset, in the middle of a body, while a session is ended or extended' => sub {
    my $fake  = fake_redis(on => { GET => sub ($w, $c) { [{ delay => 0.004 }, reply_to($w, $c)] }, DEL => [{ delay => 0.02 }, ":1\r\n"], PTTL => ":1000\r\n", PEXPIRE => [{ delay => 0.02 }, ":1\r\n"] });
    my $nginx = fresh($fake, store => 'timeout 10s;');
    my @kinds = (
        sub { request('/need', 1) }, sub { request('/touch', 1) }, sub { request('/logout', 1, method => 'POST', body => 'x') },
        sub { "POST /need HTTP/1.1\r\nHost: x\r\n" . cookie(1) . "\r\nContent-Length: 100000\r\n\r\npart" },
        sub { request('/need', 1, keepalive => 1) x 3 },
    );
    my $before;
    for my $i (1 .. 600) {
        my $client = open_connection($nginx->port);
        my $kind = $kinds[$i % @kinds];
        my $bytes = $kind->();
        $bytes = request_bytes('/logout', method => 'POST', body => 'x', headers => [cookie(1)]) if $i % @kinds == 2;
        syswrite $client, $bytes;
        sleep 0.003 if $i % 7;
        leave($client, reset => $i % 2);
        $before = $nginx->resident_kb if $i == 200;
    }
    ok(wait_for(sub { active($nginx) == 0 }, seconds => 15), 'connections are back');
    keeps_its_size($nginx, $before);
    is(get($nginx, '/need', 5)->{body}, "user=u5\n", 'others are served');
    is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]/), 0, 'no alert');
    is($nginx->quit, 0, 'nothing is left open');
};

subtest 'gone while a subrequest of theirs waits' => sub {
    my $fake  = fake_redis(on => { GET => sub ($w, $c) { [{ delay => 0.004 }, reply_to($w, $c)] } });
    my $nginx = fresh($fake, store => 'timeout 10s;', server => <<~'END');
        location = /status { session_redis off; stub_status; access_log off; }
        location /asks     { session_redis off; auth_request /need; mirror /need; try_files /none =204; }
        END
    my ($wrong, $before) = (0);
    for my $round (1 .. 2) {
        my $result = many(port => $nginx->port, count => 600, at_once => 50, request => sub ($i) { request('/asks', 1 + $i) },
            leave => sub ($i) { $i % 2 ? 0.005 : undef },
            each  => sub ($i, $response) { $wrong++ if $response->{code} != 204 });
        cmp_ok($result->{left}, '>', 60, 'some leave');
        is($result->{lost} + $result->{timed_out}, 0, 'others lose nothing');
        ok(wait_for(sub { active($nginx) == 0 }), 'connections are back');
        $before //= $nginx->resident_kb;
    }
    is($wrong, 0, 'who stays is let in');
    keeps_its_size($nginx, $before);
    is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]/), 0, 'no alert');
    is($nginx->quit, 0, 'nothing is left open');
};

for my $bytes (request('/need', 1), request_bytes('/logout', method => 'POST', headers => [cookie(1)])) {
    subtest 'nginx goes on without its client' => sub {
        my $store = fake_redis(on => { GET => [{ delay => 0.3 }, bulk(session_of(1))], DEL => [{ delay => 0.3 }, ":1\r\n"] });
        my $after = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 10, Blocking => 0);
        my $nginx = session_nginx(url => $store->url, store => 'timeout 5s;', server => <<~"        END");
            post_action \@after;
            location \@after { session_redis off; proxy_pass http://127.0.0.1:@{[$after->sockport]}; }
            END
        my $client = open_connection($nginx->port);
        syswrite $client, $bytes;
        sleep 0.1;
        leave($client);
        my $asked = wait_for(sub { $after->accept }, what => 'post_action');
        # It has no answer yet when the store has.
        sleep 0.5;
        is($after->accept, undef, 'once');
        is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]/), 0, 'no alert');
    };
}

done_testing();
