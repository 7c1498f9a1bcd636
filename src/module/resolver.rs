//! A server's name resolved at run time, by nginx's own resolver.

use std::rc::Rc;

use nginx_sys::{
    ngx_int_t, ngx_msec_t, ngx_resolve_name, ngx_resolve_name_done, ngx_resolve_start,
    ngx_resolver_ctx_t, ngx_str_t, NGX_OK,
};

use super::address::{Name, SocketAddress, Target};
use super::bits;
use super::connection::{self, Connection};
use super::store_servers::StoreServers;
use crate::store::error::Failure;

/// Asks for the addresses of a name; the connection goes on with one of them.
pub(super) fn begin(
    connection: &Rc<Connection>,
    servers: &StoreServers,
    name: &Name,
) -> Result<(), Failure> {
    let Some((resolver, timeout)) = servers.resolver() else { return Err(Failure::Unresolved) };

    // SAFETY: the resolver lives as long as the configuration, and so as this worker. A question
    // under way is kept in the connection, as is the name, and taken back before the connection goes.
    // nginx writes to the name, in place and on this thread only: it lies in cells.
    unsafe {
        let question = ngx_resolve_start(resolver, core::ptr::null_mut());
        // The second is nginx's NGX_NO_RESOLVER.
        if question.is_null() || question as usize == usize::MAX {
            return Err(Failure::Unresolved);
        }
        let host = name.host.as_ptr().cast_mut().cast();
        (*question).name = ngx_str_t { len: name.host.len(), data: host };
        (*question).handler = Some(on_resolved);
        (*question).data = Rc::as_ptr(connection).cast_mut().cast();
        (*question).timeout = timeout as ngx_msec_t;
        // A worker that leaves waits for the lookups that need the answer, not for the answer.
        bits::resolver_ctx::CANCELABLE.set(&mut *question, 1);

        // On failure nginx has freed the question; a cached name is answered within the call.
        if ngx_resolve_name(question) != NGX_OK as ngx_int_t {
            return Err(Failure::Unresolved);
        }
        if connection.is_resolving() {
            connection.resolving.set(question);
        }
    }
    connection.unresolved.take().map_or(Ok(()), Err)
}

unsafe extern "C" fn on_resolved(question: *mut ngx_resolver_ctx_t) {
    // SAFETY: the question's data is the connection that asked, which is alive while it is open.
    let connection = unsafe { connection::shared((*question).data) };
    let asked_before = !connection.resolving.replace(core::ptr::null_mut()).is_null();

    let mut addresses: Vec<_> = match connection.target() {
        // SAFETY: an answer holds `naddrs` addresses; a failed one holds none.
        Target::Name(name) => unsafe {
            let count = if (*question).state == 0 { (*question).naddrs } else { 0 };
            let addresses = (0..count).map(|index| &*(*question).addrs.add(index));
            addresses.map(|address| SocketAddress::resolved(address, name)).collect()
        },
        Target::Address(_) => Vec::new(),
    };
    if !addresses.is_empty() {
        let first = nginx_sys::ngx_random() as usize % addresses.len();
        addresses.rotate_left(first);
    }
    // SAFETY: the question is answered, and its memory not used any more.
    unsafe { ngx_resolve_name_done(question) };

    match connection.connect_to_any(addresses) {
        Err(failure) if asked_before => connection.fail(&failure),
        // Whoever opens the connection is told, still within `begin`.
        result => *connection.unresolved.borrow_mut() = result.err(),
    }
}
