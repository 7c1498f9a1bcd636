# Whose session the real cookie parsers take out of a Cookie header, as it left nginx, and whose the module judged: the same, or nobody's.
use v5.26;
use warnings;

use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use Digest::SHA qw(hmac_sha1_base64 hmac_sha1_hex hmac_sha256_base64 sha256_hex);
use MIME::Base64 qw(encode_base64);
use SessionRedis;
use SessionRedis::CookieHeaders qw(honest_header odd_header);
use SessionRedis::Live qw(built live needs);
use SessionRedis::Process qw(spawn wait_for);
use Test::More;

my $COUNT = $ENV{SESSION_REDIS_COOKIES} || 300;
my $SEED  = $ENV{SESSION_REDIS_SEED} || int(time + 1000 * $$) % 1_000_000;
my $KEY   = 'keyboard cat';

my @packages = (built('python.stamp'), built('cookies'), live('node/node_modules'));
needs('what t/live/install.sh brings' => !(grep { !-e } @packages), 'php-fpm and phpredis' => have_php(), 'node' => have('node'), 'ruby' => have('ruby'));

my $dir   = temp_dir();
my %java  = java();
my %parse = (
    python => sub { my ($which, $name) = @_; [built('python/bin/python'), live('cookies/cookies.py'), $which, $name, $KEY] },
    node   => sub { my ($which, $name) = @_; ['node', live('cookies/cookies.js'), $which, $name, $KEY] },
    rack   => sub { my ($which, $name) = @_; ['ruby', live('cookies/cookies.rb'), $name] },
    go     => sub { my ($which, $name) = @_; [built('cookies'), $which, $name] },
    tomcat => sub { my ($which, $name) = @_; [$java{command}->@*, $name] },
);
my @tomcat = $java{command} ? (['tomcat', 'tomcat']) : ();
# Other Pythons, for who has them: colon-separated paths. Their http.cookies are not the same.
my @pythons = map { my $path = $_; my $at = "python $path"; $parse{$at} = sub { [$path, live('cookies/cookies.py'), @_] }; [$at, 'http_cookies'] } split /:/, $ENV{SESSION_REDIS_PYTHONS} // '';
my @simple  = (['python', 'http_cookies'], @pythons);

# By framework: the cookie, its value of an id, what the parsers make of that, and the parsers.
my %rows = (
    aiohttp   => row('aiohttp',                'AIOHTTP_SESSION',   32, parsers => [['python', 'aiohttp'], @simple]),
    beaker    => row('beaker',                 'beaker.session.id', 32, parsers => [['python', 'beaker']], value => sub { hmac_sha1_hex($_[0], $KEY) . $_[0] }, secret => 1),
    django    => row('django',                 'sessionid',         32, parsers => [['python', 'django']]),
    flask     => row('flask',                  'session',           32, parsers => [['python', 'werkzeug']]),
    starlette => row('starlette',              'session',           32, parsers => [['python', 'starlette'], @simple]),
    express   => row('express',                'connect.sid',       32, parsers => [['node', 'express-session'], ['node', 'cookie']], secret => 1,
        decoded => sub { "s:$_[0]." . signature($_[0]) }, value => sub { express_cookie($_[0], $KEY) }),
    fastify   => row('fastify',                'sessionId',         32, parsers => [['node', 'fastify']], secret => 1,
        decoded => sub { "$_[0]." . signature($_[0]) }, value => sub { express_cookie($_[0], $KEY) =~ s/\As%3A//r }),
    koa       => row('koa',                    'koa.sid',           32, parsers => [['node', 'koa']], secret => 1,
        beside => sub { my ($name, $value) = @_; ("$name.sig", hmac_sha1_base64("$name=$value", $KEY) =~ tr{+/}{-_}r) }),
    rack      => row('rack',                   'rack.session',      64, parsers => [['rack', 'rack']]),
    rails     => row('rails cookie=_app_sess', '_app_sess',         32, parsers => [['rack', 'rack']]),
    scs       => row('scs',                    'session',           43, parsers => [['go', 'net/http']]),
    fiber     => row('fiber',                  'session_id',        43, parsers => [['go', 'fasthttp']]),
    raw       => row('raw',                    'my.sid',            32, parsers => [@simple, map { [split / /] } 'python django', 'python starlette', 'python werkzeug', 'python aiohttp',
        'node cookie', 'node express-session', 'rack rack', 'go net/http', 'go fasthttp', @tomcat ? 'tomcat tomcat' : ()]),
    php       => row('php',                    'PHPSESSID',         26, fastcgi => 1),
    'php-mangled' => row('php',                'my_session',        26, fastcgi => 1),
    'raw-php' => row('raw',                    'my_sid',            26, fastcgi => 1),
    @tomcat ? (
        tomcat => row('tomcat manager=none',   'JSESSIONID',        32, parsers => \@tomcat),
        spring => row('spring',                'SESSION',           36, parsers => \@tomcat,
            id => sub { substr(sha256_hex($_[0]), 0, 32) =~ s/(.{8})(.{4})(.{4})(.{4})/$1-$2-$3-$4-/r }, value => sub { encode_base64($_[0], '') }, decoded => sub { encode_base64($_[0], '') }),
    ) : (),
);

diag("SESSION_REDIS_SEED=$SEED SESSION_REDIS_COOKIES=$COUNT") if $ENV{SESSION_REDIS_COOKIES};
note("SESSION_REDIS_SEED=$SEED");
srand $SEED;
my $redis = start_redis();
my $php   = start_php(redis => $redis, files => { 'cookies.php' => php_script() }, ini => { 'session.use_strict_mode' => 0 });
my $echo  = "$dir/echo.sock";
spawn(['/usr/bin/python3', live('cookies/echo.py'), $echo]);
wait_for(sub { -S $echo }, what => 'the backend', seconds => 30);
chmod 0777, $echo, $dir;

my $nginx = start_nginx(
    http   => "upstream echo { server unix:$echo; keepalive 64; } keepalive_requests 10000000; client_header_buffer_size 8k;",
    server => join '', map { location($_, $rows{$_}) } sort keys %rows,
);
for my $name (split ' ', $ENV{SESSION_REDIS_ROWS} // join ' ', sort keys %rows) {
    subtest $name => sub { compare($name, $rows{$name}) };
}
SKIP: { skip "Tomcat: $java{missing}", 1 if $java{missing}; pass('Tomcat is here') }
unlike($nginx->log, qr/\[(?:alert|crit|emerg)\]|panicked/, 'nothing worse than an error in the log');
done_testing();

sub row {
    my ($framework, $cookie, $length, %how) = @_;
    my $id      = $how{id} // sub { substr sha256_hex($_[0]), 0, $length };
    my $value   = $how{value}   // sub { $_[0] };
    my $decoded = $how{decoded} // sub { $_[0] };
    my %row     = (%how, framework => $framework, cookie => $cookie, values => [], ids => {}, decoded => {});
    for my $letter ('A' .. 'D') {
        my $made = $id->("$framework $letter");
        $row{ids}{$made} = $letter;
        $row{decoded}{ $decoded->($made) } = $letter;
        push $row{values}->@*, $value->($made);
    }
    return \%row;
}

sub location {
    my ($name, $row) = @_;
    my $secret = $row->{secret} ? "session_redis_secret \"$KEY\";" : '';
    my $pass   = "proxy_pass http://echo; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header X-Judged \$session_redis_id;";
    if ($row->{fastcgi}) {
        my $params = join ' ', map { "fastcgi_param $_->[0] $_->[1];" } ['SCRIPT_FILENAME', "$php->{root}/cookies.php"], ['REQUEST_METHOD', 'GET'], ['QUERY_STRING', $row->{cookie}], ['X_JUDGED', '$session_redis_id'];
        $pass = "$params fastcgi_pass unix:$php->{socket};";
    }
    my $redis_url = $redis->url;
    return <<~"END";
        location = /$name {
            session_redis $redis_url;
            session_redis_framework $row->{framework};
            session_redis_cookie $row->{cookie};
            session_redis_key "s:\$session_redis_id";
            session_redis_format json;
            $secret
            $pass
        }
        END
}

# All of one row: sends the headers, has the parsers read what came through, and compares.
sub compare {
    my ($name, $row) = @_;
    my (@sent, @honest, @judged, @left, @own);
    for my $i (0 .. $COUNT - 1) {
        $honest[$i] = rand() < 0.1;
        my @values = $row->{values}->@[0 .. (rand() < 0.6 ? 1 : 3)];
        my @pairs  = map { $row->{beside} ? [$row->{beside}->($row->{cookie}, $_)] : () } @values;
        $sent[$i] = $honest[$i] ? honest_header([[$row->{cookie}, $values[0]], $pairs[0] // ()]) : odd_header($row->{cookie}, \@values, [map { "$_->[0]=$_->[1]" } @pairs]);
    }
    my $result = many(
        port => $nginx->port, count => $COUNT, timeout => 60,
        request => sub { my ($i) = @_; join "\r\n", "GET /$name HTTP/1.1", 'Host: x', (map { "Cookie: $_" } $sent[$i]->@*), '', '' },
        each => sub {
            my ($i, $response) = @_;
            ($judged[$i], $left[$i]) = (undef, []);
            return if $response->{code} != 200;
            my ($judged, @lines) = split /\n/, $response->{body}, -1;
            $own[$i] = pop @lines if $row->{fastcgi};
            ($judged[$i], $left[$i]) = ($row->{ids}{ pack "H*", $judged // "" } // '', [map { pack 'H*', $_ } @lines]);
        },
    );
    is($result->{codes}{200}, $COUNT, "$COUNT requests are answered");
    my @changed = grep { $honest[$_] && !$row->{fastcgi} && "@{$sent[$_]}" ne "@{$left[$_]}" } 0 .. $#sent;
    is(scalar(@changed), 0, 'headers of browsers pass as they are') or diag(map { told($sent[$_], $left[$_]) } @changed[0 .. min($#changed, 4)]);
    my @unjudged = grep { $honest[$_] && $judged[$_] ne 'A' } 0 .. $#sent;
    is(scalar(@unjudged), 0, 'and their sessions are read') or diag(map { told($sent[$_], $left[$_]) } @unjudged[0 .. min($#unjudged, 4)]);
    cmp_ok(scalar(grep { $_ } @judged), '>', $COUNT / 10, 'sessions are found in many');

    my (@headers, @of);
    for my $i (grep { $left[$_] && $left[$_]->@* } 0 .. $#sent) {
        my %forms = map { $_ => 1 } forms($left[$i]->@*);
        push @headers, sort keys %forms;
        push @of, ($i) x keys %forms;
    }
    my %taken = $row->{fastcgi} ? (PHP => \@own) : readings($row, \@headers);
    for my $parser (sort keys %taken) {
        my @at = $row->{fastcgi} ? (0 .. $#sent) : @of;
        is(scalar($taken{$parser}->@*), scalar(@at), "$parser: answers all");
        my ($takes, @wrong) = (0);
        for my $n (0 .. $#at) {
            my @letters = grep { defined } map { $row->{decoded}{ pack 'H*', $_ } } grep { $_ ne '-' } split / /, $taken{$parser}[$n] // '-';
            $takes++ if @letters;
            push @wrong, [$at[$n], "@letters"] if grep { $_ ne $judged[$at[$n]] } @letters;
        }
        is(scalar(@wrong), 0, "$parser: the same session, or none") or diag(map { my ($i, $letters) = @$_;
            told($sent[$i], $left[$i]) . "  judged \"$judged[$i]\", taken \"$letters\"\n" } @wrong[0 .. min($#wrong, $ENV{SESSION_REDIS_SHOWN} // 4)]);
        cmp_ok($takes, '>', @at / 20, "$parser: takes sessions too ($takes of " . @at . ')');
        diag("$name, $parser: " . @at . ' headers, ' . $takes . ' sessions taken, ' . @wrong . ' wrong') if $ENV{SESSION_REDIS_COOKIES};
    }
    return;
}

# The header lines as servers join them, or as they are where they read only one.
sub forms {
    my (@lines) = @_;
    return @lines if @lines == 1;
    return ($lines[0], $lines[-1], map { join $_, @lines } '; ', ', ', ',');
}

# What each parser of the row makes of the headers, all at once.
sub readings {
    my ($row, $headers) = @_;
    my $file = "$dir/headers";
    open my $out, '>', $file or die "$file: $!\n";
    print {$out} unpack('H*', $_), "\n" for @$headers;
    close $out;
    my %from;
    for my $parser ($row->{parsers}->@*) {
        my ($language, $which) = @$parser;
        open my $in, '-|', 'sh', '-c', 'exec "$@" <"$0" 2>>"$0.stderr"', $file, $parse{$language}->($which, $row->{cookie})->@* or die "$which: $!\n";
        $from{"$language $which"} = $in;
    }
    return map { my $in = $from{$_}; my @answers = <$in>; chomp @answers; ($_ => \@answers) } sort keys %from;
}

sub signature { my ($id) = @_; return hmac_sha256_base64($id, $KEY) }

sub told {
    my ($sent, $left) = @_;
    my $show = sub { join "\n       ", map { s/([^\x20-\x7e])/sprintf '\\x%02x', ord $1/ger } map { length > 900 ? substr($_, 0, 900) . '…' : $_ } $_[0]->@* };
    return '  sent ' . $show->($sent) . "\n  left " . $show->($left) . "\n";
}

sub min { my ($one, $other) = @_; return $one < $other ? $one : $other }

# The judged id, the header as PHP got it and the session that PHP took, in hexadecimal.
sub php_script {
    return <<~'END';
        <?php
        session_name($_SERVER['QUERY_STRING']);
        session_start(['read_and_close' => true]);
        echo bin2hex($_SERVER['X_JUDGED'] ?? ''), "\n", bin2hex($_SERVER['HTTP_COOKIE'] ?? ''), "\n", bin2hex(session_id());
        END
}

# How Tomcat's parser is run, or what is missing for it.
sub java {
    my $jars = '/usr/share/java/tomcat10';
    my @jars = map { "$jars-$_.jar" } qw(coyote util juli servlet-api);
    return (missing => './deps.sh java would bring a JDK and its jars') if !have('javac') || grep { !-e } @jars;
    my $classes = temp_dir();
    system('javac', '-cp', join(':', @jars), '-d', $classes, live('cookies/Cookies.java')) == 0 or return (missing => 'its program does not compile');
    return (command => ['java', '-XX:TieredStopAtLevel=1', '-cp', join(':', @jars, $classes), 'Cookies']);
}
