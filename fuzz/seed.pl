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

my %formats = map { $_ => 1 } qw(json php php_serialize php_binary);
for my $path (glob '../t/data/*.json') {
    local $/;
    open my $file, '<:raw', $path or die "$path: $!";
    my $session = decode_json(<$file>);
    seed('cookie', $session->{name}, "a=b; sid=$session->{cookie_value}; x") if defined $session->{cookie_value};
    seed('id', $session->{name}, $session->{session_id}) if defined $session->{session_id};
    my $format = $session->{value_format} // '';
    next unless $formats{$format};
    seed($_, $session->{name}, decode_base64($session->{value_base64})) for $format, 'auto';
}

my %lines = (
    cookie => ["sid=\"a\"; sid ; =sid;; SID=x; sid=b=c\nsid=d", "xsid=1; sid=%2C"],
    endpoint => [
        'redis://[::1]:6379/1', 'redis://user%40x@Host/0', 'redis+unix:///run/redis%20.sock?db=2', 'redis://:pw@h',
    ],
    id => ['a' x 16, '0123456789abcdef{tag}', '0123456789abcdef_LOCK'],
    json => ['{"a":"\ud800\ud83d\ude80","a":[1e400,18446744073709551616]}'],
    php => ['a|O:1:"A":2:{s:4:"self";r:1;s:1:"b";a:1:{s:2:"up";R:2;}}n|R:1;c|C:1:"A":3:{;}|}e|E:3:"A:B";'],
    resp => [
        map "\x03$_", "\$3\r\nabc\r\n\$-1\r\n_\r\n:-7\r\n+OK\r\n-ERR x\r\n", "*2\r\n\$1\r\na\r\n*-1\r\n#t\r\n,1.5\r\n",
        ">2\r\n\$10\r\ninvalidate\r\n*1\r\n\$1\r\nk\r\n", "%1\r\n+a\r\n~1\r\n(12\r\n=5\r\ntxt:a\r\n|1\r\n+t\r\n:1\r\n!3\r\nE a\r\n",
    ],
    pointer => ["/a/0/*/x\n{\"a\":[[{\"x\":1}]]}", "/a~1b/~0\n{\"a/b\":{\"~\":1}}", "/01\n{\"01\":1}"],
);
for my $target (keys %lines) {
    my $number = 0;
    seed($target, $number++, $_) for @{ $lines{$target} };
}
