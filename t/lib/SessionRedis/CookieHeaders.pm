# Cookie headers by chance, as browsers send them and as nobody should: for comparing who reads what in them.
package SessionRedis::CookieHeaders;

use v5.26;
use warnings;
use experimental 'signatures';

use Exporter 'import';

our @EXPORT_OK = qw(honest_header odd_header);

# What any of the parsers may take for a blank, an end or a mark. No CR, LF or NUL: nginx refuses these.
my @nasty = (' ', ' ', "\t", ',', ',', ';', ';', '"', '"', '\\', '=', '=', '$', '[', ']', '.', '_', '%', '+', '&', ':', '/', '?', '@', '{', '}', '(', ')', '<', '>',
    "'", "\x01", "\x08", "\x0b", "\x0c", "\x1c", "\x1f", "\x7f", "\x80", "\x85", "\xa0", "\xad", "\xc3\xa9", "\xc2\xa0", "\xe2\x80\xa8", "\xef\xbb\xbf", "\xff");
my @words = qw(foo bar a b path Path expires domain secure HttpOnly samesite max-age version comment $Version $Path $Domain $Port __Host-foo __Secure-foo csrftoken _ga x1);
my @plain = ('1', 'de', 'dark', 'GA1.2.1234567890.1700000000', 'eyJhIjoxfQ==', '%7B%22a%22%3A1%7D', 'a=b&c=d', '/shop/cart?x=1', 'a|b', '', 'x' x 40);
my @loose = ('John Smith', '{"a":1,"b":[2,3]}', 'Wed, 21 Oct 2026 07:28:00 GMT', '"quoted"', '"two words"', '"a;b"', '"a, b"', '"a\\"b"', '"open', 'close"', '\\', '"\\', '"\\073', "caf\xc3\xa9",
    '[1,2]', 'a,b', '1 2', '""', '"', '"""');

# A header as a browser sends it: $names of sessions to one value each, among other cookies of well-behaved applications.
sub honest_header ($cookies) {
    my @pairs = map { "$_->[0]=$_->[1]" } @$cookies;
    for (1 .. int rand 6) {
        my $value = rand() < 0.2 ? one('John Smith', '{"a":1,"b":[2,3]}', 'a,b', "caf\xc3\xa9", '"quoted"', '"two words"') : one(@plain);
        splice @pairs, int rand(@pairs + 1), 0, one(qw(lang theme _ga _gid csrftoken __Host-foo cart x1)) . "=$value";
    }
    return [join '; ', @pairs];
}

# A header for nobody's good. $values: the cookie values of sessions. Each may stand under $name. $others: more pairs to be strewn in,
# like signatures. Returns its lines.
sub odd_header ($name, $values, $others = []) {
    my $lines = rand() < 0.8 ? 1 : 1 + int rand 4;
    my $room  = 7000;
    my @lines = map { my $line = line($name, $values, $others); $line =~ s/\A[ \t]+|[ \t]+\z//gr } 1 .. $lines;
    return [grep { ($room -= length) > 0 } @lines];
}

sub line ($name, $values, $others) {
    my $count = rand() < 0.03 ? 9 + int rand 9 : 1 + int rand 5;
    my $line  = rand() < 0.08 ? one('$Version=1; ', '$Version="1"; ', '$Version=0, ', '; ', '=', '"', ' ', ',') : '';
    my $usual = rand() < 0.5;
    for my $at (1 .. $count) {
        $line .= separator($usual) if $at > 1;
        $line .= pair($name, $values, $others);
    }
    return rand() < 0.15 ? spoilt($line) : $line;
}

sub pair ($name, $values, $others) {
    my $kind = rand;
    return session($name, $values) if $kind < 0.45;
    return one(@$others)           if $kind < 0.6 && @$others;
    return one(@words) . one('=', '=', '=', ' = ', '') . one(@plain, @loose) if $kind < 0.75;
    # Another cookie whose value, or part of it, some take for ours.
    my $inner = session($name, $values);
    return one(
        "foo=bar $inner", "foo=bar, $inner", "foo=bar,$inner", "foo=\"bar; $inner\"", "foo=\"bar; $inner; x=\"", "foo=\"a\"$inner", "foo=\"a\\\"; $inner\"", "foo=$inner",
        "foo=\"$inner\"", "foo $inner", "$inner bar", "foo=\"bar; baz\" $inner", "expires=Wed, 21 Oct 2026 07:28:00 GMT $inner", "foo=[$inner", "foo=bar\\$inner",
        "path=/ $inner", "secure $inner", "\$Path=\"/\" $inner", "foo=bar\t$inner", "foo=bar" . one(@nasty) . $inner, one(@nasty) . $inner, $inner . one(@nasty) . 'foo=bar',
        "$inner;" . session($name, $values), "=$inner", "foo=bar$inner",
    );
}

# The cookie, or something that looks like it.
sub session ($name, $values) {
    my $value = one(@$values);
    return "$name=$value" if rand() < 0.4;
    return (rand() < 0.6 ? $name : name_like($name)) . one(('=') x 8, ' = ', '= ', ' =', "\t=", '==', "=\x0b", "\xa0=", '') . (rand() < 0.6 ? $value : value_like($value, $name, $values));
}

sub name_like ($name) {
    my $byte = int rand length $name;
    my $char = substr $name, $byte, 1;
    return one(
        uc $name, lc $name, ucfirst lc $name, $name =~ tr/._/_./r, $name =~ tr/._-/   /r, $name =~ s/[._]/[/r, "$name\[]", "$name\[a]", "$name\[", "$name.", "${name}2", "x$name", "__Host-$name",
        "\$$name", "\"$name\"", "\"$name", "$name\"", " $name", "=$name", ",$name", one(@nasty) . $name, $name . one(@nasty),
        substr($name, 0, $byte) . sprintf('%%%02X', ord $char) . substr($name, $byte + 1), "$name%00", "$name%20", "%20$name", "${name}%3D", $name . '+',
    );
}

sub value_like ($value, $name, $values) {
    my $byte  = int rand length $value;
    my $char  = substr $value, $byte, 1;
    my $other = one(@$values);
    my $put   = sub ($text) { substr($value, 0, $byte) . $text . substr $value, $byte + 1 };
    return one(
        "\"$value\"", "\"$value\"", "\"$value", "$value\"", "\"$value\"x", "\"$value\";x", "\"$value\" ", "\"\"$value\"\"", $put->("\\$char"), '"' . $put->("\\$char") . '"',
        '"' . $put->(sprintf '\\%03o', ord $char) . '"', $put->(sprintf '%%%02x', ord $char), $put->(sprintf '%%25%02x', ord $char), "$value ", "$value\t", "$value ,", "$value,", "$value\\", "$value x",
        "$value,x", "$value $name=$other", "$value, $name=$other", "$value,$name=$other", "\"$value $name=$other\"", "\"$value\" $name=$other", $value . one(@nasty), one(@nasty) . $value,
        "$value=", "=$value", '', '""', '"', 'short', "$value$value", 'x' x 5000, "$value%", "$value%zz", "$value%00", "$value+", "$value.", "'$value'", "{$value}", "$value\xa0", "$value=x",
        "$other\x0b$value", "\"$value;$other\"",
    );
}

sub separator ($usual) {
    return '; ' if $usual || rand() < 0.5;
    return one(';', ' ;', ';;', '; ;', ' ', "\t", ',', ', ', ' , ', ",\t", ";\t", '', '&', "\x0b", "\x0c", "\xa0", ";\x0b", ";\xa0", ";\x1c", ";\"", '";', one(@nasty), ';' . one(@nasty));
}

# With a byte that is put in, taken out or changed.
sub spoilt ($line) {
    for (0 .. int rand 3) {
        my $at = int rand(1 + length $line);
        substr($line, $at, one(0, 0, 1)) = one(@nasty, '') if $at < length $line;
    }
    return $line;
}

sub one (@choices) { return $choices[rand @choices] }

1;
