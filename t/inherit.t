# Which level's settings are in force: single values come from the level above, lists replace it; if and limit_except blocks
# are their location; names strip and variables exist everywhere.
use v5.26;
use warnings;
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use Test::Nginx::Socket 'no_plan';
use SessionRedis;
use SessionRedis::Stage qw(stage);

our $stage = stage(alice => '{"id":1001,"name":"Alice","other":{"id":7},"role":"admin"}');
$stage->redis->cmd('SET', 't:alice-0123456789ab', '{"id":2002}');
no_root_location();
quiet_logs();

# The names and values of our headers, in the order of their names.
add_response_body_check(sub {
    my ($block, $body, $index) = @_;
    my $expected = $block->headers // return;
    my $got = join ' ', sort map { s/\r//r } $body =~ /^(X-\w+: [^\n]*)/mg;
    is($got, ref $expected ? $expected->[$index] : $expected =~ s/\s+\z//r, $block->name . " - request $index");
});

run_tests();

__DATA__

=== TEST 1: all of it from http{}
--- http_config
    $TEST_NGINX_SESSION
    session_redis_set_header X-Id @user;
    session_redis_set $name /name;
--- config
    location / { proxy_set_header X-Name $name; $TEST_NGINX_PASS }
--- request
GET /
--- more_headers
Cookie: sid=alice-0123456789ab
--- headers
X-Id: 1001 X-Name: Alice



=== TEST 2: all of it from server{}, and of a location around
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-Id @user;
    location /a {
        session_redis_user /other/id;
        location /a/b {
            location /a/b/c { $TEST_NGINX_PASS }
            $TEST_NGINX_PASS
        }
        $TEST_NGINX_PASS
    }
    location / { $TEST_NGINX_PASS }
--- request eval
['GET /', 'GET /a', 'GET /a/b', 'GET /a/b/c']
--- more_headers eval
[('Cookie: sid=alice-0123456789ab') x 4]
--- headers eval
['X-Id: 1001', ('X-Id: 7') x 3]



=== TEST 3: a list replaces that of the level above
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-Id @user;
    session_redis_set_header X-Name /name;
    location /one { session_redis_set_header X-Role /role; $TEST_NGINX_PASS }
    location / { $TEST_NGINX_PASS }
--- request eval
['GET /', 'GET /one']
--- more_headers eval
["Cookie: sid=alice-0123456789ab", "Cookie: sid=alice-0123456789ab\nX-Id: 1\nX-Name: spoofed"]
--- headers eval
['X-Id: 1001 X-Name: Alice', 'X-Role: admin']



=== TEST 4: a requirement replaces those above, off clears them
--- config
    $TEST_NGINX_SESSION
    session_redis_require /nothing error=403;
    location /other { session_redis_require /name; $TEST_NGINX_PASS }
    location /off   { session_redis_require off; $TEST_NGINX_PASS location /off/below { $TEST_NGINX_PASS } }
    location /again { session_redis_require off; location /again/on { session_redis_require /nothing error=404; $TEST_NGINX_PASS } }
    location /      { $TEST_NGINX_PASS }
--- request eval
['GET /', 'GET /other', 'GET /off', 'GET /off/below', 'GET /again/on']
--- more_headers eval
[('Cookie: sid=alice-0123456789ab') x 5]
--- error_code eval
[403, 200, 200, 200, 404]



=== TEST 5: a variable of session_redis_set is that of the location in force
--- config
    $TEST_NGINX_SESSION
    session_redis_set $who /name;
    location /id    { session_redis_set $who /id; proxy_set_header X-Who $who; $TEST_NGINX_PASS }
    location /none  { session_redis_set $else /id; proxy_set_header X-Who "-$who-"; $TEST_NGINX_PASS }
    location /dflt  { session_redis_set $who /nothing nobody; proxy_set_header X-Who $who; $TEST_NGINX_PASS }
    location /off   { session_redis off; proxy_set_header X-Who "-$who-"; $TEST_NGINX_PASS }
    location /      { proxy_set_header X-Who $who; $TEST_NGINX_PASS }
--- request eval
['GET /', 'GET /id', 'GET /none', 'GET /dflt', 'GET /off']
--- more_headers eval
[('Cookie: sid=alice-0123456789ab') x 5]
--- headers eval
['X-Who: Alice', 'X-Who: 1001', 'X-Who: --', 'X-Who: nobody', 'X-Who: --']



=== TEST 6: single values each by themselves: key, cookie, user, store
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-Id @user;
    location /key    { session_redis_key "t:$session_redis_id"; $TEST_NGINX_PASS }
    location /cookie { session_redis_cookie other; $TEST_NGINX_PASS }
    location /header { session_redis_id header:X-Sid; $TEST_NGINX_PASS }
    location /store  { session_redis redis+unix://$TEST_NGINX_REDIS_SOCKET?db=1; $TEST_NGINX_PASS }
    location /off    { session_redis off; $TEST_NGINX_PASS }
    location /       { $TEST_NGINX_PASS }
--- request eval
['GET /', 'GET /key', 'GET /cookie', 'GET /header', 'GET /store', 'GET /off']
--- more_headers eval
[map { "$_" } 'Cookie: sid=alice-0123456789ab', 'Cookie: sid=alice-0123456789ab', 'Cookie: other=alice-0123456789ab', 'X-Sid: alice-0123456789ab',
    'Cookie: sid=alice-0123456789ab', 'Cookie: sid=alice-0123456789ab']
--- headers eval
['X-Id: 1001', 'X-Id: 2002', 'X-Id: 1001', 'X-Id: 1001 X-Sid: alice-0123456789ab', '', '']



=== TEST 7: of cookie and id, the one written later at a level counts
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-Id @user;
    location /a { session_redis_cookie a; session_redis_id cookie:b; $TEST_NGINX_PASS }
    location /b { session_redis_id cookie:b; session_redis_cookie a; $TEST_NGINX_PASS }
--- request eval
['GET /a', 'GET /b', 'GET /a', 'GET /b']
--- more_headers eval
['Cookie: a=alice-0123456789ab', 'Cookie: a=alice-0123456789ab', 'Cookie: b=alice-0123456789ab', 'Cookie: b=alice-0123456789ab']
--- headers eval
['', 'X-Id: 1001', 'X-Id: 1001', '']



=== TEST 8: an if block is its location
--- config
    $TEST_NGINX_SESSION
    location / {
        session_redis_set_header X-Id @user;
        session_redis_require /name error=403;
        if ($arg_a) { set $b c; }
        if ($arg_b) { proxy_pass http://127.0.0.1:$TEST_NGINX_BACKEND_PORT; }
        $TEST_NGINX_PASS
    }
--- request eval
['GET /', 'GET /?a=1', 'GET /?b=1', 'GET /?a=1&b=1', 'GET /?a=1']
--- more_headers eval
[('Cookie: sid=alice-0123456789ab') x 4, 'Cookie: sid=nobody-0123456789ab']
--- headers eval
[('X-Id: 1001') x 4, '']
--- error_code eval
[200, 200, 200, 200, 403]



=== TEST 9: a requirement of limit_except is for the other methods
--- config
    $TEST_NGINX_SESSION
    location / {
        session_redis_set_header X-Id @user;
        limit_except GET { session_redis_require /role is owner error=403; }
        $TEST_NGINX_PASS
    }
    location /both {
        session_redis_require /name error=403;
        limit_except GET { session_redis_require /role is admin error=404; }
        $TEST_NGINX_PASS
    }
--- request eval
['GET /', 'POST /', 'DELETE /', 'GET /both', 'POST /both']
--- more_headers eval
[('Cookie: sid=alice-0123456789ab') x 5]
--- error_code eval
[200, 403, 403, 200, 200]



=== TEST 10: a logout in a location with if and limit_except
--- config
    $TEST_NGINX_SESSION
    location = /logout {
        session_redis_destroy methods=POST,GET;
        if ($arg_a) { set $b c; }
        limit_except POST { allow all; }
    }
--- request eval
['GET /logout', 'GET /logout?a=1', 'POST /logout', 'POST /logout?a=1']
--- error_code eval
[204, 204, 204, 204]
--- ignore_response



=== TEST 11: on_error from above, and at the level itself
--- config
    $TEST_NGINX_DOWN
    session_redis_set_header X-Id @user;
    session_redis_on_error fail;
    location /pass { session_redis_on_error pass; $TEST_NGINX_PASS }
    location /required { session_redis_on_error pass; location /required/below { session_redis_require /name; $TEST_NGINX_PASS } }
    location / { $TEST_NGINX_PASS }
--- request eval
['GET /', 'GET /pass', 'GET /required/below']
--- more_headers eval
[('Cookie: sid=alice-0123456789ab') x 3]
--- error_code eval
[503, 200, 503]



=== TEST 12: servers side by side
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        $TEST_NGINX_SESSION
        session_redis_set_header X-Second /name;
        location / { $TEST_NGINX_PASS }
    }
--- config
    $TEST_NGINX_SESSION
    location /second { session_redis off; proxy_set_header Cookie $http_cookie; proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1; }
    location / { session_redis_set_header X-Id @user; $TEST_NGINX_PASS }
--- request eval
['GET /', 'GET /second']
--- more_headers eval
["Cookie: sid=alice-0123456789ab\nX-Second: spoofed", "Cookie: sid=alice-0123456789ab\nX-Id: 1"]
--- headers eval
['X-Id: 1001', 'X-Second: Alice']
