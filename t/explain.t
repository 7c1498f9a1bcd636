# What becomes of a session, told step by step: by nginx in a location, and by the program session-redis.
use v5.26;
use warnings;
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use Test::Nginx::Socket 'no_plan';
use SessionRedis;
use SessionRedis::Stage qw(stage);
use Digest::SHA qw(sha256_hex);

our $stage = stage();
our $redis = $stage->redis;
our $alice = 'Cookie: sid=alice-0123456789ab';
our $tool  = "$FindBin::Bin/../objs/session-redis";
no_root_location();
quiet_logs();

$redis->cmd('FLUSHALL');
$redis->cmd('SET', 's:alice-0123456789ab', '{"user":{"id":1001,"name":"s3cret"},"roles":["s3cret","b"]}', 'EX', 1000);
$redis->cmd('SET', 's:array-0123456789ab', 'uid|i:5;');
$redis->cmd('HSET', 's:ahash-0123456789ab', 'id', '7', 'name', '"s3cret"');
$redis->cmd('RPUSH', 's:alist-0123456789ab', 's3cret');
$redis->cmd('SET', 'srr:' . substr(sha256_hex('alice-0123456789ab'), 0, 32), '10.0.0.11:8080 ' . time . ' 1440');

# Whatever is told, nothing of it is an id, a value or a secret.
sub holds_no_secret {
    my ($told, $name) = @_;
    unlike($told, qr/s3cret|0123456789ab|1001/, "$name - no id, value or secret");
}
add_response_body_check(sub {
    my ($block, $body) = @_;
    holds_no_secret($body, $block->name);
});

my $port = $redis->port;
my @raw  = ('--cookie-name', 'sid', '--key', 's:', '--format', 'json', '--redis', "redis://127.0.0.1:$port");

# Runs session-redis explain; gives its exit status and what it printed.
sub explain {
    my ($name, @arguments) = @_;
    my $command = join ' ', map { quotemeta } $tool, 'explain', @arguments;
    my $told = qx($command 2>&1 </dev/null);
    holds_no_secret($told, $name);
    return ($? >> 8, $told);
}

sub told {
    my ($name, $arguments, $status, @lines) = @_;
    my ($got, $told) = explain($name, @$arguments);
    is($got, $status, "$name - exit status");
    like($told, $_, $name) for @lines;
}

told('a session that is read', [@raw, '--cookie', 'sid=alice-0123456789ab; a=b', '--user', '/user/id', '--header', 'X-Roles /roles'], 0,
    qr/^id        ok      cookie sid: an id of 18 bytes$/m,
    qr/^key       ok      s:\*\*\*$/m,
    qr/^store     ok      127\.0\.0\.1:$port: a string of \d+ bytes, \d+ s left$/m,
    qr/^format    ok      read\n +json: read$/m,
    qr/^session   ok      object of 2\n +user: object of 2\n +id: whole number\n +name: string of 6 bytes\n +roles: array of 2$/m,
    qr/^user              whole number$/m,
    qr/^header            X-Roles: sent, 14 bytes$/m);
told('no such key', [@raw, '--cookie', 'sid=carol-0123456789ab'], 1, qr/^store     FAILED  127\.0\.0\.1:$port: no such key; it has expired, or/m);
told('another format', [@raw, '--cookie', 'sid=array-0123456789ab'], 1,
    qr/^format    FAILED  value of format "json" expected, it begins like "php"\n +json: malformed or cut off$/m);
told('a hash', [@raw, '--cookie', 'sid=ahash-0123456789ab'], 0,
    qr/^store     ok      \S+: a hash of 2 fields, no end$/m, qr/^session   ok      object of 2\n +id: whole number\n +name: string of 6 bytes$/m);
told('a list', [@raw, '--cookie', 'sid=alist-0123456789ab'], 1, qr/^store     FAILED .*WRONGTYPE/m);
told('no cookie', [@raw, '--cookie', 'other=1'], 1, qr/^id                cookie sid: not in the request$/m);
told('an id that is none', [@raw, '--cookie', 'sid=0123456789ab'], 1, qr/^id        FAILED  cookie sid: refused, too short$/m);
told('a store that is down', [@raw[0 .. 5], '--redis', 'redis://127.0.0.1:1', '--cookie', 'sid=alice-0123456789ab'], 1, qr/^store     FAILED  .*refused/m);
told('a password stays untold', [@raw[0 .. 5], '--redis', "redis://:s3cret\@127.0.0.1:$port", '--cookie', 'sid=alice-0123456789ab'], 1, qr/^store     FAILED/m);

my $signed = 's%3AcHpUiV7wDyBcQkpfsYRiyLq-GQSIlbB8.5ioZhFw2%2F25127zq6w0dbcsHqltBe%2FDEe14YLImDUDE';
my @express = ('--framework', 'express', '--cookie', "connect.sid=$signed", '--redis', "redis://127.0.0.1:$port");
told('a good signature', [@express, '--secret', 'keyboard cat'], 1, qr/^id        ok      cookie connect\.sid: an id of 32 bytes$/m);
told('a wrong secret', [@express, '--secret', 's3cret'], 1, qr/^id        FAILED  cookie connect\.sid: refused, wrong signature$/m);
told('no secret', \@express, 2, qr/"--secret-file" is missing/);
told('an unknown framework', ['--framework', 'expres'], 2, qr/unknown framework "expres"; did you mean "express"\?/);
told('an unknown option', ['--nothing'], 2, qr/--nothing/);

{
    my $told = qx(printf '{"a":[1]}' | $tool explain --framework express --stdin --json);
    is($? >> 8, 0, 'a value from standard input - exit status');
    like($told, qr/"step":"session","ok":true,"says":"object of 1","lines":\["a: array of 1","  0: whole number"\]/, 'a value from standard input, as JSON');
}

run_tests();

__DATA__

=== TEST 1: a session that is read, and what the location makes of it
--- config
    $TEST_NGINX_SESSION
    location = /explain {
        session_redis_user /user/id;
        session_redis_set_header X-User  @user;
        session_redis_set_header X-Roles /roles join=,;
        session_redis_set_header X-None  /none;
        session_redis_set_header X-Env   text:live;
        session_redis_require    /roles has b;
        session_redis_explain;
    }
--- request
GET /explain
--- more_headers eval
$::alice
--- response_headers
Content-Type: text/plain; charset=utf-8
Cache-Control: no-store
X-Content-Type-Options: nosniff
--- response_body_like eval
qr/\Aid        ok      cookie sid: an id of 18 bytes
key       ok      s:\*\*\*
store     ok      \S+: a string of \d+ bytes, \d+ s left
format    ok      read
                  json: read
session   ok      object of 2
                  user: object of 2
                    id: whole number
                    name: string of 6 bytes
                  roles: array of 2
                    0: string of 6 bytes
                    1: string of 1 bytes
user              whole number
header            X-User: sent, 4 bytes
header            X-Roles: sent, 8 bytes
header            X-None: absent: nothing is there
header            X-Env: sent, not from the session
require   ok      \/roles has b: holds \(array of 2\)
\z/



=== TEST 2: as JSON
--- config
    $TEST_NGINX_SESSION
    location = /explain { session_redis_explain; }
--- request
GET /explain?format=json
--- more_headers eval
$::alice
--- response_headers
Content-Type: application/json
--- response_body_like: ^\{"ok":true,"steps":\[\{"step":"id","ok":true,"says":"cookie sid: an id of 18 bytes","lines":\[\]\},



=== TEST 3: where the session is lost, or is not
--- config
    $TEST_NGINX_SESSION
    location = /explain { session_redis_explain; }
--- request eval
[map { "GET /explain?$_" } 0 .. 5]
--- more_headers eval
['X: 1', 'Cookie: sid=short', 'Cookie: sid=carol-0123456789ab', 'Cookie: sid=array-0123456789ab', 'Cookie: sid=ahash-0123456789ab', 'Cookie: sid=alist-0123456789ab']
--- response_body_like eval
[
    qr/\Aid                cookie sid: not in the request\n\z/,
    qr/\Aid        FAILED  cookie sid: refused, too short\n\z/,
    qr/^store     FAILED  \S+: no such key; it has expired, or prefix or database are others\n\z/m,
    qr/^format    FAILED  value of format "json" expected, it begins like "php"$/m,
    qr/^session   ok      object of 2$/m,
    qr/^store     FAILED  \S+: the key holds neither string nor hash\n\z/m,
]



=== TEST 4: HEAD has no body, other methods are none
--- config
    $TEST_NGINX_SESSION
    location = /explain { session_redis_explain; }
--- request eval
['HEAD /explain', 'POST /explain']
--- more_headers eval
$::alice
--- error_code eval
[200, 405]



=== TEST 5: a requirement that does not hold is told by whom it refuses elsewhere
--- config
    $TEST_NGINX_SESSION
    location = /explain {
        session_redis_require /roles has admin error=403;
        session_redis_explain;
        satisfy any;
        allow all;
    }
--- request
GET /explain
--- more_headers eval
$::alice
--- response_body_like: (?m)^require   FAILED  /roles has admin: does not hold \(array of 2\)$



=== TEST 6: where the session belongs
--- config
    $TEST_NGINX_SESSION
    location = /learnt { session_redis_route learn; session_redis_explain; }
    location = /unlearnt { session_redis_route learn prefix=other:; session_redis_explain; }
    location = /value { session_redis_route /user/name; session_redis_explain; }
    location = /suffix { session_redis_route jvmroute; session_redis_explain; }
--- request eval
[map { "GET /$_" } qw(learnt unlearnt value suffix suffix)]
--- more_headers eval
[($::alice) x 4, 'Cookie: sid=dave-0123456789ab.app1']
--- response_body_like eval
[
    qr/^route             server "10\.0\.0\.11:8080", assigned \d+ s ago for 1440 s$/m,
    qr/^route             none was learnt yet$/m,
    qr/^route             string of 6 bytes$/m,
    qr/^route             the id names no server$/m,
    qr/^route             the id names server "app1"$/m,
]



=== TEST 7: not within another request, which would wait for it
--- config
    $TEST_NGINX_SESSION
    location = /explain { session_redis_explain; }
    location = /page.html { ssi on; }
--- user_files
>>> page.html
[<!--#include virtual="/explain?1" --><!--#include virtual="/explain?2" -->] all of it
--- request
GET /page.html
--- more_headers eval
$::alice
--- response_body_like: all of it
