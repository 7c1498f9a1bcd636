//! Where a request carries its session id, and how to hide it where a request is shown.

#![forbid(unsafe_code)]

use std::fmt;

use crate::config::{unknown, ConfigError};

/// A place where an id may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `cookie:NAME`
    Cookie(String),
    /// `header:NAME`
    Header(String),
    /// `arg:NAME`, see [`argument`].
    Arg(String),
    /// `path:NAME`, see [`path_parameter`].
    Path(String),
    /// A string with nginx variables.
    Template(String),
}

/// As it is told: `cookie PHPSESSID`.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cookie(name) => write!(f, "cookie {name}"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Arg(name) => write!(f, "argument {name}"),
            Self::Path(name) => write!(f, "path parameter {name}"),
            Self::Template(text) => f.write_str(text),
        }
    }
}

/// The kinds with a name, the bytes that such a name cannot hold, and what they make.
type Kind = (&'static str, &'static [u8], fn(String) -> Source);
const KINDS: [Kind; 4] = [
    ("cookie", b"=;,\"", Source::Cookie),
    ("header", b"\"(),/:;<=>?@[\\]{}", Source::Header),
    ("arg", b"=&#", Source::Arg),
    ("path", b"=;/?#", Source::Path),
];

impl Source {
    /// Reads an argument of `session_redis_id`.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let (kind, name) = match text.split_once(':') {
            Some((kind, name)) => (kind, Some(name)),
            None => (text, None),
        };
        let known = KINDS.into_iter().find(|(known, ..)| *known == kind);
        match (known, name) {
            (Some((_, forbidden, make)), Some(name)) => {
                check_name(text, name, forbidden)?;
                Ok(make(name.to_owned()))
            }
            _ if text.contains('$') => Ok(Self::Template(text.to_owned())),
            (None, Some(_)) => Err(unknown("source of ids", kind, &KINDS.map(|(kind, ..)| kind))),
            (_, None) => Err(ConfigError::new(format!(
                "\"{text}\" is a constant string, everyone would have the same session"
            ))
            .hint(format!("did you mean \"cookie:{text}\"?"))),
        }
    }
}

fn check_name(text: &str, name: &str, forbidden: &[u8]) -> Result<(), ConfigError> {
    if name.contains('$') {
        return Err(ConfigError::new(format!("the name in \"{text}\" cannot be a variable"))
            .hint("for an id that stands in a variable write the variable alone"));
    }
    if name.is_empty() {
        return Err(ConfigError::new(format!("\"{text}\" names nothing")));
    }
    if name.bytes().all(|byte| byte.is_ascii_graphic() && !forbidden.contains(&byte)) {
        return Ok(());
    }
    Err(ConfigError::new(format!("\"{text}\" holds a character that such a name cannot have")))
}

/// Variables that hold nothing of the address, by what their names begin with.
const ELSEWHERE: [&str; 8] =
    ["cookie_", "http_", "sent_", "remote_", "realip_", "ssl_", "server_", "session_redis_"];

impl Source {
    /// The places in an address where this source may find an id, for [`mask`]. A string with variables is itself one
    /// where it cannot be told what these hold.
    pub fn in_address(&self) -> Vec<Self> {
        match self {
            Self::Arg(_) | Self::Path(_) => vec![self.clone()],
            Self::Cookie(_) | Self::Header(_) => Vec::new(),
            Self::Template(text) => {
                variables(text).filter_map(|name| self.of_variable(name)).collect()
            }
        }
    }

    fn of_variable(&self, name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        match name.strip_prefix("arg_") {
            Some(argument) => Some(Self::Arg(argument.to_owned())),
            None if name != "http_referer"
                && ELSEWHERE.iter().any(|begin| name.starts_with(begin)) =>
            {
                None
            }
            None => Some(self.clone()),
        }
    }
}

/// The names of the variables in a string.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(1).map(|rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let end = rest.bytes().position(|b| !b.is_ascii_alphanumeric() && b != b'_');
        end.and_then(|end| rest.get(..end)).unwrap_or(rest)
    })
}

/// The value of the first argument called exactly `name`, as it was sent; `query` is what follows `?`.
pub fn argument<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    query.split(|byte| *byte == b'&').find_map(|pair| value_of(pair, name))
}

/// The value of the last parameter called exactly `name` in the last segment of the path, as it was sent:
/// `b` of `/cart;sid=a/pay;x;sid=b?y` (RFC 3986, section 3.3). Of several Tomcat takes the last.
pub fn path_parameter<'a>(uri: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let path = uri.split(|byte| matches!(byte, b'?' | b'#')).next()?;
    let segment = path.rsplit(|byte| *byte == b'/').next()?;
    segment.split(|byte| *byte == b';').skip(1).filter_map(|pair| value_of(pair, name)).last()
}

fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    pair.strip_prefix(name)?.strip_prefix(b"=")
}

/// The URI, path and query, with `***` for whatever the sources `arg:` and `path:` read in it; for all that has a name in
/// it where a string with variables is among them.
///
/// Rather more is hidden than read: in every segment, however often, however the name is spelt, and in an address that
/// is a value of this one.
pub fn mask(uri: &[u8], sources: &[Source]) -> Vec<u8> {
    let mut masked = Vec::with_capacity(uri.len());
    let mut parts = uri.splitn(2, |byte| *byte == b'?');
    mask_pairs(parts.next().unwrap_or_default(), b"/;", &mut masked, |name, value| {
        holds_address(value, sources)
            || sources.iter().any(|source| match source {
                Source::Path(of) => is_spelt(name, of),
                source => matches!(source, Source::Template(_)),
            })
    });
    if let Some(query) = parts.next() {
        masked.push(b'?');
        mask_pairs(query, b"&", &mut masked, |name, value| {
            holds_address(value, sources)
                || sources.iter().any(|source| match source {
                    Source::Arg(of) => is_spelt(name, of),
                    source => matches!(source, Source::Template(_)),
                })
        });
    }
    masked
}

/// A value that is URL-encoded so often is hidden unseen.
const MOST_DECODED: usize = 5;

/// Copies `text`, a list of `name=value` between `separators`, without the values of hidden names.
fn mask_pairs(
    text: &[u8],
    separators: &[u8],
    masked: &mut Vec<u8>,
    is_hidden: impl Fn(&[u8], &[u8]) -> bool,
) {
    for pair in text.split_inclusive(|byte| separators.contains(byte)) {
        let (pair, separator) = match pair.split_last() {
            Some((last, before)) if separators.contains(last) => (before, Some(*last)),
            _ => (pair, None),
        };
        match pair.iter().position(|byte| *byte == b'=').and_then(|at| pair.split_at_checked(at)) {
            Some((name, value)) if is_hidden(name, value.get(1..).unwrap_or_default()) => {
                masked.extend_from_slice(name);
                masked.extend_from_slice(b"=***");
            }
            _ => masked.extend_from_slice(pair),
        }
        masked.extend(separator);
    }
}

/// Whether `name` is `expected` in any case, with any of its characters URL-encoded.
fn is_spelt(name: &[u8], expected: &str) -> bool {
    decoded(name).eq(expected.bytes().map(|byte| byte.to_ascii_lowercase()))
}

/// URL-decoded once, in lower case.
fn decoded(text: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut rest = text;
    std::iter::from_fn(move || {
        let (first, after) = rest.split_first()?;
        let mut byte = *first;
        rest = after;
        if let (b'%', [high, low, after @ ..]) = (byte, rest) {
            if let (Some(high), Some(low)) = (digit(high), digit(low)) {
                byte = u8::try_from(high << 4 | low).unwrap_or(byte);
                rest = after;
            }
        }
        Some(byte.to_ascii_lowercase())
    })
}

/// Whether a value is, or holds, an address in which one of the sources finds an id: `next=%2Fcart%3Fsid%3D…`.
fn holds_address(value: &[u8], sources: &[Source]) -> bool {
    let names: Vec<Vec<u8>> = sources
        .iter()
        .filter_map(|source| match source {
            Source::Arg(name) | Source::Path(name) => {
                Some(format!("{name}=").to_ascii_lowercase().into())
            }
            _ => None,
        })
        .collect();
    if names.is_empty() {
        return false;
    }
    let mut value = value.to_ascii_lowercase();
    for _ in 0..MOST_DECODED {
        if names.iter().any(|name| value.windows(name.len()).any(|part| part == name)) {
            return true;
        }
        let plain: Vec<u8> = decoded(&value).collect();
        if plain == value {
            return false;
        }
        value = plain;
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sources() {
        for (text, source) in [
            ("cookie:PHPSESSID", Source::Cookie("PHPSESSID".into())),
            ("cookie:__Host-connect.sid", Source::Cookie("__Host-connect.sid".into())),
            ("header:X-Session-Token", Source::Header("X-Session-Token".into())),
            ("arg:sid", Source::Arg("sid".into())),
            ("path:jsessionid", Source::Path("jsessionid".into())),
            ("$cookie_sid", Source::Template("$cookie_sid".into())),
            ("app:$http_x_id", Source::Template("app:$http_x_id".into())),
        ] {
            assert_eq!(Source::parse(text), Ok(source));
        }
    }

    #[test]
    fn mistakes() {
        for (text, message) in [
            (
                "PHPSESSID",
                "\"PHPSESSID\" is a constant string, everyone would have the same session; did you mean \"cookie:PHPSESSID\"?",
            ),
            (
                "cokie:sid",
                "unknown source of ids \"cokie\"; did you mean \"cookie\"? known: cookie, header, arg, path",
            ),
            ("cookie:", "\"cookie:\" names nothing"),
            (
                "cookie:$name",
                "the name in \"cookie:$name\" cannot be a variable; for an id that stands in a variable write the variable alone",
            ),
            ("cookie:a=b", "\"cookie:a=b\" holds a character that such a name cannot have"),
            ("header:X Y", "\"header:X Y\" holds a character that such a name cannot have"),
            ("path:a/b", "\"path:a/b\" holds a character that such a name cannot have"),
        ] {
            assert_eq!(Source::parse(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_string_with_variables_may_read_an_address() {
        let of = |text: &str| Source::parse(text).unwrap().in_address();
        let itself = |text: &str| vec![Source::Template(text.into())];
        assert_eq!(of("arg:sid"), [Source::Arg("sid".into())]);
        assert_eq!(of("$arg_sid"), [Source::Arg("sid".into())]);
        assert_eq!(of("a${Arg_SID}.$cookie_n"), [Source::Arg("sid".into())]);
        for text in
            ["$cookie_sid", "$http_x_sid", "$remote_user:$http_x", "$ssl_client_fingerprint"]
        {
            assert_eq!(of(text), [], "{text}");
        }
        for text in ["$uri", "$sid", "x$http_referer", "${args}", "$request_uri"] {
            assert_eq!(of(text), itself(text), "{text}");
        }
        let shown = mask(b"/a;s=1;x/b?c=2&d&e=3", &itself("$sid"));
        assert_eq!(String::from_utf8(shown).unwrap(), "/a;s=***;x/b?c=***&d&e=***");
    }

    #[test]
    fn the_first_argument_of_that_name() {
        let of = |query: &'static str| argument(query.as_bytes(), b"sid");
        assert_eq!(of("a=1&sid=x&sid=y"), Some(&b"x"[..]));
        assert_eq!(of("sid=a%2Cb=c"), Some(&b"a%2Cb=c"[..]));
        assert_eq!(of("sid="), Some(&b""[..]));
        for query in ["", "sid", "SID=x", "xsid=x", "sidx=x", "a=sid=x", "a;sid=x"] {
            assert_eq!(of(query), None, "{query}");
        }
    }

    #[test]
    fn a_parameter_of_the_last_segment() {
        let of = |uri: &'static str| path_parameter(uri.as_bytes(), b"sid");
        assert_eq!(of("/a;sid=x"), Some(&b"x"[..]));
        assert_eq!(of("/a;sid=x/b;y;sid=z;sid=w?;sid=q"), Some(&b"w"[..]));
        assert_eq!(of("/;sid=x.node1#f"), Some(&b"x.node1"[..]));
        for uri in [
            "",
            "/",
            "/a",
            "/sid=x",
            "/a;sid",
            "/a;SID=x",
            "/a;sid=x/",
            "/a?;sid=x",
            "/a?b/c;sid=x",
        ] {
            assert_eq!(of(uri), None, "{uri}");
        }
    }

    #[test]
    fn what_is_read_of_a_uri_is_not_shown() {
        let sources =
            ["arg:sid", "path:jsessionid", "cookie:b"].map(|text| Source::parse(text).unwrap());
        for (uri, masked) in [
            ("/", "/"),
            ("/a;b=c?d=e&f", "/a;b=c?d=e&f"),
            ("/a?sid=s3cret", "/a?sid=***"),
            (
                "/a?x=1&sid=s3cret&y=2&SID=s3cret&%73i%64=s3cret",
                "/a?x=1&sid=***&y=2&SID=***&%73i%64=***",
            ),
            ("/a?sid=s3=cret;s3?cret/s3#cret", "/a?sid=***"),
            ("/a;jsessionid=s3cret.n1;v=1?q", "/a;jsessionid=***;v=1?q"),
            ("/a;JSESSIONID=s3cret/b;jsessionid=s3cret", "/a;JSESSIONID=***/b;jsessionid=***"),
            ("/sid=1?jsessionid=2", "/sid=1?jsessionid=2"),
            ("/a?sid", "/a?sid"),
            ("/in?next=%2Fr%3Fx%3D1%26SID%3Ds3cret&y=1", "/in?next=***&y=1"),
            ("/in?next=%252Fr%253Bjsessionid%253Ds3cret", "/in?next=***"),
            ("/in?next=http://h/r;jsessionid=s3cret&y=%2Fr%3Fx%3D1", "/in?next=***&y=%2Fr%3Fx%3D1"),
            ("/in;u=%2F%3Fsid%3Ds3cret/x", "/in;u=***/x"),
            ("/a?x=50%&y=%zz%", "/a?x=50%&y=%zz%"),
            ("/a?sid%3Ds3cret", "/a?sid%3Ds3cret"),
        ] {
            assert_eq!(String::from_utf8(mask(uri.as_bytes(), &sources)).unwrap(), masked);
        }
        assert_eq!(mask(b"/a?sid=x", &[]), b"/a?sid=x");
    }

    proptest! {
        #[test]
        fn no_id_that_is_read_is_shown(uri in "[a/;=?&%#]{0,20}(;a=|[?&]a=)7777[/;=?&#]{0,9}") {
            let sources = ["arg:a", "path:a"].map(|text| Source::parse(text).unwrap());
            let masked = mask(uri.as_bytes(), &sources);
            let query = uri.split_once('?').map_or("", |(_, query)| query);
            let read = argument(query.as_bytes(), b"a").or(path_parameter(uri.as_bytes(), b"a"));
            if read.is_some_and(|id| id.starts_with(b"7777")) {
                prop_assert!(!masked.windows(4).any(|four| four == b"7777"));
            }
            prop_assert_eq!(mask(&masked, &sources), masked);
        }

        #[test]
        fn nothing_else_is_changed(uri in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(mask(&uri, &[]), uri);
        }
    }
}
