# Where a session's requests go: by a value of the session, or by the end of its id.
use v5.26;
use warnings;
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use Test::Nginx::Socket 'no_plan';
use SessionRedis;
use SessionRedis::Stage qw(stage);

our $stage = stage(map({ ("user$_" => qq({"id":$_,"node":"n$_"})) } 1 .. 20), nodeless => '{"id":5}', alice => '{"id":1001,"node":"one"}');
our ($first, $second) = map { $ENV{"TEST_NGINX_NODE_$_"} = free_port() } 1, 2;
$ENV{TEST_NGINX_NODES} = CORE::join '', map { "server { listen 127.0.0.1:$_; location / { return 200 \"$_\\n\"; } }\n" } $first, $second;
no_root_location();
quiet_logs();
$stage->check_lookups;

# The requests named "same" must have had the same answer, and all of them together more than one.
our @bodies;
add_block_preprocessor(sub { @bodies = () });
add_response_body_check(sub {
    my ($block, $body, $index) = @_;
    push @bodies, $body;
    my $same = $block->same // return;
    is($body, $bodies[$index - 20], $block->name . " - request $index goes where it went before") if $index >= 20;
    my %seen = map { $_ => 1 } @bodies;
    cmp_ok(scalar keys %seen, '>', 1, $block->name . ' - not all go to one') if $index == 39;
});

run_tests();

__DATA__

=== TEST 1: a value of the session, as a header and for map
--- http_config
    map $session_redis_route $node { one first; default other; "" none; }
--- config
    $TEST_NGINX_SESSION
    session_redis_route /node;
    proxy_set_header X-Route "<$session_redis_route> $node";
    location / { $TEST_NGINX_PASS }
--- request eval
[("GET /") x 5]
--- more_headers eval
[(map { "Cookie: sid=$_-0123456789ab" } qw(alice user1 nodeless)), '', 'Cookie: sid=missing-0123456789ab']
--- response_body_like eval
['<one> first', '<n1> other', '<> none', '<> none', '<> none']
--- lookups eval
[1, 1, 1, 0, 1]



=== TEST 2: the user, and a string
--- config
    $TEST_NGINX_SESSION
    proxy_set_header X-Route "<$session_redis_route>";
    location /user   { session_redis_route @user; $TEST_NGINX_PASS }
    location /string { session_redis_route "$session_redis_user:$arg_x"; $TEST_NGINX_PASS }
--- request eval
["GET /user", "GET /string?x=1"]
--- more_headers eval
[("Cookie: sid=alice-0123456789ab") x 2]
--- response_body_like eval
['<1001>', '<1001:1>']



=== TEST 3: hash … consistent: a session's requests go to one server
--- http_config
    upstream nodes {
        hash $session_redis_route consistent;
        server 127.0.0.1:$TEST_NGINX_NODE_1;
        server 127.0.0.1:$TEST_NGINX_NODE_2;
    }
    $TEST_NGINX_NODES
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_route /node;
        proxy_pass http://nodes;
    }
--- request eval
[("GET /") x 40]
--- more_headers eval
[map { 'Cookie: sid=user' . ($_ % 20 + 1) . '-0123456789ab' } 0 .. 39]
--- response_body_like eval
[('\A\d+\n\z') x 40]
--- same



=== TEST 4: jvmroute: the end of the id, without a lookup
--- config
    session_redis_route jvmroute;
    session_redis_id cookie:JSESSIONID path:jsessionid;
    proxy_set_header X-Route "<$session_redis_route>";
    location / { $TEST_NGINX_PASS }
--- request eval
["GET /", "GET /", "GET /x;jsessionid=0A1B2C3D4E5F60718293A4B5C6D7E8F9.app2?a=b", "GET /", "GET /", "GET /", "GET /"]
--- more_headers eval
my $id = '0A1B2C3D4E5F60718293A4B5C6D7E8F9';
["Cookie: JSESSIONID=$id.app1", "Cookie: JSESSIONID=$id-n1.app1", '', "Cookie: JSESSIONID=$id", "Cookie: JSESSIONID=$id.", 'Cookie: JSESSIONID=x.app1', "Cookie: JSESSIONID=$id.app*1"]
--- response_body_like eval
['<app1>', '<app1>', '<app2>', '<>', '<>', '<>', '<>']
--- lookups eval
[(0) x 7]



=== TEST 5: jvmroute beside a store: looked up only where something else needs the session
--- config
    $TEST_NGINX_SESSION
    session_redis_route jvmroute;
    proxy_set_header X-Route "<$session_redis_route>";
    location / { $TEST_NGINX_PASS }
    location /user { session_redis_set_header X-User-Id @user; $TEST_NGINX_PASS }
--- request eval
["GET /", "GET /user"]
--- more_headers eval
[("Cookie: sid=alice-0123456789ab.app1") x 2]
--- response_body_like eval
[('<app1>') x 2]
--- lookups eval
[0, 1]



=== TEST 6: jvmroute through a map to servers by name
--- http_config
    map $session_redis_route $to { app1 127.0.0.1:$TEST_NGINX_NODE_1; app2 127.0.0.1:$TEST_NGINX_NODE_2; default 127.0.0.1:$TEST_NGINX_NODE_1; }
    $TEST_NGINX_NODES
--- config
    location / {
        session_redis_route jvmroute;
        session_redis_cookie JSESSIONID;
        proxy_pass http://$to;
    }
--- request eval
["GET /", "GET /"]
--- more_headers eval
[map { "Cookie: JSESSIONID=0A1B2C3D4E5F60718293A4B5C6D7E8F9.$_" } qw(app1 app2)]
--- response_body eval
["$::first\n", "$::second\n"]



=== TEST 7: a route with bytes that no server's name has
--- config
    $TEST_NGINX_SESSION
    session_redis_route /node;
    proxy_set_header X-Route "<$session_redis_route>";
    location / { $TEST_NGINX_PASS }
--- init
$main::stage->put(newline => '{"node":"a\r\nX-Evil: 1"}');
--- request
GET /
--- more_headers
Cookie: sid=newline-0123456789ab
--- response_body_like: \A(?!.*^X-Evil)



=== TEST 8: nginx's own sticky route
--- skip_nginx: 3: < 1.29.6
--- http_config
    upstream nodes {
        server 127.0.0.1:$TEST_NGINX_NODE_1 route=one;
        server 127.0.0.1:$TEST_NGINX_NODE_2 route=two;
        sticky route $session_redis_route;
    }
    $TEST_NGINX_NODES
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_route /node;
        proxy_pass http://nodes;
    }
--- request eval
["GET /", "GET /"]
--- more_headers eval
[("Cookie: sid=alice-0123456789ab") x 2]
--- response_body eval
["$::first\n", "$::first\n"]



=== TEST 9: off beside jvmroute is off: nothing is required or set
--- config
    $TEST_NGINX_SESSION
    session_redis_route jvmroute;
    session_redis_require /id;
    session_redis_set_header X-User-Id @user;
    session_redis_set $id /id nobody;
    session_redis_touch 10m;
    proxy_set_header X-Route "<$session_redis_route> <$id>";
    location / { $TEST_NGINX_PASS }
    location /static { session_redis off; $TEST_NGINX_PASS }
--- request eval
["GET /static", "GET /static", "GET /", "GET /"]
--- more_headers eval
['', 'Cookie: sid=alice-0123456789ab.app1', '', 'Cookie: sid=alice-0123456789ab']
--- error_code eval
[200, 200, 401, 200]
--- response_body_like eval
['<> <>', '(?s)\A(?!.*X-User-Id).*<app1> <>', '401', '<> <1001>']
--- lookups eval
[0, 0, 0, 1]
