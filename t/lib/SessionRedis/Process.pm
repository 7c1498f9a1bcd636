# Processes, ports and temporary directories of a test file. All of them are
# gone when the test ends, also when it dies or is killed: a guardian process
# sees its pipe close and cleans up what the test could not.
package SessionRedis::Process;

use v5.26;
use warnings;
use experimental 'signatures';

use Exporter 'import';
use File::Path qw(remove_tree);
use File::Temp ();
use IO::Socket::INET;
use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(
    alive children fork_server free_port freeze have in_path resident_kb spawn stop temp_dir thaw wait_for
);

my $owner = $$;
my (%started, @dirs, $lifeline, $guardian);

# Runs a program in the background, in a process group of its own. %how: env => {}, dir (to be in),
# log (a file for what it prints; else /dev/null). Returns its pid.
sub spawn ($command, %how) {
    return begin(sub {
        open STDIN,  '<',  '/dev/null';
        open STDOUT, '>>', $how{log} // '/dev/null';
        open STDERR, '>&', \*STDOUT;
        @ENV{ keys $how{env}->%* } = values $how{env}->%* if $how{env};
        chdir $how{dir} if defined $how{dir};
        { no warnings; exec { $command->[0] } @$command }
    });
}

# Runs Perl code in the background. Returns its pid.
sub fork_server ($code) {
    return begin(sub {
        open STDOUT, '>', '/dev/null';
        @SIG{qw(INT TERM HUP PIPE)} = ('DEFAULT', 'DEFAULT', 'DEFAULT', 'IGNORE');
        eval { $code->(); 1 } or warn $@;
        POSIX::_exit(0);
    });
}

# Ends a process that spawn or fork_server began, and its children.
# Returns its exit status, undef if it had to be killed.
sub stop ($pid, %how) {
    delete $started{$pid} or return;
    my $signal = $how{signal} // 'TERM';
    kill CONT => -$pid;
    kill $signal => $pid;
    my $end = time + ($how{seconds} // 3);
    my $status;
    until (defined $status || time > $end) {
        waitpid($pid, WNOHANG) and $status = $?;
        sleep 0.002 if !defined $status;
    }
    kill KILL => -$pid;
    waitpid $pid, 0 if !defined $status;
    tell_guardian("gone $pid");
    return $status;
}

# A process group neither runs nor answers until it is thawed.
sub freeze ($pid) { kill STOP => -$pid; return }
sub thaw   ($pid) { kill CONT => -$pid; return }

sub alive ($pid) {
    waitpid $pid, WNOHANG if $started{$pid};
    open my $in, '<', "/proc/$pid/stat" or return 0;
    return <$in> !~ /\) [ZX] /;
}

# The processes whose parent is this one.
sub children ($pid) {
    open my $in, '<', "/proc/$pid/task/$pid/children" or return;
    return split ' ', <$in> // '';
}

# Memory that a process has in RAM, in kB.
sub resident_kb ($pid) {
    open my $in, '<', "/proc/$pid/status" or return;
    my ($kb) = join('', <$in>) =~ /^VmRSS:\s+(\d+) kB/m;
    return $kb;
}

# Asks until the answer is true, and returns it; dies after some seconds.
sub wait_for ($question, %how) {
    my $end = time + ($how{seconds} // 5);
    while (1) {
        my $answer = $question->();
        return $answer if $answer;
        die 'waited in vain for ', $how{what} // 'something', "\n" if time > $end;
        sleep $how{every} // 0.005;
    }
}

# A TCP port of 127.0.0.1 that nobody listens on, each time another. None of those that the kernel gives to clients: a
# server that was ended would find it taken when it is started again.
sub free_port () {
    state %given;
    for (1 .. 100) {
        my $port = 12_000 + int rand 20_000;
        return $port if !$given{$port}++ && IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1);
    }
    die "no free port\n";
}

# A directory that any user may enter.
sub temp_dir () {
    my $dir = File::Temp::tempdir('session-redis-XXXXXX', TMPDIR => 1);
    chmod 0755, $dir;
    push @dirs, $dir;
    tell_guardian("dir $dir");
    return $dir;
}

# The first of these programs that is installed, with its path.
sub in_path (@names) {
    for my $name (@names) {
        for my $dir (split(/:/, $ENV{PATH} // ''), qw(/usr/sbin /sbin /usr/local/sbin)) {
            return "$dir/$name" if -x "$dir/$name" && !-d _;
        }
    }
    return;
}

# Whether each of these programs is installed.
sub have (@names) {
    return !grep { !in_path($_) } @names;
}

sub begin ($code) {
    start_guardian();
    defined(my $pid = fork) or die "fork: $!\n";
    if ($pid == 0) {
        close $lifeline;
        POSIX::setpgid(0, 0);
        $code->();
        POSIX::_exit(127);
    }
    POSIX::setpgid($pid, $pid);
    $started{$pid} = 1;
    tell_guardian("pid $pid");
    return $pid;
}

sub start_guardian () {
    return if $guardian;
    pipe my $in, $lifeline or die "pipe: $!\n";
    $lifeline->autoflush(1);
    defined($guardian = fork) or die "fork: $!\n";
    return close $in if $guardian;

    close $lifeline;
    POSIX::setpgid(0, 0);
    open STDIN,  '<', '/dev/null';
    open STDOUT, '>', '/dev/null';
    open STDERR, '>', '/dev/null';
    $SIG{$_} = 'IGNORE' for qw(INT TERM HUP);
    guard($in);
    POSIX::_exit(0);
}

# Follows what the test starts and ends; when the test is no more, ends the rest.
sub guard ($in) {
    my (%pid, %dir);
    while (my $line = <$in>) {
        my ($what, $which) = $line =~ /\A(\w+) (.*)\n\z/ or next;
        if    ($what eq 'pid')  { $pid{$which} = start_time($which) }
        elsif ($what eq 'gone') { delete $pid{$which} }
        elsif ($what eq 'dir')  { $dir{$which} = 1 }
        elsif ($what eq 'left') { delete $dir{$which} }
    }
    for my $pid (keys %pid) {
        kill KILL => -$pid if start_time($pid) eq $pid{$pid};
    }
    remove_tree(keys %dir) if %dir;
    return;
}

# Tells a process from a later one that has the same number.
sub start_time ($pid) {
    open my $in, '<', "/proc/$pid/stat" or return '';
    my @field = split ' ', <$in> =~ s/.*\)//r;
    return $field[19];
}

sub tell_guardian ($line) {
    start_guardian();
    local $SIG{PIPE} = 'IGNORE';
    print {$lifeline} "$line\n" if $$ == $owner;
    return;
}

for my $signal (qw(INT TERM HUP)) {
    $SIG{$signal} //= sub { exit 1 };
}

END {
    if ($$ == $owner) {
        local $?;
        stop($_) for keys %started;
        remove_tree(@dirs) if @dirs;
        tell_guardian("left $_") for @dirs;
        if ($guardian) {
            close $lifeline;
            waitpid $guardian, 0;
        }
    }
}

1;
