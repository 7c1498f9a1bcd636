# An nginx of the test's own, with a master and workers, for what blocks cannot
# show: reloads, leaving, memory, many requests. It takes the binary and the
# modules from the environment as the blocks do.
package SessionRedis::Nginx;

use v5.26;
use warnings;
use experimental 'signatures';

use Exporter 'import';
use SessionRedis::Process qw(alive children free_port in_path spawn stop temp_dir wait_for);
use Time::HiRes qw(time);

our @EXPORT_OK = qw(h2_listen nginx_test nginx_version);

# An nginx that valgrind found fault with ends with this code.
use constant VALGRIND_ERROR => 99;

# %how, all text of nginx.conf: server (inside the one server{}), http (inside http{}, beside it), main, events; and
# workers (1), worker_connections (1024), log_level (notice), port. Waits until it listens; dies if it does not start.
sub start ($class, %how) {
    my $self = bless { workers => 1, worker_connections => 1024, log_level => 'notice', %how, dir => temp_dir() }, $class;
    $self->{port} //= free_port();
    mkdir "$self->{dir}/$_" for qw(logs html);
    $self->write_config;
    $self->{pid} = spawn([valgrind(), binary(), arguments($self->{dir})], log => "$self->{dir}/logs/stderr");
    wait_for(sub {
        alive($self->{pid}) or die 'nginx does not start: ', $self->log;
        return -s "$self->{dir}/nginx.pid" && $self->workers == $self->{workers};
    }, what => 'nginx', seconds => 30);
    return $self;
}

sub port ($self) { return $self->{port} }
sub pid  ($self) { return $self->{pid} }
sub dir  ($self) { return $self->{dir} }

# The pids of the workers that take connections. (Under valgrind processes bear no titles.)
sub workers ($self) {
    my @children = children($self->{pid});
    return grep { !$self->{old}{$_} } @children if valgrind();
    return grep { title($_) =~ /worker process\z/ } @children;
}

# Reloads, with changed parts of the configuration if any are given, and waits until the new workers run.
# Returns the pids of the old ones, which may still be busy.
sub reload ($self, %changes) {
    my @old = $self->workers;
    @$self{ keys %changes } = values %changes;
    $self->write_config;
    kill HUP => $self->{pid};
    $self->{old} = { map { $_ => 1 } @old };
    wait_for(sub { my @now = $self->workers; @now == $self->{workers} && !grep { $self->{old}{$_} } @now },
        what => 'the new workers', seconds => 30);
    return @old;
}

# Whether these processes are gone within some seconds.
sub gone ($self, $pids, $seconds = 5) {
    return eval { wait_for(sub { !grep { alive($_) } @$pids }, seconds => $seconds) } ? 1 : 0;
}

# Memory of all workers, in kB.
sub resident_kb ($self) {
    my $sum = 0;
    $sum += SessionRedis::Process::resident_kb($_) // 0 for $self->workers;
    return $sum;
}

# Leaves as "nginx -s quit" does. Returns its exit status, undef if it had to be killed.
sub quit ($self, $seconds = 10) {
    my $status = stop(delete $self->{pid}, signal => 'QUIT', seconds => $seconds);
    my $code   = VALGRIND_ERROR;
    die 'valgrind found errors: ', $self->log
        if valgrind() && ((defined $status && $status >> 8 == $code) || $self->log =~ /exited with code $code$/m);
    return $status;
}

# All of error.log, and what was printed.
sub log ($self) {
    return join '', map { slurp("$self->{dir}/logs/$_") } qw(stderr error.log);
}

sub access_log ($self) {
    return slurp("$self->{dir}/logs/access.log");
}

# What "nginx -t" says of a configuration, given as to start: (whether it is accepted, the text).
sub nginx_test (%how) {
    my $self = bless { workers => 1, worker_connections => 64, log_level => 'notice', %how }, __PACKAGE__;
    $self->{port} //= free_port();
    state $dir = temp_dir();
    $self->{dir} = $dir;
    mkdir "$dir/$_" for qw(logs html);
    $self->write_config;
    my $command = join ' ', map { quotemeta } binary(), '-t', arguments($dir);
    my $output  = qx{$command 2>&1};
    return ($? == 0, $output);
}

# 1.22.1 as 1022001.
sub nginx_version () {
    state $version = do {
        my $binary = quotemeta binary();
        my ($major, $minor, $patch) = qx{$binary -v 2>&1} =~ m{/(\d+)\.(\d+)\.(\d+)} or die "no nginx version\n";
        $major * 1_000_000 + $minor * 1000 + $patch;
    };
    return $version;
}

# What a server{} says to speak HTTP/2 without TLS on a port.
sub h2_listen ($port) {
    return nginx_version() >= 1_025_001 ? "listen 127.0.0.1:$port; http2 on;" : "listen 127.0.0.1:$port http2;";
}

sub binary () {
    my $name = $ENV{TEST_NGINX_BINARY} || 'nginx';
    return $name =~ m{/} ? $name : in_path($name) // die "no $name installed\n";
}

sub arguments ($dir) {
    return ('-p', "$dir/", '-e', "$dir/logs/error.log", '-c', "$dir/nginx.conf");
}

sub valgrind () {
    return if !$ENV{TEST_NGINX_USE_VALGRIND};
    my @suppressions = -f 'valgrind.suppress' ? '--suppressions=valgrind.suppress' : ();
    return ('valgrind', '-q', '--leak-check=full', '--show-possibly-lost=no',
        '--errors-for-leak-kinds=definite', '--error-exitcode=' . VALGRIND_ERROR, @suppressions);
}

sub write_config ($self) {
    my $user    = $> == 0 ? 'user root;' : '';
    my $modules = join "\n", map { "load_module $_;" } split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';
    my $temp    = join "\n", map { "    ${_}_temp_path $self->{dir}/${_}_temp;" } qw(client_body proxy fastcgi scgi uwsgi);
    my $server  = defined $self->{server}
        ? "    server {\n        listen 127.0.0.1:$self->{port};\n        root $self->{dir}/html;\n$self->{server}\n    }\n" : '';
    my $main   = $self->{main}   // '';
    my $http   = $self->{http}   // '';
    my $events = $self->{events} // '';
    open my $out, '>', "$self->{dir}/nginx.conf" or die "nginx.conf: $!\n";
    print {$out} <<~"END";
        $modules
        $user
        daemon off;
        worker_processes $self->{workers};
        pid $self->{dir}/nginx.pid;
        error_log $self->{dir}/logs/error.log $self->{log_level};
        env ASAN_OPTIONS;
        $main
        events { worker_connections $self->{worker_connections}; $events }
        http {
            access_log $self->{dir}/logs/access.log;
            default_type text/plain;
        $temp
        $http
        $server
        }
        END
    close $out;
    return;
}

sub title ($pid) {
    my $text = slurp("/proc/$pid/cmdline");
    return $text =~ s/\0/ /gr =~ s/\s+\z//r;
}

sub slurp ($path) {
    open my $in, '<:raw', $path or return '';
    local $/;
    return <$in> // '';
}

1;
