# What is written to one connection, as steps that follow each other:
#   "bytes"                                  sent
#   { bytes => …, split => n, every => s }   sent in pieces of n bytes, s seconds apart
#   { delay => s }                           nothing for s seconds, then the rest
#   { close => 1 }  { reset => 1 }           the end, orderly or by RST
#   { silence => 1 }                         nothing more, ever
package SessionRedis::Writer;

use v5.26;
use warnings;
use experimental 'signatures';

use Socket qw(SOL_SOCKET SO_LINGER);

# $on_end is called when the connection is over.
sub new ($class, $loop, $socket, $on_end) {
    $socket->blocking(0);
    return bless { loop => $loop, socket => $socket, on_end => $on_end, steps => [], out => '' }, $class;
}

sub add ($self, @steps) {
    return if $self->{silent} || $self->{over};
    push $self->{steps}->@*, @steps;
    $self->go_on if !$self->{waits};
    return;
}

# Whether everything was written.
sub is_idle ($self) {
    return !$self->{waits} && !$self->{steps}->@* && $self->{out} eq '';
}

# Ends the connection now, whatever is left to write.
sub end ($self, %how) {
    return if $self->{over}++;
    $self->{loop}->forget($self->{socket});
    setsockopt $self->{socket}, SOL_SOCKET, SO_LINGER, pack 'II', 1, 0 if $how{reset};
    close $self->{socket};
    $self->{on_end}->();
    return;
}

sub go_on ($self) {
    until ($self->{over}) {
        return if !$self->flush;
        my $step = shift $self->{steps}->@* // return;
        if (!ref $step) {
            $self->{out} = $step;
        } elsif (defined $step->{bytes}) {
            $self->split_up($step);
        } elsif (defined $step->{delay}) {
            return $self->pause($step->{delay});
        } elsif ($step->{silence}) {
            $self->{silent} = 1;
            $self->{steps}  = [];
        } else {
            $self->end(reset => $step->{reset});
        }
    }
    return;
}

sub split_up ($self, $step) {
    my $size = $step->{split} // length $step->{bytes};
    for my $piece (reverse $step->{bytes} =~ /(.{1,$size})/gs) {
        unshift $self->{steps}->@*, $piece, { delay => $step->{every} // 0 };
    }
    return;
}

sub pause ($self, $seconds) {
    $self->{waits} = 1;
    $self->{loop}->after($seconds, sub {
        $self->{waits} = 0;
        $self->go_on;
    });
    return;
}

# Writes what is left; false while the connection takes no more.
sub flush ($self) {
    while (length $self->{out}) {
        my $sent = syswrite $self->{socket}, $self->{out};
        if (defined $sent) {
            substr $self->{out}, 0, $sent, '';
            next;
        }
        if (!$!{EAGAIN} && !$!{EINTR}) {
            $self->end;
            return 0;
        }
        $self->{waits} = 1;
        $self->{loop}->writes($self->{socket}, sub {
            $self->{waits} = 0;
            $self->{loop}->writes($self->{socket});
            $self->go_on;
        });
        return 0;
    }
    return 1;
}

1;
