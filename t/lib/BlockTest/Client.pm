# Sends the packets of one request over a fresh connection and reads until
# nginx closes it.
package BlockTest::Client;

use v5.26;
use warnings;
use experimental 'signatures';

use BlockTest::Settings qw(%set);
use Errno qw(EAGAIN EINTR EWOULDBLOCK);
use Exporter 'import';
use IO::Socket::INET;
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(exchange);

# Returns { bytes, timed_out, refused }. Silence of $timeout seconds ends the exchange.
sub exchange ($packets, $timeout, %how) {
    local $SIG{PIPE} = 'IGNORE';
    my $socket = open_socket($how{addr} // $set{server_addr}, $timeout)
        or return { bytes => '', refused => "$!" };
    $socket->blocking(0);

    my %state = (bytes => '', left => [@$packets], pending => '', shutdown => $how{shutdown}, packet_delay => $how{packet_delay});
    take_packet(\%state, 1);
    my $deadline = time + $timeout;
    while (1) {
        send_some($socket, \%state) or last;
        my $wait = $deadline - time;
        my $until_packet = ($state{not_before} // 0) - time;
        $wait = $until_packet if has_more(\%state) && $until_packet > 0 && $until_packet < $wait;
        if ($deadline - time <= 0) {
            $state{timed_out} = 1;
            last;
        }
        my ($readable, $writable) = wait_for($socket, has_more(\%state) && $until_packet <= 0, $wait);
        $deadline = time + $timeout if $readable || $writable || has_more(\%state);
        last if $readable && !read_some($socket, \%state);
    }
    return \%state;
}

sub open_socket ($addr, $timeout) {
    for my $try (1 .. 20) {
        my $socket = IO::Socket::INET->new(PeerAddr => $addr, PeerPort => $set{client_port}, Timeout => $timeout);
        return $socket if $socket;
        sleep $set{sleep} * $try;
    }
    return;
}

sub take_packet ($state, $is_first = 0) {
    my $packet = shift $state->{left}->@*;
    $state->{pending} = $packet->{value};
    my $delay = $packet->{delay_before} // ($is_first ? 0 : $state->{packet_delay} // 0);
    $state->{not_before} = time + $delay;
    return;
}

sub has_more ($state) {
    return length $state->{pending} || $state->{left}->@*;
}

# Writes what may be written now; false when nginx does not want it and has answered.
sub send_some ($socket, $state) {
    while (has_more($state)) {
        if (!length $state->{pending}) {
            take_packet($state);
            next;
        }
        return 1 if time < $state->{not_before};
        my $sent = syswrite $socket, $state->{pending};
        if (!defined $sent) {
            return 1 if $! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR;
            read_some($socket, $state);
            return 0;
        }
        substr $state->{pending}, 0, $sent, '';
    }
    if (defined $state->{shutdown}) {
        shutdown $socket, delete $state->{shutdown};
    }
    return 1;
}

sub wait_for ($socket, $to_write, $seconds) {
    my ($in, $out) = ('', '');
    vec($in, fileno $socket, 1) = 1;
    vec($out, fileno $socket, 1) = 1 if $to_write;
    my $found = select $in, $out, undef, $seconds > 0 ? $seconds : 0;
    return (0, 0) if $found <= 0;
    return (vec($in, fileno $socket, 1), $to_write && vec($out, fileno $socket, 1));
}

# Reads all that is there; false at the end of the connection.
sub read_some ($socket, $state) {
    while (1) {
        my $got = sysread $socket, $state->{bytes}, 65536, length $state->{bytes};
        next if $got;
        return 0 if defined $got;
        return 1 if $! == EAGAIN || $! == EWOULDBLOCK;
        next     if $! == EINTR;
        warn "reading the response: $!\n";
        return 0;
    }
}

1;
