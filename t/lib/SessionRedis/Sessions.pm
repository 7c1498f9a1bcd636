# Sessions as frameworks store them: the captured ones of t/data, and cookies
# signed as the frameworks sign them.
package SessionRedis::Sessions;

use v5.26;
use warnings;
use experimental 'signatures';

use Digest::SHA qw(hmac_sha256_base64);
use Exporter 'import';
use JSON::PP     ();
use MIME::Base64 qw(decode_base64);

our @EXPORT_OK = qw(express_cookie fixture fixture_names set_data_dir store_fixture url_encode);

my $data_dir = __FILE__ =~ s{[^/]*\z}{../../data}r;

# Reads fixtures from another directory than t/data.
sub set_data_dir ($dir) {
    $data_dir = $dir;
    return;
}

sub fixture_names () {
    return map { m{([^/]+)\.json\z} } sort glob "$data_dir/*.json";
}

# What was captured from one framework: cookie_name, cookie_value, redis_key, secret, expected, …;
# "cookie" is the whole value for a Cookie header, "value" the bytes (or the hash of bytes) stored.
sub fixture ($name) {
    open my $in, '<:raw', "$data_dir/$name.json" or die "$data_dir/$name.json: $!\n";
    local $/;
    my $fixture = JSON::PP->new->utf8->allow_bignum->decode(<$in>);
    $fixture->{value} = $fixture->{hash_base64}
        ? { map { $_ => decode_base64($fixture->{hash_base64}{$_}) } keys $fixture->{hash_base64}->%* }
        : decode_base64($fixture->{value_base64} // '');
    if (defined $fixture->{cookie_value}) {
        my @pairs = "$fixture->{cookie_name}=$fixture->{cookie_value}";
        push @pairs, join '=', $fixture->{signature_cookie}->@{qw(name value)} if ref $fixture->{signature_cookie} eq 'HASH';
        $fixture->{cookie} = join '; ', @pairs;
    }
    return $fixture;
}

# Writes a fixture to Redis, under its key or another, and returns it.
sub store_fixture ($redis, $name, %how) {
    my $fixture = fixture($name);
    my $key     = $how{key} // $fixture->{redis_key};
    my $ttl     = $how{ttl} // $fixture->{ttl} // 3600;
    $redis->cmd('DEL', $key);
    if (ref $fixture->{value}) {
        $redis->cmd('HSET', $key, $fixture->{value}->%*);
    } else {
        $redis->cmd('SET', $key, $fixture->{value});
    }
    $redis->cmd('EXPIRE', $key, $ttl) if $ttl > 0;
    return $fixture;
}

# The value of connect.sid for an id, as Express sends it.
sub express_cookie ($id, $secret) {
    return url_encode("s:$id." . hmac_sha256_base64($id, $secret));
}

# As encodeURIComponent.
sub url_encode ($text) {
    return $text =~ s/([^A-Za-z0-9_.!~*'()-])/sprintf '%%%02X', ord $1/ger;
}

1;
