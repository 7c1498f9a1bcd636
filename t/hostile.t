# Sessions that somebody made to cost as much as can be: each is undecodable, the log says so once, and others are served.
use v5.26;
use warnings;
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use Compress::Zlib qw(compress);
use SessionRedis;
use StoreTest;
use Test::More;

# A session in which each array holds the one before it twice.
sub php_bomb () {
    my ($bomb, $slot) = ('a|a:1:{i:0;i:1;}', 1);
    for my $level (0 .. 39) {
        $bomb .= "n$level|a:2:{i:0;R:$slot;i:1;R:$slot;}";
        $slot += $level ? 1 : 2;
    }
    return "${bomb}user|R:$slot;";
}

# What is stored, and the format that it is read by.
my @hostile = (
    ['a pickle of many nulls, compressed', 'zlib pickle', compress("\x80\x04}X\x04\0\0\0user(" . 'N' x 500_000 . 'ls.')],
    ['many values in JSON',                'json',        '{"user":[' . join(',', (0) x 32_000) . ']}'],
    ['lists that hold others twice',       'php',         php_bomb()],
    ['floats that are hard to round',      'php',         'user|a:1500:{' . join('', map { "i:$_;d:2.47032822920623272083e-324;" } 0 .. 1499) . '}'],
    ['blocks that hold nothing',           'zlib json',   "\x78\x9c" . pack('b*', '0100000000' x 50_000 . '1100000000') . "\0\0\0\1"],
);

my $redis = start_redis();
put_sessions($redis, 1, 1);
$redis->cmd('SET', key(10 + $_), $hostile[$_][2]) for 0 .. $#hostile;
my $locations = join "\n", map {
    "location /h$_ { session_redis_format $hostile[$_][1]; session_redis_set_header X-User /user; empty_gif; }"
} 0 .. $#hostile;
my $nginx = session_nginx(url => $redis->url, server => $locations, store => 'timeout 10s;');

for my $at (0 .. $#hostile) {
    my ($name, $format, $stored) = $hostile[$at]->@*;
    cmp_ok(length $stored, '<=', 64 * 1024, "$name: within max_size");
    is(header(get($nginx, "/h$at", 10 + $at), 'X-Status'), 'undecodable', "$name: undecodable");
}
is(header(get($nginx, '/h0', 10), 'X-Status'), 'undecodable', 'again') for 1 .. 20;
is(get($nginx, '/need', 1)->{body}, "user=u1\n", 'others are served');
is(scalar lines_like($nginx, qr/becomes more than "max_size" allows/), 1, 'one line in the log');
is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]|panicked|exited on signal/), 0, 'and the worker lives');

done_testing();
