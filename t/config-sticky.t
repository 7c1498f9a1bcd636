# What "nginx -t" says of session_redis_sticky and what belongs to it.
use v5.26;
use warnings;

use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::ConfigTable;
use Test::More;

my $servers = "server 127.0.0.1:8081;\nserver 127.0.0.1:8082;\n";
my $routed  = "location / {\nsession_redis_cookie JSESSIONID;\nsession_redis_route jvmroute;\nproxy_pass http://app;\n}";

# An upstream of this text, and a location that goes by a route.
sub with_block { my ($text, %how) = @_; return (http => "upstream app {\n$text\n}", server => $how{server} // $routed) }

for my $method ('', 'least_conn;', 'ip_hash;', 'hash $arg_x;', 'hash $arg_x consistent;', 'random;', 'random two least_conn;') {
    accepted("behind $method", with_block("$method\n${servers}session_redis_sticky;"));
    accepted("behind $method, with a zone, before keepalive", with_block("zone app 256k;\n$method\n${servers}session_redis_sticky strict;\nkeepalive 4;"));
}
accepted('before the servers', with_block("session_redis_sticky;\n$servers"));
accepted('names and drained servers', with_block(<<'END'));
server 127.0.0.1:8081;
server 127.0.0.1:8082 backup;
server unix:/run/app.sock;
session_redis_route_name a 127.0.0.1:8081;
session_redis_route_name b unix:/run/app.sock;
session_redis_route_name old_b unix:/run/app.sock;
session_redis_sticky;
session_redis_drain 127.0.0.1:8081 127.0.0.1:8082;
session_redis_drain unix:/run/app.sock;
END

# Arguments.
refuses('another word', 'session_redis_sticky', 'unknown parameter "stict"; did you mean "strict"? known: strict', with_block("${servers}session_redis_sticky stict; #!"));
refuses('twice', 'session_redis_sticky', 'is duplicate', with_block("${servers}session_redis_sticky;\nsession_redis_sticky strict; #!"));
refused('outside an upstream', '"session_redis_sticky" directive is not allowed here', server => "session_redis_sticky; #!");
refused('two words', 'invalid number of arguments in "session_redis_sticky" directive', with_block("${servers}session_redis_sticky strict x; #!"));
refuses('a name twice', 'session_redis_route_name', qr/^"a" is the name of "127\.0\.0\.1:8081" already, by line \d+\z/,
    with_block("${servers}session_redis_sticky;\nsession_redis_route_name a 127.0.0.1:8081;\nsession_redis_route_name a 127.0.0.1:8082; #!"));
refuses('an empty name', 'session_redis_route_name', 'the name is empty', with_block("${servers}session_redis_sticky;\nsession_redis_route_name '' 127.0.0.1:8081; #!"));
refuses('a name for no server', 'session_redis_route_name', 'unknown server "127.0.0.1:8083"; did you mean "127.0.0.1:8081"? known: 127.0.0.1:8081, 127.0.0.1:8082',
    with_block("${servers}session_redis_sticky;\nsession_redis_route_name a 127.0.0.1:8083; #!"));
refuses('a name for a server without its port', 'session_redis_route_name', qr/^unknown server "127\.0\.0\.1"; .*known: 127\.0\.0\.1:8081, 127\.0\.0\.1:8082\z/,
    with_block("${servers}session_redis_sticky;\nsession_redis_route_name a 127.0.0.1; #!"));
refuses('a drained server that is none', 'session_redis_drain', qr/^unknown server "app1:80"; known: /,
    with_block("${servers}session_redis_sticky;\nsession_redis_drain 127.0.0.1:8081 app1:80; #!"));
refused('a name alone', 'session_redis_route_name without session_redis_sticky: no request would go by it',
    with_block("${servers}session_redis_route_name a 127.0.0.1:8081; #!"));
refused('drained alone', 'session_redis_drain without session_redis_sticky: no request would go by it',
    with_block("${servers}session_redis_drain 127.0.0.1:8081; #!"));

# Its place among the directives.
for my $method ('least_conn', 'ip_hash', 'hash $arg_x', 'random two') {
    my ($name) = split / /, $method;
    misplaced("$name behind it", "\"$name\" must come before \"session_redis_sticky\"", "${servers}session_redis_sticky; #!\n$method;");
}
misplaced('a method behind it and keepalive', '"least_conn" must come before "session_redis_sticky"', "${servers}session_redis_sticky; #!\nkeepalive 4;\nleast_conn;");
misplaced('a method in another file', 'the balancing method must come before "session_redis_sticky"', "${servers}session_redis_sticky; #!\ninclude @{[file_of('least_conn;')]};");
refuses('keepalive before it', 'session_redis_sticky', '"keepalive" must come after it', with_block("${servers}keepalive 4;\nsession_redis_sticky; #!"));
SKIP: {
    skip 'this nginx has no "sticky"', 1 if nginx_version() < 1_029_006;
    refused("nginx's own beside it", '"sticky" and "session_redis_sticky" do not go together; leave one of them out, "sticky route $session_redis_route" goes by the same',
        with_block("${servers}sticky cookie x;\nsession_redis_sticky; #!"));
}

# nginx itself warns of a method that takes another's place.
sub misplaced {
    my ($name, $message, $text) = @_;
    my %conf = with_block($text);
    my ($good, $said) = nginx_test(%conf);
    my @lines = grep { /\[emerg\]/ } split /\n/, $said;
    my ($line) = lines_of($said);
    ok(!$good && @lines == 1 && $lines[0] =~ /\] (?:\d+#\d+: )?\Q$message\E in \S+:$line\z/, $name) || diag($said);
    return;
}

# The numbers of the marked lines in the file that nginx names.
sub lines_of {
    my ($file) = $_[0] =~ /\[emerg\].* in (\S+):\d+$/m or return 0;
    open my $in, '<', $file or return 0;
    my @lines = <$in>;
    return map { $_ + 1 } grep { $lines[$_] =~ /#!/ } 0 .. $#lines;
}

# Somebody must say where a session belongs.
my $nowhere = 'upstream "app" is session_redis_sticky, but no location that passes to it has "session_redis_route"';
my $block   = "${servers}session_redis_sticky; #!";
my $on      = "session_redis redis://127.0.0.1:6379;\nsession_redis_framework php;";
refused('no route', $nowhere, with_block($block, server => "location / {\nproxy_pass http://app;\n}"));
refused('a route in another location', $nowhere, with_block($block, server => "location / {\nproxy_pass http://app;\n}\nlocation /x {\n$on\nsession_redis_route /a;\nproxy_pass http://127.0.0.1:1;\n}"));
refused('no route before FastCGI', $nowhere, with_block($block, server => "location / {\nfastcgi_pass app;\n}"));
accepted('a route in one of several', with_block($block, server => "location / {\nproxy_pass http://app;\n}\n" . $routed =~ s{location /}{location /x}r));
accepted('a route from above', with_block($block, server => "$on\nsession_redis_route /a;\nlocation / {\nproxy_pass http://app;\n}"));
accepted('a route before FastCGI', with_block($block, server => "$on\nsession_redis_route /a;\nlocation / {\nfastcgi_pass app;\n}"));
accepted('nobody passes to it', with_block($block, server => 'location / { }'));
accepted('who passes to it does not show', with_block($block, server => "location / {\nproxy_pass http://app;\n}\nlocation /x {\n$on\nsession_redis_route /a;\nproxy_pass http://\$arg_x;\n}"));
accepted('in an "if" block', with_block($block, server => "$on\nsession_redis_route /a;\nlocation / {\nif (\$arg_x) {\nproxy_pass http://app;\n}\n}"));

done_testing();
