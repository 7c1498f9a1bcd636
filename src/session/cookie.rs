//! Cookies: the pairs of `Cookie` header lines, and the `Set-Cookie` that expires one.
//!
//! Pairs are read as servers read them, which is laxer than RFC 6265, section 4.2.1: whatever blanks stand
//! around names and values are skipped, which is all that PHP and node's `cookie` skip together. Some take
//! names that differ for the same ([`is_alike`]). So every cookie that a backend would see is seen here, and
//! none that differs from the chosen one slips through.

#![forbid(unsafe_code)]

use memchr::memchr;

use crate::config::{unknown, ConfigError};

/// At most so many cookies of one name are tried.
pub const MAX_CANDIDATES: usize = 8;

/// The longest value that is looked at, in bytes.
pub const MAX_VALUE: usize = 4096;

/// How a cookie's name agrees with the one that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// It is that name.
    Same,
    /// Some framework would read it as that name; see [`is_alike`].
    Alike,
}

/// Hands the values of the cookies called `name`, or alike, to `found`, in the order of the header lines.
///
/// Quotes around a value are part of it here: not every framework takes them off.
pub fn values<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
    name: &[u8],
    found: &mut impl FnMut(Name, &'a [u8]),
) {
    for segment in lines.into_iter().flat_map(segments) {
        // Looks at the name first, since most cookies of a request are others.
        let rest = segment.strip_prefix(name).map(trim_start);
        if let Some(value) = rest.and_then(|rest| rest.strip_prefix(b"=")) {
            found(Name::Same, trim_start(value));
        } else if begins_alike(segment, name) {
            if let Some((_, value)) = pair(segment).filter(|(other, _)| is_alike(other, name)) {
                found(Name::Alike, value);
            }
        }
    }
}

/// The value of the first cookie called exactly `name`.
pub fn first<'a>(lines: impl IntoIterator<Item = &'a [u8]>, name: &[u8]) -> Option<&'a [u8]> {
    let mut first = None;
    values(lines, name, &mut |is, value| {
        if is == Name::Same {
            first.get_or_insert(value);
        }
    });
    first
}

/// Whether a framework may take the one name for the other: PHP makes `.`, blanks and a lone `[` in names `_`
/// (`php_register_variable_ex` in main/php_variables.c), and what Python's `str.strip` takes off their ends is
/// more than blanks.
pub fn is_alike(other: &[u8], name: &[u8]) -> bool {
    let (other, name) = (bare(other), bare(name));
    let mut bytes = other.iter().zip(name);
    other.len() == name.len() && bytes.all(|(other, byte)| folded(*other) == folded(*byte))
}

/// Whether it is worth a closer look.
fn begins_alike(segment: &[u8], name: &[u8]) -> bool {
    let first = |text| bare_start(text).first().copied().map(folded);
    first(segment) == first(name)
}

fn folded(byte: u8) -> u8 {
    match byte {
        b'.' | b' ' | b'[' => b'_',
        byte => byte,
    }
}

/// Without what is not printable ASCII at its ends.
fn bare(mut text: &[u8]) -> &[u8] {
    while let [before @ .., last] = text {
        if last.is_ascii_graphic() {
            break;
        }
        text = before;
    }
    bare_start(text)
}

fn bare_start(mut text: &[u8]) -> &[u8] {
    while let [first, after @ ..] = text {
        if first.is_ascii_graphic() {
            break;
        }
        text = after;
    }
    text
}

/// The pairs of a header line, name and value, in their order. What has no `=` is none.
pub fn pairs(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    segments(line).filter_map(pair)
}

/// The line without the pairs for which `keep`, given name and value, is false. `None`: all were kept;
/// an empty line: nothing is left of it.
pub fn rewrite(line: &[u8], mut keep: impl FnMut(&[u8], &[u8]) -> bool) -> Option<Vec<u8>> {
    let mut kept = |segment| pair(segment).is_none_or(|(name, value)| keep(name, value));
    let mut rest = segments(line);
    let before = rest.position(|segment| !kept(segment))?;
    let mut left = Vec::with_capacity(line.len());
    for segment in segments(line).take(before).chain(rest.filter(|segment| kept(segment))) {
        if !left.is_empty() {
            left.extend_from_slice(b"; ");
        }
        left.extend_from_slice(segment);
    }
    Some(left)
}

/// The attributes of the cookie that a logout expires: they must be those it was set with, or else the
/// browser keeps it (RFC 6265, section 5.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    path: String,
    domain: Option<String>,
    secure: Secure,
    same_site: Option<&'static str>,
}

impl Default for Attributes {
    fn default() -> Self {
        Self { path: "/".to_owned(), domain: None, secure: Secure::Auto, same_site: None }
    }
}

impl Attributes {
    /// Reads `path=`, `domain=`, `secure=` or `samesite=`. False: `argument` is no option but a name.
    pub fn parse_option(&mut self, argument: &str) -> Result<bool, ConfigError> {
        let Some((option, value)) = argument.split_once('=') else { return Ok(false) };
        match option {
            "path" => self.path = path(value)?,
            "domain" => self.domain = Some(domain(value)?),
            "secure" => self.secure = Secure::parse(value)?,
            "samesite" => self.same_site = Some(same_site(value)?),
            _ => {
                let known = ["path=", "domain=", "secure=", "samesite="];
                return Err(unknown("parameter", &format!("{option}="), &known));
            }
        }
        Ok(true)
    }

    /// The `Set-Cookie` value that expires the cookie (RFC 6265, section 3.1). `https`: how the request
    /// came, for `secure=auto`.
    pub fn expire(&self, name: &str, https: bool) -> String {
        let mut cookie = format!(
            "{name}=; Path={}; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0",
            self.path
        );
        if let Some(domain) = &self.domain {
            cookie.push_str("; Domain=");
            cookie.push_str(domain);
        }
        if self.is_secure(name, https) {
            cookie.push_str("; Secure");
        }
        cookie.push_str("; HttpOnly");
        if let Some(same_site) = self.same_site {
            cookie.push_str("; SameSite=");
            cookie.push_str(same_site);
        }
        cookie
    }

    /// Browsers refuse `SameSite=None` and the prefixes of RFC 6265bis, section 4.1.3, without `Secure`.
    fn is_secure(&self, name: &str, https: bool) -> bool {
        let demanded = self.same_site == Some("None")
            || name.starts_with("__Secure-")
            || name.starts_with("__Host-");
        match self.secure {
            Secure::Auto => https || demanded,
            Secure::On => true,
            Secure::Off => false,
        }
    }
}

/// When a cookie is `Secure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Secure {
    /// Where the request came by HTTPS.
    Auto,
    On,
    Off,
}

impl Secure {
    fn parse(value: &str) -> Result<Self, ConfigError> {
        match value {
            "auto" => Ok(Self::Auto),
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err(unknown("value of \"secure=\"", value, &["auto", "on", "off"])),
        }
    }
}

/// RFC 6265, section 4.1.1: any character but control characters and `;`.
fn path(value: &str) -> Result<String, ConfigError> {
    let allowed = value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b';');
    if allowed && value.starts_with('/') {
        return Ok(value.to_owned());
    }
    Err(ConfigError::new("\"path=\" must begin with \"/\" and hold no control bytes and no \";\""))
}

/// A host name, with or without the leading dot that browsers ignore.
fn domain(value: &str) -> Result<String, ConfigError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if value.bytes().all(allowed) && value.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(value.to_owned());
    }
    Err(ConfigError::new("\"domain=\" must be a host name"))
}

fn same_site(value: &str) -> Result<&'static str, ConfigError> {
    const KNOWN: [&str; 3] = ["Strict", "Lax", "None"];
    let known = KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(value));
    known.ok_or_else(|| unknown("value of \"samesite=\"", value, &KNOWN))
}

/// The texts between a line's `;`, without blanks around them; empty ones are left out.
fn segments(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || loop {
        let line = rest?;
        let (segment, after) = match memchr(b';', line).and_then(|at| line.split_at_checked(at)) {
            Some((segment, after)) => (segment, after.get(1..)),
            None => (line, None),
        };
        rest = after;
        let segment = trim(segment);
        if !segment.is_empty() {
            return Some(segment);
        }
    })
}

/// A segment's name and value.
fn pair(segment: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = segment.split_at_checked(memchr(b'=', segment)?)?;
    Some((trim(name), trim_start(value.get(1..)?)))
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [before @ .., last] = text {
        if !is_blank(*last) {
            break;
        }
        text = before;
    }
    trim_start(text)
}

fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [first, after @ ..] = text {
        if !is_blank(*first) {
            break;
        }
        text = after;
    }
    text
}

/// C's `isspace`.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of<'a>(lines: &[&'a str], name: &str) -> Vec<&'a str> {
        let mut values = Vec::new();
        super::values(
            lines.iter().map(|line| line.as_bytes()),
            name.as_bytes(),
            &mut |is, value| {
                if is == Name::Same {
                    values.push(std::str::from_utf8(value).unwrap());
                }
            },
        );
        values
    }

    fn without(line: &str, name: &str) -> Option<String> {
        rewrite(line.as_bytes(), |other, _| other != name.as_bytes())
            .map(|line| String::from_utf8(line).unwrap())
    }

    #[test]
    fn one_among_others() {
        let line = "lang=de; PHPSESSID=5vskci7gjubb3itrl38lns61rh; theme=dark";
        assert_eq!(of(&[line], "PHPSESSID"), ["5vskci7gjubb3itrl38lns61rh"]);
        assert_eq!(of(&[line], "sid"), Vec::<&str>::new());
        assert_eq!(of(&[""], "sid"), Vec::<&str>::new());
    }

    #[test]
    fn a_name_several_times_and_on_several_lines() {
        assert_eq!(of(&["sid=a; x=1;sid=b", "y=2", "sid=c"], "sid"), ["a", "b", "c"]);
        let many = vec!["sid=a"; 200].join("; ");
        assert_eq!(of(&[&many], "sid").len(), 200);
    }

    #[test]
    fn only_the_name_itself() {
        let line = "SID=1; sid2=2; xsid=3; x.sid=4; sid.x=5; sid[]=6; $sid=7; sid%00=8";
        assert_eq!(of(&[line], "sid"), Vec::<&str>::new());
        assert_eq!(of(&["a=sid=1; sid=2"], "sid"), ["2"]);
    }

    #[test]
    fn names_that_backends_take_for_the_same() {
        let alike = |other: &str, name: &str| is_alike(other.as_bytes(), name.as_bytes());
        for other in [
            "my.session",
            "my session",
            "my[session",
            "my_session",
            "\x1cmy_session\u{a0}",
            "my_session\u{85}",
        ] {
            assert!(alike(other, "my_session"), "{other}");
            let line = format!("x=1; {other}=b");
            let mut found = Vec::new();
            values([line.as_bytes()], b"my_session", &mut |is, value| found.push((is, value)));
            let is = if other == "my_session" { Name::Same } else { Name::Alike };
            assert_eq!(found, [(is, &b"b"[..])], "{other}");
            assert_eq!(first([line.as_bytes()], b"my_session").is_some(), is == Name::Same);
        }
        for other in
            ["my-session", "mysession", "my[session]", "my_session2", "My_session", "", "my_sessio"]
        {
            assert!(!alike(other, "my_session"), "{other}");
        }
        assert!(alike("connect_sid", "connect.sid"));
    }

    #[test]
    fn blanks_that_servers_skip() {
        assert_eq!(of(&["\t sid \x0b= a \t;sid=\x0cb"], "sid"), ["a", "b"]);
        assert_eq!(of(&["sid=a b"], "sid"), ["a b"]);
    }

    #[test]
    fn odd_pairs() {
        assert_eq!(of(&["sid; =sid; sid"], "sid"), Vec::<&str>::new());
        assert_eq!(of(&[";;; ;", ";", "sid=;"], "sid"), [""]);
        assert_eq!(of(&["sid==a=="], "sid"), ["=a=="]);
        assert_eq!(of(&["sid=\"a\"; sid=\"b;c\""], "sid"), ["\"a\"", "\"b"]);
    }

    #[test]
    fn a_pair_is_taken_out_and_only_it() {
        assert_eq!(without("a=1; sid=x; b=2", "sid").unwrap(), "a=1; b=2");
        assert_eq!(
            without("sid=x;a=1 ;  sid=y;flag; ;b=\"2\"", "sid").unwrap(),
            "a=1; flag; b=\"2\""
        );
        assert_eq!(without("sid=x; sid=y", "sid").unwrap(), "");
        assert_eq!(without("a=1;b=2; sid", "sid"), None);
        assert_eq!(without("", "sid"), None);
        let one = rewrite(b"sid=x; a=1; sid=y", |name, value| name != b"sid" || value == b"y");
        assert_eq!(one.unwrap(), b"a=1; sid=y");
    }

    fn attributes(options: &[&str]) -> Attributes {
        let mut attributes = Attributes::default();
        for option in options {
            assert_eq!(attributes.parse_option(option), Ok(true));
        }
        attributes
    }

    #[test]
    fn a_cookie_expires_with_the_attributes_it_was_set_with() {
        const END: &str = "Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0";
        for (options, https, path, rest) in [
            (&[][..], false, "/", "; HttpOnly"),
            (&[][..], true, "/", "; Secure; HttpOnly"),
            (&["secure=off"][..], true, "/", "; HttpOnly"),
            (
                &["path=/shop", "domain=.example.com", "secure=on", "samesite=lax"][..],
                false,
                "/shop",
                "; Domain=.example.com; Secure; HttpOnly; SameSite=Lax",
            ),
            (&["samesite=None"][..], false, "/", "; Secure; HttpOnly; SameSite=None"),
            (&["samesite=None", "secure=off"][..], false, "/", "; HttpOnly; SameSite=None"),
        ] {
            let expired = attributes(options).expire("sid", https);
            assert_eq!(expired, format!("sid=; Path={path}; {END}{rest}"));
        }
        assert!(attributes(&[]).expire("__Host-sid", false).contains("; Secure"));
    }

    #[test]
    fn what_is_no_option_is_a_name() {
        assert_eq!(Attributes::default().parse_option("PHPSESSID"), Ok(false));
    }

    #[test]
    fn mistakes_in_options() {
        for (option, message) in [
            ("path=shop", "\"path=\" must begin with \"/\" and hold no control bytes and no \";\""),
            ("path=/;x", "\"path=\" must begin with \"/\" and hold no control bytes and no \";\""),
            ("domain=a b", "\"domain=\" must be a host name"),
            ("domain=", "\"domain=\" must be a host name"),
            ("domain=a\r\nb", "\"domain=\" must be a host name"),
            (
                "secure=yes",
                "unknown value of \"secure=\" \"yes\"; known: on, off, auto",
            ),
            (
                "samesite=laxx",
                "unknown value of \"samesite=\" \"laxx\"; did you mean \"Lax\"? known: Lax, None, Strict",
            ),
            (
                "pat=/",
                "unknown parameter \"pat=\"; did you mean \"path=\"? known: path=, domain=, secure=, samesite=",
            ),
        ] {
            let error = Attributes::default().parse_option(option).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }

    /// Cookie headers of the bytes that matter, and of any.
    fn line() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            "[a-c;= \\t\"._\\[]{0,40}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..60),
        ]
    }

    proptest! {
        #[test]
        fn values_are_the_pairs_of_that_name(line in line(), name in "[a-c][a-c._]?") {
            let mut found = Vec::new();
            values([line.as_slice()], name.as_bytes(), &mut |is, value| found.push((is, value)));
            let of_pairs: Vec<(Name, &[u8])> = pairs(&line)
                .filter(|(other, _)| is_alike(other, name.as_bytes()))
                .map(|(other, value)| (if other == name.as_bytes() { Name::Same } else { Name::Alike }, value))
                .collect();
            prop_assert_eq!(found, of_pairs);
        }

        #[test]
        fn what_is_kept_is_what_is_left(line in line()) {
            let keep = |name: &[u8], value: &[u8]| (name.len() + value.len()).is_multiple_of(2);
            let kept: Vec<_> = pairs(&line).filter(|(name, value)| keep(name, value)).collect();
            match rewrite(&line, keep) {
                None => prop_assert_eq!(kept, pairs(&line).collect::<Vec<_>>()),
                Some(left) => {
                    prop_assert_eq!(kept, pairs(&left).collect::<Vec<_>>());
                    prop_assert_eq!(rewrite(&left, keep), None);
                }
            }
        }
    }
}
