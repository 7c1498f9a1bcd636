# A real Redis Cluster of the test's own on loopback: masters, with a replica
# each, whose nodes can be killed, frozen, started again, and whose slots can be
# moved, as redis-cli does it.
package SessionRedis::Cluster;

use v5.26;
use warnings;
use experimental 'signatures';

use SessionRedis::Process qw(free_port wait_for);
use SessionRedis::Redis   ();

use constant SLOTS => 16384;

# %how: masters (3), replicas (of each, 1), password, node_timeout (ms, 1000), config (hash of other directives).
# Waits until every node says that the cluster is well.
sub start ($class, %how) {
    my $self = bless { masters => 3, replicas => 1, node_timeout => 1000, %how }, $class;
    my $count = $self->{masters} * (1 + $self->{replicas});
    $self->{nodes} = [map { $self->start_node } 1 .. $count];
    my @masters = @{ $self->{nodes} }[0 .. $self->{masters} - 1];
    $self->join_all;
    $self->share_slots(@masters);
    $self->replicate(@masters);
    $self->wait_until_well;
    return $self;
}

# All nodes, the masters first; those that a test added last.
sub nodes ($self) { return $self->{nodes}->@* }
sub node  ($self, $n) { return $self->{nodes}[$n] }

# As "cluster" wants them.
sub seeds ($self) { return join ' ', map { '127.0.0.1:' . $_->port } $self->nodes }

# A node that belongs to nothing yet.
sub start_node ($self) {
    my @password = defined $self->{password} ? (password => $self->{password}) : ();
    my $node = SessionRedis::Redis->start(@password, config => {
        'cluster-enabled' => 'yes', 'cluster-config-file' => 'nodes.conf', 'cluster-port' => free_port(),
        'cluster-node-timeout' => $self->{node_timeout}, 'cluster-require-full-coverage' => 'no',
        'cluster-replica-validity-factor' => 0, 'repl-diskless-sync-delay' => 0, 'repl-ping-replica-period' => 1,
        defined $self->{password} ? (masterauth => $self->{password}) : (), ($self->{config} // {})->%*,
    });
    $node->{id} = $node->cmd('CLUSTER', 'MYID');
    return $node;
}

# Adds a master without slots.
sub add_node ($self) {
    my $node = $self->start_node;
    push $self->{nodes}->@*, $node;
    $self->acquaint;
    $self->wait_until_well;
    return $node;
}

sub join_all ($self) {
    my $epoch = 0;
    $_->cmd('CLUSTER', 'SET-CONFIG-EPOCH', ++$epoch) for $self->nodes;
    return $self->acquaint;
}

# Makes all nodes known to each other. A node forgets another that has not answered within the node timeout, as happens
# on a busy machine, hence again and again.
sub acquaint ($self) {
    my $count = scalar $self->nodes;
    my $first = $self->node(0);
    my $met   = 0;
    return wait_for(sub {
        my @strangers = grep { my $known = () = $_->cmd('CLUSTER', 'NODES') =~ /^\S+ 127\S+ (?!\S*handshake)/mg; $known < $count } $self->up_nodes;
        if (time - $met > 3) {
            $_->cmd('CLUSTER', 'MEET', '127.0.0.1', $first->port, $first->{config}{'cluster-port'}) for grep { $_ != $first } @strangers;
            $met = time;
        }
        return !@strangers;
    }, what => 'nodes that know each other', seconds => 30, every => 0.05);
}

sub share_slots ($self, @masters) {
    my $first = 0;
    for my $n (0 .. $#masters) {
        my $end = int(SLOTS * ($n + 1) / @masters);
        $masters[$n]->cmd('CLUSTER', 'ADDSLOTSRANGE', $first, $end - 1);
        $first = $end;
    }
    return;
}

sub replicate ($self, @masters) {
    my @replicas = ($self->nodes)[scalar(@masters) .. $self->{nodes}->$#*];
    $replicas[$_]->cmd('CLUSTER', 'REPLICATE', $masters[$_ % @masters]{id}) for 0 .. $#replicas;
    return;
}

sub wait_until_well ($self) {
    return wait_for(sub { $self->is_well }, what => 'a cluster that is well', seconds => 30, every => 0.05);
}

# Every node that runs says that all is well, replicas are in step and known to be, and nobody thinks otherwise of who
# serves what.
sub is_well ($self) {
    my %views;
    my $replicas = grep { $_->info('replication')->{role} eq 'slave' } $self->up_nodes;
    for my $node ($self->up_nodes) {
        return 0 if $node->cmd('CLUSTER', 'INFO') !~ /cluster_state:ok/;
        my $info = $node->info('replication');
        return 0 if $info->{role} eq 'slave' && $info->{master_link_status} ne 'up';
        my %listed = map { map { $_->[1] => 1 } $_->@[3 .. $#$_] } $node->cmd('CLUSTER', 'SLOTS')->@*;
        return 0 if keys %listed < $replicas;
        $views{ join ' ', sort map { "$_->[0]-$_->[1]:" . join ',', sort map { $_->[1] } $_->@[2 .. $#$_] } $node->cmd('CLUSTER', 'SLOTS')->@* }++;
    }
    return keys %views == 1;
}

sub up_nodes ($self) { return grep { $_->pid && !$_->{frozen} } $self->nodes }

# The slot of a key, and who serves it (as a node that runs says), and one key of each master among session keys.
sub slot ($self, $key) { return $self->a_node->cmd('CLUSTER', 'KEYSLOT', $key) }

sub a_node ($self) { return ($self->up_nodes)[0] }

sub master_of ($self, $slot) {
    for my $range ($self->a_node->cmd('CLUSTER', 'SLOTS')->@*) {
        my ($first, $last, $master) = @$range;
        return $self->at($master->[1]) if $first <= $slot && $slot <= $last;
    }
    return;
}

sub at ($self, $port) { return (grep { $_->port == $port } $self->nodes)[0] }

sub node_of ($self, $key) { return $self->master_of($self->slot($key)) }

# The replicas of a master.
sub replicas_of ($self, $master) {
    return map { $self->at($_) } map { /^\S+ \S+?:(\d+)@\S+ \S*slave\S* \Q$master->{id}\E / ? $1 : () } split /\n/, $master->cmd('CLUSTER', 'NODES');
}

# A command to the master of its key, the second word.
sub cmd ($self, @words) { return $self->node_of($words[1])->cmd(@words) }

# Moves a slot with its keys as redis-cli does. "between": code that runs when half of the keys have moved.
sub move_slot ($self, $slot, $to, %how) {
    my $from = $self->master_of($slot);
    return if $from == $to;
    $to->cmd('CLUSTER', 'SETSLOT', $slot, 'IMPORTING', $from->{id});
    $from->cmd('CLUSTER', 'SETSLOT', $slot, 'MIGRATING', $to->{id});
    my @keys = $from->cmd('CLUSTER', 'GETKEYSINSLOT', $slot, 100_000)->@*;
    my $half = int(@keys / 2);
    $self->migrate($from, $to, @keys[0 .. $half - 1]) if $half;
    $how{between}->(\@keys) if $how{between};
    $self->migrate($from, $to, @keys[$half .. $#keys]) if @keys > $half;
    $_->cmd('CLUSTER', 'SETSLOT', $slot, 'NODE', $to->{id}) for $to, $from;
    return;
}

sub migrate ($self, $from, $to, @keys) {
    my @auth = defined $self->{password} ? ('AUTH', $self->{password}) : ();
    $from->cmd('MIGRATE', '127.0.0.1', $to->port, '', 0, 5000, @auth, 'KEYS', @keys);
    return;
}

# Until this master has no slots, or another node serves them.
sub wait_for_failover ($self, $master, $slot) {
    return wait_for(sub { my $now = $self->master_of($slot); $now && $now != $master && $now->cmd('CLUSTER', 'INFO') =~ /cluster_state:ok/ },
        what => 'a replica that takes over', seconds => 30, every => 0.02);
}

sub freeze ($self, $node) { $node->{frozen} = 1; $node->freeze; return }
sub thaw   ($self, $node) { delete $node->{frozen}; $node->thaw; return }

1;
