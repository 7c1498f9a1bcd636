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
    my $format = $session->{value_format} // '';
    next unless $formats{$format};
    seed($_, $session->{name}, decode_base64($session->{value_base64})) for $format, 'auto';
}

my %lines = (
    json => ['{"a":"\ud800\ud83d\ude80","a":[1e400,18446744073709551616]}'],
    php => ['a|O:1:"A":2:{s:4:"self";r:1;s:1:"b";a:1:{s:2:"up";R:2;}}n|R:1;c|C:1:"A":3:{;}|}e|E:3:"A:B";'],
    pointer => ["/a/0/*/x\n{\"a\":[[{\"x\":1}]]}", "/a~1b/~0\n{\"a/b\":{\"~\":1}}", "/01\n{\"01\":1}"],
);
for my $target (keys %lines) {
    my $number = 0;
    seed($target, $number++, $_) for @{ $lines{$target} };
}
