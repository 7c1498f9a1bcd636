//! A stored session with what was read of it: what one request has decoded, the next need not.

#![forbid(unsafe_code)]

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use serde_json::Value;
use smallvec::SmallVec;

use super::{Session, Stored};
use crate::cache::allocated;
use crate::inject::Unsafe;

/// A stored session, and the excerpts that were made of it.
#[derive(Debug)]
pub struct KeptSession {
    stored: Stored,
    excerpts: RefCell<Excerpts>,
    /// Something was read of it since that was asked last.
    grown: Cell<bool>,
}

/// By their locations, of which there is hardly ever more than one.
type Excerpts = SmallVec<[(usize, Rc<Excerpt>); 1]>;

/// What one location reads of a session.
#[derive(Debug)]
pub struct Excerpt {
    /// The session, as far as the location wants it.
    pub session: Session,
    /// The headers that come of it, made once.
    headers: OnceCell<Vec<Header>>,
}

/// A header that comes of a session: its value, none where it is to be absent, or why it may not be sent.
pub type Header = Result<Option<Box<[u8]>>, Unsafe>;

/// So many locations have their excerpts of one session kept; others read it anew.
const MOST_EXCERPTS: usize = 16;

impl KeptSession {
    /// A session that nobody has read yet.
    pub fn new(stored: Stored) -> Self {
        Self { stored, excerpts: RefCell::default(), grown: Cell::new(false) }
    }

    /// What is stored.
    pub fn stored(&self) -> &Stored {
        &self.stored
    }

    /// The bytes that all of it holds on the heap.
    pub fn bytes(&self) -> usize {
        let excerpts = self.excerpts.borrow();
        let own = counted::<Self>() + stored_bytes(&self.stored);
        let places = match excerpts.spilled() {
            true => allocated(excerpts.capacity() * size_of::<(usize, Rc<Excerpt>)>()),
            false => 0,
        };
        own + places + excerpts.iter().map(|(_, excerpt)| excerpt.bytes()).sum::<usize>()
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
    ) -> Result<Rc<Excerpt>, E> {
        let known = self.excerpts.borrow().iter().find(|(of, _)| *of == location).cloned();
        if let Some((_, excerpt)) = known {
            return Ok(excerpt);
        }
        let excerpt = Rc::new(Excerpt { session: read(&self.stored)?, headers: OnceCell::new() });
        let mut excerpts = self.excerpts.borrow_mut();
        if excerpts.len() < MOST_EXCERPTS {
            excerpts.push((location, Rc::clone(&excerpt)));
            self.grown.set(true);
        }
        Ok(excerpt)
    }

    /// The headers of a excerpt of this session; `make` makes them where that was not done yet.
    pub fn headers<'r>(
        &self,
        excerpt: &'r Excerpt,
        make: impl FnOnce(&Value) -> Vec<Header>,
    ) -> &'r [Header] {
        excerpt.headers.get_or_init(|| {
            self.grown.set(true);
            make(&excerpt.session.value)
        })
    }
}

impl Excerpt {
    /// The bytes that it holds on the heap, itself included.
    fn bytes(&self) -> usize {
        let headers = self.headers.get().map_or(0, |headers| {
            let values = headers.iter().filter_map(|header| header.as_ref().ok()?.as_ref());
            allocated(headers.capacity() * size_of::<Header>())
                + values.map(|value| allocated(value.len())).sum::<usize>()
        });
        counted::<Self>() + heap_bytes(&self.session.value) + headers
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

/// What a value holds on the heap, itself not included. Recursive, since a session's depth is bounded by its decoder.
fn heap_bytes(value: &Value) -> usize {
    /// An entry of an object: its name, its value and its hash.
    const ENTRY: usize = size_of::<String>() + size_of::<Value>() + size_of::<usize>();
    /// A place in an object's table of hashes; a group of them stands at its end once more.
    const PLACE: usize = size_of::<usize>() + 1;
    const GROUP: usize = 16;
    match value {
        Value::Null | Value::Bool(_) => 0,
        // Kept as text, so that no digit is lost.
        Value::Number(number) => allocated(number.as_str().len()),
        Value::String(text) => allocated(text.capacity()),
        Value::Array(items) => {
            allocated(items.capacity() * size_of::<Value>())
                + items.iter().map(heap_bytes).sum::<usize>()
        }
        Value::Object(members) => {
            let each =
                |(name, value): (&String, &Value)| allocated(name.capacity()) + heap_bytes(value);
            // At most seven of eight places are taken. An object that has grown has room for as many entries, one whose
            // size was known for no more than it has: what lies between is wrong for both, but for neither by much.
            let places = (members.len() * 8).div_ceil(7).next_power_of_two().max(4);
            let room = places - places.div_ceil(8);
            allocated((members.len() + room) / 2 * ENTRY)
                + allocated(places * PLACE + GROUP)
                + members.iter().map(each).sum::<usize>()
        }
    }
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
        assert!(Rc::ptr_eq(&one, &again));
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
        assert_eq!(kept.excerpts.borrow().len(), MOST_EXCERPTS);
    }

    #[test]
    fn headers_are_made_once_and_weigh() {
        let kept = KeptSession::new(Stored::Text(Vec::new()));
        let excerpt = kept.excerpt(1, read(json!("u"))).unwrap();
        assert!(kept.has_grown() && !kept.has_grown());
        let before = kept.bytes();
        let made = || vec![Ok(Some(vec![b'u'; 1000].into())), Ok(None), Err(Unsafe::Control)];
        assert_eq!(kept.headers(&excerpt, |_| made()), &made()[..]);
        assert!(kept.bytes() >= before + 1000);
        assert_eq!(kept.headers(&excerpt, |_| Vec::new()).len(), 3);
    }

    #[test]
    fn a_excerpt_weighs_what_it_holds() {
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
}
