//! What threads beside nginx's own ask of the process.

use core::ffi::{c_int, c_void};
use core::ptr;

use nginx_sys::{
    dladdr, dlopen, pthread_sigmask, sigfillset, sigset_t, Dl_info, RTLD_NODELETE, RTLD_NOLOAD,
    RTLD_NOW, SIG_SETMASK,
};

/// Runs `start`, in which threads are started, with all signals blocked: the threads inherit that, and nginx's signals
/// come to nginx's thread alone.
pub(super) fn without_signals<T>(start: impl FnOnce() -> T) -> T {
    // SAFETY: all zeroes are a valid set; the calls read and write the two sets only.
    let before = unsafe {
        let mut all: sigset_t = core::mem::zeroed();
        let mut before: sigset_t = core::mem::zeroed();
        sigfillset(&mut all);
        pthread_sigmask(SIG_SETMASK as c_int, &all, &mut before);
        before
    };
    let result = start();
    // SAFETY: as above; the set is the one that was there before.
    unsafe { pthread_sigmask(SIG_SETMASK as c_int, &before, ptr::null_mut()) };
    result
}

/// Keeps the module's code in memory until the process ends. nginx unloads modules as a worker leaves; a thread that
/// still waits for a node would go on in code that is not there.
pub(super) fn keep_loaded() {
    let here = keep_loaded as *const () as *const c_void;
    // SAFETY: the structure is filled in on success, with the name under which the module is loaded; opening what is
    // loaded only counts a user more.
    unsafe {
        let mut info: Dl_info = core::mem::zeroed();
        if dladdr(here, &mut info) != 0 && !info.dli_fname.is_null() {
            dlopen(info.dli_fname, (RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE) as c_int);
        }
    }
}
