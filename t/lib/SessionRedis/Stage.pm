# What most tests of requests stand on: a Redis with a few sessions, a backend
# that shows what it got, and a section "lookups" that says how often a block's
# requests may ask the store.
package SessionRedis::Stage;

use v5.26;
use warnings;
use experimental 'signatures';

use Exporter 'import';
use SessionRedis           ();
use SessionRedis::Backend  qw(start_backend);
use SessionRedis::Process  qw(free_port);
use Test::More             ();

our @EXPORT_OK = qw(cookie id_of stage);

# The commands that read a session.
use constant READS => qw(get strlen getrange hgetall hget mget type);

# stage(alice => '{"id":1001}', …): sessions by the names of their users, as JSON. Blocks then write $TEST_NGINX_SESSION
# (turns the module on), $TEST_NGINX_DOWN (the same with a store that is down) and $TEST_NGINX_PASS (to the backend).
sub stage (%sessions) {
    my $self = bless { redis => SessionRedis::start_redis(), backend => start_backend() }, __PACKAGE__;
    my $down = free_port();
    my $rest = <<~'END';
        session_redis_framework raw;
        session_redis_cookie sid;
        session_redis_key "s:$session_redis_id";
        session_redis_format json;
        session_redis_user /id;
        END
    $ENV{TEST_NGINX_SETTINGS} = $rest;
    $ENV{TEST_NGINX_SESSION}  = "session_redis redis://127.0.0.1:" . $self->{redis}->port . ";\n$rest";
    $ENV{TEST_NGINX_DOWN}     = "session_redis redis://127.0.0.1:$down;\n$rest";
    $ENV{TEST_NGINX_PASS}     = 'proxy_pass http://127.0.0.1:' . $self->{backend}->port . ';';
    $self->put($_, $sessions{$_}) for keys %sessions;
    return $self;
}

sub redis   ($self) { return $self->{redis} }
sub backend ($self) { return $self->{backend} }

sub id_of ($user) { return "$user-0123456789ab" }

# As a line for more_headers.
sub cookie ($user) { return 'Cookie: sid=' . id_of($user) }

sub put ($self, $user, $json) {
    return $self->{redis}->cmd('SET', 's:' . id_of($user), $json);
}

# How often the store was asked since this was asked last.
sub lookups ($self) {
    my $info = $self->{redis}->info('commandstats');
    $self->{redis}->cmd('CONFIG', 'RESETSTAT');
    my $sum = 0;
    $sum += ($info->{"cmdstat_$_"} // '') =~ /calls=(\d+)/ ? $1 : 0 for READS;
    return $sum;
}

# Makes "--- lookups: 1" hold for blocks; a list where there are several requests.
sub check_lookups ($self) {
    Test::Nginx::Socket::add_block_preprocessor(sub { $self->lookups });
    Test::Nginx::Socket::add_response_body_check(sub {
        my ($block, undef, $index) = @_;
        my $expected = $block->lookups // return;
        $expected = $expected->[$index] if ref $expected;
        Test::More::is($self->lookups, $expected =~ s/\s//gr, $block->name . ' - lookups in the store');
    });
    return;
}

1;
