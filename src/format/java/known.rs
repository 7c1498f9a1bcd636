//! What objects of the JDK's own classes stand for: by what each of them writes, in its fields or by itself
//! (`@serialData` in its documentation).

#![forbid(unsafe_code)]

use std::borrow::Cow;

use serde_json::Value;

use super::heap::{Heap, Slot};
use super::reader::Record;
use super::{date, decimal};
use crate::format::graph::{Id, Leaf, Node};
use crate::format::number::integer;
use crate::format::Reason;

/// How objects of a class, and of its subclasses where these are not known themselves, are read.
pub(super) enum Known {
    /// As what is in this field.
    Field(&'static str),
    /// As this makes of what is written.
    Made(Make),
}

type Make = for<'r> fn(&mut Heap<'r>, &Record<'_, 'r>) -> Result<Node<'r>, Reason>;

use Known::{Field, Made};

/// Classes by their names.
const KNOWN: &[(&str, Known)] = &[
    ("java.lang.Boolean", Field("value")),
    ("java.lang.Byte", Field("value")),
    ("java.lang.Character", Field("value")),
    ("java.lang.Double", Field("value")),
    ("java.lang.Float", Field("value")),
    ("java.lang.Integer", Field("value")),
    ("java.lang.Long", Field("value")),
    ("java.lang.Short", Field("value")),
    ("java.math.BigDecimal", Made(big_decimal)),
    ("java.math.BigInteger", Made(big_integer)),
    ("java.net.URI", Field("string")),
    ("java.net.URL", Made(url)),
    ("java.sql.Timestamp", Made(timestamp)),
    ("java.time.Ser", Made(time)),
    ("java.util.ArrayDeque", Made(elements)),
    ("java.util.ArrayList", Made(elements)),
    ("java.util.Arrays$ArrayList", Field("a")),
    ("java.util.Calendar", Made(calendar)),
    ("java.util.CollSer", Made(immutable)),
    ("java.util.Collections$CheckedCollection", Field("c")),
    ("java.util.Collections$CheckedMap", Field("m")),
    ("java.util.Collections$EmptyList", Made(elements)),
    ("java.util.Collections$EmptyMap", Made(entries)),
    ("java.util.Collections$EmptySet", Made(elements)),
    ("java.util.Collections$SingletonList", Made(singleton)),
    ("java.util.Collections$SingletonMap", Made(singleton_map)),
    ("java.util.Collections$SingletonSet", Made(singleton)),
    ("java.util.Collections$SynchronizedCollection", Field("c")),
    ("java.util.Collections$SynchronizedMap", Field("m")),
    ("java.util.Collections$UnmodifiableCollection", Field("c")),
    ("java.util.Collections$UnmodifiableMap", Field("m")),
    ("java.util.Date", Made(moment)),
    ("java.util.EnumMap", Made(entries)),
    ("java.util.EnumSet$SerializationProxy", Field("elements")),
    ("java.util.HashMap", Made(entries)),
    ("java.util.HashSet", Made(elements)),
    ("java.util.Hashtable", Made(entries)),
    ("java.util.IdentityHashMap", Made(entries)),
    ("java.util.LinkedList", Made(elements)),
    ("java.util.PriorityQueue", Made(elements)),
    ("java.util.TreeMap", Made(entries)),
    ("java.util.TreeSet", Made(sorted)),
    ("java.util.UUID", Made(uuid)),
    ("java.util.Vector", Made(vector)),
    ("java.util.concurrent.ConcurrentHashMap", Made(ended_entries)),
    ("java.util.concurrent.ConcurrentSkipListMap", Made(ended_entries)),
    ("java.util.concurrent.CopyOnWriteArrayList", Made(elements)),
    ("java.util.concurrent.CopyOnWriteArraySet", Field("al")),
    ("java.util.concurrent.atomic.AtomicBoolean", Made(flag)),
    ("java.util.concurrent.atomic.AtomicInteger", Field("value")),
    ("java.util.concurrent.atomic.AtomicLong", Field("value")),
    ("java.util.concurrent.atomic.AtomicReference", Field("value")),
];

/// How objects of the class of this name are read, if that is known.
pub(super) fn known(class: &[u8]) -> Option<&'static Known> {
    let at = KNOWN.binary_search_by(|(name, _)| name.as_bytes().cmp(class)).ok()?;
    KNOWN.get(at).map(|(_, known)| known)
}

impl Known {
    /// What an object stands for that was written so.
    pub(super) fn node<'r>(
        &self,
        heap: &mut Heap<'r>,
        record: &Record<'_, 'r>,
    ) -> Result<Node<'r>, Reason> {
        match self {
            Field(name) => heap.node(record.slot(name)?),
            Made(make) => make(heap, record),
        }
    }
}

/// Collections write how many elements they have, then these.
fn elements<'r>(_: &mut Heap<'r>, record: &Record<'_, 'r>) -> Result<Node<'r>, Reason> {
    Ok(Node::List(record.objects().collect()))
}

/// A `TreeSet` writes its comparator before its elements.
fn sorted<'r>(_: &mut Heap<'r>, record: &Record<'_, 'r>) -> Result<Node<'r>, Reason> {
    Ok(Node::List(record.objects().skip(1).collect()))
}

/// Maps write each key and its value.
fn entries<'r>(heap: &mut Heap<'r>, record: &Record<'_, 'r>) -> Result<Node<'r>, Reason> {
    heap.map(&record.objects().collect::<Vec<Id>>())
}

/// Maps that hold no null end with one, or with two.
fn ended_entries<'r>(heap: &mut Heap<'r>, record: &Record<'_, 'r>) -> Result<Node<'r>, Reason> {
    let null = heap.null();
    heap.map(&record.objects().take_while(|id| *id != null).collect::<Vec<Id>>())
}

fn singleton<'r>(heap: &mut Heap<'r>, record: &Record<'_, 'r>) -> Result<Node<'r>, Reason> {
    Ok(Node::List(vec![heap.of(record.slot("element")?)?]))
}

fn singleton_map<'r>(heap: &mut Heap<'r>, record: &Record<'_, 'r>) -> Result<Node<'r>, Reason> {
    heap.map(&[record.object("k")?, record.object("v")?])
}

/// The elements of a `Vector` are those at the front of its array.
fn vector<'r>(heap: &mut Heap<'r>, record: &Record<'_, 'r>) -> Result<Node<'r>, Reason> {
    let array = record.object("elementData")?;
    heap.truncate(array, usize::try_from(record.whole("elementCount")?).unwrap_or(0));
    Ok(Node::Same(array))
}

/// What `List.of`, `Set.of` and `Map.of` made, told apart by a tag.
fn immutable<'r>(heap: &mut Heap<'r>, record: &Record<'_, 'r>) -> Result<Node<'r>, Reason> {
    match record.whole("tag")? & 0xff {
        3 => entries(heap, record),
        _ => elements(heap, record),
    }
}

fn flag<'r>(heap: &mut Heap<'r>, record: &Record<'_, 'r>) -> Result<Node<'r>, Reason> {
    heap.node(Slot::Bool(record.whole("value")? != 0))
}

fn big_integer<'r>(heap: &mut Heap<'r>, record: &Record<'_, 'r>) -> Result<Node<'r>, Reason> {
    let magnitude = heap.bytes(record.object("magnitude")?).ok_or(Reason::Malformed)?;
    let lowest_first: Vec<u8> = magnitude.iter().rev().copied().collect();
    heap.copy(&lowest_first)?;
    let number = integer(record.whole("signum")? < 0, &lowest_first, heap.budget())?;
    Ok(Node::Leaf(number.into()))
}

/// Null where its digits are.
fn big_decimal<'r>(heap: &mut Heap<'r>, record: &Record<'_, 'r>) -> Result<Node<'r>, Reason> {
    let scale = i32::try_from(record.whole("scale")?).map_err(|_| Reason::Malformed)?;
    Ok(match heap.number(record.object("intVal")?) {
        Some(digits) => {
            // Twice while it grows.
            heap.budget().draw(3 * digits.as_str().len() + 64)?;
            text(decimal::text(digits.as_str(), scale))
        }
        None => Node::Leaf(Leaf::Null),
    })
}

/// A `Date` writes its Unix milliseconds.
fn moment<'r>(heap: &mut Heap<'r>, record: &Record<'_, 'r>) -> Result<Node<'r>, Reason> {
    moment_of(heap, date::of_millis(millis(record)?))
}

/// A `Timestamp` is a `Date` of whole seconds, with nanoseconds of its own.
fn timestamp<'r>(heap: &mut Heap<'r>, record: &Record<'_, 'r>) -> Result<Node<'r>, Reason> {
    let nanos = u32::try_from(record.whole("nanos")?).map_err(|_| Reason::Malformed)?;
    moment_of(heap, date::of_seconds(millis(record)?.div_euclid(1000), nanos))
}

fn millis(record: &Record<'_, '_>) -> Result<i64, Reason> {
    record.block()?.number(8).map(u64::cast_signed)
}

fn calendar<'r>(heap: &mut Heap<'r>, record: &Record<'_, 'r>) -> Result<Node<'r>, Reason> {
    moment_of(heap, date::of_millis(record.whole("time")?))
}

/// All of `java.time` is written by one class.
fn time<'r>(heap: &mut Heap<'r>, record: &Record<'_, 'r>) -> Result<Node<'r>, Reason> {
    moment_of(heap, date::of_ser(&mut record.block()?)?)
}

/// A moment, or what else `java.time` has.
fn moment_of<'r>(heap: &Heap<'r>, moment: Value) -> Result<Node<'r>, Reason> {
    heap.budget().date()?;
    Ok(Node::Leaf(moment.into()))
}

fn uuid<'r>(_: &mut Heap<'r>, record: &Record<'_, 'r>) -> Result<Node<'r>, Reason> {
    let half = |field| record.whole(field).map(i64::cast_unsigned);
    let (high, low) = (half("mostSigBits")?, half("leastSigBits")?);
    Ok(text(format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )))
}

/// As `URL.toExternalForm`: its parts, with what stands before and behind those that are there.
fn url<'r>(heap: &mut Heap<'r>, record: &Record<'_, 'r>) -> Result<Node<'r>, Reason> {
    let mut url = Vec::new();
    for (before, field, behind) in
        [("", "protocol", ":"), ("//", "authority", ""), ("", "file", ""), ("#", "ref", "")]
    {
        let part = heap.bytes(record.object(field)?).unwrap_or_default();
        if !part.is_empty() {
            url.extend([before.as_bytes(), part, behind.as_bytes()].concat());
        }
    }
    heap.copy(&url)?;
    Ok(Node::Text(Cow::Owned(url)))
}

fn text<'r>(text: String) -> Node<'r> {
    Node::Text(Cow::Owned(text.into_bytes()))
}
