# session_redis_route learn before applications that give a session another id at login: the request after it goes where
# the login went.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Learning;
use Test::More;

my $redis = start_redis();

# Logs in with what was set before, regenerates, logs out; each answer is looked at by its cookie, the routes in Redis, and who has answered.
sub walk ($what, $nginx, $path, $id_of) {
    subtest $what => sub {
        my ($cookie, %seen);
        my $ask = sub ($do) {
            my $response = http($nginx->port, "$path?do=$do", headers => [$cookie ? "Cookie: $cookie" : ()]);
            is($response->{code}, 200, $do);
            my ($set) = grep { !/(?:expires=Thu, 01.Jan.1970|Max-Age=0)/i } header($response, 'Set-Cookie') // ();
            my ($old) = $cookie ? $id_of->($cookie) : ();
            $cookie = $set =~ s/;.*//sr if $set;
            return ($response, $cookie && $id_of->($cookie), $old);
        };
        my (undef, $visitor) = $ask->('show');
        ok(!$redis->cmd('KEYS', 'srr:*')->@* || $visitor, 'a visitor without a session has no route');
        my ($login, $id, $old) = $ask->('login');
        isnt($id, $old // '', 'the login gives another id') if $old;
        my $server = ($redis->cmd('GET', route_key($id)) // '') =~ s/ .*//r;
        ok($server, 'its route is there with the response') or return;
        for my $turn (1 .. 6) {
            my ($response) = $ask->('show');
            is(header($response, 'X-Upstream'), $server, 'the next request goes where the login went');
        }
        my (undef, $new, $before) = $ask->('regenerate');
        isnt($new, $before, 'another id again');
        is($redis->cmd('GET', route_key($new)) =~ s/ .*//r, $server, 'at the same server');
        is(header(($ask->('show'))[0], 'X-Upstream'), $server, 'which has its requests');
        my $routes = $redis->cmd('KEYS', 'srr:*')->@*;
        $ask->('logout');
        is(scalar $redis->cmd('KEYS', 'srr:*')->@*, $routes, 'a logout writes nothing');
        $redis->cmd('FLUSHALL');
    };
    return;
}

SKIP: {
    skip('no php-fpm with phpredis installed', 1) if !have_php();
    my @php = map { start_php(redis => $redis, files => { 'app.php' => <<'PHP' }) } 1 .. 3;
<?php
$do = $_GET['do'];
if ($do != 'show' || isset($_COOKIE['PHPSESSID'])) session_start();
if ($do == 'login') { session_regenerate_id(true); $_SESSION['user_id'] = 7; }
if ($do == 'regenerate') session_regenerate_id(true);
if ($do == 'logout') { session_destroy(); setcookie('PHPSESSID', '', 1, '/'); }
echo $_SESSION['user_id'] ?? 'nobody';
PHP
    my $servers = join ' ', map { "server unix:$_->{socket};" } @php;
    my $nginx   = start_nginx(http => "upstream php { $servers session_redis_sticky; }", server => <<~"END");
        session_redis           @{[$redis->url]};
        session_redis_framework php;
        session_redis_route     learn;
        add_header X-Upstream \$upstream_addr;
        location / {
            fastcgi_param SCRIPT_FILENAME $php[0]{root}/app.php;
            fastcgi_param QUERY_STRING \$query_string;
            fastcgi_param REQUEST_METHOD \$request_method;
            fastcgi_pass php;
        }
        END
    walk('PHP, session_regenerate_id', $nginx, '/', sub ($cookie) { $cookie =~ s/.*=//r });
}

SKIP: {
    skip('no node installed', 1) if !have('node');
    my $modules = "$FindBin::Bin/../demo/express/node_modules";
    if (!-d $modules) {
        skip('no npm installed, and no demo/express/node_modules', 1) if !have('npm');
        system("cd '$FindBin::Bin/../demo/express' && npm ci --silent --no-audit --no-fund --no-progress") == 0 or die "npm ci in demo/express fails\n";
    }
    my $script = <<'JS';
const express = require("express");
const session = require("express-session");
const { RedisStore } = require("connect-redis");
const { createClient } = require("redis");
const client = createClient({ socket: { path: process.env.REDIS_SOCKET } });
client.connect().then(() => {
  const app = express();
  app.use(session({ store: new RedisStore({ client }), secret: "keyboard cat", resave: false, saveUninitialized: false }));
  app.get("/", (request, response) => {
    const answer = () => response.end(String(request.session?.user?.id ?? "nobody"));
    const regenerate = (user) => request.session.regenerate(() => { request.session.user = user; answer(); });
    switch (request.query.do) {
      case "login": return regenerate({ id: 7 });
      case "regenerate": return regenerate(request.session.user);
      case "logout": return request.session.destroy(() => { response.clearCookie("connect.sid"); response.end("gone"); });
      default: return answer();
    }
  });
  app.listen(process.env.PORT, "127.0.0.1");
});
JS
    my @node    = map { start_node(script => $script, modules => $modules, env => { REDIS_SOCKET => $redis->socket }) } 1 .. 3;
    my $servers = join ' ', map { "server 127.0.0.1:$_->{port};" } @node;
    my $nginx   = start_nginx(http => "upstream app { $servers session_redis_sticky; }", server => <<~"END");
        session_redis           @{[$redis->url]};
        session_redis_framework express;
        session_redis_secret    "keyboard cat";
        session_redis_route     learn;
        add_header X-Upstream \$upstream_addr;
        location / { proxy_pass http://app; }
        END
    walk('Express, regenerate', $nginx, '/', sub ($cookie) { $cookie =~ /=s%3A([\w-]+)\./ ? $1 : '' });
}

done_testing();
