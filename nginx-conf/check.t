#!/usr/bin/perl
# Loads each configuration of this folder with "nginx -t" and wants no word of complaint, not even a warning.
#
# The module is taken from TEST_NGINX_LOAD_MODULES, nginx from TEST_NGINX_BINARY, as the tests in t/ do. Each file is read as it is but
# for nginx' temporary folders and its access log, which Debian has where only root may write. The secrets that they name lie here as samples,
# certificates are made.
use strict;
use warnings;

use Cwd qw(realpath);
use File::Basename qw(basename dirname);
use File::Copy qw(copy);
use File::Temp qw(tempdir);
use Test::More;

my $here   = dirname(realpath($0));
my $module = realpath($ENV{TEST_NGINX_LOAD_MODULES} || "$here/../objs/ngx_http_session_redis_module.so");
my $nginx  = $ENV{TEST_NGINX_BINARY} || '/usr/sbin/nginx';
my @confs  = sort glob "$here/*.conf";
my $have   = number(`'$nginx' -v 2>&1` =~ m{nginx/([\d.]+)});

my $prefix = tempdir('session-redis-conf.XXXXXX', TMPDIR => 1, CLEANUP => 1);
mkdir "$prefix/$_" for qw(modules conf logs tmp);
symlink $module, "$prefix/modules/ngx_http_session_redis_module.so";
copy_secret($_) for qw(session.secret redis.password);
make_certificate();

plan tests => 2 * @confs;
for my $conf (@confs) {
    my $name = basename($conf);
    my $text = slurp($conf);
    my ($shows) = $text =~ /\A# (.+)/;
    ok($shows, "$name says what it shows");

    my ($needs) = $text =~ /^# Needs nginx ([\d.]+)\.$/m;
  SKIP: {
    skip "$name needs nginx $needs", 1 if $needs && $have < number($needs);
    my $access_log = $text =~ /^\s*access_log/m ? '' : 'access_log logs/access.log;';
    $text =~ s/^http \{/http { @{[map { "${_}_temp_path tmp\/$_;" } qw(client_body proxy fastcgi uwsgi scgi)]} $access_log/m;
    spew("$prefix/conf/$name", $text);
    my $said = `'$nginx' -t -q -e stderr -p '$prefix' -c 'conf/$name' -g 'pid logs/nginx.pid;' 2>&1`;
    is("$?: $said", '0: ', "$name is loaded");
  }
}

# A version as one number: 1.22.1 as 1022001.
sub number { my ($major, $minor, $patch) = split /\./, $_[0]; return $major * 1_000_000 + $minor * 1000 + $patch }

# Readable by nginx' workers and by nobody else, as a secret should be.
sub copy_secret {
    my $name = shift;
    copy("$here/$name", "$prefix/conf/$name") or die "$name: $!";
    my $group = getgrnam('nogroup');
    chown 0, $group, "$prefix/conf/$name" if $> == 0 && defined $group;
    chmod 0640, "$prefix/conf/$name";
}

# A certificate that may stand for any that a configuration names, of which no sample lies here.
sub make_certificate {
    my ($key, $certificate) = map { "$prefix/conf/$_" } qw(nginx.key nginx.crt);
    my $said = `openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=nginx -days 2 -keyout '$key' -out '$certificate' 2>&1`;
    die "openssl: $said" if $? != 0;
    copy($certificate, "$prefix/conf/redis-ca.crt") or die "redis-ca.crt: $!";
    chmod 0640, $key;
}

sub slurp { open my $file, '<', $_[0] or die "$_[0]: $!"; local $/; return <$file> }

sub spew { my ($path, $text) = @_; open my $file, '>', $path or die "$path: $!"; print {$file} $text }
