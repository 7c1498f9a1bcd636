# Stores over TLS: who is believed, who is not and why the log says so, and
# that all else is as without.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use IO::Socket::INET;
use SessionRedis;
use SessionRedis::Certificates qw(certificate_authority);
use SessionRedis::Process      qw(spawn);
use StoreTest;
use Test::More;
use Time::HiRes qw(sleep);

plan skip_all => 'no openssl installed' if !have('openssl');

my $ca    = certificate_authority();
my $good  = $ca->certificate(names => ['localhost'], ips => ['127.0.0.1']);
my $trust = 'ssl_trusted_certificate ' . $ca->file . ';';

# A real Redis with a TLS port besides, which shows this certificate. %how: what stands in redis.conf.
sub tls_redis ($certificate = $good, %how) {
    my $port  = free_port();
    my $start = delete $how{start} // {};
    my $redis = start_redis(%$start, config => {
        'tls-port' => $port, 'tls-cert-file' => $certificate->{file}, 'tls-key-file' => $certificate->{key},
        'tls-ca-cert-file' => $ca->file, 'tls-auth-clients' => 'no', %how,
    });
    put_sessions($redis, 1, 9);
    return ($redis, $port);
}

sub url ($port, $host = '127.0.0.1') { return "rediss://$host:$port" }

# An nginx with such a store; where a test does not say, an answer may take its time: handshakes do on a busy machine.
sub tls_nginx ($url, $store = $trust, %how) {
    $store .= ' connect_timeout 5s;' if $store !~ /connect_timeout/;
    $store .= ' timeout 5s;' if $store !~ /\btimeout/;
    return session_nginx(url => $url, store => $store, %how);
}

sub is_served ($nginx, $what) {
    is(get($nginx, '/need', 3)->{body}, "user=u3\n", $what) or diag $nginx->log;
    is(scalar lines_like($nginx, qr/\[(?:warn|error|crit|alert|emerg)\]/), 0, 'the log has nothing to say') or diag $nginx->log;
    return;
}

# Requests fail, and one line says why.
sub is_refused ($nginx, $why, $what) {
    is(get($nginx, '/need', 3)->{code}, 503, "$what: 503");
    is(get($nginx, '/pass', 3)->{body}, "user=\n", "$what: no user");
    my @lines = lines_like($nginx, qr/session store "s" is down/);
    is(scalar @lines, 1, "$what: one line") or diag $nginx->log;
    like($lines[0] // '', qr/\[error\] .* session store "s" is down: $why, server: [\w.]+:\d+\z/, "$what: says why");
    is(scalar lines_like($nginx, qr/\[(?:crit|alert|emerg)\]/), 0, "$what: nothing worse") or diag $nginx->log;
    return;
}

subtest 'a good one' => sub {
    my ($redis, $port) = tls_redis();
    my $nginx = tls_nginx(url($port));
    is_served($nginx, 'by its address');
    is(header(get($nginx, '/need', 1), 'X-Server'), "127.0.0.1:$port", 'over the TLS port');
    is_served(tls_nginx(url($port, 'localhost')), 'by its name');
    is_served(tls_nginx("redis://127.0.0.1:$port", "$trust ssl on;"), 'with "ssl on" beside redis://');
    is_served(tls_nginx(url($port), "$trust ssl_name localhost;"), 'by another name');
    is_served(tls_nginx(url($port), "$trust ssl_protocols TLSv1.2; ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256; ssl_verify_depth 0;"), 'with a cipher and no intermediate');
    $redis->cmd('FLUSHALL');
    is(get($nginx, '/need', 1)->{code}, 401, 'a session that is not there');
};

subtest 'authorities of the system' => sub {
    my (undef, $port) = tls_redis();
    is_refused(tls_nginx(url($port), ''), qr/TLS certificate verify failed \(19: self[- ]signed certificate in certificate chain\), is its CA in "ssl_trusted_certificate"\?/, 'not among them');
    local $ENV{SSL_CERT_FILE} = $ca->file;
    is_served(tls_nginx(url($port), ''), 'among them');
    my $nginx = session_nginx(url => 'redis://127.0.0.1:1', server => "location /anonymous { session_redis @{[url($port)]}; session_redis_set_header X-User \@user; proxy_pass http://127.0.0.1:@{[StoreTest::backend()]}; }");
    until_status($nginx, '/anonymous', 3, 200);
    wait_for(sub { get($nginx, '/anonymous', 3)->{body} eq "user=u3\n" }, what => 'a session of the url');
    pass('in "session_redis rediss://…" too');
};

subtest 'an intermediate authority' => sub {
    my $first  = certificate_authority(signed_by => $ca);
    my $second = certificate_authority(signed_by => $first);
    my (undef, $port) = tls_redis($first->certificate(ips => ['127.0.0.1']));
    is_served(tls_nginx(url($port)), 'one is fine');
    is_refused(tls_nginx(url($port), "$trust ssl_verify_depth 0;"), qr/TLS certificate verify failed \(22: certificate chain too long\), is "ssl_verify_depth" enough\?/, 'unless there may be none');

    my $pair = $second->certificate(ips => ['127.0.0.1']);
    SessionRedis::Certificates::append($pair->{file}, $first->file);
    (undef, $port) = tls_redis($pair);
    is_refused(tls_nginx(url($port)), qr/TLS certificate verify failed \(22: certificate chain too long\), is "ssl_verify_depth" enough\?/, 'two are more than the default');
    is_served(tls_nginx(url($port), "$trust ssl_verify_depth 2;"), 'unless there may be two');
};

# Who is not believed: certificate, host of the url, what the log says.
my $other = certificate_authority();
my $named = $ca->certificate(names => ['redis.example.org', '*.example.net']);
my %wrong = (
    'expired'               => [$ca->certificate(ips => ['127.0.0.1'], expired => 1), '127.0.0.1', qr/TLS certificate verify failed \(10: certificate has expired\)/],
    'of another name'       => [$named, 'localhost', qr/TLS certificate does not match "localhost"/],
    'of another address'    => [$ca->certificate(names => ['127.0.0.1'], ips => ['127.0.0.2']), '127.0.0.1', qr/TLS certificate does not match "127\.0\.0\.1"/],
    'of an unknown CA'      => [$other->certificate(ips => ['127.0.0.1']), '127.0.0.1', qr/TLS certificate verify failed \(20: unable to get local issuer certificate\), is its CA in "ssl_trusted_certificate"\?/],
    'self-signed'           => [$ca->certificate(ips => ['127.0.0.1'], self_signed => 1), '127.0.0.1', qr/TLS certificate verify failed \(18: self[- ]signed certificate\), is its CA in "ssl_trusted_certificate"\?/],
);
for my $what (sort keys %wrong) {
    subtest "a certificate that is $what" => sub {
        my ($certificate, $host, $why) = $wrong{$what}->@*;
        my ($redis, $port) = tls_redis($certificate);
        my $nginx = tls_nginx(url($port, $host));
        is_refused($nginx, $why, $what);
        is($redis->info('commandstats')->{cmdstat_get}, undef, 'nothing was asked');
        is_served(tls_nginx(url($port, $host), 'ssl_verify off;'), 'served where it is not verified');
        is($nginx->quit, 0, 'leaves well');
    };
}

subtest 'a name to verify' => sub {
    my (undef, $port) = tls_redis($named);
    is_served(tls_nginx(url($port), "$trust ssl_name redis.example.org;"), 'ssl_name');
    is_served(tls_nginx(url($port), "$trust ssl_name redis-7.example.net;"), 'by a wildcard');
    is_refused(tls_nginx(url($port), "$trust ssl_name redis.example.com;"), qr/TLS certificate does not match "redis\.example\.com"/, 'another');
    my $upstream = "upstream block { server 127.0.0.1:$port; }";
    is_served(tls_nginx('rediss://block', "$trust ssl_name redis.example.org;", http => $upstream), 'of the servers of an upstream block');
    is_refused(tls_nginx('rediss://block', $trust, http => $upstream), qr/TLS certificate does not match "block"/, 'else that of the block');
    my $dns = fake_dns('redis.example.org' => ['127.0.0.1']);
    is_served(tls_nginx(url($port, 'redis.example.org'), "$trust resolver 127.0.0.1:@{[$dns->port]} ipv6=off;"), 'one that is resolved at run time');
};

subtest 'client certificates' => sub {
    my (undef, $port) = tls_redis($good, 'tls-auth-clients' => 'yes');
    my $pair  = sub ($certificate) { "$trust ssl_certificate $certificate->{file}; ssl_certificate_key $certificate->{key};" };
    my $asked = qr/(?:TLS handshake failed \(tlsv13 alert certificate required\))/;
    is_refused(tls_nginx(url($port)), $asked, 'required, and none is given');
    is_refused(tls_nginx(url($port), "$trust ssl_protocols TLSv1.2;"), qr/TLS handshake failed \((?:sslv3|ssl\/tls) alert handshake failure\)/, 'the same by TLS 1.2');
    is_served(tls_nginx(url($port), $pair->($ca->certificate(names => ['nginx']))), 'given');
    is_refused(tls_nginx(url($port), $pair->($other->certificate(names => ['nginx']))), qr/TLS handshake failed \(tlsv1 alert unknown ca\)/, 'of a CA that the server does not know');
};

subtest 'a server without TLS' => sub {
    my $redis = start_redis();
    is_refused(tls_nginx(url($redis->port), "$trust connect_timeout 200ms; timeout 3s;"), qr/TLS handshake timed out, is it a TLS port\?/, 'Redis');
    my $http = fake_redis(on => { connect => "HTTP/1.1 400 Bad Request\r\n\r\n" });
    is_refused(tls_nginx(url($http->port)), qr/TLS handshake failed \((?:wrong version number|packet length too long)\), is it a TLS port\?/, 'one that speaks HTTP');
};

subtest 'no TLS to a TLS port' => sub {
    my (undef, $port) = tls_redis();
    is_refused(session_nginx(url => "redis://127.0.0.1:$port", store => 'timeout 5s;'),
        qr/(?:server closed the connection without|connection broke \(104: Connection reset by peer\) before) a word, is it a TLS port\?/, 'is told');
};

# How a server can fail in the handshake.
my %mute = (
    'never accepted'        => [[listen => 'never'], qr/TLS handshake timed out, is it a TLS port\?/],
    'accepted, then silent' => [[on => { '*' => [{ silence => 1 }] }], qr/TLS handshake timed out, is it a TLS port\?/],
    'accepted, then closed' => [[on => { connect => { close => 1 } }], qr/server closed the connection in the TLS handshake/],
    'accepted, then reset'  => [[on => { connect => { reset => 1 } }], qr/(?:server closed the connection in the TLS handshake|connect\(\) failed \(104: .*\))/],
);
for my $what (sort keys %mute) {
    subtest "a handshake: $what" => sub {
        my ($how, $why) = $mute{$what}->@*;
        my $fake  = fake_redis(@$how);
        my $nginx = session_nginx(url => url($fake->port), store => "$trust connect_timeout 200ms; timeout 10s;");
        cmp_ok((seconds { is_refused($nginx, $why, $what) }), '<', 5, 'at the end of the connect');
        is($nginx->quit, 0, 'leaves well');
    };
}

subtest 'a handshake that is cut somewhere' => sub {
    my (undef, $port) = tls_redis();
    for my $how (qw(close reset)) {
        my $chaos = chaos_proxy(to => $port, seed => 3, direction => 'reply', $how => 1);
        my $nginx = tls_nginx(url($chaos->port));
        is_refused($nginx, qr/server closed the connection in the TLS handshake/, $how);
        $chaos->set($how => 0);
        cmp_ok(until_found($nginx, 1), '<', 5, 'served when it is no more');
        is(scalar lines_like($nginx, qr/session store "s" is back/), 1, 'one line says so');
        is(scalar lines_like($nginx, qr/\[(?:crit|alert|emerg)\]/), 0, 'nothing worse');
    }
};

subtest 'connections that end without a word' => sub {
    my ($redis, $port) = tls_redis();
    my $chaos = chaos_proxy(to => $port);
    my $nginx = tls_nginx(url($chaos->port));
    for my $how ([], [reset => 1]) {
        for my $n (1 .. 5) {
            is(get($nginx, '/need', $n)->{body}, "user=u$n\n", 'served');
            $chaos->close_all(@$how);
        }
    }
    is(get($nginx, '/need', 6)->{code}, 200, 'each time');
    is(scalar lines_like($nginx, qr/\[(?:warn|error|crit|alert|emerg)\]/), 0, 'nobody notices') or diag $nginx->log;
    $redis->cmd('CLIENT', 'KILL', 'TYPE', 'NORMAL', 'SKIPME', 'YES');
    is(get($nginx, '/need', 7)->{code}, 200, 'nor when the server ends it');
    $redis->down;
    is(get($nginx, '/need', 7)->{code}, 503, 'down');
    $redis->up;
    put_sessions($redis, 1, 9);
    cmp_ok(until_found($nginx, 1), '<', 5, 'and back');
};

subtest 'protocols and ciphers' => sub {
    my (undef, $port) = tls_redis($good, 'tls-protocols' => 'TLSv1.3');
    is_served(tls_nginx(url($port)), 'TLS 1.3 by default');
    is_refused(tls_nginx(url($port), "$trust ssl_protocols TLSv1.2;"), qr/TLS handshake failed \(tlsv1 alert protocol version\)/, 'TLS 1.2 only, of which the server knows nothing');
    (undef, $port) = tls_redis($good, 'tls-protocols' => 'TLSv1.2', 'tls-ciphers' => 'ECDHE-ECDSA-AES256-GCM-SHA384');
    is_served(tls_nginx(url($port)), 'TLS 1.2 by default');
    is_refused(tls_nginx(url($port), "$trust ssl_protocols TLSv1.3;"), qr/TLS handshake failed \(tlsv1 alert protocol version\)/, 'TLS 1.3 only');
    is_refused(tls_nginx(url($port), "$trust ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256;"), qr/TLS handshake failed \((?:sslv3|ssl\/tls) alert handshake failure\)/, 'no cipher in common');
};

subtest 'one byte at a time' => sub {
    my ($redis, $port) = tls_redis();
    my $chaos = chaos_proxy(to => $port, split => 1);
    my $nginx = tls_nginx(url($chaos->port));
    is(get($nginx, '/need', $_)->{body}, "user=u$_\n", "session $_") for 1 .. 9;
    $redis->cmd('SET', key(10), sprintf '{"pad":"%s","user":"u10"}', 'x' x 40_000);
    is(get($nginx, '/need', 10)->{body}, "user=u10\n", 'a long one');
};

subtest 'with a password, a database, a user, several servers' => sub {
    my @redis = map {
        my ($redis, $port) = tls_redis($named, start => { password => 's3cret' });
        $redis->cmd('SELECT', 3);
        put_sessions($redis, 1, 9);
        { redis => $redis, port => $port };
    } 1 .. 2;
    my $file  = temp_dir() . '/password';
    SessionRedis::Certificates::spew($file, "s3cret\n");
    chmod 0640, $file;
    my $block = 'upstream block { ' . join('', map { "server 127.0.0.1:$_->{port};" } @redis) . ' }';
    my $nginx = tls_nginx('rediss://default@block/3', "$trust ssl_name redis.example.org; password_file $file;", http => $block);
    $_->{redis}->cmd('SELECT', 0), $_->{redis}->cmd('FLUSHDB') for @redis;
    is(get($nginx, '/need', $_)->{body}, "user=u$_\n", "session $_") for 1 .. 9;
    $redis[0]{redis}->down;
    is(get($nginx, '/need', $_)->{body}, "user=u$_\n", 'of the other server') for 1 .. 4;
    is(scalar lines_like($nginx, qr/a server of session store "s" is down/), 1, 'one line');
    is(scalar lines_like($nginx, qr/s3cret/), 0, 'without a password');
    is_refused(tls_nginx('rediss://block', "$trust ssl_name redis.example.org; password wrong;", http => "upstream block { server 127.0.0.1:$redis[1]{port}; }"), qr/server answered "WRONGPASS .*" to AUTH/, 'a wrong password');
};

# A server that says what real ones do not.
sub witness (@version) {
    my ($port, $log) = (free_port(), temp_dir() . '/log');
    spawn(['python3', "$FindBin::Bin/lib/tls-redis.py", $port, $named->{file}, $named->{key}, $log, @version], log => "$log.err");
    wait_for(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) }, what => 'the witness', seconds => 10);
    my $said = sub () { open my $in, '<', $log or return ''; local $/; return <$in> // '' };
    return ($port, $said);
}

for my $version ('TLSv1_3', 'TLSv1_2') {
    subtest "sessions are gone on with, $version" => sub {
        plan skip_all => 'no python3 installed' if !have('python3');
        my ($port, $said) = witness($version);
        my $shown = $version =~ s/_/./r;
        my $chaos = chaos_proxy(to => $port);
        my $nginx = tls_nginx(url($chaos->port), "$trust ssl_name redis.example.org;");
        for my $n (1 .. 4) {
            is(get($nginx, '/need', $n)->{body}, "user=u$n\n", 'served');
            $chaos->close_all;
        }
        is($said->(), "name=redis.example.org reused=False version=$shown\n" . "name=redis.example.org reused=True version=$shown\n" x 3,
            'after the first handshake they are short; the server is told its name');
    };
}

subtest 'no address is told as a name' => sub {
    plan skip_all => 'no python3 installed' if !have('python3');
    my ($port, $said) = witness();
    is(get(tls_nginx(url($port), 'ssl_verify off;'), '/need', 2)->{code}, 200, 'served');
    like($said->(), qr/\Aname=None reused=False/, 'without a name');
};

# The session of the last connection is no proof of who the server is now.
subtest 'a server that is another one now' => sub {
    my $now = temp_dir();
    my $becomes = sub ($certificate) { system 'cp', $certificate->{$_}, "$now/$_" for qw(file key) };
    $becomes->($good);
    my ($redis, $port) = tls_redis({ map { $_ => "$now/$_" } qw(file key) });
    my $nginx = tls_nginx(url($port));
    is_served($nginx, 'at first');
    $becomes->($ca->certificate(ips => ['127.0.0.2']));
    $redis->down;
    $redis->up;
    put_sessions($redis, 1, 9);
    until_status($nginx, '/need', 1, 503);
    sleep 1.5;
    is(get($nginx, '/need', 1)->{code}, 503, 'not believed by the probes either');
    is($redis->info('commandstats')->{cmdstat_get}, undef, 'nor asked');
    $becomes->($good);
    $redis->down;
    $redis->up;
    put_sessions($redis, 1, 9);
    cmp_ok(until_found($nginx, 1), '<', 5, 'the first one is');
};

subtest 'many at once' => sub {
    my ($redis, $port) = tls_redis();
    $redis->cmd('SET', key($_), sprintf '{"pad":"%s","user":"u%d"}', 'x' x ($_ * 97 % 60_000), $_) for 1 .. 300;
    my $chaos = chaos_proxy(to => $port, seed => 5, split => 0.02, delay => 0.02, close => 0.003, reset => 0.003);
    my $nginx = tls_nginx(url($chaos->port), "$trust connections 3; retry 3;", log_level => 'warn');
    my %count = (right => 0, wrong => 0);
    my $result = many(port => $nginx->port, count => 3000, at_once => 32, timeout => 30, request => sub ($i) { request('/need', 1 + $i % 300) },
        each => sub ($i, $response) { $count{ $response->{body} eq "user=u@{[1 + $i % 300]}\n" ? 'right' : 'wrong' }++ if $response->{code} == 200 });
    is($count{wrong}, 0, 'never a wrong user');
    cmp_ok($count{right}, '>', 1500, 'mostly the right one') or diag explain $result;
    is($result->{lost} + $result->{timed_out} + $result->{refused}, 0, 'each is answered');
    is(scalar lines_like($nginx, qr/\[(?:crit|alert|emerg)\]/), 0, 'nothing worse than errors') or diag join "\n", lines_like($nginx, qr/\[(?:crit|alert|emerg)\]/);
};

# More is written than the network takes, while more is asked: OpenSSL must be told that a buffer may move.
subtest 'a server that does not read' => sub {
    my ($redis, $port) = tls_redis();
    my $chaos = chaos_proxy(to => $port, receive => 65_536);
    my $long  = 'x' x 3500;
    my $nginx = tls_nginx(url($chaos->port), "$trust timeout 20s; max_pending 10000; retry 0;", worker_connections => 4096, log_level => 'warn',
        server => "location /long { session_redis_key sess:${long}\$session_redis_id; session_redis_set_header X-User \@user; proxy_pass http://127.0.0.1:@{[StoreTest::backend()]}; }");
    is(get($nginx, '/need', 1)->{code}, 200, 'at first it does');
    freeze($chaos->pid);
    my @clients = map { open_connection($nginx->port) } 1 .. 1500;
    for my $n (0 .. $#clients) {
        syswrite $clients[$n], request('/long', $n);
        sleep 0.0005;
    }
    sleep 0.5;
    thaw($chaos->pid);
    my %codes;
    $codes{ read_response($_)->{code} }++ for @clients;
    is_deeply(\%codes, { 200 => 1500 }, 'all is written and answered when it does again');
    is(scalar lines_like($nginx, qr/\[(?:error|crit|alert|emerg)\]/), 0, 'nothing broke') or diag join "\n", lines_like($nginx, qr/is down/);
    is($chaos->counts->{connections}, 1, 'on one connection');
};

subtest 'nothing is left of connections that are over' => sub {
    my (undef, $port) = tls_redis();
    my $chaos = chaos_proxy(to => $port);
    my $nginx = tls_nginx(url($chaos->port));
    my $again = sub ($times) {
        for my $n (1 .. $times) {
            is(get($nginx, '/need', 1)->{code}, 200, 'served') if $n % 100 == 0;
            get($nginx, '/need', 1);
            $chaos->close_all;
        }
    };
    $again->(200);
    my $before = $nginx->resident_kb;
    $again->(400);
    keeps_its_size($nginx, $before);
    my ($worker) = $nginx->workers;
    cmp_ok(scalar(() = glob "/proc/$worker/fd/*"), '<', 40, 'no descriptor is left');
};

subtest 'reloads under load' => sub {
    my ($redis, $port) = tls_redis();
    my $nginx = tls_nginx(url($port), "$trust connections 2;", workers => 2);
    my $load = sub ($path, $reloads) {
        my ($wrong, $done, @old) = (0, 0);
        my $result = many(port => $nginx->port, count => 300 * $reloads, at_once => 16, timeout => 30, request => sub ($i) { request($path, 1 + $i % 9) },
            each => sub ($i, $response) {
                $wrong++ if $path ne '/plain' && $response->{body} ne "user=u@{[1 + $i % 9]}\n";
                push @old, $nginx->reload if ++$done % 300 == 150;
            });
        return ($result->{lost} + $result->{refused} + $result->{timed_out}, $wrong, $result, @old);
    };
    my ($floor) = $load->('/plain', 5);
    my ($lost, $wrong, $result, @old) = $load->('/need', 5);
    is($wrong, 0, 'no wrong answer');
    is_deeply([keys $result->{codes}->%*], [200], 'every answer is a good one') or diag explain $result->{codes};
    cmp_ok($lost, '<=', $floor, "no request is lost (nginx itself: $floor)");
    ok($nginx->gone(\@old), 'the old workers are gone');
    ok(wait_for(sub { $redis->info('clients')->{connected_clients} <= 5 }), 'their connections too');
    is($nginx->quit, 0, 'leaves in the end');
    is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]/), 0, 'without an alert') or diag $nginx->log;
};

subtest 'leaving in mid-handshake' => sub {
    my $fake  = fake_redis(listen => 'never');
    my $nginx = session_nginx(url => url($fake->port), store => "$trust timeout 700ms; connect_timeout 5s;");
    my ($old) = $nginx->workers;
    my @clients = map { open_connection($nginx->port) } 1 .. 3;
    syswrite $_, request('/need', 1) for @clients;
    sleep 0.2;
    $nginx->reload;
    is_deeply([map { read_response($_)->{code} } @clients], [503, 503, 503], 'those who wait are answered');
    ok($nginx->gone([$old], 5), 'and the worker is gone');
    is($nginx->quit, 0, 'all of it');
    is(scalar lines_like($nginx, qr/\[alert\]/), 0, 'no alert');
};

done_testing();
