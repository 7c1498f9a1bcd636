//! Servers that keep their sessions and get no new ones.

use std::rc::Rc;

use crate::module::conf::UpstreamConf;
use crate::module::learn;
use crate::module::request::Request;
use crate::route::drained::Drained;

/// Those of a block, for one request.
pub(super) struct Draining<'c> {
    conf: &'c UpstreamConf,
    fleet: Option<Rc<Drained>>,
}

impl<'c> Draining<'c> {
    /// None where no server is drained.
    pub(super) fn of(r: Request, conf: &'c UpstreamConf) -> Option<Self> {
        let fleet = learn::drained(r).filter(|fleet| !fleet.is_empty());
        (fleet.is_some() || !conf.drained.items().is_empty()).then_some(Self { conf, fleet })
    }

    /// Whether the server of this address, which `line` brought, is drained.
    pub(super) fn has(&self, address: &[u8], line: &[u8]) -> bool {
        self.conf.drained.items().iter().any(|drained| drained.server.as_bytes() == line)
            || (self.fleet.as_ref())
                .is_some_and(|fleet| fleet.contains(address) || fleet.contains(line))
    }
}
