//! The servers of a store on nginx's event loop: which one is asked, over which connections, and the watch for
//! those that are down.

mod master;

use core::cell::{Cell, OnceCell, RefCell};
use core::ptr;
use std::rc::Rc;

use nginx_sys::{
    ngx_event_t, ngx_exiting, ngx_log_t, ngx_random, ngx_resolver_t, NGX_LOG_ALERT, NGX_LOG_ERR,
    NGX_LOG_NOTICE, NGX_LOG_WARN,
};
use ngx::ngx_log_error;

use self::master::Master;
use super::address::Target;
use super::client::Client;
use super::connection::{Connection, Purpose};
use super::credentials::Credentials;
use super::event::{now, Event};
use super::lookup::{failed, Lookup};
use super::store::{Limits as StoreLimits, Store};
use super::tls::Tls;
use super::touches::Touches;
use crate::store::ability::{Abilities, Feature};
use crate::store::dialect::Dialect;
use crate::store::dialogue::Login;
use crate::store::error::Failure;
use crate::store::fetched::Changed;
use crate::store::resp;
use crate::store::server_error::{Code, ServerError};
use crate::store::servers::{Probe, Servers, TriedSet, Went};

/// Lives as long as the worker.
pub(super) struct StoreServers {
    /// Whose lookups they are asked for.
    client: &'static Client,
    /// For the log.
    store: String,
    /// By the index that names a server everywhere; as long as the list in `servers`.
    targets: RefCell<Vec<Rc<Target>>>,
    servers: RefCell<Servers>,
    connections: RefCell<Vec<Vec<Rc<Connection>>>>,
    dialect: Dialect,
    credentials: Credentials,
    tls: Option<Rc<Tls>>,
    limits: StoreLimits,
    resolver: Option<(*mut ngx_resolver_t, u64)>,
    log: *mut ngx_log_t,
    /// nginx's own lines about each failed connect would repeat what we say once.
    quiet_log: Box<ngx_log_t>,
    probe: OnceCell<Event>,
    abilities: Cell<Abilities>,
    touches: Touches,
    /// By server: it takes no writes, as far as is known, and whether the log was told.
    read_only: RefCell<TriedSet>,
    said_read_only: RefCell<TriedSet>,
    master: Master,
}

/// What tells the servers of a store from the Sentinels that name one of them.
pub(super) struct Conf {
    pub(super) targets: Vec<Target>,
    pub(super) servers: Servers,
    pub(super) credentials: Credentials,
    pub(super) tls: Option<Rc<Tls>>,
}

impl StoreServers {
    /// The servers of a store in this worker.
    pub(super) fn start(
        store: &Store,
        client: &'static Client,
        log: *mut ngx_log_t,
    ) -> &'static Self {
        let (credentials, tls) = (Credentials::of(store, log), store.tls.clone());
        let (targets, servers) = match &store.sentinels {
            Some(_) => (Vec::new(), Servers::none_yet()),
            None => (store.targets(), Servers::new(store.servers())),
        };
        let servers = Self::new(store, Conf { targets, servers, credentials, tls }, client, log);
        if let Some(sentinels) = &store.sentinels {
            servers.follow(sentinels, store);
        }
        servers
    }

    /// Servers that are not asked anything yet.
    pub(super) fn new(
        store: &Store,
        conf: Conf,
        client: &'static Client,
        log: *mut ngx_log_t,
    ) -> &'static Self {
        // SAFETY: a worker's log is a valid structure, which is copied.
        let mut quiet_log = Box::new(unsafe { log.read() });
        quiet_log.log_level = NGX_LOG_ALERT as usize;

        let servers: &'static Self = Box::leak(Box::new(Self {
            client,
            store: store.name.clone(),
            dialect: store.dialect(),
            servers: RefCell::new(conf.servers),
            connections: RefCell::new(vec![Vec::new(); conf.targets.len()]),
            targets: RefCell::new(conf.targets.into_iter().map(Rc::new).collect()),
            credentials: conf.credentials,
            tls: conf.tls,
            limits: store.limits,
            resolver: store.resolver(),
            log,
            quiet_log,
            probe: OnceCell::new(),
            abilities: Cell::default(),
            touches: Touches::default(),
            read_only: RefCell::default(),
            said_read_only: RefCell::default(),
            master: Master::default(),
        }));
        let probe = Event::new(on_probe, ptr::from_ref(servers).cast_mut().cast(), log);
        probe.set_cancelable(true);
        let _ = servers.probe.set(probe);
        servers
    }

    pub(super) fn client(&self) -> &'static Client {
        self.client
    }

    pub(super) fn limits(&self) -> resp::Limits {
        resp::Limits { bulk: self.limits.max_size, other: self.limits.max_size.max(64 * 1024) }
    }

    /// What they speak.
    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Who a new connection is.
    pub(super) fn login(&self) -> Login {
        let mut login = self.credentials.login().clone();
        if !self.may_have(Feature::Name) {
            login.client_name = None;
        }
        login.tracking &= self.may_have(Feature::Tracking);
        login
    }

    pub(super) fn tls(&self) -> Option<&Rc<Tls>> {
        self.tls.as_ref()
    }

    pub(super) fn log(&self) -> *mut ngx_log_t {
        self.log
    }

    pub(super) fn quiet_log(&self) -> *mut ngx_log_t {
        ptr::from_ref(&*self.quiet_log).cast_mut()
    }

    /// How long a connect may take, in ms.
    pub(super) fn connect_timeout(&self) -> u64 {
        self.limits.connect_timeout
    }

    /// How long a lookup may take, in ms.
    pub(super) fn timeout(&self) -> u64 {
        self.limits.timeout
    }

    /// nginx's resolver and the time it may take, in ms.
    pub(super) fn resolver(&self) -> Option<(*mut ngx_resolver_t, u64)> {
        self.resolver
    }

    /// Where a server listens.
    pub(super) fn target(&self, server: usize) -> Option<Rc<Target>> {
        self.targets.borrow().get(server).map(Rc::clone)
    }

    /// How the log calls a server.
    pub(super) fn name_of(&self, server: usize) -> Rc<str> {
        self.target(server).map_or_else(|| "".into(), |target| Rc::clone(target.name()))
    }

    /// Gives the lookup to a connection of a server that may be asked, `last` being what the last one
    /// said; `fresh`: to a connection that cannot have been closed as idle.
    pub(super) fn place(
        &'static self,
        lookup: &Rc<Lookup>,
        last: &Failure,
        fresh: bool,
    ) -> Result<(), Failure> {
        let mut last = last.clone();
        loop {
            let picked = self.pick(&lookup.tried.borrow(), lookup.query.writes());
            let Some(server) = picked else {
                if self.park(lookup) {
                    return Ok(());
                }
                let known_down = !self.servers.borrow().is_up() && lookup.tries.get() == 0;
                return Err(if known_down && last == Failure::NoServer {
                    Failure::Down
                } else {
                    last
                });
            };
            match self.connection(server, fresh) {
                Ok(connection) => {
                    connection.ask(lookup);
                    return Ok(());
                }
                Err(failure) => {
                    self.server_failed(server, &failure);
                    lookup.tried.borrow_mut().insert(server);
                    lookup.tries.set(lookup.tries.get() + 1);
                    if lookup.tries.get() > self.limits.retry {
                        return Err(failure);
                    }
                    last = failure;
                }
            }
        }
    }

    /// Extends the life of a key that this server has answered for. Not sent where no server is up.
    pub(super) fn touch(&'static self, key: &[u8], ms: u64, answered: Option<usize>) {
        let asked = answered.filter(|&server| {
            !self.read_only.borrow().contains(server) && self.servers.borrow().is_server_up(server)
        });
        let picked = asked.or_else(|| self.pick(&TriedSet::default(), true));
        if let Some(Ok(connection)) = picked.map(|server| self.connection(server, false)) {
            connection.touch(key, ms, self.touches.longer());
        }
    }

    /// A server to ask; one to `write` to takes writes, if there is any such.
    fn pick(&self, tried: &TriedSet, write: bool) -> Option<usize> {
        let mut servers = self.servers.borrow_mut();
        let read_only = self.read_only.borrow();
        if write && !read_only.is_empty() {
            let mut avoided = tried.clone();
            avoided.insert_all(&read_only);
            if let Some(server) = servers.pick(&avoided) {
                return Some(server);
            }
        }
        servers.pick(tried)
    }

    /// The least loaded connection to a server, or a new one while there may be more and one can be opened;
    /// if it must be `fresh`, one that is not used yet.
    fn connection(&'static self, server: usize, fresh: bool) -> Result<Rc<Connection>, Failure> {
        let (least, is_full) = {
            let connections = self.connections.borrow();
            let open = connections.get(server).map_or(&[][..], Vec::as_slice);
            let fit = open.iter().filter(|connection| {
                connection.is_for_lookups() && !(fresh && connection.is_used())
            });
            let least = fit.min_by_key(|connection| connection.load());
            (least.map(Rc::clone), open.len() >= self.limits.connections)
        };
        let Some(least) = least else { return self.open(server, Purpose::Lookups) };
        if fresh || is_full || least.load() == 0 {
            return Ok(least);
        }
        match self.open(server, Purpose::Lookups) {
            // That this worker has no descriptor left, say, is no fault of the server.
            Err(_) if least.is_open() => Ok(least),
            opened => opened,
        }
    }

    pub(super) fn open(
        &'static self,
        server: usize,
        purpose: Purpose,
    ) -> Result<Rc<Connection>, Failure> {
        let connection = Connection::open(self, server, purpose)?;
        if let Some(open) = self.connections.borrow_mut().get_mut(server) {
            open.push(Rc::clone(&connection));
        }
        Ok(connection)
    }

    /// The connection is closed.
    pub(super) fn forget(&self, connection: &Rc<Connection>) {
        self.note_writable(connection.server());
        if let Some(open) = self.connections.borrow_mut().get_mut(connection.server()) {
            open.retain(|other| !Rc::ptr_eq(other, connection));
        }
    }

    /// A server has failed a lookup: another try where that is safe and allowed, else it fails. `same`: the
    /// same server may be asked again over a fresh connection.
    pub(super) fn try_again(
        &'static self,
        lookup: &Rc<Lookup>,
        failure: &Failure,
        server: usize,
        same: bool,
    ) {
        if let Some(carrier) = lookup.drop_carrier() {
            carrier.connection.release();
        }
        if !same {
            lookup.tried.borrow_mut().insert(server);
        }
        // The timeout may have been that of another lookup, which found the server stuck.
        let may = same
            || failure.is_retryable_on_other_server()
            || (*failure == Failure::Timeout && now() < lookup.deadline)
            || (failure.is_read_only() && lookup.query.writes());
        // A connection that was ended over what another asked for is nobody's try; its deadline holds all the same.
        let is_try = *failure != Failure::LargeReply;
        let tries = lookup.tries.replace(lookup.tries.get() + u32::from(is_try));
        let placed = match may && (tries < self.limits.retry || !is_try) {
            true => self.place(lookup, failure, same),
            false => Err(failure.clone()),
        };
        if let Err(failure) = placed {
            self.client.end(lookup, failed(&failure), None, Some(server));
        }
    }

    /// A server failed for its own sake.
    pub(super) fn server_failed(&'static self, server: usize, failure: &Failure) {
        let went = self.servers.borrow_mut().failed(server, now(), random());
        self.doubt_master(failure);
        let Some(went) = went else { return };
        if let Went::Down { store } = went {
            let (name, server) = (&self.store, self.name_of(server));
            match store {
                true => {
                    ngx_log_error!(
                        NGX_LOG_ERR,
                        self.log,
                        "session store \"{name}\" is down: {failure}, server: {server}"
                    );
                }
                false => {
                    ngx_log_error!(
                        NGX_LOG_WARN,
                        self.log,
                        "a server of session store \"{name}\" is down: {failure}, server: {server}"
                    );
                }
            }
        }
        self.probe();
    }

    /// Probes the server whose turn it is, or waits until then.
    fn probe(&'static self) {
        // SAFETY: nginx writes the variable on this thread only.
        if unsafe { ngx_exiting != 0 } {
            return;
        }
        let Some(event) = self.probe.get() else { return };
        loop {
            let next = self.servers.borrow_mut().probe(now());
            match next {
                Probe::Nothing => return event.disarm(),
                Probe::At(time) => return event.arm(time.saturating_sub(now())),
                Probe::Now(server) => match self.open(server, Purpose::Probe) {
                    Ok(_) => return event.disarm(),
                    Err(_) => self.servers.borrow_mut().probe_failed(server, now(), random()),
                },
            }
        }
    }

    pub(super) fn probe_failed(&'static self, server: usize, failure: &Failure) {
        self.servers.borrow_mut().probe_failed(server, now(), random());
        self.doubt_master(failure);
        self.probe();
    }

    pub(super) fn probe_succeeded(&'static self, server: usize) {
        self.close_spare(server);
        let went = self.servers.borrow_mut().probe_succeeded(server);
        if let Some(Went::Up { store }) = went {
            let (name, server) = (&self.store, self.name_of(server));
            let what = if store { "" } else { "a server of " };
            ngx_log_error!(
                NGX_LOG_NOTICE,
                self.log,
                "{what}session store \"{name}\" is back, server: {server}"
            );
        }
        self.probe();
    }

    /// The probe's connection stays: those left from before the server was down make room for it.
    fn close_spare(&'static self, server: usize) {
        let spare = {
            let connections = self.connections.borrow();
            let open = connections.get(server).map_or(&[][..], Vec::as_slice);
            let idle =
                open.iter().filter(|connection| connection.is_used() && connection.load() == 0);
            let count = open.len().saturating_sub(self.limits.connections);
            idle.take(count).map(Rc::clone).collect::<Vec<_>>()
        };
        spare.iter().for_each(Connection::retire);
    }

    /// The server did not take the password: whether there is another one now.
    pub(super) fn has_newer_password(&self, used: Option<&[u8]>) -> bool {
        self.credentials.has_newer_password(used)
    }

    /// Writes go elsewhere from now on, where there is an elsewhere.
    pub(super) fn note_read_only(&self, server: usize) {
        self.read_only.borrow_mut().insert(server);
        if !self.said_read_only.borrow().contains(server) {
            self.said_read_only.borrow_mut().insert(server);
            let (name, server) = (&self.store, self.name_of(server));
            ngx_log_error!(
                NGX_LOG_WARN,
                self.log,
                "session store \"{name}\": {server} is a read-only replica, touch, destroy and routes \
                 are not possible there"
            );
        }
    }

    /// The server took a write, or may be another one by now.
    pub(super) fn note_writable(&self, server: usize) {
        self.read_only.borrow_mut().remove(server);
    }

    /// Whether the servers may have a feature.
    pub(super) fn may_have(&self, feature: Feature) -> bool {
        self.abilities.get().may_have(feature)
    }

    /// A server answered where a feature was asked for.
    pub(super) fn answered(&self, feature: Feature) {
        let was_doubted = self.know(|known| known.answered(feature));
        if was_doubted && feature == Feature::Tracking {
            self.leave_untracked();
        }
    }

    /// Nothing stays that was read where no changes are told.
    fn leave_untracked(&self) {
        let open: Vec<_> = self.connections.borrow().iter().flatten().map(Rc::clone).collect();
        open.iter().for_each(Connection::give_way);
        if let Some(cache) = self.client.cache() {
            cache.changed(&Changed::All);
        }
    }

    /// A server closed the connection where a feature was asked for. Whether it may be as well without it.
    pub(super) fn hung_up(&self, feature: Feature) -> bool {
        self.know(|known| known.hung_up(feature))
    }

    /// A server closed a connection without an answer to anything.
    pub(super) fn hung_up_anyway(&self) {
        self.know(Abilities::hung_up_anyway);
    }

    /// A server answered a command.
    pub(super) fn served(&'static self, server: usize) {
        let (mut life, mut tracking) = (false, false);
        self.know(|known| {
            known.served(|feature| {
                life |= feature == Feature::Life;
                tracking |= feature == Feature::Tracking;
            });
        });
        if tracking && self.open(server, Purpose::Trial).is_err() {
            self.trial_ended();
        }
        if life {
            let (name, server) = (&self.store, self.name_of(server));
            ngx_log_error!(
                NGX_LOG_WARN,
                self.log,
                "session store \"{name}\": server closed the connection when asked for the life of a \
                 session, which is not known from now on, nor extended, server: {server}"
            );
        }
    }

    /// A server closed the connection again where tracking was asked for, and has served without.
    pub(super) fn lacks_tracking(&self, server: usize) {
        self.know(|known| known.asked_again(Feature::Tracking, true));
        let (name, server) = (&self.store, self.name_of(server));
        ngx_log_error!(
            NGX_LOG_WARN,
            self.log,
            "session store \"{name}\": server closed the connection when sent HELLO and CLIENT TRACKING, the cache is not told \
             of changes from now on, server: {server}"
        );
    }

    /// Whoever was to try tracking again is closed.
    pub(super) fn trial_ended(&self) {
        self.know(|known| known.asked_again(Feature::Tracking, false));
    }

    fn know<T>(&self, learn: impl FnOnce(&mut Abilities) -> T) -> T {
        let mut abilities = self.abilities.get();
        let learnt = learn(&mut abilities);
        self.abilities.set(abilities);
        learnt
    }

    /// A server did not extend the life of a key.
    pub(super) fn touch_refused(&self, server: usize, error: &ServerError, longer: bool) {
        if error.code() == Code::ReadOnly {
            return self.note_read_only(server);
        }
        let name = self.name_of(server);
        self.touches.refused(self.log, &self.store, &name, error, longer);
    }

    /// Closes all connections and frees the servers.
    ///
    /// # Safety
    /// Nothing may use them from now on: nginx runs no events and no requests any more.
    pub(super) unsafe fn stop(&'static self) {
        let open: Vec<_> = self.connections.borrow().iter().flatten().map(Rc::clone).collect();
        open.iter().for_each(Connection::retire);
        drop(open);
        // SAFETY: the caller vouches for it.
        unsafe { self.stop_following() };
        // SAFETY: `start` leaked the box, and the caller vouches that this is its last use. Its event is
        // disarmed as it is dropped.
        drop(unsafe { Box::from_raw(ptr::from_ref(self).cast_mut()) });
    }
}

pub(super) fn random() -> u32 {
    ngx_random() as u32
}

unsafe extern "C" fn on_probe(event: *mut ngx_event_t) {
    // SAFETY: the event's data are the servers, which live as long as the worker.
    let servers: &'static StoreServers = unsafe { &*(*event).data.cast() };
    servers.probe();
}
