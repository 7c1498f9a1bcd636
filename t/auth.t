# Who we are at the store: passwords, users, databases; what a server refuses;
# and that no secret shows in a log.
use v5.26;
use warnings;
use experimental 'signatures';
use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Resp qw(bulk error);
use StoreTest;
use Test::More;

my $password = 's3cret-Pass/word';
my $rotated  = 'an0ther-Pass/word';

sub redis_with_password (%how) {
    my $redis = start_redis(password => $password, %how);
    put_sessions($redis, 1, 3);
    return $redis;
}

# A file of a given content, as store directive.
sub file_of ($content) {
    my $path = temp_dir() . '/redis.password';
    write_file($path, $content);
    return $path;
}

sub write_file ($path, $content) {
    open my $out, '>', "$path.new" or die "$path: $!\n";
    print {$out} $content;
    close $out;
    chmod 0640, "$path.new";
    rename "$path.new", $path;
    return;
}

# Whatever happened, at the most talkative level: no secret. (Debug lines of nginx itself show the parts of a key.)
sub keeps_quiet ($nginx) {
    my @lines = split /\n/, $nginx->log;
    for my $secret ($password, $rotated) {
        my ($part) = $secret =~ /\A([^-]+)/;
        is(scalar(grep { /\Q$part\E/ } @lines), 0, 'the log holds no secret');
    }
    my @spoken = grep { /\A\S+ \S+ \[(?!debug)\w+\]/ } @lines;
    is(scalar(grep { /sess:|session0|"user"/ } @spoken), 0, 'nor an id, a key or a value') or diag explain \@spoken;
    return;
}

# A store that refuses us: requests fail, one line says why.
sub is_refused ($nginx, $why, $what) {
    is_deeply([statuses($nginx, '/need', 1, 2, 3)], [503, 503, 503], "$what: 503");
    is(get($nginx, '/pass', 1)->{body}, "user=\n", "$what: no user");
    my @lines = lines_like($nginx, qr/\[error\].*session store "s" is down/);
    is(scalar @lines, 1, "$what: one line") or diag explain \@lines;
    like($lines[0] // '', $why, "$what: says why");
    return keeps_quiet($nginx);
}

my @quiet = (log_level => 'debug');

subtest 'a password' => sub {
    my $redis = redis_with_password();
    for my $store ("password $password;", 'password_file ' . file_of($password) . ';', 'password_file ' . file_of("$password\n") . ';', 'password_file ' . file_of("$password\r\n") . ';') {
        my $nginx = session_nginx(url => $redis->url, store => $store, @quiet);
        is(get($nginx, '/need', 1)->{body}, "user=u1\n", 'is taken');
        keeps_quiet($nginx);
    }
};

subtest 'a wrong password' => sub {
    my $redis = redis_with_password();
    my $nginx = session_nginx(url => $redis->url, store => "password $rotated;", @quiet);
    is_refused($nginx, qr/WRONGPASS invalid username-password pair or user is disabled\.\\?" to AUTH/, 'WRONGPASS');
    $redis->cmd('CONFIG', 'SET', 'requirepass', $rotated);
    $redis->{password} = $rotated;
    cmp_ok(until_found($nginx, 1), '<', 2, 'served as soon as the server takes it');
};

subtest 'no password' => sub {
    my $redis = redis_with_password();
    is_refused(session_nginx(url => $redis->url, @quiet), qr/NOAUTH Authentication required/, 'NOAUTH');
};

subtest 'a password that the server does not want' => sub {
    my $redis = start_redis();
    my $nginx = session_nginx(url => $redis->url, store => "password $password;", @quiet);
    is_refused($nginx, qr/to AUTH/, 'AUTH without a password set');
};

subtest 'a user' => sub {
    my $redis = redis_with_password(users => ["user web on >$password ~sess:* +get +pttl +pexpire +select"]);
    for my $how (["redis://127.0.0.1:@{[$redis->port]}", "username web; password $password;"], ["redis://web\@127.0.0.1:@{[$redis->port]}", "password $password;"]) {
        my ($url, $store) = @$how;
        my $nginx = session_nginx(url => $url, store => $store, @quiet);
        is(get($nginx, '/need', 1)->{body}, "user=u1\n", 'is let in, with no more rights than it needs');
        $redis->cmd('CLIENT', 'KILL', 'TYPE', 'NORMAL', 'SKIPME', 'YES');
        cmp_ok(until_found($nginx, 1), '<', 2, 'and again');
        keeps_quiet($nginx);
    }
    my $nginx = session_nginx(url => $redis->url, store => "username web; password $rotated;", @quiet);
    is_refused($nginx, qr/WRONGPASS/, 'with a wrong password');
    $nginx = session_nginx(url => $redis->url, store => "username nobody; password $password;", @quiet);
    is_refused($nginx, qr/WRONGPASS/, 'who does not exist');
};

subtest 'a user who is disabled' => sub {
    my $redis = redis_with_password(users => ["user web on >$password ~sess:* +get"]);
    my $nginx = session_nginx(url => $redis->url, store => "username web; password $password;", @quiet);
    is(get($nginx, '/need', 1)->{code}, 200, 'at first');
    $redis->cmd('ACL', 'SETUSER', 'web', 'off');
    $redis->cmd('CLIENT', 'KILL', 'USER', 'web');
    until_status($nginx, '/need', 1, 503);
    is_refused($nginx, qr/WRONGPASS/, 'then');
    $redis->cmd('ACL', 'SETUSER', 'web', 'on');
    cmp_ok(until_found($nginx, 1), '<', 2, 'and back');
    $redis->cmd('ACL', 'DELUSER', 'web');
    until_status($nginx, '/need', 1, 503);
    is(get($nginx, '/need', 1)->{code}, 503, 'a user who is deleted');
};

subtest 'NOPERM' => sub {
    my $redis = redis_with_password(users => ["user web on >$password ~other:* +get"]);
    my $nginx = session_nginx(url => $redis->url, store => "username web; password $password;", @quiet);
    is_deeply([statuses($nginx, '/need', 1, 2)], [503, 503], 'no right to these keys');
    is(header(get($nginx, '/pass', 1), 'X-Status'), 'error', 'is an error');
    is(scalar lines_like($nginx, qr/\[error\].*is down/), 0, 'the store is not down');
    cmp_ok(scalar lines_like($nginx, qr/\[error\].*NOPERM/), '>=', 1, 'the log says why');
    keeps_quiet($nginx);
    $redis->cmd('ACL', 'SETUSER', 'web', '~sess:*');
    is(get($nginx, '/need', 1)->{code}, 200, 'served at once when it has it');
};

subtest 'databases' => sub {
    my $redis = start_redis();
    $redis->cmd('SELECT', 3);
    put_sessions($redis, 1, 3);
    my $nginx = session_nginx(url => $redis->url(3));
    is(get($nginx, '/need', 1)->{code}, 200, 'of the url');
    $nginx = session_nginx(url => 'redis://127.0.0.1:' . $redis->port, store => 'database 3;');
    is(get($nginx, '/need', 1)->{code}, 200, 'of the directive');
    $nginx = session_nginx(url => $redis->unix_url(3));
    is(get($nginx, '/need', 1)->{code}, 200, 'over a Unix socket');
    $nginx = session_nginx(url => $redis->url(2));
    is(get($nginx, '/need', 1)->{code}, 401, 'another one does not have it');
    $redis->cmd('CLIENT', 'KILL', 'TYPE', 'NORMAL', 'SKIPME', 'YES');
    is(get($nginx, '/need', 1)->{code}, 401, 'nor after a reconnect');
    is_refused(session_nginx(url => $redis->url(99), @quiet), qr/ERR DB index is out of range\\?" to SELECT/, 'out of range');
};

subtest 'nothing is asked before the handshake is over' => sub {
    my $fake = fake_redis(data => { key(1) => session_of(1) }, on => { SELECT => [{ delay => 0.05 }, error('ERR DB index is out of range')] });
    my $nginx = session_nginx(url => $fake->url . '/5', @quiet);
    is(get($nginx, '/need', 1)->{code}, 503, 'refused');
    is($fake->count('GET'), scalar(grep { $_->[2] eq 'session_redis_probe' } grep { $_->[1] eq 'GET' } $fake->commands), 'no session was read from database 0');
};

subtest 'servers that know less' => sub {
    my @data = (data => { key(1) => session_of(1) });
    my $arity = error("ERR wrong number of arguments for 'auth' command");
    my $old = fake_redis(@data, on => { AUTH => sub ($words, $) { @$words == 2 ? undef : $arity } });
    is_refused(session_nginx(url => $old->url, store => "username web; password $password;", @quiet), qr/knows no user names/, 'no ACLs');
    is(get(session_nginx(url => $old->url, store => "password $password;", @quiet), '/need', 1)->{code}, 200, 'a password alone is fine');

    my $proxy = fake_redis(@data, on => { map { ($_ => error("ERR unknown command '$_'")) } qw(CLIENT SELECT HELLO PING INFO COMMAND) });
    is(get(session_nginx(url => $proxy->url, @quiet), '/need', 1)->{code}, 200, 'nothing but GET is needed');
    is_deeply([map { $_->[1] } $proxy->commands], ['CLIENT', 'GET'], 'and no more asked but that it notes our name');
    is_refused(session_nginx(url => $proxy->url . '/1', @quiet), qr/unknown command .*to SELECT/, 'another database is');

    my $quotes = fake_redis(on => { AUTH => sub ($words, $) { error("ERR unknown command 'AUTH', with args beginning with: '$words->[1]'") },
        GET => sub ($words, $) { error("ERR no such thing as '$words->[1]' here") } });
    is_refused(session_nginx(url => $quotes->url, store => "password $password;", @quiet), qr/unknown command/, 'a server that repeats the password');
    my $nginx = session_nginx(url => $quotes->url, @quiet);
    is(get($nginx, '/need', 1)->{code}, 503, 'a server that repeats the key');
    keeps_quiet($nginx);
};

subtest 'our name' => sub {
    my $redis = redis_with_password(users => ["user web on >$password ~sess:* +get"]);
    my $nginx = session_nginx(url => $redis->url, store => "password $password;");
    is(get($nginx, '/need', 1)->{code}, 200, 'the session is there');
    is(scalar(() = $redis->cmd('CLIENT', 'LIST') =~ /^.* name=nginx-session-redis .* cmd=get /mg), 1, 'and the server knows who asked');
    $nginx = session_nginx(url => $redis->url, store => "username web; password $password;");
    is(get($nginx, '/need', 1)->{code}, 200, 'who may not give a name is served nevertheless');
    is(scalar(() = $redis->cmd('CLIENT', 'LIST') =~ /^.* name= .* cmd=get user=web /mg), 1, 'without one');
};

# Some proxies close the connection at a command that they do not know.
subtest 'a proxy that hangs up' => sub {
    my %hangs = map { ($_ => { close => 1 }) } qw(CLIENT SELECT HELLO PING INFO COMMAND);
    my $longer = sub ($words, $) { return @$words == 4 ? { close => 1 } : undef };
    my $proxy = fake_redis(data => { map { (key($_), session_of($_)) } 1 .. 50 }, on => { %hangs, PTTL => ":5000\r\n", PEXPIRE => $longer });
    my $nginx = session_nginx(url => $proxy->url, life => 1, @quiet);
    my $result = many(port => $nginx->port, count => 200, at_once => 50, request => sub ($i) { request('/need', 1 + $i % 50) });
    is_deeply($result->{codes}, { 200 => 200 }, 'nobody notices');
    is($proxy->count('CLIENT'), 1, 'it is told our name once');
    is(scalar lines_like($nginx, qr/is down/), 0, 'it is not down');
    is_deeply([statuses($nginx, '/touch', 1 .. 4)], [200, 200, 200, 200], 'nor for want of "GT"');
    wait_for(sub { 4 <= grep { $_->[1] eq 'PEXPIRE' && @$_ == 4 } $proxy->commands }, what => 'touches in the older form') if get($nginx, '/touch', 5)->{code} == 200;
    is(scalar(grep { $_->[1] eq 'PEXPIRE' && @$_ == 5 } $proxy->commands), 1, 'which it is asked for once');
    is(scalar lines_like($nginx, qr/\[(?:error|alert|crit|emerg)\]/), 0, 'nothing is wrong');
    is_refused(session_nginx(url => $proxy->url . '/1', @quiet), qr/server closed the connection when sent SELECT/, 'a database that it does not have');
    my $users = fake_redis(on => { AUTH => { close => 1 } });
    is_refused(session_nginx(url => $users->url, store => "username web; password $password;", @quiet), qr/server closed the connection/, 'a user that it does not want');
};

subtest 'protected mode' => sub {
    my $denied = error('DENIED Redis is running in protected mode because protected mode is enabled and no password is set');
    my $fake = fake_redis(on => { connect => [$denied, { close => 1 }] });
    is_refused(session_nginx(url => $fake->url, @quiet), qr/DENIED Redis is running in protected mode/, 'DENIED');
    $fake->behave;
};

subtest 'a password that is rotated' => sub {
    my $redis = redis_with_password();
    my $path  = file_of($password);
    my $nginx = session_nginx(url => $redis->url, store => "password_file $path;", @quiet);
    is(get($nginx, '/need', 1)->{code}, 200, 'at first');

    write_file($path, $rotated);
    is(get($nginx, '/need', 1)->{code}, 200, 'the file first: connections stay');
    $redis->cmd('CONFIG', 'SET', 'requirepass', $rotated);
    $redis->{password} = $rotated;
    $redis->cmd('CLIENT', 'KILL', 'TYPE', 'NORMAL', 'SKIPME', 'YES');
    is(get($nginx, '/need', 1)->{code}, 200, 'the server too: nobody notices');
    is(scalar lines_like($nginx, qr/\[notice\].*session store "s": password read again from/), 1, 'one line says so');
    keeps_quiet($nginx);
};

subtest 'a password that is rotated at the server first' => sub {
    my $redis = redis_with_password();
    my $path  = file_of($password);
    my $nginx = session_nginx(url => $redis->url, store => "password_file $path;", @quiet);
    is(get($nginx, '/need', 1)->{code}, 200, 'at first');
    $redis->cmd('CONFIG', 'SET', 'requirepass', $rotated);
    $redis->{password} = $rotated;
    $redis->cmd('CLIENT', 'KILL', 'TYPE', 'NORMAL', 'SKIPME', 'YES');
    is(get($nginx, '/need', 1)->{code}, 503, 'the old one is refused');
    write_file($path, $rotated);
    cmp_ok(until_found($nginx, 1, seconds => 15), '<', 13, 'the file is read again within 10 s and a probe');
};

subtest 'a password file that a worker cannot read' => sub {
    my $redis = redis_with_password();
    my $path  = file_of($rotated);
    my $nginx = session_nginx(url => $redis->url, store => "password_file $path;", @quiet);
    unlink $path;
    is_deeply([statuses($nginx, '/need', 1, 1)], [503, 503], 'refused');
    is(scalar lines_like($nginx, qr/\[warn\].*cannot be read again \(No such file.*a new password needs a reload/), 1, 'one line says what to do');
    write_file($path, $password);
    $nginx->reload;
    cmp_ok(until_found($nginx, 1), '<', 2, 'after a reload it is fine');
};

subtest 'what the log and nginx -T would show' => sub {
    my ($ok, $text) = nginx_test(http => 'session_redis_store s { server redis://:geheim42@127.0.0.1/1; }', server => 'session_redis s;');
    ok(!$ok, 'a password in a url is refused');
    like($text, qr/password in a store url would show in "nginx -T"; move it to "password_file"/, 'and why');
    unlike($text, qr/geheim42/, 'without repeating it');
};

done_testing();
