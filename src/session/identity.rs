//! From the values that a request carries to the one session id that the framework itself would read.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use memchr::memchr;

use super::candidates::Candidates;
use super::cookie::{is_plain, Kept, Spelling, MAX_CANDIDATES, MAX_VALUE};
use super::id::{IdRule, Invalid, SessionId};
use super::scheme::{Carried, Open, Scheme};
use super::secrets::Secrets;
use crate::config::ConfigError;

/// How a framework makes an id of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Which of several cookies of one name it reads.
    pub pick: Pick,
    /// Which other names it takes for that of its cookie.
    pub spelling: Spelling,
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
        let opener = self.scheme.opener(secrets)?;
        Ok(Verifier { opener, identity: self, secrets: secrets.cloned() })
    }
}

/// An [`Identity`] with its secrets.
#[derive(Debug)]
pub struct Verifier {
    identity: Identity,
    opener: Box<dyn Open>,
    secrets: Option<Secrets>,
}

/// Alike where they make the same ids of all values.
impl PartialEq for Verifier {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity && self.secrets == other.secrets
    }
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

    /// Whether what is no id to us is none to a backend either, wherever that ends it: PHP's C functions do at a NUL.
    fn is_plain(&self, value: &[u8]) -> bool {
        is_plain(value, self.identity.unquote)
            && !(self.identity.url_decode && value.windows(3).any(|three| three == b"%00"))
    }

    /// Which of several cookies of one name counts.
    pub fn pick(&self) -> Pick {
        self.identity.pick
    }

    /// Which other names are taken for that of the cookie.
    pub fn spelling(&self) -> Spelling {
        self.identity.spelling
    }

    /// The cookies called `name` in header lines.
    pub fn cookies<'a>(
        &self,
        lines: impl IntoIterator<Item = &'a [u8]>,
        name: &str,
    ) -> Candidates<'a> {
        Candidates::of_cookies(self.identity.pick, lines, name, self.identity.spelling)
    }

    /// The cookies called `name` that sign others: only the first is looked at.
    pub fn signatures<'a>(
        &self,
        lines: impl IntoIterator<Item = &'a [u8]>,
        name: &str,
    ) -> Candidates<'a> {
        Candidates::of_cookies(Pick::First, lines, name, self.identity.spelling)
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

    /// What the backend may get of the cookies called `name`, of which `choice` came. `None`: all that there are,
    /// since no parser reads another session in them.
    pub fn kept(&self, name: &str, found: &Candidates<'_>, choice: &Choice<'_>) -> Option<Kept> {
        let value = match choice {
            Choice::Valid { value, .. } => Some(*value),
            _ => found.preferred().filter(|value| self.is_plain(value)),
        };
        let all = !found.are_ambiguous() && value == found.preferred();
        (!all).then(|| Kept {
            name: name.to_owned(),
            spelling: self.identity.spelling,
            value: value.map(<[u8]>::to_vec),
        })
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
pub(super) fn url_decode(text: &[u8]) -> Option<Cow<'_, [u8]>> {
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
    use crate::session::cookie::rewrite;
    use crate::session::scheme::tests::CARRIED;

    const PHP: Identity = Identity {
        pick: Pick::First,
        spelling: Spelling::Php,
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
            spelling: Spelling::Exact,
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

    /// What a backend gets of a Cookie header.
    fn kept(identity: &Identity, line: &str) -> String {
        let verifier = identity.clone().verifier(Some(&secrets())).unwrap();
        let found = verifier.cookies([line.as_bytes()], "sid");
        let choice = verifier.choose(found.as_slice(), &CARRIED);
        let kept = verifier.kept("sid", &found, &choice);
        let left = kept.and_then(|kept| rewrite(line.as_bytes(), &[kept]));
        left.map_or(line.to_owned(), |left| String::from_utf8(left).unwrap())
    }

    #[test]
    fn a_backend_gets_what_was_chosen_and_nothing_that_some_read_otherwise() {
        let last = Identity { pick: Pick::Last, ..PHP };
        let raw = Identity { unquote: true, spelling: Spelling::Unknown, ..PHP };
        let (a, b) = (ID, OTHER);
        for (identity, line, left) in [
            (&PHP, format!("x=1; sid={a}; y=2"), format!("x=1; sid={a}; y=2")),
            (&PHP, format!("sid={a}; sid={a}"), format!("sid={a}; sid={a}")),
            (&PHP, format!("sid={a}; x=1; sid={b}"), format!("sid={a}; x=1")),
            (&last, format!("sid={a}; x=1; sid={b}"), format!("x=1; sid={b}")),
            // Other parsers see another one, where we see one or none.
            (&last, format!("sid={a}; x=1 sid={b}"), format!("sid={a}")),
            (&last, format!("x=1 sid={b}; y=2"), "y=2".to_owned()),
            (&PHP, format!("s%69d={b}; y=2"), "y=2".to_owned()),
            (&raw, format!("SID={b}; y=2"), format!("SID={b}; y=2")),
            (&PHP, format!("SID={b}; y=2"), format!("SID={b}; y=2")),
            // Whoever skips the one that counts, but is no id, must not find the next.
            (&PHP, format!("sid=short; sid={b}"), "sid=short".to_owned()),
            (&PHP, format!("sid=a\"b; x=1; sid={b}"), "x=1".to_owned()),
            (&last, format!("sid={b}; sid=short"), "sid=short".to_owned()),
            // Nor where it ends an id at what makes it none to us.
            (&PHP, format!("sid={a} x; y=2"), "y=2".to_owned()),
            (&PHP, format!("sid={a}\\; y=2"), "y=2".to_owned()),
            (&PHP, format!("sid=\"{a}\"; y=2"), "y=2".to_owned()),
            (&PHP, format!("sid={a}%00; y=2"), "y=2".to_owned()),
            (&PHP, format!("sid={a}%00%zz; y=2"), "y=2".to_owned()),
            (&PHP, format!("sid={a}\u{a0}; y=2"), "y=2".to_owned()),
            (&raw, format!("sid=\"{a}\"; y=2"), format!("sid=\"{a}\"; y=2")),
            (&raw, format!("sid=\"\\{a}\"; y=2"), "y=2".to_owned()),
            (&PHP, "sid=short; y=2".to_owned(), "sid=short; y=2".to_owned()),
            (&PHP, "sid=; y=2".to_owned(), "sid=; y=2".to_owned()),
        ] {
            assert_eq!(kept(identity, &line), left, "{line}");
        }
        let express = express();
        let moved = format!("sid={FORGED}; sid={SIGNED}");
        assert_eq!(kept(&express, &moved), format!("sid={SIGNED}"));
        // Of more than are tried none is left to be taken.
        let many = format!("sid={FORGED}; ").repeat(MAX_CANDIDATES) + "sid=" + SIGNED;
        assert!(!kept(&express, &many).contains(SIGNED));
    }

    #[test]
    fn only_the_first_signature_beside_is_left() {
        let koa = Scheme::Keygrip { prefix: String::new() };
        let koa = Identity { scheme: koa, ..express() }.verifier(Some(&secrets())).unwrap();
        for (line, left) in [
            ("sid=a; sid.sig=x", None),
            ("sid=a; sid.sig=x; sid.sig=y", Some("sid=a; sid.sig=x")),
            ("sid=a; \tsid.sig=x; y=1 sid.sig=y", Some("sid=a; sid.sig=x")),
            ("sid=a; sid.sig=\"x", Some("sid=a")),
        ] {
            let found = koa.signatures([line.as_bytes()], "sid.sig");
            let kept = koa.kept("sid.sig", &found, &Choice::None);
            let rewritten = kept.and_then(|kept| rewrite(line.as_bytes(), &[kept]));
            assert_eq!(rewritten.as_deref(), left.map(str::as_bytes), "{line}");
        }
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
