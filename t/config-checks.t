# What "nginx -t" says when all of the configuration is known: what is missing, what contradicts, and what other directives
# would undo.
use v5.26;
use warnings;

use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::ConfigTable;
use Test::More;

my $on      = "session_redis redis://127.0.0.1:6379;\nsession_redis_framework php;\n";
my $backend = 'proxy_pass http://127.0.0.1:1;';

# What a location cannot do without.
accepted('the smallest configuration', server => <<"END");
location / {
    session_redis            redis://127.0.0.1:6379;
    session_redis_framework  php;
    session_redis_set_header X-User-Id /user_id;
    $backend
}
END
refuses('require where the module is off', 'session_redis_require', 'session_redis_require without session_redis: the location would be open to everyone',
    server => "location / {\nsession_redis_require /a; #!\n}");
refuses('require beside off', 'session_redis_require', 'session_redis_require without session_redis: the location would be open to everyone',
    server => "${on}location / {\nsession_redis off;\nsession_redis_require /a; #!\n}");
refuses('require in limit_except where the module is off', 'session_redis_require', 'session_redis_require without session_redis: the location would be open to everyone',
    server => "location / {\nlimit_except GET {\nsession_redis_require /a; #!\n}\n}");
refuses('require above a server where the module is off', 'session_redis_require', 'session_redis_require without session_redis: the location would be open to everyone',
    http => "session_redis_require /a; #!", server => "location /x {\n$on\n}");
accepted('off below an inherited requirement', server => "${on}session_redis_require /a;\nlocation /static/ {\nsession_redis off;\n}");
refused('destroy where the module is off', 'session_redis_destroy without session_redis: in "/" no session would end',
    server => "location / {\nsession_redis_destroy; #!\n}");
refused('destroy beside off', 'session_redis_destroy without session_redis: in "/" no session would end',
    server => "${on}location / {\nsession_redis off;\nsession_redis_destroy; #!\n}");
accepted('what is inherited where the module is off', http => "session_redis_set_header X-A /a;\nsession_redis_set \$a /a;\nsession_redis_touch 1m;",
    server => "location / {\n$backend\n}\nlocation /x {\n$on\n}");
refuses('express without a secret', 'session_redis_framework', 'framework "express" needs "session_redis_secret_file": without it every cookie would be refused',
    server => "session_redis redis://127.0.0.1;\nlocation / {\nsession_redis_framework express; #!\nsession_redis_set_header X-A /a;\n}");
accepted('express with a secret above', server => "session_redis redis://127.0.0.1;\nsession_redis_secret x;\nlocation / {\nsession_redis_framework express;\nsession_redis_set_header X-A /a;\n}");
refuses('no framework', 'session_redis', qr/^framework "raw" names no cookie or other id; add "session_redis_cookie" or name another "session_redis_framework"\z/,
    server => "location / {\nsession_redis redis://127.0.0.1; #!\nsession_redis_set_header X-A /a;\n}");
refuses('raw without a key', 'session_redis', 'framework "raw" makes no key of the id; add "session_redis_key" or name another "session_redis_framework"',
    server => "location / {\nsession_redis redis://127.0.0.1; #!\nsession_redis_cookie sid;\nsession_redis_set_header X-A /a;\n}");
refuses('raw without a format', 'session_redis', 'framework "raw" reads no format; add "session_redis_format" or name another "session_redis_framework"',
    server => "location / {\nsession_redis redis://127.0.0.1; #!\nsession_redis_cookie sid;\nsession_redis_key 's:\$session_redis_id';\nsession_redis_set_header X-A /a;\n}");
warned('hide_cookie without a cookie', qr/^"session_redis" directive: framework "raw" names no cookie or other id/,
    server => "location / {\nsession_redis redis://127.0.0.1; #!\nsession_redis_hide_cookie on;\n}");
accepted('hide_cookie off without a cookie', server => "session_redis redis://127.0.0.1;\nsession_redis_hide_cookie off;");
accepted('hide_cookie above what it needs', http => 'session_redis_hide_cookie on;',
    server => "session_redis redis://127.0.0.1;\nsession_redis_framework express;\nlocation / {\nsession_redis_secret x;\nsession_redis_set_header X-A /a;\n$backend\n}\nlocation /static {\nsession_redis off;\n}");
accepted('raw with all of it', server => "location / {\nsession_redis redis://127.0.0.1;\nsession_redis_cookie sid;\nsession_redis_key 's:\$session_redis_id';\nsession_redis_format json;\nsession_redis_set_header X-A /a;\n}");
for my $directive ('session_redis_set_header X-A @user', 'session_redis_set $a @user', 'session_redis_require @user', 'session_redis_route @user') {
    my ($name) = split / /, $directive;
    refuses("\@user of php in $name", $name, '"@user" stands for nothing here; framework "php" knows no user: add "session_redis_user /…"', in_location("$directive; #!"));
}
accepted('@user of express', server => "session_redis redis://127.0.0.1;\nsession_redis_framework express;\nsession_redis_secret x;\nsession_redis_require \@user;");
accepted('@user as written', in_location("session_redis_user /user_id;\nsession_redis_require \@user;"));
refuses('touch auto without a rule', 'session_redis_touch', 'with framework "raw" reading a session does not extend its life, or by what only the application knows; write a time, for instance "session_redis_touch 30m"',
    server => "session_redis redis://127.0.0.1;\nsession_redis_cookie sid;\nsession_redis_key 's:\$session_redis_id';\nsession_redis_format json;\nsession_redis_touch auto; #!");
accepted('touch auto of php', in_location('session_redis_touch auto;'));
accepted('jvmroute needs no store', server => "session_redis_cookie JSESSIONID;\nsession_redis_route jvmroute;");

# Where only a variable needs the session, it is said where nothing comes of what was written.
my $reads  = "proxy_set_header X-U \$session_redis_user;\n$backend";
my $secret = '"session_redis_framework" directive: framework "express" needs "session_redis_secret_file": without it every cookie would be refused';
warned('express without a secret, for a variable', $secret, server => "session_redis redis://127.0.0.1;\nsession_redis_framework express; #!\nlocation / {\n$reads\n}\nlocation /a {\n$backend\n}");
warned('express without a secret, for the id', $secret, server => "location / {\nsession_redis redis://127.0.0.1;\nsession_redis_framework express; #!\nproxy_set_header X-I \$session_redis_id_hash;\n$backend\n}");
warned('a store alone, for a variable', qr/^"session_redis" directive: framework "raw" names no cookie/, server => "session_redis redis://127.0.0.1; #!\nlocation / {\n$reads\n}");
accepted('a secret in one of the locations', server => "session_redis redis://127.0.0.1;\nsession_redis_framework express;\nlocation / {\nsession_redis_secret x;\n$reads\n}\nlocation /a {\n$backend\n}");
accepted('a framework in one of the locations', server => "session_redis redis://127.0.0.1;\nlocation / {\nsession_redis_framework php;\n$reads\n}\nlocation /a {\n$backend\n}");
accepted('a framework that each location replaces', server => "session_redis redis://127.0.0.1;\nsession_redis_framework express;\nlocation / {\nsession_redis_framework php;\n$reads\n}");
accepted('express without a secret where nothing is read', server => "session_redis redis://127.0.0.1;\nsession_redis_framework express;\nlocation / {\n$backend\n}");
accepted('variables where the module is off', server => "session_redis_framework express;\nlocation / {\nsession_redis off;\n$reads\n}");
for my $directive ('session_redis_set_header X-A /a', 'session_redis_route /node') {
    my ($name) = split / /, $directive;
    warned("$name without a store", "$name without session_redis: there is no store to read a session from", server => "$directive; #!\nlocation / {\n$backend\n}");
    accepted("$name beside off", server => "session_redis off;\n$directive;\nlocation / {\n$backend\n}");
    accepted("$name with a store in one of the locations", http => "$directive;", server => "location / {\n$backend\n}\nlocation /a {\n$on\n}");
}

# What contradicts.
my $never = '"session_redis_on_error pass" stands beside it; a store that fails never satisfies a requirement; leave one of the two out';
refuses('on_error pass and require at one level', 'session_redis_require', $never, in_location("session_redis_on_error pass;\nsession_redis_require /a; #!"));
refuses('both above', 'session_redis_require', $never, server => "${on}session_redis_on_error pass;\nsession_redis_require /a; #!");
refuses('both in http', 'session_redis_require', $never, http => "session_redis_on_error pass;\nsession_redis_require /a; #!", server => $on);
refuses('require first', 'session_redis_on_error', $never =~ s/session_redis_on_error pass/session_redis_require/r,
    in_location("session_redis_require /a;\nsession_redis_on_error pass; #!"));
accepted('on_error pass from above', server => "${on}session_redis_on_error pass;\nlocation / {\nsession_redis_require /a;\n}");
accepted('require from above', server => "${on}session_redis_require /a;\nlocation / {\nsession_redis_on_error pass;\n}");
accepted('on_error pass from above, with blocks below', server => "${on}session_redis_on_error pass;\nlocation / {\nsession_redis_require /a;\nif (\$arg_a) {\nset \$b c;\n}\nlocation /a {\n}\n}");
accepted('one in http, the other in a server', http => 'session_redis_on_error pass;', server => "${on}session_redis_require /a;\nlocation / {\n}");
accepted('on_error pass beside require off', in_location("session_redis_on_error pass;\nsession_redis_require off;"));
my $any = '"error=404", "error=503" and "login=" end the request before other modules are asked; with "satisfy any" use "error=401" or "error=403"';
for my $option ('error=404', 'error=503', 'login=/login', 'error=403 login=/login') {
    refuses("satisfy any and $option", 'session_redis_require', $any, in_location("satisfy any;\nsession_redis_require /a $option; #!"));
    accepted("satisfy all and $option", in_location("satisfy all;\nsession_redis_require /a $option;"));
}
accepted('satisfy any and error=403', in_location("satisfy any;\nsession_redis_require /a;\nsession_redis_require /b error=403;"));
refuses('satisfy any above', 'session_redis_require', $any, server => "${on}satisfy any;\nlocation / {\nsession_redis_require /a login=/login; #!\n}");
refuses('a preflight that one of two conditions lets pass', 'session_redis_require',
    '"preflight=pass" lets nothing pass, since another condition does not say so; write it behind every condition of the level, or behind none',
    in_location("session_redis_require /a; #!\nsession_redis_require /b preflight=pass;"));
accepted('a preflight that both let pass', in_location("session_redis_require /a preflight=pass;\nsession_redis_require /b preflight=pass;"));
accepted('require in an internal location', in_location("internal;\nsession_redis_require /a;"));

# A name that another directive or nginx itself gives its values.
my $taken = sub { qq("\$$_[0]" has its values from nginx or another directive already; choose another name) };
refuses("\$$_ of nginx", 'session_redis_set', $taken->($_), in_location("session_redis_set \$$_ /a; #!")) for qw(args limit_rate);
refuses('a name of map', 'session_redis_set', $taken->('v'), http => "map \$arg_a \$v {\ndefault x;\n}", in_location('session_redis_set $v /a; #!'));
my @servers = ("server {\nserver_name a;\nlocation / {\nset \$v x;\n}\n}", "server {\nserver_name b;\nlocation / {\n${on}session_redis_set \$v /a;\n}\n}");
accepted('a name of set elsewhere, before', http => "$servers[0]\n$servers[1]");
accepted('a name of set elsewhere, later', http => "$servers[1]\n$servers[0]");
refused('a map of the name later', '"session_redis_set $v" is overridden by another directive that gives "$v" its values; choose another name',
    http => "${on}session_redis_set \$v /a; #!\nmap \$arg_a \$v {\ndefault x;\n}", server => "location / {\n}");
accepted('one name in several locations', server => "${on}session_redis_set \$v /a;\nlocation /x {\nsession_redis_set \$v /b;\n}\nlocation /y {\nsession_redis_set \$V /c;\n}");

# "return" answers first.
my $return = '"return" answers before the access phase, "session_redis_require" in "/x" would never run';
my $in_x   = sub { (server => "${on}location /x {\n$_[0]\n}") };
for my $before ('', 'set $a b;', 'set $a "$arg_b-$arg_c";', 'if ($arg_a) { set $b c; }', 'if ($arg_a = "x$arg_b") { return 403; }',
    'if ($arg_a ~ "^x(.)") { set $b $1; }', 'if (-f $document_root/x) { return 404; }', 'rewrite ^/x/y /z;', 'rewrite ^/x/(.*) /z/$1?a=$arg_b last;',
    'if ($arg_a) { rewrite ^/x/y /z; }', 'rewrite ^/x/(.*) http://h/$1 permanent;') {
    refused("return after \"$before\"", $return, $in_x->("session_redis_require /a; #!\n$before\nreturn 200 ok;"));
}
refused('return before it', $return, $in_x->("return 301 http://example.org\$request_uri;\nsession_redis_require /a; #!"));
refused('return in a server', '"return" answers before the access phase, "session_redis_require" in a server outside its locations would never run',
    server => "${on}session_redis_require /a; #!\nreturn 204;");
accepted("return and $_->[0]", $in_x->("session_redis_require /a;\n$_->[1]")) for
    ['an if', "if (\$arg_a) {\nreturn 403;\n}\n$backend"], ['nested ifs', "if (\$arg_a) {\nset \$b 1;\n}\nif (\$b = \"1\$arg_c\") {\nreturn 403;\n}\n$backend"],
    ['a break before it', "break;\nreturn 403;"], ['a rewrite with break', "rewrite ^/x/(.*) /z/\$1?a=\$arg_b break;\nreturn 404;"],
    ['a break in an if', "if (\$arg_a) {\nset \$b c;\nbreak;\n}\nreturn 403;"], ['a rewrite with break in an if', "if (\$arg_a) {\nrewrite ^/x/(.*) /z/\$1 break;\n}\nreturn 403;"];
accepted('return below an inherited requirement', server => "${on}session_redis_require /a;\nlocation /old {\nreturn 301 /new;\n}");
accepted('return and require off', $in_x->("session_redis_require off;\nreturn 204;"));
accepted('return where headers are set only', $in_x->("session_redis_set_header X-A /a;\nreturn 204;"));

# A logout is a content handler.
refused('destroy and return', '"return" answers before the access phase, "session_redis_destroy" in "/x" would never run', $in_x->("session_redis_destroy; #!\nreturn 204;"));
refused('return and destroy', '"return" answers before the access phase, "session_redis_destroy" in "/x" would never run', $in_x->("return 204;\nsession_redis_destroy; #!"));
refuses('proxy_pass and destroy', 'session_redis_destroy', 'the location has a handler already; it stands in a location of its own, without "proxy_pass"',
    $in_x->("$backend\nsession_redis_destroy; #!"));
for my $other ($backend, 'fastcgi_pass 127.0.0.1:1;', 'stub_status;', 'empty_gif;') {
    my ($name) = $other =~ /(\w+)/;
    refused("destroy and $name", 'another directive answers in "/x", "session_redis_destroy" would never run; it stands in a location of its own, without "proxy_pass"',
        $in_x->("session_redis_destroy; #!\n$other"));
}
accepted('destroy with if and limit_except', $in_x->("session_redis_destroy;\nif (\$arg_a) {\nset \$b c;\n}\nlimit_except POST {\ndeny all;\n}"));

# Limits are counted before the lookup.
my %zones = (
    limit_req  => ['limit_req_zone %s zone=user:1m rate=1r/s;', 'limit_req zone=user;'],
    limit_conn => ['limit_conn_zone %s zone=user:1m;', 'limit_conn user 1;'],
);
for my $directive (sort keys %zones) {
    my ($zone, $limit) = $zones{$directive}->@*;
    my $with  = sub { my ($key, $text, $more) = @_; (http => sprintf($zone, $key), server => "session_redis_set \$uid /user_id;\n$on" . ($more // '') . "location /x {\n$text\n}") };
    my $empty = sub { "$directive zone \"user\" is keyed by session variable \"\$$_[0]\", which is empty before the lookup; add \"session_redis_early on\" to \"/x\"" };
    for my $key ('$uid', '$session_redis_user', '$session_redis_id', '$session_redis_id_hash', '"$binary_remote_addr$uid"') {
        my ($name) = $key =~ /\$((?:uid|session)\w*)/;
        refused("$directive by $key", $empty->($name), http => sprintf($zone, $key),
            server => "session_redis redis://127.0.0.1;\nlocation /x {\nsession_redis_framework php; #!\nsession_redis_set \$uid /user_id;\n$limit\n$backend\n}");
        accepted("$directive by $key, early", $with->($key, "session_redis_early on;\n$limit\n$backend"));
    }
    refused("$directive by a header that is set", $empty->('http_x_user_id'), http => sprintf($zone, '$http_x_user_id'),
        server => "session_redis redis://127.0.0.1;\nlocation /x {\nsession_redis_framework php; #!\nsession_redis_set_header X-User-Id /a;\n$limit\n$backend\n}");
    refused("$directive above the location", $empty->('uid'), http => sprintf($zone, '$uid'),
        server => "session_redis redis://127.0.0.1;\nlocation /x {\nsession_redis_framework php; #!\nsession_redis_set \$uid /user_id;\n$limit\nlocation /x/y {\n}\n}");
    accepted("$directive by address", $with->('$binary_remote_addr', "$limit\n$backend"));
    accepted("$directive by the status", $with->('$session_redis_status', "$limit\n$backend"));
    accepted("$directive where the module is off", $with->('$uid', "session_redis off;\n$limit\n$backend"));
    accepted("$directive in a zone that nobody uses", $with->('$uid', $backend));
}

# Other modules' headers of the same name win.
my $header = 'session_redis_set_header X-User-Id /user_id; #!';
for my $case (['proxy_set_header', 'X-User-Id', $backend], ['proxy_set_header', 'x-user-id', $backend], ['proxy_set_header', 'X-User-Id', 'set $host_ 127.0.0.1; proxy_pass http://$host_;'],
    ['grpc_set_header', 'X-User-Id', 'grpc_pass 127.0.0.1:1;'], ['fastcgi_param', 'HTTP_X_USER_ID', 'fastcgi_pass 127.0.0.1:1;'],
    ['uwsgi_param', 'HTTP_X_USER_ID', 'uwsgi_pass 127.0.0.1:1;'], ['scgi_param', 'HTTP_X_USER_ID', 'scgi_pass 127.0.0.1:1;']) {
    my ($directive, $name, $pass) = @$case;
    my $overrides = qr/\A"\Q$directive $name\E" overrides "session_redis_set_header X-User-Id" of line \d+\z/;
    next if $directive eq 'grpc_set_header' && !has_module('grpc_pass 127.0.0.1:1;');
    warned("$directive of the same name", $overrides, $in_x->("$header\n$directive $name \$arg_a;\n$pass"));
    warned("$directive of the same name above", $overrides, server => "$on$directive $name '';\nlocation /x {\n$header\n$pass\n}");
    accepted("$directive where another module passes", $in_x->("$header\n$directive $name a;\n" . ($directive eq 'proxy_set_header' ? 'fastcgi_pass 127.0.0.1:1;' : $backend)))
        if $pass !~ /\$/;
    accepted("$directive of another name", $in_x->("$header\n$directive A$name a;\n$pass"));
}
warned('a header above many locations is named once', qr/^"proxy_set_header X-User-Id" overrides/,
    server => "$on$header\nproxy_set_header X-User-Id a;\nlocation /x {\n$backend\n}\nlocation /y {\n$backend\n}");

# A cache that everyone shares.
my $cache = 'proxy_cache_path proxy_cache keys_zone=c:1m;';
my $doubt = '"proxy_cache_key" in "/x" names no session variable, but responses depend on "session_redis_set_header X-User-Id"; '
    . 'add $session_redis_id_hash to it, or $session_redis_no_cache to "proxy_no_cache" and "proxy_cache_bypass"';
my $cached = sub { (http => "$cache\nmap \$session_redis_user \$who {\ndefault \$session_redis_user;\n}", server => "${on}location /x {\nproxy_cache c;\n$_[0]\n$backend\n}") };
warned('the default key', $doubt, $cached->($header));
warned("the key $_", $doubt, $cached->("$header\nproxy_cache_key $_;"))
    for '$scheme$proxy_host$request_uri', '$host$uri$is_args$args', '$request_uri$cookie_theme$http_accept', '"x"', '$uri$session_redis_return_to$session_redis_status';
accepted("the key $_", $cached->("$header\nproxy_cache_key $_;"))
    for '$request_uri$session_redis_id_hash', '$uri$session_redis_user', '$uri$cookie_PHPSESSID', '$uri$http_cookie', '$uri$http_x_user_id', '$uri$who';
accepted('no cache for sessions', $cached->("$header\nproxy_no_cache \$session_redis_no_cache;\nproxy_cache_bypass \$cookie_nocache \$session_redis_no_cache;"));
warned('a bypass that does not keep from storing', $doubt, $cached->("$header\nproxy_cache_bypass \$session_redis_no_cache;"));
warned('bypass and no cache by other things', $doubt, $cached->("$header\nproxy_cache_bypass \$http_pragma;\nproxy_no_cache \$http_pragma;"));
my $depends = sub { my ($on, $module) = (@_, 'proxy'); return $doubt =~ s/session_redis_set_header X-User-Id/$on/r =~ s/proxy_/${module}_/gr };
for my $look (['session_redis_set $uid /user_id;', 'session_redis_set $uid'], ['session_redis_require /a;', 'session_redis_require'],
    ['session_redis_route /node;', 'session_redis_route'], ['session_redis_route jvmroute;', 'session_redis_route jvmroute'],
    ['session_redis_route learn;', 'session_redis_route learn'], ['session_redis_touch 30m;', 'session_redis_touch']) {
    warned("a cache beside $look->[1]", $depends->($look->[1]), $cached->("$look->[0] #!"));
    accepted("a cache by session beside $look->[1]", $cached->("$look->[0]\nproxy_cache_key \$uri\$session_redis_id_hash;"));
    accepted("no cache for sessions beside $look->[1]", $cached->("$look->[0]\nproxy_no_cache \$session_redis_no_cache;\nproxy_cache_bypass \$session_redis_no_cache;"));
}
warned('a cache beside a variable', $depends->('$session_redis_user'), http => $cache,
    server => "session_redis redis://127.0.0.1; #!\nsession_redis_cookie sid;\nsession_redis_key x:\$session_redis_id;\nsession_redis_format json;\nlocation /x {\nproxy_cache c;\nproxy_set_header X-User-Id \$session_redis_user;\n$backend\n}");
accepted('a cache where the session is off', $cached->("session_redis off;\nproxy_cache_valid 1m;"));
accepted('a cache that is off here', http => $cache, server => "${on}proxy_cache c;\nlocation /x {\nproxy_cache off;\nsession_redis_require /a;\n$backend\n}");
accepted('a cache where nothing looks at the session', http => $cache, server => "${on}location /x {\nproxy_cache c;\n$backend\n}");
accepted('a cache where the cookie is hidden only', http => $cache, server => "${on}location /x {\nproxy_cache c;\nsession_redis_hide_cookie on;\n$backend\n}");
accepted('a cache above a location that answers itself', http => $cache, server => "${on}proxy_cache c;\nsession_redis_require /a;\nlocation /x {\nempty_gif;\n}");
warned('a cache where the address holds variables', $depends->('session_redis_require'), http => $cache,
    server => "${on}location /x {\nproxy_cache c;\nsession_redis_require /a; #!\nset \$a 127.0.0.1:1;\nproxy_pass http://\$a;\n}");
warned("the key $_ does not tell sessions apart", $doubt, $cached->("$header\nproxy_cache_key $_;"))
    for '$uri$remote_addr', '$uri$session_redis_ttl', '$uri$session_redis_route', '$uri$request_method$ssl_protocol$remote_user', '$uri$session_redis_server';
warned('a variable of another location in the key', $doubt, http => $cache,
    server => "${on}location /x {\nproxy_cache c;\n$header\nproxy_cache_key \$uri\$uid;\n$backend\n}\nlocation /y {\nsession_redis_set \$uid /a;\n}");
accepted('its own variable in the key', $cached->("session_redis_set \$uid /a;\nproxy_cache_key \$uri\$uid;"));
accepted('an id in the address, which is in the default key', $cached->("session_redis_id arg:sid;\nsession_redis_require /a;"));
warned('a second cookie that is not in the key', $doubt, $cached->("session_redis_cookie a b;\n$header\nproxy_cache_key \$uri\$cookie_a;"));
accepted('all cookies in the key', $cached->("session_redis_cookie a b;\n$header\nproxy_cache_key \$uri\$cookie_a\$cookie_b;"));
warned('a cookie that leaves a visitor to the application, not in the key',
    '"proxy_cache_key" in "/x" names no cookie of "unless_cookie=", but responses depend on "session_redis_require"; '
    . 'add that cookie to it, or $session_redis_no_cache to "proxy_no_cache" and "proxy_cache_bypass"',
    $cached->("session_redis_require /a unless_cookie=remember_*; #!\nproxy_cache_key \$uri\$session_redis_id_hash;"));
accepted('a cookie that leaves a visitor to the application, in the key',
    $cached->("session_redis_require /a unless_cookie=remember_*;\nproxy_cache_key \$uri\$session_redis_id_hash\$cookie_remember_me;"));
for my $module (qw(fastcgi uwsgi scgi)) {
    my $in = sub { (http => "${module}_cache_path $module keys_zone=c:1m;", server => "${on}location /x {\n${module}_cache c;\n$_[0]\n${module}_pass 127.0.0.1:1;\n}") };
    warned("a cache of $module", $depends->('session_redis_set $uid', $module), $in->("session_redis_set \$uid /a; #!\n${module}_cache_key \$uri;"));
    accepted("a cache of $module by session", $in->("session_redis_set \$uid /a;\n${module}_cache_key \$uri\$session_redis_id_hash;"));
    accepted("a cache of $module for nobody", $in->("session_redis_set \$uid /a;\n${module}_cache_key \$uri;\n${module}_no_cache \$session_redis_no_cache;\n${module}_cache_bypass \$session_redis_no_cache;"));
}

# Copies on disk.
my $copied = '"proxy_store" in "/x" names no session variable, but responses depend on "session_redis_require"; '
    . 'add $session_redis_id_hash to its path, or write "proxy_store off"';
warned("proxy_store $_", $copied, $in_x->("session_redis_require /a; #!\nproxy_store $_;\n$backend")) for 'on', '/var/www$uri', '"/var/www/${host}_$request_uri"';
accepted("proxy_store $_", $in_x->("session_redis_require /a;\nproxy_store $_;\n$backend")) for 'off', '/var/www/$session_redis_id_hash$uri';
accepted('proxy_store where nothing looks at the session', $in_x->("proxy_store on;\n$backend"));
accepted('headers where nothing is cached', $in_x->("$header\nproxy_cache_key \$uri;\n$backend"));

# Sees whether nginx was built with a module.
sub has_module {
    my ($good) = nginx_test(in_location($_[0]));
    return $good;
}

done_testing();
