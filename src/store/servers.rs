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
    used: Used,
}

/// Which of the servers matter: the others are neither asked nor probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Used {
    All,
    Nobody,
    Only(usize),
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
    /// Nobody.
    pub const NONE: Self = Self { first: 0, others: Vec::new() };

    /// Notes a server as tried.
    pub fn insert(&mut self, server: usize) {
        match bit(server) {
            Some(bit) => self.first |= bit,
            None => self.others.push(server),
        }
    }

    /// Notes all servers of another set.
    pub fn insert_all(&mut self, other: &Self) {
        self.first |= other.first;
        self.others.extend_from_slice(&other.others);
    }

    /// Takes a server back.
    pub fn remove(&mut self, server: usize) {
        match bit(server) {
            Some(bit) => self.first &= !bit,
            None => self.others.retain(|&other| other != server),
        }
    }

    /// Whether no server is noted.
    pub fn is_empty(&self) -> bool {
        self.first == 0 && self.others.is_empty()
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
        Self {
            servers: servers.into_iter().map(Server::new).collect(),
            probed: None,
            used: Used::All,
        }
    }

    /// No server yet: [`Self::use_only`] adds them.
    pub fn none_yet() -> Self {
        Self { servers: Vec::new(), probed: None, used: Used::Nobody }
    }

    /// From now on this server alone is used, one that is not in the list being added to its end; nothing is
    /// held against it from before. If `check` is a time in ms, it counts as down until a probe, due then, has
    /// found it well.
    pub fn use_only(&mut self, server: usize, check: Option<u64>) {
        let server = server.min(self.servers.len());
        let mut used = Server::new(ServerConf::default());
        used.breaker = check.map(Breaker::unknown);
        match self.servers.get_mut(server) {
            Some(known) => *known = used,
            None => self.servers.push(used),
        }
        self.probed = None;
        self.used = Used::Only(server);
    }

    /// The server that alone is used.
    pub fn only(&self) -> Option<usize> {
        match self.used {
            Used::Only(server) => Some(server),
            Used::All | Used::Nobody => None,
        }
    }

    /// Whether any server can be asked.
    pub fn is_up(&self) -> bool {
        (0..self.servers.len()).any(|server| self.is_server_up(server))
    }

    /// Since when no server can be asked, in ms; none while one can. 0: none was known yet.
    pub fn down_since(&self) -> Option<u64> {
        let used = self.servers.iter().enumerate().filter(|(at, _)| self.used.includes(*at));
        let opened = used.filter_map(|(_, server)| server.breaker.as_ref().map(Breaker::opened));
        (!self.is_up()).then(|| opened.max().unwrap_or(0))
    }

    /// Whether this server may be asked.
    pub fn is_server_up(&self, server: usize) -> bool {
        self.used.includes(server) && self.servers.get(server).is_some_and(Server::is_up)
    }

    /// The server to ask: the next of those that are up and not `tried`, backups only when no other is left.
    pub fn pick(&mut self, tried: &TriedSet) -> Option<usize> {
        self.pick_among(false, tried).or_else(|| self.pick_among(true, tried))
    }

    /// A lookup failed for this server's sake, at `now` (ms). `random` spreads the probes of several workers.
    pub fn failed(&mut self, server: usize, now: u64, random: u32) -> Option<Went> {
        if !self.is_server_up(server) {
            return None;
        }
        let failed = self.servers.get_mut(server)?;
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
            .filter(|(at, _)| self.used.includes(*at))
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
            if !self.used.includes(at) {
                continue;
            }
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

impl Used {
    fn includes(self, server: usize) -> bool {
        match self {
            Self::All => true,
            Self::Nobody => false,
            Self::Only(used) => used == server,
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::breaker::{FIRST_WAIT_MS, LONGEST_WAIT_MS};
    use proptest::collection::vec;
    use proptest::prelude::*;

    const NONE_TRIED: &TriedSet = &TriedSet::NONE;

    fn server() -> ServerConf {
        ServerConf::default()
    }

    fn weight(weight: u32) -> ServerConf {
        ServerConf { weight, ..server() }
    }

    fn backup() -> ServerConf {
        ServerConf { backup: true, ..server() }
    }

    fn tried(servers: &[usize]) -> TriedSet {
        let mut tried = TriedSet::default();
        servers.iter().for_each(|&server| tried.insert(server));
        tried
    }

    fn picks(servers: &mut Servers, count: usize) -> Vec<usize> {
        (0..count).map(|_| servers.pick(NONE_TRIED).unwrap()).collect()
    }

    /// The time at which the next probe is due.
    fn due(servers: &mut Servers) -> u64 {
        match servers.probe(0) {
            Probe::At(at) => at,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lookups_are_spread_smoothly_by_weight() {
        let mut servers = Servers::new(vec![weight(5), weight(1), weight(1)]);
        assert_eq!(picks(&mut servers, 7), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(picks(&mut servers, 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn a_store_without_usable_servers_is_down_and_probes_nobody() {
        for conf in [vec![], vec![ServerConf { down: true, ..server() }]] {
            let mut servers = Servers::new(conf);
            assert!(!servers.is_up());
            assert_eq!(servers.pick(NONE_TRIED), None);
            assert_eq!(servers.failed(0, 0, 0), None);
            assert_eq!(servers.probe(u64::MAX), Probe::Nothing);
        }
    }

    #[test]
    fn backups_serve_when_no_other_can() {
        let mut servers = Servers::new(vec![server(), backup(), server()]);
        assert_eq!(picks(&mut servers, 4), [0, 2, 0, 2]);
        assert_eq!(servers.pick(&tried(&[0])), Some(2));
        assert_eq!(servers.pick(&tried(&[0, 2])), Some(1));
        assert_eq!(servers.pick(&tried(&[0, 1, 2])), None);
        assert_eq!(servers.failed(0, 0, 0), Some(Went::Down { store: false }));
        assert_eq!(picks(&mut servers, 2), [2, 2]);
        assert_eq!(servers.failed(2, 0, 0), Some(Went::Down { store: false }));
        assert_eq!(picks(&mut servers, 2), [1, 1]);
        assert_eq!(servers.failed(1, 0, 0), Some(Went::Down { store: true }));
        assert_eq!(servers.pick(NONE_TRIED), None);
    }

    #[test]
    fn a_change_is_told_once() {
        let mut servers = Servers::new(vec![server()]);
        assert_eq!(servers.failed(0, 0, 0), Some(Went::Down { store: true }));
        for _ in 0..1000 {
            assert_eq!(servers.failed(0, 1, 0), None);
        }
        assert_eq!(servers.probe(50), Probe::Now(0));
        assert_eq!(servers.probe_succeeded(0), Some(Went::Up { store: true }));
        assert_eq!(servers.probe_succeeded(0), None);
        assert_eq!(servers.probe(u64::MAX), Probe::Nothing);
        assert_eq!(servers.pick(NONE_TRIED), Some(0));
    }

    #[test]
    fn failures_count_within_their_time() {
        let conf = ServerConf { max_fails: 3, fail_timeout: 1000, ..server() };
        let mut servers = Servers::new(vec![conf]);
        assert_eq!(servers.failed(0, 5_000, 0), None);
        assert_eq!(servers.failed(0, 5_500, 0), None);
        assert_eq!(servers.failed(0, 6_001, 0), None);
        assert_eq!(servers.failed(0, 6_500, 0), None);
        assert_eq!(servers.failed(0, 7_001, 0), Some(Went::Down { store: true }));
    }

    #[test]
    fn a_server_that_is_back_may_fail_as_often_again() {
        let mut servers = Servers::new(vec![ServerConf { max_fails: 2, ..server() }]);
        assert_eq!(servers.failed(0, 0, 0), None);
        assert!(servers.failed(0, 0, 0).is_some());
        assert_eq!(servers.probe(50), Probe::Now(0));
        assert!(servers.probe_succeeded(0).is_some());
        assert_eq!(servers.failed(0, 60, 0), None);
        assert!(servers.failed(0, 60, 0).is_some());
    }

    #[test]
    fn without_max_fails_a_server_is_never_taken_out() {
        let mut servers = Servers::new(vec![ServerConf { max_fails: 0, ..server() }]);
        for now in 0..100 {
            assert_eq!(servers.failed(0, now, 0), None);
        }
        assert_eq!(servers.pick(NONE_TRIED), Some(0));
        assert_eq!(servers.probe(u64::MAX), Probe::Nothing);
    }

    #[test]
    fn a_failing_server_gets_less_until_it_does_well() {
        let mut servers = Servers::new(vec![ServerConf { max_fails: 4, ..weight(40) }, weight(40)]);
        for _ in 0..3 {
            assert_eq!(servers.failed(0, 0, 0), None);
        }
        assert_eq!(picks(&mut servers, 3), [1, 1, 0]);
        picks(&mut servers, 100);
        let first = picks(&mut servers, 100).iter().filter(|&&server| server == 0).count();
        assert_eq!(first, 50);
    }

    #[test]
    fn one_probe_at_a_time() {
        let mut servers = Servers::new(vec![server(), server(), server()]);
        for (at, now) in [(0, 0), (1, 1), (2, 2)] {
            assert!(servers.failed(at, now, 0).is_some());
        }
        assert_eq!(servers.probe(100), Probe::Now(0));
        assert_eq!(servers.probe(100), Probe::Nothing);
        servers.probe_failed(1, 100, 0);
        assert_eq!(servers.probe_succeeded(2), None, "it was not probed");
        assert_eq!(servers.probe(100), Probe::Nothing, "server 0 still is");
        servers.probe_failed(0, 100, 0);
        assert_eq!(servers.probe(100), Probe::Now(1));
        assert_eq!(servers.probe_succeeded(1), Some(Went::Up { store: true }));
        assert_eq!(servers.probe(101), Probe::At(10_002), "while one is up the others wait");
    }

    #[test]
    fn probes_of_a_store_that_is_down_back_off() {
        let mut servers = Servers::new(vec![server()]);
        assert!(servers.failed(0, 0, u32::MAX).is_some());
        let (mut now, mut waits) = (0, Vec::new());
        for _ in 0..8 {
            let at = due(&mut servers);
            waits.push(at - now);
            now = at;
            assert_eq!(servers.probe(now - 1), Probe::At(now));
            assert_eq!(servers.probe(now), Probe::Now(0));
            servers.probe_failed(0, now, 0);
        }
        assert!(waits[0] <= FIRST_WAIT_MS);
        assert_eq!(waits[1..], [50, 100, 200, 400, 500, 500, 500]);
    }

    #[test]
    fn a_server_is_left_alone_while_another_is_up() {
        let mut servers =
            Servers::new(vec![server(), ServerConf { fail_timeout: 30_000, ..server() }]);
        assert_eq!(servers.failed(0, 1_000, 0), Some(Went::Down { store: false }));
        assert_eq!(due(&mut servers), 11_000);
        assert_eq!(servers.probe(11_000), Probe::Now(0));
        servers.probe_failed(0, 11_200, 0);
        assert_eq!(due(&mut servers), 21_200);
        assert_eq!(servers.failed(1, 12_000, 0), Some(Went::Down { store: true }));
        assert_eq!(due(&mut servers), 11_250, "at once");
        assert_eq!(servers.probe(12_000), Probe::Now(0));
        assert_eq!(servers.probe_succeeded(0), Some(Went::Up { store: true }));
        assert_eq!(due(&mut servers), 42_000);
        assert_eq!(servers.probe(42_000), Probe::Now(1));
        assert_eq!(servers.probe_succeeded(1), Some(Went::Up { store: false }));
    }

    #[test]
    fn one_server_alone_may_be_used() {
        let mut servers = Servers::none_yet();
        assert!(!servers.is_up());
        assert_eq!(servers.down_since(), Some(0));
        assert_eq!(servers.probe(0), Probe::Nothing);
        servers.use_only(0, None);
        assert_eq!(picks(&mut servers, 2), [0, 0]);
        assert_eq!(servers.down_since(), None);
        assert_eq!(servers.failed(0, 5, 0), Some(Went::Down { store: true }));
        servers.probe_failed(0, 7, 0);
        assert_eq!(servers.down_since(), Some(5));

        servers.use_only(1, Some(10));
        assert_eq!(servers.down_since(), Some(10));
        assert!(!servers.is_up(), "not before it is found well");
        assert_eq!(servers.probe(10), Probe::Now(1), "the first is left alone");
        assert_eq!(servers.probe_succeeded(1), Some(Went::Up { store: true }));
        assert_eq!(picks(&mut servers, 2), [1, 1]);
        assert_eq!(servers.failed(0, 11, 0), None, "nobody minds the first");
        assert_eq!(servers.probe(u64::MAX), Probe::Nothing);

        servers.use_only(0, None);
        assert_eq!((servers.only(), picks(&mut servers, 2)), (Some(0), vec![0, 0]));
        assert!(!servers.is_server_up(1));
        servers.use_only(9, None);
        assert_eq!(servers.only(), Some(2), "the end of the list");
    }

    #[test]
    fn places_behind_the_64th_are_remembered() {
        let tried = tried(&[0, 63, 64, 1000]);
        for (server, expected) in
            [(0, true), (1, false), (63, true), (64, true), (65, false), (1000, true)]
        {
            assert_eq!(tried.contains(server), expected, "{server}");
        }
        let mut more = TriedSet::default();
        assert!(more.is_empty());
        more.insert_all(&tried);
        assert_eq!(more, tried);
        for server in [0, 63, 64, 1000] {
            more.remove(server);
            assert!(!more.contains(server));
        }
        assert!(more.is_empty());
    }

    proptest! {
        #[test]
        fn every_server_gets_its_share(weights in vec(1..20_u32, 1..8)) {
            let total: u32 = weights.iter().sum();
            let mut servers = Servers::new(weights.iter().copied().map(weight).collect());
            let picked = picks(&mut servers, total as usize);
            for (server, &weight) in weights.iter().enumerate() {
                prop_assert_eq!(picked.iter().filter(|&&at| at == server).count(), weight as usize);
            }
        }

        /// Whatever happens: nobody is asked who is down, the store is told down or up by turns, and one that is
        /// down is probed within the longest wait.
        #[test]
        fn the_state_is_coherent(
            confs in vec((0..4_u32, any::<bool>(), any::<bool>(), 0..3_u32, 0..50_000_u64), 1..5),
            events in vec((0..5_usize, 0..4_u8, any::<u32>(), 0..2_000_u64), 0..200),
        ) {
            let confs = confs.into_iter().map(|(weight, backup, down, max_fails, fail_timeout)| {
                ServerConf { weight, backup, down, max_fails, fail_timeout }
            });
            let mut servers = Servers::new(confs.collect());
            let (mut now, mut probed, mut store_up) = (0, None, servers.is_up());
            for (server, event, random, passed) in events {
                now += passed;
                let went = match (event, probed) {
                    (0, _) => servers.failed(server, now, random),
                    (1, Some(probed_now)) => {
                        probed = None;
                        servers.probe_succeeded(probed_now)
                    }
                    (2, Some(probed_now)) => {
                        probed = None;
                        servers.probe_failed(probed_now, now, random);
                        None
                    }
                    _ => None,
                };
                if let Some(Went::Down { store: true } | Went::Up { store: true }) = went {
                    store_up = !store_up;
                }
                prop_assert_eq!(servers.is_up(), store_up);
                let picked = servers.pick(NONE_TRIED);
                prop_assert_eq!(picked.is_some(), store_up);
                prop_assert!(picked.is_none_or(|picked| servers.servers[picked].is_up()));
                let is_any_down = servers.servers.iter().any(|server| server.breaker.is_some());
                match (servers.probe(now), probed) {
                    (Probe::Now(server), None) => probed = Some(server),
                    (Probe::At(at), None) if !store_up => prop_assert!(at <= now + LONGEST_WAIT_MS),
                    (Probe::At(_), None) => prop_assert!(is_any_down),
                    (Probe::Nothing, None) => prop_assert!(!is_any_down),
                    (probe, Some(_)) => prop_assert_eq!(probe, Probe::Nothing),
                }
            }
        }
    }
}
