# Who may pass: every word, every way to be refused, and the way to the login page.
use v5.26;
use warnings;
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use Test::Nginx::Socket 'no_plan';
use SessionRedis;
use SessionRedis::Stage qw(stage);

our $stage = stage(alice => <<'END', guest => '{}', broken => '{"id":', falsy => '{"id":0}');
{"id":1001,"user":{"id":7,"roles":["admin","editor"],"level":3,"name":"Alice"},"true":true,"false":false,"zero":0,"fzero":0.0,"empty":"",
"szero":"0","null":null,"none":[],"noobj":{},"float":1.5,"text":"yes","list":[0],"plan":"pro","teams":[{"id":1},{"id":2}],"phplist":{"0":"a","1":"b"}}
END
$stage->redis->cmd('LPUSH', 's:alist-0123456789ab', 'x');
$ENV{TEST_NGINX_SESSION} .= "absolute_redirect off;\n";
our $browser = 'Accept: text/html,application/xhtml+xml,*/*;q=0.8';
our $alice   = 'Cookie: sid=alice-0123456789ab';
no_root_location();
quiet_logs();
$stage->check_lookups;

run_tests();

__DATA__

=== TEST 1: without a word: there, and not null, false, 0, "", "0", [] or {}
--- config eval
"$ENV{TEST_NGINX_SESSION}" . CORE::join '', map { "location = /$_ { session_redis_require /$_; $ENV{TEST_NGINX_PASS} }\n" }
    qw(id user true float text list false zero fzero empty szero null none noobj absent)
--- request eval
[map { "GET /$_" } qw(id user true float text list false zero fzero empty szero null none noobj absent)]
--- more_headers eval
[($::alice) x 15]
--- error_code eval
[(200) x 6, (401) x 9]



=== TEST 2: is and isnot compare as text
--- config
    $TEST_NGINX_SESSION
    location = /1 { session_redis_require /id is 1001; $TEST_NGINX_PASS }
    location = /2 { session_redis_require /id is 1002; $TEST_NGINX_PASS }
    location = /3 { session_redis_require /true is true; $TEST_NGINX_PASS }
    location = /4 { session_redis_require /zero is 0; $TEST_NGINX_PASS }
    location = /5 { session_redis_require /empty is ""; $TEST_NGINX_PASS }
    location = /6 { session_redis_require /plan is PRO; $TEST_NGINX_PASS }
    location = /7 { session_redis_require /absent is ""; $TEST_NGINX_PASS }
    location = /8 { session_redis_require /plan isnot free; $TEST_NGINX_PASS }
    location = /9 { session_redis_require /plan isnot pro; $TEST_NGINX_PASS }
    location = /10 { session_redis_require /absent isnot banned; $TEST_NGINX_PASS }
    location = /11 { session_redis_require /float is 1.5; $TEST_NGINX_PASS }
    location = /12 { session_redis_require /user/name is Alice error=403; $TEST_NGINX_PASS }
--- request eval
[map { "GET /$_" } 1 .. 12]
--- more_headers eval
[($::alice) x 12]
--- error_code eval
[200, 401, 200, 200, 200, 401, 401, 200, 401, 200, 200, 200]



=== TEST 3: has looks in a list, in compares with several words
--- config
    $TEST_NGINX_SESSION
    location = /1 { session_redis_require /user/roles has admin; $TEST_NGINX_PASS }
    location = /2 { session_redis_require /user/roles has adm; $TEST_NGINX_PASS }
    location = /3 { session_redis_require /user/name has Alice; $TEST_NGINX_PASS }
    location = /4 { session_redis_require /list has 0; $TEST_NGINX_PASS }
    location = /5 { session_redis_require /none has ""; $TEST_NGINX_PASS }
    location = /6 { session_redis_require /absent has x; $TEST_NGINX_PASS }
    location = /7 { session_redis_require /plan in free pro; $TEST_NGINX_PASS }
    location = /8 { session_redis_require /plan in free max error=404; $TEST_NGINX_PASS }
    location = /9 { session_redis_require /teams/*/id has 2; $TEST_NGINX_PASS }
    location = /10 { session_redis_require /teams/*/id in 3 4; $TEST_NGINX_PASS }
    location = /11 { session_redis_require /phplist has b; $TEST_NGINX_PASS }
--- request eval
[map { "GET /$_" } 1 .. 11]
--- more_headers eval
[($::alice) x 11]
--- error_code eval
[200, 401, 401, 200, 401, 401, 200, 404, 200, 401, 200]



=== TEST 4: without a session nothing holds, isnot neither
--- config
    $TEST_NGINX_SESSION
    location = /1 { session_redis_require /plan isnot free; $TEST_NGINX_PASS }
    location = /2 { session_redis_require /absent isnot free; $TEST_NGINX_PASS }
--- request eval
["GET /1", "GET /1", "GET /1", "GET /2"]
--- more_headers eval
["", "Cookie: sid=x", "Cookie: sid=nobody-0123456789ab", "Cookie: sid=guest-0123456789ab"]
--- error_code eval
[401, 401, 401, 200]
--- lookups eval
[0, 0, 1, 1]



=== TEST 5: all must hold, the first that fails answers
--- config
    $TEST_NGINX_SESSION
    location / {
        session_redis_require /id error=401;
        session_redis_require /plan is pro error=404;
        session_redis_require /user/roles has owner error=403;
        session_redis_require /absent error=503;
        $TEST_NGINX_PASS
    }
--- request eval
[("GET /") x 3]
--- more_headers eval
[$::alice, "Cookie: sid=guest-0123456789ab", ""]
--- error_code eval
[403, 401, 401]



=== TEST 6: each status, and that it is not to be stored
--- config
    $TEST_NGINX_SESSION
    location /401 { session_redis_require /absent; $TEST_NGINX_PASS }
    location /403 { session_redis_require /absent error=403; $TEST_NGINX_PASS }
    location /404 { session_redis_require /absent error=404; $TEST_NGINX_PASS }
    location /503 { session_redis_require /absent error=503; $TEST_NGINX_PASS }
--- request eval
["GET /401", "GET /403", "GET /404", "GET /503"]
--- more_headers eval
[($::alice) x 4]
--- error_code eval
[401, 403, 404, 503]
--- response_headers eval
[("Cache-Control: no-store\n! Retry-After\n! WWW-Authenticate\n! Set-Cookie") x 4]



=== TEST 7: every outcome of a lookup
--- config
    $TEST_NGINX_SESSION
    add_header X-Status $session_redis_status always;
    location / { session_redis_require @user error=403; $TEST_NGINX_PASS }
--- request eval
[("GET /") x 7]
--- more_headers eval
['', 'Cookie: sid=', map { "Cookie: sid=$_-0123456789ab" } qw(alice nobody broken alist guest)]
--- error_code eval
[403, 403, 200, 403, 403, 403, 403]
--- response_headers eval
[map { "X-Status: $_" } qw(none invalid found missing undecodable undecodable found)]



=== TEST 8: a store that is down is 503 with Retry-After, never 401, and the cookie is left alone
--- config
    $TEST_NGINX_DOWN
    location /a { session_redis_require @user; $TEST_NGINX_PASS }
    location /b { session_redis_require @user login=/login; $TEST_NGINX_PASS }
    location /c { session_redis_require @user error=404 unless_cookie=remember_*; $TEST_NGINX_PASS }
--- request eval
["GET /a", "GET /b", "GET /c", "GET /a", "GET /a"]
--- more_headers eval
[("$::browser\n$::alice; remember_me=1") x 3, '', 'Cookie: sid=short']
--- error_code eval
[503, 503, 503, 401, 401]
--- response_headers eval
[("Cache-Control: no-store\nRetry-After: 1\n! Set-Cookie\n! Location") x 3, ("! Retry-After\n! Set-Cookie") x 2]



=== TEST 9: session_redis_on_error: pass, fail, and what they are where nothing is said
--- config
    $TEST_NGINX_DOWN
    session_redis_set_header X-User-Id @user;
    location /default { $TEST_NGINX_PASS }
    location /pass { session_redis_on_error pass; $TEST_NGINX_PASS }
    location /fail { session_redis_on_error fail; $TEST_NGINX_PASS }
    location /outer {
        session_redis_on_error pass;
        location /outer/inner { session_redis_require @user; $TEST_NGINX_PASS }
        $TEST_NGINX_PASS
    }
--- request eval
["GET /default", "GET /pass", "GET /fail", "GET /outer/inner", "GET /outer"]
--- more_headers eval
[($::alice) x 5]
--- error_code eval
[200, 200, 503, 503, 200]
--- response_headers eval
[('! Retry-After') x 2, ("Retry-After: 1\nCache-Control: no-store") x 2, '! Retry-After']



=== TEST 10: fail concerns a store that fails, and nothing else
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-User-Id @user;
    session_redis_on_error fail;
    location / { $TEST_NGINX_PASS }
--- request eval
[("GET /") x 5]
--- more_headers eval
['', 'Cookie: sid=x', map { "Cookie: sid=$_-0123456789ab" } qw(alice nobody broken)]



=== TEST 11: off clears what is inherited, a list replaces it
--- config
    $TEST_NGINX_SESSION
    session_redis_require /absent;
    location / { $TEST_NGINX_PASS }
    location /off { session_redis_require off; $TEST_NGINX_PASS }
    location /own { session_redis_require /id; $TEST_NGINX_PASS }
    location /deep { session_redis_require off; location /deep/er { $TEST_NGINX_PASS } }
--- request eval
["GET /", "GET /off", "GET /own", "GET /deep/er"]
--- more_headers eval
[($::alice) x 4]
--- error_code eval
[401, 200, 200, 200]
--- lookups eval
[1, 0, 1, 0]



=== TEST 12: login=: a browser that navigates is sent to the login page
--- config
    $TEST_NGINX_SESSION
    location / { session_redis_require @user login=/login?next=$session_redis_return_to; $TEST_NGINX_PASS }
    location /login { $TEST_NGINX_PASS }
--- request eval
["GET /a/b?c=d&e=f%20g", "HEAD /h", "GET /mode", "GET /nobody", "GET /guest", "GET /alice", "GET /login"]
--- more_headers eval
[$::browser, $::browser, "$::browser\nSec-Fetch-Mode: navigate", "$::browser\nCookie: sid=nobody-0123456789ab",
 "accept: image/png, TEXT/HTML;q=0.5\nCookie: sid=guest-0123456789ab", "$::browser\n$::alice", $::browser]
--- error_code eval
[302, 302, 302, 302, 302, 200, 200]
--- response_headers eval
my $to = "Cache-Control: no-store\nLocation: /login?next=%2F";
["${to}a%2Fb%3Fc%3Dd%26e%3Df%2520g", "${to}h", "${to}mode", "${to}nobody", "${to}guest", '! Location', '! Location']



=== TEST 13: everything else gets the error
--- config
    $TEST_NGINX_SESSION
    location / { session_redis_require @user login=/login error=403; $TEST_NGINX_PASS }
--- request eval
["POST /", "GET /", "GET /", "GET /", "GET /", "PUT /", "DELETE /"]
--- more_headers eval
[$::browser, '', 'Accept: */*', "$::browser\nSec-Fetch-Mode: cors", 'Accept: application/json', $::browser, $::browser]
--- error_code eval
[(403) x 7]
--- response_headers eval
[("Cache-Control: no-store\n! Location") x 7]



=== TEST 14: never for a session that cannot be read
--- config
    $TEST_NGINX_SESSION
    location / { session_redis_require @user login=/login error=403; $TEST_NGINX_PASS }
--- request eval
["GET /", "GET /"]
--- more_headers eval
["$::browser\nCookie: sid=broken-0123456789ab", "$::browser\nCookie: sid=alist-0123456789ab"]
--- error_code eval
[403, 403]



=== TEST 15: the login page itself may be protected: no endless redirect
--- config
    $TEST_NGINX_SESSION
    session_redis_require @user login=/login?next=$session_redis_return_to;
    location / { $TEST_NGINX_PASS }
    location /other { session_redis_require @user login=http://localhost/log%69n; $TEST_NGINX_PASS }
--- request eval
["GET /login", "GET /login?next=%2F", "GET //login", "GET /x/../login", "GET /logi%6E", "GET /login/more", "GET /loginx"]
--- more_headers eval
[($::browser) x 7]
--- error_code eval
[(401) x 5, 302, 302]



=== TEST 16: a login page elsewhere; nginx makes addresses absolute
--- config
    $TEST_NGINX_SESSION
    location / { session_redis_require @user login=https://login.example/in?back=$scheme://$host$session_redis_return_to; $TEST_NGINX_PASS }
    location /login { session_redis_require @user login=https://login.example/login; $TEST_NGINX_PASS }
    location /abs { absolute_redirect on; session_redis_require @user login=/login; $TEST_NGINX_PASS }
--- request eval
["GET /a", "GET /login", "GET /abs"]
--- more_headers eval
[($::browser) x 3]
--- error_code eval
[302, 302, 302]
--- response_headers eval
['Location: https://login.example/in?back=http://localhost%2Fa', 'Location: https://login.example/login',
 'Location: http://localhost:$ServerPort/login']



=== TEST 17: not while an error page is made
--- config
    $TEST_NGINX_SESSION
    location / { error_page 404 /page; return 404; }
    location /page { session_redis_require @user login=/login error=403; $TEST_NGINX_PASS }
--- request
GET /x
--- more_headers
Accept: text/html
--- error_code: 403
--- response_headers
! Location



=== TEST 18: error_page takes the refusal, also from POST
--- config
    $TEST_NGINX_SESSION
    error_page 401 = @in;
    location / { session_redis_require @user; $TEST_NGINX_PASS }
    location @in { return 302 /login; }
--- request eval
["GET /x", "POST /x"]
--- error_code eval
[302, 302]



=== TEST 19: a return address that leads elsewhere is none
--- config
    $TEST_NGINX_SESSION
    merge_slashes off;
    location / { session_redis_require @user login=/login?next=$session_redis_return_to; $TEST_NGINX_PASS }
--- request eval
["GET //evil.example/x", "GET /\\evil.example", "GET ///x", "GET http://localhost//evil.example/", "GET /%0d%0aSet-Cookie:x", "GET /a//b", "GET http://localhost/ok?x"]
--- more_headers eval
[($::browser) x 7]
--- error_code eval
[(302) x 7]
--- response_headers eval
my $next = 'Location: /login?next=%2F';
[$next, $next, $next, $next, $next . '%250d%250aSet-Cookie%3Ax', $next . 'a%2F%2Fb', $next . 'ok%3Fx']
--- raw_response_headers_unlike eval
[('\nSet-Cookie') x 7]



=== TEST 20: bytes in the request line that are no URI
--- config
    $TEST_NGINX_SESSION
    location / { session_redis_require @user login=/login?next=$session_redis_return_to; $TEST_NGINX_PASS }
--- raw_request eval
"GET /a\xff\"<>'%zz HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
--- error_code: 400



=== TEST 21: raw bytes
--- config
    $TEST_NGINX_SESSION
    location / { session_redis_require @user login=/login?next=$session_redis_return_to; $TEST_NGINX_PASS }
--- raw_request eval
"GET /a\xff\"<>' HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
--- error_code: 302
--- response_headers
Location: /login?next=%2Fa%FF%22%3C%3E%27



=== TEST 22: the return address is that of the client's request, also after internal redirects
--- config
    $TEST_NGINX_SESSION
    location / { try_files /none /app; }
    location /app { session_redis_require @user login=/login?next=$session_redis_return_to; $TEST_NGINX_PASS }
    location /re { rewrite ^ /app?x=1 last; }
--- request eval
["GET /first?a=1", "GET /re?b=2"]
--- more_headers eval
[($::browser) x 2]
--- error_code eval
[302, 302]
--- response_headers eval
['Location: /login?next=%2Ffirst%3Fa%3D1', 'Location: /login?next=%2Fre%3Fb%3D2']



=== TEST 23: a CORS preflight passes where that is asked for
--- config
    $TEST_NGINX_SESSION
    location /judged { session_redis_require @user login=/login; $TEST_NGINX_PASS }
    location /free { session_redis_require @user login=/login preflight=pass; $TEST_NGINX_PASS }
--- request eval
["OPTIONS /judged", "OPTIONS /free", "OPTIONS /free", "GET /free"]
--- more_headers eval
[("Origin: http://a.example\nAccess-Control-Request-Method: PUT") x 2, "Origin: http://a.example",
 "Origin: http://a.example\nAccess-Control-Request-Method: PUT"]
--- error_code eval
[401, 200, 401, 401]
--- lookups eval
[(0) x 4]



=== TEST 24: unless_cookie= lets the application judge
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-User-Id @user;
    location /exact { session_redis_require @user unless_cookie=remember_me; $TEST_NGINX_PASS }
    location /begin { session_redis_require @user unless_cookie=remember_*; $TEST_NGINX_PASS }
    location /two {
        session_redis_require @user unless_cookie=remember_me;
        session_redis_require /plan error=403;
        $TEST_NGINX_PASS
    }
--- request eval
["GET /exact", "GET /exact", "GET /exact", "GET /begin", "GET /begin", "GET /exact", "GET /two", "GET /two", "GET /exact"]
--- more_headers eval
["Cookie: remember_me=x", "Cookie: remember_me2=x", "Cookie: xremember_me=x", "Cookie: a=1; remember_web_123=x", "Cookie: remember=x",
 "Cookie: a=1\nCookie: remember_me=", "Cookie: remember_me=x", "Cookie: remember_me=x; sid=alice-0123456789ab", "Cookie: Remember_Me=x"]
--- error_code eval
[200, 401, 401, 200, 401, 200, 403, 200, 401]



=== TEST 25: literals and templates as values
--- config
    $TEST_NGINX_SESSION
    location /a { session_redis_require "$arg_x" is 1; $TEST_NGINX_PASS }
    location /b { session_redis_require "$session_redis_user:$arg_x" is 1001:2; $TEST_NGINX_PASS }
--- request eval
["GET /a?x=1", "GET /a?x=2", "GET /a", "GET /b?x=2", "GET /b?x=1", "GET /a?x=1"]
--- more_headers eval
[($::alice) x 5, '']
--- error_code eval
[200, 401, 401, 200, 401, 401]



=== TEST 26: a session there, but the user is not
--- config
    $TEST_NGINX_SESSION
    location / { session_redis_require @user error=403; $TEST_NGINX_PASS }
--- request eval
["GET /", "GET /"]
--- more_headers eval
["Cookie: sid=guest-0123456789ab", "Cookie: sid=falsy-0123456789ab"]
--- error_code eval
[403, 403]



=== TEST 27: a header that we set is there only for who may pass
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-User-Id @user;
    error_page 403 /why;
    location / { session_redis_require /absent error=403; $TEST_NGINX_PASS }
    location /why { session_redis off; $TEST_NGINX_PASS }
--- request
GET /
--- more_headers eval
"$::alice\nX-User-Id: evil"
--- error_code: 403
--- response_body_like: GET /why (?!.*X-User)



=== TEST 28: under satisfy any a preflight admits nobody past the others
--- config
    $TEST_NGINX_SESSION
    location / { satisfy any; deny all; session_redis_require @user preflight=pass; $TEST_NGINX_PASS }
--- request
OPTIONS /
--- more_headers
Origin: http://a.example
Access-Control-Request-Method: PUT
--- error_code: 403



=== TEST 29: under satisfy any nothing of a refusal is left where others admit
--- config
    satisfy any; auth_basic "x"; auth_basic_user_file ../html/passwords;
    location / { $TEST_NGINX_SESSION session_redis_require /absent; $TEST_NGINX_PASS }
    location /down { $TEST_NGINX_DOWN session_redis_require /absent; $TEST_NGINX_PASS }
--- user_files
>>> passwords
ann:{PLAIN}pw
--- request eval
[("GET /", "GET /down") x 2]
--- more_headers eval
[("$::alice\nAuthorization: Basic YW5uOnB3") x 2, ($::alice) x 2]
--- error_code eval
[200, 200, 401, 401]
--- response_headers eval
[("! Cache-Control\n! Retry-After") x 2, "Cache-Control: no-store\n! Retry-After", "Cache-Control: no-store\nRetry-After: 1"]



=== TEST 30: a refused error page says it once
--- config
    $TEST_NGINX_DOWN
    session_redis_require @user;
    error_page 503 /why;
    location / { $TEST_NGINX_PASS }
--- request
GET /
--- more_headers eval
$::alice
--- error_code: 503
--- raw_response_headers_unlike: (?si)(cache-control|retry-after):.*\n\1:
--- response_headers
Cache-Control: no-store
Retry-After: 1



=== TEST 31: a login address cannot end the line that it stands in
--- config
    $TEST_NGINX_SESSION
    location / { session_redis_require @user login=/login?next=$uri; $TEST_NGINX_PASS }
--- request
GET /a%0d%0aX-Evil:%201
--- more_headers eval
$::browser
--- error_code: 302
--- response_headers
Location: /login?next=/a%0D%0AX-Evil: 1
! X-Evil



=== TEST 32: a request that break keeps from the location's return must meet the requirement
--- config
    $TEST_NGINX_SESSION
    location /if { session_redis_require /id; if ($arg_ok) { break; } return 404; $TEST_NGINX_PASS }
    location /api { session_redis_require /id; rewrite ^/api/(v1/.*)$ /$1 break; return 404; $TEST_NGINX_PASS }
--- request eval
['GET /if?ok=1', 'GET /if?ok=1', 'GET /if', 'GET /api/v1/a', 'GET /api/v1/a', 'GET /api/a']
--- more_headers eval
['', $::alice, '', '', $::alice, '']
--- error_code eval
[401, 200, 404, 401, 200, 404]
--- lookups eval
[0, 1, 0, 0, 1, 0]



=== TEST 33: what a backend says of caching stays where others admit what we refuse
--- config
    location = /private { proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/source; }
    location = /source {
        add_header X-Accel-Redirect /files/page.txt;
        add_header Cache-Control "private, max-age=5";
        return 200 "";
    }
    location /files/ {
        internal;
        alias html/;
        satisfy any; auth_basic "x"; auth_basic_user_file ../html/passwords;
        $TEST_NGINX_SESSION
        session_redis_require /absent;
    }
--- user_files
>>> passwords
ann:{PLAIN}pw
>>> page.txt
page
--- request eval
["GET /private", "GET /private"]
--- more_headers eval
["$::alice\nAuthorization: Basic YW5uOnB3", $::alice]
--- error_code eval
[200, 401]
--- response_headers eval
["Cache-Control: private, max-age=5", "Cache-Control: private, max-age=5, no-store"]
