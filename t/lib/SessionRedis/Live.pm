# Real applications (t/live) that log a user in, and the module that reads their sessions by the same cookies.
package SessionRedis::Live;

use v5.26;
use warnings;
use experimental 'signatures';

use Exporter 'import';
use IO::Socket::INET;
use JSON::PP ();
use SessionRedis::Backend qw(start_backend);
use SessionRedis::Http qw(header http);
use SessionRedis::Nginx ();
use SessionRedis::Process qw(alive free_port spawn temp_dir wait_for);
use Test::More;

our @EXPORT = qw(built changed live needs read_live start_apps without_cookie);

my $here = __FILE__ =~ s{[^/]*\z}{../../live}r;
my $json = JSON::PP->new->utf8->canonical->allow_nonref;

# What every application writes when its user logs in; the languages' ways of a null and a date are the test's matter.
my %session = (
    user => { name => "\x{738b}\x{5c0f}\x{660e} \x{1f680}", roles => ['admin', 'editor'] },
    cart => { items => [{ sku => 'A-1', quantity => 2 }], total => 19.99 },
);

# The path of a file of t/live, or of what t/live/install.sh made of it.
sub live  ($path) { return "$here/$path" }
sub built ($path) { return "$here/../../objs/live/$path" }

# Skips the test where something is not installed. With SESSION_REDIS_LIVE=1, as in "make test", it fails there instead.
sub needs (%there) {
    my @missing = grep { !$there{$_} } sort keys %there;
    return if !@missing;
    my $why = 'not here: ' . join(', ', @missing) . '; ./deps.sh live && t/live/install.sh would bring it';
    die "$why\n" if $ENV{SESSION_REDIS_LIVE};
    plan(skip_all => $why);
    return;
}

# Starts applications, all at once: name => { command => [...], env => {...} }. Each finds PORT and REDIS_PORT in its
# environment; {PORT} and {REDIS_PORT} in its command are replaced. Their hashes get a "port".
sub start_apps ($redis, %apps) {
    my $dir = temp_dir();
    for my $name (sort keys %apps) {
        my $app = $apps{$name};
        my %env = (PORT => $app->{port} = free_port(), REDIS_PORT => $redis->port, ($app->{env} // {})->%*);
        $app->{log} = "$dir/$name.log";
        $app->{pid} = spawn([map { s/\{(\w+)\}/$env{$1}/gr } $app->{command}->@*], env => \%env, log => $app->{log});
    }
    for my $name (sort keys %apps) {
        my $app = $apps{$name};
        wait_for(sub {
            alive($app->{pid}) or die "$name does not start; it says:\n", slurp($app->{log});
            return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $app->{port});
        }, what => $name, seconds => 60, every => 0.02);
    }
    return;
}

# Reads the sessions of applications that run, and checks each. By name:
#   settings  text of nginx.conf that names the framework, or several: [...]
#   store     the url of its store, where that is not the Redis
#   port      where it listens; or fastcgi => the locations that run it, below nginx itself
#   login, who, logout   its paths, where they are not /login, /who, /logout
#   root      where the session's values stand, as a pointer; under, where they stand in $session_redis_json, if elsewhere
#   user      what @user is
#   since     the text of the date 2024-02-29T13:14:15Z
#   null      whether the format keeps user.nickname, which is null (1)
#   refused   cookies that are not taken: name => [what becomes of the jar, status]
#   left      the status after the application's logout ("missing")
#   outlives  whether the application has the session elsewhere too when it is gone from Redis (0)
#   agrees    whether the application itself reads what it wrote (1)
sub read_live ($redis, %apps) {
    my $backend = start_backend();
    my (%paths, $locations);
    for my $name (sort keys %apps) {
        my $settings = $apps{$name}{settings};
        for my $each (ref $settings ? @$settings : $settings) {
            my $path = "/$name/" . ($paths{$name} // [])->@*;
            push $paths{$name}->@*, $path;
            $locations .= location($path, $each, $apps{$name});
        }
        $locations .= $apps{$name}{fastcgi} // '';
    }
    my $nginx = SessionRedis::Nginx->start(
        http   => "upstream backend { server 127.0.0.1:@{[$backend->port]}; }",
        server => 'session_redis redis://127.0.0.1:' . $redis->port . ";\n$locations",
    );
    my @cookies;
    for my $name (sort keys %apps) {
        my $app = $apps{$name};
        $app->{port} //= $nginx->port;
        subtest $name => sub { push @cookies, check($name, $app, $nginx, $paths{$name}->@*) };
    }
    my $log = $nginx->log;
    unlike($log, qr/\[(?:alert|crit|emerg)\]|panicked/, 'nothing worse than an error in the log');
    is(scalar(grep { index($log, $_) >= 0 } @cookies), 0, 'and no id');
    return;
}

sub location ($path, $settings, $app) {
    my $root = $app->{root} // '';
    my $store = $app->{store} ? "session_redis $app->{store};" : '';
    my $user = defined $app->{user} ? 'session_redis_set_header X-User @user;' : '';
    return <<~"END";
        location = $path {
            $store
            $settings
            session_redis_set_header X-User-Id       $root/user_id;
            session_redis_set_header X-User-Name     $root/user/name;
            session_redis_set_header X-User-Roles    $root/user/roles join=,;
            session_redis_set_header X-User-Nickname $root/user/nickname;
            session_redis_set_header X-Cart-Sku      $root/cart/items/0/sku;
            session_redis_set_header X-Cart-Total    $root/cart/total;
            $user
            add_header X-Status \$session_redis_status;
            add_header X-Json   \$session_redis_json;
            proxy_pass http://backend;
        }
        location = $path/logout {
            $store
            $settings
            session_redis_destroy;
        }
        END
}

# All of one application. Returns the ids that it gave.
sub check ($name, $app, $nginx, @paths) {
    my $visitor = SessionRedis::Live::Visitor->new;
    my $asks    = sub ($what) { $visitor->get($app->{port}, $app->{$what} // "/$what")->{body} };
    my $sees    = sub ($path, @headers) { seen($visitor->get($nginx->port, $path, @headers)) };

    is_deeply($sees->($paths[0], 'X-User-Id: 1'), { status => 'none' }, 'who has not logged in is nobody');
    is($asks->('login'), '1001', 'the application logs its user in');
    my $jar = { %$visitor };
    cmp_ok(scalar keys %$jar, '>', 0, 'and sets a cookie');

    my %headers = ('X-User-Id' => '1001', 'X-User-Name' => '王小明 🚀', 'X-User-Roles' => 'admin,editor', 'X-Cart-Sku' => 'A-1',
        'X-Cart-Total' => '19.99', defined $app->{user} ? ('X-User' => $app->{user}) : ());
    for my $path (@paths) {
        is_deeply($sees->($path, 'X-User-Id: 1', 'x_user_nickname: Bob'), { status => 'found', %headers }, "$path: the backend is told who it is");
        is_deeply(told($visitor->get($nginx->port, $path), $app), wanted($app), "$path: and each kind of value is right");
    }
    my $agrees = $app->{agrees} // 1;
    is($asks->('who'), '1001', 'the application still knows its user') if $agrees;

    for my $how (sort keys(($app->{refused} // {})->%*)) {
        my ($spoil, $status) = $app->{refused}{$how}->@*;
        for my $path (@paths) {
            %$visitor = $spoil->(%$jar);
            is_deeply($sees->($path), { status => $status }, "$path: a cookie $how is $status");
        }
        is($asks->('who'), 'nobody', 'the application agrees');
    }

    %$visitor = %$jar;
    $asks->('logout');
    %$visitor = %$jar;
    is_deeply($sees->($paths[0]), { status => $app->{left} // 'missing' }, 'after a logout the old cookie tells nothing') if $agrees;

    %$visitor = ();
    $asks->('login');
    my %last = %$visitor;
    is($visitor->get($nginx->port, "$paths[0]/logout", { method => 'POST' })->{code}, 204, 'nginx can end the session too');
    is_deeply([sort keys %$visitor], [], 'its cookies go');
    %$visitor = %last;
    is_deeply($sees->($paths[0]), { status => 'missing' }, 'and the session');
    is($asks->('who'), $app->{outlives} ? '1001' : 'nobody', $app->{outlives} ? 'the application has its own' : 'the application agrees');
    return map { /([\w-]{16,})/ } values %$jar, values %last;
}

# The status, and what the backend was told of the user: { status, X-User-… }; a header that came twice is a list.
sub seen ($response) {
    my %seen = (status => header($response, 'X-Status') // "code $response->{code}");
    while ($response->{body} =~ /^(x-(?:user|cart)[\w-]*): ?(.*?)\r?$/mgi) {
        push $seen{$1}->@*, $2;
    }
    return { map { $_ => ref $seen{$_} && $seen{$_}->@* == 1 ? $seen{$_}[0] : $seen{$_} } keys %seen };
}

# Of $session_redis_json, what the application wrote.
sub told ($response, $app) {
    my $text = header($response, 'X-Json') // return 'no JSON';
    my $got  = eval { $json->decode($text) } // return "no JSON: $@";
    $got = $got->{$_} for grep { length } split '/', $app->{under} // $app->{root} // '';
    return { map { $_ => $got->{$_} } qw(user cart since) };
}

sub wanted ($app) {
    my %user = ($session{user}->%*, ($app->{null} // 1) ? (nickname => undef) : ());
    return { user => \%user, cart => $session{cart}, since => $app->{since} };
}

# Ways to spoil a jar, for "refused": without one of its cookies; or with the first letter or digit changed behind what a pattern says.
sub without_cookie ($name) {
    return sub (%jar) { delete $jar{$name}; %jar };
}

sub changed ($name, $where) {
    return sub (%jar) {
        $jar{$name} =~ s/$where[-_]*\K([A-Za-z0-9])/$1 eq 'a' ? 'b' : 'a'/e or die "nothing to change in the cookie $name\n";
        return %jar;
    };
}

sub slurp ($path) {
    open my $in, '<:raw', $path or return '';
    local $/;
    return <$in> // '';
}

# A browser, as far as cookies go: a hash of them.
package SessionRedis::Live::Visitor;

use experimental 'signatures';
use SessionRedis::Http qw(http);

sub new ($class) { return bless {}, $class }

# The lines of headers may be preceded by { method => … }.
sub get ($self, $port, $path, @headers) {
    my %how      = ref $headers[0] ? shift(@headers)->%* : ();
    my $cookies  = join '; ', map { "$_=$self->{$_}" } sort keys %$self;
    my $response = http($port, $path, %how, headers => [length $cookies ? "Cookie: $cookies" : (), @headers]);
    for my $line (map { /\ASet-Cookie: *(.*)\z/i } split /\r\n/, $response->{raw_headers}) {
        my ($name, $value) = $line =~ /\A([^=]+)=([^;]*)/ or next;
        if ($value =~ /\A"?"?\z/ || $line =~ /Max-Age=0\b|Expires=\w+, 01.Jan.1970/i) { delete $self->{$name} }
        else { $self->{$name} = $value }
    }
    return $response;
}

1;
