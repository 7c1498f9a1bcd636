//! How a store takes the assignments of sessions to servers.

use core::cell::Cell;

use nginx_sys::{ngx_log_t, NGX_LOG_WARN};
use ngx::ngx_log_error;

use super::event::now;
use super::lookup::Query;
use super::throttle::Throttle;
use crate::route::assignment::Spoilt;
use crate::store::error::Failure;

/// So long, in ms, nothing is written after that has failed, longer and longer: whoever writes makes a client wait, and
/// all who read behind him.
const REST: u64 = 1000;
const LONGEST_REST: u64 = 32_000;

#[derive(Default)]
pub(super) struct Routes {
    rests_until: Cell<u64>,
    /// For how long, in ms, the next time.
    rest: Cell<u64>,
    unwritten: Throttle,
    undrained: Throttle,
    spoilt: Throttle,
}

impl Routes {
    /// Whether it is worth while to write.
    pub(super) fn may_write(&self) -> bool {
        now() >= self.rests_until.get()
    }

    /// An assignment is written.
    pub(super) fn written(&self) {
        self.rest.set(0);
    }

    /// What was asked for the sake of routes has failed.
    pub(super) fn failed(
        &self,
        log: *mut ngx_log_t,
        store: &str,
        server: &str,
        query: &Query,
        failure: &Failure,
    ) {
        let (throttle, what) = match query {
            Query::Assign(_) => (&self.unwritten, "routes of sessions are not written"),
            Query::Drained { .. } => (&self.undrained, "the set of drained servers is not read"),
            Query::Fetch { .. } | Query::Delete { .. } => return,
        };
        // Whoever asks then waits for nothing. It is said elsewhere, as what is below of a replica.
        if matches!(failure, Failure::Down | Failure::ServerDown) {
            return;
        }
        if query.writes() {
            let rest = self.rest.get().clamp(REST, LONGEST_REST);
            self.rests_until.set(now() + rest);
            self.rest.set(2 * rest);
        }
        if !failure.is_read_only() && throttle.count(now()).is_some() {
            ngx_log_error!(
                NGX_LOG_WARN,
                log,
                "session store \"{store}\": {what}: {failure}, server: {server}"
            );
        }
    }

    /// What stood in place of an assignment was none.
    pub(super) fn note_spoilt(&self, log: *mut ngx_log_t, store: &str, spoilt: Spoilt) {
        if let Some(count) = self.spoilt.count(now()) {
            ngx_log_error!(
                NGX_LOG_WARN,
                log,
                "session store \"{store}\": {spoilt}; {count} routes not read"
            );
        }
    }
}
