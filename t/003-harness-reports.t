# What must fail, fails: small test files are run under the driver at hand, and
# what they print is looked at.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib"; delete $ENV{TEST_NGINX_LOAD_MODULES} }
use SessionRedis qw(free_port temp_dir);
use Test::More;

# Runs one block under a head of Perl code; returns what was printed.
sub run_block ($block, %how) {
    state $dir = temp_dir();
    open my $out, '>', "$dir/one.t" or die $!;
    print {$out} "BEGIN { push \@INC, '$FindBin::Bin/lib' }\nuse Test::Nginx::Socket 'no_plan';\n",
        "no_shuffle();\n", $how{head} // '', "\nrun_tests();\n", $how{foot} // '', "\n__DATA__\n\n=== TEST 1: one\n$block\n";
    close $out;
    local @ENV{qw(TEST_NGINX_SERVROOT TEST_NGINX_PORT)} = ("$dir/servroot", free_port());
    delete local $ENV{TEST_NGINX_SERVER_PORT};
    return qx{$^X $dir/one.t 2>&1};
}

# Block, what must be printed, name.
my $config = <<'END';
--- config
    location = /ok { add_header X-A b; return 200 "body\n"; }
    location = /none { return 444; }
    location = /slow { limit_rate 1; return 200 "0123456789"; }
END
my $ok = "$config--- request\nGET /ok\n";
my @cases = (
    ["$ok--- error_code: 404",                        qr/not ok .*status code ok/,                 'error_code'],
    ["$ok--- error_code_like: ^4",                    qr/not ok .*status code ok/,                 'error_code_like'],
    ["$ok--- response_body\nother\n",                 qr/not ok .*response_body/,                  'response_body'],
    ["$ok--- response_body\nbody\nmore\n",            qr/not ok .*response_body/,                  'response_body of two lines'],
    ["$ok--- response_body_like: other",              qr/not ok .*response_body_like/,             'response_body_like'],
    ["$ok--- response_body_unlike: body",             qr/not ok .*response_body_unlike/,           'response_body_unlike'],
    ["$ok--- response_headers\nX-A: c\n",             qr/not ok .*header X-A ok/,                  'response_headers'],
    ["$ok--- response_headers\nX-B: b\n",             qr/not ok .*header X-B ok/,                  'response_headers, missing'],
    ["$ok--- response_headers\n! X-A\n",              qr/not ok .*header X-A/,                     'response_headers, not wanted'],
    ["$ok--- response_headers_like\nX-A: c+\n",       qr/not ok .*header X-A/,                     'response_headers_like'],
    ["$ok--- raw_response_headers_like: X-B",         qr/not ok .*raw resp headers like/,          'raw_response_headers_like'],
    ["$ok--- raw_response_headers_unlike: X-A",       qr/not ok .*raw resp headers unlike/,        'raw_response_headers_unlike'],
    ["$ok--- error_log\nno such line\n",              qr/not ok .*"no such line"/,                 'error_log'],
    ["$ok--- no_error_log\nhttp process request\n",   qr/not ok .*"http process request"/,         'no_error_log'],
    ["$ok--- grep_error_log: http uri\n--- grep_error_log_out\nx\n", qr/not ok .*grep_error_log_out/, 'grep_error_log'],
    ["$ok--- access_log\nno such line\n",             qr/not ok .*"no such line"/,                 'access_log'],
    ["$ok--- must_die",                               qr/not ok .*die as expected/,                'must_die'],
    ["$config--- request\nGET /none\n",               qr/not ok .*status code ok/,                 'no answer'],
    ["$config--- request\nGET /slow\n--- timeout: 200ms\n", qr/not ok .*(?:timed out|timeout)/,    'timeout'],
    ["--- config\n--- request\nGET /\n--- init: die 'on purpose'\n", qr/(?:not ok|Bail out).*init.*on purpose/s, 'init'],
);

for my $case (@cases) {
    my ($block, $expected, $name) = @$case;
    like(run_block($block), $expected, $name);
}

unlike(run_block("$ok--- response_body\nbody\n--- error_log\nhttp process\n--- no_error_log\n[alert]\n"), qr/^not ok/m, 'what holds, passes');

subtest 'repeat_each and restarts' => sub {
    my $more = "$ok--- response_body\nbody\n\n=== TEST 2: again\n$ok\n=== TEST 3: other files\n--- user_files\n>>> f\nx\n$ok\n=== TEST 4: fresh\n--- fresh\n$ok";
    my $head = "repeat_each(2); log_level('info'); add_test_cleanup_handler(sub { open my \$in, '<', server_root() . '/logs/nginx.pid'; print '# pid ', <\$in> });";
    my $out  = run_block($more, head => $head);
    is(scalar(() = $out =~ /^ok /mg), 10, 'assertions are made twice') or diag $out;
    my @pid = $out =~ /^# pid (\d+)/mg;
    is(@pid, 4, 'four blocks');
    if (driver() ne 'ours') {
        note 'the driver restarts nginx for each block';
        return;
    }
    is($pid[1], $pid[0], 'the same configuration: the same nginx');
    isnt($pid[2], $pid[1], 'other files: another');
    isnt($pid[3], $pid[2], 'a fresh one: another');
};

subtest 'a socket in the server root' => sub {
    my $block = <<'END';
--- http_config
    server { listen unix:$TEST_NGINX_SERVER_ROOT/html/a.sock; return 200 "unix\n"; }
--- config
    location = /u { proxy_pass http://unix:$TEST_NGINX_SERVER_ROOT/html/a.sock; }
--- request
GET /u
--- response_body
unix
END
    unlike(run_block("$block\n=== TEST 2: again\n$block"), qr/^not ok/m, 'outlasts a block');
};

subtest 'blocks and helpers together' => sub {
    my $head = 'use SessionRedis; our $redis = start_redis(); our $fake = fake_redis(); quiet_logs();';
    my $block = <<'END';
--- config
    location = /redis { return 200 "$TEST_NGINX_REDIS_PORT $TEST_NGINX_FAKE_SOCKET\n"; }
--- init
$main::redis->cmd('SET', 'from', 'init');
--- request
GET /redis
--- response_body eval
"$ENV{TEST_NGINX_REDIS_PORT} $ENV{TEST_NGINX_FAKE_SOCKET}\n"
END
    my $out = run_block($block, head => $head, foot => q{Test::More::is($redis->cmd('GET', 'from'), 'init', 'init ran');});
    unlike($out, qr/^not ok/m, 'they get on');
    is(scalar(() = $out =~ /^ok /mg), 7, 'with quiet logs: 4 assertions more') or diag $out;
};

# Which driver "use Test::Nginx::Socket" finds.
sub driver () {
    my ($found) = grep { -e } map { "$_/Test/Nginx/Socket.pm" } @INC;
    return $found =~ m{\A\Q$FindBin::Bin\E/lib/} ? 'ours' : 'the real one';
}

done_testing();
