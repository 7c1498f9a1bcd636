//! The near-cache holds as much memory as it says, whatever the sessions are: counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ngx_http_session_redis_module::cache::{allocated, Cache, Kept, Limits, Origin};
use ngx_http_session_redis_module::format::{Pipeline, Wanted};
use ngx_http_session_redis_module::pointer::Pointer;
use ngx_http_session_redis_module::store::fetched::Ttl;
use ngx_http_session_redis_module::stored::{KeptSession, Session, Stored};

static HELD: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(allocated(layout.size()), Ordering::Relaxed);
        // SAFETY: as the caller says.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(allocated(layout.size()), Ordering::Relaxed);
        // SAFETY: as the caller says.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Clone)]
struct Known(Rc<KeptSession>, #[allow(dead_code)] usize);

impl Kept for Known {
    fn is_absent(&self) -> bool {
        false
    }

    fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

const SIZE: usize = 1 << 20;

/// Asks for far more sessions than there is room for, and answers what the cache holds then, as a share of its size.
fn filled(raw: &str, pointers: &[&str]) -> f64 {
    let pointers: Vec<Pointer> = pointers.iter().map(|it| Pointer::parse(it).unwrap()).collect();
    let wanted = if pointers.is_empty() { Wanted::All } else { Wanted::of(&pointers) };
    let format = Pipeline::parse(&["auto"]).unwrap();
    let limits = Limits { size: SIZE, valid: None, negative: None, stale: 0 };
    let origin = Origin::watched();

    let before = HELD.load(Ordering::Relaxed);
    let mut cache = Cache::new(limits);
    for number in 0..3 * SIZE / (raw.len() + 500) {
        let key: Rc<[u8]> = format!("PHPREDIS_SESSION:{number:026}").into_bytes().into();
        let kept = Rc::new(KeptSession::new(Stored::Text(raw.as_bytes().to_vec())));
        cache.insert(&key, Known(Rc::clone(&kept), 0), &origin, Some(Ttl::Endless), 0);
        let read = |stored: &Stored| match stored {
            Stored::Text(raw) => {
                format.decode(raw, &wanted).map(|value| Session { value, end: None })
            }
            Stored::Hash(_) => unreachable!(),
        };
        let excerpt = kept.excerpt(1, read).unwrap();
        excerpt.count(&wanted);
        kept.headers(&excerpt, |_| {
            pointers.iter().map(|_| Ok(Some(b"1001".to_vec().into()))).collect()
        });
        cache.weigh(&key);
    }
    (HELD.load(Ordering::Relaxed) - before) as f64 / SIZE as f64
}

/// Fills the cache with sessions that few have read, and then has all of each read for one location after the other, as their
/// requests would. Answers the most that the cache ever held, as a share of its size.
fn grown(raw: &[u8], format: &str) -> f64 {
    let format = Pipeline::parse(&[format]).unwrap();
    let limits = Limits { size: SIZE, valid: None, negative: None, stale: 0 };
    let origin = Origin::watched();
    let read = |stored: &Stored| match stored {
        Stored::Text(raw) => {
            format.decode(raw, &Wanted::All).map(|value| Session { value, end: None })
        }
        Stored::Hash(_) => unreachable!(),
    };

    let before = HELD.load(Ordering::Relaxed);
    let mut cache = Cache::new(limits);
    let mut most = 0;
    let count = (SIZE / (raw.len() + 500)).max(2);
    for location in 0..17 {
        for number in 0..count {
            let key = format!("PHPREDIS_SESSION:{number:026}").into_bytes();
            let known = cache.fresh(&key, 0).map(|hit| hit.value);
            let known = known.unwrap_or_else(|| {
                let new = Known(Rc::new(KeptSession::new(Stored::Text(raw.to_vec()))), 0);
                cache.insert(&key, new.clone(), &origin, Some(Ttl::Endless), 0);
                new
            });
            known.0.excerpt(location, read).unwrap().count(&Wanted::All);
            cache.weigh(&key);
            drop(known);
            most = most.max(HELD.load(Ordering::Relaxed) - before);
        }
    }
    most as f64 / SIZE as f64
}

/// Sessions of which as much as can be becomes of few bytes.
fn hostile() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let many = |one: &str, count: usize| vec![one; count].join(",");
    let named = |value: &str, count: usize| {
        let members = (0..count).map(|number| format!("\"{number}\":{value}"));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    };
    vec![
        ("digits", format!("[{}]", many("1", 2_000)).into_bytes(), "json"),
        ("nulls", format!("[{}]", many("null", 2_000)).into_bytes(), "json"),
        ("lists", format!("[{}]", many("[]", 1_500)).into_bytes(), "json"),
        ("lists of one", format!("[{}]", many("[0]", 1_500)).into_bytes(), "json"),
        ("objects", format!("[{}]", many("{}", 1_500)).into_bytes(), "json"),
        ("objects of one", format!("[{}]", many("{\"\":0}", 600)).into_bytes(), "json"),
        ("empty texts", format!("[{}]", many("\"\"", 1_500)).into_bytes(), "json"),
        ("texts of one", format!("[{}]", many("\"a\"", 1_500)).into_bytes(), "json"),
        ("members", named("0", 500).into_bytes(), "json"),
        (
            "few members",
            named("{\"a\":0,\"b\":1,\"c\":2,\"d\":3,\"e\":4}", 120).into_bytes(),
            "json",
        ),
        ("msgpack", [&b"\xdc\x08\x00"[..], &[0; 2_048]].concat(), "msgpack"),
        ("small", b"{\"user\":7}".to_vec(), "json"),
        ("empty", b"{}".to_vec(), "json"),
    ]
}

/// The allocator counts for all tests at once.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_full_cache_holds_what_it_may() {
    let _alone = alone();
    let about = "a".repeat(20_000);
    let php = |about: &str| {
        let length = about.len();
        format!("user|a:3:{{s:2:\"id\";i:1001;s:4:\"name\";s:4:\"Some\";s:5:\"about\";s:{length}:\"{about}\";}}views|i:12;")
    };
    let json = "{\"user\":{\"id\":1,\"roles\":[\"a\",\"b\"]},\"a\":1,\"b\":2,\"c\":{}}";
    let cases = [
        ("small", php("-"), &["/user/id"][..]),
        ("large", php(&about), &["/user/id"]),
        ("several", php("-"), &["/user/id", "/user/name", "/user/about", "/views"]),
        ("json", json.to_owned(), &["/user/id", "/user/roles/1"]),
        ("json, all of it", json.to_owned(), &[]),
    ];
    for (name, raw, pointers) in cases {
        let share = filled(&raw, pointers);
        // The tables' room to grow, which nobody has touched, is counted too.
        assert!((0.88..1.12).contains(&share), "{name}: {share:.3} of the size");
    }
}

#[test]
fn a_cache_holds_no_more_for_sessions_that_grow() {
    let _alone = alone();
    for (name, raw, format) in hostile() {
        let share = grown(&raw, format);
        // As above.
        assert!(share < 1.15, "{name}: {share:.3} of the size");
    }
}
