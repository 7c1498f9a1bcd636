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

/// The name of a header that the module may set.
#[derive(Debug, Clone)]
pub struct HeaderName {
    name: String,
}

impl HeaderName {
    /// Reads a name: a token (RFC 9110, section 5.6.2) that does not steer HTTP itself.
    pub fn parse(name: &str) -> Result<Self, ConfigError> {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
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
