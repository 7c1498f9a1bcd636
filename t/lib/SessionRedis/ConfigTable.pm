# Rows of "this configuration, that answer of nginx -t", for tests of the configuration. A row is text of nginx.conf and
# what nginx must say of it; the text stands in http{}, server{} or location{} as the row's function says.
package SessionRedis::ConfigTable;

use v5.26;
use warnings;
use experimental 'signatures';

use Exporter 'import';
use SessionRedis::Nginx qw(nginx_test);
use SessionRedis::Process qw(temp_dir);
use Test::More;

our @EXPORT = qw(accepted file_of in_http in_location in_server in_store refused refuses warned);

# Where a row's text stands.
sub in_http     ($text) { return (http => $text) }
sub in_server   ($text) { return (server => $text) }
sub in_store    ($text) { return (http => "session_redis_store s {\n$text\n}") }
sub in_location ($text) {
    return (server => "session_redis redis://127.0.0.1:6379;\nsession_redis_framework php;\nlocation / {\n$text\n}");
}

# What rows with a secret in them are told beside, which is no matter of theirs.
my $shown = qr/\[warn\] .*"(?:password|session_redis_secret)" shows in "nginx -T"; /;

# nginx takes it without a word.
sub accepted ($name, %conf) {
    my ($good, $said) = nginx_test(%conf);
    my @noise = grep { !/syntax is ok|test is successful|$shown/ } split /\n/, $said;
    return ok($good && !@noise, $name) || diag($said);
}

# nginx refuses it at the line that ends in "#!", or at the only line of the text, with this message word for word (or
# matching, if it is a pattern) between level and place.
sub refused ($name, $message, %conf) {
    return judge($name, 'emerg', $message, 0, %conf);
}

# The same, for a message that begins with the directive's name.
sub refuses ($name, $directive, $message, %conf) {
    my $begin = qr/\A"$directive" directive: /;
    return refused($name, ref $message ? sub { $_[0] =~ s/$begin// && $_[0] =~ $message } : "\"$directive\" directive: $message", %conf);
}

# nginx takes it, with exactly this one warning.
sub warned ($name, $message, %conf) {
    return judge($name, 'warn', $message, 1, %conf);
}

sub judge ($name, $level, $message, $wants_good, %conf) {
    my ($good, $said) = nginx_test(%conf);
    my @lines = grep { /\[(?:emerg|alert|crit|error|warn)\]/ } split /\n/, $said;
    @lines = grep { !/$shown/ } @lines if @lines > 1;
    my $right = !!$good eq !!$wants_good && @lines == 1
        && $lines[0] =~ /\[(\w+)\] (?:\d+#\d+: )?(.*) in (\S+):(\d+)\z/s;
    my ($got_level, $got, $file, $line) = $right ? ($1, $2, $3, $4) : ();
    $right &&= $got_level eq $level && matches($got, $message) && is_marked($file, $line, \%conf);
    return ok($right, $name) || diag("wanted [$level] $message\nat ", is_marked_line(\%conf), "\nnginx says:\n$said");
}

sub matches ($got, $wanted) {
    return ref $wanted eq 'CODE' ? $wanted->($got) : ref $wanted ? $got =~ $wanted : $got eq $wanted;
}

# Whether the line of the file is the one that the text marks.
sub is_marked ($file, $line, $conf) {
    open my $in, '<', $file or return 0;
    my @lines = <$in>;
    my $wanted = is_marked_line($conf);
    return ($lines[$line - 1] // '') =~ /\Q$wanted\E/;
}

sub is_marked_line ($conf) {
    my @lines = map { split /\n/ } grep { defined } @$conf{qw(main http server)};
    my ($marked) = grep { /#!/ } @lines;
    return $marked if $marked;
    my ($own) = grep { !/^session_redis(?:_framework)? |^session_redis_store s \{$|^location \/ \{$|^\}$/ } @lines;
    return $own // $lines[0];
}

# A file with this content, for the directives that name one. %how: mode (0600).
sub file_of ($content, %how) {
    state $dir = temp_dir();
    state $count = 0;
    my $path = "$dir/file" . ++$count;
    open my $out, '>:raw', $path or die "$path: $!\n";
    print {$out} $content;
    close $out;
    chmod $how{mode} // 0600, $path;
    return $path;
}

1;
