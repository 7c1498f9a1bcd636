//! A worker's connections to the Sentinels of a store, on nginx's event loop: one to each, over which it asks and
//! is told of changes. Whom to believe, and when to ask, decides `store::sentinel::belief`.

use core::cell::{OnceCell, RefCell};
use core::ptr;
use std::rc::Rc;

use nginx_sys::{ngx_event_t, ngx_exiting, ngx_log_t, NGX_LOG_NOTICE, NGX_LOG_WARN};
use ngx::ngx_log_error;

use super::address::Target;
use super::connection::{Connection, Purpose};
use super::credentials::Credentials;
use super::event::{now, Event};
use super::sentinel_block::Sentinels;
use super::store::Store;
use super::store_servers::{random, Conf, StoreServers};
use crate::store::endpoint::Address;
use crate::store::error::Failure;
use crate::store::resp::Reply;
use crate::store::sentinel::belief::{self, Step, Verdict, Votes};
use crate::store::sentinel::{Fault, Heard, Talk};
use crate::store::servers::Servers;

/// Lives as long as the worker.
pub(super) struct Watch {
    /// For the log.
    store: String,
    master: String,
    log: *mut ngx_log_t,
    /// Those whose master is looked for.
    servers: &'static StoreServers,
    belief: RefCell<belief::Sentinels>,
    /// By Sentinel, as long as it has a connection that serves.
    conversations: RefCell<Vec<Option<Conversation>>>,
    /// How the log calls the last master.
    last: RefCell<Option<Rc<str>>>,
    rest: OnceCell<Rest>,
}

struct Conversation {
    connection: Rc<Connection>,
    talk: Talk,
}

/// What points back to it.
struct Rest {
    sentinels: &'static StoreServers,
    event: Event,
}

impl Watch {
    /// Begins to ask, in a process that serves requests.
    pub(super) fn start(
        conf: &Sentinels,
        store: &Store,
        servers: &'static StoreServers,
        log: *mut ngx_log_t,
    ) -> &'static Self {
        let count = conf.targets().len();
        let watch: &'static Self = Box::leak(Box::new(Self {
            store: store.name.clone(),
            master: conf.conf.master.clone(),
            log,
            servers,
            belief: RefCell::new(belief::Sentinels::new(
                conf.targets().iter().map(|(_, place)| *place),
            )),
            conversations: RefCell::new((0..count).map(|_| None).collect()),
            last: RefCell::new(None),
            rest: OnceCell::new(),
        }));
        // All that a connection to a Sentinel has of its own.
        let own = Conf {
            targets: conf.targets().iter().map(|(target, _)| target.clone()).collect(),
            servers: Servers::none_yet(),
            credentials: Credentials::new(
                &store.name,
                conf.login.clone(),
                conf.password_file.clone(),
                log,
            ),
            tls: conf.tls.clone(),
        };
        let sentinels = StoreServers::new(store, own, servers.client(), log);
        sentinels.set_watched_by(watch);

        let event = Event::new(on_event, ptr::from_ref(watch).cast_mut().cast(), log);
        event.set_cancelable(true);
        event.arm(0);
        let _ = watch.rest.set(Rest { sentinels, event });
        watch
    }

    /// A connection serves.
    pub(super) fn ready(&self, connection: &Rc<Connection>) {
        let sentinel = connection.server();
        self.belief.borrow_mut().ready(sentinel, now());
        if let Some(place) = self.conversations.borrow_mut().get_mut(sentinel) {
            let (connection, talk) = (Rc::clone(connection), Talk::new(&self.master));
            *place = Some(Conversation { connection, talk });
        }
        self.ask(sentinel);
        self.go_on_soon();
    }

    fn ask(&self, sentinel: usize) {
        if let Some(Some(with)) = self.conversations.borrow_mut().get_mut(sentinel) {
            with.connection.say(|out| with.talk.ask(out));
        }
    }

    /// A Sentinel says something. On failure its connection is to be closed.
    pub(super) fn hear(&self, sentinel: usize, reply: Reply<'_>) -> Result<(), Failure> {
        let heard = match self.conversations.borrow_mut().get_mut(sentinel) {
            Some(Some(with)) => with.talk.take(reply)?,
            _ => return Err(Failure::Unexpected),
        };
        let mut belief = self.belief.borrow_mut();
        match heard {
            Heard::Nothing => return Ok(()),
            Heard::Change => belief.hinted(sentinel),
            Heard::Switched(address) => belief.switched(sentinel, address),
            Heard::Master(address) => {
                belief.answered(sentinel, Some(address), now(), random());
            }
            Heard::UnknownMaster => {
                if belief.answered(sentinel, None, now(), random()) {
                    let (store, master) = (&self.store, &self.master);
                    let name = self.name_of(sentinel);
                    ngx_log_error!(
                        NGX_LOG_WARN,
                        self.log,
                        "session store \"{store}\": Sentinel {name} knows no master \"{master}\""
                    );
                }
            }
        }
        drop(belief);
        self.go_on_soon();
        Ok(())
    }

    /// There is no connection to a Sentinel any more.
    pub(super) fn lost(&self, sentinel: usize, failure: &Failure) {
        if let Some(place) = self.conversations.borrow_mut().get_mut(sentinel) {
            *place = None;
        }
        if self.belief.borrow_mut().lost(sentinel, now(), random()) {
            let (store, name) = (&self.store, self.name_of(sentinel));
            let (log, level) = (self.log, NGX_LOG_WARN);
            match failure {
                Failure::NoSentinel => {
                    ngx_log_error!(
                        level,
                        log,
                        "session store \"{store}\": {name} is not a Sentinel"
                    );
                }
                _ => {
                    ngx_log_error!(
                        level,
                        log,
                        "session store \"{store}\": Sentinel {name} cannot be asked: {failure}"
                    );
                }
            }
        }
        self.go_on_soon();
    }

    /// The master failed; or it `is_replica`, and so never was one.
    pub(super) fn doubt(&self, is_replica: bool) {
        if is_replica {
            self.belief.borrow_mut().refute();
        }
        self.go_on_soon();
    }

    fn name_of(&self, sentinel: usize) -> Rc<str> {
        self.rest.get().map_or_else(|| "".into(), |rest| rest.sentinels.name_of(sentinel))
    }

    /// What is reported is acted on at the end of this turn of the loop, when nothing is borrowed.
    fn go_on_soon(&self) {
        if let Some(rest) = self.rest.get() {
            rest.event.post();
        }
    }

    fn go_on(&'static self) {
        // SAFETY: nginx writes the variable on this thread only.
        if unsafe { ngx_exiting != 0 } {
            return;
        }
        let verdict = self.belief.borrow_mut().verdict(now(), self.servers.down_since());
        match verdict {
            Some(Verdict::Master { address, by, votes }) => {
                if let Some(target) = Target::of(&address) {
                    self.tell_master(target.name(), by, votes);
                    self.servers.use_master(target);
                }
            }
            Some(Verdict::Outvoted { address, by, votes }) => {
                self.tell_outvoted(&address, by, votes)
            }
            Some(Verdict::Nobody) => self.servers.no_master(),
            None => {}
        }
        self.ask_who_is_due();
    }

    /// A master that fewer than a majority name is worth a warning: it is used since the last one is gone.
    fn tell_master(&self, name: &Rc<str>, by: usize, votes: Votes) {
        let (store, by) = (&self.store, self.name_of(by));
        let last = self.last.replace(Some(Rc::clone(name)));
        let (is, was) = match &last {
            Some(last) => ("is now", format!(" (was {last})")),
            None => ("is", String::new()),
        };
        let (level, named) = match votes.are_majority() {
            true => (NGX_LOG_NOTICE, String::new()),
            false => (NGX_LOG_WARN, format!(", named by {votes}, fewer than a majority")),
        };
        ngx_log_error!(
            level,
            self.log,
            "session store \"{store}\": master {is} {name}{was}{named}, sentinel {by}"
        );
    }

    fn tell_outvoted(&self, address: &Address, by: usize, votes: Votes) {
        let (store, by, last) = (&self.store, self.name_of(by), self.last.borrow());
        let (Some(target), Some(last)) = (Target::of(address), &*last) else { return };
        let name = target.name();
        ngx_log_error!(
            NGX_LOG_WARN,
            self.log,
            "session store \"{store}\": {votes} name {name} as the master, fewer than a majority; \
             {last} serves and stays, sentinel {by}"
        );
    }

    fn ask_who_is_due(&'static self) {
        let Some(Rest { sentinels, event }) = self.rest.get() else { return };
        loop {
            let step = self.belief.borrow_mut().next(now(), !self.servers.is_up());
            match step {
                Step::Connect(sentinel) => {
                    if let Err(failure) = sentinels.open(sentinel, Purpose::Lookups) {
                        self.lost(sentinel, &failure);
                    }
                }
                Step::Ask(sentinel) => self.ask(sentinel),
                Step::Close(sentinel) => self.close(sentinel),
                Step::At(time) => return event.arm(time.saturating_sub(now())),
                Step::Nothing => return event.disarm(),
            }
        }
    }

    fn close(&self, sentinel: usize) {
        let with = self.conversations.borrow_mut().get_mut(sentinel).and_then(Option::take);
        match with.filter(|with| with.connection.is_open()) {
            Some(with) => with.connection.fail(&Failure::Timeout),
            None => self.lost(sentinel, &Failure::Timeout),
        }
    }

    /// Closes the connections to the Sentinels and frees it.
    ///
    /// # Safety
    /// Nothing may use it from now on: nginx runs no events and no requests any more.
    pub(super) unsafe fn stop(&'static self) {
        self.conversations.take();
        // SAFETY: `start` leaked both, and the caller vouches that this is their last use. The event is disarmed
        // as it is dropped.
        unsafe {
            if let Some(rest) = self.rest.get() {
                rest.sentinels.stop();
            }
            drop(Box::from_raw(ptr::from_ref(self).cast_mut()));
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(error) => Self::Server(error),
            Fault::NoSentinel => Self::NoSentinel,
            Fault::Unexpected => Self::Unexpected,
        }
    }
}

unsafe extern "C" fn on_event(event: *mut ngx_event_t) {
    // SAFETY: the event's data is a watch, which lives as long as the worker.
    let watch: &'static Watch = unsafe { &*(*event).data.cast() };
    watch.go_on();
}
