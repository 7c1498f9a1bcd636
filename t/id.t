# Whose session it is: where ids come from, which are taken, and what becomes
# of all others: never a lookup, never a 500.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use Digest::SHA qw(hmac_sha256_base64);
use Test::Nginx::Socket 'no_plan';
use SessionRedis;
use SessionRedis::Stage qw(cookie id_of stage);

our $stage = stage(alice => '{"id":1001}', bobby => '{"id":1002}');
our $alice = id_of('alice');
our $bobby = id_of('bobby');
my $redis = $stage->redis;
$redis->cmd('SET', "sess:$_->[0]", qq({"id":$_->[1]})) for [$alice, 1001], [$bobby, 1002];
our $php = 'abcdefghijklmnopqrstuv0123';
$redis->cmd('SET', "PHPREDIS_SESSION:$php", 'id|i:1001;');
$redis->cmd('SET', 's:' . 'x' x 256, '{"id":256}');
$redis->cmd('SET', 's:eight123', '{"id":8}');
no_root_location();
quiet_logs();
$stage->check_lookups;
$ENV{TEST_NGINX_REDIS} = $redis->port;
$ENV{TEST_NGINX_SHOW} = 'session_redis_set_header X-User-Id /id; add_header X-Status $session_redis_status always;';

run_tests();
bad_ids();
bad_cookies();
bad_signatures();
secret_files();
done_testing() if !Test::More->builder->has_plan;

# Status and user of one request, and how often the store was asked.
sub ask ($nginx, $path, @lines) {
    $stage->lookups;
    my $answer = raw_http($nginx->port, CORE::join "\r\n", "GET $path HTTP/1.1", 'Host: localhost', 'Connection: close', @lines, '', '');
    my ($code)   = $answer =~ m{\AHTTP/1.1 (\d+)};
    my ($status) = $answer =~ /^X-Status: (\w+)/m;
    my ($user)   = $answer =~ /^X-User-Id: (\d+)/m;
    return { code => $code, status => $status // '', user => $user, lookups => $stage->lookups, answer => $answer };
}

sub server ($settings) {
    return start_nginx(log_level => 'info', http => 'large_client_header_buffers 8 64k;', server => "location / { $settings $ENV{TEST_NGINX_SHOW} $ENV{TEST_NGINX_PASS} }");
}

# Values of which no id can be made, from every source.
sub bad_ids () {
    my %bad = (
        'one byte'          => 'x',
        'a byte too short'  => 'x' x 15,
        'a byte too long'   => 'x' x 257,
        'a cookie too long' => 'x' x 4097,
        '8 KB'              => 'x' x 8192,
        'blanks'            => 'alice 0123456789ab',
        'encoded blanks'    => 'alice%200123456789ab',
        'quote inside'      => "alice\"0123456789ab",
        'apostrophe'        => "alice'0123456789ab",
        '%00'               => 'alice-0123456789ab%00',
        '%00 before'        => '%00alice-0123456789ab',
        'CR LF'             => 'alice-0123456789ab%0d%0aDEL',
        'encoded twice'     => 'alice%252D0123456789ab',
        'cut encoding'      => 'alice-0123456789ab%2',
        'wrong encoding'    => 'alice-0123456789ab%zz',
        'invalid UTF-8'     => "alice-0123456789ab\xff\xfe",
        'encoded invalid'   => 'alice-0123456789ab%ff%fe',
        'UTF-8'             => "alice-0123456789ab\xc3\xa9",
        'glob *'            => 'alice-*0123456789ab',
        'glob ?'            => 'alice-?0123456789ab',
        'glob []'           => 'alice-[a-z]0123456789ab',
        'glob all'          => '*' x 20,
        'slot tag'          => 'alice-{tag}0123456789ab',
        'colon'             => 'alice:0123456789abcd',
        'another prefix'    => 'sess:alice-0123456789ab',
        'up'                => '../../alice-0123456789ab',
        'encoded up'        => '%2e%2e%2falice-0123456789ab',
        'dollar'            => '$session_redis_id$session',
        'backslash'         => 'alice\\0123456789ab',
        'pipe'              => 'alice|0123456789ab',
        'tab'               => "alice\t0123456789ab",
        'DEL byte'          => "alice-0123456789ab\x7f",
        'control byte'      => "alice-0123456789ab\x01",
        'markup'            => '<script>alert(1)</script>',
        'only blanks'       => '   ',
        'only dots'         => '.' x 20,
        'comma and NUL'     => 'alice,%000123456789ab',
        'overlong'          => '%c0%afalice-0123456789ab',
    );
    my %source = (
        cookie => ['session_redis_id cookie:sid;', sub ($id) { ('/', "Cookie: sid=$id") }],
        header => ['session_redis_id header:X-Sid;', sub ($id) { ('/', "X-Sid: $id") }],
        arg    => ['session_redis_id arg:sid;', sub ($id) { ("/?a=1&sid=$id") }],
        path   => ['session_redis_id path:sid;', sub ($id) { ("/x;sid=$id") }],
        string => ['session_redis_id "$http_x_sid";', sub ($id) { ('/', "X-Sid: $id") }],
    );
    for my $source (sort keys %source) {
        my ($directive, $make) = $source{$source}->@*;
        my $nginx = server("$ENV{TEST_NGINX_SESSION} $directive");
        my $good  = ask($nginx, $make->($alice));
        is("$good->{code} $good->{status} $good->{user} $good->{lookups}", '200 found 1001 1', "$source: a good id");
        for my $name (sort keys %bad) {
            my $got = ask($nginx, $make->($bad{$name}));
            ok($got->{code} =~ /\A(?:400|200)\z/ && $got->{lookups} == 0 && !defined $got->{user} && $got->{status} =~ /\A(?:invalid|none|)\z/, "$source: $name")
                or diag "$got->{code} $got->{status} lookups=$got->{lookups}";
        }
        my $log = $nginx->log =~ s/.*client sent invalid.*\n//gr =~ s/, client: .*//gr;
        unlike($log, qr/\[(?:error|alert|crit|emerg)\]/, "$source: none of them is an error");
        unlike($log, qr/0123456789ab|script/, "$source: none is in the log");
        my $after = ask($nginx, $make->($alice));
        is($after->{user}, 1001, "$source: and a good one still works");
    }
    # What nginx itself cannot read.
    my $nginx = server($ENV{TEST_NGINX_SESSION});
    for my $raw ("Cookie: sid=alice-0123456789ab\0", "Cookie: sid=alice-0123456789ab\r\n folded", "Cookie\0: sid=alice-0123456789ab", "Cookie: sid=alice-0123456789ab\rDEL") {
        my $got = ask($nginx, '/', $raw);
        ok($got->{code} ne '500' && (!defined $got->{user} || $got->{user} == 1001), 'raw bytes') or diag $got->{answer};
    }
    return;
}

# Shapes of Cookie headers, with the user whom they name ("" for none) and the status.
sub bad_cookies () {
    my $nginx = server($ENV{TEST_NGINX_SESSION});
    my @cases = (
        ['none',                     [],                                                '',   'none'],
        ['empty',                    ['Cookie:'],                                       '',   'none'],
        ['only ;',                   ['Cookie: ;'],                                     '',   'none'],
        ['many ;',                   ['Cookie: ' . ';' x 1000],                         '',   'none'],
        ['no =',                     ['Cookie: sid'],                                   '',   'none|invalid'],
        ['no value',                 ['Cookie: sid='],                                  '',   'none|invalid'],
        ['no name',                  ["Cookie: =$alice"],                               '',   'none'],
        ['another case',             ["Cookie: SID=$alice; Sid=$alice"],                '',   'none'],
        ['a name that ends in ours', ["Cookie: xsid=$alice; x-sid=$alice"],             '',   'none'],
        ['one that begins with it',  ["Cookie: sid2=$alice; sid.x=$alice"],             '',   'none'],
        ['a value that names it',    ["Cookie: a=sid=$alice"],                          '',   'none'],
        ['among others',             ["Cookie: a=1; b=2; sid=$alice; c=3"],             1001, 'found'],
        ['without blanks',           ["Cookie: a=1;sid=$alice;c=3"],                    1001, 'found'],
        ['many blanks',              ["Cookie: a=1;   sid=$alice  ; c=3"],              1001, 'found'],
        ['= in another',             ["Cookie: a==b=; sid=$alice"],                     1001, 'found'],
        ['quotes in another',        ["Cookie: a=\"x; sid=$alice"],                     1001, 'found'],
        ['no = in others',           ["Cookie: a; b; ; sid=$alice; c"],                 1001, 'found'],
        ['200 cookies',              ['Cookie: ' . CORE::join('; ', (map { "c$_=$_" } 1 .. 100), "sid=$alice", map { "d$_=$_" } 1 .. 100)], 1001, 'found'],
        ['several lines',            ['Cookie: a=1', "Cookie: sid=$alice", 'Cookie: c=3'], 1001, 'found'],
        ['cookie in lower case',     ["cookie: sid=$alice"],                            1001, 'found'],
        ['encoded',                  ['Cookie: sid=%61lice%2D0123456789ab'],            1001, 'found'],
        ['30 KB of others',          ['Cookie: big=' . 'x' x 30_000 . "; sid=$alice"],  1001, 'found'],
        ['same twice',               ["Cookie: sid=$alice; sid=$alice"],                1001, 'found'],
        ['two: the first',           ["Cookie: sid=$alice; sid=$bobby"],                1001, 'found'],
        ['two lines: the first',     ["Cookie: sid=$bobby", "Cookie: sid=$alice"],      1002, 'found'],
        ['a bad one before',         ["Cookie: sid=short; sid=$alice"],                 '',   'invalid'],
        ['a bad one behind',         ["Cookie: sid=$alice; sid=short"],                 1001, 'found'],
    );
    for (@cases) {
        my ($name, $lines, $user, $status) = @$_;
        my $got = ask($nginx, '/', @$lines);
        is("$got->{code} " . ($got->{user} // ''), "200 $user", "cookies, $name");
        like($got->{status}, qr/\A(?:$status)\z/, "cookies, $name: status");
        is($got->{lookups}, $user ne '' ? 1 : 0, "cookies, $name: lookups");
    }
    my $quoted = ask($nginx, '/', "Cookie: sid=\"$alice\"");
    is($quoted->{code}, 200, 'a quoted one is no error');
    return;
}

# express: what is not signed, or not well, is invalid.
sub bad_signatures () {
    my $nginx = server("session_redis redis://127.0.0.1:@{[$redis->port]}; session_redis_framework express; session_redis_secret new old;");
    my $sign  = sub ($id, $secret) { hmac_sha256_base64($id, $secret) };
    my $good  = $sign->($alice, 'new');
    my $sent  = sub ($value) { ask($nginx, '/', 'Cookie: connect.sid=' . url_encode($value)) };
    my $found = $sent->("s:$alice.$good");
    is("$found->{status} $found->{user} $found->{lookups}", 'found 1001 1', 'a good signature');
    is($sent->("s:$alice." . $sign->($alice, 'old'))->{user}, 1001, 'one by an older secret, while it is listed');
    my %bad = (
        'no signature'         => "s:$alice",
        'no s:'                => "$alice.$good",
        'nothing but an id'    => $alice,
        'only s:'              => 's:',
        'empty'                => "s:$alice.",
        'short'                => "s:$alice." . substr($good, 0, 42),
        'one byte'             => "s:$alice.x",
        'long'                 => "s:$alice.${good}A",
        'other padding'        => "s:$alice.$good==",
        'another alphabet'     => 's:' . $alice . '.' . ($good =~ tr{+/}{-_}r =~ /[-_]/ ? $good =~ tr{+/}{-_}r : "-$good"),
        'of another id'        => "s:$alice." . $sign->($bobby, 'new'),
        'of another cookie'    => "s:$alice." . $sign->("connect.sid=$alice", 'new'),
        'by another secret'    => "s:$alice." . $sign->($alice, 'stolen'),
        'by an empty secret'   => "s:$alice." . $sign->($alice, ''),
        'case'                 => "s:$alice." . ($good =~ tr/a-zA-Z/A-Za-z/r),
        'id and dot moved'     => "s:${alice}." . substr($good, 0, 10) . '.' . substr($good, 10),
        'signed, but too short' => 's:x.' . $sign->('x', 'new'),
        'signed, but no id'    => 's:' . ('*' x 20) . '.' . $sign->('*' x 20, 'new'),
        'signed nothing'       => 's:.' . $sign->('', 'new'),
        'capital S:'           => "S:$alice.$good",
        'NUL'                  => "s:$alice\0.$good",
    );
    for my $name (sort keys %bad) {
        my $got = $sent->($bad{$name});
        is("$got->{code} $got->{status} $got->{lookups}", '200 invalid 0', "signature: $name");
    }
    my $both = ask($nginx, '/', 'Cookie: connect.sid=' . url_encode("s:$bobby.$good") . '; connect.sid=' . url_encode("s:$alice.$good"));
    is("$both->{status} " . ($both->{user} // ''), 'found 1001', 'a failing signature moves on to the next of that name');
    unlike($both->{answer}, qr/bobby/, 'and is not passed on');
    my $eight = ask($nginx, '/', 'Cookie: ' . CORE::join '; ', ('connect.sid=' . url_encode("s:$bobby.$good")) x 8, 'connect.sid=' . url_encode("s:$alice.$good"));
    is("$eight->{status} $eight->{lookups}", 'invalid 0', 'at most eight are tried');
    unlike($nginx->log, qr/0123456789ab|\Q$good\E|stolen/, 'nothing of them in the log');
    return;
}

# Lines of a secret file: newest first, encodings, line ends.
sub secret_files () {
    my $dir = temp_dir();
    open my $out, '>:raw', "$dir/secret" or die $!;
    print {$out} "plain secret\r\nbase64:YmFzZQ==\nhex:68657821\n";
    close $out;
    chmod 0600, "$dir/secret";
    my $nginx = server("session_redis redis://127.0.0.1:@{[$redis->port]}; session_redis_framework express; session_redis_secret_file $dir/secret;");
    for (['plain secret', 'found'], ['base', 'found'], ['hex!', 'found'], ["plain secret\r", 'invalid'], ['base64:YmFzZQ==', 'invalid'], ['', 'invalid']) {
        my ($secret, $status) = @$_;
        my $got = ask($nginx, '/', 'Cookie: connect.sid=' . express_cookie($alice, $secret));
        is($got->{status}, $status, 'secret file: ' . ($secret =~ s/\r/\\r/r));
    }
    return;
}

__DATA__

=== TEST 1: from a cookie, a header, an argument, the path, a string
--- config
    $TEST_NGINX_SESSION
    $TEST_NGINX_SHOW
    location /cookie { session_redis_id cookie:c; $TEST_NGINX_PASS }
    location /header { session_redis_id header:X-Sid; $TEST_NGINX_PASS }
    location /arg    { session_redis_id arg:s; $TEST_NGINX_PASS }
    location /path   { session_redis_id path:jsid; $TEST_NGINX_PASS }
    location /string { session_redis_id "${arg_a}-$http_x_b"; $TEST_NGINX_PASS }
--- request eval
my $id = $::alice;
["GET /cookie", "GET /header", "GET /arg?a=1&s=$id&b=2", "GET /path/x;jsid=$id?s=1", "GET /string?a=alice"]
--- more_headers eval
["Cookie: sid=$::bobby; c=$::alice", "x-sid: $::alice", '', '', 'X-B: 0123456789ab']
--- response_body_like eval
[('X-User-Id: 1001') x 5]
--- lookups eval
[(1) x 5]



=== TEST 2: the sources are tried in their order until one gives a valid id
--- config
    $TEST_NGINX_SESSION
    $TEST_NGINX_SHOW
    session_redis_id header:X-Sid cookie:sid arg:sid;
    location / { $TEST_NGINX_PASS }
--- request eval
my $q = "GET /?sid=$::bobby";
[$q, $q, $q, $q, 'GET /']
--- more_headers eval
["X-Sid: $::alice\nCookie: sid=$::bobby", "Cookie: sid=$::alice", "X-Sid: short\nCookie: sid=$::alice", "X-Sid: short\nCookie: sid=short", "X-Sid: short"]
--- response_headers eval
[map { "X-Status: $_" } ('found') x 4, 'invalid']
--- response_body_like eval
['X-User-Id: 1001', 'X-User-Id: 1001', 'X-User-Id: 1001', 'X-User-Id: 1002', '\A(?!.*X-User)']
--- lookups eval
[(1) x 4, 0]



=== TEST 3: session_redis_cookie with several names
--- config
    $TEST_NGINX_SESSION
    $TEST_NGINX_SHOW
    session_redis_cookie new old path=/ samesite=Lax;
    location / { $TEST_NGINX_PASS }
--- request eval
["GET /", "GET /", "GET /"]
--- more_headers eval
["Cookie: old=$::bobby; new=$::alice", "Cookie: old=$::alice", "Cookie: sid=$::alice"]
--- response_body_like eval
['X-User-Id: 1001', 'X-User-Id: 1001', '\A(?!.*X-User)']



=== TEST 4: of session_redis_id and session_redis_cookie the later one at a level counts, and a level below counts first
--- config
    $TEST_NGINX_SESSION
    $TEST_NGINX_SHOW
    location /id     { session_redis_cookie sid; session_redis_id header:X-Sid; $TEST_NGINX_PASS }
    location /cookie { session_redis_id header:X-Sid; session_redis_cookie sid; $TEST_NGINX_PASS }
    location /below  { session_redis_id header:X-Sid; location /below/x { session_redis_cookie sid; $TEST_NGINX_PASS } }
--- request eval
["GET /id", "GET /cookie", "GET /below/x"]
--- more_headers eval
[("X-Sid: $::alice\nCookie: sid=$::bobby") x 3]
--- response_body_like eval
['X-User-Id: 1001', 'X-User-Id: 1002', 'X-User-Id: 1002']



=== TEST 5: path: only the last segment of the original URI
--- config
    $TEST_NGINX_SESSION
    $TEST_NGINX_SHOW
    session_redis_id path:sid;
    location / { $TEST_NGINX_PASS }
    location /re { rewrite ^ /to last; }
    location /to { $TEST_NGINX_PASS }
--- request eval
my $id = $::alice;
["GET /a;sid=$id", "GET /a;sid=$id/b", "GET /a;x=1;sid=$id;y=2", "GET /a;xsid=$id", "GET /a?;sid=$id", "GET /a;SID=$id", "GET /re;sid=$id", "GET /a;sid=$id?sid=$::bobby"]
--- response_headers eval
[map { "X-Status: $_" } qw(found none found none none none found found)]



=== TEST 6: arg: of the original URI, by its whole name
--- config
    $TEST_NGINX_SESSION
    $TEST_NGINX_SHOW
    session_redis_id arg:sid;
    location / { $TEST_NGINX_PASS }
    location /re { rewrite ^ /to?sid=x last; }
    location /to { $TEST_NGINX_PASS }
--- request eval
my $id = $::alice;
["GET /?sid=$id", "GET /?xsid=$id", "GET /?sid2=$id", "GET /?a&&sid=$id", "GET /?a=b?sid=$id", "GET /re?sid=$id", "GET /?sid", "GET /?sid=", "GET /?sid=%61lice-0123456789ab"]
--- response_headers_like eval
[map { "X-Status: $_" } qw(found none none found none found), ('(?:none|invalid)') x 2, 'found']



=== TEST 7: lengths: 16 to 256, or as configured
--- config
    $TEST_NGINX_SESSION
    $TEST_NGINX_SHOW
    location /default { $TEST_NGINX_PASS }
    location /short   { session_redis_id_length 8 12; $TEST_NGINX_PASS }
    location /min     { session_redis_id_length 20; $TEST_NGINX_PASS }
--- request eval
["GET /default", "GET /default", "GET /default", "GET /short", "GET /short", "GET /min", "GET /min"]
--- more_headers eval
[map { "Cookie: sid=$_" } 'x' x 256, 'x' x 15, 'x' x 257, 'eight123', 'x' x 13, $::alice, 'x' x 20]
--- response_headers eval
[map { "X-Status: $_" } qw(found invalid invalid found invalid invalid missing)]
--- lookups eval
[1, 0, 0, 1, 0, 0, 1]



=== TEST 8: php: its own rule
--- config
    session_redis redis://127.0.0.1:$TEST_NGINX_REDIS_PORT;
    session_redis_framework php;
    $TEST_NGINX_SHOW
    location / { $TEST_NGINX_PASS }
--- request eval
[("GET /") x 6]
--- more_headers eval
[map { "Cookie: PHPSESSID=$_" } $::php, 'a' x 21, 'a' x 22, $::php . '.x', $::php . '_LOCK', 'a_' x 15]
--- response_headers eval
[map { "X-Status: $_" } qw(found invalid missing invalid invalid invalid)]
--- lookups eval
[1, 0, 1, 0, 0, 0]



=== TEST 9: of several cookies the one chosen is what the backend sees, too
--- config
    $TEST_NGINX_SESSION
    $TEST_NGINX_SHOW
    location / { $TEST_NGINX_PASS }
    location /no { session_redis_set_header X-User-Id text:1; session_redis off; $TEST_NGINX_PASS }
--- request eval
[("GET /") x 4, "GET /no"]
--- more_headers eval
my ($a, $b) = ($::alice, $::bobby);
["Cookie: a=1; sid=$a; b=2; sid=$b; c=3", "Cookie: sid=$a; sid=$a", "Cookie: sid=$a\nCookie: x=1; sid=$b", "Cookie: sid=$b; sid=$a; sid=$b", "Cookie: sid=$a; sid=$b"]
--- response_body_like eval
my ($a, $b) = ($::alice, $::bobby);
[qr/^Cookie: a=1; sid=$a; b=2; c=3$/m, qr/^Cookie: sid=$a; sid=$a$|^Cookie: sid=$a$/m, qr/\A(?!.*$b).*sid=$a.*x=1/s, qr/\A(?!.*$a).*sid=$b/s, qr/^Cookie: sid=$a; sid=$b$/m]
--- lookups eval
[1, 1, 1, 1, 0]



=== TEST 10: the cookie that nginx's own variables see is the chosen one
--- config
    $TEST_NGINX_SESSION
    $TEST_NGINX_SHOW
    location / { proxy_set_header X-Seen "[$cookie_sid][$http_cookie]"; $TEST_NGINX_PASS }
--- request
GET /
--- more_headers eval
"Cookie: sid=$::alice; sid=$::bobby"
--- response_body_like eval
qr/^X-Seen: \[$::alice\]\[sid=$::alice\]$/m



=== TEST 11: cookies whose names a backend takes for the same go with those that differ
--- config
    session_redis redis://127.0.0.1:$TEST_NGINX_REDIS;
    session_redis_framework raw;
    session_redis_cookie my_session;
    session_redis_key "s:$session_redis_id";
    session_redis_format json;
    location / { $TEST_NGINX_SHOW $TEST_NGINX_PASS }
    location /hidden { session_redis_hide_cookie on; $TEST_NGINX_PASS }
--- request eval
[("GET /") x 6, "GET /hidden"]
--- more_headers eval
my ($a, $b) = ("my_session=$::alice", $::bobby);
["Cookie: my.session=$b; $a; x=1", "Cookie: $a; my session=$b; x=1", "Cookie: my[session=$b; $a; x=1", "Cookie: $a; my_session\xc2\xa0=$b; x=1",
 "Cookie: $a; my-session=$b; x=1", "Cookie: " . CORE::join('; ', ($a) x 8, "my_session=$b", 'x=1'), "Cookie: my.session=$b; $a; x=1"]
--- response_body_like eval
my $only = qr/^Cookie: my_session=$::alice; x=1$/m;
[($only) x 4, qr/^Cookie: my_session=$::alice; my-session=$::bobby; x=1$/m, qr/^Cookie: (?:my_session=$::alice; ){8}x=1$/m, qr/^Cookie: x=1$/m]
