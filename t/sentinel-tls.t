# Sentinels and servers over TLS: the same certificates serve both, each must
# prove to be what it is called, and the master is followed as without.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Certificates qw(certificate_authority);
use SessionRedis::Sentinel;
use StoreTest;
use Test::More;
use Time::HiRes qw(time);

plan skip_all => 'no openssl installed' if !have('openssl');

my $ca    = certificate_authority();
my $good  = $ca->certificate(names => ['redis.test'], ips => ['127.0.0.1']);
my $trust = 'ssl_trusted_certificate ' . $ca->file . '; connect_timeout 5s; timeout 5s;';

my $topology = SessionRedis::Sentinel->start(down_after => 60_000, tls => { ca => $ca, certificate => $good });
put_sessions($topology->master, 1, 9);
$topology->replicated;

sub tls_nginx ($store) { return session_nginx(where => 'sentinel mymaster ' . $topology->hosts . ';', store => $store) }

for my $store ("ssl on; sentinel_ssl on; $trust", "ssl on; sentinel_ssl on; ssl_name redis.test; $trust", 'ssl on; sentinel_ssl on; ssl_verify off; connect_timeout 5s; timeout 5s;') {
    my $nginx = tls_nginx($store);
    is(get($nginx, '/need', 3)->{body}, "user=u3\n", $store =~ s{/\S+}{…}r) or diag $nginx->log;
    is(scalar lines_like($nginx, qr/\[(?:warn|error|crit|alert|emerg)\]/), 0, 'without a complaint') or diag $nginx->log;
    is($nginx->quit, 0, 'leaves');
    is(scalar lines_like($nginx, qr/\[alert\]/), 0, 'without an alert');
}

for my $case (
    ['ssl on; sentinel_ssl off;', qr/Sentinel \S+ cannot be asked: .*is it a TLS port\?/, 'Sentinels without TLS'],
    ['ssl on; sentinel_ssl on; ssl_name other.test;', qr/Sentinel \S+ cannot be asked: TLS certificate/, 'Sentinels of another name'],
    ['ssl off; sentinel_ssl on;', qr/is down: .*is it a TLS port\?/, 'servers without TLS'],
) {
    my ($store, $why, $what) = @$case;
    my $nginx = tls_nginx("$store $trust");
    until_status($nginx, '/need', 1, 503, seconds => 10);
    ok(wait_for(sub { lines_like($nginx, $why) }, what => 'a line'), "$what: the log says why") or diag $nginx->log;
    is(scalar lines_like($nginx, qr/\[(?:crit|alert|emerg)\]/), 0, "$what: nothing worse");
}

subtest 'a failover' => sub {
    my $nginx = tls_nginx("ssl on; sentinel_ssl on; $trust");
    is(get($nginx, '/need', 1)->{code}, 200, 'served at first');
    my $since = time;
    $topology->ask(0, 'SENTINEL', 'FAILOVER', 'mymaster');
    my (undef, $new) = $topology->election($since);
    my $name = "127.0.0.1:$new->{listens}";
    ok(wait_for(sub { (header(get($nginx, '/need', 1), 'X-Server') // '') eq $name }), 'the new master is asked');
    is(get($nginx, '/need', 2)->{body}, "user=u2\n", 'and answers');
};

done_testing();
