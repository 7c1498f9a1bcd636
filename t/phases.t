# The module among nginx's own phases: what decides first, what is asked once,
# and how requests of every shape come through.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use Test::Nginx::Socket 'no_plan';
use SessionRedis;
use SessionRedis::Stage qw(cookie stage);

our $stage = stage(alice => '{"id":1001}', bobby => '{"id":1002}', guest => '{"name":"nobody"}', admin => '{"id":1,"admin":true}');
$ENV{TEST_NGINX_HTML_DIR} //= html_dir();
no_root_location();
quiet_logs();
$stage->check_lookups;

run_tests();
like($stage->backend->seen, qr{^GET /mirrored [^:]*\n(?:.+\n)*?X-User-Id: 1001$}m, 'what is mirrored bears our headers');
bodies();
over_http2();
done_testing() if !Test::More->builder->has_plan;

# Bodies that come late, are large, or are never read.
sub bodies () {
    my $nginx = start_nginx(server => <<~"END");
        client_max_body_size 10m;
        $ENV{TEST_NGINX_SESSION}
        session_redis_set_header X-User-Id \@user;
        location /open   { $ENV{TEST_NGINX_PASS} }
        location /stream { proxy_request_buffering off; $ENV{TEST_NGINX_PASS} }
        location /closed { session_redis_require \@user; $ENV{TEST_NGINX_PASS} }
        location = /x    { return 200 "x\\n"; }
        END
    my $body = 'x' x 2_000_000;
    for my $path (qw(/open /stream /closed)) {
        my $response = http($nginx->port, $path, body => $body, headers => [cookie('alice')]);
        is($response->{code}, 200, "$path: a large body");
        like($response->{body}, qr/^Content-Length: 2000000\n.*^X-User-Id: 1001$/ms, "$path: arrives");
    }

    # The answer comes before the body is sent, and the connection is good for another request.
    my $socket = open_connection($nginx->port);
    syswrite $socket, "POST /closed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n";
    is(read_response($socket)->{code}, 401, 'refused, the body unread');
    syswrite $socket, substr($body, 0, 100_000) . request_bytes('/x');
    is(read_response($socket)->{body}, "x\n", 'and the next request is served');

    for (['alice', 200], ['nobody', 401]) {
        my ($user, $code) = @$_;
        my $head = "POST /closed HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 4\r\n" . cookie($user);
        my $socket = open_connection($nginx->port);
        syswrite $socket, "$head\r\n\r\n";
        my ($line) = (read_some($socket)) =~ m{\AHTTP/1.1 (\d+)};
        is($line, $code == 200 ? 100 : 401, "Expect: 100-continue of $user");
        next if $code != 200;
        syswrite $socket, 'body';
        like(read_some($socket), qr{\AHTTP/1.1 200 .*^X-User-Id: 1001$}ms, 'and then');
    }

    # Body before the lookup is answered, in pieces.
    my $split = open_connection($nginx->port);
    syswrite $split, $_ for "POST /open HTTP/1.1\r\nHost: localhost\r\nContent-Le", "ngth: 6\r\n" . cookie('alice') . "\r\nConnection: close\r\n\r\nab", 'cd', 'ef';
    like(read_response($split)->{body}, qr/^Content-Length: 6\n.*^X-User-Id: 1001$/ms, 'in pieces');
    unlike($nginx->log, qr/\[(?:alert|crit|emerg|error)\]/, 'nothing in the log');
    return;
}

# What comes until the peer pauses.
sub read_some ($socket) {
    my $bytes = '';
    vec(my $in = '', fileno $socket, 1) = 1;
    while (select(my $ready = $in, undef, undef, length $bytes ? 0.1 : 5) > 0) {
        sysread $socket, $bytes, 65536, length $bytes or last;
    }
    return $bytes;
}

sub over_http2 () {
    return if !have('curl');
    my $port  = free_port();
    my $nginx = start_nginx(http => 'server {' . h2_listen($port) . <<~"END");
        $ENV{TEST_NGINX_SESSION}
        session_redis_set_header X-User-Id \@user;
        location / { $ENV{TEST_NGINX_PASS} }
        location /hide { session_redis_hide_cookie on; $ENV{TEST_NGINX_PASS} }
        location /must { session_redis_require \@user; $ENV{TEST_NGINX_PASS} }
    }
    END
    my @split = ('Cookie: a=1', cookie('alice'), 'Cookie: b=2');
    my $get   = sub ($path, @headers) { http2($port, $path, headers => \@headers) };
    like($get->('/', @split)->{body}, qr/^X-User-Id: 1001$/m, 'HTTP/2: the session is in one of several cookie fields');
    like($get->('/', @split)->{body}, qr/^cookie: a=1; sid=\S+; b=2$/m, 'which arrive as one');
    my $hidden = $get->('/hide', @split)->{body};
    unlike($hidden, qr/sid=/, 'without the session\'s where it is hidden');
    like($hidden, qr/^cookie: a=1; b=2$/m, 'and with all others');
    my $two = $get->('/', cookie('alice'), cookie('bobby'))->{body};
    like($two, qr/^X-User-Id: 1001$/m, 'of two the first counts');
    unlike($two, qr/bobby/, 'and the other is gone');
    is($get->('/must', 'Cookie: a=1', 'Cookie: b=2')->{code}, 401, 'none');
    is($get->('/must', cookie('alice'))->{code}, 200, 'one');
    my $large = http2($port, '/must', headers => [cookie('alice')], body => 'x' x 100_000);
    like($large->{body}, qr/^content-length: 100000\n/mi, 'a large body');
    return;
}

__DATA__

=== TEST 1: satisfy all: an address, a password and a session
--- user_files
>>> passwords
bob:{PLAIN}secret
--- config
    $TEST_NGINX_SESSION
    auth_basic members;
    auth_basic_user_file $TEST_NGINX_HTML_DIR/passwords;
    location /a { session_redis_require @user error=403; $TEST_NGINX_PASS }
    location /b { session_redis_require @user error=403; deny all; $TEST_NGINX_PASS }
--- request eval
["GET /a", "GET /a", "GET /a", "GET /b"]
--- more_headers eval
my $basic = 'Authorization: Basic Ym9iOnNlY3JldA=='; my $session = 'Cookie: sid=alice-0123456789ab';
["$basic\n$session", $basic, $session, "$basic\n$session"]
--- error_code eval
[200, 403, 401, 403]



=== TEST 2: satisfy any: one of them is enough
--- user_files
>>> passwords
bob:{PLAIN}secret
--- config
    $TEST_NGINX_SESSION
    satisfy any;
    auth_basic members;
    auth_basic_user_file $TEST_NGINX_HTML_DIR/passwords;
    session_redis_set_header X-User-Id @user;
    location /a { session_redis_require @user; deny all; $TEST_NGINX_PASS }
    location /b { session_redis_require @user; allow 127.0.0.1; deny all; $TEST_NGINX_PASS }
    location /c { session_redis_require /admin error=403; deny all; $TEST_NGINX_PASS }
--- request eval
["GET /a", "GET /a", "GET /a", "GET /b", "GET /c", "GET /c"]
--- more_headers eval
my $basic = 'Authorization: Basic Ym9iOnNlY3JldA=='; my $session = 'Cookie: sid=alice-0123456789ab';
[$basic, $session, '', '', $session, "$basic\n$session"]
--- error_code eval
[200, 200, 401, 200, 401, 200]
--- response_body_like eval
['\A(?!.*X-User)', 'X-User-Id: 1001', '401', 'GET /b', '401', 'X-User-Id: 1001']



=== TEST 3: satisfy any, the store down: others may still admit
--- config
    $TEST_NGINX_DOWN
    satisfy any;
    location /a { session_redis_require @user; allow 127.0.0.1; deny all; $TEST_NGINX_PASS }
    location /b { session_redis_require @user; deny all; $TEST_NGINX_PASS }
--- request eval
["GET /a", "GET /b"]
--- more_headers eval
[("Cookie: sid=alice-0123456789ab") x 2]
--- error_code eval
[200, 403]
--- response_body_like eval
['GET /a', '403']



=== TEST 4: satisfy any with nothing required: the module admits nobody
--- config
    $TEST_NGINX_SESSION
    satisfy any;
    session_redis_set_header X-User-Id @user;
    location / { deny all; $TEST_NGINX_PASS }
--- request
GET /
--- more_headers
Cookie: sid=alice-0123456789ab
--- error_code: 403



=== TEST 5: auth_request: both decide, with one lookup
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-User-Id @user;
    location /yes { auth_request /check; session_redis_require @user; $TEST_NGINX_PASS }
    location /no  { auth_request /refuse; session_redis_require @user; $TEST_NGINX_PASS }
    location = /check  { internal; $TEST_NGINX_PASS }
    location = /refuse { internal; proxy_pass http://127.0.0.1:$TEST_NGINX_BACKEND_PORT/?answer=403; }
--- request eval
["GET /yes", "GET /yes", "GET /no"]
--- more_headers eval
["Cookie: sid=alice-0123456789ab", "", "Cookie: sid=alice-0123456789ab"]
--- error_code eval
[200, 401, 403]
--- lookups eval
[1, 0, 1]



=== TEST 6: limit_req and limit_conn protect the store
--- http_config
    limit_req_zone $binary_remote_addr zone=slow:1m rate=1r/m;
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        limit_req zone=slow;
        limit_req_status 429;
        $TEST_NGINX_PASS
    }
--- request eval
["GET /", "GET /", "GET /"]
--- more_headers eval
[("X-User-Id: evil\nCookie: sid=alice-0123456789ab") x 3]
--- error_code eval
[200, 429, 429]
--- lookups eval
[1, 0, 0]



=== TEST 7: limit_conn protects the store
--- http_config
    limit_conn_zone $server_name zone=one:1m;
--- config
    location = /page { root $TEST_NGINX_HTML_DIR; ssi on; ssi_types *; }
    location / {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        limit_conn one 1;
        limit_conn_status 429;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/again/;
    }
    location /again/ {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        limit_conn one 1;
        limit_conn_status 429;
        $TEST_NGINX_PASS
    }
--- request
GET /
--- more_headers
Cookie: sid=alice-0123456789ab
--- error_code: 429
--- lookups: 1



=== TEST 8: session_redis_early: limits by a session's value
--- http_config
    limit_req_zone $uid zone=user:1m rate=1r/m;
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_early on;
        session_redis_set $uid /id;
        session_redis_set_header X-User-Id @user;
        limit_req zone=user;
        limit_req_status 429;
        $TEST_NGINX_PASS
    }
--- request eval
[("GET /") x 6]
--- more_headers eval
[map { $_ ? "Cookie: sid=$_-0123456789ab" : '' } qw(alice alice bobby bobby), '', '']
--- error_code eval
[200, 429, 200, 429, 200, 200]
--- lookups eval
[1, 1, 1, 1, 0, 0]



=== TEST 9: internal redirects use one lookup again: try_files, rewrite, named locations
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-User-Id @user;
    location /tried  { try_files /none1 /none2 /to; }
    location /named  { try_files /none @named; }
    location /chain  { session_redis_require @user; try_files /none @chain; }
    location @chain  { error_page 404 = /to; return 404; }
    location @named  { session_redis_require /id is 1001; $TEST_NGINX_PASS }
    location /to     { session_redis_require @user; $TEST_NGINX_PASS }
    location /again  { rewrite ^ /to last; }
--- request eval
[map { "GET $_" } qw(/tried /named /chain /again)]
--- more_headers eval
[("Cookie: sid=alice-0123456789ab") x 4]
--- response_body_like eval
[("X-User-Id: 1001") x 4]
--- lookups eval
[(1) x 4]



=== TEST 10: each location injects and requires for itself
--- config
    $TEST_NGINX_SESSION
    location /a   { session_redis_set_header X-A @user; try_files /none @b; }
    location @b   { session_redis_set_header X-B @user; $TEST_NGINX_PASS }
    location /c   { session_redis_set_header X-A @user; try_files /none @d; }
    location @d   { session_redis_set_header X-B @user; session_redis_require /admin error=403; $TEST_NGINX_PASS }
    location /e   { session_redis_set_header X-A @user; try_files /none @off; }
    location @off { session_redis off; $TEST_NGINX_PASS }
--- request eval
["GET /a", "GET /c", "GET /e"]
--- more_headers eval
[("Cookie: sid=alice-0123456789ab") x 3]
--- error_code eval
[200, 403, 200]
--- response_body_like eval
[qr/\A(?!.*X-A).*X-B: 1001/s, '403', qr/\AGET \/e (?!.*X-)/s]
--- lookups eval
[1, 1, 1]



=== TEST 11: another key or id source is another session
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-User-Id @user;
    location /key     { try_files /none @key; }
    location @key     { session_redis_key "other:$session_redis_id"; $TEST_NGINX_PASS }
    location /source  { try_files /none @source; }
    location @source  { session_redis_cookie other; $TEST_NGINX_PASS }
    location /same    { try_files /none @same; }
    location @same    { session_redis_cookie none sid; $TEST_NGINX_PASS }
--- request eval
["GET /key", "GET /source", "GET /same"]
--- more_headers eval
[("Cookie: sid=alice-0123456789ab; other=bobby-0123456789ab") x 3]
--- response_body_like eval
['\A(?!.*X-User)', 'X-User-Id: 1002', 'X-User-Id: 1001']
--- lookups eval
[2, 2, 1]



=== TEST 12: error_page of a refusal: the page may be another location of the module
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-User-Id @user;
    error_page 401 = @login;
    error_page 403 /denied;
    location /app    { session_redis_require @user; $TEST_NGINX_PASS }
    location /admin  { session_redis_require /admin error=403; $TEST_NGINX_PASS }
    location @login  { $TEST_NGINX_PASS }
    location /denied { session_redis_require off; $TEST_NGINX_PASS }
--- request eval
["GET /app", "GET /app", "GET /admin"]
--- more_headers eval
["", "Cookie: sid=guest-0123456789ab", "Cookie: sid=alice-0123456789ab"]
--- error_code eval
[200, 200, 403]
--- response_body_like eval
['GET /app', '\AGET /app (?!.*X-User)', 'GET /denied .*X-User-Id: 1001']
--- lookups eval
[0, 1, 1]



=== TEST 13: an error page that itself requires a session does not loop
--- config
    $TEST_NGINX_SESSION
    error_page 401 /login;
    location / { session_redis_require @user; $TEST_NGINX_PASS }
--- request
GET /app
--- error_code: 401



=== TEST 14: a page's subrequests see the main request's session, with one lookup
--- user_files
>>> page
<!--# include virtual="/one" --><!--# include virtual="/two" --><!--# include virtual="/off" --><!--# include virtual="/no" -->
--- config
    $TEST_NGINX_SESSION
    location = /page {
        session_redis_set_header X-User-Id @user;
        root $TEST_NGINX_HTML_DIR;
        ssi on;
        ssi_types *;
        default_type text/plain;
    }
    location /one { session_redis_set_header X-One @user; $TEST_NGINX_PASS }
    location /no  { session_redis_require /admin error=403; $TEST_NGINX_PASS }
    location /two { session_redis_require @user; proxy_set_header X-Seen "$session_redis_status $session_redis_user"; $TEST_NGINX_PASS }
    location /off { session_redis off; $TEST_NGINX_PASS }
--- request
GET /page
--- more_headers
Cookie: sid=alice-0123456789ab
--- response_body_like eval
qr/GET \/one (?:(?!GET).)*X-User-Id: 1001\n(?:(?!X-One).)*GET \/two .*X-Seen: found 1001.*GET \/off .*X-User-Id: 1001.*403 Forbidden/s
--- lookups: 1



=== TEST 15: nothing is looked up in subrequests that require nothing
--- user_files
>>> page
<!--# include virtual="/one" -->
--- config
    location = /page {
        root $TEST_NGINX_HTML_DIR;
        ssi on;
        ssi_types *;
        default_type text/plain;
    }
    location /one { $TEST_NGINX_SESSION session_redis_set_header X-User-Id @user; $TEST_NGINX_PASS }
--- request
GET /page
--- more_headers
Cookie: sid=alice-0123456789ab
--- response_body_like eval
qr/GET \/one (?!.*X-User)/s
--- lookups: 0



=== TEST 16: mirror: the copy bears the headers too
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-User-Id @user;
    location / { mirror /mirror; $TEST_NGINX_PASS }
    location = /mirror { internal; proxy_pass http://127.0.0.1:$TEST_NGINX_BACKEND_PORT/mirrored; }
--- request
GET /
--- more_headers
Cookie: sid=alice-0123456789ab
--- response_body_like: X-User-Id: 1001
--- lookups: 1



=== TEST 17: limit_except: required for what changes something
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        limit_except GET { session_redis_require @user; }
        $TEST_NGINX_PASS
    }
--- request eval
["GET /", "POST /", "POST /", "GET /", "DELETE /"]
--- more_headers eval
["", "", "Cookie: sid=alice-0123456789ab", "Cookie: sid=alice-0123456789ab", "Cookie: sid=guest-0123456789ab"]
--- error_code eval
[200, 401, 200, 200, 401]
--- response_body_like eval
['GET', '401', 'X-User-Id: 1001', 'X-User-Id: 1001', '401']



=== TEST 18: if: what is inherited holds in it
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        session_redis_require @user;
        if ($arg_x) { proxy_pass http://127.0.0.1:$TEST_NGINX_BACKEND_PORT; }
        $TEST_NGINX_PASS
    }
--- request eval
["GET /?x=1", "GET /?x=1", "GET /"]
--- more_headers eval
["", "Cookie: sid=alice-0123456789ab", ""]
--- error_code eval
[401, 200, 401]
--- response_body_like eval
['401', 'X-User-Id: 1001', '401']



=== TEST 19: return answers before anything is looked up
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        return 200 "[$session_redis_status]\n";
    }
--- request
GET /
--- more_headers
Cookie: sid=alice-0123456789ab
--- response_body
[pending]
--- lookups: 0



=== TEST 20: what nginx answers itself: a file, an index, a list of methods
--- user_files
>>> private/index.html
private
--- config
    location /private/ { $TEST_NGINX_SESSION session_redis_require @user; root $TEST_NGINX_HTML_DIR; }
--- request eval
["GET /private/", "GET /private/index.html", "GET /private/", "HEAD /private/", "GET /private/none"]
--- more_headers eval
["", "", ("Cookie: sid=alice-0123456789ab") x 3]
--- error_code eval
[401, 401, 200, 200, 404]
--- lookups eval
[0, 0, 1, 1, 1]



=== TEST 21: X-Accel-Redirect: one lookup, for both locations
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-User-Id @user;
    location /from { proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1; }
    location /to   { internal; session_redis_require @user; session_redis_set_header X-To @user; $TEST_NGINX_PASS }
--- tcp_listen: $TEST_NGINX_RAND_PORT_1
--- tcp_reply eval
"HTTP/1.0 200 OK\r\nX-Accel-Redirect: /to\r\n\r\n"
--- request
GET /from
--- more_headers
Cookie: sid=alice-0123456789ab
--- response_body_like eval
qr/GET \/to (?!.*X-User).*X-To: 1001/s
--- lookups: 1
--- no_error_log
[alert]



=== TEST 22: a backend that fails, and the one behind it
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-User-Id @user;
    error_page 502 = @fallback;
    location / { proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1; }
    location @fallback { $TEST_NGINX_PASS }
--- request
GET /
--- more_headers
X-User-Id: evil
Cookie: sid=alice-0123456789ab
--- response_body_like: X-User-Id: 1001
--- lookups: 1
--- error_log
connect() failed



=== TEST 23: HTTP/1.0, and HTTP/0.9
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-User-Id @user;
    location / { $TEST_NGINX_PASS }
    location /must { session_redis_require @user; $TEST_NGINX_PASS }
--- request eval
["GET / HTTP/1.0", "GET /must HTTP/1.0"]
--- more_headers eval
["Cookie: sid=alice-0123456789ab", ""]
--- error_code eval
[200, 401]
--- response_body_like eval
['X-User-Id: 1001', '401']



=== TEST 24: HTTP/0.9
--- config
    $TEST_NGINX_SESSION
    location / { session_redis_require @user; $TEST_NGINX_PASS }
--- raw_request eval
"GET /\r\n"
--- http09
--- response_body_like: 401



=== TEST 25: pipelined requests of several users are answered in order, each with its own session
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-User-Id @user;
    location / { $TEST_NGINX_PASS }
    location /must { session_redis_require @user; $TEST_NGINX_PASS }
--- pipelined_requests eval
["GET /1", "GET /must", "GET /2", "POST /3\nbody", "GET /must"]
--- more_headers eval
["Cookie: sid=alice-0123456789ab", "", "Cookie: sid=bobby-0123456789ab", "Cookie: sid=alice-0123456789ab", "Cookie: sid=bobby-0123456789ab"]
--- error_code eval
[200, 401, 200, 200, 200]
--- response_body_like eval
['GET /1 .*X-User-Id: 1001', '401', 'GET /2 .*X-User-Id: 1002', 'POST /3 .*X-User-Id: 1001', 'GET /must .*X-User-Id: 1002']



=== TEST 26: an early lookup, refused by what comes after it
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_early on;
        session_redis_require /admin error=403;
        session_redis_set_header X-User-Id @user;
        $TEST_NGINX_PASS
    }
--- request eval
["GET /", "GET /", "GET /"]
--- more_headers eval
["Cookie: sid=alice-0123456789ab", "Cookie: sid=admin-0123456789ab", ""]
--- error_code eval
[403, 200, 403]
--- response_body_like eval
['403', 'X-User-Id: 1', '403']
--- lookups eval
[1, 1, 0]
