# Certificates of the test's own, made with the openssl program: an authority
# that signs, and what it signed.
package SessionRedis::Certificates;

use v5.26;
use warnings;
use experimental 'signatures';

use Exporter 'import';
use SessionRedis::Process qw(have temp_dir);

our @EXPORT_OK = qw(certificate_authority);

# An authority: file (its certificate); certificate(…) signs one. signed_by: another authority, whose intermediate it is.
sub certificate_authority (%how) {
    my $self = bless { dir => temp_dir(), count => 0 }, __PACKAGE__;
    my $pair = $self->make('/CN=Test CA ' . $self->{dir} =~ s{.*/}{}r, ['basicConstraints=critical,CA:TRUE'], by => $how{signed_by});
    $self->{$_} = $pair->{$_} for qw(file key);
    $self->{chain} = $how{signed_by} ? [$self->{file}] : [];
    return $self;
}

sub file ($self) { return $self->{file} }

# A pair { file, key } for these names => [] and ips => []; expired => 1: of yesterday; self_signed => 1. The file ends with
# the authority's own certificate where that is an intermediate.
sub certificate ($self, %how) {
    my @names = ((map { "DNS:$_" } ($how{names} // [])->@*), (map { "IP:$_" } ($how{ips} // [])->@*));
    my $pair  = $self->make('/CN=redis', ['subjectAltName=' . join ',', @names], by => $how{self_signed} ? undef : $self, days => $how{expired} ? -1 : 30);
    append($pair->{file}, $_) for $how{self_signed} ? () : $self->{chain}->@*;
    return $pair;
}

sub make ($self, $subject, $extensions, %how) {
    my $base = "$self->{dir}/" . ++$self->{count};
    run('req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', "$base.key", '-out', "$base.csr", '-subj', $subject);
    spew("$base.ext", join "\n", @$extensions, '');
    my @signer = $how{by} ? ('-CA', $how{by}{file}, '-CAkey', $how{by}{key}, '-CAcreateserial') : ('-signkey', "$base.key");
    run('x509', '-req', '-in', "$base.csr", '-out', "$base.crt", '-extfile', "$base.ext", @signer, '-days', $how{days} // 30);
    chmod 0640, "$base.key";
    return { file => "$base.crt", key => "$base.key" };
}

sub run (@words) {
    my $command = join ' ', map { quotemeta } 'openssl', @words;
    my $said = qx{$command 2>&1};
    die "openssl @words: $said" if $? != 0;
    return;
}

sub append ($to, $from) {
    open my $in, '<', $from or die "$from: $!\n";
    open my $out, '>>', $to or die "$to: $!\n";
    print {$out} <$in>;
    close $out;
    return;
}

sub spew ($path, $text) {
    open my $out, '>', $path or die "$path: $!\n";
    print {$out} $text;
    close $out;
    return;
}

1;
