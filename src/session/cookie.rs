//! Cookies: the pairs of a `Cookie` header, and the `Set-Cookie` that expires one.

#![forbid(unsafe_code)]

use crate::config::{unknown, ConfigError};

/// At most so many cookies of one name are looked at.
pub const MAX_CANDIDATES: usize = 8;
/// The longest cookie value looked at, in bytes.
pub const MAX_VALUE: usize = 4096;

/// Hands out the values of the cookies called exactly `name`, in the order of the header lines
/// (RFC 6265, section 4.2.1), tolerant as servers are: blanks around, quotes around a value, no `=`.
pub fn values<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
    name: &[u8],
    found: &mut impl FnMut(&'a [u8]),
) {
    let mut left = MAX_CANDIDATES;
    for line in lines {
        for pair in pairs(line) {
            if left > 0 && pair.name == name && !pair.name.is_empty() {
                found(pair.value);
                left -= 1;
            }
        }
    }
}

/// The line without the pairs for which `keep` is false. None: nothing was to be taken out; an empty
/// line: nothing is left.
pub fn rewrite(line: &[u8], mut keep: impl FnMut(&[u8], &[u8]) -> bool) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    let mut removed = false;
    for pair in pairs(line) {
        if keep(pair.name, pair.value) {
            if !pair.text.is_empty() {
                kept.push(pair.text);
            }
        } else {
            removed = true;
        }
    }
    removed.then(|| kept.join(b"; ".as_slice()))
}

struct Pair<'a> {
    /// The pair as it stands.
    text: &'a [u8],
    name: &'a [u8],
    /// Without quotes around it.
    value: &'a [u8],
}

fn pairs(line: &[u8]) -> impl Iterator<Item = Pair<'_>> {
    line.split(|&byte| byte == b';').map(|text| {
        let text = text.trim_ascii();
        match text.iter().position(|&byte| byte == b'=') {
            Some(equals) => Pair {
                text,
                name: text[..equals].trim_ascii_end(),
                value: unquote(text[equals + 1..].trim_ascii_start()),
            },
            None => Pair { text, name: text, value: b"" },
        }
    })
}

fn unquote(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// The attributes of the cookie that a logout expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    path: String,
    domain: Option<String>,
    secure: Secure,
    same_site: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Secure {
    /// As the request came.
    Auto,
    On,
    Off,
}

impl Default for Attributes {
    fn default() -> Self {
        Self { path: "/".to_owned(), domain: None, secure: Secure::Auto, same_site: None }
    }
}

impl Attributes {
    /// Reads `path=`, `domain=`, `secure=` or `samesite=`; false where `argument` is none of these.
    pub fn parse_option(&mut self, argument: &str) -> Result<bool, ConfigError> {
        let Some((option, value)) = argument.split_once('=') else { return Ok(false) };
        if value.bytes().any(|byte| byte == b';' || byte.is_ascii_control()) {
            return Err(ConfigError::new(format!(
                "\"{option}=\" cannot hold \";\" or control bytes"
            )));
        }
        match option {
            "path" => value.clone_into(&mut self.path),
            "domain" => self.domain = Some(value.to_owned()),
            "secure" => {
                self.secure = match value {
                    "auto" => Secure::Auto,
                    "on" => Secure::On,
                    "off" => Secure::Off,
                    _ => {
                        return Err(unknown("value of \"secure=\"", value, &["auto", "on", "off"]))
                    }
                }
            }
            "samesite" => {
                const KNOWN: [&str; 3] = ["Strict", "Lax", "None"];
                let known = KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(value));
                self.same_site =
                    Some(known.ok_or_else(|| unknown("value of \"samesite=\"", value, &KNOWN))?);
            }
            _ => {
                let known = ["path=", "domain=", "secure=", "samesite="];
                return Err(unknown("parameter", &format!("{option}="), &known));
            }
        }
        Ok(true)
    }

    /// The `Set-Cookie` value that expires the cookie (RFC 6265, section 3.1); `https` is how the
    /// request came.
    pub fn expire(&self, name: &str, https: bool) -> String {
        let mut cookie = format!(
            "{name}=; Path={}; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0",
            self.path
        );
        if let Some(domain) = &self.domain {
            cookie.push_str("; Domain=");
            cookie.push_str(domain);
        }
        let secure = match self.secure {
            Secure::Auto => https,
            Secure::On => true,
            Secure::Off => false,
        };
        if secure {
            cookie.push_str("; Secure");
        }
        cookie.push_str("; HttpOnly");
        if let Some(same_site) = self.same_site {
            cookie.push_str("; SameSite=");
            cookie.push_str(same_site);
        }
        cookie
    }
}
