//! Whether a connection is still there while what it has read is kept.

use std::rc::Rc;

use nginx_sys::ngx_event_t;

use super::{shared, Connection, Slot};
use crate::store::command;
use crate::store::error::Failure;

/// How often a connection is looked after, in ms: one that is dead without a sign tells of no change.
const PING_EVERY: u64 = 1000;

impl Connection {
    /// Asks whether the server is still there, or gives it up if it did not answer the last time.
    pub(super) fn look_after(self: &Rc<Self>) {
        let kept = self.servers.client().cache().is_some_and(|cache| !cache.is_empty());
        if !kept || !self.origin.borrow().is_watched() {
            return;
        }
        if self.pinged.replace(true) {
            return self.fail(&Failure::Timeout);
        }
        command::ping(&mut self.output.borrow_mut().commands);
        self.slots.borrow_mut().push_back(Slot::Pinged);
        self.post_flush();
        self.watch();
    }

    /// Looks after the connection in a while, if that is not to be done anyway.
    pub(super) fn watch(&self) {
        if let Some(watch) = &*self.watch_event.borrow() {
            if !watch.is_armed() {
                watch.arm(PING_EVERY);
            }
        }
    }
}

pub(super) unsafe extern "C" fn on_watch(event: *mut ngx_event_t) {
    // SAFETY: as in `on_flush`.
    unsafe { shared((*event).data) }.look_after();
}
