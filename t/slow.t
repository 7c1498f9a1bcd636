# A store that is slow or frozen: the worker goes on with everything else,
# lookups end in time, and what comes too late is nobody's.
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

subtest 'a frozen Redis' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 100);
    my $nginx = session_nginx(url => $redis->url, store => 'timeout 2s;');
    is(get($nginx, '/need', 1)->{code}, 200, 'at first it is there');

    $redis->freeze;
    my @waiting = map { open_connection($nginx->port) } 1 .. 20;
    syswrite $waiting[$_], request('/need', $_ + 1) for 0 .. $#waiting;
    my $start   = time;
    my $longest = 0;
    while (time - $start < 1) {
        my $took = seconds { is(get($nginx, '/plain')->{body}, "plain\n", 'another request') };
        $longest = $took if $took > $longest;
        sleep 0.1;
    }
    cmp_ok($longest, '<', 0.7, 'nobody else waits for the store');

    my @codes = map { read_response($_)->{code} } @waiting;
    is_deeply(\@codes, [(503) x 20], 'lookups end');
    my $took = time - $start;
    cmp_ok($took, '>', 1.8, 'not before their timeout');
    cmp_ok($took, '<', 4, 'nor long after it');
    cmp_ok((seconds { is(get($nginx, '/need', 1)->{code}, 503, 'known to be down') }), '<', 1, 'nobody waits again');
    is(scalar lines_like($nginx, qr/session store "s" is down: server timed out/), 1, 'one line');

    $redis->thaw;
    cmp_ok(until_found($nginx, 1), '<', 2, 'back after SIGCONT');
    my $result = many(port => $nginx->port, count => 100, request => sub ($i) { request('/need', $i + 1) },
        each => sub ($i, $response) { is($response->{body}, "user=u@{[$i + 1]}\n", "session $i") if $response->{body} ne "user=u@{[$i + 1]}\n" });
    is_deeply($result->{codes}, { 200 => 100 }, 'for all');
    is(scalar lines_like($nginx, qr/session store "s" is back/), 1, 'one line');
};

subtest 'frozen, where no session is needed' => sub {
    my $redis = start_redis();
    my $nginx = session_nginx(url => $redis->url, store => 'timeout 300ms;');
    is(get($nginx, '/pass', 1)->{code}, 200, 'at first');
    $redis->freeze;
    my $took = seconds { is(get($nginx, '/pass', 1)->{body}, "user=\n", 'passes without a user') };
    cmp_ok($took, '<', 2, 'after the timeout');
    $redis->thaw;
};

# Replies to "slow" sessions come after the timeout, those to others at once. The connection goes on giving
# replies, so that it is not stuck: late ones arrive among those that are waited for.
subtest 'late replies' => sub {
    my $fake = fake_redis(on => { GET => sub ($words, $) {
        my ($n) = $words->[1] =~ /0*(\d+)\z/ or return undef;
        return $n % 40 == 20 ? [{ delay => 0.15 }, bulk(session_of($n))] : bulk(session_of($n));
    } });
    my $nginx = session_nginx(url => $fake->url, store => 'timeout 100ms;', log_level => 'error');
    my ($right, $wrong) = (0, 0);
    my $result = many(port => $nginx->port, count => 4000, at_once => 16, request => sub ($i) { request('/need', $i) },
        each => sub ($i, $response) {
            return if $response->{code} != 200;
            $response->{body} eq "user=u$i\n" ? $right++ : $wrong++;
        });
    is($wrong, 0, 'nobody gets the session of another');
    cmp_ok($right, '>', 100, 'many get theirs');
    cmp_ok($result->{codes}{503}, '>', 20, 'some are told that it takes too long');
    is(join(' ', sort keys $result->{codes}->%*), '200 503', 'there is no third');
    note "right: $right, 503: $result->{codes}{503}, connections: @{[$fake->connections]}";
};

subtest 'slow, but in time' => sub {
    my $fake  = fake_redis(on => { GET => [{ delay => 0.1 }, bulk(session_of(7))] });
    my $nginx = session_nginx(url => $fake->url, store => 'timeout 3s;');
    is(get($nginx, '/need', 7)->{body}, "user=u7\n", 'waited for');
    is(scalar lines_like($nginx, qr/is down/), 0, 'it is not down');
};

subtest 'too many at once' => sub {
    my $fake  = fake_redis(on => { GET => { sequence => [[{ delay => 1 }, bulk(session_of(1))], bulk(session_of(1))] } });
    my $nginx = session_nginx(url => $fake->url, store => 'timeout 3s; max_pending 5;');
    my $start = time;
    my @clients = map { open_connection($nginx->port) } 1 .. 8;
    syswrite $clients[$_], request('/need', $_) for 0 .. $#clients;
    my ($at_once, $later) = (0, 0);
    while (@clients) {
        my $in = '';
        vec($in, fileno $_, 1) = 1 for @clients;
        select $in, undef, undef, 5;
        my @ready = grep { vec $in, fileno $_, 1 } @clients;
        for my $client (@ready) {
            my $response = read_response($client);
            $response->{code} == 503 ? $at_once++ : $later++;
            is(header($response, 'Retry-After'), 1, 'Retry-After') if $response->{code} == 503;
            cmp_ok(time - $start, '<', 0.9, 'decided at once') if $response->{code} == 503;
            @clients = grep { $_ != $client } @clients;
        }
        last if time - $start > 20;
    }
    is($at_once, 3, 'those over max_pending are refused');
    is($later, 5, 'the others are served');
    is(scalar lines_like($nginx, qr/\[error\].*too many lookups in flight/), 3, 'the log says why');
    is(scalar lines_like($nginx, qr/is down/), 0, 'the store is not to blame');
    is(get($nginx, '/need', 1)->{code}, 200, 'there is room again');
};

done_testing();
