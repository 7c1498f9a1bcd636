//! From what a request carries to its session id.

#![forbid(unsafe_code)]

use super::cookie::{MAX_CANDIDATES, MAX_VALUE};
use super::id::{IdRule, Invalid, SessionId};
use super::secrets::Secrets;
use super::signature::Signing;

/// How a framework makes an id of what the request carries.
#[derive(Debug, Clone)]
pub struct Identity {
    pub pick: Pick,
    pub url_decode: bool,
    pub signing: Signing,
    pub rule: IdRule,
}

/// Which of several cookies of one name the framework reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    First,
    Last,
}

/// What came of the candidates.
pub enum Choice<'a> {
    None,
    Invalid(Invalid),
    Valid { id: SessionId, value: &'a [u8], differ: bool },
}

impl Identity {
    /// The id out of one value.
    pub fn verify(&self, raw: &[u8], secrets: Option<&Secrets>) -> Result<SessionId, Invalid> {
        if raw.len() > MAX_VALUE {
            return Err(Invalid::Long);
        }
        let decoded = match self.url_decode {
            true => percent_decode(raw)?,
            false => raw.to_vec(),
        };
        self.rule.parse(self.signing.open(decoded, secrets)?)
    }

    /// The id out of several values of one name.
    pub fn choose<'a>(&self, candidates: &[&'a [u8]], secrets: Option<&Secrets>) -> Choice<'a> {
        let differ = candidates.windows(2).any(|two| two[0] != two[1]);
        let mut refused = None;
        for index in 0..candidates.len().min(MAX_CANDIDATES) {
            let value = match self.pick {
                Pick::First => candidates[index],
                Pick::Last => candidates[candidates.len() - 1 - index],
            };
            match self.verify(value, secrets) {
                Ok(id) => return Choice::Valid { id, value, differ },
                Err(reason) => {
                    refused.get_or_insert(reason);
                    if !matches!(reason, Invalid::Signature | Invalid::Unsigned) {
                        break;
                    }
                }
            }
        }
        refused.map_or(Choice::None, Choice::Invalid)
    }
}

fn percent_decode(raw: &[u8]) -> Result<Vec<u8>, Invalid> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let [high, low, after @ ..] = after else { return Err(Invalid::Encoding) };
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let (Some(high), Some(low)) = (digit(high), digit(low)) else {
            return Err(Invalid::Encoding);
        };
        decoded.push((high * 16 + low) as u8);
        rest = after;
    }
    Ok(decoded)
}
