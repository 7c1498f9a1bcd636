# nginx's own build takes the module (config, config.make): as a file to load, and built in. Some minutes long, so only with
# SESSION_REDIS_LONG=1; the sources of nginx are those that the nginx-src crate carries, or NGINX_SOURCE_DIR.
use v5.26;
use warnings;

use Cwd qw(realpath);
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use Test::More;

plan skip_all => 'SESSION_REDIS_LONG is not set' if !$ENV{SESSION_REDIS_LONG};
my $home    = $ENV{CARGO_HOME} // "$ENV{HOME}/.cargo";
my ($nginx) = grep { -d "$_/auto" } $ENV{NGINX_SOURCE_DIR} // (), glob "$home/registry/src/*/nginx-src-*/nginx";
plan skip_all => 'no sources of nginx: neither NGINX_SOURCE_DIR nor a fetched nginx-src crate' if !defined $nginx;

my $module = realpath("$FindBin::Bin/..");
my $source = temp_dir() . '/nginx';
system('cp', '-r', $nginx, $source) == 0 or die "cp fails\n";
delete @ENV{qw(NGINX_BUILD_DIR NGINX_SOURCE_DIR CARGO_TARGET_DIR)};

# The same folder for both, so that what cargo has built is built once.
my $arguments = '--with-compat --with-http_auth_request_module';
ok(run("$source/configure.log", configure(), $arguments, "--add-dynamic-module=$module"), 'configure --add-dynamic-module');
ok(run("$source/make.log", 'make -f objs/Makefile binary modules'), 'make');
my $so = "$source/objs/ngx_http_session_redis_module.so";
ok(-f $so, 'there is a file to load');
works("load_module $so;", 'the file');
my $built = (stat $so)[9];
ok(run("$source/make.log", 'make modules'), 'make again');
is((stat $so)[9], $built, 'builds nothing');

ok(run("$source/configure.log", configure(), $arguments, "--add-module=$module"), 'configure --add-module');
ok(run("$source/make.log", 'make -f objs/Makefile binary'), 'make');
works('', 'the module that is built in');
open my $list, '<', "$source/objs/ngx_modules.c" or die;
my @filters = map { /^ +&ngx_http_(chunked|session_redis|range_header)_filter_module,/ } <$list>;
is("@filters", 'chunked session_redis range_header', 'its filter has its place, the last is called first');
done_testing();

# Whether nginx denies before the store is asked, strips, and refuses: what depends on the order of the modules.
sub works {
    my ($load, $what) = @_;
    my $redis = fake_redis();
    local $ENV{TEST_NGINX_BINARY}       = "$source/objs/nginx";
    local $ENV{TEST_NGINX_LOAD_MODULES} = $load =~ /load_module (.*);/ ? $1 : '';
    my $server = start_nginx(server => <<"END");
session_redis redis://127.0.0.1:@{[$redis->port]};
session_redis_framework php;
location /denied { deny all; session_redis_require /a; }
location / { session_redis_require /a; }
END
    is(http($server->port, '/')->{code}, 401, "$what refuses who has no session");
    is(http($server->port, '/denied', headers => ['Cookie: PHPSESSID=0123456789abcdef0123456789'])->{code}, 403, "$what runs behind deny");
    $server->quit;
    return;
}

sub configure { return -x "$source/configure" ? './configure' : './auto/configure' }

# Runs a command in the sources; what it says is shown if it fails.
sub run {
    my ($log, @command) = @_;
    my $failed = system "cd '$source' && @command > '$log' 2>&1";
    diag(qx{tail -n 20 '$log'}) if $failed;
    return !$failed;
}
