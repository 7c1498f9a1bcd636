# What a backend gets: each kind of value, each encoding, each way to pass it on.
use v5.26;
use warnings;
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use Test::Nginx::Socket 'no_plan';
use SessionRedis;
use SessionRedis::Stage qw(stage);

our $grpc  = $ENV{TEST_NGINX_GRPC_LISTEN} = h2_listen(our $grpc_port = $ENV{TEST_NGINX_GRPC_PORT} = free_port());
our $stage = stage(alice => <<'END', list => '["a","b"]', long => '{"v":"' . 'x' x 9000 . '"}', empty => '{}', text => '"just text"');
{"id":1001,"name":"Zo\u00eb","utf8":"Zoë €","text":"a b/c","empty":"","null":null,"true":true,"false":false,"zero":0,
"float":1.5,"big":18446744073709551616,"roles":["admin","editor"],"mixed":["a",1,true,null,"é"],"none":[],
"object":{"b":1,"a":"é"},"nested":[["a"],["b"]],"groups":[{"name":"x","id":7},{"id":8},{"name":"z","id":9}],
"crlf":"a\r\nX-Evil: 1","lf":"a\nb","nul":"a\u0000b","tab":"a\tb","del":"a\u007fb","c1":"a\u0085b","commas":["a,b","c"],
"a/b":"slash","m~n":"tilde","":"no name","0":"zero","$id":"dollar","quote":"\"\\"}
END
no_root_location();
quiet_logs();
$stage->check_lookups;

# Each value stands in the header X-V, once, or nowhere.
add_response_body_check(sub {
    my ($block, $body, $index) = @_;
    my $expected = $block->values // return;
    my @got = $body =~ /^X-V: ?(.*)$/mg;
    my $want = $expected->[$index];
    is_deeply(\@got, [defined $want ? $want : ()], $block->name . " - value $index");
});

run_tests();

__DATA__

=== TEST 1: each kind of value, as it is
--- config
    $TEST_NGINX_SESSION
    location = /id     { session_redis_set_header X-V /id; $TEST_NGINX_PASS }
    location = /text   { session_redis_set_header X-V /text; $TEST_NGINX_PASS }
    location = /empty  { session_redis_set_header X-V /empty; $TEST_NGINX_PASS }
    location = /null   { session_redis_set_header X-V /null; $TEST_NGINX_PASS }
    location = /absent { session_redis_set_header X-V /absent/too; $TEST_NGINX_PASS }
    location = /true   { session_redis_set_header X-V /true; $TEST_NGINX_PASS }
    location = /false  { session_redis_set_header X-V /false; $TEST_NGINX_PASS }
    location = /zero   { session_redis_set_header X-V /zero; $TEST_NGINX_PASS }
    location = /float  { session_redis_set_header X-V /float; $TEST_NGINX_PASS }
    location = /roles  { session_redis_set_header X-V /roles; $TEST_NGINX_PASS }
    location = /mixed  { session_redis_set_header X-V /mixed; $TEST_NGINX_PASS }
    location = /none   { session_redis_set_header X-V /none; $TEST_NGINX_PASS }
    location = /object { session_redis_set_header X-V /object; $TEST_NGINX_PASS }
    location = /quote  { session_redis_set_header X-V /quote; $TEST_NGINX_PASS }
    location = /user   { session_redis_set_header X-V @user; $TEST_NGINX_PASS }
--- request eval
[map { "GET /$_" } qw(id text empty null absent true false zero float roles mixed none object quote user)]
--- more_headers eval
[("Cookie: sid=alice-0123456789ab") x 15]
--- values eval
[1001, 'a b/c', '', undef, undef, 'true', 'false', 0, 1.5, '["admin","editor"]', '["a",1,true,null,"\u00e9"]', '[]', '{"b":1,"a":"\u00e9"}', '"\\', 1001]



=== TEST 2: numbers keep their digits
--- config
    $TEST_NGINX_SESSION
    location / { session_redis_set_header X-V /big; $TEST_NGINX_PASS }
--- request
GET /
--- more_headers
Cookie: sid=alice-0123456789ab
--- response_body_like: (?m)^X-V: 18446744073709551616$



=== TEST 3: pointers: elements, escapes, odd names
--- config
    $TEST_NGINX_SESSION
    location = /1 { session_redis_set_header X-V /roles/1; $TEST_NGINX_PASS }
    location = /2 { session_redis_set_header X-V /roles/2; $TEST_NGINX_PASS }
    location = /3 { session_redis_set_header X-V /roles/-; $TEST_NGINX_PASS }
    location = /4 { session_redis_set_header X-V /roles/01; $TEST_NGINX_PASS }
    location = /5 { session_redis_set_header X-V /a~1b; $TEST_NGINX_PASS }
    location = /6 { session_redis_set_header X-V /m~0n; $TEST_NGINX_PASS }
    location = /7 { session_redis_set_header X-V /; $TEST_NGINX_PASS }
    location = /8 { session_redis_set_header X-V /0; $TEST_NGINX_PASS }
    location = /9 { session_redis_set_header X-V /object/a/x; $TEST_NGINX_PASS }
    location = /10 { session_redis_set_header X-V /groups/2/name; $TEST_NGINX_PASS }
--- request eval
[map { "GET /$_" } 1 .. 10]
--- more_headers eval
[("Cookie: sid=alice-0123456789ab") x 10]
--- values eval
['editor', undef, undef, undef, 'slash', 'tilde', 'no name', 'zero', undef, 'z']



=== TEST 4: a session that is a list, text or empty
--- config
    $TEST_NGINX_SESSION
    location = /1 { session_redis_set_header X-V /1; $TEST_NGINX_PASS }
    location = /2 { session_redis_set_header X-V /id; $TEST_NGINX_PASS }
--- request eval
["GET /1", "GET /2", "GET /2", "GET /2"]
--- more_headers eval
[map { "Cookie: sid=$_-0123456789ab" } qw(list list text empty)]
--- values eval
['b', undef, undef, undef]



=== TEST 5: each element
--- config
    $TEST_NGINX_SESSION
    location = /1 { session_redis_set_header X-V /groups/*/name join=,; $TEST_NGINX_PASS }
    location = /2 { session_redis_set_header X-V /groups/*/id "join= ; "; $TEST_NGINX_PASS }
    location = /3 { session_redis_set_header X-V /groups/*/name; $TEST_NGINX_PASS }
    location = /4 { session_redis_set_header X-V /roles/* join=|; $TEST_NGINX_PASS }
    location = /5 { session_redis_set_header X-V /object/* join=,; $TEST_NGINX_PASS }
    location = /6 { session_redis_set_header X-V /absent/* join=,; $TEST_NGINX_PASS }
    location = /7 { session_redis_set_header X-V /groups/*/none join=,; $TEST_NGINX_PASS }
    location = /8 { session_redis_set_header X-V /nested/*/0 join=,; $TEST_NGINX_PASS }
--- request eval
[map { "GET /$_" } 1 .. 8]
--- more_headers eval
[("Cookie: sid=alice-0123456789ab") x 8]
--- values eval
['x,z', '7 ; 8 ; 9', '["x","z"]', 'admin|editor', "1,\xc3\xa9", undef, '', 'a,b']



=== TEST 6: join=
--- config
    $TEST_NGINX_SESSION
    location = /1 { session_redis_set_header X-V /roles join=,; $TEST_NGINX_PASS }
    location = /2 { session_redis_set_header X-V /roles join=; $TEST_NGINX_PASS }
    location = /3 { session_redis_set_header X-V /none join=,; $TEST_NGINX_PASS }
    location = /4 { session_redis_set_header X-V /id join=,; $TEST_NGINX_PASS }
    location = /5 { session_redis_set_header X-V /nested join=,; $TEST_NGINX_PASS }
    location = /6 { session_redis_set_header X-V /object join=,; $TEST_NGINX_PASS }
    location = /7 { session_redis_set_header X-V /mixed join=, encode=uri; $TEST_NGINX_PASS }
    location = /8 { session_redis_set_header X-V /absent join=,; $TEST_NGINX_PASS }
--- request eval
[map { "GET /$_" } 1 .. 8]
--- more_headers eval
[("Cookie: sid=alice-0123456789ab") x 8]
--- values eval
['admin,editor', 'admineditor', '', '1001', '[["a"],["b"]]', '{"b":1,"a":"\u00e9"}', 'a%2C1%2Ctrue%2C%C3%A9', undef]



=== TEST 7: an element that holds the separator: no list that reads as another one
--- config
    $TEST_NGINX_SESSION
    location = /a { session_redis_set_header X-V /commas join=,; $TEST_NGINX_PASS }
    location = /b { session_redis_set_header X-V /commas join=|; $TEST_NGINX_PASS }
--- request eval
["GET /a", "GET /b"]
--- more_headers eval
[("Cookie: sid=alice-0123456789ab") x 2]
--- values eval
[undef, "a,b|c"]



=== TEST 8: encode=
--- config
    $TEST_NGINX_SESSION
    location = /1 { session_redis_set_header X-V /name encode=raw; $TEST_NGINX_PASS }
    location = /2 { session_redis_set_header X-V /name encode=uri; $TEST_NGINX_PASS }
    location = /3 { session_redis_set_header X-V /name encode=base64; $TEST_NGINX_PASS }
    location = /4 { session_redis_set_header X-V /name encode=json; $TEST_NGINX_PASS }
    location = /5 { session_redis_set_header X-V /text encode=uri; $TEST_NGINX_PASS }
    location = /6 { session_redis_set_header X-V /object encode=base64; $TEST_NGINX_PASS }
    location = /7 { session_redis_set_header X-V /id encode=json; $TEST_NGINX_PASS }
    location = /8 { session_redis_set_header X-V /null encode=json; $TEST_NGINX_PASS }
    location = /9 { session_redis_set_header X-V /empty encode=json; $TEST_NGINX_PASS }
    location = /10 { session_redis_set_header X-V /utf8 encode=json; $TEST_NGINX_PASS }
--- request eval
[map { "GET /$_" } 1 .. 10]
--- more_headers eval
[("Cookie: sid=alice-0123456789ab") x 10]
--- values eval
["Zo\xc3\xab", 'Zo%C3%AB', 'Wm/Dqw==', '"Zo\u00eb"', 'a%20b%2Fc', 'eyJiIjoxLCJhIjoiXHUwMGU5In0=', 1001, undef, '""', '"Zo\u00eb \u20ac"']



=== TEST 9: control bytes are never sent: the header is absent, and the log says so
--- config
    $TEST_NGINX_SESSION
    location = /1 { session_redis_set_header X-V /crlf; $TEST_NGINX_PASS }
    location = /2 { session_redis_set_header X-V /lf; $TEST_NGINX_PASS }
    location = /3 { session_redis_set_header X-V /nul; $TEST_NGINX_PASS }
    location = /4 { session_redis_set_header X-V /tab; $TEST_NGINX_PASS }
    location = /5 { session_redis_set_header X-V /del; $TEST_NGINX_PASS }
--- request eval
[map { "GET /$_" } 1 .. 5]
--- more_headers eval
[("Cookie: sid=alice-0123456789ab") x 5]
--- response_body_like eval
[(qr/\AGET (?!.*evil)/si) x 5]
--- values eval
[(undef) x 5]
--- error_log eval
qr/\[warn\] .*X-V/
--- no_error_log
Evil
[alert]



=== TEST 10: encoded, they are
--- config
    $TEST_NGINX_SESSION
    location = /1 { session_redis_set_header X-V /crlf encode=uri; $TEST_NGINX_PASS }
    location = /2 { session_redis_set_header X-V /crlf encode=json; $TEST_NGINX_PASS }
    location = /3 { session_redis_set_header X-V /nul encode=base64; $TEST_NGINX_PASS }
    location = /4 { session_redis_set_header X-V /nul encode=uri; $TEST_NGINX_PASS }
--- request eval
[map { "GET /$_" } 1 .. 4]
--- more_headers eval
[("Cookie: sid=alice-0123456789ab") x 4]
--- values eval
['a%0D%0AX-Evil%3A%201', '"a\r\nX-Evil: 1"', 'YQBi', 'a%00b']



=== TEST 11: templates and literals
--- config
    $TEST_NGINX_SESSION
    location = /1 { session_redis_set_header X-V "user $session_redis_user of $host"; $TEST_NGINX_PASS }
    location = /2 { session_redis_set_header X-V text:/id; $TEST_NGINX_PASS }
    location = /3 { session_redis_set_header X-V text:@user; $TEST_NGINX_PASS }
    location = /4 { session_redis_set_header X-V "$arg_x"; $TEST_NGINX_PASS }
    location = /5 { session_redis_set_header X-V "$arg_none"; $TEST_NGINX_PASS }
    location = /6 { session_redis_set_header X-V "$session_redis_status"; $TEST_NGINX_PASS }
--- request eval
[map { "GET /$_?x=a%20b" } 1 .. 6]
--- more_headers eval
[("Cookie: sid=alice-0123456789ab") x 6]
--- values eval
['user 1001 of localhost', '/id', '@user', 'a%20b', undef, 'found']



=== TEST 12: nothing is set without a session, literals neither
--- config
    $TEST_NGINX_SESSION
    location = /1 { session_redis_set_header X-V text:/id; $TEST_NGINX_PASS }
    location = /2 { session_redis_set_header X-V "user $session_redis_user"; $TEST_NGINX_PASS }
--- request eval
["GET /1", "GET /2", "GET /1", "GET /2"]
--- more_headers eval
[('') x 2, ("Cookie: sid=nobody-0123456789ab") x 2]
--- values eval
[(undef) x 4]



=== TEST 13: a list of headers replaces that of the level above
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-V /id;
    session_redis_set_header X-W /text;
    location = /1 { $TEST_NGINX_PASS }
    location = /2 { session_redis_set_header X-W /text; $TEST_NGINX_PASS }
--- request eval
["GET /1", "GET /2"]
--- more_headers eval
[("Cookie: sid=alice-0123456789ab") x 2]
--- response_body_like eval
[(qr/^X-W: a b\/c$/m) x 2]
--- values eval
[1001, undef]
--- lookups eval
[1, 1]



=== TEST 14: many headers, one lookup
--- config eval
"location / { $ENV{TEST_NGINX_SESSION} $ENV{TEST_NGINX_PASS} " . (CORE::join '', map { "session_redis_set_header X-H-$_ /id;" } 1 .. 50) . '}'
--- request
GET /
--- more_headers
Cookie: sid=alice-0123456789ab
--- response_body_like eval
CORE::join '\n', map { "X-H-$_: 1001" } 1 .. 50
--- lookups: 1



=== TEST 15: a value of 9000 bytes
--- config
    location / { $TEST_NGINX_SESSION session_redis_set_header X-V /v; $TEST_NGINX_PASS }
--- request
GET /
--- more_headers
Cookie: sid=long-0123456789ab
--- response_body_like: (?m)^X-V: x{9000}$



=== TEST 16: fastcgi, scgi, uwsgi
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-User-Id @user;
    session_redis_set_header X-Name /name;
    location /fastcgi { fastcgi_pass 127.0.0.1:$TEST_NGINX_FASTCGI_PORT; }
    location /scgi    { scgi_pass    127.0.0.1:$TEST_NGINX_SCGI_PORT; }
    location /uwsgi   { uwsgi_pass   127.0.0.1:$TEST_NGINX_UWSGI_PORT; }
--- request eval
["GET /fastcgi", "GET /scgi", "GET /uwsgi"]
--- more_headers eval
[("Cookie: sid=alice-0123456789ab") x 3]
--- response_body_like eval
[(qr/^HTTP_X_USER_ID=1001\nHTTP_X_NAME=Zo\xc3\xab$/m) x 3]



=== TEST 17: grpc
--- http_config
    server {
        $TEST_NGINX_GRPC_LISTEN
        session_redis_trust_headers from 127.0.0.1;
        location / { return 200 "$server_protocol $http_x_user_id $http_x_name\n"; }
    }
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        session_redis_set_header X-Name /name encode=uri;
        grpc_pass grpc://127.0.0.1:$TEST_NGINX_GRPC_PORT;
    }
--- request
GET /
--- more_headers
X-User-Id: 1
Cookie: sid=alice-0123456789ab
--- response_body
HTTP/2.0 1001 Zo%C3%AB



=== TEST 18: nginx's own proxy_set_header of that name wins
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_set_header X-V @user;
        proxy_set_header X-V own;
        $TEST_NGINX_PASS
    }
--- request
GET /
--- more_headers
Cookie: sid=alice-0123456789ab
--- values eval
['own']



=== TEST 19: a pointer to the user set elsewhere
--- config
    $TEST_NGINX_SESSION
    location /a { session_redis_user /groups/0/id; session_redis_set_header X-V @user; $TEST_NGINX_PASS }
    location /b { session_redis_set_header X-V "<$session_redis_user>"; session_redis_user /object; $TEST_NGINX_PASS }
--- request eval
["GET /a", "GET /b"]
--- more_headers eval
[("Cookie: sid=alice-0123456789ab") x 2]
--- values eval
[7, '<{"b":1,"a":"\u00e9"}>']



=== TEST 20: session_redis_hide_cookie takes the session's cookie, and only it
--- config
    $TEST_NGINX_SESSION
    session_redis_hide_cookie on;
    session_redis_set_header X-V @user;
    location / { $TEST_NGINX_PASS }
    location /off { session_redis_hide_cookie off; $TEST_NGINX_PASS }
    location /var { proxy_set_header X-Seen "[$http_cookie][$cookie_sid][$cookie_b]"; $TEST_NGINX_PASS }
--- request eval
["GET /", "GET /", "GET /off", "GET /var", "GET /", "GET /"]
--- more_headers eval
["Cookie: a=1; sid=alice-0123456789ab; b=2", "Cookie: sid=alice-0123456789ab", "Cookie: a=1; sid=alice-0123456789ab", "Cookie: sid=alice-0123456789ab; b=2",
 "Cookie: a=1\nCookie: sid=alice-0123456789ab\nCookie: b=2", "Cookie: xsid=1; sid2=2; SID=3; sid=short"]
--- response_body_like eval
[qr/^Cookie: a=1; b=2$/m, qr/\A(?!.*cookie)/si, qr/^Cookie: a=1; sid=alice-0123456789ab$/m, qr/^X-Seen: \[b=2\]\[\]\[2\]$/m,
 qr/^Cookie: a=1\nCookie: b=2$|^Cookie: a=1; b=2$/m, qr/^Cookie: xsid=1; sid2=2; SID=3$/m]



=== TEST 21: no lookup where nothing needs the session
--- config
    $TEST_NGINX_SESSION
    location / { $TEST_NGINX_PASS }
    location /cookie { session_redis_hide_cookie on; $TEST_NGINX_PASS }
    location /header { session_redis_set_header X-V @user; $TEST_NGINX_PASS }
--- request eval
["GET /", "GET /header", "GET /header", "GET /cookie"]
--- more_headers eval
["Cookie: sid=alice-0123456789ab", "", "Cookie: sid=alice-0123456789ab", "Cookie: sid=alice-0123456789ab"]
--- response_body_like eval
["Cookie: sid", "GET /header", "X-V: 1001", qr{\A(?!.*Cookie)}s]
--- lookups eval
[0, 0, 1, 0]



=== TEST 22: a hidden cookie is there again where the request goes on
--- config
    $TEST_NGINX_SESSION
    session_redis_hide_cookie on;
    session_redis_set_header X-V @user;
    session_redis_require @user;
    location /missing { try_files /none @app; }
    location /broken  { error_page 502 504 = @app; proxy_pass http://127.0.0.1:1; }
    location /several { error_page 502 504 = /missing; proxy_pass http://127.0.0.1:1; }
    location = / { index page.html; }
    location = /page.html { $TEST_NGINX_PASS }
    location /shown   { error_page 502 504 = @shown; proxy_pass http://127.0.0.1:1; }
    location @app     { $TEST_NGINX_PASS }
    location @shown   { session_redis_hide_cookie off; $TEST_NGINX_PASS }
--- user_files
>>> page.html
page
--- request eval
["GET /missing", "GET /broken", "GET /several", "GET /", "GET /shown"]
--- more_headers eval
["Cookie: sid=alice-0123456789ab", "Cookie: a=1\nCookie: sid=alice-0123456789ab\nCookie: b=2", ("Cookie: sid=alice-0123456789ab; b=2") x 2,
 "Cookie: a=1\nCookie: sid=alice-0123456789ab\nCookie: b=2"]
--- values eval
[(1001) x 5]
--- response_body_like eval
[qr/\A(?!.*cookie)/si, qr/\A(?!.*sid=)(?=.*a=1).*b=2/s, qr/^Cookie: b=2$/m, qr/^Cookie: b=2$/m, qr/^Cookie: a=1(?:; |\nCookie: )sid=alice-0123456789ab(?:; |\nCookie: )b=2$/m]



=== TEST 23: what a trusted front sends stays when the request goes on, but for what was set here
--- config
    $TEST_NGINX_SESSION
    session_redis_trust_headers from 127.0.0.1;
    location / { session_redis_set_header X-V @user; error_page 502 504 = @app; proxy_pass http://127.0.0.1:1; }
    location @app { session_redis off; $TEST_NGINX_PASS }
    location /other { session_redis_set_header X-Other @user; $TEST_NGINX_PASS }
--- request
GET /
--- more_headers
Cookie: sid=alice-0123456789ab
X-Other: 7
--- values eval
[undef]
--- response_body_like eval
qr/^X-Other: 7$/m
