//! Who we are at the servers of a store, and the password file read again when they say that it is stale.

use core::cell::{Cell, Ref, RefCell};

use nginx_sys::{ngx_log_t, NGX_LOG_NOTICE, NGX_LOG_WARN};
use ngx::ngx_log_error;

use super::event::now;
use super::files;
use super::store::Store;
use crate::store::dialogue::Login;

pub(super) struct Credentials {
    /// For the log.
    store: String,
    log: *mut ngx_log_t,
    login: RefCell<Login>,
    password_file: Option<String>,
    /// When the password file was read last, in ms, and whether the log was told that it cannot be.
    password_read: Cell<Option<u64>>,
    said_unreadable: Cell<bool>,
}

/// A worker reads the password file again after this time at the earliest, in ms.
const REREAD_AFTER: u64 = 10_000;

impl Credentials {
    pub(super) fn of(store: &Store, log: *mut ngx_log_t) -> Self {
        Self::new(&store.name, store.login(), store.password_file.clone(), log)
    }

    pub(super) fn new(
        store: &str,
        login: Login,
        password_file: Option<String>,
        log: *mut ngx_log_t,
    ) -> Self {
        Self {
            store: store.to_owned(),
            log,
            login: RefCell::new(login),
            password_file,
            password_read: Cell::new(None),
            said_unreadable: Cell::new(false),
        }
    }

    pub(super) fn login(&self) -> Ref<'_, Login> {
        self.login.borrow()
    }

    /// A server did not take the password that was `used`: whether there is another one now.
    pub(super) fn has_newer_password(&self, used: Option<&[u8]>) -> bool {
        if self.login.borrow().password.as_deref() != used {
            return true;
        }
        let Some(path) = &self.password_file else { return false };
        if self.password_read.get().is_some_and(|last| now() < last + REREAD_AFTER) {
            return false;
        }
        self.password_read.set(Some(now()));
        let name = &self.store;
        match files::reread_password(path) {
            Ok(Some(password)) if Some(password.as_slice()) != used => {
                self.login.borrow_mut().password = Some(password);
                ngx_log_error!(
                    NGX_LOG_NOTICE,
                    self.log,
                    "session store \"{name}\": password read again from \"{path}\""
                );
                true
            }
            Ok(_) => false,
            Err(error) => {
                if !self.said_unreadable.replace(true) {
                    ngx_log_error!(
                        NGX_LOG_WARN,
                        self.log,
                        "session store \"{name}\": \"{path}\" cannot be read again ({error}), \
                         a new password needs a reload"
                    );
                }
                false
            }
        }
    }
}
