//! The classes and functions whose calls have a fixed meaning: what Python's own types are saved as.

#![forbid(unsafe_code)]

use super::clock;
use super::objects::{Global, Objects, Special};
use crate::format::graph::{Id, Leaf, Node};

/// What comes of a call.
pub(super) enum Known<'r> {
    /// One of its arguments.
    Argument(Id),
    /// A new value.
    Node(Node<'r>),
    /// A text that is something besides.
    Special(String, Special<'r>),
    /// A dict of the pairs in a list.
    Pairs(Id),
    /// An object of any class, whose state is the value of the type that the class extends.
    Object {
        /// Its class.
        class: Global<'r>,
        /// That value; none for a class that extends nothing.
        state: Option<Id>,
    },
}

/// The class whose state is one great number.
pub(super) const UUID: Global<'static> = Global { module: b"uuid", name: b"UUID" };

/// How many arguments a known call has at most.
pub(super) const MOST_ARGUMENTS: usize = 3;

/// What `callable` makes of these arguments; `None` where it is not known, or not for such arguments.
pub(super) fn call<'r>(
    objects: &Objects<'r>,
    callable: Global<'r>,
    arguments: &[Id],
) -> Option<Known<'r>> {
    match (callable.module, callable.name, arguments) {
        (b"builtins" | b"__builtin__", name, _) => builtin(objects, name, arguments),
        // How the protocols before 3 write bytes.
        (b"_codecs", b"encode", [text, encoding]) => encoded(objects, *text, *encoding),
        (b"copyreg" | b"copy_reg", b"_reconstructor", [class, base, state]) => {
            let (Special::Global(class), Special::Global(base)) =
                (objects.special(*class)?, objects.special(*base)?)
            else {
                return None;
            };
            Some(Known::Object { class, state: (base.name != b"object").then_some(*state) })
        }
        (b"collections", b"OrderedDict", []) | (b"collections", b"defaultdict", [] | [_]) => {
            Some(Known::Node(Node::Map(Vec::new())))
        }
        // As Python 2 writes it.
        (b"collections", b"OrderedDict", [list]) => Some(Known::Pairs(*list)),
        (b"decimal", b"Decimal", [text]) => {
            bytes(objects, *text)?;
            Some(Known::Argument(*text))
        }
        (b"datetime", name, _) => moment(objects, name, arguments),
        // Django's UTC before 4.0.
        (b"pytz", b"_UTC", []) => Some(Known::Special("UTC".to_owned(), Special::Zone(0))),
        _ => None,
    }
}

/// `number` as a UUID is written.
pub(super) fn uuid(number: u128) -> String {
    let digits = format!("{number:032x}");
    let mut written = String::with_capacity(36);
    for (at, digit) in digits.char_indices() {
        if matches!(at, 8 | 12 | 16 | 20) {
            written.push('-');
        }
        written.push(digit);
    }
    written
}

fn builtin<'r>(objects: &Objects<'r>, name: &[u8], arguments: &[Id]) -> Option<Known<'r>> {
    match (name, arguments) {
        (b"set" | b"frozenset", []) => Some(Known::Node(Node::List(Vec::new()))),
        (b"set" | b"frozenset", [list]) => match objects.get(*list) {
            Node::List(_) => Some(Known::Argument(*list)),
            _ => None,
        },
        // Where the protocols before 3 write bytes, there are some.
        (b"bytes" | b"bytearray", []) => Some(Known::Node(Node::Text(b"".into()))),
        (b"bytearray", [text, encoding]) => encoded(objects, *text, *encoding),
        (b"bytearray", [written]) => {
            bytes(objects, *written)?;
            Some(Known::Argument(*written))
        }
        _ => None,
    }
}

/// Bytes as the characters of those numbers.
fn encoded<'r>(objects: &Objects<'r>, text: Id, encoding: Id) -> Option<Known<'r>> {
    let (b"latin1" | b"latin-1") = bytes(objects, encoding)? else { return None };
    let written = bytes(objects, text)?;
    if written.is_ascii() {
        return Some(Known::Argument(text));
    }
    let characters = std::str::from_utf8(written).ok()?.chars();
    let bytes = characters.map(|character| u8::try_from(u32::from(character)));
    Some(Known::Node(Node::Text(bytes.collect::<Result<Vec<u8>, _>>().ok()?.into())))
}

/// Objects of the module `datetime`, whose state is bytes.
fn moment<'r>(objects: &Objects<'r>, name: &[u8], arguments: &[Id]) -> Option<Known<'r>> {
    let text = match (name, arguments) {
        (b"date", [state]) => clock::date(bytes(objects, *state)?)?,
        (b"datetime", [state]) => clock::datetime(bytes(objects, *state)?, None)?,
        (b"datetime", [state, zone]) => {
            clock::datetime(bytes(objects, *state)?, offset(objects, *zone)?)?
        }
        (b"time", [state]) => clock::time(bytes(objects, *state)?, None)?,
        (b"time", [state, zone]) => clock::time(bytes(objects, *state)?, offset(objects, *zone)?)?,
        (b"timedelta", [days, seconds, micros]) => {
            let parts = [*days, *seconds, *micros].map(|part| integer(objects, part));
            let [Some(days), Some(seconds), Some(micros)] = parts else { return None };
            let duration = clock::micros(days, seconds, micros)?;
            return Some(Known::Special(clock::duration(duration), Special::Duration(duration)));
        }
        (b"timezone", [ahead, name @ ..]) => {
            let Special::Duration(ahead) = objects.special(*ahead)? else { return None };
            let name = match name {
                [] => clock::zone(ahead)?,
                [name] => std::str::from_utf8(bytes(objects, *name)?).ok()?.to_owned(),
                _ => return None,
            };
            return Some(Known::Special(name, Special::Zone(ahead)));
        }
        _ => return None,
    };
    Some(Known::Node(Node::Leaf(Leaf::String(text))))
}

/// By how much a time zone is ahead of UTC; some `None` for a time without one.
fn offset(objects: &Objects<'_>, zone: Id) -> Option<Option<i128>> {
    match (objects.special(zone), objects.get(zone)) {
        (Some(Special::Zone(ahead)), _) => Some(Some(ahead)),
        (None, Node::Leaf(Leaf::Null)) => Some(None),
        _ => None,
    }
}

fn bytes<'o>(objects: &'o Objects<'_>, id: Id) -> Option<&'o [u8]> {
    match objects.get(id) {
        Node::Text(bytes) => Some(bytes),
        _ => None,
    }
}

fn integer(objects: &Objects<'_>, id: Id) -> Option<i64> {
    objects.get(id).number()?.as_i64()
}
