# The configuration of a store with Sentinels: what "nginx -t" says of its directives.
use v5.26;
use warnings;

use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::ConfigTable;
use Test::More;

my $sentinel = 'sentinel mymaster 127.0.0.1:26379';
my $usage    = 'write "sentinel mymaster 10.0.0.1:26379 10.0.0.2:26379 10.0.0.3:26379"';
my $host     = 'write host, host:port or [IPv6 address]:port, without a scheme';
my $password = file_of("hunter2\n");

# What is right passes without a word, whether or not anything listens.
for my $line (
    "$sentinel;", 'sentinel mymaster 127.0.0.1;', 'sentinel my-master_1.eu 127.0.0.1:1 127.0.0.1:2 [::1]:26379 [::2];',
    "$sentinel; sentinel_username web; sentinel_password_file $password;", "$sentinel; sentinel_ssl off;",
    "$sentinel; sentinel_ssl on;", "$sentinel; sentinel_ssl on; ssl_verify off;", "$sentinel; ssl on; ssl_name redis.example; sentinel_ssl on;",
    "$sentinel; username web; password secret; database 3;", "$sentinel; connections 4; retry 0; timeout 1s;",
    'sentinel mymaster s1.example.org s2.example.org:26380; resolver 127.0.0.1;',
) {
    accepted("accepted: $line", in_store($line));
}

# The line that is refused, and why.
for my $case (
    ['sentinel',                         'invalid number of arguments in "sentinel" directive'],
    ['sentinel mymaster',                "\"sentinel\" directive: no Sentinel is named; $usage"],
    ['sentinel 127.0.0.1:26379 127.0.0.1:26380', "\"sentinel\" directive: \"127.0.0.1:26379\" is not the name of a master; it stands before the Sentinels: $usage"],
    ['sentinel "" 127.0.0.1',            "\"sentinel\" directive: \"\" is not the name of a master; it stands before the Sentinels: $usage"],
    ['sentinel mymaster redis://127.0.0.1', "\"sentinel\" directive: \"redis://127.0.0.1\" is not the address of a Sentinel; $host"],
    ['sentinel mymaster 127.0.0.1:0',    "\"sentinel\" directive: \"127.0.0.1:0\" is not the address of a Sentinel; $host"],
    ['sentinel mymaster 127.0.0.1:x',    "\"sentinel\" directive: \"127.0.0.1:x\" is not the address of a Sentinel; $host"],
    ['sentinel mymaster ::1',            "\"sentinel\" directive: \"::1\" is not the address of a Sentinel; $host"],
    ['sentinel mymaster 127.0.0.1 127.0.0.1:26379', '"sentinel" directive: Sentinel "127.0.0.1:26379" stands twice'],
    ['sentinel mymaster ' . join(' ', map { "10.0.0.$_" } 1 .. 33), '"sentinel" directive: more than 32 Sentinels'],
    ["$sentinel;\n$sentinel",            '"sentinel" directive: is duplicate'],
    ["$sentinel;\nsentinel_username a;\nsentinel_username a", '"sentinel_username" directive: is duplicate'],
    ["$sentinel;\nsentinel_username a b", 'invalid number of arguments in "sentinel_username" directive'],
    ["$sentinel;\nsentinel_password_file /nonexistent", '"sentinel_password_file" directive: cannot read "/nonexistent": No such file or directory (os error 2)'],
    ["$sentinel;\nsentinel_password_file $password;\nsentinel_password_file $password", '"sentinel_password_file" directive: is duplicate'],
    ["$sentinel;\nsentinel_ssl maybe",   '"sentinel_ssl" directive: "maybe" is neither "on" nor "off"'],
    ["$sentinel;\nsentinel_ssl on;\nsentinel_ssl on", '"sentinel_ssl" directive: is duplicate'],
    ["$sentinel;\nssl_name redis.example", '"ssl_name" directive: the store is spoken to without TLS; write "rediss://" in its url, or "ssl on"'],
) {
    my ($lines, $message) = @$case;
    refused($lines =~ s/\n/ /gr, $message, in_store("$lines; #!"));
}

# What does not go together is found at the end of the block, and named where this begins.
for my $case (
    ["server redis://127.0.0.1; $sentinel;", 'store "s" has both "server" and "sentinel"'],
    ["cluster 127.0.0.1; $sentinel;", 'store "s" has both "sentinel" and "cluster"'],
    ["$sentinel; read_from replica;", '"read_from" is for a "cluster" only'],
    ['server redis://127.0.0.1; sentinel_username web;', '"sentinel_username" stands in a store without "sentinel"'],
    ["server redis://127.0.0.1; sentinel_password_file $password;", '"sentinel_password_file" stands in a store without "sentinel"'],
    ['server redis://127.0.0.1; sentinel_ssl off;', '"sentinel_ssl" stands in a store without "sentinel"'],
    ['timeout 1s;', 'store "s" has no "server"; for instance "server redis://127.0.0.1:6379;"'],
) {
    my ($lines, $message) = @$case;
    refused($lines, "\"session_redis_store\" directive: $message", (http => "session_redis_store s { #!\n$lines\n}"));
}

# A name is looked up at start unless there is a resolver.
refused('a Sentinel whose name has no address', '"session_redis_store" directive: host not found in "sentinel.invalid:26379"',
    (http => "session_redis_store s { #!\nsentinel mymaster sentinel.invalid;\n}"));

done_testing();
