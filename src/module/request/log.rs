//! Lines of the error log about a request. All that the module has to say of one goes through here: nginx' own words about
//! it would show the ids that stand in addresses.

use core::{fmt, ptr};

use nginx_sys::{ngx_http_request_t, ngx_log_t, ngx_str_t, u_char};
use ngx::http::{HttpModuleMainConf, HttpModuleServerConf, NgxHttpCoreModule};
use ngx::{ngx_log_debug, ngx_log_error};

use super::{Request, Unbound};
use crate::module::SessionRedis;
use crate::session::log_context::LogContext;

impl Request {
    /// Writes a line.
    pub(in crate::module) fn write_log(self, level: u32, message: fmt::Arguments<'_>) {
        self.without_ids(|log| {
            ngx_log_error!(level, log, "{message}");
        });
    }

    /// Writes a line for whoever debugs.
    pub(in crate::module) fn debug(self, message: fmt::Arguments<'_>) {
        self.without_ids(|log| {
            ngx_log_debug!(log, "{message}");
        });
    }

    /// Has our words about the request in place of nginx' own for a while, if ids may stand in addresses.
    fn without_ids(self, write: impl FnOnce(*mut ngx_log_t)) {
        let main = self.main().as_ptr();
        let conf = SessionRedis::main_conf(self.raw());
        // SAFETY: a live request has a connection, and that a log. No reference to the request is held while its handler
        // is changed, nor does `write` do anything but write.
        unsafe {
            let log = (*(*main).connection).log;
            if conf.is_none_or(|conf| conf.in_addresses.borrow().is_empty()) {
                return write(log);
            }
            let own = (*main).log_handler.replace(describe);
            write(log);
            (*main).log_handler = own;
        }
    }
}

/// Describes a request in `buffer`, which has room for `room` bytes; the end of the description.
unsafe extern "C" fn describe(
    r: *mut ngx_http_request_t,
    current: *mut ngx_http_request_t,
    buffer: *mut u_char,
    room: usize,
) -> *mut u_char {
    // SAFETY: nginx calls us with its live request, and one of its subrequests or itself.
    let (r, current) = unsafe { (Request::from_raw(r), Request::from_raw(current)) };
    let Some(conf) = SessionRedis::main_conf(r.raw()) else { return buffer };
    let text = context(r, current).without_ids(&conf.in_addresses.borrow());
    let count = text.len().min(room);
    // SAFETY: the buffer has room for so many bytes.
    unsafe {
        ptr::copy_nonoverlapping(text.as_ptr(), buffer, count);
        buffer.add(count)
    }
}

fn context<'a>(r: Request, current: Request) -> LogContext<'a> {
    let (raw, server) = (r.raw(), NgxHttpCoreModule::server_conf(r.raw()));
    // SAFETY: what a live request has of headers and of a server that it is passed to lives as long.
    unsafe {
        let value = |header: *mut nginx_sys::ngx_table_elt_t| {
            header.as_ref().map_or(&b""[..], |header| header.value.as_bytes_unbound())
        };
        let upstream = current.raw().upstream.as_ref();
        let peer = upstream.and_then(|upstream| Some((upstream, upstream.peer.name.as_ref()?)));
        let text = |text: &ngx_str_t| text.as_bytes_unbound();
        LogContext {
            server: server.map_or(&b""[..], |server| text(&server.server_name)),
            method: text(&raw.method_name),
            uri: text(&raw.unparsed_uri),
            protocol: text(&raw.http_protocol),
            subrequest: if r == current { b"" } else { text(&current.raw().uri) },
            upstream: peer
                .map_or([b"", b""], |(upstream, name)| [text(&upstream.schema), text(name)]),
            host: value(raw.headers_in.host),
            referrer: value(raw.headers_in.referer),
        }
    }
}
