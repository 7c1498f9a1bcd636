//! A request's choice of servers: first that of its session, then what the block's own method chooses. In front of that
//! method as nginx's keepalive module stands in front of one.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};

use nginx_sys::{
    ngx_event_free_peer_pt, ngx_event_get_peer_pt, ngx_event_notify_peer_pt, ngx_http_request_t,
    ngx_http_upstream_free_round_robin_peer, ngx_http_upstream_rr_peer_data_t as Data,
    ngx_http_upstream_rr_peers_t as RawPeers, ngx_http_upstream_srv_conf_t, ngx_int_t,
    ngx_peer_connection_t, ngx_uint_t, NGX_BUSY, NGX_LOG_ERR, NGX_LOG_WARN,
};
#[cfg(ngx_feature = "http_ssl")]
use nginx_sys::{ngx_event_save_peer_session_pt, ngx_event_set_peer_session_pt};

use super::drain::Draining;
use super::peers::{Peers, Tried};
use crate::module::conf::UpstreamConf;
use crate::module::context::Context;
use crate::module::event::{now, seconds};
use crate::module::request::Request;
use crate::module::route::route_of;
use crate::module::{pool, ERROR, OK};
use crate::sticky::{Fate, Target};

const BUSY: ngx_int_t = NGX_BUSY as ngx_int_t;

/// Lives in the request's pool, in the place of the data of the block's own method.
struct Balancing {
    r: Request,
    conf: &'static UpstreamConf,
    route: Option<Vec<u8>>,
    /// The block's servers; its backups are another list behind.
    primary: NonNull<RawPeers>,
    /// The request is at a backup for its session's sake, which the block's method must not come to know.
    at_backup: Cell<bool>,
    backup_tried: Cell<bool>,
    /// Drained servers from which the method has gone on to the backups: to be asked after these.
    left: Cell<Option<PassedOver>>,
    /// How many tries were left when the last server was given back.
    tries: Cell<usize>,
    /// Of the block's method; begins with what all of nginx's methods have in common.
    data: NonNull<Data>,
    get: ngx_event_get_peer_pt,
    free: ngx_event_free_peer_pt,
    notify: ngx_event_notify_peer_pt,
    #[cfg(ngx_feature = "http_ssl")]
    set_session: ngx_event_set_peer_session_pt,
    #[cfg(ngx_feature = "http_ssl")]
    save_session: ngx_event_save_peer_session_pt,
}

/// A request comes to the block.
pub(super) unsafe extern "C" fn init_peer(
    r: *mut ngx_http_request_t,
    block: *mut ngx_http_upstream_srv_conf_t,
) -> ngx_int_t {
    // SAFETY: nginx calls us with a live request and the block that it is passed to.
    unsafe {
        let Some(conf) = super::conf_of(&*block) else { return ERROR };
        let Some(init) = conf.init_peer.get() else { return ERROR };
        match init(r, block) {
            OK => {}
            rc => return rc,
        }
        let (r, pc) = (Request::from_raw(r), &mut (*(*r).upstream).peer);
        match stand_before(r, pc, conf) {
            Some(true) => OK,
            Some(false) => {
                warn_of_foreign(r, &*block);
                OK
            }
            None => ERROR,
        }
    }
}

/// Whether the block's own method is one before which ours can stand. None: out of memory.
///
/// # Safety
/// `pc` must be the request's, as that method has made it ready.
unsafe fn stand_before(
    r: Request,
    pc: &mut ngx_peer_connection_t,
    conf: &'static UpstreamConf,
) -> Option<bool> {
    let known = ngx_http_upstream_free_round_robin_peer as *const () as usize;
    let is_known = pc.free.is_some_and(|free| free as *const () as usize == known);
    let Some(data) = NonNull::new(pc.data.cast::<Data>()).filter(|_| is_known) else {
        return Some(false);
    };
    // SAFETY: where this function gives servers back, the data begins with that which it works on.
    let primary = NonNull::new(unsafe { data.as_ref().peers })?;
    if let Some(context) = Context::of(r).filter(|_| r.is_main()) {
        context.displaced.set(false);
    }
    let balancing = Balancing {
        r,
        conf,
        route: route_of(r),
        primary,
        at_backup: Cell::new(false),
        backup_tried: Cell::new(false),
        left: Cell::new(None),
        tries: Cell::new(usize::MAX),
        data,
        get: pc.get,
        free: pc.free,
        notify: pc.notify,
        #[cfg(ngx_feature = "http_ssl")]
        set_session: pc.set_session,
        #[cfg(ngx_feature = "http_ssl")]
        save_session: pc.save_session,
    };
    // SAFETY: the request's pool is live as long as its connection to a server.
    let place = unsafe { pool::give(r.pool(), balancing) }?;
    pc.data = place.as_ptr().cast();
    pc.get = Some(get);
    pc.free = Some(free);
    pc.notify = pc.notify.and(Some(notify));
    #[cfg(ngx_feature = "http_ssl")]
    {
        pc.set_session = Some(set_session);
        pc.save_session = Some(save_session);
    }
    Some(true)
}

/// A method with books of its own.
fn warn_of_foreign(r: Request, block: &ngx_http_upstream_srv_conf_t) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        r.write_log(
            NGX_LOG_WARN,
            format_args!(
                "the balancing method of upstream \"{}\" keeps its servers otherwise than nginx's own, \
                 \"session_redis_sticky\" has no effect there",
                block.host.as_bytes().escape_ascii()
            ),
        );
    }
}

unsafe extern "C" fn get(pc: *mut ngx_peer_connection_t, data: *mut c_void) -> ngx_int_t {
    // SAFETY: nginx calls us for the request in whose pool the data is, when it has no server.
    unsafe {
        let this = &*data.cast::<Balancing>();
        if this.at_backup.take() {
            (*this.data.as_ptr()).peers = this.primary.as_ptr();
        }
        let fate = this.go_where_it_belongs(pc);
        // One that the block does not have, any more perhaps, will not come back.
        let is_gone = fate.is_none() && this.route.is_some();
        if fate == Some(Fate::Down) || is_gone {
            if let Some(context) = Context::of(this.r).filter(|_| this.r.is_main()) {
                context.displaced.set(true);
                this.r.debug(format_args!("the server of the session is down or gone"));
            }
        }
        match fate {
            Some(Fate::Use) => OK,
            Some(_) if this.conf.sticky.value().is_some_and(|sticky| sticky.strict) => {
                this.say_refused();
                (*pc).name = this.primary.as_ref().name;
                BUSY
            }
            _ => this.go_elsewhere(pc),
        }
    }
}

impl Balancing {
    /// Says why a request gets no server.
    fn say_refused(&self) {
        let count = self.conf.sticky.value().and_then(|sticky| sticky.refused.count(now()));
        if let Some(count) = count {
            self.r.write_log(
                NGX_LOG_ERR,
                format_args!(
                    "{count} requests: the server of the session cannot be had, and no other will do by \
                     \"session_redis_sticky strict\""
                ),
            );
        }
    }

    /// Takes the server of the session if it can be had; else says why not. None where there is none.
    ///
    /// # Safety
    /// `pc` must be the request's, without a server.
    unsafe fn go_where_it_belongs(&self, pc: *mut ngx_peer_connection_t) -> Option<Fate> {
        let names = self.conf.route_names.items().iter();
        let names = names.map(|named| (named.name.as_str(), named.server.as_str()));
        let target = Target::of(self.route.as_deref()?, names);
        let now = seconds();
        // SAFETY: the request's data and its block's lists are live, no lock is held. In a list that is as it was
        // when the request began each place has its bit.
        unsafe {
            let data = self.data.as_ptr();
            // nginx gives a try back where a kept connection was broken, as a server may do at any time.
            let given_back = (*pc).tries > self.tries.get();
            let broken = if given_back { (*data).current } else { ptr::null_mut() };
            let lists = [Some(self.primary), NonNull::new(self.primary.as_ref().next)];
            let mut best: Option<Fate> = None;
            for list in lists.into_iter().flatten() {
                let peers = Peers::lock(&*data, list)?;
                if peers.is_single() {
                    return None;
                }
                for (place, peer) in peers.iter() {
                    if !target.is(peer.address(), peer.line()) {
                        continue;
                    }
                    let tried = self.was_tried(list, place) && !peer.is(broken);
                    let peer = peer.lock();
                    let fate = peer.server(tried).fate(now);
                    if fate == Fate::Use {
                        peer.take(pc, data, now);
                        self.note(list, place);
                        return Some(fate);
                    }
                    best = Some(best.map_or(fate, |best| best.min(fate)));
                }
            }
            best
        }
    }

    /// Whether the request was at this server. What it tried of the servers is forgotten where the block's method
    /// has gone on to the backups.
    fn was_tried(&self, list: NonNull<RawPeers>, place: usize) -> bool {
        // SAFETY: the data is live; its bits are those of the list that it is in.
        unsafe {
            let data = self.data.as_ref();
            match data.peers == list.as_ptr() {
                true => Tried::of(data).get(place),
                false => list == self.primary || self.backup_tried.get(),
            }
        }
    }

    /// Notes where the request goes for its session's sake.
    ///
    /// # Safety
    /// The request must have taken that server.
    unsafe fn note(&self, list: NonNull<RawPeers>, place: usize) {
        // SAFETY: as above.
        unsafe {
            let data = self.data.as_ptr();
            if (*data).peers == list.as_ptr() {
                Tried::of(&*data).set(place);
            } else {
                (*data).peers = list.as_ptr();
                self.at_backup.set(true);
                self.backup_tried.set(true);
            }
        }
    }

    /// Takes a server that the block's own method chooses: one that is not drained, if there is one.
    ///
    /// # Safety
    /// As above.
    unsafe fn go_elsewhere(&self, pc: *mut ngx_peer_connection_t) -> ngx_int_t {
        let Some(get) = self.get else { return ERROR };
        // SAFETY: the method is called with its own data.
        let ask = || unsafe { get(pc, self.data.as_ptr().cast()) };
        // SAFETY: the data is live and no lock is held.
        let mut passed_over = unsafe { self.pass_over_drained() };
        let mut rc = ask();
        // SAFETY: as above; where the method says OK the request has a server.
        if rc == OK && unsafe { self.give_back_drained(pc) } {
            self.left.set(self.left.take().or(passed_over));
            // SAFETY: as above.
            passed_over = unsafe { self.pass_over_drained() };
            rc = ask();
        }
        while rc == BUSY {
            let Some(next) = passed_over.take().or_else(|| self.left.take()) else { return rc };
            next.restore();
            rc = ask();
        }
        self.left.set(self.left.take().or(passed_over.and_then(PassedOver::forget)));
        rc
    }

    /// Gives back a drained server that the request has just taken. The method comes to one when it goes on to the
    /// backups, of which none were passed over yet.
    ///
    /// # Safety
    /// The request must have a server, and no lock be held.
    unsafe fn give_back_drained(&self, pc: *mut ngx_peer_connection_t) -> bool {
        let Some(draining) = Draining::of(self.r, self.conf) else { return false };
        // SAFETY: as in `go_where_it_belongs`; the server is that which the method has counted for this request.
        unsafe {
            let data = self.data.as_ref();
            if data.peers == self.primary.as_ptr() {
                return false;
            }
            let list = NonNull::new(data.peers);
            let Some(peers) = list.and_then(|list| Peers::lock(data, list)) else { return false };
            let taken = peers.iter().find(|(_, peer)| peer.is(data.current));
            match taken.filter(|(_, peer)| draining.has(peer.address(), peer.line())) {
                Some((place, peer)) if !peers.is_single() => {
                    peer.lock().give_back(pc);
                    Tried::of(data).clear(place);
                    true
                }
                _ => false,
            }
        }
    }

    /// Makes drained servers look tried. None where there are none of them.
    ///
    /// # Safety
    /// No lock may be held.
    unsafe fn pass_over_drained(&self) -> Option<PassedOver> {
        let draining = Draining::of(self.r, self.conf)?;
        // SAFETY: as in `go_where_it_belongs`.
        unsafe {
            let data = self.data.as_ref();
            let list = NonNull::new(data.peers)?;
            let peers = Peers::lock(data, list)?;
            let tried = Tried::of(data);
            let places: Vec<usize> = peers
                .iter()
                .filter(|(_, peer)| draining.has(peer.address(), peer.line()))
                .map(|(place, _)| place)
                .filter(|place| !tried.get(*place))
                .collect();
            if places.is_empty() || peers.is_single() {
                return None;
            }
            let before = (0..peers.len()).filter(|place| tried.get(*place)).collect();
            places.iter().for_each(|place| tried.set(*place));
            Some(PassedOver { data: self.data, list, places, before })
        }
    }
}

/// Servers that a request is kept away from.
struct PassedOver {
    data: NonNull<Data>,
    list: NonNull<RawPeers>,
    /// Their places in the list.
    places: Vec<usize>,
    /// The places of those that it had tried.
    before: Vec<usize>,
}

impl PassedOver {
    /// The request has a server: what it did not try is to be had again. Returned where the method has gone on to
    /// the backups, and has forgotten what was tried.
    fn forget(self) -> Option<Self> {
        // SAFETY: the request's data is live; its bits are those of the list that it is in.
        unsafe {
            let data = self.data.as_ref();
            if data.peers != self.list.as_ptr() {
                return Some(self);
            }
            let tried = Tried::of(data);
            self.places.iter().for_each(|place| tried.clear(*place));
        }
        None
    }

    /// The request has none, be it that it asked the backups too: it is as it was before.
    fn restore(self) {
        // SAFETY: as above.
        unsafe {
            (*self.data.as_ptr()).peers = self.list.as_ptr();
            let tried = Tried::of(self.data.as_ref());
            self.places.iter().for_each(|place| tried.clear(*place));
            self.before.iter().for_each(|place| tried.set(*place));
        }
    }
}

unsafe extern "C" fn free(pc: *mut ngx_peer_connection_t, data: *mut c_void, state: ngx_uint_t) {
    // SAFETY: nginx calls us with the data of a live request, the method is called with its own.
    unsafe {
        let this = &*data.cast::<Balancing>();
        if let Some(free) = this.free {
            free(pc, this.data.as_ptr().cast(), state);
            this.tries.set((*pc).tries);
        }
    }
}

unsafe extern "C" fn notify(pc: *mut ngx_peer_connection_t, data: *mut c_void, kind: ngx_uint_t) {
    // SAFETY: as above.
    unsafe {
        let this = &*data.cast::<Balancing>();
        if let Some(notify) = this.notify {
            notify(pc, this.data.as_ptr().cast(), kind);
        }
    }
}

#[cfg(ngx_feature = "http_ssl")]
unsafe extern "C" fn set_session(pc: *mut ngx_peer_connection_t, data: *mut c_void) -> ngx_int_t {
    // SAFETY: as above.
    unsafe {
        let this = &*data.cast::<Balancing>();
        this.set_session.map_or(OK, |set_session| set_session(pc, this.data.as_ptr().cast()))
    }
}

#[cfg(ngx_feature = "http_ssl")]
unsafe extern "C" fn save_session(pc: *mut ngx_peer_connection_t, data: *mut c_void) {
    // SAFETY: as above.
    unsafe {
        let this = &*data.cast::<Balancing>();
        if let Some(save_session) = this.save_session {
            save_session(pc, this.data.as_ptr().cast());
        }
    }
}
