# Of the session cookie a backend gets what nginx judged, and nothing that its parser may read otherwise: by each way to a
# backend, and over HTTP/2.
use v5.26;
use warnings;

use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Stage qw(id_of stage);
use Test::More;

my $stage   = stage(alice => '{"id":1001}', bobby => '{"id":1002}');
my ($alice, $bobby) = map { 'sid=' . id_of($_) } qw(alice bobby);
my $h2      = free_port();
my $grpc    = free_port();
my $headers = 'session_redis_set_header X-User-Id @user;';
my %pass    = map { $_ => "${_}_pass 127.0.0.1:$ENV{'TEST_NGINX_' . uc($_) . '_PORT'};" } qw(fastcgi scgi uwsgi);
my $locations = join '', map { "location = /$_ { $ENV{TEST_NGINX_SESSION} $headers $pass{$_} }" } sort keys %pass;
my $nginx   = start_nginx(
    server => "location = /proxy { $ENV{TEST_NGINX_SESSION} $headers $ENV{TEST_NGINX_PASS} } $locations
        location = /grpc { $ENV{TEST_NGINX_SESSION} $headers grpc_pass grpc://127.0.0.1:$grpc; }
        location = /hidden { $ENV{TEST_NGINX_SESSION} $headers session_redis_hide_cookie on; $ENV{TEST_NGINX_PASS} }
        location = /koa { session_redis @{[$stage->redis->url]}; session_redis_framework koa; session_redis_secret key; $ENV{TEST_NGINX_PASS} }
        location = /aspnet { session_redis @{[$stage->redis->url]}; session_redis_framework aspnet; session_redis_id cookie:sid; session_redis_secret @{['k' x 64]}; $ENV{TEST_NGINX_PASS} }
        location = /php { session_redis @{[$stage->redis->url]}; session_redis_framework php; session_redis_cookie my_sid; $ENV{TEST_NGINX_PASS} }",
    http => "server { @{[h2_listen($grpc)]} session_redis_trust_headers from 127.0.0.1; location / { return 200 \"Cookie: \$http_cookie\\nX-User-Id: \$http_x_user_id\\n\"; } }
        server { @{[h2_listen($h2)]} location / { $ENV{TEST_NGINX_SESSION} $headers $ENV{TEST_NGINX_PASS} } }",
);

# Sent, left, and whose session it is.
my @cases = (
    ['a browser\'s',             ["lang=de; $alice; name=John Smith; j={\"a\":1,\"b\":2}; back=/?sid=1"],
        "lang=de; $alice; name=John Smith; j={\"a\":1,\"b\":2}; back=/?sid=1", 1001],
    ['behind a blank',           ["$alice; foo=bar $bobby"],             $alice,                 1001],
    ['behind a comma',           ["$alice; foo=bar,$bobby; x=1"],        "$alice; x=1",          1001],
    ['behind quotes',            ["foo=\"a\"$bobby; $alice"],            $alice,                 1001],
    ['in quotes',                ["foo=\"a; $bobby\"; $alice"],          'foo="a',               ''],
    ['behind =',                 ["=$bobby; $alice"],                    $alice,                 1001],
    ['it alone behind a blank',  ["a=1; foo=bar $bobby"],                'a=1',                  ''],
    ['of two lines',             [$alice, "x=1; foo=bar $bobby"],        "$alice; x=1",          1001],
    ['the whole header',         ["foo=bar $bobby"],                     '',                     ''],
    ['one that is skipped',      ["sid=\"a\\b\"; $bobby"],               '',                     ''],
    ['one that ends elsewhere',  ["$alice x; a=1"],                      'a=1',                  ''],
    ['an encoded name',          ["%73id=" . id_of('bobby') . "; a=1"],  'a=1',                  ''],
    ['many copies',              [join '; ', $alice, ($bobby) x 20],     $alice,                 1001],
);
for my $way (qw(proxy fastcgi scgi uwsgi grpc)) {
    subtest $way => sub { is_passed($way, @$_) for @cases };
}
subtest 'HTTP/2' => sub {
    plan(skip_all => 'no curl') if !have('curl');
    for my $case (@cases) {
        my ($what, $lines, $left, $user) = @$case;
        # Each pair in a field of its own, as browsers send them.
        my @crumbs = map { split /; / } @$lines;
        my $got = http2($h2, '/', headers => [map { "Cookie: $_" } @crumbs])->{body};
        is_deeply([seen($got)], [$left, $user], $what);
    }
};
subtest 'session_redis_hide_cookie' => sub {
    my $got = http($nginx->port, '/hidden', headers => ["Cookie: a=1; foo=bar $bobby; $alice; b=2"])->{body};
    is_deeply([seen($got)], ['a=1; b=2', 1001], 'hides what may be read as the cookie, too');
};
subtest 'frameworks' => sub {
    my $left = sub { my ($where, $cookies) = @_; (seen(http($nginx->port, "/$where", headers => ["Cookie: $cookies"])->{body}))[0] };
    is($left->(koa => 'koa.sid=a; koa.sid.sig=x; foo=bar koa.sid.sig=y; koa.sid.sig=z'), 'koa.sid=a; koa.sid.sig=x', 'Koa: the first signature alone');
    is($left->(aspnet => 'sid=a; SID=b; foo=bar,Sid=c; d=1'), 'sid=a; d=1', 'ASP.NET: names in another case');
    is($left->(php => 'my_sid=a; my.sid=b; my[sid=c; MY_SID=d'), 'my_sid=a; MY_SID=d', 'PHP: names that it makes the same');
};
unlike($nginx->log, qr/\[(?:alert|crit|emerg)\]|panicked/, 'nothing worse than an error in the log');
done_testing();

sub is_passed {
    my ($way, $what, $lines, $left, $user) = @_;
    my $got = http($nginx->port, "/$way", headers => [map { "Cookie: $_" } @$lines])->{body};
    is_deeply([seen($got)], [$left, $user], $what);
    return;
}

# The cookies that a backend got, and the user.
sub seen {
    my ($text) = @_;
    my @cookies = grep { length } $text =~ /^(?:Cookie: |HTTP_COOKIE=)(.*)$/gmi;
    my ($user) = $text =~ /^(?:X-User-Id: |HTTP_X_USER_ID=)(.+)$/mi;
    return (join('; ', @cookies), $user // '');
}
