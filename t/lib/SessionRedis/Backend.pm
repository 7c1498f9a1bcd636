# A backend that knows nothing: it shows what it was sent, as it was sent, and
# keeps it. It is a process of its own, since an nginx in the same http{} would
# strip our headers too.
package SessionRedis::Backend;

use v5.26;
use warnings;
use experimental 'signatures';

use Exporter 'import';
use IO::Select;
use IO::Socket::INET;
use SessionRedis::Process qw(fork_server temp_dir);

our @EXPORT_OK = qw(start_backend);

# By protocol: reads a whole request out of the bytes, or nothing yet, as its text; and wraps an answer.
my %protocol = (
    http => { read => \&read_http, write => sub ($status, $text) { http_answer("HTTP/1.0 $status X", $text) } },
    scgi => { read => \&read_scgi, write => sub ($status, $text) { http_answer("Status: $status", $text) } },
    uwsgi => { read => \&read_uwsgi, write => sub ($status, $text) { http_answer("HTTP/1.0 $status X", $text) } },
    fastcgi => {
        read  => \&read_fastcgi,
        write => sub ($status, $text) {
            my $answer = http_answer("Status: $status", $text);
            return pack('CCnnCx', 1, 6, 1, length $answer, 0) . $answer . pack('CCnnCx', 1, 3, 1, 8, 0) . "\0" x 8;
        },
    },
);

# Listens for each protocol at a port of its own: $TEST_NGINX_BACKEND_PORT speaks HTTP, $TEST_NGINX_FASTCGI_PORT,
# $TEST_NGINX_SCGI_PORT and $TEST_NGINX_UWSGI_PORT what they say. The answer's body is the request: its head for
# HTTP, a line "NAME=value" for each parameter of the others. "answer=404" in the request makes it 404.
sub start_backend () {
    my $self = bless { log => temp_dir() . '/seen' }, __PACKAGE__;
    my %listener;
    for my $name (keys %protocol) {
        $listener{$name} = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 128) or die "backend: $!\n";
        my $variable = $name eq 'http' ? 'BACKEND' : uc $name;
        $ENV{"TEST_NGINX_${variable}_PORT"} = $self->{$name} = $listener{$name}->sockport;
    }
    $self->forget;
    $self->{pid} = fork_server(sub { run($self->{log}, \%listener) });
    close $_ for values %listener;
    return $self;
}

sub port ($self) { return $self->{http} }

# All requests so far, or since "forget".
sub seen ($self) {
    open my $in, '<:raw', $self->{log} or die "$self->{log}: $!\n";
    local $/;
    return <$in> // '';
}

sub forget ($self) {
    open my $out, '>', $self->{log} or die "$self->{log}: $!\n";
    return;
}

sub run ($log, $listeners) {
    my $select = IO::Select->new(values %$listeners);
    my %name   = map { (fileno $listeners->{$_}, $_) } keys %$listeners;
    my %open;
    while (1) {
        for my $socket ($select->can_read) {
            if (my $name = $name{ fileno $socket }) {
                my $client = $socket->accept or next;
                $open{ fileno $client } = { speaks => $protocol{$name}, in => '' };
                $select->add($client);
                next;
            }
            my $client = $open{ fileno $socket };
            my $got    = sysread $socket, $client->{in}, 65536, length $client->{in};
            my $text   = $got ? $client->{speaks}{read}->($client->{in}) : undef;
            next if $got && !defined $text;
            answer($socket, $client, $text, $log) if defined $text;
            delete $open{ fileno $socket };
            $select->remove($socket);
            close $socket;
        }
    }
    return;
}

sub answer ($socket, $client, $text, $log) {
    open my $out, '>>:raw', $log or return;
    print {$out} $text, "\n";
    close $out;
    my ($status) = $text =~ /answer=(\d{3})/;
    my $bytes = $client->{speaks}{write}->($status // 200, $text);
    while (length $bytes) {
        my $sent = syswrite $socket, $bytes or return;
        substr $bytes, 0, $sent, '';
    }
    return;
}

sub http_answer ($first, $text) {
    return join "\r\n", $first, 'Content-Type: text/plain', 'Content-Length: ' . length $text, '', $text;
}

# The head, and nothing of the body, which must be there.
sub read_http ($bytes) {
    my $end = index $bytes, "\r\n\r\n";
    return if $end < 0;
    my $head = substr $bytes, 0, $end + 2;
    my $body = $head =~ /^Content-Length: (\d+)/mi ? $1 : 0;
    return if length($bytes) < $end + 4 + $body;
    return $head =~ s/\r\n/\n/gr;
}

sub read_scgi ($bytes) {
    my ($length) = $bytes =~ /\A(\d+):/ or return;
    my $from = length($length) + 1;
    return if length $bytes < $from + $length + 1;
    my @words = split /\0/, substr($bytes, $from, $length), -1;
    return parameters(@words[0 .. $#words - 1]);
}

sub read_uwsgi ($bytes) {
    return if length $bytes < 4;
    my $length = unpack 'x v', $bytes;
    return if length $bytes < 4 + $length;
    return parameters(unpack '(v/a)*', substr $bytes, 4, $length);
}

sub read_fastcgi ($bytes) {
    my ($parameters, $ended) = ('', 0);
    while (length $bytes >= 8) {
        my (undef, $type, undef, $length, $padding) = unpack 'CCnnC', $bytes;
        return if length $bytes < 8 + $length + $padding;
        $parameters .= substr $bytes, 8, $length if $type == 4;
        $ended = 1 if $type == 5 && !$length;
        substr $bytes, 0, 8 + $length + $padding, '';
    }
    return if !$ended;
    my @words;
    while (length $parameters) {
        my @length = map { take_length(\$parameters) } 1, 2;
        push @words, map { substr $parameters, 0, $_, '' } @length;
    }
    return parameters(@words);
}

sub take_length ($bytes) {
    my $length = unpack 'C', $$bytes;
    return unpack 'C', substr $$bytes, 0, 1, '' if $length < 128;
    return unpack('N', substr $$bytes, 0, 4, '') & 0x7fffffff;
}

sub parameters (@words) {
    my $text = '';
    while (my ($name, $value) = splice @words, 0, 2) {
        $text .= "$name=$value\n";
    }
    return $text;
}

1;
