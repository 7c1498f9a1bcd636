# The end of a session: a logout that nginx answers itself.
use v5.26;
use warnings;
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use Test::Nginx::Socket 'no_plan';
use SessionRedis;
use SessionRedis::Resp  qw(error);
use SessionRedis::Stage qw(stage);

our $stage = stage();
our $redis = $stage->redis;
our $fake  = fake_redis(on => { map { ($_ => error('NOPERM this user has no permissions')) } qw(DEL UNLINK) });
our $alice = 'Cookie: sid=alice-0123456789ab';
our $gone  = qr/Set-Cookie: sid=;(?=[^\r]* Path=\/(?:;|\r))(?=[^\r]* Max-Age=0(?:;|\r))[^\r]* Expires=Thu, 01 Jan 1970 00:00:00 GMT/;
no_root_location();
quiet_logs();

# All sessions are there before each block, and after each request those that "left" names (one line a request).
add_block_preprocessor(sub {
    $redis->cmd('FLUSHALL');
    $redis->cmd('SET', $_, '{"id":1001}') for 's:alice-0123456789ab', 's:bobby-0123456789ab', 'sess:bobby-0123456789ab';
    $redis->cmd('CONFIG', 'RESETSTAT');
});
add_response_body_check(sub {
    my ($block, undef, $index) = @_;
    my $left = $block->left // return;
    $left = $left->[$index] if ref $left;
    my $keys = $redis->cmd('KEYS', 's:*');
    is(join(' ', sort map { /s:(\w+)-/ } @$keys), $left =~ s/\n//r, $block->name . ' - sessions left');
});

run_tests();

__DATA__

=== TEST 1: the session is gone, and its cookie
--- config
    $TEST_NGINX_SESSION
    location = /logout { session_redis_destroy; }
--- request
POST /logout
--- more_headers eval
$::alice
--- error_code: 204
--- response_headers
Cache-Control: no-store
! Location
! Content-Type
--- raw_response_headers_like eval
$::gone
--- response_body
--- left: bobby



=== TEST 2: DELETE is a logout too, other methods are none
--- config
    $TEST_NGINX_SESSION
    location = /logout { session_redis_destroy; }
--- request eval
["GET /logout", "HEAD /logout", "PUT /logout\nx", "OPTIONS /logout", "PATCH /logout", "DELETE /logout"]
--- more_headers eval
[($::alice) x 6]
--- error_code eval
[(405) x 5, 204]
--- response_headers eval
[("Allow: POST, DELETE\n! Set-Cookie") x 5, '! Allow']
--- left eval
[('alice bobby') x 5, 'bobby']



=== TEST 3: methods=
--- config
    $TEST_NGINX_SESSION
    location = /logout { session_redis_destroy methods=GET,POST; }
--- request eval
["DELETE /logout", "GET /logout"]
--- more_headers eval
[($::alice) x 2]
--- error_code eval
[405, 204]
--- left eval
['alice bobby', 'bobby']



=== TEST 4: redirect=, with variables
--- config
    $TEST_NGINX_SESSION
    location = /logout { session_redis_destroy redirect=/bye?from=$arg_from; absolute_redirect off; }
--- request
POST /logout?from=x
--- more_headers eval
$::alice
--- error_code: 303
--- response_headers
Location: /bye?from=x
Cache-Control: no-store
--- raw_response_headers_like eval
$::gone
--- left: bobby



=== TEST 5: another site's page cannot log anybody out
--- config
    $TEST_NGINX_SESSION
    location = /logout { session_redis_destroy redirect=/; }
--- request eval
[("POST /logout") x 2]
--- more_headers eval
["$::alice\nSec-Fetch-Site: cross-site", "$::alice\nSec-Fetch-Site: Cross-Site"]
--- error_code eval
[403, 403]
--- response_headers eval
[('! Set-Cookie') x 2]
--- left eval
[('alice bobby') x 2]



=== TEST 6: one's own pages can
--- config
    $TEST_NGINX_SESSION
    location = /logout { session_redis_destroy; }
--- request eval
[("POST /logout") x 2]
--- more_headers eval
["$::alice\nSec-Fetch-Site: same-origin", "Cookie: sid=bobby-0123456789ab\nSec-Fetch-Site: none"]
--- error_code eval
[204, 204]
--- left eval
['bobby', '']



=== TEST 7: no id, a malformed one, one that is not in the store: the same answer
--- config
    $TEST_NGINX_SESSION
    location = /logout { session_redis_destroy; }
--- request eval
[("POST /logout") x 4]
--- more_headers eval
['', 'Cookie: sid=short', 'Cookie: sid=*****************', 'Cookie: sid=nobody-0123456789ab']
--- error_code eval
[(204) x 4]
--- raw_response_headers_like eval
[($::gone) x 4]
--- left eval
[('alice bobby') x 4]



=== TEST 8: without a valid id the store is not asked, even if it is down
--- config
    $TEST_NGINX_DOWN
    location = /logout { session_redis_destroy; }
--- request eval
[("POST /logout") x 3]
--- more_headers eval
['', 'Cookie: sid=short', $::alice]
--- error_code eval
[204, 204, 503]
--- response_headers eval
['! Retry-After', '! Retry-After', "Retry-After: 1\nCache-Control: no-store\n! Set-Cookie"]



=== TEST 9: a store that refuses: the session is still there, so is the cookie
--- config
    session_redis redis://127.0.0.1:$TEST_NGINX_FAKE_PORT;
    $TEST_NGINX_SETTINGS
    location = /logout { session_redis_destroy redirect=/bye; }
--- request
POST /logout
--- more_headers eval
$::alice
--- error_code: 503
--- response_headers
Retry-After: 1
! Set-Cookie
! Location
--- error_log
NOPERM
--- no_error_log
[alert]



=== TEST 10: the attributes of the cookie
--- config
    $TEST_NGINX_SESSION
    location = /1 { session_redis_cookie sid path=/app domain=example.com secure=on samesite=Lax; session_redis_destroy; }
    location = /2 { session_redis_cookie sid secure=off samesite=none; session_redis_destroy; }
--- request eval
["POST /1", "POST /2"]
--- error_code eval
[204, 204]
--- raw_response_headers_like eval
my $all = sub { qr/Set-Cookie: sid=;/ . CORE::join '', map { "(?=[^\\r]* \Q$_\E(?:;|\\r))" } 'Max-Age=0', @_ };
[$all->('Path=/app', 'Domain=example.com', 'Secure', 'SameSite=Lax'), $all->('Path=/', 'SameSite=None')]
--- raw_response_headers_unlike eval
['Path=/;', 'Secure|Domain|/app']



=== TEST 11: each cookie that may hold the id, or those named
--- config
    $TEST_NGINX_SESSION
    location = /1 { session_redis_cookie sid old_sid; session_redis_destroy; }
    location = /2 { session_redis_destroy cookie=sid cookie=remember_me; }
--- request eval
["POST /1", "POST /2"]
--- more_headers eval
["Cookie: old_sid=alice-0123456789ab", "Cookie: sid=bobby-0123456789ab"]
--- error_code eval
[204, 204]
--- response_headers_like eval
['Set-Cookie: sid=; .*, old_sid=; .*', 'Set-Cookie: sid=; .*, remember_me=; .*']
--- left eval
['bobby', '']



=== TEST 12: a signed cookie: only a good signature ends a session
--- config
    session_redis redis://127.0.0.1:$TEST_NGINX_REDIS_PORT;
    session_redis_framework express;
    session_redis_secret "keyboard cat";
    location = /logout { session_redis_destroy; }
--- request eval
[("POST /logout") x 3]
--- more_headers eval
['Cookie: connect.sid=s%3Abobby-0123456789ab.AAAA', 'Cookie: connect.sid=bobby-0123456789ab',
 'Cookie: connect.sid=' . SessionRedis::Sessions::express_cookie('bobby-0123456789ab', 'keyboard cat')]
--- error_code eval
[(204) x 3]
--- response_headers_like eval
[('Set-Cookie: connect\.sid=; .*') x 3]
--- response_body_like eval
[('\A\z') x 3]



=== TEST 13: a request with a body, then another on the same connection
--- config
    $TEST_NGINX_SESSION
    location = /logout { session_redis_destroy redirect=/bye; }
    location = /x { return 200 "x\n"; }
--- pipelined_requests eval
["POST /logout\n" . 'x' x 50_000, "GET /x"]
--- more_headers eval
[$::alice, $::alice]
--- error_code eval
[303, 200]
--- response_body_like eval
['303', '\Ax\n\z']
--- left eval
['bobby', 'bobby']



=== TEST 14: who may not pass logs nobody out
--- config
    $TEST_NGINX_SESSION
    location = /logout { session_redis_require /admin error=403; session_redis_destroy; }
--- request
POST /logout
--- more_headers eval
$::alice
--- error_code: 403
--- left: alice bobby



=== TEST 15: variables of the request that logs out
--- config
    $TEST_NGINX_SESSION
    add_header X-Hash $session_redis_id_hash;
    location = /logout { session_redis_destroy; }
--- request
POST /logout
--- more_headers eval
$::alice
--- error_code: 204
--- response_headers_like
X-Hash: [0-9a-f]{16}
--- left: bobby



=== TEST 16: not beside proxy_pass
--- config
    $TEST_NGINX_SESSION
    location = /logout { $TEST_NGINX_PASS session_redis_destroy; }
--- must_die
--- suppress_stderr
--- error_log
"session_redis_destroy"



=== TEST 17: not beside proxy_pass, in the other order
--- config
    $TEST_NGINX_SESSION
    location = /logout { session_redis_destroy; $TEST_NGINX_PASS }
--- must_die
--- suppress_stderr
--- error_log
"session_redis_destroy"



=== TEST 18: not beside return
--- config
    $TEST_NGINX_SESSION
    location = /logout { session_redis_destroy; return 204; }
--- must_die
--- suppress_stderr
--- error_log
"session_redis_destroy"



=== TEST 19: not without a session
--- config
    location = /logout { session_redis_destroy; }
--- must_die
--- suppress_stderr
--- error_log
session_redis_destroy without session_redis



=== TEST 20: where cookies are hidden from the backend and the session is looked up first
--- config
    $TEST_NGINX_SESSION
    session_redis_hide_cookie on;
    session_redis_require @user;
    location = /logout { session_redis_destroy; }
    location / { $TEST_NGINX_PASS }
--- request
POST /logout
--- more_headers eval
$::alice
--- error_code: 204
--- left: bobby



=== TEST 21: a subrequest is no logout
--- config
    $TEST_NGINX_SESSION
    location = /logout { session_redis_destroy methods=GET; }
    location / { auth_request /logout; return 204; }
    location /page { auth_request /logout; $TEST_NGINX_PASS }
--- request
GET /page
--- more_headers eval
$::alice
--- error_code: 403
--- left: alice bobby



=== TEST 22: no cache keeps what refuses a method or another site
--- config
    $TEST_NGINX_SESSION
    location = /logout { session_redis_destroy; }
--- request eval
["GET /logout", "POST /logout"]
--- more_headers eval
["", "Sec-Fetch-Site: cross-site"]
--- error_code eval
[405, 403]
--- response_headers eval
[("Cache-Control: no-store") x 2]



=== TEST 23: an address cannot end the line that it stands in
--- config
    $TEST_NGINX_SESSION
    location /logout { session_redis_destroy redirect=/bye$uri; }
--- request
POST /logout%0d%0aX-Evil:%201
--- more_headers eval
$::alice
--- error_code: 303
--- response_headers
! X-Evil
--- raw_response_headers_like: Location: \S*/bye/logout%0D%0AX-Evil: 1\r
