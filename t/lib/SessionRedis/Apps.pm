# Applications that write real sessions: PHP under php-fpm, and Node.
package SessionRedis::Apps;

use v5.26;
use warnings;
use experimental 'signatures';

use Exporter 'import';
use IO::Socket::INET;
use SessionRedis::Process qw(alive free_port have in_path spawn temp_dir wait_for);

our @EXPORT_OK = qw(have_node have_php start_node start_php);

my @fpm = map { "php-fpm$_" } qw(8.2 8.4 8.3 8.1), '';

# Whether php-fpm with phpredis is installed.
sub have_php () {
    state $have = in_path(@fpm) && have('php') && qx{php -m} =~ /^redis$/m;
    return $have;
}

# Whether node can load these packages, from NODE_PATH or a directory.
sub have_node (%how) {
    return 0 if !have('node');
    my $load = join ';', map { "require('$_')" } ($how{packages} // [])->@*;
    local $ENV{NODE_PATH} = $how{modules} if defined $how{modules};
    return system('sh', '-c', 'exec node -e "$0" >/dev/null 2>&1', $load) == 0;
}

# php-fpm whose sessions are in a redis (of start_redis). %how: files => { 'login.php' => '<?php …' }, ini => { name => value },
# prefix, redis; an ini value of undef leaves it to PHP and the script. Returns { pid, socket, root, location => text of nginx.conf that
# runs *.php of it }.
sub start_php (%how) {
    my $dir = temp_dir();
    write_file("$dir/$_", $how{files}{$_}) for keys $how{files}->%*;
    my $prefix = defined $how{prefix} ? "?prefix=$how{prefix}" : '';
    my %ini = (
        'session.save_handler' => 'redis',
        'session.save_path'    => $how{redis} ? 'unix://' . $how{redis}->socket . $prefix : '',
        ($how{ini} // {})->%*,
    );
    my @user = $> == 0 ? ('user = ' . unprivileged_user(), 'listen.mode = 0666') : ();
    write_file("$dir/fpm.conf", join "\n", '[global]', "error_log = $dir/fpm.log", 'daemonize = no',
        '[www]', @user, "listen = $dir/fpm.sock", 'pm = static', 'pm.max_children = 2', 'catch_workers_output = yes',
        (map { "php_admin_value[$_] = \"$ini{$_}\"" } grep { defined $ini{$_} } sort keys %ini), '');
    my $program = in_path(@fpm) // die "no php-fpm installed\n";
    my $pid = spawn([$program, '-F', '-y', "$dir/fpm.conf"], log => "$dir/out");
    wait_for(sub { alive($pid) or die "php-fpm does not start\n"; -S "$dir/fpm.sock" }, what => 'php-fpm');
    return { pid => $pid, socket => "$dir/fpm.sock", root => $dir, location => php_location($dir) };
}

# A Node program that listens at 127.0.0.1 on the port in the environment variable PORT. %how: script (text) or file,
# modules (directory of its packages), env. Returns { pid, port, log }.
sub start_node (%how) {
    my $dir  = temp_dir();
    my $port = free_port();
    my $file = $how{file} // "$dir/app.js";
    write_file($file, $how{script}) if defined $how{script};
    my %env = (PORT => $port, ($how{env} // {})->%*, defined $how{modules} ? (NODE_PATH => $how{modules}) : ());
    my $pid = spawn(['node', $file], env => \%env, log => "$dir/log");
    wait_for(sub {
        alive($pid) or die "node does not start, see what it says:\n", slurp("$dir/log");
        return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
    }, what => 'node', seconds => 15);
    return { pid => $pid, port => $port, log => "$dir/log" };
}

sub php_location ($dir) {
    my @names = qw(query_string request_method content_type content_length request_uri document_uri document_root
        server_protocol remote_addr remote_port server_addr server_port server_name);
    my $params = join "\n", map { 'fastcgi_param ' . uc . " \$$_;" } @names;
    return <<~"END";
        location ~ \\.php\$ {
            root $dir;
            $params
            fastcgi_param SCRIPT_FILENAME \$document_root\$fastcgi_script_name;
            fastcgi_param SCRIPT_NAME \$fastcgi_script_name;
            fastcgi_pass unix:$dir/fpm.sock;
        }
        END
}

sub unprivileged_user () {
    for my $name (qw(www-data nobody)) {
        return $name if defined getpwnam $name;
    }
    die "no user for php-fpm\n";
}

sub write_file ($path, $text) {
    open my $out, '>:raw', $path or die "$path: $!\n";
    print {$out} $text;
    close $out;
    return;
}

sub slurp ($path) {
    open my $in, '<', $path or return '';
    local $/;
    return <$in> // '';
}

1;
