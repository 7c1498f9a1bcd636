//! What a pipeline makes of a value step by step, for whoever wonders why it is not read.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;

use super::budget::Budget;
use super::{Format, Pipeline, Reason, Wanted, Wrapper, AUTO, FORMATS};

/// A format or wrapper, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Its name.
    pub name: &'static str,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It reads the value.
    Read,
    /// It was wrapped around so many bytes.
    Unwrapped(usize),
    /// The value is not in this wrapper, and goes on as it is.
    NotWrapped,
    /// It does not read the value.
    Failed(Reason),
    /// The value begins like no format that is known.
    Unknown,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => f.write_str("read"),
            Self::Unwrapped(bytes) => write!(f, "{bytes} bytes in it"),
            Self::NotWrapped => f.write_str("the value is not in it, and goes on as it is"),
            Self::Failed(Reason::Malformed) => f.write_str("malformed or cut off"),
            Self::Failed(Reason::TooDeep) => f.write_str("nested too deep"),
            Self::Failed(Reason::TooLarge) => f.write_str("becomes more than \"max_size\" allows"),
            Self::Unknown => f.write_str("the value begins like no format that is known"),
        }
    }
}

impl Pipeline {
    /// What [`Pipeline::decode`] tries on a value, in its order.
    pub fn tried(&self, raw: &[u8]) -> Vec<Tried> {
        let budget = Budget::of(raw.len(), self.max_size);
        let mut tried = Vec::new();
        let mut value = Cow::Borrowed(raw);
        for wrapper in self.wrappers.iter().filter(|_| !raw.is_empty()) {
            let outcome = match (wrapper.wraps)(&value) {
                false => Outcome::NotWrapped,
                true => match (wrapper.unwrap)(&value, self.encrypter.as_deref(), &budget) {
                    Err(reason) => Outcome::Failed(reason),
                    Ok(plain) => {
                        value = Cow::Owned(plain);
                        Outcome::Unwrapped(value.len())
                    }
                },
            };
            tried.push(Tried { name: wrapper.name, outcome });
            if matches!(outcome, Outcome::Failed(_)) {
                return tried;
            }
        }
        if value.is_empty() {
            return tried;
        }
        match self.format.name == AUTO.name {
            true => tried.extend(by_auto(&value, &budget)),
            false => tried.push(by(self.format, &value, &budget)),
        }
        tried
    }
}

fn by(format: &Format, value: &[u8], budget: &Budget) -> Tried {
    let outcome = match (format.decode)(value, &Wanted::Nothing, budget) {
        Ok(_) => Outcome::Read,
        Err(reason) => Outcome::Failed(reason),
    };
    Tried { name: format.name, outcome }
}

fn by_auto(value: &[u8], budget: &Budget) -> Vec<Tried> {
    let mut tried = Vec::new();
    let mut plain = None;
    if let Some(wrapper) = Wrapper::proven(value) {
        let outcome = match (wrapper.unwrap)(value, None, budget) {
            Err(reason) => Outcome::Failed(reason),
            Ok(unwrapped) => Outcome::Unwrapped(plain.insert(unwrapped).len()),
        };
        tried.push(Tried { name: wrapper.name, outcome });
    }
    tried.extend(by_plain(plain.as_deref().unwrap_or(value), budget));
    if tried.is_empty() {
        tried.push(Tried { name: AUTO.name, outcome: Outcome::Unknown });
    }
    tried
}

/// The formats that the value begins like, up to the one that decides.
fn by_plain(value: &[u8], budget: &Budget) -> Vec<Tried> {
    let mut tried = Vec::new();
    for format in FORMATS.iter().filter(|format| (format.begins)(value)) {
        tried.push(by(format, value, budget));
        let malformed = Outcome::Failed(Reason::Malformed);
        if tried.last().is_some_and(|last| last.outcome != malformed) {
            break;
        }
    }
    tried
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(names: &[&str], raw: &[u8]) -> Vec<String> {
        let tried = Pipeline::parse(names).unwrap().tried(raw);
        tried.iter().map(|tried| format!("{}: {}", tried.name, tried.outcome)).collect()
    }

    #[test]
    fn each_step_in_its_order() {
        assert_eq!(tried(&["json"], b"{}"), ["json: read"]);
        assert_eq!(tried(&["json"], b"uid|i:5;"), ["json: malformed or cut off"]);
        assert_eq!(tried(&["base64", "json"], b"e30="), ["base64: 2 bytes in it", "json: read"]);
        assert_eq!(tried(&["base64", "json"], b"{}"), ["base64: malformed or cut off"]);
        assert_eq!(
            tried(&["zlib", "json"], b"{}"),
            ["zlib: the value is not in it, and goes on as it is", "json: read"]
        );
        assert!(tried(&["zlib", "json"], b"").is_empty());
    }

    #[test]
    fn auto_tells_what_the_value_begins_like() {
        assert_eq!(tried(&["auto"], b"{}"), ["json: read"]);
        assert_eq!(tried(&["auto"], b"uid|i:5;"), ["php: read"]);
        assert_eq!(tried(&["auto"], b"{\"a\":"), ["json: malformed or cut off"]);
        assert_eq!(tried(&["auto"], b"x\x9c\x03\x00\x00\x00\x00\x01"), ["zlib: 0 bytes in it"]);
        assert_eq!(tried(&["auto"], b"hC|i:7;"), ["zlib: malformed or cut off", "php: read"]);
        assert_eq!(
            tried(&["auto"], b"\x80secret"),
            ["auto: the value begins like no format that is known"]
        );
    }
}
