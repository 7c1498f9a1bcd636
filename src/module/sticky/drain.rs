//! Servers that keep their sessions and get no new ones.

use crate::module::conf::UpstreamConf;
use crate::module::learn;
use crate::module::request::Request;

/// Whether any server may be drained: what each request asks first.
pub(super) fn any(r: Request, conf: &UpstreamConf) -> bool {
    !conf.drained.items().is_empty() || learn::drains(r)
}

/// Whether the server of this address, which `line` brought, is drained.
pub(super) fn is_drained(r: Request, conf: &UpstreamConf, address: &[u8], line: &[u8]) -> bool {
    conf.drained.items().iter().any(|drained| drained.server.as_bytes() == line)
        || learn::is_drained(r, address)
        || learn::is_drained(r, line)
}
