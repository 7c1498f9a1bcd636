//! An nginx event of our own: a timer, or work posted to the end of this turn of the loop.

use core::cell::UnsafeCell;
use core::ffi::c_void;

use core::ptr;

use nginx_sys::{
    ngx_cached_time, ngx_current_msec, ngx_event_t, ngx_event_timer_rbtree, ngx_log_t, ngx_msec_t,
    ngx_posted_events, ngx_queue_insert_before, ngx_queue_remove, ngx_queue_t, ngx_rbtree_delete,
    ngx_rbtree_insert,
};

use super::bits::event;

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
        // SAFETY: the event lives on the heap and is disarmed before it is freed.
        unsafe { add_timer(self.0.get(), ms as ngx_msec_t) };
    }

    pub(super) fn is_armed(&self) -> bool {
        // SAFETY: no reference to the event is held elsewhere on this thread.
        unsafe { event::TIMER_SET.is_set(&*self.0.get()) }
    }

    pub(super) fn disarm(&self) {
        // SAFETY: the event is live.
        unsafe { del_timer(self.0.get()) };
    }

    /// Whether a worker that is exiting need not wait for the timer.
    pub(super) fn set_cancelable(&self, cancelable: bool) {
        // SAFETY: as in `is_armed`.
        unsafe { event::CANCELABLE.set(&mut *self.0.get(), cancelable.into()) };
    }

    /// Runs the handler once at the end of this turn of the loop.
    pub(super) fn post(&self) {
        // SAFETY: the event lives until it is dropped, which takes it out of the queue.
        unsafe { post_event(self.0.get(), &raw mut ngx_posted_events) };
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.disarm();
        let event = self.0.get_mut();
        if event::POSTED.is_set(event) {
            event::POSTED.set(event, 0);
            // SAFETY: the event is in one of nginx's queues of posted events.
            unsafe { ngx_queue_remove(&raw mut event.queue) };
        }
    }
}

/// Has the event fire after `ms`, instead of when it was to fire before.
///
/// # Safety
/// `event` must be live, and stay where it is until it has fired or the timer is deleted.
pub(super) unsafe fn add_timer(event: *mut ngx_event_t, ms: ngx_msec_t) {
    // SAFETY: the caller vouches for the event; nginx's tree is there since it began.
    unsafe {
        del_timer(event);
        (*event).timer.key = ngx_current_msec.wrapping_add(ms);
        ngx_rbtree_insert(&raw mut ngx_event_timer_rbtree, &raw mut (*event).timer);
        event::TIMER_SET.set(&mut *event, 1);
    }
}

/// The event does not fire, if it was to.
///
/// # Safety
/// `event` must be live.
pub(super) unsafe fn del_timer(event: *mut ngx_event_t) {
    // SAFETY: the caller vouches for the event; nginx says that it is in the tree.
    unsafe {
        if event::TIMER_SET.is_set(&*event) {
            event::TIMER_SET.set(&mut *event, 0);
            let node = &raw mut (*event).timer;
            ngx_rbtree_delete(&raw mut ngx_event_timer_rbtree, node);
            // As nginx does: its debugging looks there.
            (*node).left = ptr::null_mut();
            (*node).right = ptr::null_mut();
            (*node).parent = ptr::null_mut();
        }
    }
}

/// Puts the event at the end of a queue of nginx's, unless it is in one.
///
/// # Safety
/// `event` must be live, and stay where it is until its handler was called; `queue` must be a queue of events.
pub(super) unsafe fn post_event(event: *mut ngx_event_t, queue: *mut ngx_queue_t) {
    // SAFETY: the caller vouches for both.
    unsafe {
        if !event::POSTED.is_set(&*event) {
            event::POSTED.set(&mut *event, 1);
            ngx_queue_insert_before(queue, &raw mut (*event).queue);
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
