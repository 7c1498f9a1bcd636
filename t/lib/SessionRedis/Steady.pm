# Clients that ask all the time, in the background, while a test breaks
# something; and what became of their requests.
package SessionRedis::Steady;

use v5.26;
use warnings;
use experimental 'signatures';

use SessionRedis::Http    qw(open_connection read_response request_bytes);
use SessionRedis::Process qw(fork_server stop temp_dir);
use Time::HiRes           qw(sleep time);

# %how: port, path, headers; expected (body of a right answer), clients (4) each with a request every so many
# seconds (0.002) at most.
sub start ($class, %how) {
    my $self = bless { clients => 4, every => 0.002, %how, dir => temp_dir() }, $class;
    $self->{pids} = [map { my $client = $_; fork_server(sub { $self->ask_for_ever($client) }) } 1 .. $self->{clients}];
    return $self;
}

# Ends them; the requests made: [when it was sent, when it was answered, its code or "lost", whether the body was right].
sub finish ($self) {
    stop($_) for $self->{pids}->@*;
    my @all;
    for my $client (1 .. $self->{clients}) {
        open my $in, '<', "$self->{dir}/$client" or next;
        push @all, map { [split] } grep { /\n\z/ } <$in>;
    }
    return sort { $a->[0] <=> $b->[0] } @all;
}

# Of such requests: { all, right, failed => { code => n }, wrong, first and last (times at which one that failed was
# sent), longest }.
sub summary (@requests) {
    my %sum = (all => scalar @requests, right => 0, wrong => 0, failed => {}, longest => 0);
    for my $request (@requests) {
        my ($sent, $answered, $code, $is_right) = @$request;
        $sum{longest} = $answered - $sent if $answered - $sent > $sum{longest};
        if ($code eq '200') {
            $is_right ? $sum{right}++ : $sum{wrong}++;
            next;
        }
        $sum{failed}{$code}++;
        $sum{first} //= $sent;
        $sum{last} = $sent;
    }
    return \%sum;
}

sub ask_for_ever ($self, $client) {
    open my $out, '>', "$self->{dir}/$client" or die "$self->{dir}: $!\n";
    $out->autoflush(1);
    my $bytes = request_bytes($self->{path}, headers => $self->{headers}, keepalive => 1);
    my $connection;
    while (1) {
        my $sent = time;
        $connection //= eval { open_connection($self->{port}) };
        my $response = $connection && syswrite($connection, $bytes) ? read_response($connection) : {};
        my $code     = $response->{code} // 'lost';
        undef $connection if $code eq 'lost' || $response->{raw_headers} =~ /^Connection: close/mi;
        printf {$out} "%.6f %.6f %s %d\n", $sent, time, $code, ($response->{body} // '') eq $self->{expected};
        my $left = $sent + $self->{every} - time;
        sleep $left if $left > 0;
    }
}

1;
