# A memcached that does what a script says, for what a real one cannot be made to do; as FakeRedis, which says how.
# Commands are known by their first words, in capitals: GET, MG, DELETE, TOUCH, SET. Without a script it behaves.
package FakeMemcached;

use v5.26;
use warnings;
use experimental 'signatures';

use parent 'FakeRedis';

sub url      ($self) { return 'memcached://127.0.0.1:' . $self->port }
sub unix_url ($self) { return 'memcached+unix://' . $self->socket }

# The half that runs in the other process.
package FakeMemcached::Server;

use v5.26;
use warnings;
use experimental 'signatures';

use parent -norequire, 'FakeRedis::Server';

# The words of a line, and the data that a "set" has behind it.
sub parse ($self, $in) {
    my ($line) = $$in =~ /\A(.*?)\r\n/s or return;
    my @words = split / /, $line;
    my $taken = 2 + length $line;
    if (@words && $words[0] eq 'set') {
        return if length $$in < $taken + $words[4] + 2;
        push @words, substr $$in, $taken, $words[4];
        $taken += $words[4] + 2;
    }
    substr $$in, 0, $taken, '';
    return \@words;
}

sub default_reply ($self, $words) {
    my ($name, $key) = @$words;
    my $value = $self->{data}{$key};
    if ($name eq 'get') { return defined $value ? "VALUE $key 0 " . length($value) . "\r\n$value\r\nEND\r\n" : "END\r\n" }
    if ($name eq 'mg') { return defined $value ? "HD k$key t-1\r\n" : "EN\r\n" }
    if ($name eq 'delete') { return defined delete $self->{data}{$key} ? "DELETED\r\n" : "NOT_FOUND\r\n" }
    if ($name eq 'touch') { return defined $value ? "TOUCHED\r\n" : "NOT_FOUND\r\n" }
    if ($name eq 'set') { $self->{data}{$key} = $words->[5]; return "STORED\r\n" }
    return "ERROR\r\n";
}

1;
