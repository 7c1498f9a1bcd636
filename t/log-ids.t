# What the module writes into the error log about a request: no id that stands in an address, in whatever form nginx
# would show it; and no line a request where one a minute will do.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Resp qw(bulk error);
use StoreTest qw(lines_like);
use Test::More;

my $id   = 'SECRET0123456789abcd.node1';
my $fake = fake_redis(on => { GET => bulk(qq({"user":"a\\r\\nb","name":"ok"})) });
my $sick = fake_redis(on => { GET => error('NOPERM this user has no permissions') });
my $dead = free_port();
my $backend = '127.0.0.1:' . StoreTest::backend();

# All kinds of lines that the module has about a request.
my %lines = (
    refused => qr/\[info\].*session id refused: /,
    unsent  => qr/\[warn\].*session_redis_set_header X-User: not sent, /,
    early   => qr/\[warn\].*session variable "\w+" is read before the lookup/,
    failed  => qr/\[error\].*NOPERM.* while reading session from store/,
    ending  => qr/\[error\].*NOPERM.* while ending session in store/,
    down    => qr/\[debug\].*session store "\S+" is down/,
    strict  => qr/\[error\].*the server of the session cannot be had, and no other will do/,
    gone    => qr/\[debug\].*the server of the session is down or gone/,
    logout  => qr/\[warn\].*session_redis_destroy: refused, /,
);
my $own = join '|', values %lines;

sub log_nginx ($ids, %how) {
    my $port = $fake->port;
    return start_nginx(
        log_level => 'debug',
        http => <<~"END",
            session_redis           redis://127.0.0.1:$port;
            session_redis_framework raw;
            session_redis_id        $ids;
            session_redis_key       sess:\$session_redis_id;
            session_redis_format    json;
            session_redis_user      /name;
            upstream strict  { server 127.0.0.1:$dead down; server $backend; session_redis_sticky strict; session_redis_route_name node1 127.0.0.1:$dead; }
            upstream gone    { server $backend; session_redis_sticky; }
            END
        server => <<~"END" . ($how{server} // ''),
            set \$early '';
            location /unsent  { session_redis_set_header X-User /user; return 204; }
            location /unsent/proxied { session_redis_set_header X-User /user; proxy_pass http://$backend; }
            location /pass    { session_redis_set_header X-User \@user; proxy_pass http://$backend; }
            location /early   { set \$early \$session_redis_user; session_redis_require \@user; proxy_pass http://$backend; }
            location /failed  { session_redis redis://127.0.0.1:@{[$sick->port]}; session_redis_require \@user; proxy_pass http://$backend; }
            location /down    { session_redis redis://127.0.0.1:$dead; session_redis_require \@user; proxy_pass http://$backend; }
            location /ending  { session_redis redis://127.0.0.1:@{[$sick->port]}; session_redis_destroy; }
            location /strict  { session_redis_route jvmroute; proxy_pass http://strict; }
            location /gone    { session_redis_route jvmroute; proxy_pass http://gone; }
            location /part    { session_redis_route jvmroute; auth_request /strict/auth; proxy_pass http://$backend; }
            END
    );
}

sub lines_of ($nginx) { return grep { /$own/ && !/\[debug\].*http (?:script|header|request|upstream|proxy)/ } split /\n/, $nginx->log }

# An address with an id where it is looked for.
sub address ($ids, $path, $id) { return $ids =~ /path/ ? "$path;x;sid=$id?a=b" : "$path;x?a=b&sid=$id&c" }

sub ask ($nginx, $ids, $path, %how) {
    my $referrer = 'Referer: http://localhost' . address($ids, '/before', $id);
    return http($nginx->port, address($ids, $path, $how{id} // $id), headers => [$referrer, ($how{headers} // [])->@*], method => $how{method} // 'GET');
}

$sick->on(DEL => error('NOPERM this user has no permissions'));

for my $ids ('arg:sid', 'path:sid', '$arg_sid', '$early_id') {
    subtest "ids by $ids" => sub {
        my $nginx = log_nginx($ids, server => "set \$early_id \$arg_sid;\n");
        my @kinds = qw(refused unsent early failed ending down strict gone logout);
        ask($nginx, $ids, '/pass', id => "$id!!");
        ask($nginx, $ids, $_) for '/unsent/proxied', '/early', '/failed', '/down', '/down', '/strict', '/gone', '/part';
        ask($nginx, $ids, '/ending', method => 'POST');
        ask($nginx, $ids, '/ending', method => 'POST', headers => ['Sec-Fetch-Site: cross-site']);
        my @lines = lines_of($nginx);
        for my $kind (@kinds) {
            next if $kind =~ /gone|down/ && !grep { /\[debug\]/ } split /\n/, $nginx->log;
            ok(scalar(grep { /$lines{$kind}/ } @lines), "there is a line: $kind");
        }
        is(scalar(grep { /SECRET/ } @lines), 0, 'none shows the id') or diag explain [grep { /SECRET/ } @lines];
        my ($line) = grep { /$lines{unsent}/ } @lines;
        my $shown  = $ids eq '$early_id' ? '***' : address($ids, '/unsent/proxied', '***');
        my $before = $ids eq '$early_id' ? '***' : 'http://localhost' . address($ids, '/before', '***');
        like($line, qr/; 1 requests, client: 127\.0\.0\.1, server: , request: "GET \Q$shown\E HTTP\/1\.1", host: "localhost", referrer: "\Q$before\E"/, 'all else is there');
        is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]|panicked/), 0, 'nothing worse');
    };
}

subtest 'nothing is masked that holds no id' => sub {
    my $nginx = log_nginx('cookie:sid');
    http($nginx->port, '/unsent/proxied?sid=PUBLIC', headers => ["Cookie: sid=$id", 'Referer: http://localhost/x?sid=PUBLIC']);
    my ($line) = grep { /$lines{unsent}/ } lines_of($nginx);
    like($line, qr{request: "GET /unsent/proxied\?sid=PUBLIC HTTP/1\.1", host: "localhost", referrer: "http://localhost/x\?sid=PUBLIC"}, 'nginx shows the request as ever');
};

subtest 'a line once a minute' => sub {
    my $nginx = log_nginx('arg:sid');
    my $many  = sub ($path, @headers) {
        many(port => $nginx->port, count => 200, request => sub ($) { SessionRedis::Http::request_bytes(address('arg:sid', $path, $id), headers => [@headers], method => @headers ? 'POST' : 'GET') });
    };
    for my $case (['unsent', '/unsent/proxied'], ['strict', '/strict'], ['logout', '/ending', 'Origin: https://evil.example']) {
        my ($kind, $path, @headers) = @$case;
        $many->($path, @headers);
        my @lines = lines_like($nginx, $lines{$kind});
        is(scalar @lines, 1, "$kind: one line for 200 requests");
        like($lines[0], qr/\b1 requests\b/, 'with the count');
    }
};

done_testing();
