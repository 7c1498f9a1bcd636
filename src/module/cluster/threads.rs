//! The threads in which a cluster's client waits for its nodes, and what goes to them and back.
//!
//! They know nothing of nginx and decide nothing: an order says what to ask of whom, a report what came of it. A thread
//! is started when there is an order and none is idle, so that a node that is slow, which holds one thread at a
//! time for each of its connections, never holds the keys of another.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::link::{Link, Terms};
use super::node::{ask_all, ask_one, come_home, Answer};
use super::pool::Pool;
use crate::store::cluster::batch::{Batch, Given};
use crate::store::cluster::map::SlotMap;
use crate::store::cluster::redirect::Redirect;
use crate::store::cluster::{is_node_down, NodeAddress};
use crate::store::command;
use crate::store::error::Failure;
use crate::store::fetched::Fetched;
use crate::store::resp::{Limits, Reply};

/// More nodes than this that are slow at the same time hold up others.
const MOST_THREADS: usize = 64;

/// A thread needs little: no recursion, replies are on the heap. `getaddrinfo` wants some.
const STACK: usize = 256 * 1024;

/// The largest map of slots that is read, in bytes: that of 16384 ranges with replicas.
const LARGEST_MAP: usize = 8 << 20;

/// What to ask.
pub(super) enum Order {
    /// Lookups, of the node whose pool it is.
    Batch { pool: Pool, batch: Batch },
    /// The map of slots.
    Map,
    /// Whether the node is well.
    Probe,
}

/// An order with its number, by which the report is known.
pub(super) struct Numbered {
    pub(super) number: u64,
    pub(super) node: NodeAddress,
    pub(super) terms: Arc<Terms>,
    pub(super) order: Order,
}

/// What came of an order.
pub(super) enum Report {
    Batch(BatchReport),
    Map(Result<SlotMap, Failure>),
    Probe(Result<(), Failure>),
}

#[derive(Default)]
pub(super) struct BatchReport {
    /// By item, with the node that said so where it was not the one asked.
    pub(super) given: Vec<(Given, Option<NodeAddress>)>,
    /// Slots that the node said have moved.
    pub(super) moved: Vec<(u16, NodeAddress)>,
    /// Nodes that failed for their own sake.
    pub(super) failed: Vec<(NodeAddress, Failure)>,
}

/// Shared by the threads and nginx's.
pub(super) struct Shared {
    board: Mutex<Board>,
    work: Condvar,
    reports: Mutex<Vec<(u64, Report)>>,
    /// An eventfd that nginx watches by a descriptor of its own: this one stays open as long as a thread may
    /// write to it.
    wake: File,
}

#[derive(Default)]
struct Board {
    orders: VecDeque<Numbered>,
    threads: usize,
    idle: usize,
    ending: bool,
}

impl Shared {
    pub(super) fn new(wake: OwnedFd) -> Arc<Self> {
        let (board, work, reports) = Default::default();
        Arc::new(Self { board, work, reports, wake: File::from(wake) })
    }

    /// Gives an order. Whether a thread is to be started for it, which counts as begun.
    #[must_use]
    pub(super) fn submit(&self, order: Numbered) -> bool {
        let mut board = lock(&self.board);
        board.orders.push_back(order);
        let is_lacking = board.orders.len() > board.idle && board.threads < MOST_THREADS;
        board.threads += usize::from(is_lacking);
        drop(board);
        self.work.notify_one();
        is_lacking
    }

    /// Starts a thread. Where none can be, and there is no other, what is ordered has failed.
    pub(super) fn start_thread(self: &Arc<Self>) -> Result<(), (io::Error, Vec<(u64, Report)>)> {
        let shared = Arc::clone(self);
        let builder = thread::Builder::new().name("session_redis".to_owned()).stack_size(STACK);
        builder.spawn(move || shared.work()).map(drop).map_err(|error| {
            let mut board = lock(&self.board);
            board.threads -= 1;
            let orders = if board.threads == 0 {
                std::mem::take(&mut board.orders)
            } else {
                VecDeque::new()
            };
            drop(board);
            let failed = |order: Numbered| (order.number, Kind::of(&order.order).failed(&order));
            (error, orders.into_iter().map(failed).collect())
        })
    }

    /// What came of orders since the last time.
    pub(super) fn take_reports(&self) -> Vec<(u64, Report)> {
        std::mem::take(&mut *lock(&self.reports))
    }

    /// The threads end: at once where they are idle, else when they are done with what they do.
    pub(super) fn end(&self) {
        let mut board = lock(&self.board);
        board.ending = true;
        board.orders.clear();
        drop(board);
        self.work.notify_all();
    }

    fn work(&self) {
        while let Some(order) = self.next_order() {
            let number = order.number;
            let kind = Kind::of(&order.order);
            // A panic in one of the crates would else leave its lookups, and their node, waiting for good.
            let report = catch_unwind(AssertUnwindSafe(|| carry_out(&order)))
                .unwrap_or_else(|_| kind.failed(&order));
            // Its buffers and pool are given back before others hear of it.
            drop(order);
            self.report(number, report);
        }
    }

    fn next_order(&self) -> Option<Numbered> {
        let mut board = lock(&self.board);
        loop {
            if board.ending {
                board.threads -= 1;
                return None;
            }
            if let Some(order) = board.orders.pop_front() {
                return Some(order);
            }
            board.idle += 1;
            board = self.work.wait(board).unwrap_or_else(PoisonError::into_inner);
            board.idle -= 1;
        }
    }

    fn report(&self, number: u64, report: Report) {
        let mut reports = lock(&self.reports);
        let is_first = reports.is_empty();
        reports.push((number, report));
        drop(reports);
        // nginx takes all that are there: it is woken for the first.
        if is_first {
            let _ = (&self.wake).write(&1_u64.to_ne_bytes());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy)]
enum Kind {
    Batch(usize),
    Map,
    Probe,
}

impl Kind {
    fn of(order: &Order) -> Self {
        match order {
            Order::Batch { batch, .. } => Self::Batch(batch.len()),
            Order::Map => Self::Map,
            Order::Probe => Self::Probe,
        }
    }

    fn failed(self, order: &Numbered) -> Report {
        let failure = Failure::Unexpected;
        match self {
            Self::Batch(items) => Report::Batch(BatchReport::failed(items, &order.node, &failure)),
            Self::Map => Report::Map(Err(failure)),
            Self::Probe => Report::Probe(Err(failure)),
        }
    }
}

fn carry_out(order: &Numbered) -> Report {
    let Numbered { node, terms, order, .. } = order;
    match order {
        Order::Batch { pool, batch } => Report::Batch(ask(node, terms, pool, batch)),
        Order::Map => Report::Map(ask_map(node, terms)),
        Order::Probe => Report::Probe(probe(node, terms)),
    }
}

/// Asks for a batch, and then again, one by one, for what is elsewhere.
fn ask(home: &NodeAddress, terms: &Arc<Terms>, pool: &Pool, batch: &Batch) -> BatchReport {
    let deadline = Instant::now() + terms.timeout;
    let Ok(mut client) = pool.get_timeout(terms.timeout.max(Duration::from_millis(1))) else {
        return BatchReport::failed(batch.len(), home, &Failure::Timeout);
    };
    let mut replies = Vec::new();
    let mut failed = None;
    while replies.len() < batch.commands() && failed.is_none() {
        let (commands, count) = batch.commands_from(replies.len());
        match ask_all(&mut client, home, terms, deadline, commands, count) {
            Ok((more, _)) if !more.is_empty() => replies.extend(more),
            Ok(_) => failed = Some((home.clone(), Failure::Unexpected)),
            Err(why) => failed = Some(why),
        }
    }

    let mut report = BatchReport { moved: moved(&replies, home), ..BatchReport::default() };
    let answered = replies.len();
    for (item, given) in batch.read(replies).into_iter().enumerate() {
        let given = match given {
            _ if !batch.is_answered(item, answered) => report.not_answered(home, &failed),
            Some(given) => {
                report.note(home, &given);
                (given, None)
            }
            None => {
                let commands = batch.commands_of(item);
                let answers = commands.map(|c| ask_one(&mut client, home, terms, deadline, c));
                report.elsewhere(item, batch, answers)
            }
        };
        report.given.push(given);
    }
    come_home();
    report
}

fn moved(replies: &[Reply], home: &NodeAddress) -> Vec<(u16, NodeAddress)> {
    let errors = replies.iter().filter_map(|reply| match reply {
        Reply::Error(error) => Redirect::parse(&error.to_string(), home),
        _ => None,
    });
    errors
        .filter(|redirect| redirect.moved)
        .map(|redirect| (redirect.slot, redirect.address))
        .collect()
}

impl BatchReport {
    /// All items failed alike.
    pub(super) fn failed(items: usize, node: &NodeAddress, failure: &Failure) -> Self {
        let given = vec![(Given::failed(failure.clone()), Some(node.clone())); items];
        let mut report = Self { given, ..Self::default() };
        report.blame(node, failure);
        report
    }

    /// Of an item whose replies did not come, for a failure.
    fn not_answered(
        &mut self,
        home: &NodeAddress,
        failed: &Option<(NodeAddress, Failure)>,
    ) -> (Given, Option<NodeAddress>) {
        let why = failed.clone().unwrap_or((home.clone(), Failure::Unexpected));
        self.blame(&why.0, &why.1);
        (Given::failed(why.1), Some(why.0))
    }

    /// Of an item whose commands were asked for one by one.
    fn elsewhere(
        &mut self,
        item: usize,
        batch: &Batch,
        answers: impl Iterator<Item = Answer>,
    ) -> (Given, Option<NodeAddress>) {
        let mut replies = Vec::new();
        let mut by = None;
        for answer in answers {
            match answer {
                Ok((reply, node)) => {
                    replies.extend(reply);
                    by = Some(node);
                }
                Err((node, failure)) => {
                    self.blame(&node, &failure);
                    return (Given::failed(failure), Some(node));
                }
            }
        }
        let given =
            batch.read_one(item, replies).unwrap_or_else(|| Given::failed(Failure::Unexpected));
        if let Some(node) = &by {
            self.note(node, &given);
        }
        (given, by)
    }

    /// An error reply may be the node's own fault.
    fn note(&mut self, node: &NodeAddress, given: &Given) {
        if let Fetched::Failed(failure) = &given.fetched {
            self.blame(node, failure);
        }
    }

    fn blame(&mut self, node: &NodeAddress, failure: &Failure) {
        if is_node_down(failure) && !self.failed.iter().any(|(known, _)| known == node) {
            self.failed.push((node.clone(), failure.clone()));
        }
    }
}

/// A node that is silent gets half of a lookup's time, so that the first lookups can wait for the next one.
fn ask_map(node: &NodeAddress, terms: &Terms) -> Result<SlotMap, Failure> {
    let limits = Limits { bulk: 4096, other: LARGEST_MAP };
    let terms = Terms { read_only: false, timeout: terms.timeout / 2, ..terms.clone() };
    let deadline = Instant::now() + terms.timeout;
    let mut link = Link::open(node, &terms, limits, deadline)?;
    let mut command = Vec::new();
    command::encode(&mut command, &[b"CLUSTER", b"SLOTS"]);
    match link.exchange(&command, 1, deadline)?.pop() {
        Some(Reply::Other(map)) => SlotMap::parse(map, node).ok_or(Failure::Unexpected),
        Some(Reply::Error(error)) => Err(Failure::Server(error)),
        _ => Err(Failure::Unexpected),
    }
}

/// A node is well if it answers a `GET`, be it that the key is elsewhere: some that are frozen, load their data or lost
/// their cluster answer a `PING`.
fn probe(node: &NodeAddress, terms: &Terms) -> Result<(), Failure> {
    let deadline = Instant::now() + terms.timeout;
    let mut link = Link::open(node, terms, terms.limits, deadline)?;
    let mut command = Vec::new();
    command::get(&mut command, b"session_redis_probe");
    match link.exchange(&command, 1, deadline)?.pop() {
        Some(Reply::Error(error)) => match Failure::Server(error) {
            failure if is_node_down(&failure) => Err(failure),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}
