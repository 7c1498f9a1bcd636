#!/usr/bin/perl
# Fills fuzz/corpus with what the targets begin from: the captured sessions of t/data, and lines of our own.
use strict;
use warnings;

use File::Basename 'dirname';
use File::Path 'make_path';
use JSON::PP 'decode_json';
use MIME::Base64 'decode_base64';

chdir dirname($0) or die "fuzz: $!";

sub seed {
    my ($target, $name, $bytes) = @_;
    make_path("corpus/$target");
    open my $file, '>:raw', "corpus/$target/seed-$name" or die "corpus/$target/seed-$name: $!";
    print $file $bytes;
    close $file or die "corpus/$target/seed-$name: $!";
}

my %formats = map { $_ => 1 }
    qw(json php php_serialize php_binary igbinary gob marshal msgpack pickle beaker django_signed aspnet msm);
my %schemes = (
    'aspnetcore-distributed-session' => 'data_protection',
    'beaker-redis-pickle'            => 'beaker_cookie',
    'flask-session08-signer'         => 'flask_signer',
    'go-redistore-json-enc'          => 'secure_cookie',
    'laravel-redis'                  => 'laravel_cookie',
    'node-express-connect-redis'     => 'cookie_signature',
    'node-koa-session'               => 'keygrip',
    'rails-redis-store-signed'       => 'rails_cookie',
    'spring-session-jdk'             => 'spring_cookie',
);
my %named = ('pickle(str' => 'beaker', 'django signing' => 'django_signed');
for my $path (glob '../t/data/*.json') {
    local $/;
    open my $file, '<:raw', $path or die "$path: $!";
    my $session = decode_json(<$file>);
    seed('cookie', $session->{name}, "a=b; sid=$session->{cookie_value}; x") if defined $session->{cookie_value};
    if (my $scheme = $schemes{ $session->{name} }) {
        my $beside = $session->{signature_cookie};
        seed($scheme, $session->{name}, join "\n", $session->{cookie_value}, $beside ? $beside->{value} : ());
    }
    seed('id', $session->{name}, $session->{session_id}) if defined $session->{session_id};
    seed('aspnet', $session->{name}, decode_base64($session->{hash_base64}{data})) if $session->{hash_base64}{data};
    my $hash = $session->{hash_base64} // {};
    for my $field ($session->{framework} =~ /^(?:Spring|Tomcat)/ ? keys %$hash : ()) {
        seed($_, "$session->{name}-$field", decode_base64($hash->{$field})) for 'java', 'jackson';
    }
    my $format = $session->{value_format} // '';
    $format = 'msm' if $format =~ /JDK-serialised ConcurrentHashMap$/;
    $format =~ s/^\Q$_\E.*/$named{$_}/s for keys %named;
    next unless $formats{$format};
    seed($_, $session->{name}, decode_base64($session->{value_base64})) for $format, 'auto';
}

my %written = (java => '../t/data/java/jdk.json', pickle => '../t/data/pickle/written.json');
for my $target (keys %written) {
    local $/;
    open my $file, '<:raw', $written{$target} or die "$written{$target}: $!";
    my $number = 0;
    seed($target, 'written-' . $number++, decode_base64($_->{base64})) for @{ decode_json(<$file>) };
}

my %lines = (
    cookie => ["sid=\"a\"; sid ; =sid;; SID=x; sid=b=c\nsid=d", "xsid=1; sid=%2C"],
    endpoint => [
        'redis://[::1]:6379/1', 'redis://user%40x@Host/0', 'redis+unix:///run/redis%20.sock?db=2', 'redis://:pw@h',
        'memcached://10.0.0.5:11211', 'memcached+unix:///run/memcached.sock',
    ],
    id => ['a' x 16, '0123456789abcdef{tag}', '0123456789abcdef_LOCK'],
    igbinary => ["\0\0\0\2\x14\3\x11\1o\x17\1A\x14\1\x0e\0\x22\1\6\0\x25\5\6\1\x25\1\2"],
    json => ['{"a":"\ud800\ud83d\ude80","a":[1e400,18446744073709551616]}'],
    marshal => [
        "\4\b[\6o:\6A\6:\7\@m\@\6", "\4\bI[\6\"\6\x81\6:\rencoding\"\x0eShift_JIS", "\4\bIu:\tTime\r \x80\x11\xc0\0\0\0\0\6:\tzone0",
        "\4\bo:\bSet\6:\n\@hash}\6;\0TF", "\0\x11\1\0\0\0\0\0\0\xf0\xbf\xff\xff\xff\xff\4\b{\6:\6al+\7\1\2\3\4",
    ],
    msgpack => ["\x82\xa1o\x83\xc0\xa1A\1\xd6\xff\0\0\0\1\xa1p\x82\xc0\4\0\2", "\x81\xa1l\x83\xc0\1\0\xc2\1\x92\xcb\0\0\0\0\0\0\0\0\xd0\xff"],
    php => ['a|O:1:"A":2:{s:4:"self";r:1;s:1:"b";a:1:{s:2:"up";R:2;}}n|R:1;c|C:1:"A":3:{;}|}e|E:3:"A:B";'],
    cluster => [
        "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n\$8\r\n10.0.0.2\r\n:7001\r\n",
        "*2\r\n*4\r\n:0\r\n:8191\r\n*4\r\n\$0\r\n\r\n:7001\r\n\$2\r\nid\r\n*0\r\n*3\r\n\$1\r\n?\r\n:7002\r\n\$2\r\nid\r\n*3\r\n:8192\r\n:16383\r\n*2\r\n\$3\r\n::1\r\n:7003\r\n",
        "-MOVED 3999 10.0.0.2:7001\r\n-ASK 1 :7002\r\n-MOVED 16384 x:1\r\n",
    ],
    resp => [
        map "\x03$_", "\$3\r\nabc\r\n\$-1\r\n_\r\n:-7\r\n+OK\r\n-ERR x\r\n", "*2\r\n\$1\r\na\r\n*-1\r\n#t\r\n,1.5\r\n",
        ">2\r\n\$10\r\ninvalidate\r\n*1\r\n\$1\r\nk\r\n", "%1\r\n+a\r\n~1\r\n(12\r\n=5\r\ntxt:a\r\n|1\r\n+t\r\n:1\r\n!3\r\nE a\r\n",
    ],
    memcached => [
        map "\x03$_", "VALUE sess:a 16 3\r\nabc\r\nEND\r\nEND\r\n", "VALUE a 0 65\r\n" . 'x' x 65 . "\r\nEND\r\n",
        "HD ka t1440\r\nHD ka t-1\r\nOK t5 ka\r\nEN ka\r\nEN\r\n", "TOUCHED\r\nDELETED\r\nNOT_FOUND\r\nSTORED\r\nERROR\r\nCLIENT_ERROR x\r\nSERVER_ERROR y\r\n",
    ],
    base64 => ['eyJ1aWQiOjd9'],
    zlib => [pack 'H*', '789cab562acd4c51b232af05000f2a02f0'],
    gzip => [pack 'H*', '1f8b0800000000000003ab562acd4c51b232af05006a2f8ab509000000'],
    # Of phpredis, of a command line without a size and with a checksum.
    zstd => [map decode_base64($_), 'KLUv/SAIQQAAdWlkfGk6Nzs=',
        'KLUv/QRYpQMAwgYZIbAnHcAwhySlo7vrpJr1bG8mZ+2KpTGgZJJGNiFkP5Ts0Ah1ToRcgZfh1zuRc2LjZxW/vDOdD0+ur5njoEQdsBUEtAEwa1EShSR8Uuv9CM05idHCoWA0EtED37wfe7Qlc37LhgMAQdQBKDiVZcuocw9bjnjv'],
    # Of phpredis, of frames with and without checksums, a block.
    lz4 => [map decode_base64($_), 'ywgAAACAdWlkfGk6Nzs=',
        'BCJNGGRAp38AAAD/KnVpZHxpOjc7bmFtZXxzOjk6IueOi+Wwj+aYjiI7bG9uZ3xzOjYyMDoiMDEyMzQ1Njc4OWFiY2RlZhAA/x4fYQEA/xnwHSI7cm9sZXN8YTozOntpOjA7czo1OiJhZG1pbiI7aToxO3M6NjoiZWRpdG9yEQAVMiEAUGluIjt9AAAAAPnZXHE=',
        'BCJNGHRAvX8AAAD/KnVpZHxpOjc7bmFtZXxzOjk6IueOi+Wwj+aYjiI7bG9uZ3xzOjYyMDoiMDEyMzQ1Njc4OWFiY2RlZhAA/x4fYQEA/xnwHSI7cm9sZXN8YTozOntpOjA7czo1OiJhZG1pbiI7aToxO3M6NjoiZWRpdG9yEQAVMiEAUGluIjt9HPYChwAAAAD52Vxx',
        'EHVpZHxpOjc7'],
    fastlz => [map decode_base64($_), '1AIAAB91aWR8aTo3O25hbWV8czo5OiLnjovlsI/mmI4iO2xvbgBnIBQUNjIwOiIwMTIzNDU2Nzg5YWJjZGVm4P0P4CEPAGHg/QDgHAAfIjtyb2xlc3xhOjM6e2k6MDtzOjU6ImFkbWluIjtpOjEgDwg2OiJlZGl0b3JAEAAyIBAKNToiYWRtaW4iO30=',
        'CQAAACJhYmOAAg==', '1AIAAHicK81Mqcm0MrfOS8xNrSm2srRSet7X/XRD/7MZfUrWOfl56UBBMyMDKyUDQyNjE1MzcwvLxKTklNS0UT5p/MRRQDRQsi7Kz0ktrkm0MraqzrQysC62MrVSSkzJzcxTss60MgTyzayUUlMyS/KLQAJGKApqAbHq7Xc='],
    lzf => ["\x1fuid|i:7;name|s:40:\"0123456789abcde\x40\x00\xe0\x09\x07\x01\";"],
    envelope => ['eyJpdiI6', '{"iv":"","value":"","mac":"","tag":""}', 's:4:"e30=";', 'x' x 48],
    rails_cookie => ['"' . 'a1' x 16 . '"', "\x04\x08I\"%" . 'a1' x 16 . "\x06:\x06ET", '{"_rails":{"message":"Imlk","exp":"2027-01-01T00:00:00.000Z"}}'],
    secure_cookie => ["7\x0c\0" . '4' . 'A2' x 26, '"' . 'A2' x 26 . '"', "\xff\x83\x0c\0\xff\x80" . 'A2' x 64],
    route => [
        '10.0.0.11:8080 1764175000 1440', 'unix:/run/a.sock 1 2', 'sid=abc; Path=/; HttpOnly; Max-Age=0',
        'a="b"; expires=Thu, 01-Jan-1970 00:00:01 GMT; max-age=-1', 'a=b; Expires=Thu Nov 26 17:00:00 2026',
    ],
    sentinel => [
        "*2\r\n\$3\r\n::1\r\n\$4\r\n6379\r\n*3\r\n\$9\r\nsubscribe\r\n\$14\r\n+switch-master\r\n:1\r\n*-1\r\n-NOAUTH x\r\n",
        "*3\r\n\$7\r\nmessage\r\n\$14\r\n+switch-master\r\n\$28\r\nmymaster 1.1.1.1 1 2.2.2.2 2\r\n",
        "*3\r\n\$7\r\nmessage\r\n\$15\r\n+promoted-slave\r\n\$32\r\nslave a 1.1.1.1 1 @ mymaster b 2\r\n",
    ],
    pointer => ["/a/0/*/x\n{\"a\":[[{\"x\":1}]]}", "/a~1b/~0\n{\"a/b\":{\"~\":1}}", "/01\n{\"01\":1}"],
);
for my $target (keys %lines) {
    my $number = 0;
    seed($target, $number++, $_) for @{ $lines{$target} };
}
