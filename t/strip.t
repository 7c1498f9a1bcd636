# A client's own copies of the headers that we inject never reach a backend,
# whatever becomes of the request.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use Test::Nginx::Socket 'no_plan';
use SessionRedis;
use SessionRedis::Stage qw(cookie id_of stage);

our $stage = stage(alice => '{"id":1001,"token":"abc"}', broken => '{"id":');
$ENV{TEST_NGINX_HTML_DIR} //= html_dir();
no_root_location();
quiet_logs();

# Each spoofed value in this file says so.
add_response_body_check(sub {
    my ($block, $body) = @_;
    unlike($body, qr/evil/i, $block->name . ' - nothing spoofed in the answer');
    my @copies = $body =~ /^(?:HTTP_)?x.user.id[:=]/mig;
    cmp_ok(@copies, '<=', 1, $block->name . ' - one at most');
});

run_tests();
unlike($stage->backend->seen, qr/evil/i, 'nothing spoofed reached the backend, in subrequests neither');
like($stage->backend->seen, qr/^(?:GET|POST) $_ /m, "which was asked for $_") for qw(/auth /mirrored /included /494 /400);
list_parts();
http2_headers();
done_testing() if !Test::More->builder->has_plan;

# nginx keeps headers in parts of 20: removing and adding at each border leaves all others as they were.
sub list_parts () {
    my $nginx = start_nginx(
        http   => 'client_header_buffer_size 64k; large_client_header_buffers 8 64k;',
        server => "location / { $ENV{TEST_NGINX_SESSION} session_redis_set_header X-User-Id \@user; $ENV{TEST_NGINX_PASS} }",
    );
    my %spoofed = (
        none      => sub ($i, $n) { 0 },
        first     => sub ($i, $n) { $i == 1 },
        last      => sub ($i, $n) { $i == $n },
        ends      => sub ($i, $n) { $i == 1 || $i == $n },
        border    => sub ($i, $n) { $i == 20 || $i == 21 },
        'part 1'  => sub ($i, $n) { $i <= 20 },
        'part 2'  => sub ($i, $n) { $i > 20 && $i <= 40 },
        'but one' => sub ($i, $n) { $i != int($n / 2) },
        odd       => sub ($i, $n) { $i % 2 },
        even      => sub ($i, $n) { !($i % 2) },
        all       => sub ($i, $n) { 1 },
    );
    for my $n (1, 2, 18 .. 22, 39 .. 42, 60, 61, 500) {
        my @wrong;
        for my $pattern (sort keys %spoofed) {
            my (@sent, @kept, $logged_in);
            for my $i (1 .. $n) {
                my $line = $spoofed{$pattern}->($i, $n) ? 'X-User-Id: evil' : !$logged_in++ ? cookie('alice') : "X-Kept-$i: $i";
                push @sent, $line;
                push @kept, $line if $line !~ /evil/;
            }
            push @kept, 'X-User-Id: 1001' if $logged_in;
            my $answer = raw_http($nginx->port, join "\r\n", 'GET / HTTP/1.0', @sent, '', '');
            my ($body) = $answer =~ /\r\n\r\n(.*)/s;
            my @got = grep { !/^(?:GET|Host|Connection)\b/ } split /\n/, $body // '';
            push @wrong, "$pattern: @got" if "@got" ne "@kept";
        }
        is(join("\n", @wrong), '', "$n headers, at any of its places");
    }
    unlike($nginx->log, qr/\[(?:alert|crit|emerg)\]/, 'and nothing in the log');
    return;
}

sub http2_headers () {
    return if !have('curl');
    my $port  = free_port();
    my $nginx = start_nginx(http => 'server {' . h2_listen($port)
        . "location / { $ENV{TEST_NGINX_SESSION} session_redis_set_header X-User-Id \@user; $ENV{TEST_NGINX_PASS} } }");
    my @spoofed = ('X-User-Id: evil', 'x-user-id: evil2');
    my $answer  = http2($port, '/', headers => [@spoofed, cookie('alice')]);
    like($answer->{body}, qr/^X-User-Id: 1001$/m, 'HTTP/2: ours');
    unlike($answer->{body}, qr/evil/, 'HTTP/2: not the client\'s');
    unlike(http2($port, '/', headers => \@spoofed)->{body}, qr/x.user.id/i, 'HTTP/2: none without a session');
    return;
}

__DATA__

=== TEST 1: with a session the backend gets ours
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        $TEST_NGINX_PASS
    }
--- request
GET /
--- more_headers
X-User-Id: evil
Cookie: sid=alice-0123456789ab
--- response_body_like: (?m)^X-User-Id: 1001$



=== TEST 2: none without an id, with a malformed one, one that is not in the store, one that cannot be read
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        add_header X-Status $session_redis_status;
        $TEST_NGINX_PASS
    }
--- request eval
[("GET /") x 4]
--- more_headers eval
[map { "X-User-Id: evil\n$_" } '', 'Cookie: sid=short', 'Cookie: sid=nobody-0123456789ab', 'Cookie: sid=broken-0123456789ab']
--- response_headers eval
[map { "X-Status: $_" } qw(none invalid missing undecodable)]
--- response_body_like eval
[(qr/\AGET (?!.*x.user.id)/si) x 4]



=== TEST 3: none when the store is down, neither when that is let pass explicitly
--- config
    location / {
        $TEST_NGINX_DOWN
        session_redis_set_header X-User-Id @user;
        session_redis_on_error pass;
        add_header X-Status $session_redis_status;
        $TEST_NGINX_PASS
    }
--- request
GET /
--- more_headers
X-User-Id: evil
Cookie: sid=alice-0123456789ab
--- response_headers
X-Status: error
--- response_body_like eval
qr/\AGET (?!.*x.user.id)/si



=== TEST 4: session_redis_early
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_early on;
        session_redis_set_header X-User-Id @user;
        $TEST_NGINX_PASS
    }
--- request eval
["GET /", "GET /"]
--- more_headers eval
["X-User-Id: evil\nCookie: sid=alice-0123456789ab", "X-User-Id: evil"]
--- response_body_like eval
[qr/^X-User-Id: 1001$/m, qr/\AGET (?!.*x.user.id)/si]



=== TEST 5: a sibling location without directives, and one that is off
--- config
    location /on {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        $TEST_NGINX_PASS
    }
    location /off {
        session_redis off;
        $TEST_NGINX_PASS
    }
    location / { $TEST_NGINX_PASS }
--- request eval
["GET /sibling", "GET /off", "GET /on"]
--- more_headers eval
[("X-User-Id: evil\nCookie: sid=alice-0123456789ab") x 3]
--- response_body_like eval
[qr/\AGET \/sibling (?!.*x.user.id)/si, qr/\AGET \/off (?!.*x.user.id)/si, qr/^X-User-Id: 1001$/m]



=== TEST 6: another server of the same http{}
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        $TEST_NGINX_SESSION
        location / {
            session_redis_set_header X-User-Id @user;
            return 204;
        }
    }
--- config
    location / { $TEST_NGINX_PASS }
--- request
GET /
--- more_headers
X-User-Id: evil
--- response_body_like eval
qr/\AGET (?!.*x.user.id)/si



=== TEST 7: the smallest configuration: a name injected in a nested location counts everywhere
--- config
    location / { $TEST_NGINX_PASS }
    location /a/ {
        location /a/b/ {
            if ($arg_x) {
                set $y 1;
            }
            $TEST_NGINX_SESSION
            session_redis_set_header X-User-Id @user;
            $TEST_NGINX_PASS
        }
        $TEST_NGINX_PASS
    }
--- request eval
["GET /", "GET /a/", "GET /a/b/?x=1"]
--- more_headers eval
[("X-User-Id: evil\nCookie: sid=alice-0123456789ab") x 3]
--- response_body_like eval
[qr/\AGET \/ (?!.*x.user.id)/si, qr/\AGET \/a\/ (?!.*x.user.id)/si, qr/^X-User-Id: 1001$/m]



=== TEST 8: internal redirects: rewrite, try_files, error_page, index
--- config
    location /rewritten { rewrite ^ /to last; }
    location /tried     { try_files /none /to; }
    location /failed    { error_page 404 = /to; return 404; }
    location /refused   { error_page 403 = @named; deny all; }
    location /put/      { error_page 405 = @named; return 405; }
    location /to        { $TEST_NGINX_PASS }
    location @named     { $TEST_NGINX_PASS }
    location /on {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
    }
--- request eval
["GET /rewritten", "GET /tried", "GET /failed", "GET /refused", "POST /put/"]
--- more_headers eval
[("X-User-Id: evil\nCookie: sid=alice-0123456789ab") x 5]
--- response_body_like eval
[qr/\AGET \/to (?!.*x.user.id)/si, qr/\AGET \/to (?!.*x.user.id)/si, qr/\AGET \/to (?!.*x.user.id)/si,
 qr/\AGET \/refused (?!.*x.user.id)/si, qr/\APOST \/put\/ (?!.*x.user.id)/si]



=== TEST 9: what one location injected does not stand in the one that it redirects to
--- config
    location /from {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        session_redis_set_header X-Token /token;
        session_redis_require /admin error=403;
        error_page 403 = /to;
    }
    location /fall {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        session_redis_set_header X-Token /token;
        try_files /none @named;
    }
    location /to     { $TEST_NGINX_PASS }
    location @named {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        $TEST_NGINX_PASS
    }
--- request eval
["GET /from", "GET /fall"]
--- more_headers eval
[("X-User-Id: evil\nX-Token: evil\nCookie: sid=alice-0123456789ab") x 2]
--- response_body_like eval
[qr/\AGET \/to (?!.*x.(?:user|token))/si, qr/\AGET \/fall (?!.*x-token).*^X-User-Id: 1001$/msi]



=== TEST 10: an error while the request is read: too large a header, which skips POST_READ
--- http_config
    large_client_header_buffers 2 1k;
--- config
    error_page 494 =200 /494;
    error_page 400 =200 /400;
    location /on {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
    }
    location / { $TEST_NGINX_PASS }
--- raw_request eval
"GET /large HTTP/1.1\r\nHost: localhost\r\nX-User-Id: evil\r\nConnection: close\r\nX-Large: " . 'x' x 2000 . "\r\n\r\n"
--- response_body_like eval
qr/\AGET \/494 (?!.*x.user.id)/si



=== TEST 11: an error while the request is read: a bad one
--- config
    error_page 400 =200 /400;
    location /on {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
    }
    location / { $TEST_NGINX_PASS }
--- raw_request eval
"GET / HTTP/1.1\r\nX-User-Id: evil\r\nConnection: close\r\n\r\n"
--- response_body_like eval
qr/\AGET \/400 (?!.*x.user.id)/si



=== TEST 12: subrequests of a page that includes others
--- config
    location = /page {
        root $TEST_NGINX_HTML_DIR;
        ssi on;
        ssi_types *;
        default_type text/plain;
    }
    location /included { $TEST_NGINX_PASS }
    location /session {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        $TEST_NGINX_PASS
    }
--- user_files
>>> page
<!--# include virtual="/included" --><!--# include virtual="/session" -->
--- request
GET /page
--- more_headers
X-User-Id: evil
Cookie: sid=alice-0123456789ab
--- response_body_like eval
qr/GET \/included (?!.*x.user.id).*GET \/session /si



=== TEST 13: subrequests of auth_request and mirror
--- config
    location = /a {
        auth_request /auth;
        mirror /mirrored;
        $TEST_NGINX_PASS
    }
    location = /b {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        auth_request /auth;
        mirror /mirrored;
        $TEST_NGINX_PASS
    }
    location = /auth     { internal; $TEST_NGINX_PASS }
    location = /mirrored { internal; $TEST_NGINX_PASS }
--- request eval
["GET /a", "GET /b"]
--- more_headers eval
[("X-User-Id: evil\nCookie: sid=alice-0123456789ab") x 2]
--- response_body_like eval
[qr/\AGET \/a (?!.*x.user.id)/si, qr/\AGET \/b .*^X-User-Id: 1001$/msi]



=== TEST 14: in any case, empty, several times
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        $TEST_NGINX_PASS
    }
--- request
GET /
--- more_headers eval
CORE::join "\n", 'x-user-id: evil', 'X-USER-ID: evil', 'X-A: 1', 'X-User-Id: ', 'x-uSER-iD: evil', 'X-B: 2', 'X-User-Id:evil', 'X-User-Id-2: 3'
--- response_body_like eval
qr/\AGET \/ (?!.*^x.user.id:).*^X-A: 1\nX-B: 2\nX-User-Id-2: 3$/msi



=== TEST 15: names that are the same to a backend, with underscores
--- http_config
    underscores_in_headers on;
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        $TEST_NGINX_PASS
    }
    location /off { $TEST_NGINX_PASS }
--- request eval
["GET /", "GET /", "GET /off"]
--- more_headers eval
["X_User_Id: evil\nX-User_Id: evil\nx_user-id: evil\nCookie: sid=alice-0123456789ab", "X_User_Id: evil", "X_User_Id: evil"]
--- response_body_like eval
[qr/^X-User-Id: 1001$/m, qr/\AGET \/ (?!.*x.user.id)/si, qr/\AGET \/off (?!.*x.user.id)/si]



=== TEST 16: and with any other byte
--- http_config
    ignore_invalid_headers off;
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        $TEST_NGINX_PASS
    }
--- request
GET /
--- more_headers eval
CORE::join "\n", map({ "X${_}User${_}Id: evil" } qw(. ! ~ + | ^ ' ` * $ & % "), "\xe9", "\x80", '_'), 'X-Else: kept'
--- response_body_like eval
qr/\AGET \/ (?!.*x.user.id).*^X-Else: kept$/msi



=== TEST 17: an injected name with underscores or dots of its own
--- http_config
    underscores_in_headers on;
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_set_header X_User.Id @user;
        $TEST_NGINX_PASS
    }
--- request
GET /
--- more_headers
X-User-Id: evil
X_User_Id: evil
Cookie: sid=alice-0123456789ab
--- response_body_like: (?m)^X_User\.Id: 1001$



=== TEST 18: if, map, set and variables never see them
--- http_config
    map $http_x_user_id $mapped { default "evil:$http_x_user_id"; "" none; }
    map $http_x_user_id $mapped_too { volatile; default evil; "" none; }
--- config
    set $early $http_x_user_id;
    location /if {
        if ($http_x_user_id) { return 200 "evil"; }
        if ($mapped != none) { return 200 "evil"; }
        return 200 "[$http_x_user_id][$mapped][$mapped_too][$early]\n";
    }
    location / {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        $TEST_NGINX_PASS
    }
    location /set {
        proxy_set_header X-Copy "$http_x_user_id";
        proxy_set_header X-Mapped $mapped;
        $TEST_NGINX_PASS
    }
--- request eval
["GET /if", "GET /set"]
--- more_headers eval
[("X-User-Id: evil") x 2]
--- response_body_like eval
[qr/\A\[\]\[none\]\[none\]\[\]\n\z/, qr/^X-Mapped: none$/m]



=== TEST 19: a body that is passed on, and one that is chunked
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        $TEST_NGINX_PASS
    }
--- request eval
["POST /\nbody", "POST /\n4\r\nbody\r\n0\r\nX-User-Id: evil\r\n\r\n"]
--- more_headers eval
["X-User-Id: evil\nCookie: sid=alice-0123456789ab", "X-User-Id: evil\nTransfer-Encoding: chunked\nCookie: sid=alice-0123456789ab"]
--- response_body_like eval
[(qr/\APOST .*^Content-Length: 4\n.*^X-User-Id: 1001$/ms) x 2]



=== TEST 20: Authorization can be injected: the client's own goes, also for nginx itself
--- config
    location = /a {
        $TEST_NGINX_SESSION
        session_redis_set_header Authorization "Bearer $session_redis_user";
        proxy_set_header X-Remote-User "[$remote_user]";
        $TEST_NGINX_PASS
    }
    location = /b {
        set $name $remote_user;
        return 200 "[$name][$http_authorization]\n";
    }
--- request eval
["GET /a", "GET /a", "GET /b"]
--- more_headers eval
["Authorization: Basic ZXZpbDpldmls\nCookie: sid=alice-0123456789ab", ("Authorization: Basic ZXZpbDpldmls") x 2]
--- response_body_like eval
[qr/\AGET (?!.*ZXZpb).*^X-Remote-User: \[\]\n.*^Authorization: Bearer 1001$/ms, qr/\AGET (?!.*ZXZpb).*^X-Remote-User: \[\]$/ms, qr/\A\[\]\[\]\n\z/]



=== TEST 21: session_redis_strip_header adds names that we do not set
--- config
    location / {
        $TEST_NGINX_PASS
    }
    location /x {
        session_redis_strip_header X-User-Role X-User-Id;
        $TEST_NGINX_PASS
    }
--- request eval
["GET /", "GET /x"]
--- more_headers eval
[("x-user-role: evil\nX-USER-ID: evil\nX-User: kept") x 2]
--- response_body_like eval
[(qr/^X-User: kept$/m) x 2]



=== TEST 22: a trusted front may name the user; others may not
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        session_redis_trust_headers from 10.0.0.0/8 127.0.0.1;
        location / {
            proxy_set_header X-Seen "$http_x_user_id";
            $TEST_NGINX_PASS
        }
        location /on {
            $TEST_NGINX_SESSION
            session_redis_set_header X-User-Id @user;
            $TEST_NGINX_PASS
        }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
        session_redis_trust_headers from 10.0.0.0/8 ::1;
        location / { $TEST_NGINX_PASS }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_3;
        location / { $TEST_NGINX_PASS }
    }
--- config
    location ~ /(?<port>1|2|3)(?<rest>/.*) {
        proxy_set_header X-User-Id "from the front";
        set $to $TEST_NGINX_RAND_PORT_1;
        if ($port = 2) { set $to $TEST_NGINX_RAND_PORT_2; }
        if ($port = 3) { set $to $TEST_NGINX_RAND_PORT_3; }
        proxy_pass http://127.0.0.1:$to$rest;
    }
--- request eval
["GET /1/", "GET /2/", "GET /3/", "GET /1/on", "GET /1/on"]
--- more_headers eval
[("X-User-Id: evil") x 4, "X-User-Id: evil\nCookie: sid=alice-0123456789ab"]
--- response_body_like eval
[qr/^X-Seen: from the front\n.*^X-User-Id: from the front$/ms, (qr/\AGET \/ (?!.*x.user.id)/si) x 2,
 qr/^X-User-Id: from the front$/m, qr/\AGET \/on (?!.*from the front).*^X-User-Id: 1001$/ms]



=== TEST 23: with realip the peer is what is trusted, not the address that it tells
--- http_config
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        set_real_ip_from 127.0.0.1;
        session_redis_trust_headers from 127.0.0.1;
        location / { proxy_set_header X-Addr $remote_addr; $TEST_NGINX_PASS }
    }
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
        set_real_ip_from 127.0.0.1;
        session_redis_trust_headers from 10.0.0.0/8;
        location / { proxy_set_header X-Addr $remote_addr; $TEST_NGINX_PASS }
    }
--- config
    proxy_set_header X-Real-IP 10.1.1.1;
    proxy_set_header X-User-Id front;
    location /near { proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1; }
    location /far  { proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2; }
    location /on {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
    }
--- request eval
["GET /near", "GET /far"]
--- response_body_like eval
[qr/^X-Addr: 10\.1\.1\.1\n.*^X-User-Id: front$/ms, qr/\AGET \/far (?!.*x.user.id).*^X-Addr: 10\.1\.1\.1$/msi]



=== TEST 24: fastcgi, scgi and uwsgi see one parameter, ours
--- http_config
    underscores_in_headers on;
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-User-Id @user;
    location /fastcgi { fastcgi_pass 127.0.0.1:$TEST_NGINX_FASTCGI_PORT; }
    location /scgi    { scgi_pass    127.0.0.1:$TEST_NGINX_SCGI_PORT; }
    location /uwsgi   { uwsgi_pass   127.0.0.1:$TEST_NGINX_UWSGI_PORT; }
--- request eval
["GET /fastcgi", "GET /scgi", "GET /uwsgi", "GET /fastcgi", "GET /scgi", "GET /uwsgi"]
--- more_headers eval
[("X-User-Id: evil\nX_User_Id: evil\nCookie: sid=alice-0123456789ab") x 3, ("X-User-Id: evil\nX-Else: kept\nX_User_Id: evil") x 3]
--- response_body_like eval
[(qr/^HTTP_X_USER_ID=1001$/m) x 3, (qr/\A(?!.*USER_ID).*^HTTP_X_ELSE=kept$/ms) x 3]



=== TEST 25: pipelined requests and a kept connection
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        $TEST_NGINX_PASS
    }
    location /off { $TEST_NGINX_PASS }
--- pipelined_requests eval
["GET /a", "GET /off", "GET /b"]
--- more_headers eval
["X-User-Id: evil\nCookie: sid=alice-0123456789ab", "X-User-Id: evil", "X-User-Id: evil"]
--- response_body_like eval
[qr/^X-User-Id: 1001$/m, qr/\AGET \/off (?!.*x.user.id)/si, qr/\AGET \/b (?!.*x.user.id)/si]



=== TEST 26: a refused request's error page
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        session_redis_require @user;
        error_page 401 =200 /why;
        $TEST_NGINX_PASS
    }
    location /why { $TEST_NGINX_PASS }
--- request
GET /
--- more_headers
X-User-Id: evil
--- response_body_like eval
qr/\AGET \/why (?!.*x.user.id)/si
