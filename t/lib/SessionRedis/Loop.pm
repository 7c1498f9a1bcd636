# A select loop in a process of its own, for servers that must misbehave while
# the test goes on, and the wire over which the test asks and tells them.
package SessionRedis::Loop;

use v5.26;
use warnings;
use experimental 'signatures';

use Exporter 'import';
use IO::Handle;
use SessionRedis::Process qw(fork_server);
use Socket   qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use Storable qw(nfreeze thaw);
use Time::HiRes qw(time);

our @EXPORT_OK = qw(ask start_loop);

# Forks a process that runs a loop. $setup->($loop) makes the servers; it returns a hash of what can be
# asked: { name => sub (@arguments) { answer } }. Returns { pid, wire }. It ends with the test.
sub start_loop ($setup) {
    socketpair my $here, my $there, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!\n";
    my $pid = fork_server(sub {
        close $here;
        my $loop    = __PACKAGE__->new;
        my $answers = $setup->($loop);
        $loop->reads($there, sub { answer_one($there, $answers) });
        send_frame($there, ['ready']);
        $loop->run;
    });
    close $there;
    my $remote = { pid => $pid, wire => $here };
    receive_frame($here) // die "the server did not start\n";
    return $remote;
}

# Asks the process, waits for its answer and returns it.
sub ask ($remote, $name, @arguments) {
    send_frame($remote->{wire}, [$name, @arguments]);
    my $answer = receive_frame($remote->{wire}) // die "the server is gone\n";
    die $answer->{error} if defined $answer->{error};
    return $answer->{value};
}

sub answer_one ($wire, $answers) {
    my $question = receive_frame($wire) // POSIX::_exit(0);
    my ($name, @arguments) = @$question;
    my $value = eval { ($answers->{$name} // die "no such question: $name\n")->(@arguments) };
    send_frame($wire, $@ ? { error => "$@" } : { value => $value });
    return;
}

sub send_frame ($wire, $data) {
    my $bytes = nfreeze($data);
    local $SIG{PIPE} = 'IGNORE';
    $wire->syswrite(pack('N', length $bytes) . $bytes);
    return;
}

sub receive_frame ($wire) {
    my $length = read_exactly($wire, 4) // return;
    return thaw(read_exactly($wire, unpack 'N', $length) // return);
}

sub read_exactly ($wire, $count) {
    my $bytes = '';
    while (length $bytes < $count) {
        sysread $wire, $bytes, $count - length $bytes, length $bytes or return;
    }
    return $bytes;
}

sub new ($class) {
    return bless { reads => {}, writes => {}, timers => [] }, $class;
}

# Calls back whenever the handle may be read; without a callback no more.
sub reads ($self, $handle, $callback = undef) {
    return set_watch($self->{reads}, $handle, $callback);
}

sub writes ($self, $handle, $callback = undef) {
    return set_watch($self->{writes}, $handle, $callback);
}

sub forget ($self, $handle) {
    set_watch($self->{$_}, $handle) for qw(reads writes);
    return;
}

# Calls back once, after some seconds (0: in the loop's next turn).
sub after ($self, $seconds, $callback) {
    push $self->{timers}->@*, [time + $seconds, $callback];
    return;
}

sub run ($self) {
    while (1) {
        my ($in, $out) = map { mask($self->{$_}) } qw(reads writes);
        select $in, $out, undef, $self->until_timer;
        $self->run_timers;
        for (['reads', $in], ['writes', $out]) {
            my ($kind, $ready) = @$_;
            for my $number (keys $self->{$kind}->%*) {
                next if !vec $ready, $number, 1;
                my $watch = $self->{$kind}{$number} // next;
                $watch->();
            }
        }
    }
}

sub until_timer ($self) {
    my ($first) = sort { $a <=> $b } map { $_->[0] } $self->{timers}->@*;
    return if !defined $first;
    return $first > time ? $first - time : 0;
}

sub run_timers ($self) {
    my $now = time;
    my @due = sort { $a->[0] <=> $b->[0] } grep { $_->[0] <= $now } $self->{timers}->@*;
    $self->{timers}->@* = grep { $_->[0] > $now } $self->{timers}->@*;
    $_->[1]->() for @due;
    return;
}

sub set_watch ($watches, $handle, $callback = undef) {
    my $number = fileno $handle // return;
    $callback ? $watches->{$number} = $callback : delete $watches->{$number};
    return;
}

sub mask ($watches) {
    my $mask = '';
    vec($mask, $_, 1) = 1 for keys %$watches;
    return $mask;
}

1;
