# session_redis_route learn: which server a session belongs to is written once, in Redis, for all nginx of a fleet.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Learning;
use StoreTest;
use Test::More;
use Time::HiRes qw(sleep time);

sub routes ($redis) { return scalar $redis->cmd('KEYS', 'srr:*')->@* }

sub evals ($redis) { return ($redis->info('commandstats')->{cmdstat_eval} // '') =~ /calls=(\d+)/ ? $1 : 0 }

subtest 'written once, read by all' => sub {
    my $redis = start_redis();
    put_sessions($redis, 1, 2);
    $redis->cmd('PEXPIRE', key(1), 1_440_000);
    my @nginx = map { learning_nginx($redis) } 1, 2;
    my $first = get($nginx[0], '/app', 1);
    is($first->{code}, 200, 'answered');
    is(header($first, 'X-Route'), undef, 'no route was there');
    my $server = served_by($first);
    is(route_of($redis, 1), $server, 'the server that has answered is written');
    my ($written, $life) = $redis->cmd('GET', route_key(1)) =~ / (\d+) (\d+)\z/;
    cmp_ok(abs($written - time), '<', 5, 'when');
    like($life, qr/\A14(?:40|39)\z/, 'and for how long: as long as the session lives');
    cmp_ok(abs($redis->cmd('PTTL', route_key(1)) - 1_440_000), '<', 5000, 'so Redis knows');
    my $value = $redis->cmd('GET', route_key(1));
    is(header(get($_, '/app', 1), 'X-Route'), "127.0.0.1:$server", 'both read it') for @nginx;
    get($nginx[0], '/app', 1) for 1 .. 8;
    is($redis->cmd('GET', route_key(1)), $value, 'whoever answers later');
    is(evals($redis), 1, 'one write');
    answer($nginx[1], 2);
    like($redis->cmd('GET', route_key(2)), qr/ 86400\z/, 'a day, where the session has no end');
    is(scalar lines_like($_, qr/\[(?:error|warn|alert|crit)\]/), 0, 'nothing to complain of') for @nginx;
};

done_testing();
