//! What becomes a request header: names that cannot steer HTTP, values that cannot break out of a line.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;

use crate::config::{unknown, ConfigError};
use crate::pointer::Selected;
use crate::value::{elements, json_ascii, scalar, text};

/// How a header's value is written: `encode=`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encode {
    /// As it is, UTF-8 included.
    #[default]
    Raw,
    /// Percent-encoded but for RFC 3986's unreserved characters.
    Uri,
    /// RFC 4648, section 4, with padding.
    Base64,
    /// JSON in ASCII: a string gets its quotes.
    Json,
}

/// Why a value cannot be sent. Never tells the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsafe {
    /// A control byte, CR and LF above all, in a value that goes raw.
    Control,
    /// An element of a joined list holds the separator: the backend would read two.
    Separator,
}

impl Encode {
    const NAMES: [(&'static str, Self); 4] =
        [("raw", Self::Raw), ("uri", Self::Uri), ("base64", Self::Base64), ("json", Self::Json)];

    /// Reads what stands after `encode=`.
    pub fn parse(name: &str) -> Result<Self, ConfigError> {
        match Self::NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, encode)) => Ok(*encode),
            None => Err(unknown("encoding", name, &Self::NAMES.map(|(known, _)| known))),
        }
    }
}

impl fmt::Display for Unsafe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "the value holds a control character; \"encode=\" would carry it",
            Self::Separator => "an element holds the text of \"join=\"",
        })
    }
}

impl std::error::Error for Unsafe {}

/// The value of a header that comes from the session; `None` where the header is to be absent.
///
/// There is no bound on its length but that of the session (`max_size`): how long a header may be the
/// backend knows, and one left out for its length would read as a visitor who is not logged in.
pub fn session_header<'v>(
    selected: &Selected<'v>,
    join: Option<&str>,
    encode: Encode,
) -> Result<Option<Cow<'v, [u8]>>, Unsafe> {
    if let Some(list) = join.and_then(|separator| joined(selected, separator)) {
        return header_value(Cow::Owned(list?), encode).map(Some);
    }
    match (encode, selected) {
        (_, Selected::None | Selected::One(serde_json::Value::Null)) => Ok(None),
        (Encode::Json, Selected::One(value)) => {
            Ok(Some(Cow::Owned(json_ascii(*value).into_bytes())))
        }
        _ => text(selected).map(|text| header_value(text, encode)).transpose(),
    }
}

/// The value of a header from text that stands fast: a literal, or a string whose variables were filled in.
pub fn header_value(text: Cow<'_, str>, encode: Encode) -> Result<Cow<'_, [u8]>, Unsafe> {
    Ok(match encode {
        Encode::Raw if text.bytes().any(|b| b.is_ascii_control()) => return Err(Unsafe::Control),
        Encode::Raw => match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        },
        Encode::Uri => Cow::Owned(percent_encode(text.as_bytes()).into_bytes()),
        Encode::Base64 => Cow::Owned(STANDARD.encode(text.as_bytes()).into_bytes()),
        Encode::Json => Cow::Owned(json_ascii(text.as_ref()).into_bytes()),
    })
}

/// Percent-encodes every byte outside RFC 3986's unreserved characters.
pub fn percent_encode(bytes: &[u8]) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(HEX[usize::from(byte >> 4)]));
            encoded.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    encoded
}

/// The elements of an array of scalars with `separator` between them, nulls left out; `None` where the
/// value is something else.
fn joined(selected: &Selected<'_>, separator: &str) -> Option<Result<String, Unsafe>> {
    let list = match selected {
        Selected::None => return None,
        Selected::One(value) => elements(value)?,
        Selected::Many(values) => values.clone(),
    };
    if list.iter().any(|element| element.is_array() || element.is_object()) {
        return None;
    }
    let parts: Vec<&str> = list.into_iter().filter_map(scalar).collect();
    if !separator.is_empty() && parts.iter().any(|part| part.contains(separator)) {
        return Some(Err(Unsafe::Separator));
    }
    Some(Ok(parts.join(separator)))
}

/// Whether this is a token (RFC 9110, section 5.6.2): a method, or the name of a header or a cookie.
pub fn is_token(text: &[u8]) -> bool {
    let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !text.is_empty() && text.iter().all(token)
}

/// The name of a header that the module may set.
#[derive(Debug, Clone)]
pub struct HeaderName {
    name: String,
}

impl HeaderName {
    /// Reads a name: a token that does not steer HTTP itself.
    pub fn parse(name: &str) -> Result<Self, ConfigError> {
        if !is_token(name.as_bytes()) {
            return Err(ConfigError::new(format!("\"{name}\" is not a header name")));
        }
        let canonical: Vec<u8> = name.bytes().map(canonical).collect();
        let steers = canonical.starts_with(b"proxy")
            || STEERING
                .iter()
                .any(|known| known.bytes().map(self::canonical).eq(canonical.iter().copied()));
        if steers {
            let error = ConfigError::new(format!("header \"{name}\" steers HTTP itself"));
            return Err(
                error.hint(format!("choose a name of your own, such as \"X-Session-{name}\""))
            );
        }
        Ok(Self { name: name.to_owned() })
    }

    /// Whether some backend would take both for one name.
    pub fn is_like(&self, other: &Self) -> bool {
        let canonical = |name: &Self| name.name.bytes().map(canonical).collect::<Vec<_>>();
        canonical(self) == canonical(other)
    }

    /// The name as it was written, and as the backend gets it.
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

/// Names that are refused: nginx's own request-header table (`ngx_http_headers_in`, 1.22 to 1.29) but
/// `Authorization`, and others by which proxies and servers route, frame or trust a request.
const STEERING: &[&str] = &[
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Alt-Svc",
    "Connection",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "Cookie",
    "Date",
    "Depth",
    "Destination",
    "Expect",
    "Forwarded",
    "HTTP2-Settings",
    "Host",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "If-Unmodified-Since",
    "Keep-Alive",
    "Overwrite",
    "Range",
    "Referer",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "User-Agent",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Proto",
    "X-Real-IP",
];

/// Two names are one header to some backend if they are equal in this: CGI turns `-` into `_`, and
/// servers differ in what they do with other bytes.
const fn canonical(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() {
        byte.to_ascii_lowercase()
    } else {
        b'-'
    }
}

/// The names whose copies a client must not send.
#[derive(Debug, Clone)]
pub struct NameSet {
    /// In canonical form.
    names: Vec<Box<[u8]>>,
    /// By length (the last row for longer ones), the first bytes that names have: most of a client's
    /// headers are told apart by this alone.
    firsts: [u64; ROWS],
}

const ROWS: usize = 64;

impl Default for NameSet {
    fn default() -> Self {
        Self { names: Vec::new(), firsts: [0; ROWS] }
    }
}

impl NameSet {
    /// Adds a name.
    pub fn insert(&mut self, name: &HeaderName) {
        if self.contains(name.name.as_bytes()) {
            return;
        }
        let canonical: Box<[u8]> = name.name.bytes().map(canonical).collect();
        if let (Some(row), Some(&first)) =
            (self.firsts.get_mut(row(canonical.len())), canonical.first())
        {
            *row |= bit(first);
            self.names.push(canonical);
        }
    }

    /// Whether `name` is one of the set to some backend: any case, and every byte outside `[A-Za-z0-9]`
    /// equal to `-`.
    pub fn contains(&self, name: &[u8]) -> bool {
        let Some(&first) = name.first() else { return false };
        let firsts = self.firsts.get(row(name.len())).copied().unwrap_or(0);
        firsts & bit(canonical(first)) != 0
            && self.names.iter().any(|known| {
                known.len() == name.len()
                    && known.iter().zip(name).all(|(known, b)| *known == canonical(*b))
            })
    }

    /// Whether there is no name in it.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

fn row(length: usize) -> usize {
    length.min(ROWS - 1)
}

/// The bit of a canonical byte. That some bytes share one costs a comparison, no more.
fn bit(byte: u8) -> u64 {
    1 << (byte & 63)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{json, Value};

    use super::*;
    use crate::pointer::Pointer;

    /// The header that the value at `/v` of `session` becomes.
    fn header(
        session: &Value,
        join: Option<&str>,
        encode: Encode,
    ) -> Result<Option<String>, Unsafe> {
        let selected = Pointer::parse("/v").unwrap().select(session);
        let value = session_header(&selected, join, encode)?;
        Ok(value.map(|value| String::from_utf8(value.into_owned()).unwrap()))
    }

    #[test]
    fn absent_null_and_empty_differ() {
        for encode in [Encode::Raw, Encode::Uri, Encode::Base64, Encode::Json] {
            for join in [None, Some(",")] {
                assert_eq!(header(&json!({}), join, encode), Ok(None));
                assert_eq!(header(&json!({"v": null}), join, encode), Ok(None));
            }
        }
        assert_eq!(header(&json!({"v": ""}), None, Encode::Raw), Ok(Some(String::new())));
        assert_eq!(header(&json!({"v": []}), Some(","), Encode::Raw), Ok(Some(String::new())));
        assert_eq!(header(&json!({"v": []}), None, Encode::Raw), Ok(Some("[]".to_owned())));
    }

    #[test]
    fn each_kind_in_each_encoding() {
        for (value, raw, uri, base64, json) in [
            (json!("é /"), "é /", "%C3%A9%20%2F", "w6kgLw==", "\"\\u00e9 /\""),
            (json!(7), "7", "7", "Nw==", "7"),
            (json!(true), "true", "true", "dHJ1ZQ==", "true"),
            (
                json!(["é"]),
                "[\"\\u00e9\"]",
                "%5B%22%5Cu00e9%22%5D",
                "WyJcdTAwZTkiXQ==",
                "[\"\\u00e9\"]",
            ),
        ] {
            let session = json!({ "v": value });
            for (encode, expected) in [
                (Encode::Raw, raw),
                (Encode::Uri, uri),
                (Encode::Base64, base64),
                (Encode::Json, json),
            ] {
                assert_eq!(
                    header(&session, None, encode),
                    Ok(Some(expected.to_owned())),
                    "{session} {encode:?}"
                );
            }
        }
    }

    #[test]
    fn lists_are_joined_if_their_elements_are_plain() {
        let joined = |value: Value, join| header(&json!({ "v": value }), Some(join), Encode::Raw);
        assert_eq!(joined(json!(["a", 1, null, true]), ","), Ok(Some("a,1,true".to_owned())));
        assert_eq!(joined(json!({"1": "a", "4": "b"}), ", "), Ok(Some("a, b".to_owned())));
        assert_eq!(joined(json!(["a", "b"]), ""), Ok(Some("ab".to_owned())));
        assert_eq!(joined(json!("a"), ","), Ok(Some("a".to_owned())));
        assert_eq!(joined(json!(["a", []]), ","), Ok(Some("[\"a\",[]]".to_owned())));
        assert_eq!(
            header(&json!({"v": ["é", "b"]}), Some(","), Encode::Uri),
            Ok(Some("%C3%A9%2Cb".to_owned()))
        );
    }

    #[test]
    fn an_element_cannot_pass_for_two() {
        let roles = json!({"v": ["editor,admin"]});
        assert_eq!(header(&roles, Some(","), Encode::Raw), Err(Unsafe::Separator));
        assert_eq!(header(&roles, Some(";"), Encode::Raw), Ok(Some("editor,admin".to_owned())));
    }

    #[test]
    fn control_characters_never_go_raw() {
        for control in (0..0x20).chain([0x7f]).map(char::from) {
            let session = json!({"v": format!("a{control}b"), "w": [control.to_string()]});
            assert_eq!(header(&session, None, Encode::Raw), Err(Unsafe::Control), "{control:?}");
            for encode in [Encode::Uri, Encode::Base64, Encode::Json] {
                let value = header(&session, None, encode).unwrap().unwrap();
                assert!(value.bytes().all(|b| (0x20..0x7f).contains(&b)), "{control:?} {encode:?}");
            }
            assert!(header_value(Cow::Owned(control.to_string()), Encode::Raw).is_err());
        }
        let list = json!({"v": ["a", "b"]});
        assert_eq!(header(&list, Some("\r\nX: "), Encode::Raw), Err(Unsafe::Control));
    }

    #[test]
    fn a_long_value_is_not_cut() {
        let long = "x".repeat(100_000);
        assert_eq!(header(&json!({ "v": long }), None, Encode::Raw), Ok(Some(long.clone())));
    }

    #[test]
    fn encodings_by_name() {
        assert_eq!(Encode::parse("uri"), Ok(Encode::Uri));
        assert!(Encode::parse("url").unwrap_err().to_string().contains("did you mean \"uri\"?"));
    }

    #[test]
    fn names_that_steer_http_are_refused() {
        for name in STEERING {
            for spelled in [
                (*name).to_owned(),
                name.to_uppercase(),
                name.to_lowercase(),
                name.replace('-', "_"),
            ] {
                assert!(HeaderName::parse(&spelled).is_err(), "{spelled}");
            }
        }
        for name in [
            "Proxy",
            "proxy-Authorization",
            "Proxy_Connection",
            ":path",
            "",
            "X Y",
            "X\r\n",
            "é",
            "X:",
        ] {
            assert!(HeaderName::parse(name).is_err(), "{name}");
        }
        for name in [
            "Authorization",
            "X-User-Id",
            "X_User_Id",
            "X-Forwarded-User",
            "Remote-User",
            "Hostess",
            "!",
        ] {
            assert_eq!(HeaderName::parse(name).unwrap().as_str(), name);
        }
    }

    fn set(names: &[&str]) -> NameSet {
        let mut set = NameSet::default();
        names.iter().for_each(|name| set.insert(&HeaderName::parse(name).unwrap()));
        set
    }

    #[test]
    fn every_spelling_of_a_name_is_the_name() {
        let long = "X-".repeat(100);
        let names = set(&["X-User-Id", "x_user_id", "X-User-Roles", "!", &long]);
        for name in [
            "X-User-Id",
            "x-user-id",
            "X_User_Id",
            "X.USER~ID",
            "x user\tid",
            "X-User-Roles",
            "-",
            "\u{7f}",
            &long,
        ] {
            assert!(names.contains(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            "X-User-I",
            "X-User-Idd",
            "XX-User-Id",
            "X-User-Ie",
            "XxUserxId",
            "Y-User-Id",
            "--",
        ] {
            assert!(!names.contains(name.as_bytes()), "{name}");
        }
        assert!(names.contains(b"X\xffUser\0Id"));
        assert!(!names.is_empty() && NameSet::default().is_empty());
    }

    proptest! {
        #[test]
        fn the_set_is_what_comparing_one_by_one_finds(
            names in proptest::collection::vec("[aB1_.-]{1,3}", 0..6),
            asked in "[abB1_.~-]{0,3}",
        ) {
            let canonical = |name: &str| name.bytes().map(canonical).collect::<Vec<_>>();
            let set = set(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let known = names.iter().any(|name| canonical(name) == canonical(&asked));
            prop_assert_eq!(set.contains(asked.as_bytes()), known);
        }

        #[test]
        fn raw_values_hold_no_control_bytes(text in any::<String>()) {
            if let Ok(value) = header_value(Cow::Borrowed(&text), Encode::Raw) {
                prop_assert!(!value.iter().any(u8::is_ascii_control));
                prop_assert_eq!(value.as_ref(), text.as_bytes());
            }
        }
    }
}
