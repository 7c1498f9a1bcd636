//! Sources.

#![forbid(unsafe_code)]

use crate::config::{unknown, ConfigError};

/// A source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Cookie(String),
    Header(String),
    Arg(String),
    Path(String),
    Template(String),
}

impl Source {
    /// Of an argument.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let source: fn(String) -> Self = match text.split_once(':') {
            _ if text.contains('$') => return Ok(Self::Template(text.to_owned())),
            Some(("cookie", _)) => Self::Cookie,
            Some(("header", _)) => Self::Header,
            Some(("arg", _)) => Self::Arg,
            Some(("path", _)) => Self::Path,
            _ => {
                return Err(unknown(
                    "id source",
                    text,
                    &["cookie:NAME", "header:NAME", "arg:NAME", "path:NAME"],
                ))
            }
        };
        match text.split_once(':').map(|(_, name)| name) {
            Some(name) if !name.is_empty() => Ok(source(name.to_owned())),
            _ => Err(ConfigError::new("no name")),
        }
    }
}

/// The argument.
pub fn argument<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    query.split(|&b| b == b'&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
}

/// The path parameter.
pub fn path_parameter<'a>(uri: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let path = uri.split(|&b| b == b'?').next()?;
    let segment = path.rsplit(|&b| b == b'/').next()?;
    segment
        .split(|&b| b == b';')
        .skip(1)
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
}

/// Masked.
pub fn mask(uri: &[u8], _sources: &[Source]) -> Vec<u8> {
    uri.to_vec()
}
