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

over_http2();
run_tests();

sub over_http2 {
    return if !have('curl');
    my $port  = free_port();
    my $nginx = start_nginx(http => 'server {' . SessionRedis::Nginx::h2_listen($port) . <<~"END");
        $ENV{TEST_NGINX_SESSION}
        location = /logout { session_redis_destroy; }
    }
    END
    for my $case ([403, 'http://evil.example'], [403, "http://127.0.0.1"], [204, "http://127.0.0.1:$port"]) {
        my ($code, $origin) = @$case;
        my $answer = http2($port, '/logout', method => 'POST', headers => [$alice, "Origin: $origin"]);
        is($answer->{code}, $code, "HTTP/2: $origin");
    }
    return;
}

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



=== TEST 24: a page of another host of the same site cannot log anybody out either
--- config
    $TEST_NGINX_SESSION
    location = /logout { session_redis_destroy; }
--- request eval
[("POST /logout") x 3]
--- more_headers eval
[map { "$::alice\nSec-Fetch-Site: $_" } 'same-site', 'whatever', "same-origin\nSec-Fetch-Site: cross-site"]
--- error_code eval
[(403) x 3]
--- response_headers eval
[("Cache-Control: no-store\n! Set-Cookie") x 3]
--- left eval
[('alice bobby') x 3]



=== TEST 25: an Origin that is not the host's, where the browser says no more
--- config
    $TEST_NGINX_SESSION
    location = /logout { session_redis_destroy; }
--- request eval
[("POST /logout") x 10]
--- more_headers eval
[map { "$::alice\nHost: www.example.com\nOrigin: $_" } 'https://evil.example', 'https://sub.www.example.com', 'https://example.com', 'null', '',
    'https://www.example.com:8443', 'https://www.example.com@evil.example', 'https://www.example.com, https://evil.example',
    "https://www.example.com\nOrigin: https://evil.example", "https://evil.example\nSec-Fetch-Site: same-origin"]
--- error_code eval
[(403) x 10]
--- response_headers eval
[('! Set-Cookie') x 10]
--- left eval
[('alice bobby') x 10]



=== TEST 26: an Origin that is the host's, a proxy before nginx may have ended its TLS
--- config
    $TEST_NGINX_SESSION
    location = /logout { session_redis_destroy; }
--- request eval
[("POST /logout") x 8]
--- more_headers eval
[map { $::alice . "\n" . $_ } "Host: www.example.com\nOrigin: https://www.example.com", "Host: WWW.example.com\nOrigin: http://www.EXAMPLE.com",
    "Host: www.example.com:443\nOrigin: https://www.example.com", "Host: localhost:8080\nOrigin: http://localhost:8080",
    "Host: [::1]:8080\nOrigin: http://[::1]:8080", "Host: www.example.com\nOrigin: null\nSec-Fetch-Site: same-origin",
    "Host: www.example.com\nOrigin: https://www.example.com\nSec-Fetch-Site: same-origin", "Host: www.example.com"]
--- error_code eval
[(204) x 8]



=== TEST 27: what a proxy says of the host is not believed
--- config
    $TEST_NGINX_SESSION
    location = /logout { session_redis_destroy; }
--- request
POST /logout
--- more_headers eval
"$::alice\nHost: www.example.com\nX-Forwarded-Host: evil.example\nForwarded: host=evil.example\nOrigin: https://evil.example"
--- error_code: 403
--- left: alice bobby



=== TEST 28: origin=
--- config
    $TEST_NGINX_SESSION
    location = /logout { session_redis_destroy origin=https://app.example.com origin=http://localhost:3000; }
--- request eval
[("POST /logout") x 4]
--- more_headers eval
[map { "$::alice\nHost: www.example.com\n$_" } "Origin: https://app.example.com\nSec-Fetch-Site: same-site", "Origin: http://localhost:3000",
    "Origin: http://app.example.com\nSec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"]
--- error_code eval
[204, 204, 403, 403]



=== TEST 29: an origin= that is none
--- config
    $TEST_NGINX_SESSION
    location = /logout { session_redis_destroy origin=app.example.com; }
--- must_die
--- suppress_stderr
--- error_log
"session_redis_destroy" directive: "app.example.com" is not an origin; write scheme://host or scheme://host:port
