//! The servers of an `upstream` block as nginx's balancers share them among requests, with a "zone" among workers.

use core::ptr::{self, NonNull};

use nginx_sys::{
    ngx_http_upstream_rr_peer_data_t as Data, ngx_http_upstream_rr_peer_t as RawPeer,
    ngx_http_upstream_rr_peers_t as RawPeers, ngx_peer_connection_t, ngx_str_t,
};
#[cfg(ngx_feature = "http_upstream_zone")]
use nginx_sys::{ngx_rwlock_rlock, ngx_rwlock_unlock, ngx_rwlock_wlock};

use crate::module::bits;
use crate::sticky::Server;

/// `NGX_HTTP_UPSTREAM_DRAINING`: since 1.29.6 a server is "down" by it that keeps its sessions. Before, `down` was 0 or 1.
const DRAINING: usize = 8;

/// A list of servers, locked against its change.
pub(super) struct Peers(NonNull<RawPeers>);

impl Peers {
    /// None where the list has changed since the request began: nginx gives such a request no server.
    ///
    /// # Safety
    /// `data` must be a request's, `list` one of its block's two lists, and its lock not be held.
    pub(super) unsafe fn lock(data: &Data, list: NonNull<RawPeers>) -> Option<Self> {
        // SAFETY: the lists of a block live as long as its configuration; a lock is there with a "zone".
        #[cfg(ngx_feature = "http_upstream_zone")]
        unsafe {
            if !(*list.as_ptr()).shpool.is_null() {
                ngx_rwlock_rlock(&raw mut (*list.as_ptr()).rwlock);
            }
        }
        let peers = Self(list);
        peers.is_as_it_was(data).then_some(peers)
    }

    #[cfg(all(ngx_feature = "http_upstream_zone", nginx_1_27_3))]
    fn is_as_it_was(&self, data: &Data) -> bool {
        // SAFETY: the list is locked; the number of its version lies in the zone.
        unsafe { self.raw().config.as_ref().is_none_or(|config| *config == data.config) }
    }

    #[cfg(not(all(ngx_feature = "http_upstream_zone", nginx_1_27_3)))]
    fn is_as_it_was(&self, _data: &Data) -> bool {
        true
    }

    fn raw(&self) -> &RawPeers {
        // SAFETY: the list is live, and locked against change.
        unsafe { self.0.as_ref() }
    }

    /// Whether it is the block's only server, for which nginx counts no failures.
    pub(super) fn is_single(&self) -> bool {
        bits::http_upstream_rr_peers::SINGLE.is_set(self.raw())
    }

    pub(super) fn len(&self) -> usize {
        self.raw().number
    }

    /// The servers, by their places in the list.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, Peer<'_>)> {
        let mut next = self.raw().peer;
        let peers = core::iter::from_fn(move || {
            let peer = NonNull::new(next)?;
            // SAFETY: a server stays in its list while that is locked.
            next = unsafe { peer.as_ref().next };
            Some(Peer { peer, list: self })
        });
        peers.enumerate()
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // SAFETY: as in `lock`; the lock is held.
        #[cfg(ngx_feature = "http_upstream_zone")]
        unsafe {
            if !(*self.0.as_ptr()).shpool.is_null() {
                ngx_rwlock_unlock(&raw mut (*self.0.as_ptr()).rwlock);
            }
        }
    }
}

/// A server of a locked list.
pub(super) struct Peer<'a> {
    peer: NonNull<RawPeer>,
    list: &'a Peers,
}

impl<'a> Peer<'a> {
    pub(super) fn address(&self) -> &'a [u8] {
        // SAFETY: a server's names do not change while it is in its list.
        unsafe { bytes(&raw const (*self.peer.as_ptr()).name) }
    }

    /// As its `server` line has it.
    pub(super) fn line(&self) -> &'a [u8] {
        // SAFETY: as above.
        unsafe { bytes(&raw const (*self.peer.as_ptr()).server) }
    }

    pub(super) fn is(&self, other: *const RawPeer) -> bool {
        ptr::eq(self.peer.as_ptr(), other)
    }

    /// Locks what changes of it.
    pub(super) fn lock(self) -> LockedPeer<'a> {
        // SAFETY: the server is in its locked list; a lock is there with a "zone".
        #[cfg(ngx_feature = "http_upstream_zone")]
        unsafe {
            if !self.list.raw().shpool.is_null() {
                ngx_rwlock_wlock(&raw mut (*self.peer.as_ptr()).lock);
            }
        }
        LockedPeer(self)
    }
}

/// A server that no other worker changes now.
pub(super) struct LockedPeer<'a>(Peer<'a>);

impl LockedPeer<'_> {
    pub(super) fn server(&self, tried: bool) -> Server {
        // SAFETY: the server is live and locked.
        let raw = unsafe { self.0.peer.as_ref() };
        Server {
            down: raw.down & !DRAINING != 0,
            fails: raw.fails,
            max_fails: raw.max_fails,
            checked: raw.checked,
            fail_timeout: raw.fail_timeout,
            connections: raw.conns,
            max_connections: raw.max_conns,
            tried,
        }
    }

    /// Gives the connection this server, as nginx's own balancers do.
    ///
    /// # Safety
    /// `pc` and `data` must be of one live request, which has no server now, and that is then to be given back by
    /// nginx's own function.
    pub(super) unsafe fn take(self, pc: *mut ngx_peer_connection_t, data: *mut Data, now: i64) {
        let peer = self.0.peer.as_ptr();
        // SAFETY: the caller vouches for both; the server is live and locked, and what is counted here keeps it so.
        unsafe {
            bits::peer_connection::CACHED.set(&mut *pc, 0);
            (*pc).connection = ptr::null_mut();
            (*pc).sockaddr = (*peer).sockaddr;
            (*pc).socklen = (*peer).socklen;
            (*pc).name = &raw mut (*peer).name;
            (*data).current = peer;
            (*peer).conns += 1;
            #[cfg(all(ngx_feature = "http_upstream_zone", nginx_1_27_3))]
            {
                (*peer).refs += 1;
            }
            if now - (*peer).checked > (*peer).fail_timeout {
                (*peer).checked = now;
            }
        }
    }

    /// Takes it from the connection again, as if it had not been chosen.
    ///
    /// # Safety
    /// `pc` must be of a live request that has taken this server and not used it.
    pub(super) unsafe fn give_back(self, pc: *mut ngx_peer_connection_t) {
        let peer = self.0.peer.as_ptr();
        // SAFETY: the caller vouches for `pc`; the server is live and locked, and was counted when it was taken. It is
        // in its list, so that nobody waits for the last reference to free it.
        unsafe {
            // By this nginx sees that there is no server to be given back.
            (*pc).sockaddr = ptr::null_mut();
            (*peer).conns -= 1;
            #[cfg(all(ngx_feature = "http_upstream_zone", nginx_1_27_3))]
            {
                (*peer).refs -= 1;
            }
        }
    }
}

impl Drop for LockedPeer<'_> {
    fn drop(&mut self) {
        // SAFETY: as in `Peer::lock`; the lock is held.
        #[cfg(ngx_feature = "http_upstream_zone")]
        unsafe {
            if !self.0.list.raw().shpool.is_null() {
                ngx_rwlock_unlock(&raw mut (*self.0.peer.as_ptr()).lock);
            }
        }
    }
}

/// # Safety
/// `text` must point to a live string of nginx, which stays for as long as the result.
unsafe fn bytes<'a>(text: *const ngx_str_t) -> &'a [u8] {
    // SAFETY: the caller vouches for it; an empty string may have no memory.
    unsafe {
        match (*text).data.is_null() {
            true => &[],
            false => core::slice::from_raw_parts((*text).data, (*text).len),
        }
    }
}

/// The bits of a request's list of servers that it has tried.
pub(super) struct Tried(*mut usize);

impl Tried {
    /// # Safety
    /// `data` must be a live request's, and no place beyond the length of its lists be asked for.
    pub(super) unsafe fn of(data: &Data) -> Self {
        Self(data.tried)
    }

    pub(super) fn get(&self, place: usize) -> bool {
        // SAFETY: by the contract of `of`.
        unsafe { *self.word(place) & Self::mask(place) != 0 }
    }

    pub(super) fn set(&self, place: usize) {
        // SAFETY: as above.
        unsafe { *self.word(place) |= Self::mask(place) };
    }

    pub(super) fn clear(&self, place: usize) {
        // SAFETY: as above.
        unsafe { *self.word(place) &= !Self::mask(place) };
    }

    fn word(&self, place: usize) -> *mut usize {
        self.0.wrapping_add(place / usize::BITS as usize)
    }

    fn mask(place: usize) -> usize {
        1 << (place % usize::BITS as usize)
    }
}
