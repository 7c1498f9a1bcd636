# The one-connection server of a block: tcp_listen, tcp_reply and their kin.
package BlockTest::TcpServer;

use v5.26;
use warnings;
use experimental 'signatures';

use BlockTest::Config qw(expand);
use Exporter 'import';
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use Socket qw(SOCK_STREAM);
use Time::HiRes qw(sleep);

our @EXPORT_OK = qw(start_tcp_server stop_tcp_server seconds);

# Starts the server a block asks for; returns undef for one that asks for none.
sub start_tcp_server ($block) {
    return if !defined $block->tcp_listen;
    die "tcp_listen without tcp_reply\n" if !defined $block->tcp_reply && !defined $block->tcp_shutdown;
    my $target = expand($block->tcp_listen);
    my $socket = $target =~ /\A\d+\z/
        ? IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $target, ReuseAddr => 1, Listen => 5)
        : do { unlink $target; IO::Socket::UNIX->new(Local => $target, Type => SOCK_STREAM, Listen => 5) };
    die "tcp_listen $target: $!\n" if !$socket;

    pipe my $query_in, my $query_out or die "pipe: $!\n";
    defined(my $pid = fork) or die "fork: $!\n";
    if ($pid == 0) {
        eval { answer($block, $socket, $query_out); 1 } or warn "tcp server: $@";
        POSIX::_exit(0);
    }
    close $query_out;
    return { pid => $pid, query => $query_in, path => $target =~ m{/} ? $target : undef };
}

# Ends the server; returns what it was sent.
sub stop_tcp_server ($server) {
    kill KILL => $server->{pid};
    waitpid $server->{pid}, 0;
    unlink $server->{path} if defined $server->{path};
    my $handle = $server->{query};
    local $/;
    return <$handle> // '';
}

sub answer ($block, $socket, $query_out) {
    my $client = $socket->accept or die "accept: $!\n";
    my ($reads, $writes) = (1, 1);
    if (defined(my $how = $block->tcp_shutdown)) {
        sleep $block->tcp_shutdown_delay if $block->tcp_shutdown_delay;
        shutdown $client, $how;
        $how == 1 ? $writes = 0 : ($reads = 0);
        $writes = 0 if $how == 2;
    }
    my $query = $reads ? read_query($block, $client, $query_out) : '';
    sleep seconds($block->tcp_reply_delay) if defined $block->tcp_reply_delay;
    my $reply = $block->tcp_reply;
    if ($writes && defined $reply) {
        $reply = $reply->($query) if ref $reply eq 'CODE';
        syswrite $client, $_ for ref $reply ? @$reply : $reply;
    }
    sleep 3600 if defined $block->tcp_no_close;
    return;
}

sub read_query ($block, $client, $query_out) {
    my $wanted = $block->tcp_query_len // (defined $block->tcp_query ? length $block->tcp_query : 1);
    my $query  = '';
    while (length $query < $wanted) {
        my $got = sysread $client, my $bytes, 4096;
        last if !$got;
        syswrite $query_out, $bytes;
        $query .= $bytes;
    }
    return $query;
}

# "100ms", "2s" or "2" in seconds.
sub seconds ($time) {
    return $time =~ /\A\s*([\d.]+)ms\s*\z/ ? $1 / 1000 : $time =~ s/s\s*\z//r;
}

1;
