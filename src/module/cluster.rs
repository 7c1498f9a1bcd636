//! A Redis Cluster as a store: lookups gathered by node on nginx's thread, asked for in threads of our own.
//!
//! Everything is decided here, on nginx's thread, by `store::cluster`: where a lookup goes, what a failure means, when
//! to look at the map or at a node again. What waits for one node goes to a thread as one batch at the end of a
//! turn of the loop; what comes meanwhile is the next batch.

mod errand;
mod link;
mod node;
mod pool;
mod system;
mod threads;
mod wake;

use core::cell::{Cell, OnceCell, RefCell};
use core::ptr;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nginx_sys::{
    ngx_event_t, ngx_exiting, ngx_log_t, ngx_random, NGX_LOG_ERR, NGX_LOG_NOTICE, NGX_LOG_WARN,
};
use ngx::ngx_log_error;
use scheduled_thread_pool::ScheduledThreadPool;

use self::errand::{Errand, Part};
use self::link::Terms;
use self::pool::{pool, Pool};
use self::threads::{BatchReport, Numbered, Order, Report, Shared};
use self::wake::Wake;
use super::client::Client;
use super::credentials::Credentials;
use super::event::{now, Event};
use super::lookup::{failed, Lookup};
use super::store::{ClusterConf, Limits, Store};
use super::throttle::Throttle;
use super::touches::Touches;
use crate::cache::Origin;
use crate::store::cluster::batch::{Batch, Given};
use crate::store::cluster::map::SlotMap;
use crate::store::cluster::nodes::{Due, Nodes, Route};
use crate::store::cluster::{is_node_down, waiting, NodeAddress};
use crate::store::error::Failure;
use crate::store::fetched::Fetched;
use crate::store::resp;
use crate::store::server_error::Code;
use crate::store::servers::Went;

/// Lookups in one batch: its replies are in memory together.
const LARGEST_BATCH: usize = 256;

/// Lives as long as the worker.
pub(super) struct Cluster {
    /// Whose lookups it is asked for.
    client: &'static Client,
    /// For the log.
    store: String,
    limits: Limits,
    log: *mut ngx_log_t,
    credentials: Credentials,
    touches: Touches,
    uncovered: Throttle,
    nodes: RefCell<Nodes>,
    terms: RefCell<Arc<Terms>>,
    /// By node.
    queues: RefCell<Vec<Queue>>,
    /// They wait for the first map.
    unrouted: RefCell<Vec<Errand>>,
    orders: RefCell<HashMap<u64, Ordered>>,
    number: Cell<u64>,
    running: OnceCell<Running>,
    events: OnceCell<Events>,
}

/// What is asked of a node.
#[derive(Default)]
struct Queue {
    waiting: Vec<Errand>,
    batches: usize,
    pool: Option<(NodeAddress, Pool)>,
}

/// An order under way.
struct Ordered {
    node: usize,
    terms: Arc<Terms>,
    errands: Vec<Errand>,
}

/// There once a lookup was made: the processes that make none start no threads.
struct Running {
    shared: Arc<Shared>,
    /// The thread that the pools share.
    keeper: Arc<ScheduledThreadPool>,
    _wake: Wake,
}

struct Events {
    flush: Event,
    watch: Event,
}

impl Cluster {
    pub(super) fn start(
        store: &Store,
        conf: &ClusterConf,
        client: &'static Client,
        log: *mut ngx_log_t,
    ) -> &'static Self {
        let credentials = Credentials::of(store, log);
        let terms = Terms {
            login: credentials.login().clone(),
            connect_timeout: Duration::from_millis(store.limits.connect_timeout),
            timeout: Duration::from_millis(store.limits.timeout),
            limits: resp::Limits {
                bulk: store.limits.max_size,
                other: store.limits.max_size.max(64 * 1024),
            },
            read_only: conf.read_from_replicas,
            retry: store.limits.retry > 0,
        };
        let cluster: &'static Self = Box::leak(Box::new(Self {
            client,
            store: store.name.clone(),
            limits: store.limits,
            log,
            credentials,
            touches: Touches::default(),
            uncovered: Throttle::default(),
            nodes: RefCell::new(Nodes::new(conf.seeds.clone(), conf.read_from_replicas)),
            terms: RefCell::new(Arc::new(terms)),
            queues: RefCell::default(),
            unrouted: RefCell::default(),
            orders: RefCell::default(),
            number: Cell::new(0),
            running: OnceCell::new(),
            events: OnceCell::new(),
        }));
        let data = ptr::from_ref(cluster).cast_mut().cast();
        let events = Events {
            flush: Event::new(on_flush, data, log),
            watch: Event::new(on_watch, data, log),
        };
        events.watch.set_cancelable(true);
        let _ = cluster.events.set(events);
        cluster
    }

    /// How the log calls a node.
    pub(super) fn name_of(&self, node: usize) -> Rc<str> {
        self.nodes.borrow().address(node).map_or_else(|| "".into(), |node| node.to_string().into())
    }

    /// Sends a lookup to the node that has its key; to several, if it has several keys.
    pub(super) fn place(&'static self, lookup: &Rc<Lookup>) -> Result<(), Failure> {
        self.run()?;
        Errand::of(lookup).try_for_each(|errand| self.send(errand))
    }

    /// Extends the life of a key. Not sent where its master is down.
    pub(super) fn touch(&'static self, key: &[u8], ms: u64) {
        let errand = Errand::Touch { key: key.into(), ms, longer: self.touches.longer() };
        let _ = self.run().and_then(|()| self.send(errand));
    }

    /// Starts what a first lookup needs.
    fn run(&'static self) -> Result<(), Failure> {
        if self.running.get().is_some() {
            return Ok(());
        }
        system::keep_loaded();
        let (wake, fd) = Wake::new(self, self.log)
            .map_err(|error| Failure::Connect(error.raw_os_error().unwrap_or(0)))?;
        let keeper = pool::keeper().ok_or(Failure::NoServer)?;
        let running = Running { shared: Shared::new(fd), keeper, _wake: wake };
        let _ = self.running.set(running);
        self.watch();
        Ok(())
    }

    /// Puts what is asked into the queue of the node that has the key.
    fn send(&'static self, mut errand: Errand) -> Result<(), Failure> {
        let route = {
            let mut nodes = self.nodes.borrow_mut();
            nodes.route(errand.key(), errand.wants_master(), &errand.tried(), now())
        };
        let node = match route {
            Ok(Route::To(node)) => node,
            Ok(Route::ToReplica(node)) => {
                errand.set_replica(true);
                node
            }
            Ok(Route::Wait) => {
                waiting::push(&mut self.unrouted.borrow_mut(), errand, Errand::is_done);
                return Ok(());
            }
            Err(failure) => {
                if failure == Failure::Uncovered {
                    self.say_uncovered();
                    // The map is due.
                    self.watch();
                }
                return Err(failure);
            }
        };
        let mut queues = self.queues.borrow_mut();
        if queues.len() <= node {
            queues.resize_with(node + 1, Queue::default);
        }
        if let Some(queue) = queues.get_mut(node) {
            waiting::push(&mut queue.waiting, errand, Errand::is_done);
        }
        drop(queues);
        if let Some(events) = self.events.get() {
            events.flush.post();
        }
        Ok(())
    }

    /// Sends what waits to the nodes that may be asked more now.
    fn flush(&'static self) {
        let count = self.queues.borrow().len();
        for node in 0..count {
            while let Some(errands) = self.next_errands(node) {
                let batch = wanted(errands, |lookup| {
                    self.client.end(lookup, failed(&Failure::Timeout), None, None);
                });
                let Some((batch, errands)) = batch else { continue };
                self.order_batch(node, batch, errands);
            }
        }
    }

    /// What waits for a node, if it may be asked more.
    fn next_errands(&self, node: usize) -> Option<Vec<Errand>> {
        let mut queues = self.queues.borrow_mut();
        let queue = queues.get_mut(node)?;
        if queue.waiting.is_empty() || queue.batches >= self.limits.connections {
            return None;
        }
        let rest = queue.waiting.split_off(queue.waiting.len().min(LARGEST_BATCH));
        Some(std::mem::replace(&mut queue.waiting, rest))
    }

    fn order_batch(&'static self, node: usize, batch: Batch, errands: Vec<Errand>) {
        match self.pool(node) {
            Some(pool) => {
                if let Some(queue) = self.queues.borrow_mut().get_mut(node) {
                    queue.batches += 1;
                }
                self.order(node, Order::Batch { pool, batch }, errands);
            }
            None => {
                errands.into_iter().for_each(|errand| self.fail(errand, &Failure::NoServer, None))
            }
        }
    }

    /// The pool of a node, made when it is first asked.
    fn pool(&self, node: usize) -> Option<Pool> {
        let address = self.nodes.borrow().address(node)?.clone();
        let keeper = &self.running.get()?.keeper;
        let mut queues = self.queues.borrow_mut();
        let place = &mut queues.get_mut(node)?.pool;
        if let Some((_, pool)) = place.as_ref().filter(|(known, _)| *known == address) {
            return Some(pool.clone());
        }
        let size = u32::try_from(self.limits.connections).unwrap_or(u32::MAX);
        let new = pool(&address, size, keeper).ok()?;
        *place = Some((address, new.clone()));
        Some(new)
    }

    /// Gives an order to the threads.
    fn order(&'static self, node: usize, order: Order, errands: Vec<Errand>) {
        let number = self.number.get();
        self.number.set(number.wrapping_add(1));
        let terms = Arc::clone(&self.terms.borrow());
        let (Some(running), Some(address)) =
            (self.running.get(), self.nodes.borrow().address(node).cloned())
        else {
            return;
        };
        let ordered = Ordered { node, terms: Arc::clone(&terms), errands };
        self.orders.borrow_mut().insert(number, ordered);
        let is_lacking = running.shared.submit(Numbered { number, node: address, terms, order });
        if !is_lacking {
            return;
        }
        let started = system::without_signals(|| running.shared.start_thread());
        if let Err((error, reports)) = started {
            ngx_log_error!(
                NGX_LOG_ERR,
                self.log,
                "session store \"{}\": no thread can be started: {error}",
                self.store
            );
            reports.into_iter().for_each(|(number, report)| self.take_report(number, report));
        }
    }

    /// Takes what the threads have to report. May run requests.
    fn take_reports(&'static self) {
        let Some(running) = self.running.get() else { return };
        for (number, report) in running.shared.take_reports() {
            self.take_report(number, report);
        }
        self.flush();
        self.watch();
    }

    fn take_report(&'static self, number: u64, report: Report) {
        let ordered = self.orders.borrow_mut().remove(&number);
        let Some(ordered) = ordered else { return };
        match report {
            Report::Batch(report) => self.take_batch(ordered, report),
            Report::Map(result) => self.take_map(&ordered, result),
            Report::Probe(result) => self.take_probe(&ordered, result),
        }
    }

    fn take_batch(&'static self, ordered: Ordered, report: BatchReport) {
        let Ordered { node, terms, errands } = ordered;
        let BatchReport { given, moved, failed } = report;
        if let Some(queue) = self.queues.borrow_mut().get_mut(node) {
            queue.batches = queue.batches.saturating_sub(1);
        }
        for (slot, address) in &moved {
            self.nodes.borrow_mut().learn(*slot, address, now());
        }
        let mut newer = false;
        for (address, failure) in &failed {
            match self.has_newer_password(failure, &terms) {
                true => newer = true,
                false => self.node_failed(address, failure),
            }
        }
        let mut given = given.into_iter();
        for errand in errands {
            let next = given.next();
            let (given, by) = next.unwrap_or_else(|| (Given::failed(Failure::Unexpected), None));
            let by = by.and_then(|address| self.nodes.borrow().find(&address));
            self.settle(errand, given, by.unwrap_or(node), newer);
        }
    }

    /// A node has answered, or failed. `again`: it may be asked again.
    fn settle(&'static self, errand: Errand, given: Given, node: usize, again: bool) {
        if let Fetched::TooLarge(bytes) = given.fetched {
            self.client.note_size(errand.key(), bytes);
        }
        match (errand, given.fetched) {
            (Errand::Touch { longer, .. }, Fetched::Failed(Failure::Server(error))) => {
                self.touches.refused(self.log, &self.store, &self.name_of(node), &error, longer);
            }
            (Errand::Touch { .. }, _) => {}
            (Errand::Part(part), _) if part.lookup.is_done() => {}
            (Errand::Part(part), Fetched::Missing) if part.replica => {
                self.send_or_fail(part.for_master());
            }
            (Errand::Part(part), Fetched::Failed(failure)) => {
                self.try_again(part, &failure, node, again);
            }
            (Errand::Part(part), fetched) => {
                if part.is_last() {
                    let (outcome, unwatched) = (fetched.into(), Origin::default());
                    self.client.answer(&part.lookup, outcome, given.ttl, node, &unwatched);
                }
            }
        }
    }

    fn send_or_fail(&'static self, part: Part) {
        let lookup = Rc::clone(&part.lookup);
        if let Err(failure) = self.send(Errand::Part(part)) {
            self.client.end(&lookup, failed(&failure), None, None);
        }
    }

    /// Another try where that is safe and allowed, else the lookup fails.
    fn try_again(&'static self, part: Part, failure: &Failure, node: usize, again: bool) {
        if matches!(failure, Failure::Server(error) if error.code() == Code::ClusterDown) {
            self.nodes.borrow_mut().want_map(now());
        }
        let lookup = Rc::clone(&part.lookup);
        if !again {
            lookup.tried.borrow_mut().insert(node);
        }
        let may = (again || failure.is_retryable_on_other_server() || *failure == Failure::Timeout)
            && now() < lookup.deadline;
        let tries = lookup.tries.replace(lookup.tries.get() + 1);
        let sent = may && tries < self.limits.retry && self.send(Errand::Part(part)).is_ok();
        if !sent {
            self.client.end(&lookup, failed(failure), None, Some(node));
        }
    }

    fn fail(&'static self, errand: Errand, failure: &Failure, node: Option<usize>) {
        if let Errand::Part(part) = errand {
            self.client.end(&part.lookup, failed(failure), None, node);
        }
    }

    fn take_map(&'static self, ordered: &Ordered, result: Result<SlotMap, Failure>) {
        let node = ordered.node;
        match result {
            Ok(map) => {
                let went = self.nodes.borrow_mut().adopt(node, &map, now());
                self.say(went, node, None);
            }
            Err(failure) if self.has_newer_password(&failure, &ordered.terms) => {
                return self.order(node, Order::Map, Vec::new());
            }
            Err(failure) => {
                if is_node_down(&failure) {
                    let went = self.nodes.borrow_mut().failed(node, now(), random());
                    self.say(went, node, Some(&failure));
                }
                let went = self.nodes.borrow_mut().map_failed(node, now(), random());
                self.say(went, node, Some(&failure));
            }
        }
        self.route_anew();
    }

    fn take_probe(&'static self, ordered: &Ordered, result: Result<(), Failure>) {
        let node = ordered.node;
        let went = match result {
            Ok(()) => self.nodes.borrow_mut().probe_succeeded(node),
            Err(failure) => {
                // A newer password is for the next one.
                let _ = self.has_newer_password(&failure, &ordered.terms);
                self.nodes.borrow_mut().probe_failed(node, now(), random());
                None
            }
        };
        self.say(went, node, None);
    }

    /// Whether a failure is one of the password that was used, and there is another one now.
    fn has_newer_password(&self, failure: &Failure, used: &Terms) -> bool {
        let newer = failure.is_about_password()
            && self.credentials.has_newer_password(used.login.password.as_deref());
        if newer {
            let terms = Terms { login: self.credentials.login().clone(), ..used.clone() };
            *self.terms.borrow_mut() = Arc::new(terms);
        }
        newer
    }

    /// A node failed for its own sake: what waits for it goes elsewhere, or fails at once.
    fn node_failed(&'static self, address: &NodeAddress, failure: &Failure) {
        let Some(node) = self.nodes.borrow().find(address) else { return };
        let went = self.nodes.borrow_mut().failed(node, now(), random());
        if went.is_none() {
            return;
        }
        self.say(went, node, Some(failure));
        let waiting = match self.queues.borrow_mut().get_mut(node) {
            Some(queue) => std::mem::take(&mut queue.waiting),
            None => return,
        };
        self.send_all(waiting);
    }

    /// The map changed: all that waits goes where it now belongs.
    fn route_anew(&'static self) {
        let mut waiting = self.unrouted.take();
        for queue in self.queues.borrow_mut().iter_mut() {
            waiting.append(&mut queue.waiting);
        }
        self.send_all(waiting);
    }

    fn send_all(&'static self, errands: Vec<Errand>) {
        for errand in errands {
            match errand {
                Errand::Part(part) => self.send_or_fail(part),
                touch => drop(self.send(touch)),
            }
        }
    }

    /// Says once in the log that a node, or the store, went down or is back.
    fn say(&self, went: Option<Went>, node: usize, why: Option<&Failure>) {
        let Some(went) = went else { return };
        let (name, server) = (&self.store, self.name_of(node));
        let (level, what) = match went {
            Went::Down { store: true } => (NGX_LOG_ERR, ""),
            Went::Down { store: false } => (NGX_LOG_WARN, "a server of "),
            Went::Up { store: true } => (NGX_LOG_NOTICE, ""),
            Went::Up { store: false } => (NGX_LOG_NOTICE, "a server of "),
        };
        let state = why.map_or("is back".to_owned(), |failure| format!("is down: {failure}"));
        ngx_log_error!(level, self.log, "{what}session store \"{name}\" {state}, server: {server}");
    }

    /// Says so at most once a minute.
    fn say_uncovered(&self) {
        if let Some(count) = self.uncovered.count(now()) {
            let name = &self.store;
            ngx_log_error!(
                NGX_LOG_ERR,
                self.log,
                "session store \"{name}\": {}; {count} lookups failed",
                Failure::Uncovered
            );
        }
    }

    /// Looks at the map and at nodes that are down where that is due, and comes back when it is next.
    fn watch(&'static self) {
        // SAFETY: nginx writes the variable on this thread only.
        if unsafe { ngx_exiting != 0 } {
            return;
        }
        let Some(events) = self.events.get() else { return };
        loop {
            let due = self.nodes.borrow_mut().due(now());
            match due {
                Due::Map(node) => self.order(node, Order::Map, Vec::new()),
                Due::Probe(node) => self.order(node, Order::Probe, Vec::new()),
                Due::At(u64::MAX) => return events.watch.disarm(),
                Due::At(time) => return events.watch.arm(time.saturating_sub(now())),
            }
        }
    }

    /// The worker waits for lookups no longer.
    fn give_up(&'static self) {
        self.client.give_up();
    }

    /// Frees the cluster. Threads end by themselves: those that wait for a node when it has answered or its time is
    /// up, which nobody waits for.
    ///
    /// # Safety
    /// Nothing may use it from now on: nginx runs no events and no requests any more.
    pub(super) unsafe fn stop(&'static self) {
        if let Some(running) = self.running.get() {
            running.shared.end();
        }
        // SAFETY: `start` leaked the box, and the caller vouches that this is its last use. Its events are disarmed
        // and its connection is closed as they are dropped; threads have nothing of it.
        drop(unsafe { Box::from_raw(ptr::from_ref(self).cast_mut()) });
    }
}

/// Those that somebody waits for, and their commands. Lookups that nobody waits for are given to `forget`.
fn wanted(errands: Vec<Errand>, forget: impl Fn(&Rc<Lookup>)) -> Option<(Batch, Vec<Errand>)> {
    let mut batch = Batch::default();
    let mut kept = Vec::with_capacity(errands.len());
    for errand in errands {
        if let Errand::Part(Part { lookup, .. }) = &errand {
            if lookup.is_done() {
                continue;
            }
            // What is to be deleted is deleted, whoever has left.
            if lookup.is_abandoned() && !lookup.query.writes() {
                forget(lookup);
                continue;
            }
        }
        batch.push(errand.item(), errand.key());
        kept.push(errand);
    }
    (!batch.is_empty()).then_some((batch, kept))
}

fn random() -> u32 {
    ngx_random() as u32
}

unsafe extern "C" fn on_flush(event: *mut ngx_event_t) {
    // SAFETY: the event's data is the cluster, which lives as long as the worker.
    let cluster: &'static Cluster = unsafe { &*(*event).data.cast() };
    cluster.flush();
}

unsafe extern "C" fn on_watch(event: *mut ngx_event_t) {
    // SAFETY: as above.
    let cluster: &'static Cluster = unsafe { &*(*event).data.cast() };
    cluster.watch();
}
