# Every session that was captured from a framework (t/data), written to a real Redis and read by the module: its cookie finds
# it, and $session_redis_json is what the framework meant.
use v5.26;
use warnings;

use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use JSON::PP ();
use SessionRedis;
use Test::More;

# How a configuration would name each: by what the fixture says of its framework, key and value.
my @frameworks = (
    [qr/^PHP session \(phpredis\)/ => sub { my ($f, $prefix) = @_; ["session_redis_framework php prefix=$prefix handler=$f->{value_format};", "session_redis_framework php prefix=$prefix;"] }],
    [qr/^ThinkPHP 5/ => sub { my ($f, $prefix) = @_; ['session_redis_framework thinkphp' . ($prefix eq '' ? '' : " session_name=$prefix") . ';'] }],
    [qr/^Symfony/    => sub { my ($f, $prefix) = @_; ["session_redis_framework php prefix=$prefix;"] }],
    [qr/^Express|^NestJS/ => sub { my ($f, $prefix) = @_; ["session_redis_framework express prefix=$prefix; session_redis_secret " . join(' ', map { "\"$_\"" } $f->{secret}->@*) . ';'] }],
    [qr/^PHP custom/ => sub { [<<'END', <<'END'] }],
        session_redis_framework  raw;
        session_redis_key_digest md5 json 'App\\Http\\SessionStore' $session_redis_id;
        session_redis_key        "c:$session_redis_key_digest";
        session_redis_format     php;
END
        session_redis_framework  php;
        session_redis_key_digest md5 json 'App\\Http\\SessionStore' $session_redis_id;
        session_redis_key        "c:$session_redis_key_digest";
END
);

my $json  = JSON::PP->new->utf8->canonical->allow_nonref->allow_bignum;
my $redis = start_redis();
my (@cases, $locations);
for my $name (fixture_names()) {
    my $fixture = store_fixture($redis, $name);
    my ($known) = grep { $fixture->{framework} =~ $_->[0] } @frameworks;
    my ($prefix) = $fixture->{redis_key} =~ /\A(.*)\Q$fixture->{session_id}\E\z/s;
    if (!$known) {
        fail("$name: this test knows no configuration for $fixture->{framework}");
        next;
    }
    my $way = 0;
    for my $settings ($known->[1]->($fixture, $prefix)->@*) {
        utf8::encode($settings);
        my $path = "/$name/" . $way++;
        push @cases, [$name, $fixture, $path];
        $locations .= "location = $path {\n$settings\nsession_redis_cookie $fixture->{cookie_name};\n"
            . "add_header X-Json \$session_redis_json always;\nadd_header X-Status \$session_redis_status always;\nadd_header X-Life \$session_redis_ttl always;\n}\n";
    }
}
my $nginx = start_nginx(server => 'session_redis redis://127.0.0.1:' . $redis->port . ";\n$locations");

for my $case (@cases) {
    my ($name, $fixture, $path) = @$case;
    my $response = http($nginx->port, $path, headers => ["Cookie: $fixture->{cookie}"]);
    is(header($response, 'X-Status'), 'found', "$path is found");
    my $got = eval { $json->decode(header($response, 'X-Json')) };
    is(defined $got ? $json->encode($got) : "no JSON: $@", $json->encode($fixture->{expected}), "$path reads as it was meant");
    cmp_ok(header($response, 'X-Life') // 0, '>', 0, "$path has a life") if $fixture->{ttl} > 0;
    for my $refused (($fixture->{rejected_cookie_values} // [])->@*) {
        my $response = http($nginx->port, $path, headers => ["Cookie: $fixture->{cookie_name}=$refused"]);
        is(header($response, 'X-Status'), 'invalid', "$path: a cookie that the framework refused is invalid");
        ok(!defined header($response, 'X-Json'), 'and gives nothing');
    }
    my $stranger = $fixture->{cookie} =~ s/([A-Za-z0-9])(?=[A-Za-z0-9]{3})/$1 eq 'x' ? 'y' : 'x'/er;
    isnt(header(http($nginx->port, $path, headers => ["Cookie: $stranger"]), 'X-Status'), 'found', "$path: another id finds nothing");
}
cmp_ok(scalar @cases, '>=', 18, 'all fixtures were read');
unlike($nginx->log, qr/\[(?:alert|crit|emerg)\]|panicked/, 'nothing worse than an error in the log');
done_testing();
