# What an attacker tries, over HTTP/1.1 and HTTP/2: to get round a requirement, by each cell of the README's table "Who may
# pass", with the answer for whoever may and for everybody else; to see another's page; to use a session that has ended; to
# be somebody else to the backend; to log others out.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Nginx qw(h2_listen);
use SessionRedis::Stage qw(cookie stage);
use Test::More;

my $stage = stage(alice => '{"id":1001,"role":"admin"}', bobby => '{"id":1002}', guest => '{"role":"guest"}', broken => '{"id":');
my ($on, $down, $pass) = @ENV{qw(TEST_NGINX_SESSION TEST_NGINX_DOWN TEST_NGINX_PASS)};
my $copied = $pass =~ s{;}{/copied;}r;
my $over   = '0123456789abcdef-over';
my $secret = '0123456789abcdef0123456789abcdef';
my $h2     = free_port();
$stage->redis->cmd('SET', "s:$over", '{"id":1001,"role":"admin","cookie":{"expires":"2001-01-01T00:00:00.000Z"}}');
my $page   = temp_dir();
$on =~ s/^session_redis \K\S+;/kept;/;
my $store  = 'session_redis_store kept { server ' . $stage->redis->url . '; cache 1m; }';
my $nginx  = start_nginx(http => "proxy_cache_path $page keys_zone=pages:1m; $store", server => h2_listen($h2) . <<"END");
    $on
    absolute_redirect off;
    session_redis_set_header X-User-Id \@user;
    session_redis_set_header X-Role /role;
    session_redis_set \$role /role;

    location /open/  { proxy_set_header X-Set "\$role"; $pass }
    location /plain/ { session_redis_require \@user; $pass }
    location /role/  { session_redis_require /role is admin error=403; $pass }
    location /cors/  {
        session_redis_require \@user preflight=pass;
        session_redis_require /role is admin preflight=pass error=403;
        proxy_set_header X-Set "\$role\$session_redis_user";
        $pass
    }
    location /remember/ { session_redis_require \@user unless_cookie=remember_*; $pass }
    location /remember/admin/ {
        session_redis_require \@user unless_cookie=remember_*;
        session_redis_require /role is admin error=403;
        $pass
    }

    location /down/plain/    { $down session_redis_require \@user; $pass }
    location /down/cors/     { $down session_redis_require \@user preflight=pass; $pass }
    location /down/remember/ { $down session_redis_require \@user unless_cookie=remember_*; $pass }
    location /down/fail/     { $down session_redis_on_error fail; $pass }

    location /any/ {
        satisfy any;
        location /any/allowed/  { allow all; session_redis_require \@user; $pass }
        location /any/denied/   { deny all; session_redis_require \@user; $pass }
        location /any/alone/    { session_redis_require \@user unless_cookie=remember_*; $pass }
        location /any/remember/ { deny all; session_redis_require \@user unless_cookie=remember_*; $pass }
        location /any/cors/     { deny all; session_redis_require \@user preflight=pass; $pass }
        location /any/down/     { deny all; $down session_redis_require \@user unless_cookie=remember_*; $pass }
        location /any/saved/    { allow all; $down session_redis_require \@user; $pass }
    }

    location /error/       { error_page 401 /error/page; session_redis_require \@user; $pass }
    location /error/inner/ { error_page 401 /inner; session_redis_require \@user; $pass }
    location = /error/page { session_redis_require off; $pass }
    location = /inner      { internal; session_redis_require \@user login=/login; $pass }
    location /login        { session_redis_require \@user login=/login?next=\$session_redis_return_to; $pass }
    location /away/        { session_redis_require \@user login=/login?next=\$session_redis_return_to; $pass }

    location /asks/         { auth_request /auth/direct; $pass }
    location /asks/off/     { session_redis off; auth_request /auth/direct; $pass }
    location /asks/proxied/ { auth_request /auth/proxied; $pass }
    location /asks/role/    { auth_request /auth/role; $pass }
    location /asks/down/    { auth_request /auth/down; $pass }
    location /asks/cors/    { auth_request /auth/cors; $pass }
    location /asks/login/   { auth_request /auth/login; $pass }
    location /asks/any/     { auth_request /auth/any; $pass }
    location = /auth/direct  { internal; session_redis_require \@user; try_files /none =204; }
    location = /auth/proxied { internal; session_redis_require \@user; $pass }
    location = /auth/role    { internal; session_redis_require /role is admin error=403; $pass }
    location = /auth/down    { internal; $down session_redis_require \@user; $pass }
    location = /auth/cors    { internal; session_redis_require \@user preflight=pass; $pass }
    location = /auth/login   { internal; session_redis_require \@user login=/login; $pass }
    location = /auth/any     { internal; satisfy any; allow all; session_redis_require \@user; $pass }

    location /page/       { ssi on; ssi_types *; }
    location /part/       { session_redis_require /role is admin; $pass }
    location /mirrors/    { mirror /copy; $pass }
    location /kept/       {
        session_redis_require \@user;
        proxy_set_header X-Set "\$session_redis_user";
        proxy_cache pages;
        proxy_cache_key \$request_uri;
        proxy_cache_valid 1h;
        proxy_no_cache \$session_redis_no_cache;
        proxy_cache_bypass \$session_redis_no_cache;
        $pass
    }
    location /strict/     {
        session_redis_framework fastify;
        session_redis_secret $secret;
        session_redis_cookie sessionId;
        set \$before "\$role";
        session_redis_require \@user;
        proxy_set_header X-Set "\$role";
        $pass
    }
    location /lax/        { session_redis_require \@user; try_files /none /strict/; }
    location = /logout    { session_redis_destroy; }
    location = /copy      { internal; session_redis_require /role is admin; $copied }
END
mkdir $nginx->dir . '/html/page';
page($_, qq{<!--# include virtual="/part/$_" -->|<!--# include virtual="/open/$_" -->}) for 1;

my @preflight = ('Origin: http://a.example', 'Access-Control-Request-Method: PUT');
my %as        = (nobody => [], map { $_ => [cookie($_)] } qw(alice bobby guest broken absent));
my @all       = qw(nobody alice guest broken absent);
my $html      = 'Accept: text/html';

# Request by request: what is tried; method, path, headers, body; the status that is right.
my @tries = (
    # No exception: every method, with whatever looks like a preflight.
    (map { my $as = $_; map { ["$_ as $as", $_, '/plain/', $as{$as}, undef, $as eq 'alice' ? 200 : 401] } qw(GET POST OPTIONS PUT TRACK) }
        qw(nobody alice guest broken absent)),
    ['a preflight',                     OPTIONS => '/plain/', [@preflight], undef, 401],
    ['a preflight without Origin',      OPTIONS => '/plain/', [$preflight[1]], undef, 401],
    ['an empty method',                 OPTIONS => '/plain/', [$preflight[0], 'Access-Control-Request-Method;'], undef, 401],
    ['a preflight with a body',         OPTIONS => '/plain/', [@preflight], 'delete=42', 401],
    ["a guest's preflight",             OPTIONS => '/role/', [@preflight, cookie('guest')], undef, 403],
    ['a preflight while a store fails', OPTIONS => '/down/plain/', [@preflight, cookie('alice')], undef, 503],
    ['where a failing store is told',   OPTIONS => '/down/fail/', [@preflight, cookie('alice')], undef, 503],

    # preflight=pass
    ['a preflight that is asked for',   OPTIONS => '/cors/', [@preflight], undef, 200],
    ['with a session',                  OPTIONS => '/cors/', [@preflight, cookie('alice')], undef, 200],
    ["a guest's",                       OPTIONS => '/cors/', [@preflight, cookie('guest')], undef, 200],
    ['while the store fails',           OPTIONS => '/down/cors/', [@preflight, cookie('alice')], undef, 200],
    ['without Origin',                  OPTIONS => '/cors/', [$preflight[1]], undef, 401],
    ['an empty Origin',                 OPTIONS => '/cors/', ['Origin;', $preflight[1]], undef, 401],
    ['without a method',                OPTIONS => '/cors/', [$preflight[0]], undef, 401],
    ['a method that is empty',          OPTIONS => '/cors/', [$preflight[0], 'Access-Control-Request-Method;'], undef, 401],
    ['a method that is none',           OPTIONS => '/cors/', [$preflight[0], 'Access-Control-Request-Method: GET, PUT'], undef, 401],
    ['with a body',                     OPTIONS => '/cors/', [@preflight], 'delete=42', 401],
    ['no body, and said so',            OPTIONS => '/cors/', [@preflight, 'Content-Length: 0'], undef, 200],
    ['another method',                  GET     => '/cors/', [@preflight], undef, 401],
    ['another method, a guest',         POST    => '/cors/', [@preflight, cookie('guest')], undef, 401],
    ['a method in disguise',            POST    => '/cors/', [@preflight, 'X-HTTP-Method-Override: OPTIONS'], undef, 401],
    ['plain OPTIONS with a session',    OPTIONS => '/cors/', [cookie('alice')], undef, 200],

    # unless_cookie=
    ['a remembered visitor',            GET => '/remember/', ['Cookie: remember_web=1'], undef, 200],
    ['a name that only begins so',      GET => '/remember/', ['Cookie: xremember_web=1'], undef, 401],
    ['in another case',                 GET => '/remember/', ['Cookie: Remember_web=1'], undef, 401],
    ['in a value',                      GET => '/remember/', ['Cookie: a=remember_web=1'], undef, 401],
    ['past one condition of two',       GET => '/remember/admin/', ['Cookie: remember_web=1'], undef, 403],
    ["a remembered visitor's guest session", GET => '/remember/admin/', ['Cookie: remember_web=1; sid=guest-0123456789ab'], undef, 403],
    ["a remembered admin's session",    GET => '/remember/admin/', ['Cookie: remember_web=1; sid=alice-0123456789ab'], undef, 200],
    ['remembered, the store fails',     GET => '/down/remember/', ['Cookie: remember_web=1; sid=alice-0123456789ab'], undef, 503],

    # satisfy any
    (map { ["allowed elsewhere, $_", GET => '/any/allowed/', $as{$_}, undef, 200] } qw(nobody alice guest broken)),
    ['denied elsewhere',                GET => '/any/denied/', [], undef, 401],
    ['denied elsewhere, a session',     GET => '/any/denied/', [cookie('alice')], undef, 200],
    ['nobody else asked, remembered',   GET => '/any/alone/', ['Cookie: remember_web=1'], undef, 200],
    ['nobody else asked, nobody',       GET => '/any/alone/', [], undef, 401],
    ['denied elsewhere, remembered',    GET => '/any/remember/', ['Cookie: remember_web=1'], undef, 403],
    ['an empty cookie of that name',    GET => '/any/remember/', ['Cookie: remember_='], undef, 403],
    ['a session all the same',          GET => '/any/remember/', ['Cookie: remember_=; sid=alice-0123456789ab'], undef, 200],
    ['denied elsewhere, a preflight',   OPTIONS => '/any/cors/', [@preflight], undef, 403],
    ['denied elsewhere, the store fails', GET => '/any/down/', ['Cookie: remember_=; sid=alice-0123456789ab'], undef, 403],
    ['allowed elsewhere, the store fails', GET => '/any/saved/', [cookie('alice')], undef, 200],

    # Error pages and the login page
    ['an error page of its own',        GET => '/error/', [], undef, 401],
    ['an error page that requires too', GET => '/error/inner/', [$html], undef, 401],
    ['no way past it',                  GET => '/inner', [cookie('alice')], undef, 404],
    ['to the login',                    GET => '/away/', [$html], undef, 302],
    ['not of a guest who posts',        POST => '/away/', [$html, cookie('guest')], undef, 401],
    ['the login itself',                GET => '/login', [$html], undef, 401],
    ['the login by another spelling',   GET => '/%6cogin', [$html], undef, 401],
    ['the login, a session',            GET => '/login', [$html, cookie('alice')], undef, 200],

    # Subrequests
    (map { my $path = $_; map { ["auth_request $path as $_", GET => "/asks/$path", $as{$_}, undef, $_ eq 'alice' ? 200 : 401] } @all }
        '', 'off/', 'proxied/', 'any/'),
    (map { ["auth_request by role as $_", GET => '/asks/role/', $as{$_}, undef, $_ eq 'alice' ? 200 : 403] } @all),
    ['auth_request while the store fails', GET => '/asks/down/', [cookie('alice')], undef, 500],
    ['auth_request, login=',            GET => '/asks/login/', [$html], undef, 401],
    ['auth_request, a preflight',       OPTIONS => '/asks/', [@preflight], undef, 401],
    ['auth_request, one that is asked for', OPTIONS => '/asks/cors/', [@preflight], undef, 200],
    ['a location for subrequests only', GET => '/auth/proxied', [cookie('alice')], undef, 404],
);

for my $protocol (['HTTP/1.1', \&http, $nginx->port], ['HTTP/2', \&http2, $h2]) {
    my ($version, $client, $port) = @$protocol;
    my $ask = sub ($method, $path, $headers, $body = undef) { $client->($port, $path, method => $method, headers => $headers, body => $body) };

    subtest "$version: who may pass" => sub {
        for my $try (@tries) {
            my ($what, $method, $path, $headers, $body, $expected) = @$try;
            $headers = [map { s/;\z/:/r } @$headers] if $version eq 'HTTP/1.1';
            $stage->backend->forget;
            my $response = $ask->($method, $path, $headers, $body);
            my $reached  = $stage->backend->seen =~ m{^$method \Q$path\E }m ? 1 : 0;
            is($reached, $expected == 200 ? 1 : 0, "$what: $method $path, the backend");
            # curl drops an answer that comes before it has sent the body.
            next if defined $body && $version eq 'HTTP/2';
            is($response->{code}, $expected, "$what: $method $path") or diag(explain([$headers, $response]));
        }
    };

    subtest "$version: a preflight that passes has no session" => sub {
        my $seen = $ask->('OPTIONS', '/cors/', [@preflight, cookie('alice'), 'X-User-Id: 7', 'X-Set: 7'])->{body};
        like($seen, qr{\AOPTIONS /cors/}, 'it reaches the backend');
        unlike($seen, qr/^X-(?:User-Id|Role|Set):/mi, 'without the headers and variables of a session, and without its own');
    };

    subtest "$version: a body whose length is not told is one" => sub {
        $stage->backend->forget;
        send_unmeasured($version, $port, $_) for '/cors/', '/open/';
        my $seen = $stage->backend->seen;
        like($seen, qr{^OPTIONS /open/ }m, 'it comes with a body');
        unlike($seen, qr{/cors/}, 'and is no preflight then');
    };

    subtest "$version: parts of a page are judged each for itself" => sub {
        my $page = sub ($as) { $ask->('GET', '/page/1', $as{$as})->{body} };
        like($page->('alice'), qr{GET /part/1 .*\|GET /open/1 }s, 'alice sees both');
        for my $as (qw(nobody guest broken absent)) {
            my $body = $page->($as);
            like($body, qr{401 .*\|GET /open/1 }s, "$as sees the second only");
            unlike($body, qr{GET /part}, "and the backend of the first is not asked for $as");
        }
    };

    subtest "$version: what is mirrored is judged" => sub {
        for my $as (qw(alice guest nobody)) {
            $stage->backend->forget;
            is($ask->('GET', '/mirrors/', $as{$as})->{code}, 200, $as);
            # nginx mirrors before it asks the backend.
            my $copies = () = $stage->backend->seen =~ m{^GET /copied}mg;
            is($copies, $as eq 'alice' ? 1 : 0, "copies of what $as sends");
        }
    };

    subtest "$version: nobody gets another's page from the cache" => sub {
        for my $as (qw(alice bobby alice)) {
            my $user = { alice => 1001, bobby => 1002 }->{$as};
            like($ask->('GET', '/kept/', $as{$as})->{body}, qr/^X-Set: $user$/m, "$as sees the page of $user");
        }
        is($ask->('GET', '/kept/', [])->{code}, 401, 'and nobody none');
    };

    subtest "$version: a session that has ended stays so, whoever has read it first" => sub {
        my $both = ["Cookie: sid=$over; sessionId=" . (express_cookie($over, $secret) =~ s/\As(?:%3A|:)//r)];
        is($ask->('GET', '/open/', $both)->{code}, 200, 'one location reads it as alive');
        is($ask->('GET', '/lax/', $both)->{code}, 401, 'another not, by an internal redirect from there');
        is($ask->('GET', '/strict/', $both)->{code}, 401, 'nor by itself');
    };

    subtest "$version: the backend sees the session that was judged" => sub {
        my ($alice, $bobby) = map { cookie($_) =~ s/\ACookie: //r } qw(alice bobby);
        for my $cookies ("$alice; foo=bar $bobby", "$alice; $bobby", "foo=\"a; $bobby\"; $alice", "=$bobby; $alice") {
            my $seen = $ask->('GET', '/plain/', ["Cookie: $cookies"])->{body};
            my ($user) = $seen =~ /^X-User-Id: (\d+)$/m;
            my $other = { 1001 => 'bobby', 1002 => 'alice' }->{ $user // '' } // 'nobody';
            unlike($seen, qr/sid=$other/, "$cookies: " . ($user // 'nobody'));
        }
    };

    subtest "$version: other pages log nobody out" => sub {
        for my $headers (['Origin: https://evil.example'], ['Sec-Fetch-Site: cross-site'], ['Sec-Fetch-Site: same-site'], ['Origin: null']) {
            is($ask->('POST', '/logout', [cookie('bobby'), @$headers])->{code}, 403, "@$headers");
        }
        is($ask->('GET', '/plain/', $as{bobby})->{code}, 200, 'the session is there');
    };
}

like($nginx->log, qr/auth request unexpected status: 503/, 'a store that fails is told');
unlike($nginx->log, qr/\[(?:alert|crit|emerg)\]|panicked/, 'nothing worse in the log');

done_testing();

# A preflight with a body whose length it does not tell; its answer does not matter.
sub send_unmeasured ($version, $port, $path) {
    if ($version eq 'HTTP/1.1') {
        my @lines = ("OPTIONS $path HTTP/1.1", 'Host: localhost', @preflight, 'Transfer-Encoding: chunked', 'Connection: close');
        return raw_http($port, join "\r\n", @lines, '', '9', 'delete=42', '0', '', '');
    }
    # curl does not know the length of what it reads from a pipe.
    my @curl = ('curl', '-s', '--http2-prior-knowledge', '-X', 'OPTIONS', '-T', '-', map { ('-H', $_) } @preflight);
    open my $in, '|-', join ' ', map({ quotemeta } @curl, "http://127.0.0.1:$port$path"), '>/dev/null' or die "curl: $!\n";
    print {$in} 'delete=42';
    return close $in;
}

sub page ($name, $text) {
    open my $out, '>', $nginx->dir . "/html/page/$name" or die "page: $!\n";
    print {$out} $text;
    close $out;
    return;
}
