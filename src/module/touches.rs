//! How the servers of a store take a life that is to be extended.

use core::cell::Cell;

use nginx_sys::{ngx_log_t, NGX_LOG_WARN};
use ngx::ngx_log_error;

use crate::store::server_error::{Code, ServerError};

#[derive(Default)]
pub(super) struct Touches {
    /// The servers know no `PEXPIRE … GT` (before Redis 7).
    no_longer: Cell<bool>,
    /// A refused touch was named in the log.
    said_untouched: Cell<bool>,
}

impl Touches {
    /// Whether to ask in the form that never shortens.
    pub(super) fn longer(&self) -> bool {
        !self.no_longer.get()
    }

    /// A server refused one, `longer` in the form that never shortens.
    pub(super) fn refused(
        &self,
        log: *mut ngx_log_t,
        store: &str,
        server: &str,
        error: &ServerError,
        longer: bool,
    ) {
        if longer && (error.is_wrong_arity() || error.code() == Code::Err) {
            self.no_longer.set(true);
        } else if !self.said_untouched.replace(true) {
            ngx_log_error!(
                NGX_LOG_WARN,
                log,
                "session store \"{store}\" does not extend the life of sessions: {error}, server: {server}"
            );
        }
    }
}
