# The first response of a session is held until its route is written: whatever kind of response that is, it comes whole.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use IO::Socket::INET;
use SessionRedis;
use SessionRedis::Learning;
use SessionRedis::Nginx   qw(h2_listen);
use SessionRedis::Process qw(fork_server);
use StoreTest;
use Test::More;
use Time::HiRes qw(sleep time);

# So long, in s, Redis takes no writes.
use constant PAUSE => 0.4;

# A server that sends what it is asked for, in pieces: GET /<name>.
my %raw = (
    chunked => ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n", "6\r\nsecond\r\n0\r\n\r\n"],
    header  => ["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "late"],
    quiet   => ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n", 3, "0\r\n\r\n"],
    close   => ["HTTP/1.0 200 OK\r\n\r\nuntil", " the end"],
    dies    => ["HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"],
    upgrade => ["HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello"],
    ranged  => ["HTTP/1.1 200 OK\r\nContent-Length: 10\r\nAccept-Ranges: bytes\r\n\r\n", "0123456789"],
    trailer => ["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
);
my $port   = free_port();
my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 64, ReuseAddr => 1) or die;
fork_server(sub {
    while (my $client = $listen->accept) {
        next if fork;
        my $in = '';
        1 while $in !~ /\r\n\r\n/ && sysread $client, $in, 4096, length $in;
        my ($name) = $in =~ m{\A\w+ /+(\w+)};
        my @pieces = ($raw{$name} // [])->@*;
        @pieces = $pieces[0] if $in =~ /\AHEAD/;
        for my $piece (@pieces) {
            $piece =~ /\A\d\z/ ? sleep $piece : syswrite $client, $piece;
            sleep 0.05;
        }
        if ($name eq 'upgrade') { syswrite $client, "<$in>" while sysread $client, $in, 4096 }
        POSIX::_exit(0);
    }
});
close $listen;

my $redis = start_redis();
put_sessions($redis, 1, 200);
# What this nginx is built with, beside what each is.
my ($with_h2) = nginx_test(server => 'http2_max_concurrent_streams 1;');
my ($with_sub) = nginx_test(server => 'sub_filter a b;');
my $h2    = free_port();
my $nginx = learning_nginx($redis, http => 'proxy_cache_path cache keys_zone=cache:1m;', server => <<~"END");
    @{[$with_h2 ? h2_listen($h2) : '']}
    gzip_types text/plain;
    location /raw        { proxy_force_ranges on; proxy_pass http://127.0.0.1:$port/; }
    location /unbuffered { proxy_buffering off; proxy_pass http://127.0.0.1:$port/; }
    location /big        { proxy_buffering off; proxy_pass http://servers/files/big; }
    location /cached     { proxy_cache cache; proxy_cache_valid 1s; proxy_cache_key \$request_uri\$http_cookie\$http_if_match; proxy_pass http://servers/; }
    location /gzip       { gzip on; gzip_min_length 1; gzip_http_version 1.0; proxy_pass http://servers/; }
    location /limited    { limit_rate 1m; proxy_pass http://servers/files/big; }
    location /tight      { proxy_buffers 2 4k; proxy_busy_buffers_size 4k; proxy_buffer_size 4k; proxy_max_temp_file_size 0; proxy_pass http://servers/files/big; }
    location /upgrade    { proxy_set_header Upgrade \$http_upgrade; proxy_set_header Connection upgrade; proxy_pass http://127.0.0.1:$port/upgrade; }
    @{[$with_sub ? '' : '#']} location /sub { sub_filter 'user' 'USER'; sub_filter_types *; sub_filter_once off; proxy_pass http://servers/; }
    location = /ssi      { ssi on; ssi_types *; proxy_pass http://servers/files/ssi; }
    END
my $next = 1;

# A request of a session that has no route yet, while Redis takes no writes; and the seconds that it took.
sub held ($code) {
    my $n = $next++;
    my $start = time;
    $redis->cmd('CLIENT', 'PAUSE', PAUSE * 1000, 'WRITE');
    my $response = $code->($n);
    my $took     = time - $start;
    $redis->cmd('CLIENT', 'UNPAUSE');
    return ($response, $took, $n);
}

sub is_held ($what, $code, $check) {
    subtest $what => sub {
        my ($response, $took, $n) = held($code);
        cmp_ok($took, '>=', PAUSE - 0.05, 'waits');
        cmp_ok($took, '<', PAUSE + 3, 'no longer than it must');
        $check->($response);
        like(route_of($redis, $n), qr/\A\d+\z/, 'its route is written');
        my $again = $code->($n);
        $check->($again);
        is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]|panicked/), 0, 'nothing to complain of');
    };
    return;
}

sub body_is ($body) { return sub ($response) { is($response->{code}, 200, 'answered'); is($response->{body}, $body, 'whole') } }

my $big = 'x' x 1_000_000;
sub is_big ($response) { is($response->{code}, 200, 'answered'); ok($response->{body} eq $big, 'whole') or diag length $response->{body}; return }

is_held('a response', sub ($n) { get($nginx, '/app', $n) }, sub ($response) { like($response->{body}, qr/\A\d+ user=\n\z/, 'whole') });
is_held('HEAD', sub ($n) { get($nginx, '/app/files/big', $n, method => 'HEAD') }, sub ($response) {
    is($response->{code}, 200, 'answered');
    is(header($response, 'Content-Length'), 1_000_000, 'the length');
    is($response->{body}, '', 'no body');
});
is_held('HEAD, not buffered', sub ($n) { get($nginx, '/big', $n, method => 'HEAD') }, sub ($response) { is($response->{body}, '', 'no body') });
is_held('HEAD, of which a cache makes GET', sub ($n) { get($nginx, '/cached/files/big', $n, method => 'HEAD') }, sub ($response) {
    is(header($response, 'Content-Length'), 1_000_000, 'the length');
    is($response->{body}, '', 'no body');
});
is_held('no content', sub ($n) { get($nginx, '/app/204', $n) }, sub ($response) { is($response->{code}, 204, 'no content'); is($response->{body}, '', 'no body') });
for my $path ('/app/files/ssi', '/cached/files/ssi') {
    is_held("304, $path", sub ($n) { http($nginx->port, $path, headers => [cookie($n), 'If-Modified-Since: Wed, 01 Jan 2020 00:00:00 GMT']) },
        sub ($response) { is($response->{code}, 304, 'not modified'); is($response->{body}, '', 'no body') });
}
is_held('a large body, buffered', sub ($n) { get($nginx, '/app/files/big', $n) }, \&is_big);
is_held('a large body, not buffered', sub ($n) { get($nginx, '/big', $n) }, \&is_big);
is_held('a large body, few buffers', sub ($n) { get($nginx, '/tight', $n) }, \&is_big);
is_held('a rate that is limited', sub ($n) { get($nginx, '/limited', $n) }, \&is_big);
is_held('chunked', sub ($n) { get($nginx, '/raw/chunked', $n) }, body_is('firstsecond'));
is_held('chunked, not buffered', sub ($n) { get($nginx, '/unbuffered/chunked', $n) }, body_is('firstsecond'));
is_held('a header, then a body', sub ($n) { get($nginx, '/raw/header', $n) }, body_is('late'));
is_held('a header, then a body, not buffered', sub ($n) { get($nginx, '/unbuffered/header', $n) }, body_is('late'));
is_held('HTTP/1.0', sub ($n) { get($nginx, '/raw/close', $n) }, body_is('until the end'));
is_held('an empty body', sub ($n) { get($nginx, '/raw/trailer', $n) }, body_is(''));
is_held('a range', sub ($n) { http($nginx->port, '/raw/ranged', headers => [cookie($n), 'Range: bytes=2-4']) },
    sub ($response) { is($response->{code}, 206, 'a part'); is($response->{body}, '234', 'the part') });
is_held('gzip', sub ($n) { http($nginx->port, '/gzip', headers => [cookie($n), 'Accept-Encoding: gzip']) }, sub ($response) {
    require IO::Uncompress::Gunzip;
    my $packed = $response->{body};
    IO::Uncompress::Gunzip::gunzip(\$packed, \my $text);
    like($text, qr/\A\d+ user=\n\z/, 'whole');
});
is_held('a filter of the body', sub ($n) { get($nginx, '/sub', $n) }, sub ($response) { like($response->{body}, qr/\A\d+ USER=\n\z/, 'whole') }) if $with_sub;
is_held('subrequests', sub ($n) { get($nginx, '/ssi', $n) }, body_is("before plain\n after"));
if ($with_h2) {
    is_held('HTTP/2', sub ($n) { http2($h2, '/app/files/big', headers => [cookie($n)]) }, \&is_big);
    is_held('HTTP/2, not buffered', sub ($n) { http2($h2, '/big', headers => [cookie($n)]) }, \&is_big);
    is_held('HTTP/2, a small body', sub ($n) { http2($h2, '/app', method => 'GET', headers => [cookie($n)]) }, sub ($response) { is($response->{code}, 200, 'answered') });
}
is_held('a request body', sub ($n) { get($nginx, '/app', $n, body => 'y' x 300_000) }, sub ($response) { is($response->{code}, 200, 'answered') });

subtest 'a range that is none, and a condition that fails, are refused at once' => sub {
    for my $case (['Range: bytes=20-30', '/raw/ranged', 416], ['If-Match: "other"', '/cached/files/ssi', 412]) {
        my ($line, $path, $code) = @$case;
        my ($response) = held(sub ($n) { http($nginx->port, $path, headers => [cookie($n), $line]) });
        is($response->{code}, $code, "refused with $code");
    }
};

subtest 'what comes before a silence is not held up by it' => sub {
    for my $path ('/raw/quiet', '/unbuffered/quiet') {
        my ($response, $took) = held(sub ($n) {
            my $socket = open_connection($nginx->port);
            syswrite $socket, request($path, $n);
            my $in = '';
            wait_for(sub { sysread $socket, $in, 4096, length $in; $in =~ /first/ }, seconds => 5);
            return $in;
        });
        like($response, qr/first/, 'there');
        cmp_ok($took, '<', 2, "$path: before the server says more");
    }
};

subtest 'requests on one connection' => sub {
    my $n = $next++;
    my $socket = open_connection($nginx->port);
    for my $path ('/app', '/raw/chunked', '/app/204', '/plain') {
        syswrite $socket, request($path, $n, keepalive => 1);
        my $answer = read_response($socket);
        like($answer->{code}, qr/\A20[04]\z/, "$path is answered");
    }
    my $in = raw_http($nginx->port, request('/app', $next, keepalive => 1) . request('/raw/chunked', $next, keepalive => 1) . request('/plain', $next));
    $next++;
    is(scalar(() = $in =~ m{HTTP/1\.1 200}g), 3, 'three that came at once');
    like($in, qr/user=.*first.*second.*plain/s, 'in their order');
};

subtest 'a client that leaves while it waits' => sub {
    for my $path ('/app', '/app/files/big', '/big', '/raw/chunked', '/unbuffered/header') {
        for my $reset (0, 1) {
            held(sub ($n) {
                my $socket = open_connection($nginx->port);
                syswrite $socket, request($path, $n);
                sleep 0.05;
                leave($socket, reset => $reset);
                sleep 0.05;
                return;
            });
        }
    }
    sleep 0.3;
    is(get($nginx, '/app', $next++)->{code}, 200, 'the others are served');
    is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]|panicked|exited on signal/), 0, 'nothing to complain of');
};

subtest 'a server that dies while the response waits' => sub {
    my ($response, $took) = held(sub ($n) { raw_http($nginx->port, request('/raw/dies', $n)) });
    cmp_ok($took, '<', 2, 'ends');
    unlike($response, qr/HTTP.*HTTP/s, 'one answer at most');
    is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]|panicked|exited on signal/), 0, 'nothing to complain of');
};

subtest 'an upgrade is not held' => sub {
    my ($response, $took, $n) = held(sub ($n) {
        my $socket = open_connection($nginx->port);
        syswrite $socket, "GET /upgrade HTTP/1.1\r\nHost: a\r\n" . cookie($n) . "\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
        my $in = '';
        sysread $socket, $in, 4096, length $in while $in !~ /hello/;
        syswrite $socket, 'echo';
        sysread $socket, $in, 4096, length $in while $in !~ /<echo>/;
        return $in;
    });
    like($response, qr{\AHTTP/1.1 101 .*\r\n\r\nhello<echo>\z}s, 'the header comes first');
    cmp_ok($took, '<', PAUSE, 'at once');
    ok(wait_for(sub { route_of($redis, $n) }), 'its route is written');
};

subtest 'a store that takes too long holds nobody longer than its timeout' => sub {
    my $nginx = learning_nginx($redis, store => 'timeout 300ms;');
    my $n     = $next++;
    $redis->cmd('CLIENT', 'PAUSE', 3000, 'WRITE');
    my $took = seconds { is(get($nginx, '/app', $n)->{code}, 200, 'answered') };
    cmp_ok($took, '>=', 0.25, 'waits');
    cmp_ok($took, '<', 2.5, 'until the timeout');
    $took = seconds { is(get($nginx, '/app', $n)->{code}, 200, 'the next') };
    cmp_ok($took, '<', 2.5, 'is not slower');
    $redis->cmd('CLIENT', 'UNPAUSE');
    like((lines_like($nginx, qr/routes of sessions/))[0], qr/\[warn\].*session store "s": routes of sessions are not written: .* server: /, 'said');
    sleep 1.1;
    get($nginx, '/app', $n);
    ok(route_of($redis, $n), 'written when the store is well again');
};

subtest 'a worker that leaves answers first' => sub {
    my ($response) = held(sub ($n) {
        my $socket = open_connection($nginx->port);
        syswrite $socket, request('/app/files/big', $n);
        sleep 0.1;
        $nginx->reload;
        return read_response($socket);
    });
    is_big($response);
};

done_testing();
