//! An nginx event of our own: a timer, or work posted to the end of this turn of the loop.

use core::cell::UnsafeCell;
use core::ffi::c_void;

use nginx_sys::{
    ngx_add_timer, ngx_cached_time, ngx_current_msec, ngx_del_timer, ngx_delete_posted_event,
    ngx_event_t, ngx_log_t, ngx_msec_t, ngx_post_event, ngx_posted_events,
};

/// Owns the event; dropping it disarms it.
pub(super) struct Event(Box<UnsafeCell<ngx_event_t>>);

impl Event {
    /// An event whose `handler` finds `data` in it. `data` must point to at least the size of the
    /// head of an `ngx_connection_t`, since nginx's debug log looks for a descriptor there.
    pub(super) fn new(
        handler: unsafe extern "C" fn(*mut ngx_event_t),
        data: *mut c_void,
        log: *mut ngx_log_t,
    ) -> Self {
        // SAFETY: all zeroes are a valid, idle event.
        let mut event: ngx_event_t = unsafe { core::mem::zeroed() };
        event.handler = Some(handler);
        event.data = data;
        event.log = log;
        Self(Box::new(UnsafeCell::new(event)))
    }

    /// Fires after `ms`, instead of when it was to fire before.
    pub(super) fn arm(&self, ms: u64) {
        self.disarm();
        // SAFETY: the event is idle, lives on the heap and is disarmed before it is freed.
        unsafe { ngx_add_timer(self.0.get(), ms as ngx_msec_t) };
    }

    pub(super) fn is_armed(&self) -> bool {
        // SAFETY: no reference to the event is held elsewhere on this thread.
        unsafe { (*self.0.get()).timer_set() != 0 }
    }

    pub(super) fn disarm(&self) {
        if self.is_armed() {
            // SAFETY: the event is in nginx's timer tree.
            unsafe { ngx_del_timer(self.0.get()) };
        }
    }

    /// Whether a worker that is exiting need not wait for the timer.
    pub(super) fn set_cancelable(&self, cancelable: bool) {
        // SAFETY: as in `is_armed`.
        unsafe { (*self.0.get()).set_cancelable(cancelable.into()) };
    }

    /// Runs the handler once at the end of this turn of the loop.
    pub(super) fn post(&self) {
        // SAFETY: the event lives until it is dropped, which takes it out of the queue.
        unsafe { ngx_post_event(self.0.get(), &raw mut ngx_posted_events) };
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.disarm();
        let event = self.0.get_mut();
        if event.posted() != 0 {
            // SAFETY: the event is in one of nginx's queues of posted events.
            unsafe { ngx_delete_posted_event(event) };
        }
    }
}

/// The time of this turn of the loop, in ms.
pub(super) fn now() -> u64 {
    // SAFETY: nginx writes the variable on this thread only.
    unsafe { ngx_current_msec as u64 }
}

/// nginx's time of day, in Unix ms.
pub(super) fn time_of_day() -> u64 {
    // SAFETY: the time is there since nginx began, and written on this thread only.
    let time = unsafe { &*ngx_cached_time };
    u64::try_from(time.sec).unwrap_or(0).saturating_mul(1000).saturating_add(time.msec as u64)
}

/// nginx's time of day, in Unix s, as it dates a server's failures.
pub(super) fn seconds() -> i64 {
    // SAFETY: as above.
    unsafe { (*ngx_cached_time).sec }
}
