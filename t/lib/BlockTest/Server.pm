# The nginx under test: started for the first block, and again only for a
# block that needs another configuration or a fresh process.
package BlockTest::Server;

use v5.26;
use warnings;
use experimental 'signatures';

use BlockTest::Settings qw(%set path);
use Exporter 'import';
use File::Find qw(find);
use File::Path qw(make_path remove_tree);
use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(version serve try_start stop_server is_serving error_log_lines access_log_lines mark_log);

# An nginx that valgrind found fault with ends with this code.
use constant VALGRIND_ERROR => 99;

# Of the nginx running: what it was started for, its process, the end of its start-up messages
# in the error log, and how far the log was read.
my ($serves, $pid, $start_log_end, $log_read);
my $start_log_seen;

# nginx's version as a number to compare: 1.22.1 is 1.022001.
sub version () {
    state $version = do {
        my $out = qx{$set{binary} -V 2>&1} // '';
        my @part = $out =~ m{/(\d+)\.(\d+)\.(\d+)} or die "no version in the output of $set{binary} -V: $out\n";
        sprintf '%d.%03d%03d', @part;
    };
    return $version;
}

# Makes an nginx with this configuration and these files (as the block's user_files) serve.
# Returns whether it was started for that; dies when it does not start.
sub serve ($text, $files, %how) {
    my $wanted = join "\0", $text, map { $_->@[0, 1] } @$files;
    if (defined $serves && $serves eq $wanted && !$how{fresh} && !$set{force_restart} && is_serving()) {
        remove_plain_files(path('html'));
        fill_html($files);
        return 0;
    }
    my $status = try_start($text, $files, %how);
    die "nginx did not start (status $status):\n", grep { /\[emerg\]|\[alert\]/ } log_from(0) if $status;

    $serves = $wanted;
    return 1;
}

# Starts a fresh nginx in a fresh server root. Returns nginx's exit status, 0 when it serves.
sub try_start ($text, $files, %how) {
    stop_server();
    fresh_root();
    fill_html($files);
    $how{prepare}->() if $how{prepare};
    write_file(path('conf', 'nginx.conf'), $text);

    my @command = ($set{binary}, '-e', path('logs', 'error.log'), '-p', "$set{root}/", '-c', path('conf', 'nginx.conf'));
    return start_under_valgrind(@command) if $set{use_valgrind} && !$how{must_die};

    my $child = spawn($how{suppress_stderr}, @command);
    waitpid $child, 0;
    my $status = $?;
    $pid = $status ? undef : wait_for_pid();
    return $status;
}

# Stops the nginx of this test file, or one that an earlier run left on the same server root.
sub stop_server () {
    my $old = $pid // read_pid();
    undef $serves;
    undef $pid;
    return if !defined $old || !runs($old);

    kill QUIT => $old;
    if (!gone_within($old, $set{timeout})) {
        warn "nginx $old does not leave\n";
        kill KILL => $old;
        gone_within($old, 1);
    }
    unlink path('logs', 'nginx.pid');
    return;
}

sub is_serving () {
    return defined $pid && runs($pid);
}

# Lines of error.log that belong to the block: those of nginx's start, and those since mark_log();
# from the second call on, those since the last.
sub error_log_lines () {
    wait_until_quiet();
    my $from = $set{accumulate_log} ? 0 : $log_read;
    my @lines = log_from($from);
    unshift @lines, log_from(0, $start_log_end) if !$start_log_seen && !$set{accumulate_log};
    $start_log_seen = 1;
    $log_read = -s path('logs', 'error.log') // 0;
    return \@lines;
}

sub access_log_lines () {
    wait_until_quiet();
    open my $in, '<', path('logs', 'access.log') or return [];
    return [<$in>];
}

# A block begins: what the log holds by now is not the block's, unless it tells of nginx's start.
sub mark_log ($is_started) {
    wait_until_quiet() if !$is_started;
    $log_read       = -s path('logs', 'error.log') // 0;
    $start_log_end  = $log_read if $is_started;
    $start_log_seen = 0;
    return;
}

# nginx writes some lines after the client has its answer: waits until the log rests.
sub wait_until_quiet () {
    my $log  = path('logs', 'error.log');
    my $last = -1;
    for (1 .. 3) {
        my $size = (-s $log // 0) + (-s path('logs', 'access.log') // 0);
        last if $size == $last;
        $last = $size;
        sleep $set{sleep};
    }
    return;
}

sub log_from ($from, $to = undef) {
    open my $in, '<', path('logs', 'error.log') or return;
    seek $in, $from, 0;
    return <$in> if !defined $to;
    read $in, my $part, $to - $from;
    return $part =~ /([^\n]*\n)/g;
}

sub start_under_valgrind (@command) {
    my @options = $set{use_valgrind} =~ /\A\d+\z/
        ? qw(--leak-check=full --show-possibly-lost=no --errors-for-leak-kinds=definite --keep-debuginfo=yes --num-callers=100)
        : split ' ', $set{use_valgrind};
    push @options, '--suppressions=valgrind.suppress' if -f 'valgrind.suppress';
    push @options, '--exit-on-first-error=yes' if $ENV{TEST_NGINX_VALGRIND_EXIT_ON_FIRST_ERR};
    $pid = spawn(0, 'valgrind', '-q', '--error-exitcode=' . VALGRIND_ERROR, @options, @command);
    for (1 .. 600) {
        return 0  if -s path('logs', 'nginx.pid');
        return $? if waitpid($pid, WNOHANG) == $pid;
        sleep 0.05;
    }
    return -1;
}

sub spawn ($suppress_stderr, @command) {
    warn "@command\n" if $set{verbose};
    defined(my $child = fork) or die "fork: $!\n";
    return $child if $child;

    local $ENV{LD_PRELOAD} = join ' ', grep { defined } $ENV{TEST_NGINX_LD_PRELOAD}, $ENV{LD_PRELOAD}
        if defined $ENV{TEST_NGINX_LD_PRELOAD};
    open STDOUT, '>', '/dev/null';
    open STDERR, '>', '/dev/null' if $suppress_stderr;
    { no warnings; exec { $command[0] } @command }
    POSIX::_exit(127);
}

# The parent of a daemon leaves before the daemon has written its pid.
sub wait_for_pid () {
    for (1 .. 1000) {
        my $found = read_pid();
        return $found if defined $found;
        sleep 0.002;
    }
    die "nginx wrote no pid file\n";
}

sub read_pid () {
    open my $in, '<', path('logs', 'nginx.pid') or return;
    my ($found) = (<$in> // '') =~ /\A(\d+)\n/;
    return $found;
}

# Whether a process does more than wait to be reaped.
sub runs ($who) {
    waitpid($who, WNOHANG) == $who and note_exit($?);
    return 0 if !kill 0, $who;
    open my $in, '<', "/proc/$who/stat" or return !-d '/proc/self';
    return <$in> !~ /\) Z /;
}

sub note_exit ($status) {
    Test::More::fail('valgrind found errors in nginx') if $set{use_valgrind} && $status >> 8 == VALGRIND_ERROR;
    return;
}

sub gone_within ($who, $seconds) {
    my $end = time + ($set{use_valgrind} ? 30 : $seconds);
    while (time < $end) {
        return 1 if !runs($who);
        sleep 0.002;
    }
    return 0;
}

# Removes only what a server root of ours holds, so that a wrong TEST_NGINX_SERVROOT destroys nothing.
sub fresh_root () {
    my @ours = (map({ path($_) } qw(conf logs html cache)), glob(path('*_temp')), glob(path('*_cache')));
    remove_tree(@ours);
    if (-d $set{root} && !rmdir $set{root}) {
        die "$set{root} holds files that no test made: $!\n";
    }
    make_path(map { path($_) } qw(conf logs html));
    return;
}

# What earlier blocks left, but the sockets that nginx listens at.
sub remove_plain_files ($dir) {
    find({ no_chdir => 1, wanted => sub { unlink if -f } }, $dir);
    return;
}

sub fill_html ($files) {
    write_file(path('html', 'index.html'), '<html><head><title>It works!</title></head><body>It works!</body></html>');
    for my $file (@$files) {
        my ($name, $body, $date) = @$file;
        my $where = $name =~ m{^/} ? $name : path('html', $name);
        make_path($where =~ s{/[^/]*\z}{}r);
        write_file($where, $body);
        system('env', 'TZ=GMT', 'touch', '-t', $date, $where) if defined $date;
    }
    return;
}

sub write_file ($where, $bytes) {
    open my $out, '>:raw', $where or die "$where: $!\n";
    print {$out} $bytes;
    close $out or die "$where: $!\n";
    return;
}

END {
    if ($$ == $set{owner} && defined $pid && !$set{no_clean}) {
        local $?;
        stop_server();
        remove_tree($set{root}) if $set{own_root};
    }
}

1;
