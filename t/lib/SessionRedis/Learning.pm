# Two nginx, as two machines of a fleet, before the same four servers and one
# Redis, that learn which server a session belongs to.
package SessionRedis::Learning;

use v5.26;
use warnings;
use experimental 'signatures';

use Exporter 'import';
use SessionRedis;
use StoreTest;

our @EXPORT = qw(answer learn_config learning_nginx route_of route_key servers served_by upstream);

# The servers: they answer with their port and set the cookie of ?set=; /204 and /files/ are what they are called.
sub servers () {
    state $servers = do {
        local $ENV{TEST_NGINX_LOAD_MODULES} = '';
        local $ENV{TEST_NGINX_USE_VALGRIND} = '';
        my @ports = map { free_port() } 1 .. 4;
        my $listen = CORE::join ' ', map { "listen 127.0.0.1:$_;" } @ports;
        my $nginx = start_nginx(workers => 1, worker_connections => 4096, http => <<~"END", server => <<~"END");
            map \$arg_set \$set { default ""; ~. \$arg_set; }
            END
            $listen
            access_log off;
            keepalive_requests 1000000;
            location / { add_header Set-Cookie \$set always; return 200 "\$server_port user=\$http_x_user\\n"; }
            location /204 { return 204; }
            location /files { alias html; }
            END
        put_file($nginx, big => 'x' x 1_000_000);
        put_file($nginx, ssi => 'before <!--#include virtual="/plain" --> after');
        +{ ports => \@ports, nginx => $nginx };
    };
    return $servers;
}

# As /files/<name> of each server, last modified in 2020.
sub put_file ($nginx, $name, $content) {
    my $path = $nginx->dir . "/html/$name";
    open my $out, '>', $path or die "$path: $!\n";
    print {$out} $content;
    close $out;
    utime 1_577_836_800, 1_577_836_800, $path;
    return;
}

sub upstream (%how) {
    my $lines = CORE::join "\n", map { "server 127.0.0.1:$_;" } servers()->{ports}->@*;
    my $more = $how{more} // '';
    return "upstream servers { $lines $more }";
}

# %how: learn (parameters), store, upstream (more lines), http, server (more lines), and what start_nginx takes.
sub learning_nginx ($redis, %how) {
    my $learn    = delete $how{learn} // '';
    my $upstream = upstream(more => delete $how{upstream});
    $how{http} = <<~"END" . ($how{http} // '');
        $upstream
        session_redis_route learn $learn;
        proxy_set_header Connection "";
        proxy_http_version 1.1;
        keepalive_requests 1000000;
        add_header X-Route \$session_redis_route always;
        add_header X-Cache \$session_redis_cache_status always;
        END
    $how{server} = <<~'END' . ($how{server} // '');
        location /app { proxy_pass http://servers/; }
        END
    my %where = $how{where} ? () : (url => delete $how{url} // $redis->url);
    return session_nginx(%where, store => 'timeout 2s; connect_timeout 2s;', %how);
}

# Which server has answered a request, or the code.
sub answer ($nginx, $n, $path = '/app', %how) {
    my $response = get($nginx, $path, $n, %how);
    return served_by($response);
}

sub served_by ($response) {
    my ($port) = $response->{body} =~ /\A(\d+) /;
    return $port // $response->{code};
}

# The server that a session is assigned to in Redis; undef: none.
sub route_of ($redis, $n) {
    my $value = $redis->cmd('GET', route_key($n)) // return;
    return $value =~ /\A127\.0\.0\.1:(\d+) \d+ \d+\z/ ? $1 : $value;
}

sub route_key ($n) {
    require Digest::SHA;
    return 'srr:' . substr Digest::SHA::sha256_hex($n =~ /\A\d+\z/ ? id($n) : $n), 0, 32;
}

1;
