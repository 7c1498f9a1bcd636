//! A stored session with what was read of it: what one request has decoded, the next need not.

#![forbid(unsafe_code)]

use std::cell::{Cell, OnceCell, RefCell};
use std::ops::Deref;
use std::rc::Rc;

use serde_json::Value;
use smallvec::SmallVec;

use super::{Session, Stored};
use crate::cache::allocated;
use crate::format::Wanted;
use crate::inject::Unsafe;

/// A stored session, and the excerpts that were made of it.
#[derive(Debug)]
pub struct KeptSession {
    stored: Stored,
    /// That of the location which read it first, by its number: mostly the only one. It lies in place, and its headers in
    /// it, since a session of the cache is seldom in the processor's: what counts is in how many places a request looks.
    first: OnceCell<(usize, Excerpt)>,
    /// Those of other locations.
    others: RefCell<Vec<(usize, Rc<Excerpt>)>>,
    /// Something was read of it since that was asked last.
    grown: Cell<bool>,
}

/// What one location reads of a session.
#[derive(Debug)]
pub struct Excerpt {
    /// The session, as far as the location wants it.
    pub session: Session,
    /// The headers that come of it, made once.
    headers: OnceCell<Headers>,
    /// What the session holds on the heap, once that was counted.
    heap: Cell<Option<usize>>,
}

/// An excerpt, in place or shared.
#[derive(Debug)]
pub enum Read<'k> {
    /// In the session that is kept.
    InPlace(&'k Excerpt),
    /// Beside it.
    Shared(Rc<Excerpt>),
}

/// The headers of a location, in their order. Mostly there are few.
pub type Headers = SmallVec<[Header; 1]>;

/// A header that comes of a session: its value, none where it is to be absent, or why it may not be sent.
pub type Header = Result<Option<HeaderValue>, Unsafe>;

/// Mostly an id, or a word.
pub type HeaderValue = SmallVec<[u8; 24]>;

/// So many locations have their excerpts of one session kept; others read it anew.
const MOST_EXCERPTS: usize = 16;

impl KeptSession {
    /// A session that nobody has read yet.
    pub fn new(stored: Stored) -> Self {
        let (first, others, grown) = (OnceCell::new(), RefCell::default(), Cell::new(false));
        Self { stored, first, others, grown }
    }

    /// What is stored.
    pub fn stored(&self) -> &Stored {
        &self.stored
    }

    /// The bytes that all of it holds on the heap.
    pub fn bytes(&self) -> usize {
        let others = self.others.borrow();
        let shared = |(_, excerpt): &(usize, Rc<Excerpt>)| counted::<Excerpt>() + excerpt.bytes();
        counted::<Self>()
            + stored_bytes(&self.stored)
            + self.first.get().map_or(0, |(_, excerpt)| excerpt.bytes())
            + places::<(usize, Rc<Excerpt>)>(others.capacity())
            + others.iter().map(shared).sum::<usize>()
    }

    /// Whether something was read of it since [`Self::has_grown`] was asked.
    pub fn is_growing(&self) -> bool {
        self.grown.get()
    }

    /// Whether it holds more bytes than when this was asked last.
    pub fn has_grown(&self) -> bool {
        self.grown.take()
    }

    /// The excerpt for a location; `read` makes it where there is none yet.
    pub fn excerpt<E>(
        &self,
        location: usize,
        read: impl FnOnce(&Stored) -> Result<Session, E>,
    ) -> Result<Read<'_>, E> {
        let read = || Ok(Excerpt::of(read(&self.stored)?));
        let excerpt = match self.first.get() {
            Some((of, excerpt)) if *of == location => excerpt,
            Some(_) => return self.other(location, read).map(Read::Shared),
            None => {
                let excerpt = read()?;
                self.grown.set(true);
                &self.first.get_or_init(|| (location, excerpt)).1
            }
        };
        Ok(Read::InPlace(excerpt))
    }

    fn other<E>(
        &self,
        location: usize,
        read: impl FnOnce() -> Result<Excerpt, E>,
    ) -> Result<Rc<Excerpt>, E> {
        let known = self.others.borrow().iter().find(|(of, _)| *of == location).cloned();
        if let Some((_, excerpt)) = known {
            return Ok(excerpt);
        }
        let excerpt = Rc::new(read()?);
        let mut others = self.others.borrow_mut();
        if 1 + others.len() < MOST_EXCERPTS {
            others.push((location, Rc::clone(&excerpt)));
            self.grown.set(true);
        }
        Ok(excerpt)
    }

    /// The headers of an excerpt of this session; `make` makes them where that was not done yet.
    pub fn headers<'r>(
        &self,
        excerpt: &'r Excerpt,
        make: impl FnOnce(&Value) -> Headers,
    ) -> &'r [Header] {
        excerpt.headers.get_or_init(|| {
            self.grown.set(true);
            make(&excerpt.session.value)
        })
    }
}

impl Deref for Read<'_> {
    type Target = Excerpt;

    fn deref(&self) -> &Excerpt {
        match self {
            Self::InPlace(excerpt) => excerpt,
            Self::Shared(excerpt) => excerpt,
        }
    }
}

impl Excerpt {
    fn of(session: Session) -> Self {
        Self { session, headers: OnceCell::new(), heap: Cell::new(None) }
    }

    /// Counts what it holds, this having been `wanted` of the session, if that was not done yet.
    pub fn count(&self, wanted: &Wanted) {
        if self.heap.get().is_none() {
            self.heap.set(Some(heap_bytes(&self.session.value, wanted)));
        }
    }

    /// The bytes that it holds on the heap, itself not included.
    fn bytes(&self) -> usize {
        let headers = self.headers.get().map_or(0, |headers| {
            let values = headers.iter().filter_map(|header| header.as_ref().ok()?.as_ref());
            let spilled = values.filter(|value| value.spilled());
            places::<Header>(if headers.spilled() { headers.capacity() } else { 0 })
                + spilled.map(|value| allocated(value.capacity())).sum::<usize>()
        });
        let session = self.heap.get();
        session.unwrap_or_else(|| heap_bytes(&self.session.value, &Wanted::All)) + headers
    }
}

/// What an array of so many places takes.
fn places<T>(capacity: usize) -> usize {
    match capacity {
        0 => 0,
        _ => allocated(capacity * size_of::<T>()),
    }
}

/// What an `Rc` of a value takes: it has two counts beside it.
fn counted<T>() -> usize {
    allocated(size_of::<T>() + 2 * size_of::<usize>())
}

fn stored_bytes(stored: &Stored) -> usize {
    match stored {
        Stored::Text(raw) => allocated(raw.capacity()),
        Stored::Hash(fields) => {
            let each = |(name, raw): &(Vec<u8>, Vec<u8>)| {
                allocated(name.capacity()) + allocated(raw.capacity())
            };
            allocated(fields.capacity() * size_of::<(Vec<u8>, Vec<u8>)>())
                + fields.iter().map(each).sum::<usize>()
        }
    }
}

/// What a value holds on the heap, itself not included, where this was `wanted` of it. Recursive, since a session's depth is
/// bounded by its decoder.
fn heap_bytes(value: &Value, wanted: &Wanted) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 0,
        // Kept as text, so that no digit is lost.
        Value::Number(number) => allocated(number.as_str().len()),
        Value::String(text) => places::<u8>(text.capacity()),
        Value::Array(items) => {
            let each = |(index, item)| heap_bytes(item, wanted.element(index));
            places::<Value>(items.capacity()) + items.iter().enumerate().map(each).sum::<usize>()
        }
        Value::Object(members) => {
            let each = |(name, value): (&String, &Value)| {
                places::<u8>(name.capacity()) + heap_bytes(value, wanted.member(name.as_bytes()))
            };
            table_bytes(members.len(), wanted.names()) + members.iter().map(each).sum::<usize>()
        }
    }
}

/// What the tables of an object take that was made with room for `expected` members. One that has more by now has grown: it
/// has room for as many entries as its table of hashes has.
fn table_bytes(members: usize, expected: usize) -> usize {
    /// An entry of an object: its name, its value and its hash.
    const ENTRY: usize = size_of::<String>() + size_of::<Value>() + size_of::<usize>();
    /// A place in an object's table of hashes; a group of them stands at its end once more.
    const PLACE: usize = size_of::<usize>() + 1;
    const GROUP: usize = 16;
    if members.max(expected) == 0 {
        return 0;
    }
    // At most seven of eight places are taken.
    let places = (members.max(expected) * 8).div_ceil(7).next_power_of_two().max(4);
    let entries = match members <= expected {
        true => expected,
        false => places - places.div_ceil(8),
    };
    allocated(entries * ENTRY) + allocated(places * PLACE + GROUP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> impl FnOnce(&Stored) -> Result<Session, ()> {
        move |_| Ok(Session { value, end: None })
    }

    #[test]
    fn each_location_reads_once() {
        let kept = KeptSession::new(Stored::Text(b"x".to_vec()));
        let one = kept.excerpt(1, read(json!(1))).unwrap();
        let other = kept.excerpt(2, read(json!(2))).unwrap();
        let again = kept.excerpt(1, |_| Err(())).unwrap();
        assert!(std::ptr::eq(&*one, &*again));
        let other_again = kept.excerpt(2, |_| Err(())).unwrap();
        assert!(std::ptr::eq(&*other, &*other_again));
        assert_eq!((&one.session.value, &other.session.value), (&json!(1), &json!(2)));
        assert_eq!(kept.excerpt(3, |_| Err("bad")).unwrap_err(), "bad");
        assert_eq!(kept.stored(), &Stored::Text(b"x".to_vec()));
    }

    #[test]
    fn excerpts_are_bounded_and_still_made() {
        let kept = KeptSession::new(Stored::Text(Vec::new()));
        for location in 0..100 {
            let excerpt = kept.excerpt(location, read(json!(location))).unwrap();
            assert_eq!(excerpt.session.value, json!(location));
        }
        assert_eq!(1 + kept.others.borrow().len(), MOST_EXCERPTS);
    }

    #[test]
    fn headers_are_made_once_and_weigh() {
        let kept = KeptSession::new(Stored::Text(Vec::new()));
        let excerpt = kept.excerpt(1, read(json!("u"))).unwrap();
        assert!(kept.has_grown() && !kept.has_grown());
        let before = kept.bytes();
        let made = || {
            let long = HeaderValue::from_slice(&[b'u'; 1000]);
            Headers::from_vec(vec![Ok(Some(long)), Ok(None), Err(Unsafe::Control)])
        };
        assert_eq!(kept.headers(&excerpt, |_| made()), &made()[..]);
        assert!(kept.bytes() >= before + 1000);
        assert_eq!(kept.headers(&excerpt, |_| Headers::new()).len(), 3);
        assert!(kept.has_grown() && !kept.has_grown());
    }

    #[test]
    fn an_excerpt_weighs_what_it_holds() {
        let kept = KeptSession::new(Stored::Text(vec![0; 5_000]));
        assert!(kept.bytes() >= 5_000);
        let before = kept.bytes();
        let text = "t".repeat(10_000);
        let value = json!({ "a": [text, 1, null], "b": { "c": true } });
        kept.excerpt(1, read(value)).unwrap();
        let grown = kept.bytes() - before;
        assert!((10_000..11_500).contains(&grown), "{grown}");
        let hash = KeptSession::new(Stored::Hash(vec![(b"a".to_vec(), vec![0; 700])]));
        assert!(hash.bytes() >= 700);
    }

    /// Each of several locations reads what is stored by its own decoder, in whatever order they come.
    #[test]
    fn no_location_has_the_reading_of_another() {
        use crate::format::{Pipeline, Wanted};
        use crate::pointer::Pointer;
        use crate::stored::{Decoder, Life, Shape};

        let at = |pointer| Pointer::parse(pointer).unwrap();
        let decoder = |format, life| Decoder {
            shape: Shape::Text,
            format: Pipeline::parse(&[format]).unwrap(),
            life,
        };
        let decoders = [
            decoder("json", Vec::new()),
            decoder("json", vec![Life::Date { at: at("/cookie/expires") }]),
            decoder("json", vec![Life::Millis { at: at("/_expire") }]),
            decoder("php", Vec::new()),
        ];
        let over = r#"{"cookie":{"expires":"2001-01-01T00:00:00Z"},"_expire":9,"user":"admin"}"#;
        for text in [over, "user|s:5:\"admin\";", "neither"] {
            let stored = Stored::Text(text.as_bytes().to_vec());
            let alone =
                decoders.each_ref().map(|decoder| decoder.decode(&stored, &Wanted::All).ok());
            for (first, then) in (0..16).map(|pair| (pair / 4, pair % 4)) {
                let kept = KeptSession::new(stored.clone());
                for location in [first, then, first, then] {
                    let read = |stored: &Stored| decoders[location].decode(stored, &Wanted::All);
                    let excerpt = kept.excerpt(location, read).ok();
                    let session = excerpt.map(|excerpt| excerpt.session.clone());
                    assert_eq!(session, alone[location], "{text}: {first}, then {then}");
                }
            }
        }
    }
}
