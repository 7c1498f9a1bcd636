//! Secrets, newest first.

#![forbid(unsafe_code)]

use base64::engine::general_purpose::STANDARD;
use base64::Engine;

use crate::config::ConfigError;

/// Secrets, newest first.
pub struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    /// One a line.
    pub fn parse_file(content: &[u8], what: &str) -> Result<Self, ConfigError> {
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        let mut secrets = Vec::new();
        for (index, line) in content.split(|&byte| byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let place = || format!("{what} line {}", index + 1);
            let text = std::str::from_utf8(line)
                .map_err(|_| ConfigError::new(format!("{}: not UTF-8", place())))?;
            secrets
                .push(parse(text).map_err(|why| ConfigError::new(format!("{}: {why}", place())))?);
        }
        Ok(Self(secrets))
    }

    /// One an argument.
    pub fn parse_args(args: &[&str]) -> Result<Self, ConfigError> {
        args.iter()
            .map(|text| parse(text).map_err(ConfigError::new))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Newest first.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }
}

fn parse(text: &str) -> Result<Vec<u8>, &'static str> {
    let secret = if let Some(encoded) = text.strip_prefix("base64:") {
        STANDARD.decode(encoded).map_err(|_| "not base64 after \"base64:\"")?
    } else if let Some(digits) = text.strip_prefix("hex:") {
        hex(digits).ok_or("not hexadecimal after \"hex:\"")?
    } else {
        text.as_bytes().to_vec()
    };
    if secret.is_empty() {
        return Err("the secret is empty");
    }
    Ok(secret)
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    if digits.len() % 2 != 0 {
        return None;
    }
    digits
        .chunks(2)
        .map(|two| {
            Some((char::from(two[0]).to_digit(16)? * 16 + char::from(two[1]).to_digit(16)?) as u8)
        })
        .collect()
}
