//! From the values that a request carries to the one session id that the framework itself would read.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use memchr::memchr;

use super::cookie::{MAX_CANDIDATES, MAX_VALUE};
use super::id::{IdRule, Invalid, SessionId};
use super::scheme::{Carried, Open, Scheme};
use super::secrets::Secrets;
use crate::config::ConfigError;

/// How a framework makes an id of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Which of several cookies of one name it reads.
    pub pick: Pick,
    /// Whether it takes the quotes off a quoted value.
    pub unquote: bool,
    /// Whether it URL-decodes the value.
    pub url_decode: bool,
    /// How the id is kept in it.
    pub scheme: Scheme,
    /// Which ids it makes.
    pub rule: IdRule,
}

/// Which of several cookies of one name a framework reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// The first, which browsers make the one of the longest path (RFC 6265, section 5.4).
    First,
    /// The last.
    Last,
}

/// What came of the values of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice<'a> {
    /// There are none.
    None,
    /// The one that counts is no id, for this reason.
    Invalid(Invalid),
    /// A session id.
    Valid {
        /// The id.
        id: SessionId,
        /// The value it was made of, as the request carries it.
        value: &'a [u8],
    },
}

impl Identity {
    /// With the secrets that its scheme needs. Errors say what is wrong with one of them.
    pub fn verifier(self, secrets: Option<&Secrets>) -> Result<Verifier, ConfigError> {
        Ok(Verifier { opener: self.scheme.opener(secrets)?, identity: self })
    }
}

/// An [`Identity`] with its secrets.
#[derive(Debug)]
pub struct Verifier {
    identity: Identity,
    opener: Box<dyn Open>,
}

impl Verifier {
    /// The id out of one value.
    pub fn verify(&self, raw: &[u8], carried: &Carried<'_>) -> Result<SessionId, Invalid> {
        if raw.len() > MAX_VALUE {
            return Err(Invalid::Size);
        }
        let identity = &self.identity;
        let text = if identity.unquote { unquote(raw) } else { raw };
        let decoded = match identity.url_decode.then(|| url_decode(text)) {
            Some(Some(decoded)) => decoded,
            Some(None) if identity.scheme == Scheme::Plain => return Err(Invalid::Encoding),
            // node's `cookie` hands on what it cannot decode; no signature fits that then.
            Some(None) | None => Cow::Borrowed(text),
        };
        identity.rule.parse(&self.opener.open(&decoded, carried)?)
    }

    /// Which of several cookies of one name counts.
    pub fn pick(&self) -> Pick {
        self.identity.pick
    }

    /// The cookie that signs the one called `name`, where there is such.
    pub fn beside(&self, name: &str) -> Option<String> {
        self.identity.scheme.beside(name)
    }

    /// The id out of the values of one name, in the order in which the request carries them.
    ///
    /// The one that the framework reads counts. Only where its signature fails the next one is tried, at
    /// most [`MAX_CANDIDATES`] in all; the reason of the first is given then, if none is good.
    pub fn choose<'a>(&self, candidates: &[&'a [u8]], carried: &Carried<'_>) -> Choice<'a> {
        let mut refused = None;
        for tried in 0..candidates.len().min(MAX_CANDIDATES) {
            let index = match self.identity.pick {
                Pick::First => tried,
                Pick::Last => candidates.len() - 1 - tried,
            };
            let Some(value) = candidates.get(index).copied() else { break };
            match self.verify(value, carried) {
                Ok(id) => return Choice::Valid { id, value },
                Err(reason) => {
                    refused.get_or_insert(reason);
                    if !matches!(reason, Invalid::Base64 | Invalid::Signature | Invalid::Unsigned) {
                        break;
                    }
                }
            }
        }
        refused.map_or(Choice::None, Choice::Invalid)
    }
}

fn unquote(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        _ => value,
    }
}

/// `%` and two digits are a byte, `+` is itself: PHP's `php_raw_url_decode`, node's `decodeURIComponent`.
/// `None`: a `%` stands without digits. Borrowed where nothing is encoded, as it mostly is.
fn url_decode(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if memchr(b'%', text).is_none() {
        return Some(Cow::Borrowed(text));
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        decoded.push(match (byte, rest) {
            (b'%', [high, low, after @ ..]) => {
                rest = after;
                u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?
            }
            (b'%', _) => return None,
            _ => *byte,
        });
    }
    Some(Cow::Owned(decoded))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::scheme::tests::CARRIED;

    const PHP: Identity = Identity {
        pick: Pick::First,
        unquote: false,
        url_decode: true,
        scheme: Scheme::Plain,
        rule: IdRule::new("A-Za-z0-9,-", 22, 256),
    };
    const ID: &str = "5vskci7gjubb3itrl38lns61rh";
    const OTHER: &str = "pt2hh8r4f73fq0o7ua172g8o92";

    const SIGNED: &str =
        "s%3AcHpUiV7wDyBcQkpfsYRiyLq-GQSIlbB8.5ioZhFw2%2F25127zq6w0dbcsHqltBe%2FDEe14YLImDUDE";
    const FORGED: &str =
        "s%3AcHpUiV7wDyBcQkpfsYRiyLq-GQSIlbB8.5ioZhFw2%2F25127zq6w0dbcsHqltBe%2FDEe14YLImDUAE";
    const SIGNED_ID: &str = "cHpUiV7wDyBcQkpfsYRiyLq-GQSIlbB8";

    fn express() -> Identity {
        Identity {
            pick: Pick::First,
            unquote: true,
            url_decode: true,
            scheme: Scheme::CookieSignature { prefix: "s:" },
            rule: IdRule::default(),
        }
    }

    fn secrets() -> Secrets {
        Secrets::parse_args(&["newest", "keyboard cat"]).unwrap()
    }

    fn verify(identity: &Identity, value: impl AsRef<[u8]>) -> Result<String, Invalid> {
        let verifier = identity.clone().verifier(Some(&secrets())).unwrap();
        let id = verifier.verify(value.as_ref(), &CARRIED)?;
        Ok(id.as_str().to_owned())
    }

    /// The id, and the index of the candidate it was made of.
    fn choose(identity: &Identity, values: &[&str]) -> Result<(String, usize), Option<Invalid>> {
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        let verifier = identity.clone().verifier(Some(&secrets())).unwrap();
        match verifier.choose(&values, &CARRIED) {
            Choice::None => Err(None),
            Choice::Invalid(reason) => Err(Some(reason)),
            Choice::Valid { id, value } => {
                let index = values.iter().position(|other| *other == value).unwrap();
                Ok((id.as_str().to_owned(), index))
            }
        }
    }

    #[test]
    fn captured_cookies() {
        assert_eq!(verify(&PHP, ID).unwrap(), ID);
        assert_eq!(verify(&express(), SIGNED).unwrap(), SIGNED_ID);
        assert_eq!(verify(&express(), format!("\"{SIGNED}\"")).unwrap(), SIGNED_ID);
        let decoded = SIGNED.replace("%3A", ":").replace("%2F", "/");
        assert_eq!(verify(&express(), decoded).unwrap(), SIGNED_ID);
    }

    #[test]
    fn captured_cookies_that_must_be_refused() {
        assert_eq!(verify(&express(), FORGED), Err(Invalid::Signature));
        for value in [
            "s%3AcHpUiV7wDyBcQkpfsYRiyLq-GQSIlbB8",
            "s%3AcHpUiV7wDyBcQkpfsYRiyLq-GQSIlbB8.",
            "cHpUiV7wDyBcQkpfsYRiyLq-GQSIlbB8",
        ] {
            assert_eq!(verify(&express(), value), Err(Invalid::Unsigned));
        }
    }

    #[test]
    fn an_id_is_url_decoded_once() {
        let id = "5vskci7gjubb3,trl38lns61rh";
        assert_eq!(verify(&PHP, id.replace(',', "%2C")).unwrap(), id);
        assert_eq!(verify(&PHP, id.replace(',', "%2c")).unwrap(), id);
        for (odd, reason) in [
            ("%252C", Invalid::Alphabet),
            ("+", Invalid::Alphabet),
            ("%20", Invalid::Alphabet),
            ("%00", Invalid::Alphabet),
            ("%0d%0a", Invalid::Alphabet),
            ("%FF%C3", Invalid::Alphabet),
            ("%7Btag%7D", Invalid::Alphabet),
            ("%3A", Invalid::Alphabet),
            ("%2e%2e%2f", Invalid::Alphabet),
            ("%2", Invalid::Encoding),
            ("%", Invalid::Encoding),
            ("%zz", Invalid::Encoding),
            ("%+2", Invalid::Encoding),
            ("%u002c", Invalid::Encoding),
        ] {
            assert_eq!(
                verify(&PHP, format!("5vskci7gjubb3itrl38lns61rh{odd}")),
                Err(reason),
                "{odd}"
            );
        }
        // To node's `cookie` such a value is none that is encoded: what it then lacks is a signature.
        assert_eq!(verify(&express(), format!("{SIGNED}%2")), Err(Invalid::Unsigned));
    }

    #[test]
    fn quotes_are_taken_off_where_the_framework_does() {
        assert_eq!(verify(&PHP, format!("\"{ID}\"")), Err(Invalid::Alphabet));
        let raw = Identity { unquote: true, ..PHP };
        assert_eq!(verify(&raw, format!("\"{ID}\"")).unwrap(), ID);
        assert_eq!(verify(&raw, format!("\"{ID}")), Err(Invalid::Alphabet));
        assert_eq!(verify(&raw, "\""), Err(Invalid::Short));
        assert_eq!(verify(&raw, "\"\""), Err(Invalid::Short));
    }

    #[test]
    fn a_value_is_what_it_is_where_the_framework_decodes_nothing() {
        let koa = Identity { url_decode: false, ..PHP };
        assert_eq!(verify(&koa, ID.replace('t', "%74")), Err(Invalid::Alphabet));
        assert_eq!(verify(&koa, ID).unwrap(), ID);
    }

    #[test]
    fn a_value_has_its_own_limit() {
        assert_eq!(verify(&PHP, "a".repeat(MAX_VALUE)), Err(Invalid::Long));
        assert_eq!(verify(&PHP, "a".repeat(MAX_VALUE + 1)), Err(Invalid::Size));
        assert_eq!(verify(&express(), "a".repeat(8192)), Err(Invalid::Size));
    }

    #[test]
    fn of_several_the_one_that_the_framework_reads() {
        let last = Identity { pick: Pick::Last, ..PHP };
        assert_eq!(choose(&PHP, &[]), Err(None));
        assert_eq!(choose(&PHP, &[ID]), Ok((ID.to_owned(), 0)));
        assert_eq!(choose(&PHP, &[ID, ID]), Ok((ID.to_owned(), 0)));
        assert_eq!(choose(&PHP, &[ID, OTHER]), Ok((ID.to_owned(), 0)));
        assert_eq!(choose(&last, &[ID, OTHER]), Ok((OTHER.to_owned(), 1)));
        assert_eq!(choose(&PHP, &["", ID]), Err(Some(Invalid::Short)));
        assert_eq!(choose(&PHP, &["bad!id$5vskci7gjubb3itrl3", ID]), Err(Some(Invalid::Alphabet)));
        assert_eq!(choose(&last, &[ID, "bad"]), Err(Some(Invalid::Short)));
    }

    #[test]
    fn only_a_failing_signature_moves_on() {
        let express = express();
        let last = Identity { pick: Pick::Last, ..express.clone() };
        let found = |index| Ok((SIGNED_ID.to_owned(), index));
        assert_eq!(choose(&express, &[FORGED, "unsigned", SIGNED]), found(2));
        assert_eq!(choose(&last, &[SIGNED, FORGED]), found(0));
        assert_eq!(choose(&express, &[FORGED, "unsigned"]), Err(Some(Invalid::Signature)));
        let huge = "s".repeat(MAX_VALUE + 1);
        assert_eq!(choose(&express, &[&huge, SIGNED]), Err(Some(Invalid::Size)));
    }

    #[test]
    fn at_most_eight_are_tried() {
        let express = express();
        let last = Identity { pick: Pick::Last, ..express.clone() };
        let mut values = vec![FORGED; 7];
        values.push(SIGNED);
        assert_eq!(choose(&express, &values), Ok((SIGNED_ID.to_owned(), 7)));
        values.insert(0, FORGED);
        assert_eq!(choose(&express, &values), Err(Some(Invalid::Signature)));
        values.reverse();
        assert_eq!(choose(&last, &values), Err(Some(Invalid::Signature)));
    }

    proptest! {
        #[test]
        fn an_id_keeps_its_rule_whatever_comes(
            value in prop_oneof![
                "[A-Za-z0-9,%\"-]{0,60}".prop_map(String::into_bytes),
                proptest::collection::vec(any::<u8>(), 0..300),
            ],
        ) {
            for identity in [PHP, Identity { unquote: true, ..PHP }, express()] {
                if let Ok(id) = verify(&identity, &value) {
                    prop_assert!(identity.rule.parse(id.as_bytes()).is_ok());
                }
            }
        }

        #[test]
        fn every_encoding_of_an_id_is_that_id(id in "[A-Za-z0-9,-]{22,40}", mask in any::<u64>()) {
            let encoded: String = (0..).zip(id.bytes()).map(|(at, byte)| match mask >> (at % 64) & 1 {
                1 => format!("%{byte:02x}"),
                _ => char::from(byte).to_string(),
            }).collect();
            prop_assert_eq!(verify(&PHP, encoded).unwrap(), id);
        }
    }
}
