# session_redis_sticky: a session's requests go to the server that its route names, under each of nginx's balancing methods,
# and where that server cannot be had to one that the method chooses.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use IO::Socket::INET;
use SessionRedis;
use SessionRedis::Certificates qw(certificate_authority);
use SessionRedis::Process qw(fork_server);
use SessionRedis::Resp qw(bulk);
use StoreTest;
use Test::More;

my $id = '0A1B2C3D4E5F60718293A4B5C6D7E8F9';
our $store = fake_redis();

# Servers that answer with their names, a to d; e is one that nobody listens at.
my @names = ('a' .. 'd');
my %port  = map { $_ => free_port() } @names, 'e';
my %server;
up($_) for @names;

sub up ($name) {
    $server{$name} = plain_nginx(port => $port{$name}, worker_connections => 2048, server => <<~"END");
        access_log off;
        location / { return 200 "$name \$connection_requests"; }
        location /jvm/500 { return 500 $name; }
        END
    return;
}

# An nginx without the module, which nobody watches.
sub plain_nginx (%how) {
    local $ENV{TEST_NGINX_LOAD_MODULES} = '';
    local $ENV{TEST_NGINX_USE_VALGRIND} = '';
    return start_nginx(%how);
}

sub address ($name) { return "127.0.0.1:$port{$name}" }

# An nginx with an upstream of these lines, in which "a" to "e" stand for the servers, and names for routes to all that are there.
sub sticky_nginx ($lines, %how) {
    my $sticky = delete $how{sticky} // '';
    my $before = delete $how{method} // '';
    my $after  = delete $how{after}  // '';
    my $more   = delete $how{location} // '';
    my $http   = delete $how{http}     // '';
    my %there;
    my $text = join "\n", map { my ($name) = /\A(\w)/; $there{$name} = 1; 'server ' . s/\A\w/address($name)/er . ';' } @$lines;
    my $routes = join "\n", map { "session_redis_route_name $_ " . address($_) . ';' } sort keys %there;
    return session_nginx(
        url  => $store->url,
        http => "upstream app { $before $text session_redis_sticky $sticky; $routes $after } $http log_format tries '\$upstream_addr|\$upstream_status';",
        server => <<~"END",
            access_log logs/tries.log tries;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            location = /mark { access_log off; session_redis off; return 200; }
            $more
            location /jvm   { session_redis_id cookie:JSESSIONID path:jsessionid; session_redis_route jvmroute; proxy_pass http://app; }
            location /value { session_redis_route /node; proxy_pass http://app; }
            END
        %how
    );
}

# Who answers a request with this route, or with none.
sub who ($nginx, $route = undef, %how) {
    my $path = $how{path} // '/jvm/x';
    my $answer = http($nginx->port, $path, headers => [defined $route ? "Cookie: JSESSIONID=$id.$route" : ()]);
    return $answer->{code} == 200 ? $answer->{body} =~ s/ .*//sr : $answer->{code};
}

# How many of so many requests each server has answered.
sub spread ($nginx, $count, $route = undef, %how) {
    my %count;
    $count{ who($nginx, $route, %how) }++ for 1 .. $count;
    return \%count;
}

# The servers that were tried for the requests since this was asked last, a string each: "ea" is a that answered after e.
my %seen;
sub tries ($nginx) {
    http($nginx->port, '/mark');    # what was answered before is logged when this is
    my $file = $nginx->dir . '/logs/tries.log';
    open my $in, '<', $file or die "$file: $!\n";
    my @lines = <$in>;
    my $from = $seen{$nginx} // 0;
    $seen{$nginx} = @lines;
    my %name = map { (address($_), $_) } keys %port;
    return map { my ($addresses) = split /\|/; join '', map { $name{$_} // '-' } split /, /, $addresses } @lines[$from .. $#lines];
}

sub cannot_complain ($nginx) {
    is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]/), 0, 'no alert');
    return;
}

my $zone = 'zone app 256k;';
my @all  = ('a max_fails=3', 'b', 'c', 'd', 'e fail_timeout=60s');

my @methods = ('', 'least_conn;', 'hash $arg_k;', 'hash $arg_k consistent;', 'random;', 'random two;', 'ip_hash;');
for my $method (@methods) {
    for my $shared ('', $zone) {
        my $name = ($method || 'round robin') . ($shared && ' with a zone');
        subtest $name => sub {
            my $nginx = sticky_nginx(\@all, method => "$method $shared", after => ($shared ? 'keepalive 8;' : ''));
            is_deeply(spread($nginx, 8, $_), { $_ => 8 }, "the sessions of $_ go to it") for @names;
            tries($nginx);
            my $elsewhere = spread($nginx, 8, 'e');
            ok(!exists $elsewhere->{502} && !exists $elsewhere->{e}, 'the requests of a dead server are not lost') or diag explain $elsewhere;
            my @tries = tries($nginx);
            like($tries[0], qr/\Ae[a-d]\z/, 'the first goes there');
            is(scalar(grep { /e/ } @tries), 1, 'the others do not, since it is known to be down') or diag "@tries";
            my %free;
            $free{ who($nginx, undef, path => "/jvm/x?k=$_") }++ for 1 .. 40;
            my $balanced = $method =~ /ip_hash/ ? 1 : 2;
            cmp_ok(scalar keys %free, '>=', $balanced, 'without a route the method balances') or diag explain \%free;
            is($free{a}, 10, 'evenly') if $method eq '';
            if ($method =~ /hash/) {
                my @twice = map { who($nginx, undef, path => '/jvm/x?k=same') } 1 .. 6;
                is_deeply([@twice], [($twice[0]) x 6], 'by its own rule');
            }
            is_deeply(spread($nginx, 8, 'nobody', path => '/jvm/x?k=same'), spread($nginx, 8, undef, path => '/jvm/x?k=same'), 'a route that names no server is none')
                if $method =~ /hash/;
            cannot_complain($nginx);
        };
    }
}

subtest 'ids as Tomcat writes them' => sub {
    my $nginx = sticky_nginx(['a', 'b', 'c']);
    for my $route ('a', 'b', 'c') {
        is(who($nginx, $route), $route, "ID.$route");
        is(http($nginx->port, '/jvm/x', headers => ["Cookie: JSESSIONID=$id-n1.$route"])->{body} =~ s/ .*//r, $route, "ID-node.$route");
        is(who($nginx, undef, path => "/jvm/x;jsessionid=$id.$route?a=b"), $route, ";jsessionid=ID.$route in the URI");
    }
};

subtest 'routes that the session holds' => sub {
    my $redis = start_redis();
    my $nginx = sticky_nginx(['a', 'b'], url => $redis->url);
    my %node  = (1 => address('a'), 2 => 'b', 3 => address('b'), 4 => '', 5 => 'unknown');
    $redis->cmd('SET', key($_), qq({"node":"$node{$_}"})) for keys %node;
    my $spread = sub ($n) { my %count; $count{ get($nginx, '/value', $n)->{body} =~ s/ .*//r }++ for 1 .. 6; return \%count };
    is_deeply($spread->(1), { a => 6 }, 'an address');
    is_deeply($spread->(2), { b => 6 }, 'a name');
    is_deeply($spread->(3), { b => 6 }, 'another address');
    is_deeply($spread->($_), { a => 3, b => 3 }, "nothing to go by ($node{$_})") for 4, 5;
    is_deeply($spread->(6), { a => 3, b => 3 }, 'no session');
    $redis->down;
    is_deeply($spread->(7), { a => 3, b => 3 }, 'a store that is down: the method chooses');
};

for my $shared ('', $zone) {
    my $with = $shared ? ', with a zone' : '';

    subtest "a backup$with" => sub {
        my $nginx = sticky_nginx(['a', 'b', 'c backup', 'e backup max_fails=0'], method => $shared);
        is_deeply(spread($nginx, 4, 'c'), { c => 4 }, 'has its sessions while the others are up');
        is_deeply(spread($nginx, 8), { a => 4, b => 4 }, 'and no others');
        tries($nginx);
        is_deeply(spread($nginx, 8, 'e'), { a => 4, b => 4 }, 'where it fails the first servers are next');
        is_deeply([map { s/[ab]/x/r } tries($nginx)], [('ex') x 8], 'and it is tried once');
        is_deeply(spread($nginx, 4, 'c'), { c => 4 }, 'the other backup is as before');
        my $dead = sticky_nginx(['e max_fails=0', 'a backup', 'b backup'], method => $shared);
        is_deeply(spread($dead, 4, 'b'), { b => 4 }, 'a backup beside a server that is dead');
        tries($dead);
        is_deeply(spread($dead, 4, 'e'), { a => 2, b => 2 }, 'a dead server with backups');
        is_deeply([map { s/[ab]/x/r } tries($dead)], [('ex') x 4], 'which are tried after it');
        cannot_complain($_) for $nginx, $dead;
    };

    subtest "weights, and many servers$with" => sub {
        my $nginx = sticky_nginx(['a weight=3', 'b', 'c down'], method => $shared);
        my %free;
        for (1 .. 40) {
            $free{ who($nginx) }++;
            is(who($nginx, 'b'), 'b', 'routed') if $_ % 10 == 0;
        }
        is_deeply(\%free, { a => 30, b => 10 }, 'hold for what has no route, whatever has one');
        my $lines = join ' ', map { "server 127.0.0.2:$_ down;" } 1 .. 130;
        my $many = sticky_nginx(['a', 'b', 'e'], method => "$shared $lines");
        is_deeply(spread($many, 4, 'b'), { b => 4 }, 'of more than a hundred');
        tries($many);
        like(who($many, 'e'), qr/\A[ab]\z/, 'one that is dead');
        like((tries($many))[0], qr/\Ae[ab]\z/, 'was tried once');
        cannot_complain($many);
    };

    subtest "max_fails$with" => sub {
        my $nginx = sticky_nginx(['e max_fails=3 fail_timeout=60s', 'a', 'b'], method => $shared);
        is_deeply([sort keys spread($nginx, 10, 'e')->%*], ['a', 'b'], 'each request is answered');
        is(scalar(grep { /\Ae/ } tries($nginx)), 3, 'it is tried as often as it may fail');
        my $never = sticky_nginx(['e max_fails=0', 'a', 'b'], method => $shared);
        spread($never, 10, 'e');
        is(scalar(grep { /\Ae/ } tries($never)), 10, 'with max_fails=0 each time');
    };

    subtest "proxy_next_upstream$with" => sub {
        my $nginx = sticky_nginx(['a', 'b', 'c'], method => $shared, after => 'keepalive 4;', location => 'proxy_next_upstream error timeout http_500; proxy_next_upstream_tries 2;');
        who($nginx, 'b') for 1 .. 2;
        tries($nginx);
        is(who($nginx, 'b', path => '/jvm/500'), 500, 'each answers so');
        like((tries($nginx))[0], qr/\Ab[ac]\z/, 'first where the session belongs, then elsewhere');
    };

    subtest "down$with" => sub {
        my $nginx = sticky_nginx(['a down', 'b', 'c'], method => $shared);
        is_deeply(spread($nginx, 6, 'a'), { b => 3, c => 3 }, 'is not tried');
        is(scalar(grep { /a/ } tries($nginx)), 0, 'not once');
    };

    subtest "max_conns$with" => sub {
        my ($busy, $port) = busy();
        local $port{f} = $port;
        for my $strict ('', 'strict') {
            my $nginx = sticky_nginx(['f max_conns=1', 'a', 'b'], method => $shared, sticky => $strict);
            my $first = open_connection($nginx->port);
            print {$first} request_bytes('/jvm/x', headers => ["Cookie: JSESSIONID=$id.f"]);
            my $held = $busy->accept;
            my $expected = $strict ? [502] : ['a', 'b'];
            is_deeply([sort keys spread($nginx, 4, 'f')->%*], $expected, $strict ? 'strict: 502' : 'is held: others go elsewhere');
            sysread $held, my $request, 4096;
            syswrite $held, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nf ";
            close $held;
            like(read_response($first)->{body}, qr/\Af/, 'the first is answered');
            is(scalar(grep { /f/ } tries($nginx)), 1, 'it alone was there');
        }
    };

    subtest "who is displaced$with" => sub {
        my ($busy, $port) = busy();
        local $port{f} = $port;
        my $nginx = sticky_nginx(['a', 'b down', 'e max_fails=2 fail_timeout=60s', 'f max_conns=1', 'd'], method => $shared, log_level => 'debug');
        my $first = open_connection($nginx->port);
        print {$first} request_bytes('/jvm/x', headers => ["Cookie: JSESSIONID=$id.f"]);
        my $held = $busy->accept;
        my $said  = 0;
        my $displaced = sub ($route = undef) {
            who($nginx, $route);
            my $before = $said;
            $said = lines_like($nginx, qr/\[debug\].*the server of the session is down or gone/);
            return $said > $before ? 1 : 0;
        };
        is($displaced->('a'), 0, 'not by a server that is well');
        is($displaced->('b'), 1, 'by one that is marked down');
        is_deeply([map { $displaced->('e') } 1 .. 4], [0, 1, 1, 1], 'by one that fails, as often as it takes; the first to see it too');
        is($displaced->('f'), 0, 'not by one that is full');
        is($displaced->(), 0, 'nor without a route');
        is($displaced->('nobody'), 1, 'but by one that the block does not have, any more perhaps');
    };

    subtest "strict$with" => sub {
        my $nginx = sticky_nginx(['a', 'b', 'c down', 'e'], method => $shared, sticky => 'strict');
        is_deeply(spread($nginx, 4, $_), { $_ => 4 }, "$_ has its sessions") for 'a', 'b';
        is_deeply(spread($nginx, 4, $_), { 502 => 4 }, "$_ is down: 502") for 'c', 'e';
        is_deeply([tries($nginx)], [('a') x 4, ('b') x 4, ('-') x 4, 'e-', ('-') x 3], 'and no other is tried');
        is(scalar lines_like($nginx, qr/\[error\].* 1 requests: the server of the session cannot be had, and no other will do by "session_redis_sticky strict" while connecting to upstream/), 1, 'the log says why, once');
        my %free = (spread($nginx, 6)->%*, spread($nginx, 6, 'nobody')->%*);
        is_deeply([sort keys %free], ['a', 'b'], 'without a route, or one that names no server: the method chooses');
    };

    subtest "drained servers$with" => sub {
        for my $method ('', 'least_conn;', 'hash $request_id;', 'hash $request_id consistent;', 'random two;') {
            my $drain = 'session_redis_drain ' . address('a') . ' ' . address('b') . ';';
            my $nginx = sticky_nginx(['a', 'b', 'c', 'd'], method => "$method $shared", after => $drain);
            is_deeply([sort keys spread($nginx, 24)->%*], ['c', 'd'], ($method || 'round robin') . ': get nothing new');
            is_deeply(spread($nginx, 4, $_), { $_ => 4 }, "$_ keeps its sessions") for 'a', 'b';
        }
        my $drain = 'session_redis_drain ' . address('a') . ';';
        is_deeply(spread(sticky_nginx(['a', 'e', 'c down'], method => $shared, after => $drain), 6), { a => 6 }, 'all others are dead: drained ones will do');
        is_deeply(spread(sticky_nginx(['a', 'b backup'], method => $shared, after => $drain), 6), { b => 6 }, 'a backup is better');
        my $backup = sticky_nginx(['a', 'e backup'], method => $shared, after => $drain);
        is_deeply(spread($backup, 6), { a => 6 }, 'unless it is dead');
        # The other methods take no backups.
        for my $method ('', 'least_conn;') {
            my $backups = sticky_nginx(['e', 'a backup', 'b backup'], method => "$method $shared", after => $drain);
            is_deeply(spread($backups, 8), { b => 8 }, ($method || 'round robin') . ': of the backups too one that is not drained');
            is_deeply(spread($backups, 2, 'a'), { a => 2 }, 'a drained one keeps its sessions');
            my $last = sticky_nginx(['e', 'a max_conns=1 backup', 'd down backup'], method => "$method $shared", after => $drain);
            is_deeply(spread($last, 6), { a => 6 }, 'and will do if no other is left, counted as one connection');
            cannot_complain($_) for $backups, $last;
        }
        my $displaced = sticky_nginx(['a', 'b', 'e'], method => $shared, after => $drain);
        is_deeply(spread($displaced, 6, 'e'), { b => 6 }, 'nor do they get the sessions of one that is down');
        cannot_complain($backup);
    };

    subtest "a server that dies and comes back$with" => sub {
        my $nginx = sticky_nginx(['a', 'b fail_timeout=1s', 'c'], method => $shared, after => 'keepalive 4;');
        is_deeply(spread($nginx, 4, 'b'), { b => 4 }, 'it has its sessions');
        stop($server{b}->pid, signal => 'QUIT');
        is_deeply([sort keys spread($nginx, 10, 'b')->%*], ['a', 'c'], 'it dies: no request is lost');
        up('b');
        ok(wait_for(sub { who($nginx, 'b') eq 'b' }), 'it is back: so are they');
        is_deeply(spread($nginx, 4, 'b'), { b => 4 }, 'and stay');
    };

    subtest "kept connections$with" => sub {
        my $nginx = sticky_nginx(['a', 'b'], method => $shared, after => 'keepalive 4;');
        my @counts = map { http($nginx->port, '/jvm/x', headers => ["Cookie: JSESSIONID=$id.b"])->{body} } 1 .. 3;
        is_deeply(\@counts, ['b 1', 'b 2', 'b 3'], 'are used again');
        local $port{f} = closing();
        my $strict = sticky_nginx(['f max_fails=0', 'a'], method => $shared, sticky => 'strict', after => 'keepalive 4;');
        is_deeply(spread($strict, 6, 'f'), { f => 6 }, 'one that the server closes is no reason to leave it');
        like(join(' ', tries($strict)), qr/\bff\b/, 'but to come again');
    };
}

subtest 'two workers' => sub {
    my $nginx = sticky_nginx(['a', 'b', 'e fail_timeout=60s'], method => $zone, workers => 2);
    is_deeply([sort keys spread($nginx, 60, 'e')->%*], ['a', 'b'], 'no request is lost');
    is(scalar(grep { /e/ } tries($nginx)), 1, 'with a zone what one learns the other knows');
};

subtest 'under load' => sub {
    my $nginx = sticky_nginx(['a', 'b', 'c max_fails=2 fail_timeout=60s', 'd'], method => "least_conn; $zone", after => 'keepalive 16;', workers => 2, worker_connections => 2048);
    my ($done, $wrong, %moved) = (0, 0);
    my $result = many(port => $nginx->port, count => 6000, at_once => 16,
        request => sub ($i) { request_bytes('/jvm/x', headers => ["Cookie: JSESSIONID=$id." . $names[$i % 4]]) },
        each => sub ($i, $response) {
            stop($server{c}->pid, signal => 'KILL') if ++$done == 2000;
            my ($name) = $response->{body} =~ /\A(\w) /;
            my $wanted = $names[$i % 4];
            $wanted eq 'c' ? $moved{ $name // $response->{code} }++ : $wrong++ if ($name // '') ne $wanted;
        });
    is_deeply($result->{codes}, { 200 => 6000 }, 'a server is killed: no request is lost') or diag explain $result;
    is($wrong, 0, 'the sessions of the others stay where they are');
    is_deeply([sort keys %moved], ['a', 'b', 'd'], 'its own go to all the others');
    up('c');
    cannot_complain($nginx);
};

subtest 'TLS to the servers' => sub {
    my $pair = certificate_authority()->certificate(ips => ['127.0.0.1']);
    local @port{'f', 'g'} = (free_port(), free_port());
    my @tls = map {
        my $answer = "$_ \$ssl_session_reused";
        plain_nginx(http => "server { listen 127.0.0.1:$port{$_} ssl; ssl_certificate $pair->{file}; ssl_certificate_key $pair->{key}; return 200 '$answer'; }");
    } 'f', 'g';
    # Of servers without a zone nginx itself never frees the TLS sessions.
    my $is_watched = $ENV{ASAN_OPTIONS} || $ENV{TEST_NGINX_USE_VALGRIND};
    for my $shared ($is_watched ? () : '', $zone) {
        my $nginx = sticky_nginx(['f', 'g'], method => $shared, location => 'location /jvm/tls { session_redis_id cookie:JSESSIONID; session_redis_route jvmroute; proxy_set_header Connection close; proxy_pass https://app; }');
        for my $route ('f', 'g') {
            my @answers = map { http($nginx->port, '/jvm/tls', headers => ["Cookie: JSESSIONID=$id.$route"])->{body} } 1 .. 3;
            is_deeply(\@answers, ["$route .", "$route r", "$route r"], "each server's TLS session is its own" . ($shared && ', with a zone'));
        }
    }
};

subtest 'a subrequest, and a block by the name of a variable' => sub {
    my $nginx = sticky_nginx(['a', 'b', 'c'], location => <<~'END');
        location /jvm/variable {
            session_redis_id cookie:JSESSIONID;
            session_redis_route jvmroute;
            set $block app;
            proxy_pass http://$block;
        }
        location /jvm/asks {
            session_redis_id cookie:JSESSIONID;
            session_redis_route jvmroute;
            auth_request /jvm/asked;
            proxy_pass http://app;
        }
        END
    is_deeply(spread($nginx, 6, 'b', path => '/jvm/variable'), { b => 6 }, 'by a variable');
    is_deeply(spread($nginx, 6, 'b', path => '/jvm/asks'), { b => 6 }, 'with a subrequest');
    is_deeply([map { s/.*// ? 1 : 0 } tries($nginx)], [(1) x 12], 'each is logged once');
};

SKIP: {
    skip 'in this nginx the servers of an upstream stay as they are', 1 if nginx_version() < 1_027_003;

    subtest 'servers that come and go in the DNS' => sub {
        my $port = free_port();
        plain_nginx(http => join ' ', map { "server { listen 127.0.0.$_:$port; return 200 '$_ '; }" } 1, 2);
        my $dns   = fake_dns('app.test' => ['127.0.0.1', '127.0.0.2']);
        my $redis = start_redis();
        $redis->cmd('SET', key($_), qq({"node":"127.0.0.$_:$port"})) for 1, 2;
        my $nginx = session_nginx(url => $redis->url, workers => 2,
            http   => "resolver 127.0.0.1:@{[$dns->port]} valid=1s; upstream app { $zone server app.test:$port resolve; session_redis_sticky; session_redis_route_name all app.test:$port; keepalive 4; }",
            server => <<~'END');
                location /value { session_redis_route /node; proxy_pass http://app; }
                location /jvm   { session_redis_id cookie:JSESSIONID; session_redis_route jvmroute; proxy_pass http://app; }
                END
        my $of = sub ($n) { return get($nginx, '/value', $n)->{body} =~ s/ .*//sr };
        wait_for(sub { $of->(1) eq '1' && $of->(2) eq '2' }, what => 'the first answer of the name server', seconds => 10);
        is_deeply([map { $of->(1 + $_ % 2) } 0 .. 11], [('1', '2') x 6], 'by their addresses');
        is_deeply([grep { !/\A[12]\z/ } map { who($nginx, 'all') } 1 .. 6], [], 'by the line that brought them');
        for my $gone (1, 2) {
            my $left = 3 - $gone;
            $dns->set('app.test' => ["127.0.0.$left"]);
            ok(wait_for(sub { $of->($gone) eq $left }, seconds => 10), "$gone is gone, its sessions go to the other");
            is_deeply([map { $of->($_) } 1, 2], [$left, $left], 'as do all');
            $dns->set('app.test' => ['127.0.0.1', '127.0.0.2']);
            ok(wait_for(sub { $of->($gone) eq $gone }, seconds => 10), 'it is back, and so are they');
        }
        cannot_complain($nginx);
    };
}

SKIP: {
    skip 'this nginx has no "sticky"', 2 if nginx_version() < 1_029_006;

    subtest "nginx's own sticky" => sub {
        my $lines = join ' ', map { "server @{[address($_)]} route=$_;" } 'a', 'b', 'c';
        my $nginx = sticky_nginx(['d'], http => "upstream own { $zone $lines sticky route \$session_redis_route; }",
            location => 'location /jvm/own { session_redis_id cookie:JSESSIONID; session_redis_route jvmroute; proxy_pass http://own; }');
        is_deeply(spread($nginx, 4, $_, path => '/jvm/own'), { $_ => 4 }, "$_ has its sessions") for 'a', 'b', 'c';
        is_deeply([sort keys spread($nginx, 12, undef, path => '/jvm/own')->%*], ['a', 'b', 'c'], 'without a route nginx balances');
    };

    subtest "nginx's own drain" => sub {
        my $nginx = sticky_nginx(['a drain', 'b', 'c'], method => $zone);
        is_deeply(spread($nginx, 4, 'a'), { a => 4 }, 'it keeps its sessions');
        is_deeply(spread($nginx, 6), { b => 3, c => 3 }, 'and gets no new ones');
    };
}

# A server that accepts connections when it is asked to.
sub busy () {
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 16) or die "busy: $!\n";
    return ($socket, $socket->sockport);
}

# A server that answers one request on a connection and closes it, without a word, at the next.
sub closing () {
    my ($socket, $port) = busy();
    fork_server(sub {
        while (my $client = $socket->accept) {
            my $request = sub { my $bytes = ''; while ($bytes !~ /\r\n\r\n\z/) { sysread $client, $bytes, 4096, length $bytes or return } return 1 };
            syswrite $client, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nf " if $request->();
            $request->();
        }
    });
    return $port;
}

done_testing();
