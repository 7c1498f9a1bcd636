# Logins in Rack and Rails, read by the module.
use v5.26;
use warnings;

use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Live;
use Test::More;

needs('memcached' => have('memcached'), map { ("Debian's ruby-$_" => -e "/usr/share/doc/ruby-$_") } qw(dalli rack redis-rack redis-rails railties webrick));

my $redis     = start_redis();
my $memcached = start_memcached();
my $secret    = 'session_redis_secret "the tests know this secret: 0123456789abcdef0123456789abcdef"';
my %apps   = (
    rack => {
        command  => ['ruby', live('ruby/rack.rb')],
        settings => 'session_redis_framework rack;',
        refused  => unsigned('rack.session'),
    },
    # Dalli 3.0 keeps a session under the id itself.
    'rack-dalli' => {
        command  => ['ruby', live('ruby/rack.rb')],
        env      => { STORE => 'dalli', MEMCACHED_PORT => $memcached->port },
        store    => $memcached->url,
        settings => 'session_redis_framework rack store=dalli private_id=off;',
        refused  => unsigned('rack.session'),
    },
    rails => {
        rails(STORE => 'redis_store'),
        settings => 'session_redis_framework rails cookie=_shop_session;',
        refused  => unsigned('_shop_session'),
    },
    # redis-actionpack 5.3 encrypts the cookie here and does not decrypt it.
    'rails-signed' => {
        rails(STORE => 'redis_store', SIGNED => 'yes'),
        settings => "session_redis_framework rails cookie=_shop_session encrypted=on; $secret;",
        agrees   => 0,
        refused  => {
            'of an id alone'  => [sub { ('_shop_session' => '1b531eba72c433b2a8b3aa3ccf15a894') }, 'invalid'],
            'with other data' => [changed('_shop_session', qr/\A/), 'invalid'],
            'with another iv' => [changed('_shop_session', qr/\A.*?--/), 'invalid'],
            'with another tag' => [changed('_shop_session', qr/\A.*--/), 'invalid'],
        },
    },
    'rails-cache_store' => {
        rails(STORE => 'cache_store'),
        settings => 'session_redis_framework rails store=cache prefix=shop: cookie=_shop_session;',
        refused  => unsigned('_shop_session'),
    },
);
$_->{since} = '2024-02-29T13:14:15.000000000Z' for values %apps;

start_apps($redis, %apps);
read_live($redis, %apps);
done_testing();

sub rails {
    my (%env) = @_;
    return (command => ['ruby', live('ruby/rails.rb')], env => { SIGNED => 'no', %env });
}

# What the cookie holds is not what the key holds: a key's name is no id.
sub unsigned {
    my ($cookie) = @_;
    return {
        'with another id'    => [changed($cookie, qr/\A/), 'missing'],
        'with a key instead' => [sub { ($cookie => '2::8de35583780e20982ad1e8a2cee28f3e7c2a3355871ceb53b232c7470d8ebf17') }, 'invalid'],
    };
}
