# How a request extends the life of its session, in a real Redis: only if it
# may, only forwards, and at nobody's cost.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Resp  qw(bulk error integer);
use SessionRedis::Stage qw(cookie id_of stage);
use Test::More;

my $stage = stage();
my $redis = $stage->redis;
my $nginx = start_nginx(log_level => 'info', server => <<"END");
    $ENV{TEST_NGINX_SESSION}
    location /plain   { session_redis_touch 30m; $ENV{TEST_NGINX_PASS} }
    location /after   { session_redis_touch 30m after=10m; $ENV{TEST_NGINX_PASS} }
    location /zero    { session_redis_touch 30m after=0; $ENV{TEST_NGINX_PASS} }
    location /must    { session_redis_touch 30m; session_redis_require /admin error=403; $ENV{TEST_NGINX_PASS} }
    location /header  { session_redis_touch 30m; session_redis_set_header X-User-Id \@user; $ENV{TEST_NGINX_PASS} }
    location /any     { satisfy any; allow all; session_redis_touch 30m; session_redis_require /admin error=403; $ENV{TEST_NGINX_PASS} }
    location /denied  { session_redis_touch 30m; deny all; $ENV{TEST_NGINX_PASS} }
    location /later   { session_redis_set_header X-User-Id \@user; try_files /none /header; }
    location /tried   { session_redis_touch 30m; try_files /none /header; }
    location /early   { session_redis_early on; session_redis_touch 30m; $ENV{TEST_NGINX_PASS} }
    location /none    { session_redis_set_header X-User-Id \@user; $ENV{TEST_NGINX_PASS} }
    location /outer   {
        session_redis_touch 30m;
        location /outer/off { session_redis_touch off; session_redis_set_header X-User-Id \@user; $ENV{TEST_NGINX_PASS} }
        location /outer/on  { $ENV{TEST_NGINX_PASS} }
    }
    location /file    { session_redis_touch 30m; }
END

# The TTL (s) that a session with this one has after a request, -1 for none.
sub life ($ttl, $path, %how) {
    my $port = ($how{nginx} // $nginx)->port;
    my $key = 's:' . id_of('alice');
    $redis->cmd('SET', $key, $how{session} // '{"id":1001}');
    $redis->cmd('EXPIRE', $key, $ttl) if $ttl > 0;
    my $response = http($port, $path, headers => [$how{cookie} // cookie('alice')]);
    is($response->{code}, $how{code} // 200, "$path is answered");
    # On the same connection, so what was to be sent before has been done.
    http($port, '/none', headers => [cookie('another')]);
    return $redis->cmd('TTL', $key);
}

# Redis rounds, and a test may take a second.
sub is_about ($got, $expected, $what) {
    return ok(abs($got - $expected) <= 3, $what) || diag "$got, not $expected";
}

subtest 'near its end a session lives on' => sub {
    is_about(life(100, '/plain'), 1800, 'what is nearly over');
    is_about(life(1600, '/plain'), 1800, 'what has less than nine tenths');
    is_about(life(1700, '/plain'), 1700, 'not what has more');
    is_about(life(5000, '/plain'), 5000, 'never shorter');
    is(life(-1, '/plain'), -1, 'what has no end is given none');
};

subtest 'after=' => sub {
    is_about(life(1100, '/after'), 1800, 'ten minutes have passed');
    is_about(life(1300, '/after'), 1300, 'they have not');
    is_about(life(1700, '/zero'), 1800, 'each time');
    is_about(life(5000, '/zero'), 5000, 'and never shorter');
};

subtest 'only a request that may pass' => sub {
    is_about(life(100, '/must', code => 403), 100, 'refused by require');
    is_about(life(100, '/must', session => '{"id":1,"admin":true}'), 1800, 'passed');
    is_about(life(100, '/denied', code => 403), 100, 'refused by nginx');
    is_about(life(100, '/any'), 100, 'refused by require, admitted by nginx');
    is_about(life(100, '/any', session => '{"id":1,"admin":true}'), 1800, 'admitted by both');
    is_about(life(100, '/plain', cookie => 'Cookie: a=b'), 100, 'without a session');
};

subtest 'wherever it stands' => sub {
    is_about(life(100, '/header'), 1800, 'beside a header');
    is_about(life(100, '/early'), 1800, 'with an early lookup');
    is_about(life(100, '/none'), 100, 'off by default');
    is_about(life(100, '/outer/on'), 1800, 'inherited');
    is_about(life(100, '/outer/off'), 100, 'off');
    is_about(life(100, '/file', code => 404), 1800, 'of a file');
    my $before = extensions();
    is_about(life(100, '/tried'), 1800, 'over an internal redirect');
    is(extensions() - $before, 1, 'once');
    is_about(life(100, '/later'), 1800, 'over an internal redirect from where there is none');
};

subtest 'auto: as the framework would' => sub {
    my $cookie = 'Cookie: connect.sid=' . express_cookie(id_of('alice'), 'keyboard cat');
    my %of     = (nginx => start_nginx(server => <<"    END"), cookie => $cookie);
        $ENV{TEST_NGINX_SESSION}
        location /none { session_redis_set_header X-User-Id \@user; $ENV{TEST_NGINX_PASS} }
        location /express {
            session_redis_framework express prefix=s:;
            session_redis_secret "keyboard cat";
            session_redis_key "s:\$session_redis_id";
            session_redis_cookie connect.sid;
            session_redis_touch auto;
            $ENV{TEST_NGINX_PASS}
        }
    END
    is_about(life(100, '/express', %of, session => '{"cookie":{"originalMaxAge":600000},"id":1}'), 600, 'by what is stored');
    is_about(life(700, '/express', %of, session => '{"cookie":{"originalMaxAge":600000},"id":1}'), 700, 'never shorter');
    is_about(life(100, '/express', %of, session => '{"cookie":{"originalMaxAge":null},"id":1}'), 86_400, 'or a day');
};

subtest 'nothing is written for what is not there' => sub {
    $redis->cmd('CONFIG', 'RESETSTAT');
    http($nginx->port, '/plain', headers => [cookie('nobody')]) for 1 .. 2;
    http($nginx->port, '/plain', headers => ['Cookie: sid=short']);
    is(extensions(), 0, 'no command');
    is($redis->cmd('EXISTS', 's:' . id_of('nobody')), 0, 'no key');
};

subtest 'a session that goes away meanwhile stays away' => sub {
    # Read with its TTL, extended after it was deleted: EXPIRE of nothing is nothing.
    is_about(life(100, '/plain'), 1800, 'there');
    $redis->cmd('DEL', 's:' . id_of('alice'));
    http($nginx->port, '/plain', headers => [cookie('alice')]) for 1 .. 2;
    is($redis->cmd('EXISTS', 's:' . id_of('alice')), 0, 'gone');
};

subtest 'a Redis that knows no GT' => sub {
    my $wrong = error("ERR wrong number of arguments for 'pexpire' command");
    my $fake  = fake_redis(
        data => { 's:' . id_of('alice') => '{"id":1001}' },
        on   => {
            pttl => integer(100_000),
            map { ($_ => sub ($words, $) { @$words > 3 ? $wrong : integer(1) }) } qw(pexpire expire),
        },
    );
    my $old = start_nginx(server => old_server($fake));
    is(http($old->port, '/', headers => [cookie('alice')])->{code}, 200, 'answered') for 1 .. 4;
    $fake->wait_for_command('GET', 4);
    my @extended = grep { $_->[1] =~ /\Ap?expire\z/i } $fake->commands;
    ok((grep { @$_ == 4 } @extended), 'the plain command is used then') or diag explain \@extended;
    cmp_ok((scalar grep { @$_ > 4 } @extended), '<=', 1, 'and GT tried once only');
    my ($last) = grep { @$_ == 4 } @extended;
    ok($last && ($last->[3] == 1_800_000 || $last->[3] == 1800), 'for the whole time') or diag explain $last;

    $fake->on(PTTL => integer(-1));
    $fake->reset_counts;
    http($old->port, '/', headers => [cookie('alice')]) for 1 .. 3;
    is($fake->count('PEXPIRE') + $fake->count('EXPIRE'), 0, 'what has no end is given none there either');
    $fake->on(PTTL => integer(5_000_000));
    http($old->port, '/', headers => [cookie('alice')]) for 1 .. 3;
    is($fake->count('PEXPIRE') + $fake->count('EXPIRE'), 0, 'and nothing becomes shorter');
    unlike($old->log, qr/\[(?:alert|crit|emerg|error)\]/, 'nothing in the log');
};

subtest 'nobody waits for it' => sub {
    my $fake = fake_redis(
        data => { 's:' . id_of('alice') => '{"id":1001}' },
        on   => { pttl => integer(100_000), map { ($_ => [{ delay => 20 }, integer(1)]) } qw(pexpire expire) },
    );
    my $slow = start_nginx(server => old_server($fake));
    is(http($slow->port, '/', headers => [cookie('alice')], timeout => 5)->{code}, 200, 'the answer is there, the reply is not');
    ok($fake->count('PEXPIRE') + $fake->count('EXPIRE') || $fake->wait_for_command('PEXPIRE'), 'the command was sent');
};

subtest 'a Redis that refuses it' => sub {
    my $fake = fake_redis(
        data => { 's:' . id_of('alice') => '{"id":1001}' },
        on   => { pttl => integer(100_000), map { ($_ => error("READONLY You can't write against a read only replica.")) } qw(pexpire expire) },
    );
    my $bad = start_nginx(server => old_server($fake));
    is(http($bad->port, '/', headers => [cookie('alice')])->{code}, 200, 'the request is served') for 1 .. 3;
    my @said = $bad->log =~ /(.*READONLY.*|.*read-only.*)/g;
    is(@said, 1, 'and the log says so once') or diag explain \@said;
};

unlike($nginx->log, qr/0123456789ab/, 'no id in the log');
unlike($nginx->log, qr/\[(?:alert|crit|emerg|error)\] (?!.*(?:open\(\)|access forbidden))/, 'no error in the log');
done_testing();

# How many commands extended a life since the counts began.
sub extensions () {
    my $info = $redis->info('commandstats');
    my $sum  = 0;
    $sum += ($info->{"cmdstat_$_"} // '') =~ /calls=(\d+)/ ? $1 : 0 for qw(pexpire expire pexpireat expireat getex);
    # "life" sets a TTL itself.
    return $sum - (($info->{cmdstat_set} // '') =~ /calls=(\d+)/ ? $1 : 0);
}

sub old_server ($fake) {
    return "location / { session_redis redis://127.0.0.1:@{[$fake->port]}; $ENV{TEST_NGINX_SETTINGS} session_redis_touch 30m; $ENV{TEST_NGINX_PASS} }";
}
