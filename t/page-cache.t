# Pages that nginx keeps: in whatever way a location looks at a session, and by each recipe of the README, nobody is given
# the page of another.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Backend qw(start_backend);
use Test::More;

my $redis   = start_redis();
my $backend = start_backend();

# Visitors, by name: their headers. All but two are one person each.
my %visitor = (
    (map { ($_ => "sid=$_-0123456789abcdef") } qw(alice bob guest crowd broken gone lost)),
    bad1 => 'sid=x!1', bad2 => 'sid=x!2', rem1 => 'remember_me=1', rem2 => 'remember_me=2', nobody1 => 'theme=1', nobody2 => 'theme=2',
);
$redis->cmd('SET', "s:$_-0123456789abcdef", qq({"user":"$_","node":"a"}), 'EX', 1000) for qw(alice bob);
$redis->cmd('SET', "s:$_-0123456789abcdef", '{"node":"a"}', 'EX', 1000) for qw(guest crowd);
$redis->cmd('SET', 's:broken-0123456789abcdef', '{"user":');

# Who may be remembered is one of many only where a location says so.
sub visitors ($way) { return grep { !/\Arem/ || $way =~ /unless_cookie/ } sort keys %visitor }

sub is_nobody ($name) { return $name =~ /\Anobody/ }

# How pages are kept apart; %s is what a directive of the passing module begins with.
my %recipe = (
    out   => '%1$s_cache_key $uri; %1$s_no_cache $session_redis_no_cache; %1$s_cache_bypass $session_redis_no_cache;',
    early => 'set $kept_out $session_redis_no_cache; %1$s_cache_key $uri; %1$s_no_cache $kept_out; %1$s_cache_bypass $kept_out;',
    key   => '%1$s_cache_key $uri$session_redis_id_hash$session_redis_user$remembered;',
    both  => '%1$s_cache_key $uri$session_redis_id_hash$session_redis_user; %1$s_no_cache $session_redis_no_cache; %1$s_cache_bypass $session_redis_no_cache;',
);

my %pass = (
    proxy => "proxy_pass http://127.0.0.1:$ENV{TEST_NGINX_BACKEND_PORT};", map { ($_ => "${_}_pass 127.0.0.1:" . $ENV{ 'TEST_NGINX_' . uc . '_PORT' } . ';') } qw(fastcgi scgi uwsgi),
);

# A location's text for a recipe.
sub kept ($recipe, $module = 'proxy', $more = '') {
    return sprintf("%1\$s_cache %1\$s; %1\$s_cache_valid 1h; $recipe{$recipe} $more $pass{$module}", $module);
}

my $on = 'session_redis s; session_redis_cookie sid; session_redis_key s:$session_redis_id; session_redis_format json; session_redis_user /user;';

# A page that includes another.
my $includes = do {
    local $ENV{TEST_NGINX_LOAD_MODULES} = '';
    start_nginx(server => q(location / { default_type text/html; return 200 '<!--#include virtual="/part$uri" -->'; }))->port;
};

# By their names, the ways in which a location looks at a session; those that are more than its directives are a sub of the
# recipe's name and the location's own text.
my %way = (
    'a header'              => 'session_redis_set_header X-User-Id @user;',
    'a header that is absent' => 'session_redis_set_header X-User-Id /nothing;',
    'a variable'            => 'session_redis_set $uid /user; proxy_set_header X-User-Id $uid;',
    '$session_redis_user'   => 'proxy_set_header X-User-Id $session_redis_user;',
    '$session_redis_id_hash' => 'proxy_set_header X-Name $session_redis_id_hash;',
    'a requirement'         => 'session_redis_require @user;',
    'a requirement with unless_cookie' => 'session_redis_require @user unless_cookie=remember_me;',
    'a route'               => 'session_redis_route /node;',
    'a learnt route'        => 'session_redis_route learn;',
    'a touch'               => 'session_redis_touch 1h after=1s;',
    'early'                 => 'session_redis_early on; session_redis_set_header X-User-Id @user;',
    'a redirect to where it is off'   => sub ($recipe, $text) {
        return "location /$recipe/ { $on session_redis_require \@user; try_files /none /off\$uri; } location /off/$recipe/ { session_redis off; $text }";
    },
    'a page that is included' => sub ($recipe, $text) {
        return "location /$recipe/ { $on session_redis_set_header X-User-Id \@user; ssi on; proxy_pass http://127.0.0.1:$includes; }"
            . "location /part/$recipe/ { session_redis off; $text }";
    },
    'auth_request'          => sub ($recipe, $text) {
        return "location /$recipe/ { auth_request /auth-$recipe; $text } location = /auth-$recipe { $on session_redis_require \@user; proxy_pass http://127.0.0.1:$ENV{TEST_NGINX_BACKEND_PORT}; }";
    },
    'slices'                => 'session_redis_require @user; slice 1m;',
);

sub cached_nginx ($locations) {
    return start_nginx(http => "session_redis_store s { server " . $redis->url . '; timeout 3s; connect_timeout 3s; }'
        . join(' ', map { "${_}_cache_path $_ keys_zone=$_:1m;" } sort keys %pass) . ' map $http_cookie $remembered { ~remember_me=(.*) $1; } add_header X-Cache $upstream_cache_status;',
        server => $locations);
}

sub page ($nginx, $path, $name) {
    my $response = http($nginx->port, $path, headers => ["X-Who: $name", $visitor{$name} ? "Cookie: $visitor{$name}" : ()]);
    return ($response->{code}, $response->{body} =~ /^(?:X-Who: |HTTP_X_WHO=)(\w+)/m ? $1 : 'none', header($response, 'X-Cache') // '-');
}

# Each visitor comes first to a page, then all others, then the first again: what they get that is not theirs.
sub mixed_up ($nginx, $path, $way) {
    my @visitors = visitors($way);
    my @wrong;
    for my $first (@visitors) {
        for my $name ($first, @visitors, $first) {
            my ($code, $owner, $cache) = page($nginx, "$path$first", $name);
            next if $code =~ /\A40[13]\z/;
            push @wrong, "$path$first: $name got the page of $owner ($code, $cache)"
                if $owner ne $name && !(is_nobody($owner) && is_nobody($name));
        }
    }
    return @wrong;
}

# Whether pages are kept at all: those of nobody always, of a session by its key.
sub is_kept ($nginx, $path) {
    my $hit = sub ($name) { (page($nginx, "${path}kept", $name))[2] };
    $hit->($_) for qw(nobody1 alice);
    return ($hit->('nobody2'), $hit->('alice'));
}

for my $way (sort keys %way) {
    my $directives = $way{$way};
    my $location = sub ($recipe) {
        return ref $directives ? $directives->($recipe, kept($recipe)) : "location /$recipe/ { $on $directives " . kept($recipe) . '}';
    };
    # Where a location is off, the key can name no session.
    my @recipes = grep { !ref $directives || /out|early/ } sort keys %recipe;
    # It is off, and nobody was asked yet.
    @recipes = grep { !/early/ } @recipes if $way eq 'auth_request';
    my $nginx = cached_nginx(join "\n", map { $location->($_) } @recipes);
    for my $recipe (@recipes) {
        is_deeply([mixed_up($nginx, "/$recipe/", $way)], [], "$way, $recipe");
        next if $way =~ /requirement|redirect|included|auth|slices/ || $recipe eq 'early';
        is_deeply([is_kept($nginx, "/$recipe/")], ['HIT', $recipe eq 'key' ? 'HIT' : 'BYPASS'], "$way, $recipe: kept");
    }
    $nginx->quit;
}

subtest 'other modules' => sub {
    for my $module (qw(fastcgi scgi uwsgi)) {
        my $more = 'session_redis_set $uid /user; ' . ($module eq 'fastcgi' ? 'fastcgi_param X-User-Id $uid;' : '');
        my $nginx = cached_nginx(join '', map { "location /$_/ { $on " . kept($_, $module, $more) . '}' } sort keys %recipe);
        for my $recipe (sort keys %recipe) {
            is_deeply([mixed_up($nginx, "/$recipe/", '')], [], "$module, $recipe");
            next if $recipe eq 'early';
            is_deeply([is_kept($nginx, "/$recipe/")], ['HIT', $recipe eq 'key' ? 'HIT' : 'BYPASS'], "$module, $recipe: kept");
        }
        $nginx->quit;
    }
};

subtest 'another user of one session' => sub {
    my $nginx = cached_nginx("location /key/ { $on session_redis_set_header X-User-Id \@user; " . kept('key') . '}');
    my $user = sub { http($nginx->port, '/key/', headers => ["Cookie: $visitor{alice}"])->{body} =~ /^X-User-Id: (\w+)/m ? $1 : 'none' };
    is($user->(), 'alice', 'one');
    $redis->cmd('SET', 's:alice-0123456789abcdef', '{"user":"carol"}');
    is($user->(), 'carol', 'the next');
    $redis->cmd('SET', 's:alice-0123456789abcdef', '{"user":"alice","node":"a"}', 'EX', 1000);
    $nginx->quit;
};

subtest 'who an nginx in front says it is' => sub {
    my $nginx = cached_nginx("session_redis_trust_headers from 127.0.0.1; location /out/ { $on session_redis_set_header X-User-Id \@user; " . kept('out')
        . "} location /off/ { session_redis off; " . kept('out') . '}');
    for my $path ('/out/', '/off/') {
        for my $user (qw(alice bob)) {
            like(http($nginx->port, $path, headers => ["X-User-Id: $user"])->{body}, qr/^X-User-Id: $user$/m, "$path$user");
        }
        unlike(http($nginx->port, $path)->{body}, qr/^X-User-Id/m, "${path} nobody");
    }
    $nginx->quit;
};

done_testing();
