//! What the bytes of a stored session mean: the formats' names, and bytes → [`Value`].
//!
//! To add a format: a file in `format/` and a row in [`FORMATS`].

#![forbid(unsafe_code)]

mod aspnet;
mod beaker;
mod budget;
mod calendar;
mod cursor;
mod django_signed;
mod gob;
mod graph;
#[cfg(test)]
mod hostile;
mod igbinary;
mod jackson;
mod java;
mod json;
mod marshal;
mod msgpack;
mod msm;
mod number;
mod php;
mod pickle;
mod tried;
mod wanted;
mod wrapper;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use serde_json::{Map, Value};

use self::budget::Budget;
use self::wrapper::{Wrapper, WRAPPERS};
use crate::config::{unknown, ConfigError};
use crate::session::envelope::{Cipher, Encrypter};
use crate::session::secrets::Secrets;

pub use tried::{Outcome, Tried};
pub use wanted::Wanted;

/// The deepest nesting that is read, in any format: serde_json's own limit.
pub const MAX_DEPTH: usize = 127;

/// A format by its name in `session_redis_format`.
#[derive(Debug)]
struct Format {
    name: &'static str,
    /// Reads a whole value, of which the wanted parts must be in the result. Whether it is malformed does
    /// not depend on what is wanted. All that is made of it is drawn from the budget.
    decode: Decode,
    /// Whether a value begins as this format's values do: cheap, for `auto` and for messages.
    begins: fn(&[u8]) -> bool,
}

type Decode = fn(&[u8], &Wanted, &Budget) -> Result<Value, Reason>;

/// All formats. `auto` tries them in this order: first those that prove themselves soonest.
const FORMATS: &[Format] = &[
    Format { name: "json", decode: json::decode, begins: json::begins },
    Format { name: "java", decode: java::decode, begins: java::begins },
    Format { name: "igbinary", decode: igbinary::decode, begins: igbinary::begins },
    Format { name: "gob", decode: gob::decode, begins: gob::begins },
    Format { name: "marshal", decode: marshal::decode, begins: marshal::begins },
    Format { name: "aspnet", decode: aspnet::decode, begins: aspnet::begins },
    Format { name: "beaker", decode: beaker::decode, begins: beaker::begins },
    Format { name: "pickle", decode: pickle::decode, begins: pickle::begins },
    Format { name: "django_signed", decode: django_signed::decode, begins: django_signed::begins },
    Format { name: "msm", decode: msm::decode, begins: msm::begins },
    Format { name: "php_serialize", decode: php::decode_serialize, begins: php::begins_serialize },
    Format { name: "php", decode: php::decode, begins: php::begins },
    Format { name: "php_binary", decode: php::decode_binary, begins: php::begins_binary },
    Format { name: "jackson", decode: jackson::decode, begins: |_| false },
    Format { name: "msgpack", decode: msgpack::decode, begins: msgpack::begins },
    Format { name: "jvm", decode: jvm, begins: |_| false },
    Format { name: "jvm_tagged", decode: jvm_tagged, begins: |_| false },
    Format { name: "raw", decode: raw, begins: |_| false },
    AUTO,
];

const AUTO: Format = Format { name: "auto", decode: auto, begins: |_| false };

/// Why a format could not read a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Not of this format, or cut off.
    Malformed,
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// It would become more than its budget allows.
    TooLarge,
}

/// A value that was not read. Never holds a byte of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// The format or wrapper that was expected.
    pub format: &'static str,
    /// What went wrong.
    pub reason: Reason,
    /// Another format that the value begins like.
    pub looks_like: Option<&'static str>,
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.format {
            "auto" => f.write_str("value of a known format expected")?,
            format => write!(f, "value of format \"{format}\" expected")?,
        }
        match (self.reason, self.looks_like) {
            (Reason::Malformed, Some(format)) => write!(f, ", it begins like \"{format}\""),
            (Reason::Malformed, None) => f.write_str(", it is malformed or cut off"),
            (Reason::TooDeep, _) => f.write_str(", it is nested too deep"),
            (Reason::TooLarge, _) => f.write_str(", it becomes more than \"max_size\" allows"),
        }
    }
}

impl std::error::Error for Undecodable {}

/// What `session_redis_format` says: how a stored value is read.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Outermost first.
    wrappers: Vec<&'static Wrapper>,
    format: &'static Format,
    /// For the wrapper `encrypted`.
    encrypter: Option<Arc<Encrypter>>,
    /// The largest session of the store, which bounds what each may become.
    max_size: usize,
}

/// By the names, the keys and the bound.
impl PartialEq for Pipeline {
    fn eq(&self, other: &Self) -> bool {
        self.format.name == other.format.name
            && self.wrapper_names().eq(other.wrapper_names())
            && self.encrypter == other.encrypter
            && self.max_size == other.max_size
    }
}

impl Eq for Pipeline {}

impl Default for Pipeline {
    fn default() -> Self {
        Self::of(&AUTO)
    }
}

impl Pipeline {
    /// The largest session, in bytes, where a store says nothing else.
    pub const MAX_SIZE: usize = 64 * 1024;

    /// How many wrappers a value may be in.
    const MAX_WRAPPERS: usize = 4;

    /// Reads the directive's arguments: the names of a format and of what it is wrapped in, outermost first.
    pub fn parse(names: &[&str]) -> Result<Self, ConfigError> {
        let is_wrapper = |name: &&str| WRAPPERS.iter().any(|wrapper| wrapper.name == *name);
        let wrapped = names.iter().take_while(|name| is_wrapper(name)).count();
        let (wrappers, format) = names.split_at(wrapped);
        let (format, more) = match (format, wrappers) {
            ([format, more @ ..], _) => (format, more),
            ([], []) => return Err(ConfigError::new("names no format")),
            ([], [.., last]) => {
                return Err(ConfigError::new(format!("\"{last}\" needs a format after it"))
                    .hint("\"auto\" tries those it knows"));
            }
        };
        let Some(format) = FORMATS.iter().find(|known| known.name == *format) else {
            let known = FORMATS.iter().map(|format| format.name);
            let known: Vec<&str> = known.chain(WRAPPERS.iter().map(|row| row.name)).collect();
            return Err(unknown("format", format, &known));
        };
        if let Some(second) = more.first() {
            return Err(match is_wrapper(second) {
                true => ConfigError::new(format!("\"{second}\" stands after the format"))
                    .hint("what a value is wrapped in stands first, outermost first"),
                false => ConfigError::new(format!("\"{second}\" is one format too many"))
                    .hint("formats are no alternatives; \"auto\" tries those it knows"),
            });
        }
        if wrappers.len() > Self::MAX_WRAPPERS {
            return Err(ConfigError::new(format!(
                "{} are more than the {} that a value may be wrapped in",
                wrappers.len(),
                Self::MAX_WRAPPERS
            )));
        }
        let row = |name: &&str| WRAPPERS.iter().find(|wrapper| wrapper.name == *name);
        Ok(Self { wrappers: wrappers.iter().filter_map(row).collect(), ..Self::of(format) })
    }

    fn of(format: &'static Format) -> Self {
        Self { wrappers: Vec::new(), format, encrypter: None, max_size: Self::MAX_SIZE }
    }

    /// Takes the keys of the wrapper `encrypted`, where it stands, and the cipher that is configured for them.
    pub fn with_secrets(
        mut self,
        secrets: Option<&Secrets>,
        cipher: Option<Cipher>,
    ) -> Result<Self, ConfigError> {
        if !self.wrapper_names().any(|name| name == wrapper::ENCRYPTED) {
            return Ok(self);
        }
        let Some(secrets) = secrets else {
            return Err(ConfigError::new(format!(
                "format \"{}\" needs \"session_redis_secret_file\" with the keys",
                wrapper::ENCRYPTED
            )));
        };
        self.encrypter = Some(Arc::new(Encrypter::new(secrets, cipher)?));
        Ok(self)
    }

    /// Takes the size of the largest session of the store, in bytes: it bounds what a session may become.
    #[must_use]
    pub fn with_max_size(mut self, max_size: usize) -> Self {
        self.max_size = max_size;
        self
    }

    /// Reads a stored value; the result holds at least what `wanted` names, where it stands.
    ///
    /// An empty value, also one in wrappers, is a session without names. Reading less of a value never fails
    /// where reading all of it succeeds, and finds the same.
    pub fn decode(&self, raw: &[u8], wanted: &Wanted) -> Result<Value, Undecodable> {
        let budget = Budget::of(raw.len(), self.max_size);
        self.read(raw, wanted, &budget).map_err(|error| self.told(error, raw, &budget))
    }

    /// An error that also tells what the value begins like, which takes time.
    fn told(&self, error: Undecodable, raw: &[u8], budget: &Budget) -> Undecodable {
        let is_told = error.reason == Reason::Malformed && error.format == self.format.name;
        let plain = if is_told { self.plain(raw, budget).ok() } else { None };
        let looks_like = plain.and_then(|plain| looks_like(&plain));
        Undecodable { looks_like: looks_like.filter(|name| *name != self.format.name), ..error }
    }

    /// When the entry of Rails' cache that `raw` is ends, in Unix ms; `None`: never, or it is none.
    pub fn entry_end(&self, raw: &[u8]) -> Option<u64> {
        marshal::entry_end(raw, &Budget::of(raw.len(), self.max_size))
    }

    /// What the wrappers are around.
    fn plain<'v>(&self, raw: &'v [u8], budget: &Budget) -> Result<Cow<'v, [u8]>, Undecodable> {
        let mut value = Cow::Borrowed(raw);
        for wrapper in &self.wrappers {
            if !value.is_empty() && (wrapper.wraps)(&value) {
                let unwrapped = (wrapper.unwrap)(&value, self.encrypter.as_deref(), budget);
                value = Cow::Owned(unwrapped.map_err(|reason| Undecodable {
                    format: wrapper.name,
                    reason,
                    looks_like: None,
                })?);
            }
        }
        Ok(value)
    }

    fn read(&self, raw: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Undecodable> {
        let value = self.plain(raw, budget)?;
        if value.is_empty() {
            return Ok(Value::Object(Map::new()));
        }
        (self.format.decode)(&value, wanted, budget).map_err(|reason| self.undecodable(reason))
    }

    fn undecodable(&self, reason: Reason) -> Undecodable {
        Undecodable { format: self.format.name, reason, looks_like: None }
    }

    /// Reads a Redis hash, of names and values: an object whose members are decoded one by one.
    ///
    /// A value that is empty stands for a member that was removed, one that cannot be decoded for null. Only
    /// where not a single one can be decoded the hash cannot: that does not depend on what is wanted.
    pub fn decode_hash(
        &self,
        fields: &[(Vec<u8>, Vec<u8>)],
        wanted: &Wanted,
    ) -> Result<Value, Undecodable> {
        let too_large = |reason| self.undecodable(reason);
        let stored = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        let budget = Budget::of(stored, self.max_size);
        let mut object = budget.object(wanted.members(fields.len()));
        let (mut decoded, mut failed) = (false, None);
        let there = || fields.iter().filter(|(_, value)| !value.is_empty());
        for (name, value) in there() {
            let part = wanted.member(name);
            if *part == Wanted::Nothing {
                continue;
            }
            let read = self.field(value, part, &budget)?;
            let member = read.map_err(|error| failed = Some((error, value))).ok();
            decoded |= member.is_some();
            let name = budget.text(name).map_err(too_large)?;
            object.insert(name, member.unwrap_or_default()).map_err(too_large)?;
        }
        for (_, value) in there().filter(|(name, _)| *wanted.member(name) == Wanted::Nothing) {
            if decoded {
                break;
            }
            match self.field(value, &Wanted::Nothing, &budget)? {
                Ok(_) => decoded = true,
                Err(error) => failed = Some((error, value)),
            }
        }
        match failed {
            Some((error, value)) if !decoded => Err(self.told(error, value, &budget)),
            _ => Ok(object.into_value()),
        }
    }

    /// Reads the value of a field. Where nothing is left of the session's budget, the whole hash cannot be read.
    fn field(
        &self,
        value: &[u8],
        wanted: &Wanted,
        budget: &Budget,
    ) -> Result<Result<Value, Undecodable>, Undecodable> {
        /// What it costs to try a value, however short it is.
        const FIELD: usize = 96;
        budget.draw(FIELD).map_err(|reason| self.undecodable(reason))?;
        match self.read(value, wanted, budget) {
            Err(error) if error.reason == Reason::TooLarge => Err(error),
            read => Ok(read),
        }
    }

    fn wrapper_names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.wrappers.iter().map(|wrapper| wrapper.name)
    }
}

/// The first format or wrapper that a value begins like.
fn looks_like(value: &[u8]) -> Option<&'static str> {
    let format = FORMATS.iter().find(|format| (format.begins)(value)).map(|format| format.name);
    format.or_else(|| Wrapper::proven(value).map(|wrapper| wrapper.name))
}

/// `raw`: the value itself.
fn raw(value: &[u8], _: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    budget.text(value).map(Value::String)
}

/// `jvm`: what Java's stores of sessions write, each value by the JDK's serialization or else by Jackson, of
/// whose type tags nothing is left.
fn jvm(value: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    jdk_or(jackson::decode, value, wanted, budget)
}

/// `jvm_tagged`: the same with Jackson's type tags.
fn jvm_tagged(value: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    jdk_or(json::decode, value, wanted, budget)
}

/// No JSON begins as a stream of the JDK does.
fn jdk_or(json: Decode, value: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    let decode = if java::begins(value) { java::decode } else { json };
    decode(value, wanted, budget)
}

/// `auto`: what is compressed is taken out, once, where the value proves to be so; then the first format that
/// a value begins like and in which it is well formed to its end. That does not depend on what is wanted, so
/// that a session is read alike everywhere.
fn auto(value: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    // Before the formats: what hardly compresses still looks like one of them, behind an odd name.
    let plain = Wrapper::proven(value).map(|wrapper| (wrapper.unwrap)(value, None, budget));
    match plain {
        None => auto_plain(value, wanted, budget),
        Some(Ok(plain)) if plain.is_empty() => Ok(Value::Object(Map::new())),
        Some(Ok(plain)) => auto_plain(&plain, wanted, budget),
        Some(Err(reason)) => match auto_plain(value, wanted, budget) {
            Err(Reason::Malformed) => Err(reason),
            read => read,
        },
    }
}

fn auto_plain(value: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    let likely = FORMATS.iter().filter(|format| (format.begins)(value));
    let mut read = likely.map(|format| (format.decode)(value, wanted, budget));
    read.find(|read| *read != Err(Reason::Malformed)).unwrap_or(Err(Reason::Malformed))
}

/// Bytes as text: themselves where they are UTF-8, else `base64:` and their base64.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    const PREFIX: &str = "base64:";
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let mut text = String::with_capacity(PREFIX.len() + bytes.len().div_ceil(3) * 4);
            text.push_str(PREFIX);
            STANDARD.encode_string(bytes, &mut text);
            Cow::Owned(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::pointer::{Pointer, Selected};

    fn auto(value: &[u8], wanted: &Wanted) -> Result<Value, Reason> {
        super::auto(value, wanted, &budget::tests::of(value))
    }

    pub(super) fn pointers(texts: &[impl AsRef<str>]) -> Vec<Pointer> {
        texts.iter().map(|text| Pointer::parse(text.as_ref()).unwrap()).collect()
    }

    fn decode_as(format: &str, raw: &[u8]) -> Result<Value, Reason> {
        Pipeline::parse(&[format]).unwrap().decode(raw, &Wanted::All).map_err(|error| error.reason)
    }

    fn pick(pointer: &Pointer, value: &Value) -> Option<Vec<Value>> {
        match pointer.select(value) {
            Selected::None => None,
            Selected::One(found) => Some(vec![found.clone()]),
            Selected::Many(found) => Some(found.into_iter().cloned().collect()),
        }
    }

    /// Checks that reading what `wanted` names of `raw` finds what reading all of it finds, and that what is
    /// malformed is so whatever is wanted.
    pub(super) fn parts_agree(
        decode: impl Fn(&[u8], &Wanted) -> Result<Value, Reason>,
        raw: &[u8],
        wanted: &[impl AsRef<str>],
    ) {
        let wanted = pointers(wanted);
        let whole = decode(raw, &Wanted::All);
        for less in [Wanted::Nothing, Wanted::of(&wanted)] {
            let malformed = decode(raw, &less) == Err(Reason::Malformed);
            assert_eq!(malformed, whole == Err(Reason::Malformed), "{less:?}");
        }
        let Ok(whole) = whole else { return };
        let part =
            decode(raw, &Wanted::of(&wanted)).expect("what can be read whole can be read in part");
        for pointer in &wanted {
            assert_eq!(pick(pointer, &part), pick(pointer, &whole), "{}", pointer.as_str());
        }
    }

    /// Checks that no part of a captured session of `format`, nor of the `others`, is a session itself.
    pub(super) fn cut_off_is_refused(format: &str, others: &[Vec<u8>]) {
        let Format { decode, .. } = FORMATS.iter().find(|known| known.name == format).unwrap();
        let captured = captured().into_iter().filter(|session| session.format == format);
        let captured: Vec<_> = captured.map(|session| session.raw).collect();
        assert!(!captured.is_empty());
        for session in captured.iter().chain(others) {
            for cut in 0..session.len() {
                for wanted in [Wanted::All, Wanted::Nothing] {
                    let read = decode(&session[..cut], &wanted, &budget::tests::of(session));
                    assert_eq!(read, Err(Reason::Malformed), "{cut}");
                }
            }
        }
    }

    /// Where a value is spoilt: a byte replaced, put in or taken away.
    pub(super) type Edit = (prop::sample::Index, u8, u8);

    /// Some edits, of bytes that mean something to a format above all.
    pub(super) fn edits(bytes: &'static str) -> impl Strategy<Value = Vec<Edit>> {
        let byte = prop_oneof![4 => prop::sample::select(bytes.as_bytes()), 1 => any::<u8>()];
        proptest::collection::vec((any::<prop::sample::Index>(), 0..3_u8, byte), 0..4)
    }

    /// A value with these edits.
    pub(super) fn edited(raw: &[u8], edits: &[Edit]) -> Vec<u8> {
        let mut raw = raw.to_vec();
        for (place, kind, byte) in edits {
            let at = place.index(raw.len() + 1);
            let replaced = usize::from(*kind != 1 && at < raw.len());
            raw.splice(at..at + replaced, (*kind != 2).then_some(*byte));
        }
        raw
    }

    /// A session captured from a framework, as the files in `t/data` tell it.
    pub(super) struct Captured {
        pub(super) name: String,
        pub(super) format: String,
        pub(super) raw: Vec<u8>,
        expected: Value,
    }

    /// The format that those files mean by these words.
    fn format_named(words: &str) -> &str {
        match words {
            "php_serialize in php_serialize string (double)" | "json in php_serialize string" => {
                "php_serialize"
            }
            "pickle(str: base64(pickle))" => "beaker",
            _ if words.starts_with("django signing string") => "django_signed",
            "marshal (flag bit 1 = marshalled, bit 2 = zlib)" => "marshal",
            "php_msgpack" => "msgpack",
            _ if words.starts_with("aspnet session (field data)") => "aspnet",
            _ if words.ends_with("as a JDK-serialised ConcurrentHashMap") => "msm",
            _ => words,
        }
    }

    /// Those of `t/data` in a format that is known here.
    pub(super) fn captured() -> Vec<Captured> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/t/data");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let json =
            files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        let told = json.map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap());
        told.filter_map(|told: Value| {
            let format = format_named(told["value_format"].as_str()?).to_owned();
            Pipeline::parse(&[&format]).ok()?;
            let raw = told["value_base64"].as_str().or(told["hash_base64"]["data"].as_str())?;
            let raw = STANDARD.decode(raw).unwrap();
            let name = told["name"].as_str().unwrap().to_owned();
            Some(Captured { name, format, raw, expected: told["expected"].clone() })
        })
        .collect()
    }

    /// Whether two values are the same to a reader: of floats the value counts, not the spelling.
    fn same(one: &Value, two: &Value) -> bool {
        match (one, two) {
            (Value::Array(one), Value::Array(two)) => {
                one.len() == two.len() && one.iter().zip(two).all(|(one, two)| same(one, two))
            }
            (Value::Object(one), Value::Object(two)) => {
                let member = |(name, one)| two.get(name).is_some_and(|two| same(one, two));
                one.len() == two.len() && one.iter().all(member)
            }
            (Value::Number(one), Value::Number(two)) => {
                let float = |number: &serde_json::Number| number.as_str().contains(['.', 'e']);
                one == two || float(one) && float(two) && one.as_f64() == two.as_f64()
            }
            _ => one == two,
        }
    }

    /// A pointer to each value in `value`.
    pub(super) fn places(value: &Value) -> Vec<String> {
        let below: Vec<(String, &Value)> = match value {
            Value::Array(elements) => {
                elements.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
            }
            Value::Object(members) => members
                .iter()
                .map(|(name, value)| (name.replace('~', "~0").replace('/', "~1"), value))
                .collect(),
            _ => Vec::new(),
        };
        let deeper = below.into_iter().flat_map(|(name, value)| {
            places(value).into_iter().map(move |place| format!("/{name}{place}"))
        });
        std::iter::once(String::new()).chain(deeper).collect()
    }

    #[test]
    fn captured_sessions_read_as_expected() {
        let captured = captured();
        assert!(captured.len() >= 18, "{} files", captured.len());
        for session in captured {
            for names in [&session.format, "auto"] {
                let value =
                    Pipeline::parse(&[names]).unwrap().decode(&session.raw, &Wanted::All).unwrap();
                assert!(same(&value, &session.expected), "{} by {names}: {value}", session.name);
            }
        }
    }

    #[test]
    fn each_place_of_a_captured_session_can_be_read_alone() {
        for session in captured() {
            let format = FORMATS.iter().find(|format| format.name == session.format).unwrap();
            if session.raw.is_empty() {
                continue;
            }
            for place in places(&session.expected) {
                let decode = |raw: &[u8], wanted: &Wanted| {
                    (format.decode)(raw, wanted, &budget::tests::of(raw))
                };
                parts_agree(decode, &session.raw, &[place]);
            }
        }
    }

    #[test]
    fn a_value_of_another_format_is_named() {
        let expected = |format, raw: &[u8]| {
            Pipeline::parse(&[format])
                .unwrap()
                .decode(raw, &Wanted::Nothing)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            expected("php", b"a:1:{s:1:\"k\";i:5;}"),
            "value of format \"php\" expected, it begins like \"php_serialize\""
        );
        assert_eq!(
            expected("json", b"uid|i:5;"),
            "value of format \"json\" expected, it begins like \"php\""
        );
        assert_eq!(
            expected("php_serialize", b"\x03uidi:5;"),
            "value of format \"php_serialize\" expected, it begins like \"php_binary\""
        );
        assert_eq!(
            expected("php_binary", b"{\"secret\":1}"),
            "value of format \"php_binary\" expected, it begins like \"json\""
        );
        assert_eq!(
            expected("php", b"uid|s:9:\"secret"),
            "value of format \"php\" expected, it is malformed or cut off"
        );
        assert_eq!(
            expected("auto", b"{\"secret"),
            "value of a known format expected, it begins like \"json\""
        );
        assert_eq!(
            expected("auto", b"\x80secret"),
            "value of a known format expected, it is malformed or cut off"
        );
        assert_eq!(
            expected("json", "[".repeat(200).as_bytes()),
            "value of format \"json\" expected, it is nested too deep"
        );
    }

    #[test]
    fn auto_reads_a_value_alike_whatever_is_wanted() {
        // In php the second name stands for nothing; in php_binary all is one name of 123 bytes.
        let value = format!("{{{:x<123}N;", "a|b:1;b|R:9;");
        parts_agree(auto, value.as_bytes(), &["/{a", "/x"]);
        assert_eq!(auto(value.as_bytes(), &Wanted::All), decode_as("php_binary", value.as_bytes()));
    }

    #[test]
    fn an_empty_value_is_a_session_without_names() {
        for format in FORMATS {
            let value = Pipeline::of(format).decode(b"", &Wanted::All);
            assert_eq!(value, Ok(Value::Object(Map::new())), "{}", format.name);
        }
    }

    #[test]
    fn raw_is_the_value_itself() {
        let raw = Pipeline::parse(&["raw"]).unwrap();
        assert_eq!(raw.decode("é{".as_bytes(), &Wanted::All), Ok(Value::from("é{")));
        assert_eq!(raw.decode(b"\xff\x00", &Wanted::All), Ok(Value::from("base64:/wA=")));
    }

    #[test]
    fn names_are_checked() {
        let error = |names: &[&str]| Pipeline::parse(names).unwrap_err().to_string();
        let unknown = error(&["phpserialize"]);
        assert!(unknown.contains("did you mean \"php_serialize\"?"), "{unknown}");
        assert!(unknown.contains("php_binary") && unknown.contains("base64"), "{unknown}");
        assert!(error(&["zlb", "json"]).contains("unknown format \"zlb\"; did you mean \"zlib\"?"));
        assert!(error(&["json", "php"]).contains("\"php\" is one format too many"));
        assert_eq!(
            error(&["zlib"]),
            "\"zlib\" needs a format after it; \"auto\" tries those it knows"
        );
        assert!(error(&["json", "zlib"]).contains("\"zlib\" stands after the format"));
        assert!(error(&["base64", "json", "zlib", "php"]).contains("\"zlib\" stands after"));
        assert_eq!(
            error(&["base64", "base64", "base64", "base64", "base64", "json"]),
            "5 are more than the 4 that a value may be wrapped in"
        );
        assert!(Pipeline::parse(&["base64", "base64", "base64", "zlib", "json"]).is_ok());
        assert!(error(&[]).contains("no format"));
    }

    #[test]
    fn pipelines_are_equal_by_names_and_keys() {
        let pipeline = |names: &[&str]| Pipeline::parse(names).unwrap();
        assert_eq!(pipeline(&["auto"]), Pipeline::default());
        assert_ne!(pipeline(&["json"]), Pipeline::default());
        assert_ne!(pipeline(&["zlib", "json"]), pipeline(&["json"]));
        assert_ne!(pipeline(&["zlib", "base64", "json"]), pipeline(&["base64", "zlib", "json"]));
        let keyed = |key: &str| {
            let secrets = Secrets::parse_args(&[key]).unwrap();
            pipeline(&["encrypted", "json"]).with_secrets(Some(&secrets), None).unwrap()
        };
        assert_eq!(keyed(KEY), keyed(KEY));
        assert_ne!(keyed(KEY), keyed("0123456789abcdef"));
        assert_ne!(keyed(KEY), pipeline(&["encrypted", "json"]));
    }

    /// `{"uid":7}`, compressed by zlib, and that in base64.
    const ZLIB: &[u8] = b"\x78\x9c\xab\x56\x2a\xcd\x4c\x51\xb2\x32\xaf\x05\x00\x0f\x2a\x02\xf0";
    const BASE64_ZLIB: &[u8] = b"eJyrVirNTFGyMq8FAA8qAvA=";

    #[test]
    fn wrappers_are_taken_off_in_their_order() {
        let read = |names: &[&str], raw: &[u8]| {
            let read = Pipeline::parse(names).unwrap().decode(raw, &Wanted::All);
            read.map_err(|error| error.to_string())
        };
        let session = Ok(json!({ "uid": 7 }));
        assert_eq!(read(&["zlib", "json"], ZLIB), session);
        assert_eq!(read(&["base64", "zlib", "json"], BASE64_ZLIB), session);
        assert_eq!(read(&["base64", "zlib", "auto"], BASE64_ZLIB), session);
        assert_eq!(
            read(&["zlib", "base64", "json"], BASE64_ZLIB),
            Err("value of format \"json\" expected, it begins like \"zlib\"".to_owned())
        );
        // What is stored as it is.
        for name in ["zlib", "gzip", "zstd", "lz4", "lzf"] {
            assert_eq!(read(&[name, "json"], b"{\"uid\":7}"), session, "{name}");
        }
        let expected = "value of format \"zlib\" expected, it is malformed or cut off";
        assert_eq!(read(&["zlib", "json"], &ZLIB[..9]), Err(expected.to_owned()));
        assert_eq!(
            read(&["base64", "json"], b"{\"uid\":7}"),
            Err("value of format \"base64\" expected, it is malformed or cut off".to_owned())
        );
        // One byte, and its repetition over and over.
        let bomb = [&b"\x00a"[..], &b"\xe0\xff\x00".repeat(4096)].concat();
        assert_eq!(
            read(&["lzf", "json"], &bomb),
            Err("value of format \"lzf\" expected, it becomes more than \"max_size\" allows"
                .to_owned())
        );
    }

    #[test]
    fn a_captured_session_that_django_redis_compressed() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/t/data/django-redis-json-zlib.json");
        let told: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let raw = STANDARD.decode(told["value_base64"].as_str().unwrap()).unwrap();
        for names in [&["zlib", "json"][..], &["auto"]] {
            let session = Pipeline::parse(names).unwrap().decode(&raw, &Wanted::All).unwrap();
            assert!(same(&session, &told["expected"]), "{names:?}: {session}");
        }
    }

    #[test]
    fn auto_takes_off_one_wrapper_that_proves_itself() {
        let read = |raw: &[u8]| decode_as("auto", raw);
        let bytes = |base64: &str| STANDARD.decode(base64).unwrap();
        assert_eq!(read(ZLIB), Ok(json!({ "uid": 7 })));
        assert_eq!(read(&bytes("KLUv/SAIQQAAdWlkfGk6Nzs=")), Ok(json!({ "uid": 7 })));
        assert_eq!(read(&bytes("ywgAAACAdWlkfGk6Nzs=")), Ok(json!({ "uid": 7 })));
        // In zlib twice, and in base64.
        assert_eq!(read(&bytes("eJyrmLM6TOusT+Amo/WsDPxaTB8AQRUGbQ==")), Err(Reason::Malformed));
        assert_eq!(read(BASE64_ZLIB), Err(Reason::Malformed));
        // What only begins so.
        assert_eq!(read(b"hC|i:7;"), Ok(json!({ "hC": 7 })));
        let looks_like = |raw| {
            let json = Pipeline::parse(&["json"]).unwrap();
            json.decode(raw, &Wanted::Nothing).unwrap_err().looks_like
        };
        assert_eq!(looks_like(ZLIB), Some("zlib"));
        parts_agree(auto, ZLIB, &["/uid", "/x"]);
    }

    #[test]
    fn an_empty_value_in_wrappers_is_a_session_without_names() {
        let nothing = Ok(json!({}));
        for (names, raw) in [
            (&["zlib", "json"][..], &b"x\x9c\x03\x00\x00\x00\x00\x01"[..]),
            (&["auto"], b"x\x9c\x03\x00\x00\x00\x00\x01"),
            (&["base64", "zlib", "php"], b"eJwDAAAAAAE="),
            (&["base64", "zlib", "php"], b""),
            (&["encrypted", "php_serialize"], b""),
        ] {
            assert_eq!(Pipeline::parse(names).unwrap().decode(raw, &Wanted::All), nothing);
        }
    }

    fn fields(fields: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
        fields
            .iter()
            .map(|(name, raw)| (name.as_bytes().to_vec(), raw.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn a_hash_is_an_object_of_what_its_fields_hold() {
        let json = Pipeline::parse(&["json"]).unwrap();
        let all = fields(&[("a", "{\"b\":[1,2]}"), ("c", "7"), ("removed", ""), ("odd", "{")]);
        let read = |texts: &[&str]| json.decode_hash(&all, &Wanted::of(&pointers(texts)));
        assert_eq!(
            json.decode_hash(&all, &Wanted::All),
            Ok(json!({ "a": { "b": [1, 2] }, "c": 7, "odd": null }))
        );
        assert_eq!(read(&["/a/b/1"]), Ok(json!({ "a": { "b": [null, 2] } })));
        assert_eq!(read(&["/odd", "/removed", "/x"]), Ok(json!({ "odd": null })));
        assert_eq!(json.decode_hash(&all, &Wanted::Nothing), Ok(json!({})));
    }

    #[test]
    fn a_hash_of_which_no_field_can_be_decoded_is_not_either() {
        let json = Pipeline::parse(&["json"]).unwrap();
        let odd = fields(&[("a", "uid|i:5;"), ("gone", "")]);
        for wanted in [Wanted::All, Wanted::Nothing, Wanted::of(&pointers(&["/a"]))] {
            let error = json.decode_hash(&odd, &wanted).unwrap_err().to_string();
            assert_eq!(error, "value of format \"json\" expected, it begins like \"php\"");
        }
        for nothing in [fields(&[]), fields(&[("gone", "")])] {
            assert_eq!(json.decode_hash(&nothing, &Wanted::All), Ok(json!({})));
        }
    }

    /// 32 bytes from 0 on.
    const KEY: &str = "base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn encrypted_sessions_of_laravel() {
        // Made by PHP as Laravel's cache and `EncryptedStore` do: of an array, and of JSON.
        const ARRAY: &[u8] = br#"s:288:"eyJpdiI6ImQrbStaby9JbmNFTzFOazdSZVFkMFE9PSIsInZhbHVlIjoiSmlUL2twdE50eGoxaitWanJDNDJmazdva290Q0R0R053VmhXMHAzQ3p1ZDZoblQwcFkyOUZCM09SOTBxZFBHWjlRZzlaWm1uVmpHY1puemQzSndCdmc9PSIsIm1hYyI6IjY1ZmU0ZTMzYjE4NThiZWNiNDE5ZjY1Yzg5YTJlMDFkNmQ4NjU5YjczYWJkNzUwOWYxNDQ3NzFhNTJlYTcwNTMiLCJ0YWciOiIifQ==";"#;
        const JSON: &[u8] = br#"s:164:"eyJpdiI6IkNvYzZZSkVGNEE1THY4cEsiLCJ2YWx1ZSI6ImxLV2xZbllFQmNvTEdENkRXTE1zdkdhSW5DT3pSV00vbThGNGRDcFlHZXQ4IiwibWFjIjoiIiwidGFnIjoiY2U1d2VHb24reWE0dTM1ajJhSDh6QT09In0=";"#;
        let secrets = Secrets::parse_args(&["0123456789abcdef", KEY]).unwrap();
        let pipeline = |format| Pipeline::parse(&["encrypted", format]).unwrap();
        let gcm = Secrets::parse_args(&[KEY]).unwrap();
        let [.., aes_256_gcm] = Cipher::ALL;
        let read = |format, raw: &[u8]| {
            let (keys, cipher) =
                if raw == JSON { (&gcm, Some(aes_256_gcm)) } else { (&secrets, None) };
            pipeline(format).with_secrets(Some(keys), cipher).unwrap().decode(raw, &Wanted::All)
        };
        let session = Ok(json!({ "uid": 7, "name": "\u{738b}" }));
        assert_eq!(read("php_serialize", ARRAY), session);
        assert_eq!(read("json", JSON), session);
        assert_eq!(read("auto", ARRAY), session);
        assert_eq!(read("auto", JSON), session);
        let error = "value of format \"encrypted\" expected, it is malformed or cut off";
        assert_eq!(read("json", b"{}").unwrap_err().to_string(), error);
        let without = pipeline("json").decode(JSON, &Wanted::All);
        assert_eq!(without.unwrap_err().to_string(), error);
    }

    #[test]
    fn what_is_encrypted_needs_keys() {
        let pipeline = |names: &[&str]| Pipeline::parse(names).unwrap();
        let secrets = Secrets::parse_args(&["no key"]).unwrap();
        assert_eq!(
            pipeline(&["encrypted", "json"]).with_secrets(None, None).unwrap_err().to_string(),
            "format \"encrypted\" needs \"session_redis_secret_file\" with the keys"
        );
        assert_eq!(
            pipeline(&["encrypted", "json"])
                .with_secrets(Some(&secrets), None)
                .unwrap_err()
                .to_string(),
            "secret 1: APP_KEY must be 16 or 32 bytes after \"base64:\""
        );
        let json = pipeline(&["zlib", "json"]);
        assert_eq!(json.clone().with_secrets(Some(&secrets), None), Ok(json.clone()));
        assert_eq!(json.clone().with_secrets(None, None), Ok(json));
    }
}
