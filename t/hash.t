# Sessions in a hash: where no framework says what the key holds, the module finds out, and asks twice only once.
use v5.26;
use warnings;
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use Test::Nginx::Socket 'no_plan';
use SessionRedis;
use SessionRedis::Stage qw(stage);

our $stage = stage(alice => '{"id":1001}');
our $redis = $stage->redis;
$redis->cmd('HSET', 's:ahash-0123456789ab', id => '7', user => '{"name":"x"}', gone => '');
$redis->cmd('RPUSH', 's:alist-0123456789ab', 'x');
our ($alice, $hash, $list) = map { "Cookie: sid=$_-0123456789ab" } qw(alice ahash alist);
$stage->check_lookups;
no_root_location();
quiet_logs();

run_tests();

__DATA__

=== TEST 1: a hash is one object of its fields, an empty field is none
--- config
    $TEST_NGINX_SESSION
    location = /t {
        session_redis_set_header X-Id   /id;
        session_redis_set_header X-Name /user/name;
        session_redis_set_header X-Gone /gone;
        add_header X-Status $session_redis_status;
        add_header X-Json $session_redis_json;
        $TEST_NGINX_PASS
    }
--- request
GET /t
--- more_headers eval
$::hash
--- response_body_like: X-Id: 7
--- response_body_unlike: X-Gone
--- response_headers
X-Status: found
X-Json: {"id":7,"user":{"name":"x"}}



=== TEST 2: what the last one was is asked for first
--- config
    $TEST_NGINX_SESSION
    location = /t {
        session_redis_set_header X-Id /id;
        add_header X-Status $session_redis_status;
        $TEST_NGINX_PASS
    }
--- request eval
[('GET /t') x 5]
--- more_headers eval
[$::hash, $::hash, $::alice, $::alice, $::hash]
--- response_headers eval
[('X-Status: found') x 5]
--- lookups eval
[2, 1, 2, 1, 2]



=== TEST 3: neither the one nor the other
--- config
    $TEST_NGINX_SESSION
    location = /t {
        session_redis_set_header X-Id /id;
        add_header X-Status $session_redis_status;
        $TEST_NGINX_PASS
    }
--- request eval
['GET /t', 'GET /t']
--- more_headers eval
[$::list, $::alice]
--- response_headers eval
['X-Status: undecodable', 'X-Status: found']
