# What can be seen: each variable, in each outcome, and where it is empty.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use Digest::MD5 qw(md5_hex);
use Digest::SHA qw(hmac_sha256_hex sha1_hex sha256_hex);
use Test::Nginx::Socket 'no_plan';
use SessionRedis;
use SessionRedis::Stage qw(cookie id_of stage);

our $stage = stage(alice => '{"id":1001,"name":"Zo\u00eb","roles":["a"],"nested":{"x":1}}', broken => '{"id":');
our $alice = cookie('alice');
$stage->redis->cmd('EXPIRE', 's:' . id_of('alice'), 600);
$ENV{TEST_NGINX_SHOW} = CORE::join '', map { qq(proxy_set_header V-$_ "<\$session_redis_$_>";\n) }
    qw(status user id id_hash key ttl time json raw server return_to no_cache);
$ENV{TEST_NGINX_HTML_DIR} //= html_dir();
no_root_location();
quiet_logs();
$stage->check_lookups;

run_tests();
logs();
early_reads();
hashes();
done_testing() if !Test::More->builder->has_plan;

# What access logs show, and that error logs show neither ids nor keys.
sub logs () {
    my $format = CORE::join ' ', map { "$_=\$session_redis_$_" } qw(status user id id_hash key ttl time json raw server route key_digest);
    my $nginx  = start_nginx(log_level => 'info', http => "log_format seen '\$uri $format set=\$uid';", server => <<~"END");
        access_log logs/seen.log seen;
        $ENV{TEST_NGINX_SESSION}
        location /return { return 200; }
        location /on  { session_redis_set \$uid /id; session_redis_set_header X-User-Id \@user; $ENV{TEST_NGINX_PASS} }
        location /off { session_redis off; $ENV{TEST_NGINX_PASS} }
        END
    http($nginx->port, $_->[0], headers => [$_->[1]])
        for ['/off', $alice], ['/on/none', 'A: b'], ['/on/invalid', 'Cookie: sid=.-short'], ['/on/missing', cookie('nobody')], ['/on/found', $alice],
            ['/on/broken', cookie('broken')], ['/return', $alice];
    open my $in, '<', $nginx->dir . '/logs/seen.log' or die $!;
    my %line = map { /\A(\S+) (.*)/ } <$in>;
    my $none = 'user=- id=- id_hash=- key=- ttl=- time=- json=- raw=- server=- route=- key_digest=- set=-';
    is($line{'/off'},       "status=off $none",       'log: off');
    is($line{'/on/none'},   "status=none $none",      'log: no id');
    like($line{'/on/invalid'}, qr/\Astatus=invalid user=- id=- id_hash=[0-9a-f]{16} key=- ttl=- time=- json=- raw=- server=- route=- key_digest=- set=-\z/,
        'log: an invalid id is not shown');
    is($line{'/return'},    "status=pending $none",   'log: no lookup');
    like($line{'/on/missing'}, qr/\Astatus=missing user=- id=nobody-\S+ id_hash=[0-9a-f]{16} key=s:nobody-\S+ ttl=- time=0\.\d{6} json=- raw=- server=\S+:\d+ /, 'log: missing');
    like($line{'/on/found'}, qr/\Astatus=found user=1001 id=alice-\S+ id_hash=[0-9a-f]{16} key=s:alice-\S+ ttl=\d+ time=0\.\d{6} json=\{\S+\} raw=\{\S+\} server=\S+ .*set=1001\z/, 'log: found');
    like($line{'/on/broken'}, qr/\Astatus=undecodable user=- id=broken-\S+ .* json=- /, 'log: undecodable');
    unlike($nginx->log, qr/0123456789ab|1001|\.-short/, 'the error log holds no id, key or value');
    return;
}

# Read in the rewrite phase they are empty, which is said once for each worker.
sub early_reads () {
    my $nginx = start_nginx(workers => 2, server => <<~"END");
        $ENV{TEST_NGINX_SESSION}
        session_redis_set \$uid /id;
        location / {
            set \$copy "\$session_redis_user|\$uid|\$session_redis_id|\$session_redis_status";
            set \$worker \$pid;
            session_redis_set_header X-User-Id \@user;
            proxy_set_header V-Copy "<\$copy>";
            proxy_set_header V-Now "<\$session_redis_user|\$uid|\$session_redis_id>";
            proxy_set_header V-Pid \$pid;
            $ENV{TEST_NGINX_PASS}
        }
        END
    my %worker;
    for (1 .. 200) {
        my $body = http($nginx->port, '/', headers => [$alice])->{body};
        $worker{$1} = 1 if $body =~ /^V-Pid: (\d+)/m;
        if ($_ == 1) {
            like($body, qr/^V-Copy: <\|\|\|pending>$/m, 'empty before the lookup');
            like($body, qr/^V-Now: <1001\|1001\|alice-\S+>$/m, 'and not kept so');
        }
        last if $_ >= 20 && keys %worker == 2;
    }
    my @said = $nginx->log =~ /\[warn\] (\d+)#.*before the lookup/g;
    is(scalar @said, scalar keys %worker, 'said once for each worker that served');
    is_deeply([sort @said], [sort keys %worker], 'by each of them');
    return;
}

# The hash of an id is the same in all workers and through a reload; with a key file it can be computed.
sub hashes () {
    my $dir = temp_dir();
    open my $out, '>', "$dir/hash.key" or die $!;
    print {$out} "0123456789abcdef0123456789abcdef\n";
    close $out;
    chmod 0600, "$dir/hash.key";
    my $server = "location / { $ENV{TEST_NGINX_SESSION} session_redis_set_header X-User-Id \@user;"
        . 'add_header X-Hash $session_redis_id_hash; add_header X-Pid $pid; return_test off; }';
    $server =~ s/return_test off;/$ENV{TEST_NGINX_PASS}/;
    my $ask = sub ($nginx, $user = 'alice') {
        my $response = http($nginx->port, '/', headers => [cookie($user)]);
        return (header($response, 'X-Hash'), header($response, 'X-Pid'));
    };

    my $keyed = start_nginx(http => "session_redis_hash_key_file $dir/hash.key;", server => $server);
    my ($hash) = $ask->($keyed);
    is($hash, substr(hmac_sha256_hex(id_of('alice'), '0123456789abcdef0123456789abcdef'), 0, 16), 'HMAC-SHA256 with the file\'s key');

    my $random = start_nginx(workers => 2, server => $server);
    my (%hash, %pid);
    for (1 .. 200) {
        my ($hash, $pid) = $ask->($random);
        $hash{$hash} = $pid{$pid} = 1;
        last if $_ >= 20 && keys %pid == 2;
    }
    is(scalar keys %hash, 1, 'the same in all workers: ' . keys %pid);
    my ($own) = keys %hash;
    like($own, qr/\A[0-9a-f]{16}\z/, '16 digits');
    isnt($own, $hash, 'not the same in another nginx');
    isnt(($ask->($random, 'nobody'))[0], $own, 'not the same for another session');
    return;
}

__DATA__

=== TEST 1: each of them for a session that was found
--- config
    location / { $TEST_NGINX_SESSION session_redis_set_header X-User-Id @user; $TEST_NGINX_SHOW $TEST_NGINX_PASS }
--- request
GET /a?b=c
--- more_headers eval
$::alice
--- response_body_like eval
my $json = '\{"id":1001,"name":"(?:Zo\xc3\xab|Zo\\\\u00eb)","roles":\["a"\],"nested":\{"x":1\}\}';
'(?m)^V-status: <found>
V-user: <1001>
V-id: <alice-0123456789ab>
V-id_hash: <[0-9a-f]{16}>
V-key: <s:alice-0123456789ab>
V-ttl: <(?:600|59\d|5[0-8]\d)>
V-time: <0\.\d{6}>
V-json: <' . $json . '>
V-raw: <' . $json . '>
V-server: <127\.0\.0\.1:' . $::stage->redis->port . '>
V-return_to: <%2Fa%3Fb%3Dc>
V-no_cache: <1>$'
--- lookups: 1



=== TEST 2: without an id
--- config
    location / { $TEST_NGINX_SESSION session_redis_set_header X-User-Id @user; $TEST_NGINX_SHOW $TEST_NGINX_PASS }
--- request
GET /
--- response_body_like eval
'V-status: <none>
V-user: <>
V-id: <>
V-id_hash: <>
V-key: <>
V-ttl: <>
V-time: <>
V-json: <>
V-raw: <>
V-server: <>
V-return_to: <%2F>
V-no_cache: <>
'
--- lookups: 0



=== TEST 3: with a malformed one
--- config
    location / { $TEST_NGINX_SESSION session_redis_set_header X-User-Id @user; $TEST_NGINX_SHOW $TEST_NGINX_PASS }
--- request
GET /
--- more_headers
Cookie: sid=**********************
--- response_body_like eval
'V-status: <invalid>
V-user: <>
V-id: <>
V-id_hash: <[0-9a-f]{16}>
V-key: <>
V-ttl: <>
V-time: <>
V-json: <>
V-raw: <>
V-server: <>
V-return_to: <%2F>
V-no_cache: <1>
'
--- lookups: 0



=== TEST 4: not in the store, not decodable
--- config
    location / { $TEST_NGINX_SESSION session_redis_set_header X-User-Id @user; $TEST_NGINX_SHOW $TEST_NGINX_PASS }
--- request eval
["GET /", "GET /"]
--- more_headers eval
[map { "Cookie: sid=$_-0123456789ab" } qw(nobody broken)]
--- response_body_like eval
[map { my ($status, $user) = @$_; "V-status: <$status>
V-user: <>
V-id: <$user-0123456789ab>
V-id_hash: <[0-9a-f]{16}>
V-key: <s:$user-0123456789ab>
V-ttl: <>
V-time: <0\\.\\d{6}>
V-json: <>
V-raw: <>
V-server: <127.0.0.1:\\d+>
V-return_to: <%2F>
V-no_cache: <1>
" } [missing => 'nobody'], [undecodable => 'broken']]
--- lookups eval
[1, 1]



=== TEST 5: the store down
--- config
    location / { $TEST_NGINX_DOWN session_redis_set_header X-User-Id @user; $TEST_NGINX_SHOW $TEST_NGINX_PASS }
--- request
GET /
--- more_headers eval
$::alice
--- response_body_like eval
'V-status: <error>
V-user: <>
V-id: <alice-0123456789ab>
V-id_hash: <[0-9a-f]{16}>
V-key: <s:alice-0123456789ab>
V-ttl: <>
.*V-json: <>
V-raw: <>
.*V-no_cache: <1>
'



=== TEST 6: off
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-User-Id @user;
    location / { session_redis off; $TEST_NGINX_SHOW $TEST_NGINX_PASS }
--- request
GET /
--- more_headers eval
$::alice
--- response_body_like eval
'V-status: <off>
V-user: <>
V-id: <>
V-id_hash: <>
V-key: <>
V-ttl: <>
V-time: <>
V-json: <>
V-raw: <>
V-server: <>
V-return_to: <%2F>
V-no_cache: <>
'
--- lookups: 0



=== TEST 7: a variable alone makes the location ask
--- config
    $TEST_NGINX_SESSION
    location /user { proxy_set_header X-V "<$session_redis_user>"; $TEST_NGINX_PASS }
--- request
GET /user
--- more_headers eval
$::alice
--- response_body_like: X-V: <1001>
--- lookups: 1



=== TEST 8: the id does not
--- config
    $TEST_NGINX_SESSION
    location / { proxy_set_header X-V "<$session_redis_id>$session_redis_status"; $TEST_NGINX_PASS }
--- request eval
["GET /", "GET /"]
--- more_headers eval
[$::alice, "Cookie: sid=short"]
--- response_body_like eval
["X-V: <alice-0123456789ab>pending", 'X-V: <>invalid']
--- lookups eval
[0, 0]



=== TEST 9: a session without an end has no TTL
--- config
    location / { $TEST_NGINX_SESSION proxy_set_header X-V "<$session_redis_ttl>"; $TEST_NGINX_PASS }
--- init
$main::stage->put(forever => '{}');
--- request
GET /
--- more_headers
Cookie: sid=forever-0123456789ab
--- response_body_like: X-V: <>
--- lookups: 1



=== TEST 10: no_cache is 1 wherever a session was looked for
--- config
    $TEST_NGINX_SESSION
    proxy_set_header X-V "<$session_redis_no_cache>";
    location /a { session_redis_set_header X-User-Id @user; $TEST_NGINX_PASS }
    location /b { session_redis_set_header X-User-Id /absent; $TEST_NGINX_PASS }
    location /c { session_redis_require @user; $TEST_NGINX_PASS }
    location /e { session_redis_require @user; try_files /none /f; }
    location /f { session_redis off; $TEST_NGINX_PASS }
    location /g { set $early $session_redis_no_cache; session_redis_require @user unless_cookie=me; proxy_set_header X-V "<$early$session_redis_no_cache>"; $TEST_NGINX_PASS }
--- request eval
["GET /a", "GET /b", "GET /c", "GET /e", "GET /f", "GET /a", "GET /a", "GET /a", "GET /g", "GET /g"]
--- more_headers eval
[($::alice) x 5, '', 'Cookie: sid=short', 'Cookie: sid=nobody-0123456789ab', $::alice, 'Cookie: me=1']
--- response_body_like eval
['<1>', '<1>', '<1>', '<1>', '<>', '<>', '<1>', '<1>', '<11>', '<11>']



=== TEST 11: proxy_cache keeps one user's page from another by it
--- http_config
    proxy_cache_path $TEST_NGINX_HTML_DIR/cache keys_zone=pages:1m;
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_set_header X-User-Id @user;
        proxy_cache pages;
        proxy_cache_key $uri;
        proxy_cache_valid 1m;
        proxy_no_cache $session_redis_no_cache;
        proxy_cache_bypass $session_redis_no_cache;
        proxy_set_header X-Time $request_id;
        $TEST_NGINX_PASS
    }
--- request eval
[("GET /cached") x 3]
--- more_headers eval
[$::alice, '', $::alice]
--- response_body_like eval
['X-User-Id: 1001', '\A(?!.*X-User-Id)', 'X-User-Id: 1001']



=== TEST 12: session_redis_set, with default, by the location in force
--- config
    $TEST_NGINX_SESSION
    session_redis_set $v /id;
    session_redis_set $w /absent fallback;
    proxy_set_header X-V "<$v|$w>";
    location /a { $TEST_NGINX_PASS }
    location /b { session_redis_set $v /name; $TEST_NGINX_PASS }
    location /c { session_redis_set $v /nested; session_redis_set $w /roles/0; $TEST_NGINX_PASS }
    location /d { session_redis off; $TEST_NGINX_PASS }
    location /e { try_files /none /b; }
    location /f { session_redis_set $v "user $session_redis_user" nobody; $TEST_NGINX_PASS }
--- request eval
["GET /a", "GET /b", "GET /c", "GET /d", "GET /e", "GET /a", "GET /f", "GET /f"]
--- more_headers eval
[($::alice) x 5, '', $::alice, '']
--- response_body_like eval
["<1001\\|fallback>", "<Zo\xc3\xab\\|>", '<\{"x":1\}\|a>', '<\|>', "<Zo\xc3\xab\\|>", '<\|fallback>', '<user 1001\|>', '<nobody\|>']



=== TEST 13: map and if in a later phase see them
--- http_config
    map $uid $kind { default user; "" guest; }
    map $session_redis_status $state { default other; found in; none out; }
--- config
    location / {
        $TEST_NGINX_SESSION
        session_redis_set $uid /id;
        proxy_set_header X-V "<$kind $state>";
        $TEST_NGINX_PASS
    }
--- request eval
["GET /", "GET /"]
--- more_headers eval
[$::alice, '']
--- response_body_like eval
['<user in>', '<guest out>']



=== TEST 14: session_redis_key_digest
--- config
    $TEST_NGINX_SESSION
    proxy_set_header X-V "<$session_redis_key_digest|$session_redis_key>";
    session_redis_set_header X-User-Id @user;
    location /md5    { session_redis_key_digest md5 $session_redis_id; $TEST_NGINX_PASS }
    location /sha1   { session_redis_key_digest sha1 a $session_redis_id; $TEST_NGINX_PASS }
    location /json   {
        session_redis_key_digest md5 json 'openyii\\framework\\CSessionRedis' $session_redis_id;
        session_redis_key "ssid_$session_redis_key_digest";
        $TEST_NGINX_PASS
    }
    location /digest { session_redis_key "x:$session_redis_id" digest=sha256; $TEST_NGINX_PASS }
--- request eval
["GET /md5", "GET /sha1", "GET /json", "GET /digest"]
--- more_headers eval
[($::alice) x 4]
--- response_body_like eval
my $id = 'alice-0123456789ab';
my $json = Digest::MD5::md5_hex('["openyii\\\\framework\\\\CSessionRedis","' . $id . '"]');
['<' . Digest::MD5::md5_hex($id) . '\|s:' . $id . '>', '<' . Digest::SHA::sha1_hex("a$id") . '\|', "<$json\\|ssid_$json>", '<\|' . Digest::SHA::sha256_hex("x:$id") . '>']



=== TEST 15: session_redis_request_uri masks ids
--- config
    $TEST_NGINX_SESSION
    proxy_set_header X-V "<$session_redis_request_uri>";
    session_redis_set_header X-User-Id @user;
    location /arg  { session_redis_id arg:sid; $TEST_NGINX_PASS }
    location /path { session_redis_id path:sid; $TEST_NGINX_PASS }
    location /none { $TEST_NGINX_PASS }
--- request eval
["GET /arg?a=1&sid=alice-0123456789ab&b=2", "GET /path;sid=alice-0123456789ab?x=1", "GET /none?a=b", "GET /arg?sid=alice-0123456789ab&sid=bobby-0123456789ab", "GET /arg?x=1&sid=short"]
--- response_body_like eval
[qr/X-V: <\/arg\?a=1&sid=(?!alice)[^&]*&b=2>/, qr/X-V: <\/path;sid=(?!alice)[^;?]*\?x=1>/, qr/X-V: <\/none\?a=b>/,
 qr/X-V: <(?!.*(?:alice|bobby)-0123)/, qr/X-V: <\/arg\?x=1&sid=(?!short)/]



=== TEST 16: the backend gets the URI as it came
--- config
    location / { $TEST_NGINX_SESSION session_redis_id arg:sid; session_redis_set_header X-User-Id @user; $TEST_NGINX_PASS }
--- request
GET /arg?a=1&sid=alice-0123456789ab
--- response_body_like: GET /arg\?a=1&sid=alice-0123456789ab .*X-User-Id: 1001



=== TEST 17: session_redis_request_uri masks ids where the module is off, also after a redirect
--- config
    $TEST_NGINX_SESSION
    session_redis_id cookie:sid path:sid arg:sid;
    session_redis_set_header X-User-Id @user;
    proxy_set_header X-V "<$session_redis_request_uri>";
    location /off { session_redis off; $TEST_NGINX_PASS }
    location /redirect { try_files /none /off; }
    location /own { session_redis_id arg:own; try_files /none /off; }
    location /other { session_redis_id arg:own; try_files /none /on; }
    location /on { session_redis_id cookie:sid; $TEST_NGINX_PASS }
--- request eval
["GET /off;sid=alice-0123456789ab?b=2", "GET /redirect;sid=alice-0123456789ab?sid=bobby-0123456789ab", "GET /own?own=alice-0123456789ab", "GET /other?own=alice-0123456789ab"]
--- response_body_like eval
[qr/X-V: <\/off;sid=(?!alice)[^;?]*\?b=2>/, qr/X-V: <\/redirect;sid=(?!alice)[^;?]*\?sid=(?!bobby)[^;?]*>/, qr/X-V: <\/own\?own=(?!alice)/, qr/X-V: <\/other\?own=(?!alice)/]



=== TEST 18: after a redirect to where the module is off nothing of the session is left
--- config
    $TEST_NGINX_SESSION
    session_redis_set_header X-User-Id @user;
    location /redirect { try_files /none /off; }
    location /off { session_redis off; $TEST_NGINX_SHOW $TEST_NGINX_PASS }
--- request
GET /redirect
--- more_headers eval
$::alice
--- response_body_like eval
'V-status: <off>
V-user: <>
V-id: <>
V-id_hash: <>
V-key: <>
V-ttl: <>
V-time: <>
V-json: <>
V-raw: <>
V-server: <>
'
--- lookups: 1



=== TEST 19: the key is there without a lookup
--- config
    $TEST_NGINX_SESSION
    location / { proxy_set_header X-V "<$session_redis_key>$session_redis_status"; $TEST_NGINX_PASS }
--- request
GET /
--- more_headers eval
$::alice
--- response_body_like: X-V: <s:alice-0123456789ab>pending
--- lookups: 0



=== TEST 20: a set of the same name wins where it runs
--- config
    $TEST_NGINX_SESSION
    session_redis_set $v /id;
    proxy_set_header X-V "<$v>";
    location /set { set $v own; $TEST_NGINX_PASS }
    location / { $TEST_NGINX_PASS }
--- request eval
["GET /", "GET /set"]
--- more_headers eval
[($::alice) x 2]
--- response_body_like eval
['<1001>', '<own>']
