//! The one of a store's servers that Sentinels name: lookups follow it wherever it goes.

use core::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use nginx_sys::{NGX_LOG_ERR, NGX_LOG_WARN};
use ngx::ngx_log_error;

use super::StoreServers;
use crate::module::address::Target;
use crate::module::connection::Connection;
use crate::module::event::now;
use crate::module::lookup::{failed, Lookup};
use crate::module::sentinel::Watch;
use crate::module::sentinel_block::Sentinels;
use crate::module::store::Store;
use crate::store::error::Failure;

/// Addresses remembered; they may change for ever.
const MOST_TARGETS: usize = 16;

/// What is needed of a store whose master Sentinels name, and of these Sentinels.
#[derive(Default)]
pub(super) struct Master {
    /// Who says where the master is.
    watch: OnceCell<&'static Watch>,
    /// These servers are the Sentinels themselves: whom they speak to.
    watched_by: OnceCell<&'static Watch>,
    /// The Sentinels have not answered yet.
    is_awaited: Cell<bool>,
    /// Lookups that wait for them, in the order of their deadlines.
    parked: RefCell<VecDeque<Rc<Lookup>>>,
    /// The log was told, or is about to be, that a server is a Sentinel.
    has_wondered: Cell<bool>,
}

impl StoreServers {
    /// Asks these Sentinels where the master is, and follows it from then on.
    pub(super) fn follow(&'static self, sentinels: &Sentinels, store: &Store) {
        self.master.is_awaited.set(true);
        let _ = self.master.watch.set(Watch::start(sentinels, store, self, self.log));
    }

    /// Whom the servers speak to, if they are Sentinels.
    pub(in crate::module) fn watched_by(&self) -> Option<&'static Watch> {
        self.master.watched_by.get().copied()
    }

    /// The servers are Sentinels.
    pub(in crate::module) fn set_watched_by(&self, watch: &'static Watch) {
        let _ = self.master.watched_by.set(watch);
    }

    /// Whether lookups are served. As long as the first master is awaited they are not.
    pub(in crate::module) fn is_up(&self) -> bool {
        self.servers.borrow().is_up()
    }

    /// Since when they are not, in ms.
    pub(in crate::module) fn down_since(&self) -> Option<u64> {
        self.servers.borrow().down_since()
    }

    /// Keeps a lookup until the master is known, if there is hope. It ends by its deadline at the latest.
    pub(super) fn park(&self, lookup: &Rc<Lookup>) -> bool {
        if !self.master.is_awaited.get() {
            return false;
        }
        let mut parked = self.master.parked.borrow_mut();
        while parked.front().is_some_and(|lookup| lookup.is_done()) {
            parked.pop_front();
        }
        parked.push_back(Rc::clone(lookup));
        true
    }

    /// The master failed, or is none.
    pub(super) fn doubt_master(&self, failure: &Failure) {
        if let Some(watch) = self.master.watch.get() {
            watch.doubt(*failure == Failure::Replica);
        }
    }

    /// This is the master from now on. What was under way elsewhere is asked again there.
    pub(in crate::module) fn use_master(&'static self, target: Target) {
        let was_down = !self.is_up() && !self.master.is_awaited.replace(false);
        let old: Vec<_> = self.connections.borrow().iter().flatten().map(Rc::clone).collect();
        let mut orphans: Vec<_> = old.iter().flat_map(Connection::abandon).collect();
        orphans.extend(self.master.parked.take());

        let server = self.place_for(target);
        self.servers.borrow_mut().use_only(server, was_down.then(now));
        self.note_writable(server);
        self.probe();
        for lookup in orphans.iter().filter(|lookup| !lookup.is_done()) {
            lookup.tried.take();
            if let Err(failure) = self.place(lookup, &Failure::NoServer, false) {
                self.client.end(lookup, failed(&failure), None, None);
            }
        }
    }

    /// No Sentinel names a master, and none did before.
    pub(in crate::module) fn no_master(&'static self) {
        let failure = Failure::NoMaster;
        let name = &self.store;
        ngx_log_error!(NGX_LOG_ERR, self.log, "session store \"{name}\" is down: {failure}");
        self.master.is_awaited.set(false);
        for lookup in self.master.parked.take() {
            self.client.end(&lookup, failed(&failure), None, None);
        }
    }

    /// The index of a server; of a new one that of the server which is longest out of use once the list is full.
    fn place_for(&self, target: Target) -> usize {
        let mut targets = self.targets.borrow_mut();
        if let Some(known) = targets.iter().position(|known| known.name() == target.name()) {
            return known;
        }
        if targets.len() < MOST_TARGETS {
            targets.push(Rc::new(target));
            self.connections.borrow_mut().push(Vec::new());
            return targets.len() - 1;
        }
        let next = self.servers.borrow().only().map_or(0, |used| (used + 1) % MOST_TARGETS);
        if let Some(place) = targets.get_mut(next) {
            *place = Rc::new(target);
        }
        next
    }

    /// Whether it is to be found out what the servers are; once.
    pub(in crate::module) fn wonders(&self) -> bool {
        !self.master.has_wondered.replace(true)
    }

    /// A server that is asked for sessions is a Sentinel, which watches this master.
    pub(in crate::module) fn note_sentinel(&self, server: usize, master: Option<&str>) {
        let (name, server) = (&self.store, self.name_of(server));
        let master = master.unwrap_or("<master>");
        ngx_log_error!(
            NGX_LOG_WARN,
            self.log,
            "session store \"{name}\": {server} is a Sentinel, not a Redis; use \"sentinel {master} {server}\""
        );
    }

    /// Frees who asks the Sentinels.
    ///
    /// # Safety
    /// As for `stop`.
    pub(super) unsafe fn stop_following(&self) {
        if let Some(watch) = self.master.watch.get() {
            // SAFETY: the caller vouches for it.
            unsafe { watch.stop() };
        }
    }
}
