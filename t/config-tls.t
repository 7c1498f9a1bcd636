# The configuration of TLS: what "nginx -t" says of each "ssl" directive of session_redis_store{}.
use v5.26;
use warnings;

use FindBin;
BEGIN { push @INC, "$FindBin::Bin/lib" }
use SessionRedis;
use SessionRedis::Certificates qw(certificate_authority);
use SessionRedis::ConfigTable;
use Test::More;

plan skip_all => 'no openssl installed' if !have('openssl');

my $ca    = certificate_authority();
my $file  = $ca->file;
my $pair  = $ca->certificate(names => ['nginx']);
my $other = $ca->certificate(names => ['other']);
my $server = 'server rediss://127.0.0.1;';

# What is right passes without a word.
for my $line (
    'server rediss://127.0.0.1;', 'server rediss://web@127.0.0.1:6380/3;', 'server rediss://[::1];', 'server REDISS://127.0.0.1;',
    'server rediss://localhost;', 'server redis://127.0.0.1; ssl on;', 'server rediss://127.0.0.1; ssl on;',
    'server redis://127.0.0.1; ssl off;', 'server redis+unix:///run/redis.sock; ssl off;',
    "$server ssl_trusted_certificate $file;", "$server ssl_verify off;", "$server ssl_verify on;", "$server ssl_verify_depth 0;",
    "$server ssl_verify_depth 3;", "$server ssl_name redis.example.org;", "$server ssl_name 10.0.0.5;", "$server ssl_name ::1;",
    "$server ssl_protocols TLSv1.2;", "$server ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3;", "$server ssl_ciphers HIGH:!aNULL;",
    "$server ssl_certificate $pair->{file}; ssl_certificate_key $pair->{key};",
    "ssl_verify off; $server", "ssl_certificate_key $pair->{key}; $server ssl_certificate $pair->{file};",
) {
    accepted("accepted: $line", in_store($line));
}
accepted('session_redis rediss://', in_server('session_redis rediss://127.0.0.1;'));
accepted('two of them', http => 'session_redis rediss://127.0.0.1/1;', server => "location /a {\nsession_redis rediss://127.0.0.1/1;\n}\nlocation /b {\nsession_redis redis://127.0.0.1/1;\n}");
accepted('an upstream block', http => "upstream redis {\nserver 127.0.0.1:6379;\n}", server => 'session_redis rediss://redis;');

# Every directive: too few and too many arguments, a second time, a wrong value.
my $unreadable = 'cannot read "/nonexistent": No such file or directory (os error 2)';
my %wrong = (
    ssl                     => ['on', '"yes" is neither "on" nor "off"' => 'yes'],
    ssl_trusted_certificate => [$file, $unreadable => '/nonexistent'],
    ssl_verify              => ['on', '"2" is neither "on" nor "off"' => '2'],
    ssl_verify_depth        => ['2', '"x" is not a number from 0 to 100' => 'x', '"-1" is not a number from 0 to 100' => '-1'],
    ssl_name                => ['redis', 'the name is empty' => "''"],
    ssl_certificate         => [$pair->{file}, $unreadable => '/nonexistent'],
    ssl_certificate_key     => [$pair->{key}, $unreadable => '/nonexistent'],
    ssl_protocols           => ['TLSv1.2', 'unknown protocol "TLSv1.4"; did you mean "TLSv1.1"? known: TLSv1.1, TLSv1.2, TLSv1.3, TLSv1' => 'TLSv1.4', qr/unknown protocol "SSLv3"; known: TLSv1, / => 'TLSv1.2 SSLv3'],
    ssl_ciphers             => ['HIGH', qr/SSL_CTX_set_cipher_list\("nonsense"\) failed \(SSL: error:.*no cipher match\)/ => 'nonsense'],
);
for my $directive (sort keys %wrong) {
    my ($good, @cases) = $wrong{$directive}->@*;
    refused("$directive without an argument", "invalid number of arguments in \"$directive\" directive", in_store("$server\n$directive; #!"));
    refused("$directive with two arguments", "invalid number of arguments in \"$directive\" directive",
        in_store("$server\n$directive $good $good; #!")) if $directive ne 'ssl_protocols';
    refused("$directive twice", "\"$directive\" directive: is duplicate", in_store("$server\n$directive $good;\n$directive $good; #!"));
    while (my ($message, $value) = splice @cases, 0, 2) {
        # A pattern as a key of a list is text.
        refuses("$directive $value", $directive, $message =~ /\A\(\?/ ? qr/$message/ : $message, in_store("$server\n$directive $value; #!"));
    }
}

# Files with other things in them.
my $text = file_of("no certificate\n", mode => 0640);
refuses('a CA that is none', 'ssl_trusted_certificate', qr/\Q$text\E"(?:\) failed|: .* failed) \(SSL: error:/, in_store("$server\nssl_trusted_certificate $text; #!"));
refuses('a certificate that is none', 'ssl_certificate', qr/cannot load certificate "\Q$text\E": PEM_read_bio_X509(?:_AUX)?\(\) failed \(SSL: error:/,
    in_store("$server\nssl_certificate $text; #!\nssl_certificate_key $pair->{key};"));
refuses('a key that is none', 'ssl_certificate_key', qr/cannot load certificate key "\Q$text\E": PEM_read_bio_PrivateKey\(\) failed \(SSL: error:/,
    in_store("$server\nssl_certificate $pair->{file};\nssl_certificate_key $text; #!"));
refuses('the key of another', 'ssl_certificate_key', qr/SSL_CTX_use_PrivateKey\("\Q$other->{key}\E"\) failed \(SSL: error:.*key values mismatch\)/,
    in_store("$server\nssl_certificate $pair->{file};\nssl_certificate_key $other->{key}; #!"));
my $encrypted = file_of('', mode => 0640);
system "openssl pkey -in $pair->{key} -out $encrypted -aes128 -passout pass:secret";
refuses('a key with a password, for which nobody is asked', 'ssl_certificate_key', qr/cannot load certificate key "\Q$encrypted\E": PEM_read_bio_PrivateKey\(\) failed \(SSL: error:/,
    in_store("$server\nssl_certificate $pair->{file};\nssl_certificate_key $encrypted; #!"));
warned('a key that everyone may read', "\"$_\" is readable by others than its owner and group",
    in_store("$server\nssl_certificate $pair->{file};\nssl_certificate_key $_; #!")) for map { my $path = "$_.open"; system "cp $_ $path && chmod 644 $path"; $path } $pair->{key};

for my $case (['ssl_trusted_certificate', $file, ''], ['ssl_certificate', $pair->{file}, "ssl_certificate_key $pair->{key};"], ['ssl_certificate_key', $pair->{key}, "ssl_certificate $pair->{file};"]) {
    my ($directive, $from, $beside) = @$case;
    system "cp $from $from.loose && chmod 620 $from.loose";
    warned("$directive: a file that others may write", "\"$from.loose\" is writable by others than its owner", in_store("$server\n$beside\n$directive $from.loose; #!"));
}

# What does not go together.
refuses('a certificate without its key', 'ssl_certificate', 'no "ssl_certificate_key" is defined for it', in_store("$server\nssl_certificate $pair->{file}; #!"));
refuses('a key without a certificate', 'ssl_certificate_key', 'no "ssl_certificate" is defined for it', in_store("$server\nssl_certificate_key $pair->{key}; #!"));
refuses('ssl off beside rediss://', 'ssl', 'contradicts "rediss://"; write "redis://" for a store without TLS', in_store("$server\nssl off; #!"));
refuses('ssl on beside a Unix socket', 'ssl', 'a Unix socket is spoken to without TLS', in_store("server redis+unix:///run/redis.sock;\nssl on; #!"));
for my $line ("ssl_trusted_certificate $file;", 'ssl_verify off;', 'ssl_verify_depth 2;', 'ssl_name redis;', "ssl_certificate $pair->{file};",
    "ssl_certificate_key $pair->{key};", 'ssl_protocols TLSv1.2;', 'ssl_ciphers HIGH;') {
    my ($directive) = $line =~ /\A(\w+)/;
    refuses("$directive without TLS", $directive, 'the store is spoken to without TLS; write "rediss://" in its url, or "ssl on"', in_store("server redis://127.0.0.1;\n$line #!"));
    warned("$directive with TLS turned off", "\"$directive\" has no effect with \"ssl off\"", in_store("server redis://127.0.0.1;\nssl off;\n$line #!"));
}
refuses('over a Unix socket', 'ssl_verify', qr/\Athe store is spoken to without TLS/, in_store("server redis+unix:///run/redis.sock;\nssl_verify off; #!"));

# No secret is shown.
for my $place (\&in_store, \&in_server) {
    my $directive = $place == \&in_store ? 'server' : 'session_redis';
    refuses("a password in $directive", $directive, 'password in a store url would show in "nginx -T"; move it to "password_file" (url was rediss://web:***@10.0.0.5/1)',
        $place->("$directive rediss://web:hunter2\@10.0.0.5/1; #!"));
}

done_testing();
