//! How a thread wakes nginx's loop: an eventfd among nginx's connections.
//!
//! `ngx_notify` has one slot in a process, which nginx's own thread pools use.

use core::ffi::c_int;
use core::ptr;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use nginx_sys::{
    eventfd, ngx_close_connection, ngx_connection_t, ngx_event_t, ngx_get_connection,
    ngx_handle_read_event, ngx_int_t, ngx_log_t, EFD_CLOEXEC, EFD_NONBLOCK, NGX_OK,
};

use super::Cluster;
use crate::module::bits;

/// Owns the connection.
pub(super) struct Wake(ptr::NonNull<ngx_connection_t>);

impl Wake {
    /// Begins to watch for `cluster`. Returns the descriptor that the threads write to.
    pub(super) fn new(
        cluster: &'static Cluster,
        log: *mut ngx_log_t,
    ) -> io::Result<(Self, OwnedFd)> {
        // SAFETY: the call takes no memory; a descriptor that it returns is nobody's yet.
        let threads = unsafe {
            let fd = eventfd(0, (EFD_CLOEXEC | EFD_NONBLOCK) as c_int);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        // Of one's own, since a thread may still write when nginx has closed its own.
        let watched = threads.try_clone()?.into_raw_fd();

        // SAFETY: nginx's tables are there; a connection that it gives is ours until we close it, and so is its
        // descriptor. The cluster outlives it.
        unsafe {
            let Some(connection) = ptr::NonNull::new(ngx_get_connection(watched, log)) else {
                drop(OwnedFd::from_raw_fd(watched));
                return Err(io::Error::other("worker_connections are not enough"));
            };
            let raw = connection.as_ptr();
            (*raw).data = ptr::from_ref(cluster).cast_mut().cast();
            let read = (*raw).read;
            (*read).handler = Some(on_wake);
            (*read).log = log;
            (*(*raw).write).log = log;
            let wake = Self(connection);
            match ngx_handle_read_event(read, 0) == NGX_OK as ngx_int_t {
                true => Ok((wake, threads)),
                false => Err(io::Error::other("eventfd cannot be watched")),
            }
        }
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        // SAFETY: the connection is ours and open.
        unsafe { ngx_close_connection(self.0.as_ptr()) };
    }
}

unsafe extern "C" fn on_wake(event: *mut ngx_event_t) {
    // SAFETY: nginx calls the handler with the event of our connection, whose cluster lives as long. `read` writes
    // eight bytes at most.
    let (cluster, shut_down): (&'static Cluster, bool) = unsafe {
        let connection: *mut ngx_connection_t = (*event).data.cast();
        let mut count = 0_u64;
        // Also where nothing was written: the counter is back at 0, and the next write is seen.
        let _ =
            nginx_sys::read((*connection).fd, ptr::from_mut(&mut count).cast(), size_of::<u64>());
        bits::event::READY.set(&mut *event, 0);
        let shut_down = bits::connection::CLOSE.is_set(&*connection)
            && bits::connection::ERROR.is_set(&*connection);
        let _ = ngx_handle_read_event(event, 0);
        (&*(*connection).data.cast(), shut_down)
    };
    cluster.take_reports();
    if shut_down {
        cluster.give_up();
    }
}
