# An nginx whose locations read sessions of a store, before a backend that says
# what it got: what the tests of the store side share. A session is JSON with a
# user of its own, so that a session given to the wrong request shows.
package StoreTest;

use v5.26;
use warnings;
use experimental 'signatures';

use Exporter 'import';
use SessionRedis;
use Test::More ();
use Time::HiRes qw(sleep time);

our @EXPORT = qw(
    check_config cookie get id keeps_its_size key lines_like put_sessions request seconds session_nginx session_of statuses until_found until_status
);

my @started;

# Names of the n-th session: its id, its key, its value.
sub id         ($n) { return sprintf 'session%013d', $n }
sub key        ($n) { return 'sess:' . id($n) }
sub session_of ($n) { return qq({"user":"u$n"}) }
sub cookie     ($n) { return 'Cookie: sid=' . id($n) }

# Writes sessions first..last into a real Redis.
sub put_sessions ($redis, $first, $last) {
    while ($first <= $last) {
        my $end = $first + 999 < $last ? $first + 999 : $last;
        $redis->cmd('MSET', map { (key($_), session_of($_)) } $first .. $end);
        $first = $end + 1;
    }
    return;
}

# %how: url (of the store), or where (the line that says so), store (more lines for its block), http, server (more lines), and what start_nginx takes.
# Locations: /need requires a session, /pass does not, /fail does not but fails with the store, /ttl reads the life
# left too and /touch extends it (both only with life => 1, since then all lookups read it), /plain has nothing to do with sessions, /logout ends one.
sub session_nginx (%how) {
    my $backend = backend();
    my $store   = delete $how{store} // '';
    my $url     = delete $how{url};
    my $where   = delete $how{where} // "server $url;";
    # A test that does not say how long waits longer than users do, for machines that stand still now and then; longer yet
    # where each access to memory is looked into.
    my $patience = $ENV{TEST_NGINX_USE_VALGRIND} || $ENV{SESSION_REDIS_SLOW} ? '3s' : '600ms';
    $store .= " $_ $patience;" for grep { $store !~ /\b(?<!_)$_\b/ } qw(timeout connect_timeout);
    my $life    = delete $how{life};
    my $common  = "session_redis_set_header X-User \@user; proxy_pass http://127.0.0.1:$backend;";
    $how{http} = <<~"END" . ($how{http} // '');
        session_redis_store s { $where $store }
        session_redis           s;
        session_redis_framework raw;
        session_redis_cookie    sid;
        session_redis_key       sess:\$session_redis_id;
        session_redis_format    json;
        session_redis_user      /user;
        add_header X-Status \$session_redis_status always;
        add_header X-Server \$session_redis_server always;
        END
    $how{server} = <<~"END" . ($how{server} // '');
        location /need   { session_redis_require \@user; $common }
        location /pass   { $common }
        location /fail   { session_redis_on_error fail; $common }
        location /plain  { session_redis off; return 200 "plain\\n"; }
        location /logout { session_redis_destroy; }
        END
    $how{server} .= <<~"END" if $life;
        location /ttl    { session_redis_require \@user; session_redis_set_header X-User \$session_redis_ttl;
                           proxy_pass http://127.0.0.1:$backend; }
        location /touch  { session_redis_require \@user; session_redis_touch 1h after=1s; $common }
        END
    push @started, start_nginx(%how);
    return $started[-1];
}

# The port of an nginx without the module that answers with the user it was told.
sub backend () {
    state $backend = do {
        local $ENV{TEST_NGINX_LOAD_MODULES} = '';
        local $ENV{TEST_NGINX_USE_VALGRIND} = '';
        start_nginx(workers => 1, worker_connections => 4096, server => <<~'END');
            access_log off;
            keepalive_requests 1000000;
            location / { return 200 "user=$http_x_user\n"; }
            END
    };
    return $backend->port;
}

# What "nginx -t" says, as nginx_test. It never frees what it read, which is not to be found fault with.
sub check_config (%how) {
    local $ENV{ASAN_OPTIONS} = "$ENV{ASAN_OPTIONS}:detect_leaks=0" if $ENV{ASAN_OPTIONS};
    return nginx_test(%how);
}

# One request for session n (none: without a cookie).
sub get ($nginx, $path, $n = undef, %how) {
    return http($nginx->port, $path, headers => [defined $n ? cookie($n) : ()], %how);
}

# The bytes of such a request.
sub request ($path, $n, %how) {
    return request_bytes($path, headers => [cookie($n)], %how);
}

# What comes of requests one after the other: their codes.
sub statuses ($nginx, $path, @sessions) {
    return map { get($nginx, $path, $_)->{code} } @sessions;
}

# Asks until the answer has this code; returns the seconds that it took. Dies after %how{seconds} (5).
sub until_status ($nginx, $path, $n, $code, %how) {
    my $start = time;
    wait_for(sub { get($nginx, $path, $n)->{code} == $code }, what => "$code for $path", every => 0.02, %how);
    return time - $start;
}

sub until_found ($nginx, $n, %how) {
    return until_status($nginx, '/need', $n, 200, %how);
}

# How long something takes.
sub seconds : prototype(&) ($code) {
    my $start = time;
    $code->();
    return time - $start;
}

# Memory has not grown since it was measured, but for a huge page that the kernel may put in place of small ones at any time.
# (What checks memory keeps freed blocks.)
sub keeps_its_size ($nginx, $before) {
    SKIP: {
        Test::More::skip('memory is checked otherwise', 1) if $ENV{TEST_NGINX_USE_VALGRIND} || $ENV{ASAN_OPTIONS};
        Test::More::cmp_ok($nginx->resident_kb - $before, '<', 1024 + 2048, 'memory does not grow');
    }
    return;
}

# The lines of nginx's log that match.
sub lines_like ($nginx, $pattern) {
    return grep { /$pattern/ } split /\n/, $nginx->log;
}

# Under valgrind, or built with AddressSanitizer, an nginx says at its end, or before, what it did wrong.
sub complaints ($nginx) {
    eval { $nginx->quit(60) } if $nginx->pid;
    my @lines = split /\n/, $nginx->log;
    my @first = grep { $lines[$_] =~ /ERROR: (?:Address|Leak)Sanitizer|^==\d+== (?:Invalid|Conditional jump|Use of uninit|Syscall param|Mismatched|.* definitely lost)|exited on signal|panicked at/ } 0 .. $#lines;
    return map { join "\n", @lines[$_ .. ($_ + 30 < $#lines ? $_ + 30 : $#lines)] } @first;
}

END {
    my $status = $?;
    my @complaints = map { complaints($_) } @started;
    if (@complaints) {
        Test::More::diag($_) for @complaints[0 .. ($#complaints > 4 ? 4 : $#complaints)];
        Test::More::diag(scalar(@complaints) . ' complaints of memory errors');
        $status ||= 1;
    }
    $? = $status;
}

1;
