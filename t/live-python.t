# Logins in Django, Flask, Starlette, aiohttp and a WSGI application with Beaker, read by the module.
use v5.26;
use warnings;

use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use JSON::PP qw(encode_json);
use SessionRedis;
use SessionRedis::Live;
use Test::More;

needs('packages of Python in objs/live' => -e built('python.stamp'), 'memcached' => have('memcached'));

my $redis      = start_redis();
my $memcached  = start_memcached();
my $core       = 'django.core.cache.backends.redis.RedisCache';
my $redis_app  = 'django_redis.cache.RedisCache';
my $serializer = 'django_redis.serializers';
my $zlib       = 'django_redis.compressors.zlib.ZlibCompressor';
my %apps       = (
    'django' => django({ BACKEND => $core }, since => '2024-02-29T13:14:15+00:00'),
    'django-prefix' => django({ BACKEND => $core, KEY_PREFIX => 'shop', VERSION => 2 }, options => 'prefix=shop version=2'),
    'django-cached_db' => django({ BACKEND => $core }, engine => 'cached_db', options => 'engine=cached_db'),
    'django-redis' => django({ BACKEND => $redis_app }, since => '2024-02-29T13:14:15+00:00'),
    'django-redis-cached_db' => django({ BACKEND => $redis_app, KEY_PREFIX => 'shop' }, engine => 'cached_db', options => 'engine=cached_db prefix=shop'),
    'django-redis-json' => django({ BACKEND => $redis_app, OPTIONS => { SERIALIZER => "$serializer.json.JSONSerializer" } },
        since => '2024-02-29T13:14:15Z', format => 'json'),
    'django-redis-msgpack' => django({ BACKEND => $redis_app, OPTIONS => { SERIALIZER => "$serializer.msgpack.MSGPackSerializer" } },
        format => 'msgpack'),
    'django-redis-zlib' => django({ BACKEND => $redis_app, OPTIONS => { COMPRESSOR => $zlib } }, format => 'zlib pickle'),
    'django-redis-json-zlib' => django({ BACKEND => $redis_app, OPTIONS => { SERIALIZER => "$serializer.json.JSONSerializer", COMPRESSOR => $zlib } },
        format => 'zlib json'),
    'django-pymemcache' => django({ BACKEND => 'django.core.cache.backends.memcached.PyMemcacheCache', LOCATION => '127.0.0.1:' . $memcached->port },
        since => '2024-02-29T13:14:15+00:00', store => $memcached->url),
    'flask' => flask({}, since => '2024-02-29T13:14:15Z'),
    'flask-json' => flask({ SESSION_SERIALIZATION_FORMAT => 'json', SESSION_KEY_PREFIX => 'shop:', SESSION_COOKIE_NAME => 'shop_sid' },
        options => 'prefix=shop:', cookie => 'shop_sid', format => 'json'),
    'flask-signed' => flask({ SESSION_USE_SIGNER => \1, SECRET_KEY => "geheimnis \x{fc}" }, options => 'signed=on', secret => 'geheimnis ü'),
    'flask-session-0.5' => flask({}, since => '2024-02-29T13:14:15+00:00', env => { PYTHONPATH => built('python-old') }, format => 'pickle'),
    'starlette' => {
        python('starlette'),
        settings => 'session_redis_framework starlette;',
        refused  => unsigned('session'),
    },
    'aiohttp' => {
        python('aiohttp'),
        settings => 'session_redis_framework aiohttp;',
        under    => '/session',
        left     => 'found',        # it keeps the key, with nothing in it
        refused  => unsigned('AIOHTTP_SESSION'),
    },
    'beaker' => beaker({}),
    'beaker-json' => beaker({ 'session.data_serializer' => 'json' }),
);

start_apps($redis, %apps);
read_live($redis, %apps);
done_testing();

# An application of t/live/python; %env beside what its hash says.
sub python {
    my ($file, %env) = @_;
    return (
        command => [built('python/bin/python'), live("python/${file}_app.py")],
        since   => '2024-02-29T13:14:15+00:00',
        env     => { SINCE => 'text', PYTHONDONTWRITEBYTECODE => 1, %env },
    );
}

sub django {
    my ($cache, %how) = @_;
    return {
        python('django', CACHE => encode_json($cache), ENGINE => $how{engine} // 'cache', $how{since} ? (SINCE => 'date') : ()),
        settings => settings('django', %how),
        user     => '1001',
        refused  => unsigned('sessionid'),
        ($how{since} ? (since => $how{since}) : ()),
        ($how{store} ? (store => $how{store}) : ()),
        # Its database has the session too, and nginx cannot end that.
        outlives => ($how{engine} // '') eq 'cached_db',
    };
}

sub flask {
    my ($config, %how) = @_;
    my $cookie = $how{cookie} // 'session';
    my $signed = {
        'without a signature'    => [sub { my (%jar) = @_; $jar{$cookie} =~ s/\..*//; %jar }, 'invalid'],
        'with another signature' => [changed($cookie, qr/\A[^.]*\./), 'invalid'],
        'with another id'        => [changed($cookie, qr/\A/), 'invalid'],
    };
    return {
        python('flask', CONFIG => encode_json($config), $how{since} ? (SINCE => 'date') : (), ($how{env} // {})->%*),
        settings => settings('flask', %how),
        refused  => $how{secret} ? $signed : unsigned($cookie),
        ($how{since} ? (since => $how{since}) : ()),
    };
}

sub beaker {
    my ($config, %how) = @_;
    return {
        python('beaker', CONFIG => encode_json({ 'session.secret' => 'beaker secret', %$config })),
        left     => 'found',        # it keeps the key, with nothing of a user in it
        settings => settings('beaker', secret => 'beaker secret', %how),
        refused  => {
            'with another id'        => [changed('beaker.session.id', qr/\A.*(?=.\z)/), 'invalid'],
            'with another signature' => [changed('beaker.session.id', qr/\A/), 'invalid'],
            'without a signature'    => [sub { my (%jar) = @_; $jar{'beaker.session.id'} =~ s/\A.{40}//; %jar }, 'invalid'],
        },
    };
}

# The lines of nginx.conf.
sub settings {
    my ($framework, %how) = @_;
    return join ' ', "session_redis_framework $framework " . ($how{options} // '') . ';',
        $how{secret} ? "session_redis_secret \"$how{secret}\";" : (),
        $how{cookie} ? "session_redis_cookie $how{cookie};"     : (),
        $how{format} ? "session_redis_format $how{format};"     : ();
}

# Ids that nobody signed: another one finds nothing, another key is never named.
sub unsigned {
    my ($cookie) = @_;
    return {
        'with another id'    => [changed($cookie, qr/\A/), 'missing'],
        'with a key instead' => [sub { ($cookie => 'x:../session:0123456789abcdef') }, 'invalid'],
    };
}
