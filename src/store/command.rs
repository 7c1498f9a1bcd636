//! Commands as RESP arrays of bulk strings, appended to a connection's output buffer.
//!
//! Nothing is allocated besides what the buffer needs to grow.

#![forbid(unsafe_code)]

/// Any command: its name and its arguments, as they are.
pub fn encode(out: &mut Vec<u8>, parts: &[&[u8]]) {
    header(out, b'*', parts.len() as u64);
    for part in parts {
        bulk(out, part);
    }
}

/// `STRLEN key`, of a hash `HLEN key`.
pub fn length(out: &mut Vec<u8>, key: &[u8], hash: bool) {
    encode(out, &[if hash { b"HLEN" } else { b"STRLEN" }, key]);
}

/// `GET key`.
pub fn get(out: &mut Vec<u8>, key: &[u8]) {
    out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
    bulk(out, key);
}

/// `HGETALL key`: the fields and values of a hash.
pub fn hgetall(out: &mut Vec<u8>, key: &[u8]) {
    out.extend_from_slice(b"*2\r\n$7\r\nHGETALL\r\n");
    bulk(out, key);
}

/// `PTTL key`: the life left to a key, in milliseconds.
pub fn pttl(out: &mut Vec<u8>, key: &[u8]) {
    out.extend_from_slice(b"*2\r\n$4\r\nPTTL\r\n");
    bulk(out, key);
}

/// `PEXPIRE key ms`: sets the life left to a key, shorter or longer, whatever it was.
pub fn pexpire(out: &mut Vec<u8>, key: &[u8], ms: u64) {
    out.extend_from_slice(b"*3\r\n$7\r\nPEXPIRE\r\n");
    bulk(out, key);
    number(out, ms);
}

/// `PEXPIRE key ms GT`: lengthens a life, never shortens it, and leaves a key without an end as it is (Redis 7).
pub fn pexpire_longer(out: &mut Vec<u8>, key: &[u8], ms: u64) {
    out.extend_from_slice(b"*4\r\n$7\r\nPEXPIRE\r\n");
    bulk(out, key);
    number(out, ms);
    bulk(out, b"GT");
}

/// `DEL key …`. Without a key nothing is written, since a server refuses it.
pub fn del(out: &mut Vec<u8>, keys: &[&[u8]]) {
    if keys.is_empty() {
        return;
    }
    header(out, b'*', keys.len() as u64 + 1);
    bulk(out, b"DEL");
    for key in keys {
        bulk(out, key);
    }
}

/// `SMEMBERS key`: the members of a set.
pub fn smembers(out: &mut Vec<u8>, key: &[u8]) {
    encode(out, &[b"SMEMBERS", key]);
}

/// `AUTH [user] password`; without a user as servers before Redis 6 know it.
pub fn auth(out: &mut Vec<u8>, user: Option<&str>, password: &[u8]) {
    match user {
        Some(user) => encode(out, &[b"AUTH", user.as_bytes(), password]),
        None => encode(out, &[b"AUTH", password]),
    }
}

/// `HELLO 3`: from here on replies are RESP3 (Redis 6).
pub fn hello3(out: &mut Vec<u8>) {
    out.extend_from_slice(b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n");
}

/// `CLIENT TRACKING ON`: the server says when a key changes that it was asked for on this connection.
pub fn client_tracking(out: &mut Vec<u8>) {
    encode(out, &[b"CLIENT", b"TRACKING", b"ON"]);
}

/// `PING`.
pub fn ping(out: &mut Vec<u8>) {
    out.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
}

/// `SELECT database`.
pub fn select(out: &mut Vec<u8>, database: u32) {
    out.extend_from_slice(b"*2\r\n$6\r\nSELECT\r\n");
    number(out, database.into());
}

/// `ROLE`: whether the server is a master, a replica or a Sentinel.
pub fn role(out: &mut Vec<u8>) {
    out.extend_from_slice(b"*1\r\n$4\r\nROLE\r\n");
}

/// `CLIENT SETNAME name`: how the connection shows in the server's `CLIENT LIST`.
pub fn client_setname(out: &mut Vec<u8>, name: &str) {
    encode(out, &[b"CLIENT", b"SETNAME", name.as_bytes()]);
}

fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    header(out, b'$', bytes.len() as u64);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn number(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; DIGITS];
    bulk(out, decimal(value, &mut digits));
}

fn header(out: &mut Vec<u8>, kind: u8, length: u64) {
    let mut digits = [0; DIGITS];
    out.push(kind);
    out.extend_from_slice(decimal(length, &mut digits));
    out.extend_from_slice(b"\r\n");
}

/// The digits of `u64::MAX`.
pub(super) const DIGITS: usize = 20;

pub(super) fn decimal(mut value: u64, digits: &mut [u8; DIGITS]) -> &[u8] {
    let mut first = DIGITS;
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        first = at;
        if value == 0 {
            break;
        }
    }
    &digits[first..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    fn packed(parts: &[&[u8]]) -> Vec<u8> {
        let mut parts = parts.iter();
        let mut command = redis::Cmd::new();
        parts.by_ref().for_each(|part| {
            command.arg(*part);
        });
        command.get_packed_command()
    }

    #[test]
    fn each_command_is_what_the_redis_crate_writes() {
        let key: &[u8] = b"PHPREDIS_SESSION:abc";
        let cases: [(Vec<u8>, &[&[u8]]); 12] = [
            (written(role), &[b"ROLE"]),
            (written(|out| get(out, key)), &[b"GET", key]),
            (written(|out| pttl(out, key)), &[b"PTTL", key]),
            (written(|out| smembers(out, key)), &[b"SMEMBERS", key]),
            (written(|out| pexpire(out, key, 1)), &[b"PEXPIRE", key, b"1"]),
            (
                written(|out| pexpire_longer(out, key, 1_440_000)),
                &[b"PEXPIRE", key, b"1440000", b"GT"],
            ),
            (written(|out| del(out, &[key])), &[b"DEL", key]),
            (written(|out| del(out, &[key, b""])), &[b"DEL", key, b""]),
            (written(|out| auth(out, None, b"pa ss")), &[b"AUTH", b"pa ss"]),
            (written(|out| auth(out, Some("web"), b"p")), &[b"AUTH", b"web", b"p"]),
            (written(|out| select(out, 15)), &[b"SELECT", b"15"]),
            (written(|out| client_setname(out, "nginx")), &[b"CLIENT", b"SETNAME", b"nginx"]),
        ];
        for (ours, parts) in cases {
            assert_eq!(ours, packed(parts), "{parts:?}");
        }
    }

    #[test]
    fn a_del_without_keys_is_not_written() {
        assert_eq!(written(|out| del(out, &[])), b"");
    }

    #[test]
    fn commands_are_appended() {
        let mut out = Vec::new();
        get(&mut out, b"a");
        get(&mut out, b"b");
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n");
    }

    proptest! {
        #[test]
        fn any_bytes_are_carried(parts: Vec<Vec<u8>>, ms: u64) {
            prop_assume!(!parts.is_empty());
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(written(|out| encode(out, &parts)), packed(&parts));
            prop_assert_eq!(
                written(|out| pexpire(out, parts[0], ms)),
                packed(&[b"PEXPIRE", parts[0], ms.to_string().as_bytes()])
            );
        }
    }
}
