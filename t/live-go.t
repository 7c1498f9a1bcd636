# A login in Go with gorilla/sessions and redistore, read by the module.
use v5.26;
use warnings;

use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Live;
use Test::More;

needs('the Go program of t/live' => -e built('go.stamp'));

my $redis = start_redis();
my ($hash, $block) = ('gorilla-hash-key-0123456789abcdef', '0123456789abcdef');
my %apps  = (
    'gob' => {
        redistore('gob', $hash),
        settings => "session_redis_framework gorilla name=session-name; session_redis_secret $hash;",
    },
    'gob-encrypted' => {
        redistore('gob', $hash, $block),
        settings => "session_redis_framework gorilla name=session-name encrypted=on; session_redis_secret $hash $block;",
    },
    'json' => {
        redistore('json', $hash),
        settings => "session_redis_framework gorilla name=session-name; session_redis_secret $hash;",
    },
);

start_apps($redis, %apps);
read_live($redis, %apps);
done_testing();

sub redistore {
    my ($serializer, @keys) = @_;
    return (
        command => [built('redistore'), '{PORT}', '{REDIS_PORT}', $serializer, @keys],
        since   => '2024-02-29T13:14:15Z',
        null    => 0,
        refused => {
            'of an id alone'    => [sub { ('session-name' => '3X4SJBRN4Y52FTKAYXT6S6WAFGLQCZG56OVT3DX6GIQKGO47NG4A') }, 'invalid'],
            'with another time' => [changed('session-name', qr/\A.{8}/), 'invalid'],
            'with other data'   => [changed('session-name', qr/\A.{60}/), 'invalid'],
        },
    );
}
