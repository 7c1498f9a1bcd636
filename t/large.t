# Sessions that are far too large: they fail alone, however often they are asked for.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use StoreTest;
use Test::More;

# Longer than any read, and never whole.
my $beginning = 'x' x 200_000;

# Requests many at once, each tenth for the large session 1. The others are all served, each with its own session.
sub all_others_served ($nginx, $what, %how) {
    my ($codes, $wrong) = ({}, 0);
    my $number = sub ($i) { return $i % 10 ? 2 + $i % 20 : 1 };
    many(port => $nginx->port, count => 1000, at_once => 50,
        request => sub ($i) { request($how{path} // '/need', $number->($i)) },
        each    => sub ($i, $response) {
            my $n = $number->($i);
            $codes->{ $n == 1 ? 'large' : 'others' }{ $response->{code} }++;
            $wrong++ if $n != 1 && $response->{body} ne "user=u$n\n";
        });
    is_deeply($codes, { large => { 401 => 100 }, others => { 200 => 900 } }, "$what: the others are served") or diag explain $codes;
    is($wrong, 0, "$what: each with its own session");
    is(header(get($nginx, '/need', 1), 'X-Status'), 'undecodable', "$what: the large one is undecodable");
    is(scalar lines_like($nginx, qr/\[(?:error|alert|crit|emerg)\]| is down/), 0, "$what: nothing is said to have failed")
        or diag explain [lines_like($nginx, qr/\[(?:error|alert|crit|emerg)\]| is down/)];
    is(scalar lines_like($nginx, qr/\d{7,} bytes are more than "max_size"/), 1, "$what: one line says so");
    return;
}

my %head = (
    'a string' => "\$314572800\r\n",
    'a hash'   => "*2\r\n\$4\r\ndata\r\n\$314572800\r\n",
    'a hash of many fields' => "*2000000\r\n",
);
for my $what (sort keys %head) {
    for my $life (0, 1) {
        my $case = $life ? "$what, with its life" : $what;
        subtest $case => sub {
            my $large = [$head{$what} . $beginning, { silence => 1 }];
            my $fake = fake_redis(data => { map { key($_) => session_of($_) } 2 .. 21 },
                on => { GET => sub ($words, $) { return $words->[1] eq key(1) ? $large : undef } });
            my $nginx = session_nginx(url => $fake->url, life => $life, store => 'max_size 64k; retry 0;');
            all_others_served($nginx, $case, path => $life ? '/touch' : '/need');
            my @asked = grep { $_->[1] eq 'GET' && $_->[2] eq key(1) } $fake->commands;
            is(scalar @asked, 1, 'it was asked for once');
            is($fake->connections, 2, 'over a connection that another one took the place of');
        };
    }
}

subtest 'what one worker has met, all know' => sub {
    my $large = [$head{'a string'} . $beginning, { silence => 1 }];
    my $fake  = fake_redis(on => { GET => sub ($words, $) { return $words->[1] eq key(1) ? $large : undef }, STRLEN => ":314572800\r\n" });
    my $nginx = session_nginx(url => $fake->url, workers => 4, http => 'add_header X-Worker $pid always;');
    my %workers = (header(get($nginx, '/need', 1), 'X-Worker') => 1);
    my $until = time + 60;
    while (keys %workers < 2 && time < $until) {
        many(port => $nginx->port, count => 100, at_once => 50, request => sub ($) { request('/need', 1) },
            each => sub ($, $response) { $workers{ header($response, 'X-Worker') }++ });
    }
    cmp_ok(scalar keys %workers, '>', 1, 'several workers were asked');
    is(scalar(grep { $_->[1] eq 'GET' && $_->[2] eq key(1) } $fake->commands), 1, 'it was asked for once');
    cmp_ok($fake->count('STRLEN'), '>=', keys(%workers) - 1, 'the others asked for its length');
};

subtest 'of a logout it is known no longer' => sub {
    my $fake = fake_redis(on => { GET => { sequence => [[$head{"a string"} . $beginning, { silence => 1 }], undef] } },
        data => { key(1) => session_of(1) });
    my $nginx = session_nginx(url => $fake->url);
    is(header(get($nginx, '/need', 1), 'X-Status'), 'undecodable', 'too large') for 1, 2;
    is($fake->count('GET'), 1, 'asked for once');
    is(get($nginx, '/logout', 1, method => 'POST')->{code}, 204, 'a logout');
    $fake->set_data(key(1) => session_of(1));
    is(get($nginx, '/need', 1)->{body}, "user=u1\n", 'what is there then is found');
};

subtest 'a real Redis' => sub {
    my $redis = start_redis();
    put_sessions($redis, 2, 21);
    for my $case (['a string', 'SETRANGE', key(1), 8 << 20, 'x'],
        ['a hash', 'EVAL', "local v = string.rep('x', 40) for i = 1, 40000 do redis.call('HSET', KEYS[1], i, v) end", 1, key(1)]) {
        my ($what, @command) = @$case;
        $redis->cmd('DEL', key(1));
        $redis->cmd(@command);
        my $nginx = session_nginx(url => $redis->url);
        all_others_served($nginx, $what);
    }
};

subtest 'memcached' => sub {
    my $large = sub ($words, $) { return $words->[1] eq key(1) ? ["VALUE $words->[1] 0 314572800\r\n$beginning", { silence => 1 }] : undef };
    my $fake  = fake_memcached(on => { GET => $large }, data => { map { key($_) => session_of($_) } 2 .. 21 });
    my $nginx = session_nginx(url => $fake->url);
    all_others_served($nginx, 'memcached');
    is($fake->connections, 2, 'over a connection that another one took the place of');
};

subtest 'a cluster' => sub {
    my $cluster = start_cluster(masters => 3);
    $cluster->cmd('SET', key($_), session_of($_)) for 2 .. 21;
    $cluster->cmd('SETRANGE', key(1), 8 << 20, 'x');
    $cluster->wait_until_well;
    my $nginx = session_nginx(where => "cluster @{[$cluster->seeds]};");
    # Several lookups of the large session in one batch each end a connection of the node.
    TODO: { local our $TODO = 'a cluster is not asked for lengths'; all_others_served($nginx, 'a cluster'); }
};

done_testing();
