# The configuration of a store: what "nginx -t" says of each directive of session_redis_store{} and of each kind of wrong url.
use v5.26;
use warnings;

use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::ConfigTable;
use Test::More;

my $server = 'server redis://127.0.0.1:6379;';

# What is right passes without a word, whether or not anything listens.
for my $line (
    'server redis://127.0.0.1;', 'server redis://127.0.0.1:6379;', 'server redis://127.0.0.1/3;',
    'server redis://web@127.0.0.1:6379/3;', 'server redis://[::1]:6379/0;', 'server redis://[::1];',
    'server REDIS://127.0.0.1;', 'server redis+unix:///run/redis.sock;', 'server redis+unix:///run/redis.sock?db=2;',
    'server redis+unix:///run/re%64is.sock;',
    'server memcached://127.0.0.1;', 'server memcached://[::1]:11211;', 'server memcached+unix:///run/memcached.sock;',
    'server memcached://127.0.0.1; username web; password secret;',
    "$server username web;", "$server password secret;", "$server username web; password secret;",
    "$server database 0;", "$server database 15;",
    "$server resolver 127.0.0.1:53;", "$server resolver 127.0.0.1 [::1]:5353 valid=10s ipv6=off;",
    "$server resolver 127.0.0.1; resolver_timeout 5s;",
    "server redis://redis.example.org; resolver 127.0.0.1;",
    "$server connect_timeout 50ms;", "$server timeout 1s;", "$server connections 4;", "$server max_pending 1;",
    "$server max_size 1m;", "$server max_size 65536;", "$server retry 0;", "$server retry 2;",
) {
    accepted("accepted: $line", in_store($line));
}

# Every directive: too few and too many arguments, a second time, a wrong value.
my %wrong = (
    server          => ['redis://127.0.0.1', undef],
    username        => ['web', undef],
    password        => ['secret', undef],
    database        => ['1', '"x" is not a number from 0 to 4294967295' => 'x', '"-1" is not a number from 0 to 4294967295' => '-1'],
    resolver        => ['127.0.0.1', undef],
    resolver_timeout => ['1s', '"x" is not a time; times are written 250ms, 30s, 30m' => 'x', 'the time must be above 0' => '0'],
    connect_timeout => ['1s', '"1x" is not a time; times are written 250ms, 30s, 30m' => '1x', 'the time must be above 0' => '0ms'],
    timeout         => ['1s', '"-1s" is not a time; times are written 250ms, 30s, 30m' => '-1s', 'the time must be above 0' => '0'],
    connections     => ['2', '"0" is not a number from 1 to 1024' => '0', '"many" is not a number from 1 to 1024' => 'many'],
    max_pending     => ['2', '"0" is not a number from 1 to 16777216' => '0', '"1k" is not a number from 1 to 16777216' => '1k'],
    max_size        => ['2k', '"0" is not a size from 1 to 512m; sizes are written 65536, 64k, 1m' => '0',
        '"big" is not a size from 1 to 512m; sizes are written 65536, 64k, 1m' => 'big',
        '"1g" is not a size from 1 to 512m; sizes are written 65536, 64k, 1m' => '1g'],
    retry           => ['2', '"17" is not a number from 0 to 16' => '17', '"on" is not a number from 0 to 16' => 'on'],
);
for my $directive (sort keys %wrong) {
    my ($good, @cases) = grep { defined } $wrong{$directive}->@*;
    refused("$directive without an argument", "invalid number of arguments in \"$directive\" directive", in_store("$directive; #!"));
    refused("$directive with two arguments", "invalid number of arguments in \"$directive\" directive",
        in_store("$directive $good $good; #!")) if $directive ne 'resolver';
    refused("$directive twice", "\"$directive\" directive: is duplicate", in_store("$directive $good;\n$directive $good; #!"))
        if $directive ne 'password';
    while (my ($message, $value) = splice @cases, 0, 2) {
        refused("$directive $value", "\"$directive\" directive: $message", in_store("$directive $value; #!"));
    }
}

# Urls.
my $known = 'known: redis://[user@]host[:port][/db], rediss://… (TLS), redis+unix:///path[?db=n], memcached://host[:port], memcached+unix:///path';
for my $case (
    ['127.0.0.1:6379',                 "not a store url; $known"],
    ['session_redis',                  "not a store url; $known"],
    ['http://127.0.0.1',               "unknown scheme \"http\" in a store url; $known"],
    ['redisss://127.0.0.1',            qr/^"server" directive: unknown scheme "redisss" in a store url/],
    ['rediss+unix:///run/redis.sock',  qr/^"server" directive: unknown scheme "rediss\+unix" in a store url/],
    ['rediss://',                      "no host in a store url; $known"],
    ['rediss://127.0.0.1/one',         'database in a store url must be a number, as in redis://host/1'],
    ['redis://',                       "no host in a store url; $known"],
    ['redis://:6379',                  "no host in a store url; $known"],
    ['redis://127.0.0.1:0',            'port in a store url must be a number from 1 to 65535'],
    ['redis://127.0.0.1:65536',        'port in a store url must be a number from 1 to 65535'],
    ['redis://127.0.0.1:redis',        'port in a store url must be a number from 1 to 65535'],
    ['redis://127.0.0.1/one',          'database in a store url must be a number, as in redis://host/1'],
    ['redis://127.0.0.1/1/2',          'database in a store url must be a number, as in redis://host/1'],
    ['redis://127.0.0.1?db=1',         'a redis:// store url takes no "?" and no "#"; write the database as "/n" behind the host'],
    ['redis://::1:6379',               'invalid host in a store url; an IPv6 address stands in brackets: redis://[::1]:6379'],
    ['redis://[::1',                   'invalid IPv6 address in a store url'],
    ['redis://[nonsense]',             'invalid IPv6 address in a store url'],
    ['"redis://host name"',            'space or control character in a store url'],
    ['redis://@127.0.0.1',             qr/^"server" directive: invalid user name in a store url/],
    ['redis+unix://run/redis.sock',    'a Unix socket needs an absolute path; write redis+unix:///run/redis/redis.sock'],
    ['redis+unix:///',                 'a Unix socket needs an absolute path; write redis+unix:///run/redis/redis.sock'],
    ['redis+unix:///a.sock?database=1', 'unknown parameter in a store url; known: ?db=n'],
    ['redis+unix:///a.sock?db=x',      'database in a store url must be a number, as in redis://host/1'],
    ['redis+unix:///a%zz.sock',        'invalid %XX in a store url'],
    ['redis+unix:///' . 'a' x 120,     'path of a Unix socket is over 107 bytes'],
    ['memcached://127.0.0.1/1',        'memcached has no databases'],
    ['memcached+unix:///a.sock?db=1',  'memcached has no databases'],
    ['memcached://web@127.0.0.1',      'a memcached:// store url takes no user; write "username" and "password_file" beside "server"'],
    ['memcached://127.0.0.1:0',        'port in a store url must be a number from 1 to 65535'],
    ['memcacheds://127.0.0.1',         "unknown scheme \"memcacheds\" in a store url; $known"],
) {
    my ($url, $message) = @$case;
    refused("server $url", ref $message ? $message : "\"server\" directive: $message", in_store("server $url; #!"));
    $message =~ s/^"server" directive/"session_redis" directive/ if !ref $message;
    refused("session_redis $url", ref $message ? qr/^"session_redis" directive: / : "\"session_redis\" directive: $message",
        in_server("session_redis $url; #!")) if $url =~ m{://};
}

# No secret is shown.
for my $url ('redis://:hunter2@10.0.0.5/1', 'redis://user:hunter2@10.0.0.5/1', 'redis://user:hun/ter2@10.0.0.5/1',
    'redis://user:hunt@er2@10.0.0.5/1', 'rediss://user:hunter2@10.0.0.5/1') {
    my ($scheme, $user) = $url =~ m{^(\w+)://(\w*):};
    my $shown = "$scheme://$user:***\@10.0.0.5/1";
    my $message = "password in a store url would show in \"nginx -T\"; move it to \"password_file\" (url was $shown)";
    refused("a password in $scheme of \"$user\" is refused and masked", "\"server\" directive: $message", in_store("server $url; #!"));
    refused("a password in session_redis of \"$user\" is refused and masked", "\"session_redis\" directive: $message",
        in_server("session_redis $url; #!"));
}

# Files with the password.
my $password = file_of("hunter2\n", mode => 0644);
my $private  = file_of("hunter2\n");
my (undef, $said) = nginx_test(in_store("$server password_file $password;"));
like($said, qr/\[warn\] .*"\Q$password\E" is readable by others than its owner and group in \S+:\d+/, 'a password that everyone may read is a warning');
unlike($said, qr/hunter2/, 'and it is not shown');
warned('a password in the configuration', '"password" shows in "nginx -T"; move it to "password_file"', in_store("$server\npassword hunter2; #!"));
for my $mode (0620, 0602) {
    warned(sprintf('a password file of mode %o', $mode), qr/\A"\S+" is writable by others than its owner\z/, in_store("$server\npassword_file " . file_of("hunter2\n", mode => $mode) . '; #!'));
    warned(sprintf('a file with the password for Sentinels of mode %o', $mode), qr/\A"\S+" is writable by others than its owner\z/,
        in_store("sentinel m 127.0.0.1;\nsentinel_password_file " . file_of("hunter2\n", mode => $mode) . '; #!'));
}
accepted('a password file of owner and group', in_store("$server password_file " . file_of("hunter2\n", mode => 0640) . ';'));
accepted('a password file with CRLF', in_store("$server password_file " . file_of("hunter2\r\n") . ';'));
my $empty = file_of("\n");
refused('an empty password file', "\"password_file\" directive: \"$empty\" is empty", in_store("$server\npassword_file $empty; #!"));
refused('an empty password', '"password" directive: the password is empty', in_store("$server\npassword ''; #!"));
refused('no such password file', '"password_file" directive: cannot read "/nonexistent": No such file or directory (os error 2)',
    in_store("$server\npassword_file /nonexistent; #!"));
my $two = file_of("hunter2\nhunter3\n");
refused('a password file of two lines', "\"password_file\" directive: \"$two\" has more than one line", in_store("$server\npassword_file $two; #!"));
refused('password and password_file', '"password_file" directive: the store has a password already', in_store("$server\npassword x;\npassword_file $private; #!"));

# A password that only root may read: workers read it again when it is rotated.
SKIP: {
    skip 'only root starts nginx as another user', 6 if $> != 0;
    my ($user) = grep { defined getpwnam $_ } qw(www-data nobody);
    my $group = getgrgid((getpwnam $user)[3]);
    my $said  = sub { my ($mode, $owner, $of_group) = @_; chown $owner, $of_group, $private; chmod $mode, $private; as_user("user $user $group;", "password_file $private;") };
    my $warning = qr/\[warn\] (?:\d+#\d+: )?"\Q$private\E" is not readable by user "$user": it cannot be read again when rotated in \S+:\d+/;
    my ($uid, $gid) = (getpwnam $user)[2, 3];
    like($said->(0600, 0, 0), $warning, 'a password file of root');
    like(as_user("user $user $group;", "sentinel_password_file $private;", 'sentinel m 127.0.0.1;'), $warning, 'one for Sentinels');
    like($said->(0040, $uid, $gid), $warning, 'one that its owner may not read');
    unlike($said->(0640, 0, $gid), qr/\[warn\]/, 'one that the group of the workers may read');
    unlike($said->(0400, $uid, 0), qr/\[warn\]/, 'one of the workers');
    unlike(as_user('user root;', "password_file $private;"), qr/\[warn\]/, 'workers of root');
    chown 0, 0, $private;
}

# What "nginx -t" says with another user.
sub as_user {
    my ($user, $line, $where) = @_;
    my $dir  = temp_dir();
    my $conf = file_of(join "\n", (map { "load_module $_;" } split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // ''), $user, "pid $dir/pid;", 'events { }',
        "http { access_log off; client_body_temp_path $dir/a; proxy_temp_path $dir/b; fastcgi_temp_path $dir/c; uwsgi_temp_path $dir/d; scgi_temp_path $dir/e;",
        'session_redis_store s {', $where // $server, $line, '} }', '');
    my $nginx = $ENV{TEST_NGINX_BINARY} || 'nginx';
    return qx{'$nginx' -t -e stderr -p '$dir' -c '$conf' 2>&1};
}

# What does not go together, and what is missing.
refused('database and /db', '"session_redis_store" directive: "database" stands beside a database in the url',
    in_http("session_redis_store s { #!\nserver redis://127.0.0.1/1;\ndatabase 1;\n}"));
refused('username and user@', '"session_redis_store" directive: "username" stands beside a user in the url',
    in_http("session_redis_store s { #!\nserver redis://web\@127.0.0.1;\nusername web;\n}"));
refused('no server', '"session_redis_store" directive: store "s" has no "server"; for instance "server redis://127.0.0.1:6379;"',
    in_http("session_redis_store s { #!\ntimeout 1s;\n}"));
accepted('a user without a password, as "nopass" users are', in_store("$server
username web;"));
refused('a second server', '"server" directive: is duplicate', in_store("$server\n$server #!"));

# What memcached does not have.
my $memcached = "session_redis_store s { #!\nserver memcached://127.0.0.1;\n";
my $both = 'memcached knows users with a password only; write both "username" and "password_file", as in its file of "-Y"';
refused('a database of memcached', '"session_redis_store" directive: memcached has no databases', in_http("${memcached}database 1;\n}"));
refused('database 0 of memcached', '"session_redis_store" directive: memcached has no databases', in_http("${memcached}database 0;\n}"));
refused('a user of memcached without a password', "\"session_redis_store\" directive: $both", in_http("${memcached}username web;\n}"));
refused('a password of memcached without a user', "\"session_redis_store\" directive: $both", in_http("${memcached}password secret;\n}"));
refused('a user of memcached with a colon', '"session_redis_store" directive: no user of memcached has an empty name, or one with spaces or ":"',
    in_http("${memcached}username a:b;\npassword secret;\n}"));
refused('TLS to memcached', '"ssl" directive: memcached is spoken to without TLS', in_http("session_redis_store s {\nserver memcached://127.0.0.1;\nssl on; #!\n}"));
for my $framework ('spring', 'spring tags=keep', 'tomcat') {
    my ($name) = split ' ', $framework;
    refused("hashes of $name in memcached", "\"session_redis_framework\" directive: framework \"$name\" keeps its sessions in hashes, which memcached does not have",
        in_server("session_redis memcached://127.0.0.1;\nsession_redis_framework $framework; #!\nlocation / {\nsession_redis_set_header X-User /x;\n}"));
}
accepted('strings of tomcat in memcached', in_server("session_redis memcached://127.0.0.1;\nsession_redis_framework tomcat manager=msm;\nlocation / {\nsession_redis_set_header X-User /x;\n}"));

# Names in it.
refused('a near miss', qr/^unknown directive "timout"; did you mean "timeout"\? known: timeout, /, in_store("timout 1s; #!"));
refused('a directive of another place', qr/^unknown directive "session_redis_user"; known: /, in_store("session_redis_user /x; #!"));
refused('a block inside', 'unexpected "{"', in_store("location / { #!\n}"));
refused('a block where a line belongs', 'unexpected "{"', in_store("timeout 1s { #!\n}"));

# The store's own name.
refused('a store without a name', 'invalid number of arguments in "session_redis_store" directive', in_http("session_redis_store { #!\n}"));
refused('a store with two names', 'invalid number of arguments in "session_redis_store" directive', in_http("session_redis_store a b { #!\n}"));
refused('a store without a block', 'directive "session_redis_store" has no opening "{"', in_http("session_redis_store a; #!"));
refused('a store called off', '"session_redis_store" directive: "off" cannot be the name of a store', in_http("session_redis_store off { #!\n}"));
refused('a store called as a url', '"session_redis_store" directive: "redis://x" cannot be the name of a store', in_http("session_redis_store redis://x { #!\n}"));
refused('two stores of one name', '"session_redis_store" directive: duplicate store "s"',
    in_http("session_redis_store s {\n$server\n}\nsession_redis_store s { #!\n$server\n}"));
refused('a store in server{}', '"session_redis_store" directive is not allowed here', in_server("session_redis_store s { #!\n}"));

# Which store is meant.
my $store = "session_redis_store sessions {\n$server\n}\n";
accepted('a store that stands behind its use', http => "server {\nsession_redis sessions;\n}\n$store");
accepted('session_redis off', http => "$store session_redis sessions;", server => "location / {\nsession_redis off;\n}");
refused('an unknown store', '"session_redis" directive: unknown session store "session"; did you mean "sessions"? known: sessions',
    http => $store, server => 'session_redis session; #!');
refused('no store at all', '"session_redis" directive: unknown session store "sessions", none is defined; write "session_redis_store sessions { … }" in http{}, or "session_redis redis://127.0.0.1:6379"',
    server => 'session_redis sessions; #!');
refused('an upstream for a store', '"session_redis" directive: "session_redis" is an upstream, not a session store; write "session_redis redis://session_redis"',
    http => "upstream session_redis {\nserver 127.0.0.1:6379;\n}", server => 'session_redis session_redis; #!');
refused('a store that nobody uses is read nonetheless', '"server" directive: port in a store url must be a number from 1 to 65535', in_store("server redis://127.0.0.1:0; #!"));

# Servers of an upstream block.
my $upstream = "upstream session_redis {\nserver 127.0.0.1:6379;\n}\n";
accepted('an upstream block', http => $upstream, server => 'session_redis redis://session_redis;');
accepted('an upstream block that stands behind its use', http => "server {\nsession_redis redis://session_redis;\n}\n$upstream");
accepted('weight, backup, down, max_fails, fail_timeout', server => 'session_redis redis://session_redis;', http => <<'END');
upstream session_redis {
    server 127.0.0.1:6379 weight=2 max_fails=1 fail_timeout=1s;
    server unix:/run/redis.sock down;
    server 127.0.0.1:6380 backup;
}
END
warned('a server without a port', 'server "127.0.0.1" in upstream "session_redis" has no port, nginx gave it 80; Redis listens on 6379',
    http => "upstream session_redis {\nserver 127.0.0.1;\n}", server => 'session_redis redis://session_redis; #!');
warned('a server of memcached without a port', 'server "127.0.0.1" in upstream "memcached" has no port, nginx gave it 80; memcached listens on 11211',
    http => "upstream memcached {\nserver 127.0.0.1;\n}", server => 'session_redis memcached://memcached; #!');
accepted('port 80, written out', http => "upstream session_redis {\nserver 127.0.0.1:80;\n}", server => 'session_redis redis://session_redis;');
refused('an upstream block with a port', '"session_redis" directive: "session_redis" is an upstream, whose servers have ports of their own; write "redis://session_redis"',
    http => $upstream, server => 'session_redis redis://session_redis:6379; #!');
refused('an upstream block of memcached with a port', '"session_redis" directive: "session_redis" is an upstream, whose servers have ports of their own; write "memcached://session_redis"',
    http => $upstream, server => 'session_redis memcached://session_redis:11211; #!');

accepted('the host that requests are passed to is not an upstream block', server => "session_redis redis://127.0.0.1:6379;\nlocation / {\nproxy_pass http://127.0.0.1;\n}");

# Names that do not resolve.
refused('a host that does not exist', qr/^"session_redis" directive: host not found in "no\.such\.host\.invalid:6379"/,
    server => 'session_redis redis://no.such.host.invalid; #!');
refused('a memcached that does not exist', qr/^"session_redis" directive: host not found in "no\.such\.host\.invalid:11211"/,
    server => 'session_redis memcached://no.such.host.invalid; #!');
refused('a host that does not exist, in a block', qr/^"session_redis_store" directive: host not found in "no\.such\.host\.invalid:6379"/,
    http => "session_redis_store s { #!\nserver redis://no.such.host.invalid;\n}");
accepted('a host that is resolved at run time', http => 'resolver 127.0.0.1;', server => 'session_redis redis://no.such.host.invalid;');

done_testing();
