# A login in a real Express application with express-session and connect-redis, its signed cookie read by the module.
#
# The packages are those of demo/express; npm fetches them where they are not there yet.
use v5.26;
use warnings;

use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Backend qw(start_backend);
use SessionRedis::ConfigTable qw(file_of);
use Test::More;

plan skip_all => 'no node installed' if !have('node');
my $modules = "$FindBin::Bin/../demo/express/node_modules";
if (!-d $modules) {
    plan skip_all => 'no npm installed, and no demo/express/node_modules' if !have('npm');
    system("cd '$FindBin::Bin/../demo/express' && npm ci --silent --no-audit --no-fund --no-progress") == 0 or die "npm ci in demo/express fails\n";
}

my $redis   = start_redis();
my $backend = start_backend();
my $script  = <<'JS';
const { createHash } = require("node:crypto");
const express = require("express");
const session = require("express-session");
const { RedisStore } = require("connect-redis");
const { createClient } = require("redis");
const ids = {
  hex: (request) => createHash("sha256").update(String(Math.random())).digest("hex"),
  base64: (request) => createHash("sha256").update(String(Math.random())).digest("base64"),
  short: (request) => "id" + Math.random().toString(36).slice(2, 8),
  colon: (request) => "user:1:" + createHash("md5").update(String(Math.random())).digest("hex"),
};
const { SECRETS, NAME, PREFIX, GENID } = process.env;
const client = createClient({ socket: { path: process.env.REDIS_SOCKET } });
client.connect().then(() => {
  const app = express();
  app.use(session({
    store: new RedisStore({ client, ...(PREFIX ? { prefix: PREFIX } : {}) }),
    secret: JSON.parse(SECRETS),
    resave: false,
    saveUninitialized: false,
    ...(NAME ? { name: NAME } : {}),
    ...(GENID ? { genid: ids[GENID] } : {}),
  }));
  app.get("/app/login", (request, response) => {
    request.session.passport = { user: 1001 };
    request.session.user = { id: 1001, name: "Zoë", roles: ["admin", "editor"], since: 1.5 };
    response.send(request.sessionID);
  });
  app.get("/app/who", (request, response) => response.send(String(request.session.user?.id ?? "nobody")));
  app.get("/app/renew", (request, response) => request.session.regenerate(() => {
    request.session.user = { id: 1002 };
    response.send("renewed");
  }));
  app.get("/app/logout", (request, response) => request.session.destroy(() => response.send("gone")));
  app.listen(process.env.PORT, "127.0.0.1");
});
JS

sub app { my %env = (SECRETS => '["keyboard cat"]', REDIS_SOCKET => $redis->socket, @_); return start_node(script => $script, modules => $modules, env => \%env) }

my %apps = (
    plain  => app(),
    rotated => app(SECRETS => '["new secret","keyboard cat"]'),
    shop   => app(NAME => 'shop.sid', PREFIX => 'shop:', SECRETS => '["geheimnis ü"]'),
    map { $_ => app(GENID => $_) } qw(hex base64 short colon),
);
my $secrets = file_of("new secret\nkeyboard cat\n");
my $store = 'redis://127.0.0.1:' . $redis->port;
my $show  = <<'END';
    session_redis_set_header X-User-Id    @user;
    session_redis_set_header X-User-Name  /user/name;
    session_redis_set_header X-User-Roles /user/roles join=,;
    add_header X-Status $session_redis_status;
    add_header X-Life   $session_redis_ttl;
    proxy_pass http://backend;
END
my $apps  = join '', map { "location /$_/ { rewrite ^/$_/(.*) /app/\$1 break; proxy_pass http://127.0.0.1:$apps{$_}{port}; }\n" } sort keys %apps;
my $nginx = start_nginx(http => "upstream backend { server 127.0.0.1:@{[$backend->port]}; }", server => <<"END");
session_redis           $store;
session_redis_framework express;
session_redis_secret    "keyboard cat";
location = /            { $show }
location = /new         { session_redis_secret "new secret"; $show }
location = /both        { session_redis_secret "new secret" "keyboard cat"; $show }
location = /reversed    { session_redis_secret "keyboard cat" "new secret"; $show }
location = /wrong       { session_redis_secret "keyboard dog"; $show }
location = /file        { session_redis_secret_file $secrets; $show }
location = /user        { session_redis_user /user/id; $show }
location = /shop        { session_redis_framework express prefix=shop:; session_redis_cookie shop.sid; session_redis_secret "geheimnis ü"; session_redis_user /user/id; $show }
location = /short       { session_redis_id_length 8; $show }
location = /required    { session_redis_require \@user; $show }
location = /logout      { session_redis_destroy; }
$apps
END

# A visitor with a jar for cookies.
sub visitor () { return bless {}, 'Visitor' }

package Visitor {
    use experimental 'signatures';
    use SessionRedis;

    sub get ($self, $path, %how) {
        my $cookies  = join '; ', map { "$_=$self->{$_}" } sort keys %$self;
        my $response = http($nginx->port, $path, headers => [length $cookies ? "Cookie: $cookies" : (), ($how{headers} // [])->@*], method => $how{method} // 'GET');
        for my $line (map { /\ASet-Cookie: (.*)\z/i } split /\r\n/, $response->{raw_headers}) {
            my ($name, $value) = $line =~ /\A([^=]+)=([^;]*)/;
            if ($value eq '') { delete $self->{$name} } else { $self->{$name} = $value }
        }
        return $response;
    }
}

package main;

# What the backend is told, and the status.
sub told {
    my ($visitor, $path, @headers) = @_;
    my $response = $visitor->get($path, headers => \@headers);
    my @ids = $response->{body} =~ /^X-User-Id: ?(.*?)\r?$/mgi;
    return join ' ', header($response, 'X-Status') // '-', @ids;
}

my $alice = visitor();
is(told($alice, '/'), 'none', 'who has not logged in is nobody');
is(told($alice, '/', 'X-User-Id: 1', 'x.user.id: 1'), 'none', 'whatever they say of themselves');
$alice->get('/plain/login');
like($alice->{'connect.sid'}, qr/\As%3A[\w-]{32}\.[\w%]+\z/, 'alice logs in and has a signed cookie of Express');
is(told($alice, '/'), 'found 1001', 'the backend knows her');
is(told($alice, '/', 'X-User-Id: 1'), 'found 1001', 'whatever she says of herself');
is(told($alice, '/user'), 'found 1001', 'by another pointer too');
is($alice->get('/required')->{code}, 200, 'she may pass');
is(visitor()->get('/required')->{code}, 401, 'others may not');
my $response = $alice->get('/');
like($response->{body}, qr/^X-User-Name: Zoë\r?$/m, 'a name with other letters');
like($response->{body}, qr/^X-User-Roles: admin,editor\r?$/m, 'a list');
like(header($response, 'X-Life'), qr/\A86[34]\d\d\z/, 'and the life that connect-redis gave it');
$alice->get('/plain/renew');
is(told($alice, '/user'), 'found 1002', 'a regenerated session is known at once');

# Cookies that Express would not take either.
my $cookie  = $alice->{'connect.sid'};
my ($id)    = $cookie =~ /\As%3A([\w-]{32})/;
my %forged  = (
    'without a signature'      => "s%3A$id",
    'with an empty one'        => "s%3A$id.",
    'without s:'               => $cookie =~ s/\As%3A//r,
    'as it is stored'          => $id,
    'with another id'          => $cookie =~ s/\As%3A./s%3A_/r,
    'with one letter changed'  => $cookie =~ s/(\.)(.)/$1 . ($2 eq 'A' ? 'B' : 'A')/er,
    'with a letter more'       => "${cookie}A",
    'with a letter less'       => substr($cookie, 0, -1),
    'with padding'             => "$cookie%3D",
    'with s: twice'            => "s%3A$cookie",
    'signed by someone else'   => express_cookie($id, 'keyboard dog'),
    'signed with nothing'      => express_cookie($id, ''),
);
for my $how (sort keys %forged) {
    my $mallory = visitor();
    $mallory->{'connect.sid'} = $forged{$how};
    $redis->cmd('CONFIG', 'RESETSTAT');
    is(told($mallory, '/user'), 'invalid', "a cookie $how is refused");
    unlike($redis->info('commandstats')->{cmdstat_get} // '', qr/calls=[1-9]/, 'and nothing is looked up');
    is($mallory->get('/plain/who')->{body}, 'nobody', 'Express agrees');
}
is(told($alice, '/wrong'), 'invalid', 'a cookie is refused where another secret is configured');
my $decoded = visitor();
$decoded->{'connect.sid'} = $cookie =~ s/%([0-9A-F]{2})/chr hex $1/ger;
is(told($decoded, '/user'), 'found 1002', 'a cookie that is not encoded is taken');
is($decoded->get('/plain/who')->{body}, 1002, 'as Express does');

# Secrets in turn: the application signs with the new one and takes the old ones, and so do we.
my $before = visitor();
$before->get('/plain/login');
my $after = visitor();
$after->get('/rotated/login');
is(told($before, '/both'), 'found 1001', 'the old secret is accepted while it is listed');
is(told($after,  '/both'), 'found 1001', 'the new one too');
is(told($before, '/reversed'), 'found 1001', 'in any order');
is(told($after,  '/reversed'), 'found 1001', 'of either');
is(told($before, '/new'), 'invalid', 'and the old one no more when it is not');
is(told($after,  '/new'), 'found 1001', 'while the new one stays');
is(told($after,  '/'), 'invalid', 'who knows the old one only does not take the new one');
is($before->get('/rotated/who')->{body}, 1001, 'Express agrees');
is(told($before, '/file'), 'found 1001', 'secrets of a file: the old one');
is(told($after,  '/file'), 'found 1001', 'and the new one');

# Ids that applications make themselves.
for my $kind (qw(hex base64)) {
    my $visitor = visitor();
    my $id = $visitor->get("/$kind/login")->{body};
    is(told($visitor, '/'), 'found 1001', "genid: $kind");
}
my $short = visitor();
$short->get('/short/login');
is(told($short, '/'), 'invalid', 'genid: ids of eight bytes are refused');
is(told($short, '/short'), 'found 1001', 'unless they are allowed');
my $colon = visitor();
$colon->get('/colon/login');
is(told($colon, '/'), 'invalid', 'genid: an id with colons, which could name another key, is refused');

# Another name, prefix and secret.
my $customer = visitor();
$customer->get('/shop/login');
ok(exists $customer->{'shop.sid'}, 'an application with a cookie of its own');
is(told($customer, '/shop'), 'found 1001', 'is read by its name, prefix and secret');
is(told($customer, '/'), 'none', 'and not by others');
is($redis->cmd('KEYS', 'shop:*')->@*, 1, 'its sessions stand apart');

# Both cookies of two applications in one jar.
$customer->get('/plain/login');
is(told($customer, '/'), 'found 1001', 'two sessions of two applications: the one');
is(told($customer, '/shop'), 'found 1001', 'and the other');

# Logging out, in Express and in nginx.
$before->get('/plain/logout');
is(told($before, '/'), 'missing', 'a session that Express destroyed is missing');
my $last = visitor();
$last->get('/plain/login');
my ($gone) = $last->{'connect.sid'} =~ /\As%3A([\w-]{32})/;
is($redis->cmd('EXISTS', "sess:$gone"), 1, 'a session');
is($last->get('/logout', method => 'POST')->{code}, 204, 'that nginx destroys');
is($redis->cmd('EXISTS', "sess:$gone"), 0, 'is gone');
ok(!exists $last->{'connect.sid'}, 'with its cookie');

unlike($nginx->log, qr/\[(?:alert|crit|emerg)\]|panicked/, 'nothing worse than an error in the log');
unlike($nginx->log, qr/$id|$gone|keyboard|geheimnis/, 'and no id and no secret');
done_testing();
