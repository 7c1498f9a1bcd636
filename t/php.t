# A login in real PHP, with phpredis as its session handler, read by the module in the same nginx.
use v5.26;
use warnings;

use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Backend qw(start_backend);
use Test::More;

plan skip_all => 'no php-fpm with phpredis installed' if !have_php();

my $redis   = start_redis();
my $backend = start_backend();
my $login   = <<'PHP';
<?php
if (isset($_GET['handler'])) ini_set('session.serialize_handler', $_GET['handler']);
if (isset($_GET['name'])) session_name($_GET['name']);
if (isset($_GET['length'])) { ini_set('session.sid_length', $_GET['length']); ini_set('session.sid_bits_per_character', $_GET['bits']); }
session_start();
switch ($_GET['do'] ?? 'show') {
case 'login':
    $_SESSION['user_id'] = 1001;
    $_SESSION['user'] = ['name' => 'Zoë', 'roles' => ['admin', 'editor'], 'since' => 1.5, 'guest' => false];
    break;
case 'change': $_SESSION['user_id'] = 1002; break;
case 'regenerate': session_regenerate_id((bool) $_GET['delete']); break;
case 'forget': unset($_SESSION['user_id']); break;
case 'logout': session_destroy(); break;
}
echo $_SESSION['user_id'] ?? 'nobody';
PHP
my $php  = start_php(files => { 'login.php' => $login }, redis => $redis);
my $shop = start_php(files => { 'login.php' => $login }, redis => $redis, prefix => 'shop:', ini => { 'session.name' => 'SHOPSESSID' });

# Each of the handlers is found by itself, and by name.
my %handlers = map { $_ => <<"END" } qw(auto php php_serialize php_binary);
location = /$_ {
    session_redis            redis://127.0.0.1:@{[$redis->port]};
    session_redis_framework  php handler=$_;
    session_redis_set_header X-User-Id    /user_id;
    session_redis_set_header X-User-Name  /user/name;
    session_redis_set_header X-User-Roles /user/roles join=,;
    session_redis_set_header X-User-Since /user/since;
    session_redis_set_header X-User-Guest /user/guest;
    add_header X-Status \$session_redis_status;
    add_header X-Life   \$session_redis_ttl;
    proxy_pass http://backend;
}
END

# The first location is the smallest configuration of the README, but for the port.
my $nginx = start_nginx(
    http   => "upstream backend { server 127.0.0.1:@{[$backend->port]}; }",
    server => <<"END" . join '', values %handlers);
location / {
    session_redis            redis://127.0.0.1:@{[$redis->port]};
    session_redis_framework  php;
    session_redis_set_header X-User-Id /user_id;
    proxy_pass               http://backend;
}
location = /shop {
    session_redis            redis://127.0.0.1:@{[$redis->port]};
    session_redis_framework  php prefix=shop:;
    session_redis_cookie     SHOPSESSID;
    session_redis_set_header X-User-Id /user_id;
    proxy_pass               http://backend;
}
location = /logout {
    session_redis            redis://127.0.0.1:@{[$redis->port]};
    session_redis_framework  php;
    session_redis_destroy    redirect=/;
}
location ^~ /shop/ {
    rewrite ^/shop/(.*) /\$1 break;
    @{[$shop->{location} =~ s/.*?\{(.*)\}\s*/$1/sr]}
}
$php->{location}
END

# A visitor with a jar for cookies: asks PHP, or the backend behind the module.
sub visitor () { return bless {}, 'Visitor' }

package Visitor {
    use experimental 'signatures';
    use SessionRedis;

    sub get ($self, $path, @headers) {
        my $cookies  = join '; ', map { "$_=$self->{$_}" } sort keys %$self;
        my $response = http($nginx->port, $path, headers => [length $cookies ? "Cookie: $cookies" : (), @headers], method => $path eq '/logout' ? 'POST' : 'GET');
        for my $line (map { /\ASet-Cookie: (.*)\z/i } split /\r\n/, $response->{raw_headers}) {
            my ($name, $value) = $line =~ /\A([^=]+)=([^;]*)/;
            if ($value eq '' || $line =~ /Max-Age=0/) { delete $self->{$name} } else { $self->{$name} = $value }
        }
        return $response;
    }

    # What the backend saw under a name: a list, since a header may come more than once.
    sub seen ($self, $name, $path = '/', @headers) {
        return [$self->get($path, @headers)->{body} =~ /^\Q$name\E: ?(.*?)\r?$/mgi];
    }
}

package main;

my $alice = visitor();
is_deeply($alice->seen('X-User-Id'), [], 'who has not logged in is nobody');
is_deeply($alice->seen('X-User-Id', '/', 'X-User-Id: 1', 'x_user_id: 1'), [], 'whatever they say of themselves');
is($alice->get('/login.php?do=login')->{body}, 1001, 'alice logs in');
like($alice->{PHPSESSID}, qr/\A[a-z0-9]{26}\z/, 'and has a cookie of PHP');
is_deeply($alice->seen('X-User-Id'), [1001], 'the backend knows her');
is_deeply($alice->seen('X-User-Id', '/', 'X-User-Id: 1', 'X-USER-ID: 2'), [1001], 'and nobody else');
is_deeply($alice->seen('Cookie'), ["PHPSESSID=$alice->{PHPSESSID}"], 'her cookie goes on');
is_deeply(visitor()->seen('X-User-Id'), [], 'another visitor is still nobody');
$alice->get('/login.php?do=change');
is_deeply($alice->seen('X-User-Id'), [1002], 'a change is seen with the next request');
$alice->get('/login.php?do=forget');
is_deeply($alice->seen('X-User-Id'), [], 'a value that is gone is gone');

for my $handler (qw(php php_serialize php_binary)) {
    my $visitor = visitor();
    $visitor->get("/login.php?do=login&handler=$handler");
    for my $path ('/auto', "/$handler") {
        my $response = $visitor->get($path);
        my $about    = "$handler read by $path";
        is(header($response, 'X-Status'), 'found', "$about is found");
        my %seen = $response->{body} =~ /^(X-User-\w+): (.*?)\r?$/mg;
        is_deeply(\%seen, { 'X-User-Id' => 1001, 'X-User-Name' => 'Zoë', 'X-User-Roles' => 'admin,editor', 'X-User-Since' => '1.5',
            'X-User-Guest' => 'false' }, "$about: each kind of value");
        my $life = header($response, 'X-Life');
        ok($life > 1300 && $life <= 1440, "$about has the life that PHP gave it") or diag($life);
    }
    for my $other (grep { $_ ne $handler } qw(php php_serialize php_binary)) {
        my $response = $visitor->get("/$other");
        is(header($response, 'X-Status'), 'undecodable', "$handler is not taken for $other");
        unlike($response->{body}, qr/^X-User/m, 'and gives no headers');
    }
}

my $guest = visitor();
is($guest->get('/login.php')->{body}, 'nobody', 'a session without anything in it');
is($redis->cmd('GET', "PHPREDIS_SESSION:$guest->{PHPSESSID}"), '', 'is stored as nothing');
for my $path ('/auto', '/php', '/php_serialize', '/php_binary') {
    my $response = $guest->get($path);
    is(header($response, 'X-Status'), 'found', "$path: found, empty as it is");
    unlike($response->{body}, qr/^X-User/m, 'no headers');
}

# Ids of every kind that PHP makes.
for my $case ([22, 4], [32, 5], [48, 6], [256, 6]) {
    my ($length, $bits) = @$case;
    my $visitor = visitor();
    $visitor->get("/login.php?do=login&length=$length&bits=$bits");
    is(length $visitor->{PHPSESSID} =~ s/%2C/,/gr, $length, "an id of $length bytes");
    is_deeply($visitor->seen('X-User-Id'), [1001], "of $bits bits each");
}

# New ids.
my $bob = visitor();
$bob->get('/login.php?do=login');
my $first = $bob->{PHPSESSID};
$bob->get('/login.php?do=regenerate&delete=1');
isnt($bob->{PHPSESSID}, $first, 'session_regenerate_id(true) gives a new id');
is_deeply($bob->seen('X-User-Id'), [1001], 'which is known at once');
$bob->{PHPSESSID} = $first;
is_deeply($bob->seen('X-User-Id'), [], 'the old one is known no more');
my $carol = visitor();
$carol->get('/login.php?do=login');
my $old = $carol->{PHPSESSID};
$carol->get('/login.php?do=regenerate&delete=0');
is_deeply($carol->seen('X-User-Id'), [1001], 'session_regenerate_id() too');
$carol->{PHPSESSID} = $old;
is_deeply($carol->seen('X-User-Id'), [1001], 'which leaves the old one, as PHP does');

# Another cookie and prefix.
my $customer = visitor();
is($customer->get('/shop/login.php?do=login')->{body}, 1001, 'a login with a prefix and name of its own');
is($redis->cmd('EXISTS', "shop:$customer->{SHOPSESSID}"), 1, 'is stored under them');
is_deeply($customer->seen('X-User-Id', '/shop'), [1001], 'and read with them');
is_deeply($customer->seen('X-User-Id', '/'), [], 'but not without');
$customer->{PHPSESSID} = $customer->{SHOPSESSID};
is_deeply($customer->seen('X-User-Id', '/'), [], 'nor under another name');

# Logging out, in PHP and in nginx.
my $dave = visitor();
$dave->get('/login.php?do=login');
is_deeply($dave->seen('X-User-Id'), [1001], 'dave is logged in');
$dave->get('/login.php?do=logout');
is_deeply($dave->seen('X-User-Id'), [], 'session_destroy() logs him out');
$dave->get('/login.php?do=login');
my $id = $dave->{PHPSESSID};
my $response = $dave->get('/logout');
is($response->{code}, 303, 'so does session_redis_destroy');
ok(!exists $dave->{PHPSESSID}, 'which takes his cookie');
is($redis->cmd('EXISTS', "PHPREDIS_SESSION:$id"), 0, 'and his session');
$dave->{PHPSESSID} = $id;
is($dave->get('/login.php')->{body}, 'nobody', 'PHP agrees');

unlike($nginx->log, qr/\[(?:alert|crit|emerg)\]|panicked/, 'nothing worse than an error in the log');
unlike($nginx->log, qr/$id|$first|$old/, 'and no id');
done_testing();
