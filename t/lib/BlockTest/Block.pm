# A block whose sections read as exactly one value each: undef where the
# section is not there. (Test::Base gives an empty list.)
package BlockTest::Block;

use v5.26;
use warnings;
use experimental 'signatures';

our $AUTOLOAD;

sub new ($class, $block) {
    return bless { block => $block }, $class;
}

# The block as Test::Base knows it.
sub original ($self) {
    return $self->{block};
}

sub AUTOLOAD {    ## no critic (any section may be asked for)
    my $self    = shift;
    my $section = $AUTOLOAD =~ s/.*:://r;
    return scalar $self->{block}->$section;
}

sub DESTROY { }

1;
