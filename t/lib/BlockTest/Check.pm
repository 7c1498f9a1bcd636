# The sections that say what is expected, each as the assertions that the
# real driver makes of it, in number too: plans count the same.
package BlockTest::Check;

use v5.26;
use warnings;
use experimental 'signatures';

use BlockTest::Config   qw(expand);
use BlockTest::Response qw(header);
use BlockTest::Server   qw(access_log_lines error_log_lines);
use BlockTest::Settings qw(%set);
use Digest::MD5 ();
use Digest::SHA ();
use Exporter 'import';
use JSON::PP   ();
use Test::Base ();
use Test::More ();

our @EXPORT_OK = qw(check_response check_logs check_shutdown_log);

# How often an expected log line that is not there yet is looked for again.
use constant LOG_TRIES => 10;

# Every response of a block. $at: { index => of the request, many => whether there are several,
# round => of repeat_each }.
sub check_response ($block, $response, $at, $more_checks) {
    my $name = $block->name;
    Test::More::fail("$name - $response->{error}") if $response->{error};
    check_code($block, $response, $at);
    check_raw_headers($block, $response, $at);
    check_headers($block, $response, $at);
    filter_body($block, $response, $at);
    check_body($block, $response, $at);
    $_->($block->original, $response->{body}, $at->{index}, $at->{round}, 0) for @$more_checks;
    return;
}

# The value of a section for this request: with several requests it must be a list.
sub expected ($block, $section, $at) {
    my $value = $block->$section;
    return $value->[$at->{index}] if ref $value eq 'ARRAY';
    die "--- $section must be a list, one for each request\n" if $at->{many};
    return $value;
}

sub check_code ($block, $response, $at) {
    my $name = $block->name . ' - status code ok';
    if (defined $block->error_code_like) {
        my $like = expected($block, 'error_code_like', $at);
        Test::More::like($response->{code}, qr/$like/sm, $name);
        return;
    }
    my $code = defined $block->error_code ? expected($block, 'error_code', $at) : 200;
    Test::More::is($response->{code}, $code, $name);
    return;
}

sub check_raw_headers ($block, $response, $at) {
    my $name = $block->name;
    if (defined $block->raw_response_headers_like) {
        my $like = expected($block, 'raw_response_headers_like', $at);
        Test::More::like($response->{raw_headers}, qr/$like/s, "$name - raw resp headers like");
    }
    if (defined $block->raw_response_headers_unlike) {
        my $unlike = expected($block, 'raw_response_headers_unlike', $at);
        Test::More::unlike($response->{raw_headers}, qr/$unlike/s, "$name - raw resp headers unlike");
    }
    return;
}

sub check_headers ($block, $response, $at) {
    my $name = $block->name;
    if (defined $block->response_headers) {
        die "response_headers and response_headers_like: the real driver heeds only the first\n"
            if defined $block->response_headers_like;
        for (header_lines(expected($block, 'response_headers', $at))) {
            my ($field, $value) = @$_;
            if (defined $value) {
                Test::More::is(header($response, $field) // '', with_ports($value), "$name - header $field ok");
            } else {
                Test::More::unlike($response->{raw_headers}, qr/^\s*\Q$field\E\s*:/mi, "$name - no header $field");
            }
        }
    } elsif (defined $block->response_headers_like) {
        for (header_lines(expected($block, 'response_headers_like', $at))) {
            my ($field, $value) = @$_;
            $value //= '';
            Test::More::like(header($response, $field) // '', qr/^$value$/, "$name - header $field like ok");
        }
    }
    return;
}

# "Name: value" lines, and "! Name" for one that must not be there; of one name the last.
sub header_lines ($text) {
    my (%value, @order);
    for my $line (split /\n/, $text // '') {
        $line =~ s/\A\s+|\s+\z//g;
        next if $line eq '';
        my $absent = $line =~ s/\A!\s*//;
        my ($field, $value) = $absent ? ($line, undef) : split /\s*:\s*/, $line, 2;
        push @order, $field if !exists $value{$field};
        $value{$field} = $absent ? undef : $value // '';
    }
    return map { [$_, $value{$_}] } @order;
}

sub with_ports ($text) {
    return $text =~ s/\$ServerPortForClient\b/$set{client_port}/gr =~ s/\$ServerPort\b/$set{port}/gr;
}

sub filter_body ($block, $response, $at) {
    my $filters = $block->response_body_filters;
    return if !defined $filters;
    $filters = [ref $filters ? $filters : split ' ', $filters] if ref $filters ne 'ARRAY';
    $filters = $filters->[$at->{index}] if ref $filters->[0] eq 'ARRAY';
    my %known = (
        md5_hex => \&Digest::MD5::md5_hex, sha1_hex => \&Digest::SHA::sha1_hex,
        uc => sub { uc $_[0] }, lc => sub { lc $_[0] }, length => sub { length $_[0] },
        ucfirst => sub { ucfirst $_[0] }, lcfirst => sub { lcfirst $_[0] },
    );
    for my $filter (@$filters) {
        my $code = ref $filter ? $filter : $known{$filter} // die "unknown body filter $filter\n";
        $response->{body} = $code->($response->{body});
    }
    return;
}

sub check_body ($block, $response, $at) {
    my $name = $block->name;
    my $body = $response->{body};
    if (defined $block->response_body) {
        $body = sorted_json($body) if defined $block->response_body_json_sort;
        my $expected = expected($block, 'response_body', $at);
        my $what = "$name - response_body - response is expected (repeated req $at->{round}, req $at->{index})";
        return Test::More::like($body, $expected, $what) if ref $expected;
        $expected = expand(with_ports($expected)) if defined $expected;
        Test::Base::is($body, $expected, $what);
    } elsif (defined $block->response_body_like) {
        my $like = with_ports(expected($block, 'response_body_like', $at));
        Test::More::like($body, qr/$like/s, "$name - response_body_like - response is expected");
    } elsif (defined $block->response_body_unlike) {
        my $unlike = with_ports(expected($block, 'response_body_unlike', $at));
        Test::More::unlike($body, qr/$unlike/s, "$name - response_body_unlike - response is expected");
    }
    return;
}

sub sorted_json ($body) {
    my $json = JSON::PP->new->canonical->loose;
    my $data = eval { $json->decode($body) };
    return defined $data ? $json->encode($data) . "\n" : $body;
}

# error.log and access.log after a request. $how: { round, no_access => 1 }.
sub check_logs ($block, $how) {
    my $lines = wanted_lines($block);
    check_grep($block, $lines, $how->{round});
    check_present($block, 'error_log', 'error.log', $lines, $how->{round});
    check_absent($block, 'no_error_log', 'error.log', $lines, $how->{round});
    warn_of_trouble($block, $lines);
    return if $how->{no_access};
    return if !defined $block->access_log && !defined $block->no_access_log;

    my $accesses = access_log_lines();
    check_present($block, 'access_log', 'access.log', $accesses, $how->{round});
    check_absent($block, 'no_access_log', 'access.log', $accesses, $how->{round});
    return;
}

# What the nginx of a block said as it left.
sub check_shutdown_log ($block) {
    return if !defined $block->shutdown_error_log && !defined $block->no_shutdown_error_log;
    my $lines = error_log_lines();
    check_present($block, 'shutdown_error_log', 'error.log', $lines, 0);
    check_absent($block, 'no_shutdown_error_log', 'error.log', $lines, 0);
    return;
}

# The block's part of error.log, waited for a little where a line is expected that is not there yet.
sub wanted_lines ($block) {
    my $lines = error_log_lines();
    for (1 .. LOG_TRIES) {
        last if !grep { defined && !found_in($_, $lines) } patterns($block->error_log);
        push @$lines, error_log_lines()->@*;
    }
    return $lines;
}

sub patterns ($value) {
    return if !defined $value;
    return @$value if ref $value eq 'ARRAY';
    return $value  if ref $value;
    return grep { length } split /\n+/, $value;
}

sub matches ($pattern, $line) {
    return $line =~ (ref $pattern ? $pattern : qr/\Q$pattern\E/);
}

sub found_in ($pattern, $lines) {
    for my $line (@$lines) {
        return $line if matches($pattern, $line);
    }
    return;
}

sub check_present ($block, $section, $log, $lines, $round) {
    for my $pattern (grep { defined } patterns($block->$section)) {
        my $found = found_in($pattern, $lines);
        Test::More::ok(defined $found, $block->name . " - pattern \"$pattern\" matches a line in $log (req $round)");
    }
    return;
}

sub check_absent ($block, $section, $log, $lines, $round) {
    for my $pattern (grep { defined } patterns($block->$section)) {
        my $found = found_in($pattern, $lines);
        Test::More::ok(!defined $found, $block->name . " - pattern \"$pattern\" does not match a line in $log (req $round)")
            or Test::More::diag("matched: $found");
    }
    return;
}

sub check_grep ($block, $lines, $round) {
    my $pattern = $block->grep_error_log;
    my $wanted  = $block->grep_error_log_out;
    die "grep_error_log and grep_error_log_out need each other\n" if defined $pattern != defined $wanted;
    $pattern = $pattern->[$round] if ref $pattern eq 'ARRAY';
    return if !defined $pattern;
    $wanted = expand(ref $wanted eq 'ARRAY' ? $wanted->[$round] : $wanted);

    my $regex = ref $pattern ? $pattern : qr/\Q$pattern\E/;
    my $found = join '', map { "$_\n" } grep { !/\n/ } map { /$regex/ ? substr $_, $-[0], $+[0] - $-[0] : () } @$lines;
    my $what  = $block->name . " - grep_error_log_out (req $round)";
    return Test::More::like($found, $wanted, $what) if ref $wanted;
    return Test::Base::is($found, $wanted, $what);
}

# Nothing fails for a line that no section names, but alerts and worse are shown.
sub warn_of_trouble ($block, $lines) {
    my @named = map { "$_" } grep { defined } map { patterns($block->$_) } qw(error_log no_error_log);
    for my $level (qw(alert crit emerg)) {
        next if grep { index($_, "[$level") >= 0 || index($_, "\\[$level") >= 0 } @named;
        warn 'WARNING: ', $block->name, " - $_" for grep { /\[$level\]/ } @$lines;
    }
    Test::More::fail($block->name . " - $_") for grep { /\bAssertion .*?failed\b/ } @$lines;
    return;
}

1;
