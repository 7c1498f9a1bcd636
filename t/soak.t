# Minutes of chaos, over all kinds of stores at once: servers are killed and
# frozen, connections broken, masters elected, nginx reloaded, at random, while
# clients ask all the time. Nobody gets the session of another, nothing crashes,
# nothing is left behind, and in the end all is as it was.
#
#     SESSION_REDIS_SOAK=10 prove -v t/soak.t
#
# Its value is how many minutes; without it the test is skipped. SESSION_REDIS_SEED=n draws again what a run drew that
# showed this seed.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Certificates qw(certificate_authority);
use SessionRedis::Process      qw(fork_server);
use SessionRedis::Sentinel;
use StoreTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $minutes = $ENV{SESSION_REDIS_SOAK} or plan skip_all => 'SESSION_REDIS_SOAK=<minutes> runs it';
plan skip_all => 'no openssl installed'   if !have('openssl');
plan skip_all => 'no memcached installed' if !have('memcached');
my $seed = $ENV{SESSION_REDIS_SEED} // int rand 1_000_000;
diag "SESSION_REDIS_SEED=$seed";

use constant { USERS => 200, STRANGERS => 10, LIFE => 86_400 };

# What it may take until Sentinels or a cluster are whole again, on a machine that has other things to do.
use constant RECOVERS => 150;

# A session that was put back is found at once: what an answer may be late.
use constant SOON => 0.1;

# The value of the n-th session of a store names both; the keys are the same in all stores. Of all sizes, so that
# replies fall on every boundary of a read.
sub value ($store, $n) { return sprintf '{"pad":"%s","user":"%s-u%d"}', 'x' x ($n * 37 % 3000), $store, $n }

# Stores. For each: where it is, as nginx is told; "put", which writes its sessions; "done", what may be done to it, each
# a sub that begins it and returns the steps that follow: subs that are called until they say true.
my %store;
my %count;     # of what was done
my %lost;      # of a store: [from, to] while its sessions were gone
my %broken;    # of a store: [from, to] while something was done to it

# Numbers from 0 to 1 of its own for each store, so that what is drawn does not depend on who comes first.
sub dice ($name) {
    my $state = $seed;
    $state = ($state * 31 + ord) % 2**31 for split //, $name;
    my $roll = sub () { $state = ($state * 1_103_515_245 + 12_345) % 2**31; return $state / 2**31 };
    $roll->() for 1 .. 9;
    return $roll;
}

sub one_of ($roll, @things) { return $things[ $roll->() * @things ] }

sub pause ($seconds) {
    my $end;
    return sub { $end //= time + $seconds; time >= $end };
}

# Until servers, which may not answer yet, say so.
sub until_true ($question) {
    my $next = 0;
    return sub {
        return 0 if time < $next;
        $next = time + 0.25;
        return eval { $question->() };
    };
}

sub step ($code) {
    return sub { $code->(); 1 };
}

# What may be done to a server that stands alone: its sessions are lost, and put back.
sub kill_alone ($name, $server) {
    return sub ($roll) {
        push $lost{$name}->@*, my $span = [time, 9e9];
        $server->down;
        return (
            pause(0.1 + 2 * $roll->()), step(sub { $server->up }),
            pause(0.3 * $roll->()), step(sub { $store{$name}{put}->(); $span->[1] = time }),
        );
    };
}

sub freeze_alone ($server) {
    return sub ($roll) {
        $server->freeze;
        return (pause(0.2 + 1.8 * $roll->()), step(sub { $server->thaw }));
    };
}

sub disconnect ($server) {
    $server->cmd('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    return ();
}

sub put_into ($name, $redis) {
    $redis->cmd('SET', key($_), value($name, $_), 'EX', LIFE) for 1 .. USERS;
    return;
}

# One Redis, in a bad network.
my %usual  = (delay => 0.01, split => 0.02, close => 0, reset => 0, refuse => 0, delay_time => [0.001, 0.02]);
my $redis  = start_redis();
my $proxy  = chaos_proxy(to => $redis->port, seed => $seed, %usual);
$store{proxy} = {
    where => "server @{[$proxy->url]}; connections 2;",
    put   => sub { put_into('proxy', $redis) },
    done  => {
        kill    => kill_alone('proxy', $redis),
        freeze  => freeze_alone($redis),
        close   => sub ($roll) { $proxy->close_all; () },
        reset   => sub ($roll) { $proxy->close_all(reset => 1); () },
        network => sub ($roll) {
            my ($what, %worse) = one_of($roll, ['delay', delay => 0.3, delay_time => [0.01, 0.4]], ['reset', reset => 0.02, close => 0.02],
                ['refuse', refuse => 0.5, close => 0.05], ['all', delay => 0.05, delay_time => [0.01, 0.4], reset => 0.01, close => 0.01, refuse => 0.2])->@*;
            $count{proxy}{"network $what"}++;
            $proxy->set(%worse);
            return (pause(1 + 2 * $roll->()), step(sub { $proxy->set(%usual) }));
        },
    },
};

# One with a near-cache.
my $cached = start_redis(env => 'CACHED');
$store{cache} = {
    where    => "server @{[$cached->url]}; cache 1m stale=5s;",
    location => 'session_redis_on_error stale;',
    put      => sub { put_into('cache', $cached) },
    done     => { kill => kill_alone('cache', $cached), freeze => freeze_alone($cached), disconnect => sub ($roll) { disconnect($cached) } },
};

# One over TLS.
my $ca       = certificate_authority();
my $pair     = $ca->certificate(ips => ['127.0.0.1']);
my $tls_port = free_port();
my $tls      = start_redis(env => 'TLS', config => {
    'tls-port' => $tls_port, 'tls-cert-file' => $pair->{file}, 'tls-key-file' => $pair->{key}, 'tls-ca-cert-file' => $ca->file, 'tls-auth-clients' => 'no',
});
$store{tls} = {
    where => "server rediss://127.0.0.1:$tls_port; ssl_trusted_certificate @{[$ca->file]}; connect_timeout 1s;",
    put   => sub { put_into('tls', $tls) },
    done  => { kill => kill_alone('tls', $tls), freeze => freeze_alone($tls), disconnect => sub ($roll) { disconnect($tls) } },
};

# Sentinels, a master and two replicas. Whoever was master when it was killed stays away until another is.
my $sentinel = SessionRedis::Sentinel->start;
my $formed   = sub { $sentinel->is_formed && !grep { $_->cmd('DBSIZE') != USERS } $sentinel->{servers}->@* };
$store{sentinel} = {
    where => 'sentinel mymaster ' . $sentinel->hosts . ';',
    put   => sub { put_into('sentinel', $sentinel->master); $sentinel->replicated },
    done  => {
        'kill master' => sub ($roll) {
            my ($since, $master) = (time, $sentinel->master);
            $master->down;
            return (
                until_true(sub { scalar grep { $_->[0] > $since && $_->[2] eq '+switch-master' } $sentinel->events }),
                pause(2 * $roll->()), step(sub { $master->up }), until_true($formed),
            );
        },
        'kill replica' => sub ($roll) {
            my $replica = one_of($roll, $sentinel->others($sentinel->master));
            $replica->down;
            return (pause(2 * $roll->()), step(sub { $replica->up }), until_true($formed));
        },
        'kill sentinel' => sub ($roll) {
            my $at = int 3 * $roll->();
            $sentinel->down($at);
            return (pause(3 * $roll->()), step(sub { $sentinel->up($at) }), until_true($formed));
        },
        freeze => sub ($roll) { return (freeze_alone(one_of($roll, $sentinel->{servers}->@*))->($roll), pause(1), until_true($formed)) },
        disconnect => sub ($roll) { disconnect($sentinel->master) },
        failover => sub ($roll) {
            my $since = time;
            # Not so soon after another, it may say.
            eval { $sentinel->ask(int 3 * $roll->(), 'SENTINEL', 'FAILOVER', 'mymaster') } or return ();
            return (until_true(sub { time > $since + 20 || grep { $_->[0] > $since && $_->[2] eq '+switch-master' } $sentinel->events }), until_true($formed));
        },
    },
};

# A cluster, of which replicas are read. The same there.
my $cluster = start_cluster();
my $well    = sub {
    my $keys = 0;
    $keys += $_->cmd('DBSIZE') for $cluster->nodes;
    return $keys == 2 * USERS && $cluster->is_well;
};
my $kind = sub ($role) { grep { $_->info('replication')->{role} eq $role } $cluster->nodes };
$store{cluster} = {
    where => 'cluster ' . $cluster->seeds . '; read_from replica;',
    put   => sub { $cluster->cmd('SET', key($_), value('cluster', $_), 'EX', LIFE) for 1 .. USERS; wait_for($well, seconds => 30) },
    done  => {
        'kill master' => sub ($roll) {
            my $master = one_of($roll, $kind->('master'));
            my ($slot) = grep { $cluster->master_of($_) == $master } map { $cluster->slot(key($_)) } 1 .. USERS;
            $master->down;
            return (
                until_true(sub { !grep { $_ == $master } map { $cluster->at($_->[2][1]) } map { $_->cmd('CLUSTER', 'SLOTS')->@* } $cluster->up_nodes }),
                pause(2 * $roll->()), step(sub { $master->up }), until_true($well),
            );
        },
        'kill replica' => sub ($roll) {
            my $replica = one_of($roll, $kind->('slave'));
            $replica->down;
            return (pause(3 * $roll->()), step(sub { $replica->up }), until_true($well));
        },
        freeze => sub ($roll) {
            my $node = one_of($roll, $cluster->nodes);
            $cluster->freeze($node);
            return (pause(0.2 + 1.8 * $roll->()), step(sub { $cluster->thaw($node) }), pause(1), until_true($well));
        },
        disconnect => sub ($roll) { disconnect(one_of($roll, $cluster->nodes)) },
    },
};

my $memcached = start_memcached();
$store{memcached} = {
    where => "server @{[$memcached->url]};",
    put   => sub { $memcached->set(key($_), value('memcached', $_), ttl => LIFE) for 1 .. USERS },
    done  => { kill => kill_alone('memcached', $memcached), freeze => freeze_alone($memcached) },
};

my @names = sort keys %store;
$store{$_}{put}->() for @names;

my $common = "session_redis_require \@user; session_redis_set_header X-User \@user; proxy_pass http://127.0.0.1:@{[StoreTest::backend()]};";
my $nginx  = start_nginx(
    workers => 2,
    http    => <<~'END' . join('', map { "session_redis_store $_ { $store{$_}{where} }\n" } @names),
        access_log off;
        keepalive_requests 1000000;
        session_redis_framework raw;
        session_redis_cookie    sid;
        session_redis_key       sess:$session_redis_id;
        session_redis_format    json;
        session_redis_user      /user;
        END
    server => join '', map { my $more = $store{$_}{location} // ''; <<~"END" } @names,
        location = /need/$_  { session_redis $_; $more $common }
        location = /touch/$_ { session_redis $_; $more session_redis_touch @{[LIFE]}s after=2s; $common }
        END
);

# What an answer is.
sub kind_of ($store, $n, $response) {
    my $code = $response->{code};
    return $response->{body} eq "user=$store-u$n\n" && $n <= USERS ? 'right' : 'wrong' if $code == 200;
    return 'right' if $code == 401 && $n > USERS;
    return $code == 401 || $code == 503 ? $code : 'other';
}

# Asks for sessions; each => called with [when it was sent, store, n, path], the kind of the answer, and its code.
sub ask ($count, $draw, $each) {
    my @sent;
    return many(
        port => $nginx->port, count => $count, at_once => 24,
        request => sub ($i) { my $what = $draw->($i); $sent[$i] = [time, @$what]; request("/$what->[2]/$what->[0]", $what->[1], keepalive => $i % 16) },
        each => sub ($i, $response) { $each->($sent[$i], kind_of($sent[$i]->@[1, 2], $response), $response->{code}) },
    );
}

# All sessions, once each, and some that are not there: those of which the answer is not right.
sub not_found () {
    my %bad;
    ask(@names * (USERS + STRANGERS), sub ($i) { [$names[$i % @names], 1 + int($i / @names), $i % 3 ? 'need' : 'touch'] }, sub ($asked, $kind, $) { $bad{$asked->[1]}{$kind}++ if $kind ne 'right' });
    return \%bad;
}

# Clients in a process of their own. It writes down what is not right, and in the end how often what was.
my $dir = temp_dir();
sub clients () {
    return fork_server(sub {
        srand $seed;
        open my $out, '>', "$dir/answers" or die "answers: $!\n";
        my %seen;
        until (-e "$dir/stop") {
            my $began  = time;
            my $result = ask(300, sub ($) { [$names[rand @names], 1 + int rand USERS + STRANGERS, rand() < 0.25 ? 'touch' : 'need'] },
                sub ($asked, $kind, $code) {
                    my ($sent, $store, $n, $path) = @$asked;
                    $seen{$store}{$kind}++;
                    printf {$out} "%.6f %.6f %s %s %s/%s/%d\n", $sent, time, $kind, $code, $path, $store, $n if $kind ne 'right';
                });
            printf {$out} "%.6f %.6f lost %d -\n", $began, time, $_ for grep { $_ } $result->{lost} + $result->{refused} + $result->{timed_out};
            sleep 0.05;
        }
        for my $store (@names) { print {$out} "$store $_ $seen{$store}{$_}\n" for keys $seen{$store}->%* }
        print {$out} "all\n";
        close $out;
    });
}

# Threads of the workers, and what they have open: how often, by the port at the other end or what else it is.
sub threads    () { return scalar map { glob "/proc/$_/task/*" } $nginx->workers }
sub open_files () {
    my (%peer, %open);
    open my $in, '<', '/proc/net/tcp' or die "/proc/net/tcp: $!\n";
    for (<$in>) {
        my @field = split;
        $peer{ $field[9] } = $field[3] eq '0A' ? 'listening' : hex $1 if $field[2] =~ /:(\w+)\z/;
    }
    for my $link (map { readlink // () } map { glob "/proc/$_/fd/*" } $nginx->workers) {
        $open{ $link =~ /\Asocket:\[(\d+)\]/ ? $peer{$1} // 'channel' : $link =~ s{.*/|\[|\]}{}gr }++;
    }
    return \%open;
}

# Each store has its turn of its own: something is done to it, step by step, then it has a rest.
sub take_turn ($who, $begin_more) {
    if (!$who->{steps}) {
        return if !$begin_more || time < $who->{next};
        my $what = one_of($who->{roll}, sort keys $who->{done}->%*);
        $count{ $who->{name} }{$what}++;
        push $broken{ $who->{name} }->@*, $who->{span} = [time, 9e9];
        @$who{qw(what since)} = ($what, time);
        $who->{steps} = [$who->{done}{$what}->($who->{roll})];
    }
    shift $who->{steps}->@* while $who->{steps}->@* && $who->{steps}[0]->();
    if (!$who->{steps}->@*) {
        delete $who->{steps};
        $who->{span}[1] = time;
        $who->{next} = time + 0.5 + 3 * $who->{roll}->();
    }
    if ($who->{steps} && time > $who->{since} + RECOVERS) {
        diag $_ for map { "@$_" } grep { $_->[0] > $who->{since} } $sentinel->events;
        diag explain [map { [$_->port, eval { $_->cmd('ROLE') } // $@, eval { $_->cmd('DBSIZE') } // $@] } grep { $_->pid } $sentinel->{servers}->@*, $cluster->nodes];
        die "$who->{name} does not recover from \"$who->{what}\"\n";
    }
    return;
}

wait_for(sub { !not_found()->%* }, seconds => 30, what => 'all sessions at first');
not_found() for 1 .. 5;
sleep 0.5;
my ($files_before, $threads_before) = (open_files(), threads());

my $loader = clients();
my $start  = time;
my $half   = $start + 30 * $minutes;
my $end    = $start + 60 * $minutes;
my $warm   = $half + ($minutes < 4 ? 15 * $minutes : 60);
my @turns  = map { { name => $_, done => $store{$_}{done}, roll => dice($_), next => $start + 2 } } @names;
my @old;
my @workers = $nginx->workers;
my $reload  = { name => 'nginx', roll => dice('nginx'), next => $start + 4, done => {
    reload => sub ($roll) { push @old, $nginx->reload; @workers = $nginx->workers; return pause(8 * $roll->()) },
} };
my (@memory, $kb_before);
my $died = 0;
my $next = 0;
while (time < $end || grep { $_->{steps} } @turns) {
    take_turn($_, time < $end) for @turns;
    take_turn($reload, time < $half - 2);
    sleep 0.02;
    next if time < $next;
    $next = time + 5;
    die "the clients are gone\n" if !alive($loader);
    $died++ if "@{[sort $nginx->workers]}" ne "@{[sort @workers]}";
    next if time < $half;
    push @memory, $nginx->resident_kb;
    $kb_before //= $memory[-1] if time >= $warm;
}
$proxy->set(map { $_ => 0 } grep { !ref $usual{$_} } keys %usual);
my $healed  = time;
my $kb_after = $nginx->resident_kb;
$died++ if "@{[sort $nginx->workers]}" ne "@{[sort @workers]}";

open my $stop, '>', "$dir/stop" or die "stop: $!\n";
wait_for(sub { !alive($loader) }, seconds => 30, what => 'the end of the clients');
my $back = eval { wait_for(sub { !not_found()->%* }, seconds => 20, what => 'all sessions again'); time - $healed };
my $missing = defined $back ? {} : not_found();
sleep 1;
my ($files_after, $threads_after) = (open_files(), threads());

# What became of it all.
my %sum = map { $_ => { asked => 0, map { $_ => 0 } qw(right 503 401 wrong other), 'unexplained 401', '503 without a cause' } } @names;
my ($lost, @bad) = (0);
my $complete = 0;

# Whether a request was under way in one of these times, or so many seconds after it.
sub within ($spans, $sent, $answered, $after) {
    return scalar grep { $sent <= $_->[1] + $after && $answered >= $_->[0] } @$spans;
}

open my $in, '<', "$dir/answers" or die "answers: $!\n";
while (my $line = <$in>) {
    my @word = split ' ', $line;
    if (@word == 1) {
        $complete = 1;
    } elsif (@word == 3) {
        $sum{ $word[0] }{ $word[1] } = $word[2];
        $sum{ $word[0] }{asked} += $word[2];
    } elsif ($word[2] eq 'lost') {
        # nginx itself resets connections that are queued at a worker which leaves.
        $lost += $word[3] if !within($broken{nginx} // [], @word[0, 1], 2);
    } else {
        my ($sent, $answered, $kind, $code, $what) = @word;
        my (undef, $store) = split m{/}, $what;
        if ($kind eq '503') {
            $sum{$store}{'503 without a cause'}++ if !within($broken{$store} // [], $sent, $answered, 2);
            next;
        }
        next if $kind eq '401' && within($lost{$store} // [], $sent, $answered, SOON);
        $sum{$store}{'unexplained 401'}++ if $kind eq '401';
        push @bad, sprintf '%s: %s (%s) after %.3f s, %.3f s since the last event', $what, $kind, $code, $sent - $start, $sent - ($broken{$store} // [[$start]])->[-1][0];
    }
}
for my $store (@names) {
    diag "$store: ", join ', ', map { "$_ $sum{$store}{$_}" } 'asked', 'right', '503', '401', 'wrong', 'other', 'unexplained 401', '503 without a cause';
}
for my $who (sort keys %count) {
    diag "done to $who: ", join ', ', map { "$_ $count{$who}{$_}" } sort keys $count{$who}->%*;
}
diag 'memory of the workers in the second half, kB: ', join ' ', @memory;
my ($open_before, $open_after) = map { my $sum = 0; $sum += $_ for values %$_; $sum } $files_before, $files_after;
diag "open files of the workers: $open_before before, $open_after after; threads: $threads_before, $threads_after; all sessions back after ", defined $back ? sprintf '%.2f s', $back : 'never';
diag $_ for @bad[0 .. ($#bad > 20 ? 20 : $#bad)];

is($complete, 1, 'the clients went on to the end');
for my $store (@names) {
    my $sum = $sum{$store};
    is($sum->{wrong}, 0, "$store: nobody gets what is not theirs");
    is($sum->{other}, 0, "$store: served or refused");
    is($sum->{'unexplained 401'}, 0, "$store: a session is missing only where it was lost");
    cmp_ok($sum->{right}, '>', $sum->{asked} / 3, "$store: and mostly served");
    cmp_ok(scalar keys $count{$store}->%*, '>=', 2, "$store: something was done to it");
}
is($lost, 0, 'every request is answered, but what nginx loses in a reload');
is($died, 0, 'workers live on');
is(scalar lines_like($nginx, qr/\[(?:alert|crit|emerg)\]|panicked|exited on signal|ERROR: \w+Sanitizer/), 0, 'nothing worse than an error in the log')
    or diag join "\n", lines_like($nginx, qr/\[(?:alert|crit|emerg)\]|panicked|exited on signal|ERROR: \w+Sanitizer/);
my $any = join '|', @names;
is(scalar lines_like($nginx, qr/sess:|session0|"user"|\b(?:$any)-u\d/), 0, 'no id and no value in it');
cmp_ok($kb_after - $kb_before, '<', 3 * 1024, 'memory does not grow');
cmp_ok($open_after, '<=', $open_before + 2, 'nor do connections') or diag explain [$files_before, $files_after];
# Of a worker: its own, the one that pools share, and of a node that was slow one for its connection and one for a probe.
cmp_ok($threads_after, '<=', 2 * (2 + 2 * $cluster->nodes), 'nor threads beyond what slow nodes of the cluster take');
cmp_ok($back // 99, '<', 15, 'every session is found in the end') or diag explain $missing;
ok($nginx->gone(\@old), 'the workers of before the reloads are gone');
is($nginx->quit, 0, 'nginx leaves');
is(scalar lines_like($nginx, qr/\[alert\]|exited on signal/), 0, 'without an alert');

done_testing();
