# A stand-in for OpenResty's Test::Nginx::Socket, for machines that have only
# Debian's libtest-base-perl: the same block format, functions, environment
# variables and number of assertions, for the sections that our tests use.
# It is found only where the real one is not installed; see t/README.md.
package Test::Nginx::Socket;

use v5.26;
use warnings;
use experimental 'signatures';

use BlockTest::Block     ();
use BlockTest::Check     qw(check_logs check_response check_shutdown_log);
use BlockTest::Client    qw(exchange);
use BlockTest::Config    qw(conf_text expand forget_ports);
use BlockTest::Request   qw(requests);
use BlockTest::Response  qw(parse_response);
use BlockTest::Server    qw(is_serving mark_log serve stop_server try_start version);
use BlockTest::Settings  qw(%set path);
use BlockTest::TcpServer qw(seconds start_tcp_server stop_tcp_server);
use List::Util           qw(shuffle);
use Test::Base           ();
use Test::More           ();
use Time::HiRes          qw(sleep);

our @ISA    = ('Test::Base');
our @EXPORT = qw(
    add_block_preprocessor add_cleanup_handler add_response_body_check add_test_cleanup_handler bail_out
    check_accum_error_log config_preamble env_to_nginx html_dir is_str log_level master_off master_on
    master_process_enabled no_long_string no_root_location no_shuffle plan repeat_each run_test run_tests server_addr
    server_name server_port server_port_for_client server_root timeout worker_connections workers
);

my (@preprocessors, @cleanups, @block_cleanups, @body_checks, $previous, $cleaned);

# Settings: called with a value they set it, always they return it.
sub repeat_each            { return setting('repeat_each',        @_) }
sub worker_connections     { return setting('worker_connections', @_) }
sub workers                { return setting('workers',            @_) }
sub log_level              { return setting('log_level',          @_) }
sub timeout                { return setting('timeout',            @_) }
sub server_addr            { return setting('server_addr',        @_) }
sub server_name            { return setting('server_name',        @_) }
sub server_port            { return setting('port',               @_) }
sub server_port_for_client { return setting('client_port',        @_) }
sub config_preamble        { return setting('config_preamble',    @_) }
sub no_shuffle ()            { return $set{no_shuffle}       = 1 }
sub no_root_location ()      { return $set{no_root_location} = 1 }
sub check_accum_error_log () { return $set{accumulate_log}   = 1 }
sub no_long_string ()        { return }
sub master_on ()             { return $set{master} = 'on' }
sub master_off ()            { return $set{master} = 'off' }
sub html_dir ()              { return path('html') }
sub server_root ()           { return $set{root} }

sub master_process_enabled {
    $set{master} = $_[0] ? 'on' : 'off' if @_;
    return $set{master};
}

# Lets variables ("NAME" or "NAME=value") of the environment reach the workers.
sub env_to_nginx {
    push $set{env}->@*, @_;
    return;
}

sub add_block_preprocessor : prototype(&) { unshift @preprocessors,  @_; return }
sub add_cleanup_handler                   { unshift @cleanups,       @_; return }
sub add_test_cleanup_handler              { unshift @block_cleanups, @_; return }
sub add_response_body_check               { push @body_checks,       @_; return }

sub is_str {
    my ($got, $expected, $name) = @_;
    return ref $expected ? Test::More::like($got, $expected, $name) : Test::Base::is($got, $expected, $name);
}

sub bail_out {
    clean_up();
    Test::More::BAIL_OUT(@_);
}

# Runs every block of the file, shuffled unless told otherwise.
sub run_tests () {
    $ENV{TEST_NGINX_SERVER_PORT} //= $set{port};
    version();
    for my $block ($set{no_shuffle} ? Test::Base::blocks() : shuffle(Test::Base::blocks())) {
        $_->($block) for @preprocessors;
        $block->set_value(name => "$0 " . $block->name);
        run_test($block);
        $_->($block) for @block_cleanups;
    }
    clean_up();
    return;
}

sub run_test ($original) {
    my $block = BlockTest::Block->new($original);
    return if defined $block->SKIP;
    die 'block "' . $block->name . "\": HTTP/2 and 3 are not spoken by this driver, use helpers\n"
        if defined $block->http2 || defined $block->http3;
    my $name = $block->name;
    if (my $skip = skip_reason($block)) {
        my ($how, $count, $reason) = @$skip;
        my $builder = Test::More->builder;
        $how eq 'todo' ? $builder->todo_skip("$name - $reason") : $builder->skip("$name - $reason") for 1 .. $count;
        return;
    }
    forget_ports();
    local $set{log_level} = $block->log_level // $set{log_level};
    eval { run_block($block); 1 } or Test::More::fail("$name - $@");
    return;
}

sub setting ($name, @value) {
    $set{$name} = $value[0] if @value;
    return $set{$name};
}

# Returns [skip or todo, number of tests, reason] for a block that must not run.
sub skip_reason ($block) {
    if (defined(my $spec = $block->skip_nginx // $block->skip_nginx2)) {
        my ($count, $condition, $reason) = $spec =~ /\A\s*(\d+)\s*:\s*([^:]+?)\s*(?::\s*(.*?))?\s*\z/s
            or die "bad skip_nginx: $spec\n";
        return ['skip', $count, $reason || "nginx version $condition"] if version_is($condition);
    }
    if (defined(my $spec = $block->skip_eval)) {
        my ($count, $code) = $spec =~ /\A\s*(\d+)\s*:\s*(.*)\z/s or die "bad skip_eval: $spec\n";
        my $skips = eval "package Test::Nginx::Util; $code";
        die "skip_eval: $@" if $@;
        return ['skip', $count, 'skip_eval'] if $skips;
    }
    if (defined(my $spec = $block->todo)) {
        my ($count, $reason) = $spec =~ /\A\s*(\d+)\s*:\s*(.*?)\s*\z/s or die "bad todo: $spec\n";
        return ['todo', $count, $reason];
    }
    return;
}

# "< 1.23.0", or two of them with "or" or "and" between.
sub version_is ($condition) {
    my ($first, $join, $second) = split /\s*\b(or|and)\b\s*/, $condition;
    my $is = compare_version($first);
    return $is if !defined $join;
    return $join eq 'or' ? $is || compare_version($second) : $is && compare_version($second);
}

sub compare_version ($condition) {
    my ($operator, @part) = $condition =~ /\A\s*([<>]=?)\s*(\d+)\.(\d+)\.(\d+)\s*\z/ or die "bad condition: $condition\n";
    my $order = version() <=> sprintf '%d.%03d%03d', @part;
    return $operator eq '<' ? $order < 0 : $operator eq '<=' ? $order <= 0 : $operator eq '>' ? $order > 0 : $order >= 0;
}

sub run_block ($block) {
    my $config = expand($block->config) // $previous // die "no config\n";
    $previous = $config;
    my $text  = conf_text($block, $config);
    my $files = user_files($block);
    my %how   = (
        suppress_stderr => defined $block->suppress_stderr,
        fresh           => defined $block->fresh || defined $block->post_setup_server_root,
        prepare         => sub { run_code($block, 'post_setup_server_root') },
    );
    return run_must_die($block, $text, $files, %how) if defined $block->must_die;

    mark_log(serve($text, $files, %how));
    run_code($block, 'init');
    for my $round (0 .. $set{repeat_each} - 1) {
        my $server = start_tcp_server($block);
        run_round($block, $round);
        check_tcp_query($block, stop_tcp_server($server)) if $server;
    }
    die "nginx is gone\n" if !is_serving();

    if (defined $block->shutdown_error_log || defined $block->no_shutdown_error_log) {
        stop_server();
        check_shutdown_log($block);
    }
    return;
}

# A configuration that nginx must refuse, with the exit code given if one is.
sub run_must_die ($block, $text, $files, %how) {
    my $name = $block->name;
    for my $round (0 .. $set{repeat_each} - 1) {
        my $status = try_start($text, $files, %how, must_die => 1);
        my $code   = $block->must_die;
        if ($status & 127) {
            Test::More::fail("$name - nginx ended by signal " . ($status & 127));
        } elsif ($code =~ /\A\d+\z/) {
            Test::More::is($status >> 8, $code, "$name - die with the expected exit code");
        } else {
            Test::More::isnt($status, 0, "$name - die as expected");
        }
        mark_log(1);
        check_logs($block, { round => $round, no_access => 1 });
        stop_server();
    }
    return;
}

# All requests of a block, once.
sub run_round ($block, $round) {
    my @requests  = requests($block);
    my $pipelined = defined $block->pipelined_requests ? scalar $block->pipelined_requests->@* : 0;
    my $many      = @requests > 1 || $pipelined > 0;
    my $total     = $pipelined || @requests;
    my $index     = 0;
    for my $packets (@requests) {
        my $is_head = join('', map { $_->{value} } @$packets) =~ /\A\s*HEAD\s/;
        my $left    = answer_to($block, $packets);
        for (1 .. $pipelined || 1) {
            $left = check_one($block, $left, { index => $index, many => $many, round => $round }, $is_head);
            sleep $block->wait if $block->wait;
            check_logs($block, { round => $round, no_access => defined $block->ignore_response });
            $index++;
        }
        warn 'WARNING: ', $block->name, " - bytes after the response: $left\n" if defined $left && length $left;
    }
    return;
}

# Checks the first response in the bytes; returns those after it.
sub check_one ($block, $bytes, $at, $is_head) {
    return if defined $block->ignore_response;
    my $response = parse_response($bytes // '', http09 => defined $block->http09, head => $is_head);
    check_response($block, $response, $at, \@body_checks);
    return $response->{left};
}

sub answer_to ($block, $packets) {
    my $timeout = seconds($block->timeout // $set{timeout});
    my $shutdown = $block->shutdown;
    my $result = exchange(
        $packets, $timeout,
        addr         => $block->server_addr_for_client,
        packet_delay => $block->raw_request_middle_delay,
        shutdown     => defined $shutdown && $shutdown !~ /\d/ ? 1 : $shutdown,
    );
    die "no connection to port $set{client_port}: $result->{refused}\n" if $result->{refused};
    if ($result->{timed_out} && !defined $block->abort) {
        Test::More::fail($block->name . ' - no answer, or no end of it, within the timeout');
    }
    print STDERR "!!! $result->{bytes}\n" if $set{verbose};
    return $result->{bytes};
}

# The section as [[name, content, date], …]: ">>> name [date]" lines head each file.
sub user_files ($block) {
    my $given = $block->user_files // return [];
    return [map { [$_->[0], expand($_->[1] // ''), $_->[2]] } @$given] if ref $given;
    my @files;
    for my $line ($given =~ /([^\n]*\n|[^\n]+\z)/g) {
        if ($line =~ /\A>>> (\S+)(?:\s+(.+))?/) {
            push @files, [$1, '', $2];
        } elsif (@files) {
            $files[-1][1] .= $line;
        }
    }
    $_->[1] = expand($_->[1]) for @files;
    return \@files;
}

# Perl code of a section runs where the real driver runs it: name what is yours with "main::".
sub run_code ($block, $section) {
    my $code = $block->$section;
    return if !defined $code;
    eval "package Test::Nginx::Util; $code; 1" or die "$section: $@";
    return;
}

sub check_tcp_query ($block, $query) {
    my $name = $block->name;
    is_str($query, $block->tcp_query, "$name - tcp_query ok") if defined $block->tcp_query;
    Test::More::is(length $query, $block->tcp_query_len, "$name - TCP query length ok") if defined $block->tcp_query_len;
    return;
}

sub clean_up () {
    return if $cleaned++;
    $_->() for @cleanups;
    return;
}

# So that END is reached, and nginx stopped.
for my $signal (qw(INT TERM HUP)) {
    $SIG{$signal} //= sub { exit 1 };
}

END {
    local $?;
    clean_up() if @cleanups && $$ == $set{owner};
}

1;
