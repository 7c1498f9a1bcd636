# Logins in PHP with each of its serializers and stores, in Symfony and in Laravel, read by the module. More of plain PHP
# stands in t/php.t.
#
# phpredis 5.3 (Debian 12) cannot compress sessions: that came with version 6.
use v5.26;
use warnings;

use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use MIME::Base64 qw(encode_base64);
use SessionRedis;
use SessionRedis::Live;
use Test::More;

my @packages   = qw(igbinary memcache memcached msgpack symfony-http-foundation symfony-security-core);
my @illuminate = qw(Auth Cache Config Cookie Encryption Pipeline Redis Session);
needs('php-fpm with phpredis' => have_php(), 'memcached' => have('memcached'), (map { ("Debian's php-$_" => -e "/usr/share/doc/php-$_") } @packages),
    map { ("Debian's php-illuminate-\L$_" => -e "/usr/share/php/Illuminate/$_") } @illuminate);

my $redis     = start_redis();
my $memcached = start_memcached();
my $php   = start_php(redis => $redis, files => { 'login.php' => file(live('php/login.php')) });
my %apps  = map { $_ => handler($_) } qw(php php_serialize php_binary igbinary msgpack);
$apps{php}{fastcgi} = $php->{location};
$apps{symfony} = symfony();
$apps{laravel} = laravel();
# The extensions of PHP that keep sessions in memcached; the elder one compresses what is long.
$apps{memcached} = in_memcached('memcached', '127.0.0.1:' . $memcached->port);
$apps{memcache}  = in_memcached('memcache', 'tcp://127.0.0.1:' . $memcached->port, 'memcache.compress_threshold' => 64);
# What is written by php-memcached itself is compressed by FastLZ.
$apps{'symfony-memcached'} = {
    symfony(MEMCACHED_PORT => $memcached->port)->%*,
    store    => $memcached->url,
    settings => 'session_redis_framework symfony prefix=sf2s;',
};
$apps{'laravel-memcached'} = {
    laravel(MEMCACHED_PORT => $memcached->port)->%*,
    store    => $memcached->url,
    settings => laravel()->{settings} =~ s/version=8/$& redis_prefix= cache_prefix=shop_cache/r . ' session_redis_format fastlz php_serialize;',
};
for my $app (values %apps) {
    $app->{since}   = { date => '2024-02-29 13:14:15.000000', timezone => 'Z', timezone_type => 2 };
    $app->{refused} //= {
        'with another id'  => [changed('PHPSESSID', qr/\A/), 'missing'],
        'of a lock'        => [sub { my (%jar) = @_; (PHPSESSID => "$jar{PHPSESSID}_LOCK") }, 'invalid'],
    };
}

read_live($redis, %apps);
done_testing();

# All handlers but msgpack are recognised.
sub handler {
    my ($name) = @_;
    return {
        (map { $_ => "/login.php?handler=$name&do=$_" } qw(login who logout)),
        settings => [map { "session_redis_framework php handler=$_;" } $name, $name eq 'msgpack' ? () : 'auto'],
    };
}

# It sets a session handler of its own, which the php-fpm of the others would not let it do.
sub symfony {
    my (%parameters) = @_;
    return {
        script('symfony', REDIS_SOCKET => $redis->socket, %parameters),
        settings => 'session_redis_framework symfony;',
        root     => '/_sf2_attributes',
        user     => 'wang@example.com',
    };
}

sub laravel {
    my (%parameters) = @_;
    my $key = encode_base64('0123456789abcdef0123456789abcdef', '');
    return {
        script('laravel', REDIS_PORT => $redis->port, APP_KEY => $key, %parameters),
        settings => "session_redis_framework laravel app=shop version=8; session_redis_secret base64:$key;",
        user     => '1001',
        refused  => {
            'of an id alone' => [sub { (shop_session => 'QlKKrPBhFUpIslqBHquSdbjEYFjQXk2cqf5nZdAZ') }, 'invalid'],
            'with other data' => [changed('shop_session', qr/\A.{120}/), 'invalid'],
        },
    };
}

# PHP's own sessions by one of the extensions.
sub in_memcached {
    my ($extension, $path, %ini) = @_;
    my $php = start_php(files => { "$extension.php" => file(live('php/login.php')) },
        ini => { 'session.save_handler' => $extension, 'session.save_path' => $path, %ini });
    return {
        (map { $_ => "/$extension.php?handler=php&do=$_" } qw(login who logout)),
        fastcgi  => $php->{location} =~ s/\A.*?\{/location = \/$extension.php {/sr,
        store    => $memcached->url,
        settings => "session_redis_framework php store=$extension;",
        refused  => { 'with another id' => [changed('PHPSESSID', qr/\A/), 'missing'] },
    };
}

# A script of t/live/php in a php-fpm of its own, with parameters.
sub script {
    my ($name, %parameters) = @_;
    my $file = live("php/$name.php");
    $name .= '-memcached' if $parameters{MEMCACHED_PORT};
    my $php        = start_php(files => { "$name.php" => file($file) }, ini => { 'session.save_handler' => undef });
    my $parameters = join '', map { "fastcgi_param $_ $parameters{$_};\n" } sort keys %parameters;
    return (
        (map { $_ => "/$name.php?do=$_" } qw(login who logout)),
        fastcgi => $php->{location} =~ s/\A.*?\{/location = \/$name.php { $parameters/sr,
    );
}

sub file {
    my ($path) = @_;
    open my $in, '<:raw', $path or die "$path: $!\n";
    local $/;
    return <$in>;
}
