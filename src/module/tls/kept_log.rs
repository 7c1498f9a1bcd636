//! A log that keeps what nginx writes to it: the only place where nginx says why OpenSSL failed.

use core::cell::{RefCell, UnsafeCell};
use core::ffi::c_void;
use std::rc::Rc;

use nginx_sys::{ngx_log_t, ngx_uint_t, u_char, NGX_LOG_ERR};

/// Must stay where it is while something refers to its log, hence counted.
pub(super) struct KeptLog {
    log: UnsafeCell<ngx_log_t>,
    /// The last line.
    line: RefCell<String>,
}

impl KeptLog {
    /// A log for errors and worse. What `next` wants is written there too; it must live as long.
    pub(super) fn new(next: *mut ngx_log_t) -> Rc<Self> {
        // SAFETY: all zeroes are a log without a file, and it is given a writer in its place.
        let mut log: ngx_log_t = unsafe { core::mem::zeroed() };
        log.log_level = NGX_LOG_ERR as ngx_uint_t;
        log.writer = Some(keep);
        log.next = next;
        let kept = Rc::new(Self { log: UnsafeCell::new(log), line: RefCell::default() });
        // SAFETY: nobody else refers to the log yet.
        unsafe { (*kept.log.get()).wdata = Rc::as_ptr(&kept).cast_mut().cast() };
        kept
    }

    /// What nginx's functions take, and what `data` finds.
    pub(super) fn as_ptr(&self) -> *mut ngx_log_t {
        self.log.get()
    }

    /// Sets what a callback finds in the log; nginx itself does not look at it in a log without a handler.
    pub(super) fn set_data(&self, data: *mut c_void) {
        // SAFETY: no reference into the log is ever held.
        unsafe { (*self.log.get()).data = data };
    }

    /// The last line that was written since this was asked last; empty if there is none.
    pub(super) fn take(&self) -> String {
        self.line.take()
    }
}

unsafe extern "C" fn keep(log: *mut ngx_log_t, _level: ngx_uint_t, text: *mut u_char, len: usize) {
    // SAFETY: nginx calls the writer with its own log, whose `wdata` is the object around it, and a line of
    // that length.
    let (kept, text) = unsafe {
        (&*(*log).wdata.cast::<KeptLog>(), core::slice::from_raw_parts(text.cast_const(), len))
    };
    kept.line.replace(String::from_utf8_lossy(text).into_owned());
}
