# Locations that read one key differently: each judges a session by its own decoder, whoever has looked it up before.
use v5.26;
use warnings;
use experimental 'signatures';
use Digest::SHA qw(hmac_sha1_base64);
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use StoreTest;
use Test::More;

my $secret = '0123456789abcdef0123456789abcdef';

# How a location reads what is stored under "sess:<id>".
my %reading = (
    json      => 'session_redis_cookie sid; session_redis_format json;',
    php       => 'session_redis_cookie sid; session_redis_format php;',
    starlette => 'session_redis_framework starlette;',
    express   => "session_redis_framework express; session_redis_secret $secret;",
    fastify   => "session_redis_framework fastify; session_redis_secret $secret;",
    koa       => "session_redis_framework koa variant=session; session_redis_secret $secret;",
    # A cookie that nobody has.
    other     => 'session_redis_cookie other; session_redis_format json;',
);
my @readings = sort keys %reading;

# What is stored.
my %stored = (
    live          => '{"cookie":{"expires":"2999-01-01T00:00:00.000Z"},"_expire":32472144000000,"user":"live"}',
    'fastify over' => '{"cookie":{"expires":"2001-01-01T00:00:00.000Z"},"_expire":32472144000000,"user":"admin"}',
    'koa over'    => '{"cookie":{"expires":"2999-01-01T00:00:00.000Z"},"_expire":1000,"user":"admin"}',
    'both over'   => '{"cookie":{"expires":"2001-01-01T00:00:00.000Z"},"_expire":1000,"user":"admin"}',
    'of PHP'      => 'user|s:5:"admin";',
);
my @stored = sort keys %stored;
my %id = map { ($stored[$_] => sprintf '%08d-0000-4000-8000-%012d', $_, $_) } keys @stored;

# A visitor's cookies for all readings.
sub cookies ($what) {
    my $id     = $id{$what};
    my $signed = express_cookie($id, $secret);
    my $sig    = hmac_sha1_base64("koa.sess=$id", $secret) =~ tr{+/}{-_}r;
    return "Cookie: sid=$id; session=$id; connect.sid=$signed; sessionId=" . ($signed =~ s/\As(?:%3A|:)//r)
        . "; koa.sess=$id; koa.sess.sig=$sig";
}

# Answers with what it was told, or includes, or sends on.
my $backend = do {
    local $ENV{TEST_NGINX_LOAD_MODULES} = '';
    start_nginx(workers => 1, server => <<~'END');
        location / { default_type text/html; return 200 "$http_x_var $http_x_early"; }
        location /ssi  { default_type text/html; return 200 '<!--#include virtual="$arg_to" -->'; }
        location /sent { add_header X-Accel-Redirect $arg_to; return 200 ""; }
        location /none { return 404 ""; }
        END
};
my $to = '127.0.0.1:' . $backend->port;

# Each reading has a location of its own, and one for each way that leads to the others.
sub locations () {
    my $text = '';
    for my $name (@readings) {
        my $on = "session_redis s; session_redis_key sess:\$session_redis_id; $reading{$name}"
            . ' session_redis_user /user; session_redis_set $u /user; session_redis_set_header X-User /user;';
        my $told = 'proxy_set_header X-Var "<$session_redis_status,$u,$session_redis_user>"; proxy_set_header X-Early "<$early>";';
        $text .= <<~"END";
            location /$name/ { $on set \$early "\$session_redis_status,\$u"; $told proxy_pass http://$to/; }
            location /$name/ssi { $on ssi on; proxy_pass http://$to/ssi; }
            location /$name/sent { $on proxy_pass http://$to/sent; }
            END
        $text .= <<~"END" for @readings;
            location /$name/tried/$_/ { $on try_files /none /$_/; }
            location /$name/failed/$_/ { $on proxy_intercept_errors on; error_page 404 = /$_/; proxy_pass http://$to/none; }
            location /$name/judged/$_/ { $on auth_request /$_/; proxy_pass http://$to/; }
            END
    }
    return $text;
}

sub reading_nginx ($redis, $cache) {
    return start_nginx(http => "session_redis_store s { server " . $redis->url . "; $cache timeout 3s; connect_timeout 3s; }", server => locations());
}

sub seen ($nginx, $path, $what) {
    return http($nginx->port, $path, headers => [cookies($what)])->{body};
}

my $redis = start_redis();
$redis->cmd('SET', "sess:$id{$_}", $stored{$_}) for @stored;

# What each makes of each, asked alone.
my %alone;
{
    my $nginx = reading_nginx($redis, '');
    for my $name (@readings) {
        $alone{$name}{$_} = seen($nginx, "/$name/", $_) for @stored;
    }
    is($alone{json}{live}, '<found,live,live> <pending,>', 'before the lookup nothing is known');
    is_deeply({ map { my $name = $_; ($name => join ' ', map { $alone{$name}{$_} =~ /\A<(\w+)/ } @stored) } @readings }, {
        express => 'found found found found undecodable', json => 'found found found found undecodable',
        fastify => 'missing missing found found undecodable', koa => 'missing found missing found undecodable',
        php => 'undecodable undecodable undecodable undecodable found', starlette => 'found found found found undecodable', other => 'none none none none none',
    }, 'each by its own lights: ' . join ', ', map { s/ /-/r } @stored) || diag explain \%alone;
}

my %ways = (
    'one after the other' => sub ($nginx, $first, $then, $what) { seen($nginx, "/$first/", $what); seen($nginx, "/$then/", $what) },
    'a subrequest (SSI)'  => sub ($nginx, $first, $then, $what) { seen($nginx, "/$first/ssi?to=/$then/", $what) },
    'try_files'           => sub ($nginx, $first, $then, $what) { seen($nginx, "/$first/tried/$then/", $what) },
    'error_page'          => sub ($nginx, $first, $then, $what) { seen($nginx, "/$first/failed/$then/", $what) },
    'X-Accel-Redirect'    => sub ($nginx, $first, $then, $what) { seen($nginx, "/$first/sent?to=/$then/", $what) },
    # What it answers is not shown, but it reads the session.
    'auth_request'        => sub ($nginx, $first, $then, $what) { seen($nginx, "/$first/judged/$then/", $what); seen($nginx, "/$then/", $what) },
);

# What was known early must be pending, or what the location itself says later. A subrequest knows nothing of another
# session than the main request's.
sub alike ($got, $alone, $may_be_blind) {
    my ($late)           = $alone =~ /\A(\S+) /;
    my ($status, $value) = $late =~ /\A<(\w+),(\w*),/;
    return $got =~ /\A\Q$late\E (?:<pending,>|<$status,$value>)\z/ || $may_be_blind && $got eq '<pending,,> <pending,>';
}

for my $cache ('', 'cache 1m;') {
    for my $way (sort keys %ways) {
        my $nginx = reading_nginx($redis, $cache);
        my @wrong;
        for my $first (@readings) {
            for my $then (@readings) {
                for my $what (@stored) {
                    my $got = $ways{$way}->($nginx, $first, $then, $what);
                    push @wrong, "$what: /$first/, then /$then/: $got, alone $alone{$then}{$what}" if !alike($got, $alone{$then}{$what}, $way =~ /subrequest/ && ($first eq 'other') != ($then eq 'other'));
                    for my $after (@readings) {
                        my $later = seen($nginx, "/$after/", $what);
                        push @wrong, "$what: /$first/, then /$then/, afterwards /$after/: $later, alone $alone{$after}{$what}" if $later ne $alone{$after}{$what};
                    }
                }
            }
        }
        is_deeply(\@wrong, [], "$way, " . ($cache ? 'with a cache' : 'without a cache')) || diag scalar(@wrong) . ' wrong';
        $nginx->quit;
    }
}

done_testing();
