# What "nginx -t" says of each directive of http{}, server{} and location{}: right arguments pass without a word, each kind of
# wrong one is refused with file, line, directive, reason and, where one is near, the name that was meant.
use v5.26;
use warnings;

use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::ConfigTable;
use Test::More;

my $secret = file_of("keyboard cat\nolder one\n");

# For each directive: arguments that are right, then pairs of wrong ones and what is said of them.
my @directives = (
    session_redis => [['off', 'redis://127.0.0.1', 'redis+unix:///run/redis.sock?db=1'],
        "''" => 'names no store',
        on   => 'unknown session store "on", none is defined; write "session_redis_store on { … }" in http{}, or "session_redis redis://127.0.0.1:6379"'],
    session_redis_framework => [['php', 'php handler=php', 'php prefix=app: handler=php_serialize', 'thinkphp', 'thinkphp version=6 prefix=think',
            'raw', 'thinkphp session_name=x: scope=think'],
        expres             => qr/^unknown framework "expres"; did you mean "express"\? known: express, /,
        PHP                => qr/^unknown framework "PHP"; did you mean "php"\? known: php, /,
        wordpress          => qr/^unknown framework "wordpress"; known: (?=.*php)(?=.*express)(?=.*thinkphp)(?=.*raw)/,
        'php prefx=x'      => 'unknown option of framework "php" "prefx"; did you mean "prefix"? known: prefix, store, handler',
        'php handler=phpp' => 'php: "handler=" cannot be "phpp"; known: auto, php, php_serialize, php_binary, igbinary, msgpack',
        'php prefix'       => 'php: "prefix" has no value; write "prefix=value"',
        'php prefix=a prefix=b' => 'php: "prefix=" is duplicate',
        'raw prefix=x'     => 'framework "raw" has no options',
        'thinkphp version=7' => 'thinkphp: "version=" cannot be "7"; known: 5, 6, 8',
        'thinkphp prefix=think' => 'thinkphp: "prefix=" with version 5 is ambiguous: for the key use "session_name=", for config.php \'prefix\' => \'think\' use "scope=think"'],
    session_redis_cookie => [['sid', 'sid other', 'sid path=/app domain=example.org secure=on samesite=lax', 'SID samesite=None secure=off'],
        'sid pth=/'          => 'unknown parameter "pth="; did you mean "path="? known: path=, domain=, secure=, samesite=',
        'sid secure=yes'     => 'unknown value of "secure=" "yes"; known: on, off, auto',
        'sid samesite=laxx'  => 'unknown value of "samesite=" "laxx"; did you mean "Lax"? known: Lax, None, Strict',
        "sid 'path=/;x'"     => '"path=" must begin with "/" and hold no control bytes and no ";"',
        'path=/'             => 'names no cookie',
        "''"                 => qr/is not a cookie's name|no name/,
        "'a b'"              => qr/is not a cookie's name/,
        'a=b'                => 'unknown parameter "a="; known: path=, domain=, secure=, samesite='],
    session_redis_id => [['cookie:sid', 'header:X-Session', 'arg:sid', 'path:jsessionid', '$http_x_session', 'cookie:a header:b arg:c path:d $arg_x'],
        'sid'        => '"sid" is a constant string, everyone would have the same session; did you mean "cookie:sid"?',
        'cooky:sid'  => 'unknown source of ids "cooky"; did you mean "cookie"? known: cookie, arg, path, header',
        'cookie:'    => '"cookie:" names nothing',
        'header:'    => '"header:" names nothing',
        '$'          => qr/^invalid variable name/],
    session_redis_id_length => [['16', '1 4096', '22 256', '300'],
        '0'      => '"0" is not a length between 1 and 4096',
        'x'      => '"x" is not a length between 1 and 4096',
        '-1'     => '"-1" is not a length between 1 and 4096',
        '4097'   => '"4097" is not a length between 1 and 4096',
        '16 x'   => '"x" is not a length between 1 and 4096',
        '32 16'  => 'the minimum 32 is above the maximum 16'],
    session_redis_secret => [['"keyboard cat"', 'new old', 'base64:a2V5Ym9hcmQgY2F0', 'hex:6b6579'],
        "''"        => 'secret 1: the secret is empty',
        'a base64:%' => 'secret 2: not base64 after "base64:"',
        'hex:6b6'   => 'secret 1: not hexadecimal after "hex:"',
        'hex:xx'    => 'secret 1: not hexadecimal after "hex:"',
        'base64:'   => 'secret 1: the secret is empty'],
    session_redis_secret_file => [[$secret, file_of("base64:a2V5\r\nhex:6b65\r\n")],
        '/nonexistent'     => 'cannot read "/nonexistent": No such file or directory (os error 2)',
        '/'                => qr/^cannot read "\/": Is a directory/],
    session_redis_key => [['sess:$session_redis_id', '"${session_redis_id}" digest=md5', 'a:$session_redis_key_digest digest=sha256'],
        'sess:'                   => 'the key would be the same for every session; did you mean "sess:$session_redis_id"?',
        '$session_redis_id md5'   => 'unknown parameter "md5"; known: digest=',
        '$session_redis_id digest=md6' => 'unknown digest "md6"; did you mean "md5"? known: md5, sha1, sha256',
        '$'                       => qr/^invalid variable name/],
    session_redis_key_digest => [['md5 $session_redis_id', 'sha1 a $session_redis_id b', 'sha256 json a $session_redis_id', 'md5 $arg_json'],
        'md4 $session_redis_id'   => 'unknown digest "md4"; did you mean "md5"? known: md5, sha1, sha256',
        'md5 json'                => 'needs at least one string to digest'],
    session_redis_format => [['json', 'php', 'php_serialize', 'php_binary', 'raw', 'auto'],
        'jsn'       => qr/^unknown format "jsn"; did you mean "json"\? known: json, /,
        'yaml'      => qr/^unknown format "yaml"; known: (?=.*\bjson)(?=.*\bphp)(?=.*\bphp_serialize)(?=.*\bphp_binary)(?=.*\braw)(?=.*\bauto)/,
        'php json'  => '"json" is one format too many; formats are no alternatives; "auto" tries those it knows'],
    session_redis_user => [['/user_id', '/a~1b/0'],
        'user_id'   => '"user_id" is not a JSON pointer; did you mean "/user_id"?',
        '@user'     => qr/^"\@user" is not a JSON pointer/,
        '/a~b'      => '"~" in "a~b" stands alone; in a pointer "~" is written "~0" and "/" "~1"'],
    session_redis_set_header => [['X-User-Id /user_id', 'X-User-Roles /roles join=,', 'Authorization "Bearer $session_redis_id"', 'X-A text:/a',
            'X-Json /user encode=json', 'X-Forwarded-User /user encode=base64', 'X-B /b encode=uri "join=;"'],
        'X-User-Id user_id' => '"user_id" is a constant string, the header would be the same for everyone; did you mean "/user_id"? a constant is written "text:user_id"',
        'X-User-Id @usr'    => '"@usr" is a constant string, the header would be the same for everyone; did you mean "@user"? a constant is written "text:@usr"',
        'X-User-Id /a~2'    => qr/^"~" in "a~2" stands alone/,
        'X-User-Id /a encode=url'   => 'unknown encoding "url"; did you mean "uri"? known: uri, raw, json, base64',
        'X-User-Id /a encoding=uri' => 'unknown parameter "encoding="; did you mean "encode="? known: encode=, join=',
        'X-User-Id /a ,'            => 'unknown parameter ","; known: join=, encode=',
        'X-User-Id /a join=, join=|' => '"join=" stands twice',
        'X-User-Id /a encode=raw encode=uri' => '"encode=" stands twice',
        '"X User" /a'       => '"X User" is not a header name',
        "'' /a"             => '"" is not a header name',
        ':path /a'          => '":path" is not a header name',
        'Host /a'           => 'header "Host" steers HTTP itself; choose a name of your own, such as "X-Session-Host"',
        'content_length /a' => 'header "content_length" steers HTTP itself; choose a name of your own, such as "X-Session-content_length"',
        (map { ("$_ /a" => "header \"$_\" steers HTTP itself; choose a name of your own, such as \"X-Session-$_\"") } qw(Cookie Connection
            Transfer-Encoding X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Port X-Forwarded-Prefix Forwarded Trailer
            Alt-Svc HTTP2-Settings Proxy-Authorization Proxy Upgrade Range)),
        'X-User-Id $'       => qr/^invalid variable name/],
    session_redis_strip_header => [['X-Old', 'X-Old X-Older'],
        'Host'      => qr/^header "Host" steers HTTP itself/,
        "''"        => '"" is not a header name',
        '"X Old"'   => '"X Old" is not a header name'],
    session_redis_trust_headers => [['from 127.0.0.1', 'from 10.0.0.0/8 fd00::/8'],
        '10.0.0.0/8 from'  => '"10.0.0.0/8" stands where "from" belongs; write "session_redis_trust_headers from 10.0.0.0/8"',
        'from all'         => '"all" is not an address or network; networks are written 10.0.0.0/8 or fd00::/8',
        'from 10.0.0.0/33' => '"10.0.0.0/33" is not an address or network; networks are written 10.0.0.0/8 or fd00::/8',
        'from example.org' => '"example.org" is not an address or network; networks are written 10.0.0.0/8 or fd00::/8'],
    session_redis_hide_cookie => [['on', 'off', 'ON'],
        yes => '"yes" is neither "on" nor "off"'],
    session_redis_set => [['$uid /user_id', '$uid /user_id guest', '$a "$session_redis_id x"', '$uid /user_id ""'],
        'uid /user_id'    => '"uid" is not a variable; did you mean "$uid"?',
        '$ /user_id'      => qr/^"\$" is not a variable/,
        '$a-b /user_id'   => qr/^"\$a-b" is not a variable/,
        '$uid user_id'    => qr/^"user_id" is a constant string, .*; did you mean "\/user_id"\?/,
        '$session_redis_user /x' => '"$session_redis_user" would look like the module\'s own'],
    session_redis_require => [['/user_id', 'off', '/roles has admin', '/a is b error=403', '/a in b c d error=404', '/a isnot b',
            '/a login=/login?next=$session_redis_return_to', '/a unless_cookie=remember_*', '/a preflight=pass', '$session_redis_user', '/a is error=403 error=403'],
        user_id           => qr/^"user_id" is a constant string, .*did you mean "\/user_id"\?/,
        'off /a'          => qr/^"off" (?:is a constant|stands beside|takes no)/,
        '/a equals b'     => qr/^unknown condition "equals"; known: /,
        '/a hs b'         => qr/^unknown condition "hs"; did you mean "has"\? known: has, /,
        '/a is'           => '"is" needs a word to compare with',
        '/a in'           => '"in" needs words to compare with',
        '/a error=500'    => 'unknown status "500"; did you mean "503"? known: 503, 401, 403, 404',
        '/a error=40'     => qr/^unknown status "40"; did you mean "401"\?/,
        '/a error=401 error=403' => '"error=" stands twice',
        '/a logn=/x'      => qr/^unknown condition "logn="; did you mean "login="\?/,
        '/a login='       => 'login= is empty',
        '/a login=/login?next=$request_uri' => 'login= uses $request_uri, which loses "&…" and admits "//evil"; use $session_redis_return_to',
        '/a login=/l?n=${request_uri}' => 'login= uses $request_uri, which loses "&…" and admits "//evil"; use $session_redis_return_to',
        '/a is $arg_x'    => '"$arg_x" would be compared as it stands; a condition\'s words hold no variables',
        '/a preflight=on' => 'unknown way of a preflight "on"; known: pass',
        '/a unless_cookie=*' => '"*" is not a cookie\'s name; a "*" at its end stands for the rest'],
    session_redis_touch => [['off', '30m', '30m after=5m', '1d after=0'],
        'on'            => qr/^"on" is not a time; times are written 250ms, 30s, 30m/,
        '0'             => 'the time must be above 0 and above "after="',
        '5m after=5m'   => 'the time must be above 0 and above "after="',
        '5m before=1m'  => 'unknown parameter "before="; known: after=',
        '5m aftr=1m'    => 'unknown parameter "aftr="; did you mean "after="? known: after=',
        '5m after=x'    => '"x" is not a time; times are written 250ms, 30s, 30m',
        'off after=1m'  => '"off" takes no "after="'],
    session_redis_destroy => [['', 'redirect=/', 'methods=POST,DELETE,GET redirect=/bye?x=$arg_x', 'cookie=a cookie=b', 'origin=https://a.example origin=http://[::1]:3000'],
        'redirect'       => 'unknown parameter "redirect"; did you mean "redirect="? known: redirect=, methods=, cookie=, origin=',
        'to=/'           => qr/^unknown parameter "to="; known: /,
        'methods=POSST'  => 'unknown method "POSST"; did you mean "POST"? known: POST, PUT, PATCH, GET, HEAD, DELETE',
        'methods=post'   => qr/^unknown method "post"; did you mean "POST"\?/,
        'methods='       => qr/^unknown method ""/,
        'redirect='      => '"redirect=" is empty',
        'cookie='        => qr/is not a cookie's name|"cookie=" is empty/,
        'redirect=/ redirect=/a' => '"redirect=" stands twice'],
    session_redis_on_error => [['pass', 'fail'],
        stale    => '"session_redis_on_error stale" needs "cache … stale=time" in store "redis://127.0.0.1:6379"',
        fall     => 'unknown way to go on "fall"; did you mean "fail"? known: fail, pass, stale',
        'ignore' => qr/^unknown .*"ignore"; known: (?=.*pass)(?=.*fail)/,
        'pas'    => qr/^unknown .*"pas"; did you mean "pass"\? known: pass, fail/],
    session_redis_early => [['on', 'off'],
        1 => '"1" is neither "on" nor "off"'],
    session_redis_route => [['jvmroute', '/node', '$arg_node'],
        jvmrout   => 'unknown route "jvmrout"; write "/jvmrout" for a value of the session, "jvmroute" for the suffix of the id, "learn" for an assignment in Redis',
        node      => 'unknown route "node"; write "/node" for a value of the session, "jvmroute" for the suffix of the id, "learn" for an assignment in Redis',
        '/a /b'   => 'takes one argument, or "learn" with parameters'],
    session_redis_hash_key_file => [[],
        '/nonexistent' => 'cannot read "/nonexistent": No such file or directory (os error 2)'],
);

my %needs = (
    session_redis_framework => sub { (server => "session_redis redis://127.0.0.1;\nlocation / {\n$_[0]\n}") },
    session_redis_destroy   => \&in_location,
    session_redis_trust_headers => \&in_server,
    session_redis_hash_key_file => \&in_http,
);

while (my ($directive, $cases) = splice @directives, 0, 2) {
    my ($good, @wrong) = @$cases;
    my $in = $needs{$directive} // \&in_location;
    $in = \&in_server if $directive eq 'session_redis';
    accepted("$directive $_", $in->("$directive $_;")) for @$good;
    while (my ($args, $message) = splice @wrong, 0, 2) {
        next if !defined $message;
        refuses("$directive $args", $directive, $message, $in->("$directive $args; #!"));
    }
}

# The number of arguments: fewest and most, of each directive.
my %arguments = (
    session_redis => [1, 1], session_redis_framework => [1], session_redis_cookie => [1], session_redis_id => [1],
    session_redis_id_length => [1, 2], session_redis_secret => [1], session_redis_secret_file => [1, 1], session_redis_key => [1, 2],
    session_redis_key_digest => [2], session_redis_format => [1], session_redis_user => [1, 1], session_redis_set_header => [2],
    session_redis_strip_header => [1], session_redis_trust_headers => [2], session_redis_hide_cookie => [1, 1],
    session_redis_set => [2, 3], session_redis_require => [1], session_redis_touch => [1, 2], session_redis_on_error => [1, 1],
    session_redis_early => [1, 1], session_redis_route => [1], session_redis_hash_key_file => [1, 1],
);
for my $directive (sort keys %arguments) {
    my ($fewest, $most) = $arguments{$directive}->@*;
    my $in = $needs{$directive} // ($directive eq 'session_redis' ? \&in_server : \&in_location);
    for my $count ($fewest - 1, defined $most ? $most + 1 : ()) {
        refused("$directive with $count arguments", "invalid number of arguments in \"$directive\" directive",
            $in->(join(' ', $directive, ('on') x $count) . '; #!'));
    }
}

# Where directives may stand. What "levels" says stands in http{}, server{} and location{} alike.
my %levels = (
    session_redis_framework => 'php', session_redis_cookie => 'sid', session_redis_id => 'cookie:sid', session_redis_id_length => 16,
    session_redis_secret => 'x', session_redis_secret_file => $secret, session_redis_key => '$session_redis_id',
    session_redis_key_digest => 'md5 a', session_redis_format => 'php', session_redis_user => '/a', session_redis_set_header => 'X-A /a',
    session_redis_strip_header => 'X-A', session_redis_hide_cookie => 'on', session_redis_set => '$a /a', session_redis_require => '/a',
    session_redis_touch => '1m', session_redis_on_error => 'fail', session_redis_early => 'on', session_redis_route => '/a',
);
for my $directive (sort keys %levels) {
    my $line = "$directive $levels{$directive};";
    accepted("$directive in http, server and location",
        http => "session_redis redis://127.0.0.1;\n" . ($directive eq 'session_redis_framework' ? '' : "session_redis_framework php;\n") . $line,
        server => "$line\nlocation / {\n$line\n}");
    my $not = "\"$directive\" directive is not allowed here";
    refused("$directive in main", $not, main => "$line #!");
    refused("$directive in upstream", $not, http => "upstream u {\nserver 127.0.0.1;\n$line #!\n}");
    refused("$directive in if", $not, in_location("if (\$arg_a) {\n$line #!\n}"));
    refused("$directive in limit_except", $not, in_location("limit_except GET {\n$line #!\n}")) if $directive ne 'session_redis_require';
}
accepted('session_redis_require in limit_except', in_location("limit_except GET {\nsession_redis_require /a;\n}"));
accepted('session_redis_trust_headers in http and server', http => 'session_redis_trust_headers from 10.0.0.0/8;',
    server => 'session_redis_trust_headers from 10.0.0.1;');
for my $case (['session_redis_trust_headers from 10.0.0.0/8', 'location'], ['session_redis_destroy', 'server'], ['session_redis_destroy', 'http'],
    ["session_redis_hash_key_file $secret", 'server'], ["session_redis_hash_key_file $secret", 'location']) {
    my ($line, $level) = @$case;
    my ($directive) = split / /, $line;
    my %in = (location => \&in_location, server => \&in_server, http => \&in_http);
    refused("$directive in $level", "\"$directive\" directive is not allowed here", $in{$level}->("$line; #!"));
}

# A second time at one level: refused, but for lists.
my %single = map { $_ => $levels{$_} } grep { !/_(?:cookie|id|set_header|strip_header|set|require|secret|secret_file)\z/ } keys %levels;
for my $directive (sort keys %single) {
    my $line = "$directive $single{$directive};";
    refuses("$directive twice", $directive, 'is duplicate', server => "session_redis redis://127.0.0.1;\n$line\n$line #!");
}
refuses('session_redis twice', 'session_redis', 'is duplicate', server => "session_redis off;\nsession_redis redis://127.0.0.1; #!");
refuses('session_redis_destroy twice', 'session_redis_destroy', 'is duplicate', in_location("session_redis_destroy;\nsession_redis_destroy; #!"));
my $twice = 'this level has its secrets already; write all of them, newest first, in one "session_redis_secret_file"';
refuses('session_redis_secret twice', 'session_redis_secret', $twice, in_location("session_redis_secret x;\nsession_redis_secret y; #!"));
refuses('session_redis_secret and session_redis_secret_file', 'session_redis_secret_file', $twice,
    in_location("session_redis_secret x;\nsession_redis_secret_file $secret; #!"));
refuses('session_redis_secret_file and session_redis_secret', 'session_redis_secret', $twice,
    in_location("session_redis_secret_file $secret;\nsession_redis_secret x; #!"));
refuses('session_redis_require off beside another', 'session_redis_require', '"off" stands beside other conditions of this level',
    in_location("session_redis_require /a;\nsession_redis_require off; #!"));
refuses('session_redis_require beside off', 'session_redis_require', 'stands beside "session_redis_require off"',
    in_location("session_redis_require off;\nsession_redis_require /a; #!"));
refuses('the same header twice', 'session_redis_set_header', qr/\A"X-A" is set at this level already, by line \d+\z/,
    in_location("session_redis_set_header X-A /a;\nsession_redis_set_header X_A /b; #!"));
refuses('the same variable in other letters', 'session_redis_set', '"$A" is set at this level already',
    in_location("session_redis_set \$a /a;\nsession_redis_set \$A /b; #!"));
refuses('the same variable twice', 'session_redis_set', '"$a" is set at this level already',
    in_location("session_redis_set \$a /a;\nsession_redis_set \$a /b; #!"));
accepted('lists', in_location(<<'END'));
session_redis_set_header X-A /a;
session_redis_set_header X-B /b;
session_redis_set $a /a;
session_redis_set $b /b;
session_redis_require /a;
session_redis_require /a;
session_redis_strip_header X-C;
session_redis_strip_header X-C;
session_redis_cookie one;
session_redis_id cookie:two;
END

# Names that are near.
refused('a directive that does not exist', 'unknown directive "session_redis_frame"', in_location('session_redis_frame php; #!'));
for my $variable ('sesion_redis_user', 'session_redis_usr') {
    my (undef, $said) = nginx_test(in_location("session_redis_set_header X-A \$$variable;"));
    like($said, qr/\[emerg\] unknown "$variable" variable/, "\$$variable is refused");
}

# Secrets are read, and told to nobody.
for my $case (
    ['session_redis_secret', 'base64:hunter2!'], ['session_redis_secret', 'hex:hunter2'], ['session_redis_secret', "good 'hex:hunter2'"],
    ['session_redis_secret_file', file_of("good\nbase64:hunter2!\n")], ['session_redis_secret_file', file_of("hex:hunter2\n")],
) {
    my ($directive, $args) = @$case;
    my ($good, $said) = nginx_test(in_location("$directive $args;"));
    ok(!$good && $said =~ /\[emerg\] "$directive" directive: .*(?:secret|line) \d/ && $said !~ /hunter2/, "$directive: a secret that cannot be read is not shown")
        or diag($said);
}
warned('a secret that everyone may read', qr/^"\S+" is readable by others than its owner and group\z/,
    in_location('session_redis_secret_file ' . file_of("keyboard cat\n", mode => 0604) . '; #!'));
accepted('a secret of owner and group', in_location('session_redis_secret_file ' . file_of("keyboard cat\n", mode => 0640) . ';'));
warned('secrets in the configuration', '"session_redis_secret" shows in "nginx -T"; move the secrets to "session_redis_secret_file"', in_location("session_redis_secret 'keyboard cat'; #!"));
for my $mode (0620, 0602) {
    my $is_writable = qr/\A"\S+" is writable by others than its owner\z/;
    warned(sprintf('a secret of mode %o', $mode), $is_writable, in_location('session_redis_secret_file ' . file_of("keyboard cat\n", mode => $mode) . '; #!'));
    warned(sprintf('a hash key of mode %o', $mode), $is_writable, in_http('session_redis_hash_key_file ' . file_of("0123456789abcdef\n", mode => $mode) . '; #!'));
}
my ($open, $link) = (temp_dir(), temp_dir() . '/secret');
rename file_of("keyboard cat\n"), "$open/secret" or die "rename: $!\n";
symlink "$open/secret", $link or die "symlink: $!\n";
chmod 0777, $open;
warned("a secret that everybody may replace: $_", "\"$_\" stands in a directory where everybody may replace it",
    in_location("session_redis_secret_file $_; #!")) for "$open/secret", $link;
chmod 01777, $open;
accepted('a secret in a sticky directory', in_location("session_redis_secret_file $open/secret;"));
accepted('a hash key', in_http('session_redis_hash_key_file ' . file_of("0123456789abcdef\n") . ';'));
refuses('a hash key that is short', 'session_redis_hash_key_file', qr/^\S+: the key has less than 16 bytes\z/,
    in_http('session_redis_hash_key_file ' . file_of("0123456789abcde\n") . '; #!'));
warned('a network with bits behind its mask', 'low address bits of 10.0.0.1/8 are meaningless',
    in_server('session_redis_trust_headers from 10.0.0.1/8; #!'));

done_testing();
