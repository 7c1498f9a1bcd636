# Every session of t/data, captured from a framework or built by its rules, written to a real Redis or memcached and read by the module: its
# cookie finds it, $session_redis_json is what the framework meant, and what the framework refuses is refused.
#
# Items of memcached have the flags that their client gave them.
use v5.26;
use warnings;

use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use Digest::SHA  qw(hmac_sha256);
use JSON::PP     ();
use MIME::Base64 qw(decode_base64url encode_base64url);
use POSIX        qw(strftime);
use SessionRedis;
use Test::More;

# The configurations of each: "{prefix}" is what its key has before the id. Cookie and secrets are added. %how beside:
#   lives    sets the times in it to now, where the framework looks at them
#   dies     what ends it though it is stored: name => [change, status]
#   wants    the member of the fixture with what it is to become
#   secret   0 where the configuration needs none
my %rows = (
    'aiohttp-session-redis' => row('aiohttp'),
    'aspnetcore-distributed-session' => row('aspnet instance={prefix} application=shop-app', lives => sub { aspnet(shift, time + 600) },
        dies => { 'beyond its absolute end' => [sub { aspnet(shift, time - 600) }, 'missing'] }),
    'beaker-redis-pickle' => row('beaker'),
    'django-cached_db-prefix' => row('django engine=cached_db prefix=shop version=2'),
    'django-core-rediscache' => row('django'),
    'django-pymemcache' => row('django'),
    'django-redis-json' => row('django; session_redis_format json'),
    'django-redis-json-zlib' => row('django; session_redis_format zlib json'),
    'django-redis-msgpack' => row('django; session_redis_format msgpack'),
    'django-redis-sessions' => row('django engine=redis-sessions', secret => 0),
    'django-redis-pickle' => row('django', 'django; session_redis_format pickle'),
    'flask-session05-pickle' => row('flask; session_redis_format pickle'),
    'flask-session08-json-prefix' => row('flask prefix={prefix}; session_redis_format json'),
    'flask-session08-msgpack' => row('flask', 'flask; session_redis_format msgpack'),
    'flask-session08-signer' => row('flask signed=on'),
    'go-fiber-session-gob' => row('fiber'),
    'go-redistore-gob' => row('gorilla name=session-name', lives => sub { securecookie(shift, time) },
        dies => { 'of a year ago' => [sub { securecookie(shift, time - 31_536_000) }, 'invalid'] }),
    'go-redistore-json-enc' => row('gorilla prefix={prefix} encrypted=on', lives => sub { securecookie(shift, time) },
        dies => { 'of a year ago' => [sub { securecookie(shift, time - 31_536_000) }, 'invalid'] }),
    'go-scs-gob' => row('scs', lives => sub { scs(shift, time + 600) },
        dies => { 'after its deadline' => [sub { scs(shift, time - 600) }, 'missing'] }),
    'laravel-redis' => row('laravel app=shop version=8', 'laravel version=8 redis_prefix=shop_database_ cache_prefix=shop_cache'),
    'laravel-redis-predis' => row('laravel app=shop version=8'),
    'laravel13-redis-json' => row('laravel'),
    'node-connect-memcached' => row('express prefix={prefix}'),
    'node-express-connect-redis' => row('express'),
    'node-express-connect-redis3-old' => row('express'),
    'node-express-passport' => row('express'),
    'node-express-passport-object' => row('express'),
    'node-fastify-session' => row('fastify', lives => sub { fastify(shift, time + 600) },
        dies => { 'after its end' => [sub { fastify(shift, time - 600) }, 'missing'] }),
    'node-koa-session' => row('koa variant=session prefix=koa:app:', lives => sub { koa(shift, time + 600) },
        dies => { 'after its end' => [sub { koa(shift, time - 600) }, 'missing'] }),
    'node-nestjs-express-session' => row('nestjs prefix={prefix}'),
    'php-custom-md5json' => row(map { $_ . <<'END' } 'php', 'raw; session_redis_format php'),
;
        session_redis_key_digest md5 json 'App\\Http\\SessionStore' $session_redis_id;
        session_redis_key        "c:$session_redis_key_digest"
END
    'php-memcache-php' => row('php store=memcache', 'php prefix='),
    'php-memcached-php' => row('php store=memcached', 'php prefix={prefix}'),
    'php-phpredis-igbinary' => php('igbinary'),
    'php-phpredis-msgpack' => row('php handler=msgpack'),
    'php-phpredis-php' => php('php'),
    'php-phpredis-php-empty' => php('php'),
    'php-phpredis-php-floats' => php('php'),
    'php-phpredis-php-objects' => php('php'),
    'php-phpredis-php_binary' => php('php_binary'),
    'php-phpredis-php_binary-objects' => php('php_binary'),
    'php-phpredis-php_serialize' => php('php_serialize'),
    'php-phpredis-php_serialize-refs' => php('php_serialize'),
    'php-phpredis-prefix' => php('php'),
    'rails-redis-session-store-json' => row('rails store=session-store prefix=myapp:session:'),
    'rails-redis-store' => row('rails'),
    # Its cookie holds its own end, which has passed; t/live-ruby.t has new ones. The id alone finds the session.
    'rails-redis-store-signed' => row('rails', secret => 0, lives => sub { my ($f) = @_; $f->{cookie_value} = $f->{session_id}; $f->{rejected_cookie_values} = [] }),
    'ruby-dalli-memcached' => row('rack store=dalli private_id=off'),
    'ruby-redis-rack' => row('rack'),
    'ruby-redis-rack-hard' => row('rack prefix= cookie=sid'),
    'spring-session-jdk' => spring('tags=strip', sub { my ($ms) = @_; java_long($ms) }),
    'spring-session-json' => spring('tags=strip', sub { my ($ms) = @_; $ms }, wants => 'expected_simplified'),
    'spring-session-json:keep' => spring('tags=keep', sub { my ($ms) = @_; $ms }),
    'starlette-starsessions-redis' => row('starlette'),
    'symfony-redis-handler' => row('symfony'),
    'thinkphp5-redis' => row('thinkphp'),
    'thinkphp5-redis-session_name' => row('thinkphp session_name={prefix}'),
    'tomcat-memcached-session-manager' => row('tomcat manager=msm', lives => sub { msm(shift, time) }, dies => {
        'not used for long'   => [sub { msm(shift, time - 7200) }, 'missing'],
        'said to be invalid'  => [sub { my ($f) = @_; substr $f->{value}, 23, 1, '0' }, 'missing'],
    }),
    'tomcat-redisson-jdk' => row('tomcat prefix=shop', lives => sub { redisson(shift, time) },
        dies => { 'not used for long' => [sub { redisson(shift, time - 7200) }, 'missing'],
            'said to be invalid' => [sub { my ($f) = @_; $f->{value}{'session:isValid'} =~ s/\x01\z/\0/ }, 'missing'] }),
);

my $redis     = start_redis();
my $memcached = start_memcached();
my (@cases, $locations);
for my $name (sort keys %rows) {
    my $row     = $rows{$name};
    my $fixture = fixture($name =~ s/:.*//r);
    my ($prefix) = $fixture->{redis_key} =~ /\A(.*)\Q$fixture->{session_id}\E\z/s;
    my $secrets  = $row->{secret} // 1 ? secrets($fixture->{secret}) : '';
    my @paths;
    for my $settings ($row->{settings}->@*) {
        push @paths, "/$name/" . @paths;
        $locations .= "location = $paths[-1] {\nsession_redis " . (is_item($fixture) ? 'items' : 'sessions') . ";\nsession_redis_framework " . $settings =~ s/\{prefix\}/$prefix/r . ";\nsession_redis_cookie $fixture->{cookie_name};\n$secrets"
            . "add_header X-Json \$session_redis_json always;\nadd_header X-Status \$session_redis_status always;\nadd_header X-Life \$session_redis_ttl always;\n}\n";
    }
    push @cases, [$name, $fixture, $row, @paths];
}
is_deeply([grep { !exists $rows{$_} } fixture_names()], [], 'each session of t/data has a configuration here');

# What the README shows is what runs here.
open my $readme, '<', "$FindBin::Bin/../README.md" or die "README.md: $!";
my @shown = do { local $/; <$readme> } =~ /^\| `session_redis_framework ([^`]+)` \|/mg;
my %run   = map { $_ => 1 } $locations =~ /^session_redis_framework ([^;]+)/mg;
cmp_ok(scalar @shown, '>=', 22, 'the README shows configurations');
is_deeply([grep { !$run{$_} } @shown], [], 'each of them runs here');
my $nginx = start_nginx(
    http   => 'session_redis_store sessions { server redis://127.0.0.1:' . $redis->port . '; max_size 128k; }'
        . 'session_redis_store items { server ' . $memcached->url . '; max_size 128k; }',
    server => $locations,
);

for my $case (@cases) {
    my ($name, $fixture, $row, @paths) = @$case;
    subtest $name => sub { check($fixture, $row, @paths) };
}
unlike($nginx->log, qr/\[(?:alert|crit|emerg)\]|panicked/, 'nothing worse than an error in the log');
done_testing();

sub check {
    my ($fixture, $row, @paths) = @_;
    $row->{lives}->($fixture) if $row->{lives};
    store($fixture);
    my $expected = $fixture->{ $row->{wants} // 'expected' };
    for my $path (@paths) {
        my $response = ask($path, $fixture);
        is(header($response, 'X-Status'), 'found', "$path is found");
        my $got = eval { decode(header($response, 'X-Json') // '') };
        is($@, '', 'its JSON can be read');
        is(difference($got, $expected, ''), '', 'and is what was meant') if defined $expected;
        for my $at (sort keys(($fixture->{expected_paths} // {})->%*)) {
            is(difference(at($got, $at), $fixture->{expected_paths}{$at}, ''), '', "also at $at");
        }
        cmp_ok(header($response, 'X-Life') // 0, '>', 0, 'it has a life') if $fixture->{ttl} > 0;

        for my $refused (refused($fixture)) {
            my $response = ask($path, $refused);
            is(header($response, 'X-Status'), 'invalid', 'a cookie that the framework refused is invalid');
            ok(!defined header($response, 'X-Json'), 'and gives nothing');
        }
        my $stranger = $fixture->{cookie_value} =~ s/([A-Za-z0-9])(?=[A-Za-z0-9]{3})/$1 eq 'x' ? 'y' : 'x'/er;
        isnt(header(ask($path, { %$fixture, cookie_value => $stranger }), 'X-Status'), 'found', 'another id finds nothing');
    }
    for my $how (sort keys(($row->{dies} // {})->%*)) {
        my ($change, $status) = $row->{dies}{$how}->@*;
        my $dead = { %$fixture, ref $fixture->{value} ? (value => { $fixture->{value}->%* }) : () };
        $change->($dead);
        store($dead);
        is(header(ask($_, $dead), 'X-Status'), $status, "$_: one $how is $status") for @paths;
    }
    return;
}

sub store {
    my ($fixture) = @_;
    my $key = $fixture->{redis_key};
    if (is_item($fixture)) {
        my %how = (flags => $fixture->{memcached_flags}, ttl => $fixture->{ttl} > 0 ? $fixture->{ttl} : 0);
        return is($memcached->set($key, $fixture->{value}, %how), 'STORED', 'it is an item of memcached');
    }
    $redis->cmd('DEL', $key);
    ref $fixture->{value} ? $redis->cmd('HSET', $key, $fixture->{value}->%*) : $redis->cmd('SET', $key, $fixture->{value});
    $redis->cmd('EXPIRE', $key, $fixture->{ttl}) if $fixture->{ttl} > 0;
    return;
}

sub is_item {
    my ($fixture) = @_;
    return $fixture->{redis_type} eq 'memcached item';
}

sub ask {
    my ($path, $fixture) = @_;
    my @pairs = "$fixture->{cookie_name}=$fixture->{cookie_value}";
    push @pairs, join '=', $fixture->{signature_cookie}->@{qw(name value)} if $fixture->{signature_cookie};
    return http($nginx->port, $path, headers => ['Cookie: ' . join '; ', @pairs]);
}

# The fixture with each of the cookies that its framework does not take.
sub refused {
    my ($fixture) = @_;
    my @refused   = map { { %$fixture, cookie_value => $_ } } ($fixture->{rejected_cookie_values} // [])->@*;
    my $signature = $fixture->{signature_cookie} or return @refused;
    return (@refused, { %$fixture, signature_cookie => undef },
        map { { %$fixture, signature_cookie => { %$signature, value => $_ } } } $signature->{rejected_values}->@*);
}

# Configurations.
sub row {
    my @settings;
    push @settings, shift while @_ && !($_[0] =~ /\A(?:lives|dies|wants|secret)\z/);
    return { settings => \@settings, @_ };
}

sub php {
    my ($handler) = @_;
    return row("php prefix={prefix} handler=$handler", 'php prefix={prefix}');
}

sub spring {
    my ($tags, $time, %how) = @_;
    my $used = sub {
        my ($fixture, $at) = @_;
        $fixture->{value}{lastAccessedTime} = $time->($at * 1000);
        $fixture->{$_}{lastAccessedTime} = $at * 1000 for grep { $fixture->{$_} } qw(expected expected_simplified);
    };
    return row("spring $tags", lives => sub { $used->(shift, time) }, %how,
        dies => { 'not used for long' => [sub { $used->(shift, time - 7200) }, 'missing'] });
}

sub secrets {
    my ($secret) = @_;
    return '' if !defined $secret;
    my @secrets = ref $secret eq 'ARRAY' ? @$secret
        : ref $secret ? map { /base64\z/ ? "base64:$secret->{$_}" : $secret->{$_} } grep { exists $secret->{$_} } qw(app_key hash_key block_key master_key_base64)
        : $secret;
    my $text = join ' ', 'session_redis_secret', map { "\"$_\"" } @secrets;
    utf8::encode($text);
    return "$text;\n";
}

# Times.
sub aspnet {
    my ($fixture, $end) = @_;
    $fixture->{value}{absexp} = ($end + 62_135_596_800) . '0000000';
    return;
}

sub scs {
    my ($fixture, $end) = @_;
    my $since_year_1 = pack 'Cq>', 1, $end + 62_135_596_800;
    $fixture->{value} =~ s/\x01\0\0\0\x0e.{4}/$since_year_1/s or die "no deadline\n";
    $fixture->{expected}{Deadline} =~ s/\A[^.]*/strftime '%Y-%m-%dT%H:%M:%S', gmtime $end/e;
    return;
}

sub fastify {
    my ($fixture, $end) = @_;
    $fixture->{expected}{cookie}{expires} = strftime('%Y-%m-%dT%H:%M:%S.000Z', gmtime $end);
    $fixture->{value} =~ s/("expires":")[^"]*/$1$fixture->{expected}{cookie}{expires}/ or die "no end\n";
    return;
}

sub koa {
    my ($fixture, $end) = @_;
    $fixture->{expected}{_expire} = $end * 1000;
    $fixture->{value} =~ s/("_expire":)\d+/$1$fixture->{expected}{_expire}/ or die "no end\n";
    return;
}

sub securecookie {
    my ($fixture, $made) = @_;
    my (undef, $payload) = split /\|/, decode_base64url($fixture->{cookie_value});
    my $signed = hmac_sha256("$fixture->{cookie_name}|$made|$payload", $fixture->{secret}{hash_key});
    $fixture->{cookie_value} = encode_base64url("$made|$payload|$signed") =~ s/(?<!=)\z/'=' x (-length($`) % 4)/er;
    return;
}

sub java_long {
    my ($number) = @_;
    return "\xac\xed\0\5sr\0\x0ejava.lang.Long\x3b\x8b\xe4\x90\xcc\x8f#\xdf\2\0\1J\0\5valuexr\0\x10java.lang.Number\x86\xac\x95\x1d\x0b\x94\xe0\x8b\2\0\0xp" . pack 'q>', $number;
}

sub redisson {
    my ($fixture, $used) = @_;
    for my $field (map { "session:$_" } qw(lastAccessedTime thisAccessedTime)) {
        $fixture->{value}{$field}    = java_long($used * 1000);
        $fixture->{expected}{$field} = $used * 1000;
    }
    return;
}

# The times stand behind the length of the header and the time of creation.
sub msm {
    my ($fixture, $used) = @_;
    my $ms = pack 'q>', $used * 1000;
    substr $fixture->{value}, 10, 8, $ms;
    substr $fixture->{value}, 24, 8, $ms;
    $fixture->{expected}{lastAccessedTime} = $used * 1000;
    return;
}

# JSON, with numbers as they are written.
sub decode {
    my ($text) = @_;
    return JSON::PP->new->utf8->allow_nonref->allow_bignum->decode($text);
}

# Where the two differ, and how; integers are compared exactly, others by value. Empty if they do not.
sub difference {
    my ($got, $wanted, $at) = @_;
    if (ref $wanted eq 'HASH' && ref $got eq 'HASH') {
        my %names = (%$got, %$wanted);
        for my $name (sort keys %names) {
            return "$at/$name is " . (exists $got->{$name} ? 'too much' : 'not there') if !exists $got->{$name} || !exists $wanted->{$name};
            my $differs = difference($got->{$name}, $wanted->{$name}, "$at/$name");
            return $differs if length $differs;
        }
        return '';
    }
    if (ref $wanted eq 'ARRAY' && ref $got eq 'ARRAY') {
        return "$at has " . @$got . ' elements, not ' . @$wanted if @$got != @$wanted;
        for my $i (0 .. $#$wanted) {
            my $differs = difference($got->[$i], $wanted->[$i], "$at/$i");
            return $differs if length $differs;
        }
        return '';
    }
    my ($left, $right) = map { text($_) } $got, $wanted;
    return '' if $left eq $right;
    my $number = qr/\A-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?\z/;
    my $whole  = qr/\A-?[0-9]+\z/;
    return '' if $left =~ $number && $right =~ $number && !($left =~ $whole && $right =~ $whole) && $left == $right;
    return "$at is $left, not $right";
}

sub text {
    my ($value) = @_;
    return JSON::PP->new->utf8->canonical->allow_nonref->allow_bignum->encode($value);
}

# What stands at a path whose names are joined by dots, and may hold dots themselves.
sub at {
    my ($value, $path) = @_;
    return $value if !defined $path;
    return $path =~ /\A(\d+)(?:\.(.*))?\z/s ? at($value->[$1], $2) : undef if ref $value eq 'ARRAY';
    return if ref $value ne 'HASH';
    for my $name (sort { length $b <=> length $a } keys %$value) {
        return at($value->{$name}, length $path > length $name ? substr $path, length($name) + 1 : undef)
            if $path eq $name || index($path, "$name.") == 0;
    }
    return;
}
