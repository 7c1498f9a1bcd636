# The driver itself, on a plain nginx: each kind of section that our tests use,
# in the form in which they use it. Holds under OpenResty's driver as well.
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib"; delete $ENV{TEST_NGINX_LOAD_MODULES} }
use Test::Nginx::Socket 'no_plan';

$ENV{TEST_NGINX_HTML_DIR} //= html_dir();
$ENV{TEST_NGINX_GREETING} = 'hello';
$ENV{HARNESS_SEEN_BY_WORKERS} = 'yes';
env_to_nginx('HARNESS_SEEN_BY_WORKERS');

our @seen;
add_block_preprocessor(sub {
    my $block = shift;
    $block->set_value('config', 'location = /made { return 200 "made"; }') if defined $block->made_by_preprocessor;
});
add_response_body_check(sub {
    my ($block, $body) = @_;
    push @seen, $body;
});

run_tests();
like(join(' ', @seen), qr/It works!/, 'response body checks were called');

__DATA__

=== TEST 1: the default location serves html/index.html
--- config
--- request
GET /
--- response_body_like: It works!



=== TEST 2: variables of the environment are replaced in config and response_body
--- config
    location = /env { return 200 "$TEST_NGINX_GREETING $TEST_NGINX_SERVER_PORT\n"; }
--- request
GET /env
--- response_body
hello $TEST_NGINX_SERVER_PORT



=== TEST 3: http_config, main_config, another port
--- main_config
worker_shutdown_timeout 1s;
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        location / { return 200 "other:$server_port\n"; }
    }
--- config
    location = /other { proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1; }
--- request
GET /other
--- response_body
other:$TEST_NGINX_RAND_PORT_1



=== TEST 4: a body gets a Content-Length, more_headers are added, # lines are none
--- config
    location = /echo {
        return 200 "$request_method $content_length $content_type $http_x_a|$http_host|$http_connection\n";
    }
--- request
POST /echo
a=1&b=2
--- more_headers
Content-Type: text/x-form
# X-A: 0
X-A: one
--- response_body
POST 7 text/x-form one|localhost|close



=== TEST 5: a body is what the backend gets
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        location / { return 200 "$http_x_body\n"; }
    }
--- config
    location = /body {
        client_body_in_single_buffer on;
        proxy_set_header X-Body $request_body;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    }
--- request
POST /body
the body
--- response_body
the body



=== TEST 6: a list of requests, each with its own headers, status and body
--- config
    location = /a { return 200 "a$http_x_n\n"; }
    location = /b { return 404 "b$http_x_n\n"; }
--- request eval
["GET /a", "GET /b"]
--- more_headers eval
["X-N: 1", "X-N: 2"]
--- error_code eval
[200, 404]
--- response_body eval
["a1\n", "b2\n"]



=== TEST 7: a request in packets with pauses
--- config
    location = /slow { return 200 "$request_time $http_x_a\n"; }
--- request eval
[["GET /sl", { value => "ow\n", delay_before => 0.15 }]]
--- more_headers
X-A: kept
--- response_body_like eval
qr/^(?!0\.0)[\d.]+ kept$/



=== TEST 8: pipelined requests over one connection
--- config
    location = /a { return 200 "a:$connection_requests\n"; }
    location = /b { return 403 "b:$connection_requests\n"; }
--- pipelined_requests eval
["GET /a", "POST /b\nbody", "GET /a"]
--- error_code eval
[200, 403, 200]
--- response_body eval
["a:1\n", "b:2\n", "a:3\n"]



=== TEST 9: raw_request goes out as it is, also in pieces
--- config
    location = /raw { return 200 "[$http_x_a]\n"; }
--- raw_request eval
["GET /raw HTTP/1.0\r\nX-A", ":   spaced \r\n\r\n"]
--- response_body
[spaced]



=== TEST 10: HTTP/1.0
--- config
    location = /v { return 200 "$server_protocol\n"; }
--- request
GET /v HTTP/1.0
--- response_body
HTTP/1.0



=== TEST 11: HEAD has no body
--- config
    location = /head { return 200 "12345"; }
--- request
HEAD /head
--- response_headers
Content-Length: 5
--- response_body



=== TEST 12: response_headers: equal, absent, several of one name
--- config
    location = /h {
        add_header X-One a;
        add_header X-Two b;
        add_header X-Two c;
        return 204;
    }
--- request
GET /h
--- error_code: 204
--- response_headers
X-One: a
X-Two: b, c
! X-Three



=== TEST 13: response_headers_like, raw headers like and unlike
--- config
    location = /h { add_header X-Time "in $msec s"; return 200 ok; }
--- request
GET /h
--- response_headers_like
X-Time: in \d+\.\d+ s
--- raw_response_headers_like: X-Time: in \d+
--- raw_response_headers_unlike: X-Other
--- response_body: ok



=== TEST 14: response_body_unlike and error_code_like
--- config
    location = /x { return 418 "a teapot"; }
--- request
GET /x
--- error_code_like: ^41\d$
--- response_body_unlike: coffee



=== TEST 15: a chunked response is put together
--- user_files
>>> ssi
one <!--#echo var="arg_a" --> two
--- config
    location = /ssi { root $TEST_NGINX_HTML_DIR; ssi on; ssi_types *; }
--- request
GET /ssi?a=and
--- response_headers
Transfer-Encoding: chunked
--- response_body
one and two



=== TEST 16: user_files, with variables, in directories
--- config
    location /d/ { root $TEST_NGINX_HTML_DIR; }
--- user_files
>>> d/one.txt
$TEST_NGINX_GREETING one
>>> d/two.txt 201201020304.05
two
--- request eval
["GET /d/one.txt", "GET /d/two.txt"]
--- response_body eval
["hello one\n", "two\n"]



=== TEST 17: error_log lines, no_error_log lines
--- config
    location = /log { return 200 logged; }
--- request
GET /log
--- response_body: logged
--- error_log
http process request line
http uri: "/log"
--- no_error_log
[alert]
segmentation



=== TEST 18: error_log as a regex, and a list
--- config
    location = /log { return 200 logged; }
--- request
GET /log?x
--- response_body: logged
--- error_log eval
[qr/http args: "x+"/, 'http uri: "/log"']
--- no_error_log eval
qr/\[(?:error|alert)\]/



=== TEST 19: only the block's own lines are looked at
--- config
    location = /log { return 200 logged; }
--- request
GET /log
--- response_body: logged
--- no_error_log
http args: "x"



=== TEST 20: grep_error_log takes out what matches
--- config
    location /g { return 200 g; }
--- request
GET /g12?zz
--- grep_error_log eval
qr/http (?:uri|args): "[^"]+"/
--- grep_error_log_out
http uri: "/g12"
http args: "zz"
--- response_body: g



=== TEST 21: access_log
--- config
    location /a { return 200 a; }
--- request
GET /a?logged
--- response_body: a
--- access_log eval
qr{"GET /a\?logged HTTP/1\.1" 200}
--- no_access_log
"POST



=== TEST 22: log_level of a block
--- config
    location = /a { return 200 a; }
--- log_level: info
--- request
GET /a
--- response_body: a
--- no_error_log
[debug]



=== TEST 23: must_die, with the reason in the log
--- config
    no_such_directive on;
--- must_die
--- suppress_stderr
--- error_log eval
qr/\[emerg\] .*unknown directive "no_such_directive" in \S+nginx\.conf:\d+/
--- no_error_log
[alert]



=== TEST 24: must_die with the exit code
--- config
    location /x { proxy_pass nonsense; }
--- must_die: 1
--- suppress_stderr
--- error_log
[emerg]
invalid URL prefix



=== TEST 25: a connection closed without an answer
--- config
    location = /none { return 444; }
--- request
GET /none
--- error_code:



=== TEST 26: ignore_response looks at the log only
--- config
    location = /none { return 444; }
--- request
GET /none
--- ignore_response
--- error_log
http finalize request: 444



=== TEST 27: abort: the client leaves after timeout
--- http_config
    server { listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1; return 444; }
--- config
    location = /wait { limit_rate 1; limit_rate_after 0; return 200 "1234567890"; }
--- request
GET /wait
--- timeout: 100ms
--- abort
--- ignore_response
--- wait: 0.1
--- error_log
http uri: "/wait"



=== TEST 28: init runs before the requests, in the test's process
--- config
    location = /init { root $TEST_NGINX_HTML_DIR; }
--- init
open my $out, '>', main::html_dir() . '/init' or die $!;
print $out "by init\n";
close $out;
--- request
GET /init
--- response_body
by init



=== TEST 29: a server of the block's own
--- config
    location = /up { proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1; proxy_http_version 1.0; }
--- tcp_listen: $TEST_NGINX_RAND_PORT_1
--- tcp_reply eval
"HTTP/1.0 200 OK\r\nX-From: tcp\r\n\r\nfrom tcp\n"
--- tcp_query eval
qr{GET /up HTTP/1\.0}
--- request
GET /up
--- response_headers
X-From: tcp
--- response_body
from tcp



=== TEST 30: one that takes its time, on a Unix socket
--- config
    location = /up { proxy_pass http://unix:$TEST_NGINX_HTML_DIR/up.sock; proxy_read_timeout 50ms; }
--- tcp_listen: $TEST_NGINX_HTML_DIR/up.sock
--- tcp_reply_delay: 300ms
--- tcp_reply eval
"HTTP/1.0 200 OK\r\n\r\nlate"
--- request
GET /up
--- error_code: 504
--- error_log
upstream timed out



=== TEST 31: skip_nginx: this one must not start
--- skip_nginx: 2: > 0.1.0
--- config
    no_such_directive on;
--- request
GET /



=== TEST 32: skip_nginx with a condition that does not hold
--- skip_nginx: 2: < 0.1.0: never
--- config
--- request
GET /
--- response_body_like: works



=== TEST 33: skip_eval
--- skip_eval: 1: 1 + 1 == 2
--- config
    no_such_directive on;
--- request
GET /



=== TEST 34: SKIP
--- config
    no_such_directive on;
--- request
GET /
--- SKIP



=== TEST 35: body filters, and JSON in any order
--- config
    location = /f { return 200 "AbC"; }
--- request
GET /f
--- response_body_filters
lc length
--- response_body: 3



=== TEST 36: sorted JSON
--- config
    location = /j { return 200 '{"b":1,"a":[2]}'; }
--- request
GET /j
--- response_body_json_sort
--- response_body
{"a":[2],"b":1}



=== TEST 37: a chunked request is sent as given
--- config
    location = /c { proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/len; }
    location = /len { return 200 "$http_content_length\n"; }
--- request eval
"POST /c\n3\r\nabc\r\n0\r\n\r\n"
--- more_headers
Transfer-Encoding: chunked
--- response_body
3



=== TEST 38: HTTP/0.9
--- config
    location = /nine { return 200 "nine\n"; }
--- raw_request eval
"GET /nine\r\n"
--- http09
--- response_body
nine



=== TEST 39: post_main_config, server_name
--- config
    location = /n { return 200 "$server_name\n"; }
--- server_name: example.test
--- post_main_config
worker_rlimit_nofile 512;
--- request
GET /n
--- response_body
example.test



=== TEST 40: a block made by a preprocessor
--- made_by_preprocessor
--- request
GET /made
--- response_body: made



=== TEST 41: a worker's shutdown is heard
--- config
--- request
GET /
--- response_body_like: works
--- shutdown_error_log
exit
--- no_shutdown_error_log
[alert]



=== TEST 42: shutdown: the client closes its sending side
--- config
    location = /s { return 200 "s\n"; }
--- request
GET /s
--- shutdown
--- error_code_like: ^(?:200|)$
