# Logins in Koa, Fastify and Express with memcached, read by the module. Express with Redis stands in t/express.t.
use v5.26;
use warnings;

use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Live;
use Test::More;

needs('node' => have('node'), 'memcached' => have('memcached'), 'packages of npm in t/live/node' => -e built('node.stamp'));

my $redis     = start_redis();
my $memcached = start_memcached();
my @secrets = ('a secret of at least thirty-two bytes, new', 'a secret of at least thirty-two bytes, old');
my $secrets = join ' ', 'session_redis_secret', map { "\"$_\"" } @secrets;
my $env     = sprintf '["%s","%s"]', @secrets;
my %apps    = (
    'koa-generic-session' => {
        command  => ['node', live('node/koa.js')],
        env      => { VARIANT => 'generic', SECRETS => $env },
        settings => "session_redis_framework koa; $secrets;",
        refused  => koa('koa.sid'),
    },
    'koa-session' => {
        command  => ['node', live('node/koa.js')],
        env      => { VARIANT => 'session', SECRETS => $env },
        settings => "session_redis_framework koa variant=session prefix=koa:sess:; $secrets;",
        refused  => koa('koa.sess'),
    },
    fastify => {
        command  => ['node', live('node/fastify.js')],
        env      => { SECRETS => $env },
        settings => "session_redis_framework fastify; $secrets;",
        refused  => {
            'with another id'        => [changed('sessionId', qr/\A/), 'invalid'],
            'with another signature' => [changed('sessionId', qr/\A[^.]*\./), 'invalid'],
            'without a signature'    => [sub { my (%jar) = @_; $jar{sessionId} =~ s/\..*//; %jar }, 'invalid'],
        },
    },
    'express-memcached' => {
        command  => ['node', live('node/express.js')],
        env      => { SECRETS => $env, MEMCACHED_PORT => $memcached->port },
        store    => $memcached->url,
        settings => "session_redis_framework express prefix=; $secrets;",
        refused  => {
            'with another id'        => [changed('connect.sid', qr/\As%3A/), 'invalid'],
            'with another signature' => [changed('connect.sid', qr/\A[^.]*\./), 'invalid'],
            'without a signature'    => [sub { my (%jar) = @_; $jar{'connect.sid'} =~ s/\..*//; %jar }, 'invalid'],
        },
    },
);
$_->{since} = '2024-02-29T13:14:15.000Z' for values %apps;

start_apps($redis, %apps);
read_live($redis, %apps);
done_testing();

# Koa signs in a cookie beside.
sub koa {
    my ($name) = @_;
    return {
        'with another id'        => [changed($name, qr/\A.*(?=..\z)/), 'invalid'],
        'with another signature' => [changed("$name.sig", qr/\A/), 'invalid'],
        'without a signature'    => [without_cookie("$name.sig"), 'invalid'],
    };
}
