//! Cookies: the pairs of `Cookie` header lines, and the `Set-Cookie` that expires one.
//!
//! Pairs are read as servers read them, which is laxer than RFC 6265, section 4.2.1: whatever blanks stand
//! around names and values are skipped, which is all that PHP and node's `cookie` skip together. Parsers differ
//! in more: some end a cookie at a blank or a comma, skip quoted text, or take names that differ for the same.
//! [`occurrence`] finds all that any of them may take for a cookie; [`Kept`] leaves of it what was chosen.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use memchr::memchr;

use crate::config::{unknown, ConfigError};
use crate::session::identity::url_decode;

/// At most so many cookies of one name are tried.
pub const MAX_CANDIDATES: usize = 8;

/// The longest value that is looked at, in bytes.
pub const MAX_VALUE: usize = 4096;

/// How a part of a header agrees with the name that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// It is a cookie of that name.
    Same,
    /// Some parser would read its name as that one; see [`is_alike`].
    Alike,
    /// It is another cookie, in which some parser would see one of that name: `a=b sid=c`, `a="b"sid=c`.
    Inside,
}

/// The names that a framework, or the server before it, takes for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// Only those that are the same.
    Exact,
    /// PHP makes `.`, blanks and a lone `[` in names `_` (`php_register_variable_ex` in main/php_variables.c).
    Php,
    /// .NET compares names without case.
    AnyCase,
    /// Nothing is known of it: as PHP does, which is the laxest of those that mind the case.
    Unknown,
}

impl Spelling {
    fn folded(self, byte: u8) -> u8 {
        let byte = match byte {
            b'.' | b' ' | b'[' | b'+' if matches!(self, Self::Php | Self::Unknown) => b'_',
            byte => byte,
        };
        match self {
            Self::AnyCase => byte.to_ascii_lowercase(),
            Self::Exact | Self::Php | Self::Unknown => byte,
        }
    }
}

/// Hands the values of the cookies called `name`, or what parsers may take for such, to `found`, in the order of
/// the header lines.
///
/// Quotes around a value are part of it here: not every framework takes them off.
pub fn values<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
    name: &[u8],
    spelling: Spelling,
    found: &mut impl FnMut(Name, &'a [u8]),
) {
    for line in lines {
        // Nearly all headers hold nothing that parsers differ in.
        let odd = is_odd_line(line);
        for segment in segments(line) {
            if let Some((is, value)) = occurrence(segment, name, spelling, odd) {
                found(is, value);
            }
        }
    }
}

/// What a text between two `;` has to do with the cookie called `name`, and its value. `odd`: whether there may
/// be bytes in it that end a cookie to some parsers only.
fn occurrence<'a>(
    segment: &'a [u8],
    name: &[u8],
    spelling: Spelling,
    odd: bool,
) -> Option<(Name, &'a [u8])> {
    // Looks at the name first, since most cookies of a request are others.
    let rest = segment.strip_prefix(name).map(trim_start);
    if let Some(value) = rest.and_then(|rest| rest.strip_prefix(b"=")) {
        return Some((Name::Same, trim_start(value)));
    }
    if begins_alike(segment, name, spelling) {
        if let Some((_, value)) = pair(segment).filter(|(other, _)| is_alike(other, name, spelling))
        {
            return Some((Name::Alike, value));
        }
    }
    let inside = (odd || segment.first() == Some(&b'=')) && holds(segment, name, spelling);
    inside.then_some((Name::Inside, segment))
}

/// Whether a framework may take the one name for the other. Whatever the framework, Python's `str.strip` takes more
/// than blanks off the ends of names, and Rack before 2.2.3 and PHP before 7.4.11 URL-decode them.
pub fn is_alike(other: &[u8], name: &[u8], spelling: Spelling) -> bool {
    // C's strings end there.
    let end = other.windows(3).position(|three| three == b"%00").unwrap_or(other.len());
    let other = other.get(..end).unwrap_or_default();
    let decoded = url_decode(other).unwrap_or(Cow::Borrowed(other));
    let (other, name) = (bare(&decoded), bare(name));
    let mut bytes = other.iter().zip(name);
    other.len() == name.len()
        && bytes.all(|(other, byte)| spelling.folded(*other) == spelling.folded(*byte))
}

/// Whether it is worth a closer look.
fn begins_alike(segment: &[u8], name: &[u8], spelling: Spelling) -> bool {
    let first = |text| bare_start(text).first().map(|byte| spelling.folded(*byte));
    let of_segment = first(segment);
    of_segment == Some(b'%') || of_segment == first(name)
}

/// Whether a cookie called `name` begins within `segment` to a parser that ends one at a blank, a comma or a quote,
/// or goes on there after what it does not like.
fn holds(segment: &[u8], name: &[u8], spelling: Spelling) -> bool {
    let mut last: &[u8] = b"";
    for word in segment.split(|byte| is_odd(*byte)).filter(|word| !word.is_empty()) {
        let marks = word.iter().take_while(|byte| **byte == b'=').count();
        if marks > 0 && is_alike(last, name, spelling) {
            return true;
        }
        last = word.get(marks..).unwrap_or_default();
        let text = memchr(b'=', last).and_then(|at| last.get(..at));
        if text.is_some_and(|text| is_alike(text, name, spelling)) {
            return true;
        }
    }
    false
}

/// Whether there are bytes in the line that parsers differ in, but for the blank after a `;`.
fn is_odd_line(line: &[u8]) -> bool {
    let after = line.get(1..).unwrap_or_default();
    // Goes through all of it, since that takes several bytes at a time.
    line.first().is_some_and(|byte| is_odd(*byte))
        || after.iter().zip(line).fold(false, |odd, (byte, before)| {
            odd | (is_odd(*byte) & !((*byte == b' ') & (*before == b';')))
        })
}

/// Whether some parser may end a name or a value there, or drop the cookie for it.
fn is_odd(byte: u8) -> bool {
    !byte.is_ascii_graphic() | matches!(byte, b'"' | b',' | b'\\' | b'[' | b']')
}

/// Whether all parsers read the same in a value, whatever it is.
pub fn is_plain(value: &[u8], unquote: bool) -> bool {
    let inner = match value {
        [b'"', inner @ .., b'"'] if unquote => inner,
        _ => value,
    };
    !inner.iter().any(|byte| is_odd(*byte))
}

/// What may stand in a header under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The cookie's name.
    pub name: String,
    /// What else is taken for it.
    pub spelling: Spelling,
    /// Its only value; `None`: no such cookie.
    pub value: Option<Vec<u8>>,
}

impl Kept {
    /// No cookie of this name.
    pub fn none(name: &str, spelling: Spelling) -> Self {
        Self { name: name.to_owned(), spelling, value: None }
    }

    fn allows(&self, segment: &[u8]) -> bool {
        match occurrence(segment, self.name.as_bytes(), self.spelling, true) {
            None => true,
            Some((Name::Same, value)) => self.value.as_deref() == Some(value),
            Some((Name::Alike | Name::Inside, _)) => false,
        }
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

/// The line without what `kept` does not allow. `None`: all of it is allowed; an empty line: nothing is left of it.
pub fn rewrite(line: &[u8], kept: &[Kept]) -> Option<Vec<u8>> {
    let allowed = |segment: &&[u8]| kept.iter().all(|kept| kept.allows(segment));
    let mut rest = segments(line);
    let before = rest.position(|segment| !allowed(&segment))?;
    let mut left = Vec::with_capacity(line.len());
    for segment in segments(line).take(before).chain(rest.filter(allowed)) {
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

    use Spelling::{AnyCase, Exact, Php, Unknown};

    fn of<'a>(lines: &[&'a str], name: &str) -> Vec<&'a str> {
        let mut values = Vec::new();
        super::values(
            lines.iter().map(|line| line.as_bytes()),
            name.as_bytes(),
            Exact,
            &mut |is, value| {
                if is == Name::Same {
                    values.push(std::str::from_utf8(value).unwrap());
                }
            },
        );
        values
    }

    /// How a line's parts agree with the name.
    fn names(line: &[u8], name: &str, spelling: Spelling) -> Vec<Name> {
        let mut found = Vec::new();
        values([line], name.as_bytes(), spelling, &mut |is, _| found.push(is));
        found
    }

    fn without(line: &str, name: &str) -> Option<String> {
        left(line, name, None)
    }

    fn left(line: &str, name: &str, value: Option<&str>) -> Option<String> {
        let value = value.map(|value| value.as_bytes().to_vec());
        let kept = Kept { value, ..Kept::none(name, Exact) };
        rewrite(line.as_bytes(), &[kept]).map(|line| String::from_utf8(line).unwrap())
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
        const PHP: [&str; 5] =
            ["my.session", "my session", "my[session", "my+session", "my%2Esession"];
        const CASE: [&str; 2] = ["My_Session", "MY_SESSION"];
        const ALL: [&str; 8] = [
            "\x1cmy_session\u{a0}",
            "my_session\u{85}",
            "my%5Fsession",
            "%6dy_session",
            "%20my_session",
            "my_session%00x",
            "my_session%00%zz",
            "my_session%20",
        ];
        for (others, spellings) in [
            (&ALL[..], &[Exact, Php, AnyCase, Unknown][..]),
            (&PHP[..], &[Php, Unknown][..]),
            (&CASE[..], &[AnyCase][..]),
        ] {
            for other in others {
                for spelling in [Exact, Php, AnyCase, Unknown] {
                    let line = format!("x=1; {other}=b");
                    let alike: &[Name] =
                        if spellings.contains(&spelling) { &[Name::Alike] } else { &[] };
                    let found = names(line.as_bytes(), "my_session", spelling);
                    assert_eq!(found, alike, "{other} {spelling:?}");
                }
            }
        }
        for other in ["my-session", "mysession", "my[session]", "my_session2", "", "my_sessio"] {
            assert!(!is_alike(other.as_bytes(), b"my_session", Unknown), "{other}");
        }
        assert_eq!(names(b"connect_sid=1; connect.sid=1", "connect.sid", Exact), [Name::Same]);
    }

    #[test]
    fn cookies_that_some_parsers_see_within_others() {
        for line in [
            // Python's `SimpleCookie` ends a value at a blank.
            "foo=bar sid=b",
            "foo=bar\tsid=b",
            "foo=bar\x0csid = b",
            "foo sid=b",
            "expires=Wed, 21 Oct 2026 07:28:00 GMT sid=b",
            // Rack 1, .NET, Tomcat 9 with `$Version=1`, and Python's servers where they join two headers.
            "foo=bar,sid=b",
            "$Version=1, sid=b",
            ", sid=b",
            // Behind what is quoted, or in it.
            "foo=\"bar\"sid=b",
            "foo=\"a sid=b\"",
            "\"sid\"=b",
            "foo=bar\\sid=b",
            "=sid=b",
            "==sid=b",
            "foo=bar\u{a0}sid=b",
            "]sid=b",
            "foo=bar sid\u{a0}=b",
        ] {
            assert_eq!(names(line.as_bytes(), "sid", Exact), [Name::Inside], "{line}");
            assert_eq!(without(&format!("a=1; {line}; b=2"), "sid").unwrap(), "a=1; b=2", "{line}");
            let after = format!("{line}; sid=a");
            assert_eq!(left(&after, "sid", Some("a")).unwrap(), "sid=a", "{line}");
        }
        assert_eq!(names(b"foo=bar,SID=b", "sid", AnyCase), [Name::Inside]);
        assert_eq!(names(b"foo=bar,s%69d=b", "sid", Exact), [Name::Inside]);
    }

    #[test]
    fn cookies_in_which_nobody_sees_another() {
        for line in [
            "back=/login?sid=b&x=1",
            "foo=barsid=b",
            "foo=sid",
            "foo=bar sid",
            "foo=bar sid2=b",
            "foo={\"sid\":1}",
            "name=John Smith; foo=a,b; text=\"sid\"; caf\u{e9}=sid",
            "foo=a&sid=b",
        ] {
            assert_eq!(names(line.as_bytes(), "sid", Unknown), [], "{line}");
            assert_eq!(without(line, "sid"), None, "{line}");
        }
    }

    #[test]
    fn values_in_which_all_parsers_read_the_same() {
        for value in ["", "a", "s%3Aa.b%2F", "a=b", "{a}"] {
            assert!(is_plain(value.as_bytes(), false), "{value}");
        }
        for value in
            ["a b", "a,b", "a\"", "\"a", "a\\", "\"a\\142\"", "a\u{a0}", "a\x0bb", "\"a b\""]
        {
            assert!(!is_plain(value.as_bytes(), true), "{value}");
        }
        assert!(is_plain(b"\"a\"", true) && !is_plain(b"\"a\"", false));
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
        assert_eq!(left("sid=x; a=1; sid=y", "sid", Some("y")).unwrap(), "a=1; sid=y");
        assert_eq!(left("sid=y; a=1; sid = y", "sid", Some("y")), None);
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
            values([line.as_slice()], name.as_bytes(), Php, &mut |is, value| found.push((is, value)));
            found.retain(|(is, _)| *is != Name::Inside);
            let of_pairs: Vec<(Name, &[u8])> = pairs(&line)
                .filter(|(other, _)| is_alike(other, name.as_bytes(), Php))
                .map(|(other, value)| (if other == name.as_bytes() { Name::Same } else { Name::Alike }, value))
                .collect();
            prop_assert_eq!(found, of_pairs);
        }

        #[test]
        fn only_what_is_kept_is_left(line in line(), name in "[a-c][a-c._]?", value in "[a-c]{0,2}") {
            let kept = [Kept { value: Some(value.clone().into_bytes()), ..Kept::none(&name, Unknown) }];
            let left = rewrite(&line, &kept).unwrap_or_else(|| line.clone());
            prop_assert_eq!(rewrite(&left, &kept), None);
            values([left.as_slice()], name.as_bytes(), Unknown, &mut |is, other| {
                assert_eq!((is, other), (Name::Same, value.as_bytes()));
            });
            let others = |line| {
                let mut others: Vec<Vec<u8>> = segments(line).map(<[u8]>::to_vec).collect();
                others.retain(|segment| occurrence(segment, name.as_bytes(), Unknown, true).is_none());
                others
            };
            prop_assert_eq!(others(&left), others(&line));
        }

        #[test]
        fn a_line_is_odd_where_one_of_its_parts_is(line in line()) {
            let parts = segments(&line).any(|segment| segment.iter().any(|byte| is_odd(*byte)));
            prop_assert!(!parts || is_odd_line(&line));
        }
    }
}
