# HTTP clients for what blocks cannot say: single requests, HTTP/2, bytes as
# they are, clients that leave, many requests at once.
package SessionRedis::Http;

use v5.26;
use warnings;
use experimental 'signatures';

use BlockTest::Response qw(parse_response);
use Errno qw(EAGAIN EINTR EWOULDBLOCK);
use Exporter 'import';
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket qw(IPPROTO_TCP SOL_SOCKET SO_LINGER TCP_NODELAY);
use Time::HiRes qw(time);

our @EXPORT_OK = qw(header http http2 leave many open_connection raw_http read_response request_bytes);

# Longer than anything that nginx does in our tests.
use constant TIMEOUT => 10;

# One request on a connection of its own: http(8080, '/x', method => 'POST', headers => ['Cookie: a=b'], body => 'x').
# Returns { code, raw_headers, fields, body }; header($response, 'Name') reads a field.
sub http ($port, $path, %how) {
    return parse_response(raw_http($port, request_bytes($path, %how), %how), head => ($how{method} // '') eq 'HEAD');
}

# A field of a response; several of one name are joined by commas.
sub header ($response, $name) {
    return BlockTest::Response::header($response, $name);
}

# The bytes of a request. %how: method, headers (list of lines; Host and Connection: close are added where
# missing), body, keepalive.
sub request_bytes ($path, %how) {
    my @headers = ($how{headers} // [])->@*;
    unshift @headers, 'Host: localhost' if !grep { /\AHost:/i } @headers;
    push @headers, 'Connection: close'  if !$how{keepalive} && !grep { /\AConnection:/i } @headers;
    push @headers, 'Content-Length: ' . length $how{body} if defined $how{body} && !grep { /\AContent-Length:/i } @headers;
    my $method = $how{method} // (defined $how{body} ? 'POST' : 'GET');
    return join("\r\n", "$method $path HTTP/1.1", @headers, '', '') . ($how{body} // '');
}

# Sends bytes and returns all that comes until the server closes or timeout (s) has passed.
sub raw_http ($port, $bytes, %how) {
    my $socket = open_connection($port);
    send_all($socket, $bytes);
    my $in  = '';
    my $end = time + ($how{timeout} // TIMEOUT);
    while (readable($socket, $end - time)) {
        my $got = sysread $socket, $in, 65536, length $in;
        last if !$got;
    }
    return $in;
}

# A connection to a port of 127.0.0.1, or to a Unix socket; send bytes with syswrite.
sub open_connection ($where) {
    my $socket = $where =~ m{/} ? IO::Socket::UNIX->new(Peer => $where)
        : IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $where, Timeout => TIMEOUT);
    die "no connection to $where: $!\n" if !$socket;
    setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1 if $where !~ m{/};
    return $socket;
}

# One response from a connection that is kept; { timed_out => 1 } or { closed => 1 } if none comes.
sub read_response ($socket, %how) {
    my $in  = '';
    my $end = time + ($how{timeout} // TIMEOUT);
    while (readable($socket, $end - time)) {
        my $got = sysread $socket, $in, 65536, length $in;
        return { closed => 1, bytes => $in } if !$got;
        return parse_response($in) if response_length($in);
    }
    return { timed_out => 1, bytes => $in };
}

# A client that gives up: closes, or resets with reset => 1.
sub leave ($socket, %how) {
    setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'II', 1, 0 if $how{reset};
    close $socket;
    return;
}

# As http, over HTTP/2 without TLS, by curl; each line of headers is a field of its own, cookies too.
# The port must listen for it: nginx->h2_listen.
sub http2 ($port, $path, %how) {
    my @command = ('curl', '-s', '-i', '--http2-prior-knowledge', '--max-time', $how{timeout} // TIMEOUT);
    push @command, '-X', $how{method} if $how{method};
    push @command, map { ('-H', $_) } ($how{headers} // [])->@*;
    push @command, '--data-binary', $how{body} if defined $how{body};
    open my $curl, '-|', @command, "http://127.0.0.1:$port$path" or die "curl: $!\n";
    my $bytes = do { local $/; <$curl> };
    close $curl;
    return parse_response($bytes // '', head => ($how{method} // '') eq 'HEAD');
}

# Many requests, some at a time: many(port => 8080, count => 1000, at_once => 64, request => sub ($i) { bytes },
# each => sub ($i, $response) { … }). A request that is to be kept alive must not say "Connection: close".
# Options: timeout (s, of one answer), leave => sub ($i) { seconds after which this client leaves, or undef }.
# Returns { codes => { 200 => n, … }, lost => n (closed or reset without a whole answer), timed_out, refused, left,
# seconds, longest }.
sub many (%how) {
    local $SIG{PIPE} = 'IGNORE';
    my %run = (
        next => 0, open => {}, %how,
        at_once => $how{at_once} // 64, timeout => $how{timeout} // TIMEOUT,
        result => { codes => {}, lost => 0, timed_out => 0, refused => 0, left => 0, longest => 0 },
    );
    my $start = time;
    begin_next(\%run) for 1 .. $run{at_once};
    while ($run{open}->%*) {
        my ($in, $out) = ('', '');
        for my $client (values $run{open}->%*) {
            vec($in, $client->{fd}, 1) = 1;
            vec($out, $client->{fd}, 1) = 1 if length $client->{out};
        }
        select $in, $out, undef, 0.05;
        my $now = time;
        for my $client (values $run{open}->%*) {
            write_to(\%run, $client) if length $client->{out} && vec $out, $client->{fd}, 1;
            read_from(\%run, $client, $now) if $client->{socket} && vec $in, $client->{fd}, 1;
            look_at_clock(\%run, $client, $now) if $client->{socket};
        }
    }
    $run{result}{seconds} = time - $start;
    return $run{result};
}

# The next request that is to be made: on a kept connection, or a new one.
sub begin_next ($run, $socket = undef) {
    my $i = $run->{next};
    return defined $socket ? close $socket : () if $i >= $run->{count};
    $run->{next}++;
    $socket //= new_socket($run->{port});
    my $now = time;
    my $leave = $run->{leave} ? $run->{leave}->($i) : undef;
    $run->{open}{ fileno $socket } = {
        i => $i, socket => $socket, fd => fileno $socket, out => $run->{request}->($i), in => '',
        began => $now, leaves => defined $leave ? $now + $leave : undef,
    };
    return;
}

sub new_socket ($port) {
    return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Blocking => 0) // die "socket: $!\n";
}

sub write_to ($run, $client) {
    my $sent = syswrite $client->{socket}, $client->{out};
    if (defined $sent) {
        substr $client->{out}, 0, $sent, '';
    } elsif ($! != EAGAIN && $! != EINTR) {
        $client->{refused} = $!{ECONNREFUSED};
        $client->{out}     = '';
    }
    return;
}

sub read_from ($run, $client, $now) {
    my $got = sysread $client->{socket}, $client->{in}, 65536, length $client->{in};
    if (!defined $got) {
        return if $! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR;
        $client->{refused} ||= $!{ECONNREFUSED};
    }
    my $length = response_length($client->{in}, !$got);
    if ($length) {
        my $response = parse_response($client->{in});
        $run->{result}{codes}{ $response->{code} }++;
        $run->{result}{longest} = $now - $client->{began} if $now - $client->{began} > $run->{result}{longest};
        $run->{each}->($client->{i}, $response) if $run->{each};
        my $kept = $got && $client->{in} !~ /^Connection: close\r$/mi;
        return done($run, $client, $kept);
    }
    return if $got;
    $run->{result}{ $client->{refused} ? 'refused' : 'lost' }++;
    return done($run, $client);
}

sub look_at_clock ($run, $client, $now) {
    if (defined $client->{leaves} && $now >= $client->{leaves}) {
        $run->{result}{left}++;
        return done($run, $client);
    }
    if ($now - $client->{began} > $run->{timeout}) {
        $run->{result}{timed_out}++;
        return done($run, $client);
    }
    return;
}

sub done ($run, $client, $kept = 0) {
    delete $run->{open}{ $client->{fd} };
    my $socket = delete $client->{socket};
    close $socket if !$kept;
    begin_next($run, $kept ? $socket : undef);
    return;
}

# How long a whole response is that the bytes begin with; 0 while there is more to come.
sub response_length ($bytes, $is_end = 0) {
    my $head = index $bytes, "\r\n\r\n";
    return 0 if $head < 0;
    $head += 4;
    my $fields = substr $bytes, 0, $head;
    return $head if $fields =~ m{\AHTTP/\S+ (?:204|304)};
    if ($fields =~ /^Content-Length:\s*(\d+)/mi) {
        return length $bytes >= $head + $1 ? $head + $1 : 0;
    }
    if ($fields =~ /^Transfer-Encoding:\s*chunked/mi) {
        return $bytes =~ /\r\n0\r\n\r\n\z/ ? length $bytes : 0;
    }
    return $is_end ? length $bytes : 0;
}

sub send_all ($socket, $bytes) {
    local $SIG{PIPE} = 'IGNORE';
    while (length $bytes) {
        my $sent = syswrite $socket, $bytes;
        last if !defined $sent;
        substr $bytes, 0, $sent, '';
    }
    return;
}

sub readable ($socket, $seconds) {
    return 0 if $seconds <= 0;
    vec(my $in = '', fileno $socket, 1) = 1;
    return select($in, undef, undef, $seconds) > 0;
}

1;
