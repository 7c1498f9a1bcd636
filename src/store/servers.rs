//! Which server of a store to ask now: nginx's smooth weighted round robin over those that are up, and one probe
//! at a time for those that are down.
//!
//! Unlike nginx's balancer no live request is ever sent to a server to find out whether it is back: a server that
//! is down is not offered until a probe has found it well, so that requests are decided at once meanwhile.

#![forbid(unsafe_code)]

use super::breaker::Breaker;

/// A server as configured; the defaults are those of an `upstream` block's `server` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConf {
    /// `weight=`: its share of the lookups.
    pub weight: u32,
    /// `backup`: asked only when no other server can be.
    pub backup: bool,
    /// `down`: never asked, never probed.
    pub down: bool,
    /// `max_fails=`: so many failures within `fail_timeout` take it out; 0: it is never taken out.
    pub max_fails: u32,
    /// `fail_timeout=` in ms; also how long it is left alone while another server is up.
    pub fail_timeout: u64,
}

impl Default for ServerConf {
    fn default() -> Self {
        Self { weight: 1, backup: false, down: false, max_fails: 1, fail_timeout: 10_000 }
    }
}

/// The servers of a store and what a worker knows of them. A server is named by its place in the list.
#[derive(Debug, Clone)]
pub struct Servers {
    servers: Vec<Server>,
    /// The server that a probe is under way to.
    probed: Option<usize>,
}

/// A server changed its state, as the log says it, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "each change is logged"]
pub enum Went {
    /// The server is not asked any more.
    Down {
        /// It was the last one: the store is down.
        store: bool,
    },
    /// The server is asked again.
    Up {
        /// It is the first one: the store is back.
        store: bool,
    },
}

/// What is to be done about the servers that are down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Nothing: none is down, or a probe is under way.
    Nothing,
    /// Probe this server now, and report the result.
    Now(usize),
    /// Ask again at this time, in ms.
    At(u64),
}

/// The servers that a lookup has tried already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TriedSet {
    /// A bit for each of the first 64 servers.
    first: u64,
    others: Vec<usize>,
}

impl TriedSet {
    /// Notes a server as tried.
    pub fn insert(&mut self, server: usize) {
        match bit(server) {
            Some(bit) => self.first |= bit,
            None => self.others.push(server),
        }
    }

    /// Whether a server has been tried.
    pub fn contains(&self, server: usize) -> bool {
        match bit(server) {
            Some(bit) => self.first & bit != 0,
            None => self.others.contains(&server),
        }
    }
}

fn bit(server: usize) -> Option<u64> {
    u32::try_from(server).ok().and_then(|server| 1_u64.checked_shl(server))
}

#[derive(Debug, Clone)]
struct Server {
    conf: ServerConf,
    current_weight: i64,
    /// Lowered by failures, regained with each pick.
    effective_weight: i64,
    fails: u32,
    /// When the failures began to be counted, in ms.
    fails_since: u64,
    /// Open while the server is down.
    breaker: Option<Breaker>,
}

impl Servers {
    /// The servers of a store, all of them up.
    pub fn new(servers: Vec<ServerConf>) -> Self {
        Self { servers: servers.into_iter().map(Server::new).collect(), probed: None }
    }

    /// Whether any server can be asked.
    pub fn is_up(&self) -> bool {
        self.servers.iter().any(Server::is_up)
    }

    /// The server to ask: the next of those that are up and not `tried`, backups only when no other is left.
    pub fn pick(&mut self, tried: &TriedSet) -> Option<usize> {
        self.pick_among(false, tried).or_else(|| self.pick_among(true, tried))
    }

    /// A lookup failed for this server's sake, at `now` (ms). `random` spreads the probes of several workers.
    pub fn failed(&mut self, server: usize, now: u64, random: u32) -> Option<Went> {
        let failed = self.servers.get_mut(server).filter(|server| server.is_up())?;
        failed.count_failure(now);
        if failed.conf.max_fails == 0 || failed.fails < failed.conf.max_fails {
            return None;
        }
        failed.breaker = Some(Breaker::open(now, random));
        Some(Went::Down { store: !self.is_up() })
    }

    /// What to do about the servers that are down, at `now` (ms). A probe that it orders counts as begun; it is
    /// to be reported to [`Self::probe_failed`] or [`Self::probe_succeeded`]. To be asked again after each
    /// of these reports, after each change of state, and at the time that it names.
    ///
    /// While another server is up, one that is down is left alone for its `fail_timeout`. When none is up, all are
    /// probed in turn, each by its backoff.
    pub fn probe(&mut self, now: u64) -> Probe {
        if self.probed.is_some() {
            return Probe::Nothing;
        }
        let store_up = self.is_up();
        let next = (self.servers.iter().enumerate())
            .filter_map(|(at, server)| Some((server.probe_due(store_up)?, at)))
            .min();
        match next {
            None => Probe::Nothing,
            Some((due, _)) if due > now => Probe::At(due),
            Some((_, server)) => {
                self.probed = Some(server);
                Probe::Now(server)
            }
        }
    }

    /// The probe of this server ended at `now` (ms), and the server is still down.
    pub fn probe_failed(&mut self, server: usize, now: u64, random: u32) {
        if !self.end_probe(server) {
            return;
        }
        if let Some(breaker) = self.servers.get_mut(server).and_then(|s| s.breaker.as_mut()) {
            breaker.still_down(now, random);
        }
    }

    /// The probe of this server found it well.
    pub fn probe_succeeded(&mut self, server: usize) -> Option<Went> {
        if !self.end_probe(server) {
            return None;
        }
        let store = !self.is_up();
        let back = self.servers.get_mut(server)?;
        back.breaker.take()?;
        back.fails = 0;
        back.current_weight = 0;
        Some(Went::Up { store })
    }

    fn end_probe(&mut self, server: usize) -> bool {
        self.probed.take_if(|probed| *probed == server).is_some()
    }

    /// nginx's smooth weighted round robin (`ngx_http_upstream_get_peer`).
    fn pick_among(&mut self, backup: bool, tried: &TriedSet) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (at, server) in self.servers.iter_mut().enumerate() {
            if server.conf.backup != backup || !server.is_up() || tried.contains(at) {
                continue;
            }
            server.current_weight += server.effective_weight;
            total += server.effective_weight;
            if server.effective_weight < i64::from(server.conf.weight) {
                server.effective_weight += 1;
            }
            if best.is_none_or(|(_, weight)| server.current_weight > weight) {
                best = Some((at, server.current_weight));
            }
        }
        let (best, _) = best?;
        self.servers.get_mut(best)?.current_weight -= total;
        Some(best)
    }
}

impl Server {
    fn new(conf: ServerConf) -> Self {
        let effective_weight = conf.weight.into();
        Self { conf, current_weight: 0, effective_weight, fails: 0, fails_since: 0, breaker: None }
    }

    fn is_up(&self) -> bool {
        !self.conf.down && self.breaker.is_none()
    }

    fn count_failure(&mut self, now: u64) {
        if now.saturating_sub(self.fails_since) > self.conf.fail_timeout {
            self.fails = 0;
        }
        if self.fails == 0 {
            self.fails_since = now;
        }
        self.fails = self.fails.saturating_add(1);
        if let Some(part) = self.conf.weight.checked_div(self.conf.max_fails) {
            self.effective_weight = (self.effective_weight - i64::from(part)).max(0);
        }
    }

    fn probe_due(&self, store_up: bool) -> Option<u64> {
        let at_least = if store_up { self.conf.fail_timeout } else { 0 };
        self.breaker.as_ref().map(|breaker| breaker.due(at_least))
    }
}
