//! What work costs: CPU time of the thread, and the most memory that it held.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rustix::time::{clock_gettime, ClockId};

/// The cost of a piece of work.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// In CPU ms.
    pub(crate) ms: f64,
    /// The most bytes at once, beyond what was there before.
    pub(crate) peak: usize,
}

impl Cost {
    /// The worse of each.
    pub(crate) fn max(self, other: Self) -> Self {
        Self { ms: self.ms.max(other.ms), peak: self.peak.max(other.peak) }
    }
}

/// Measures some work; what it returns is dropped within the measure. The time is the least of several runs, since
/// whatever else the machine does only adds to it; of what takes very long one run will do.
pub(crate) fn measure<T>(work: impl Fn() -> T) -> Cost {
    const RUNS: u32 = 5;
    const ENOUGH: Duration = Duration::from_millis(60);
    let run = || {
        let start = now();
        drop(black_box(work()));
        now().saturating_sub(start)
    };
    PEAK.store(0, Relaxed);
    LIVE.store(0, Relaxed);
    COUNTS.store(true, Relaxed);
    let (mut least, mut total) = (run(), Duration::ZERO);
    COUNTS.store(false, Relaxed);
    for _ in 0..RUNS {
        if total + least > ENOUGH {
            break;
        }
        let taken = run();
        least = least.min(taken);
        total += taken;
    }
    Cost { ms: least.as_secs_f64() * 1e3, peak: PEAK.load(Relaxed) }
}

fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Whether allocations are counted: the runs that are timed do without.
static COUNTS: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn add(size: usize) {
    if COUNTS.load(Relaxed) {
        PEAK.fetch_max(LIVE.fetch_add(size, Relaxed) + size, Relaxed);
    }
}

fn remove(size: usize) {
    if COUNTS.load(Relaxed) {
        LIVE.fetch_sub(size, Relaxed);
    }
}

// SAFETY: all of it is the system's allocator; counting touches no memory of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller keeps the rules of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller keeps the rules of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        remove(layout.size());
        // SAFETY: the caller keeps the rules of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size);
        remove(layout.size());
        // SAFETY: the caller keeps the rules of `realloc`.
        unsafe { System.realloc(memory, layout, size) }
    }
}
