# The nginx.conf of a block: the same frame as the real driver's, the
# block's sections inside.
package BlockTest::Config;

use v5.26;
use warnings;
use experimental 'signatures';

use BlockTest::Settings qw(%set path free_port);
use Exporter 'import';

our @EXPORT_OK = qw(conf_text expand forget_ports);

# $TEST_NGINX_RAND_PORT_n of the block being run.
my %rand_port;

sub forget_ports () {
    %rand_port = ();
    return;
}

# Replaces $TEST_NGINX_… by what the environment holds; dies of a name that is not there.
sub expand ($text) {
    return $text if !defined $text || ref $text;
    $text =~ s{\$(TEST_NGINX_[_A-Z0-9]+)}{ value_of("$1") }eg;
    return $text;
}

sub value_of ($name) {
    return $rand_port{$name} //= free_port() if $name =~ /\ATEST_NGINX_RAND_PORT_\d+\z/;
    return $ENV{$name} // die "\$$name is not in the environment\n";
}

# The whole file, for a block whose "config" section reads (expanded) as given.
sub conf_text ($block, $config) {
    my $http = expand($block->http_config) // '';
    return join '', main_part($block), "http {\n", http_part($block, $http), server_part($block, $config),
        "}\n", expand($block->post_main_config) // '', "\n", events_part();
}

sub main_part ($block) {
    my $error_log = expand($block->error_log_file) // path('logs', 'error.log');
    my $level     = $block->log_level              // $set{log_level};
    my $daemon    = $set{use_valgrind} ? 'off' : 'on';
    my $user      = $set{worker_user} // ($> == 0 ? 'root' : undef);

    my @lines = (
        (map { "load_module $_;" } split ' ', $set{load_modules}),
        "worker_processes $set{workers};",
        "daemon $daemon;",
        "master_process $set{master};",
        "error_log $error_log $level;",
        'pid ' . path('logs', 'nginx.pid') . ';',
        (defined $user ? "user $user;" : ()),
        (map { 'env ' . (/\s/ ? "'$_'" : $_) . ';' } qw(ASAN_OPTIONS LD_PRELOAD LD_LIBRARY_PATH), $set{env}->@*),
    );
    return join("\n", @lines) . "\n\n" . (expand($block->main_config) // '') . "\n";
}

sub http_part ($block, $http) {
    my @lines = ('access_log ' . path('logs', 'access.log') . ';', 'default_type text/plain;', 'keepalive_timeout 68s;');
    for my $name (qw(client_body proxy fastcgi scgi uwsgi)) {
        next if $http =~ /\b${name}_temp_path\b/;
        push @lines, "${name}_temp_path " . path("${name}_temp") . ';';
    }
    return join('', map { "    $_\n" } @lines) . "\n$http\n";
}

sub server_part ($block, $config) {
    my $name = $block->server_name // $set{server_name};
    $name =~ s/(['\\])/\\$1/g;
    my $root = $set{no_root_location} ? '' : <<~"END";
                location / {
                    root @{[path('html')]};
                    index index.html index.htm;
                }
        END
    return <<~"END";
            server {
                listen $set{port};
                server_name '$name';
                client_max_body_size 30M;

        $set{config_preamble}
        # the block's config
        $config
        # end of the block's config
        $root    }
        END
}

sub events_part () {
    my $use = $set{event_type} ? "    use $set{event_type};\n" : '';
    return "events {\n    accept_mutex off;\n    worker_connections $set{worker_connections};\n$use}\n";
}

1;
