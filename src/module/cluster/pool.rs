//! The pools of cluster clients: one for each node, of clients that are at home there.

use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Duration;

use r2d2::ManageConnection;
use redis::cluster::{ClusterClient, ClusterClientBuilder, ClusterConnection};
use redis::{ConnectionAddr, ProtocolVersion, RedisError};
use scheduled_thread_pool::ScheduledThreadPool;

use super::node::{at_home, Node};
use super::system;
use crate::store::cluster::NodeAddress;

pub(super) type Pool = r2d2::Pool<Manager>;

/// How often a client follows a redirect of one command: moved, asked, and moved again meanwhile.
const REDIRECTS: u32 = 5;

/// Makes cluster clients at home at one node. To make one takes no time: nobody is asked.
pub(super) struct Manager {
    client: ClusterClient,
    home: NodeAddress,
}

/// The thread that pools share. None where none can be started, of which the crate makes a panic.
pub(super) fn keeper() -> Option<Arc<ScheduledThreadPool>> {
    let start = || {
        let builder = ScheduledThreadPool::builder().num_threads(1);
        builder.thread_name_pattern("session_redis").build()
    };
    system::without_signals(|| catch_unwind(start)).ok().map(Arc::new)
}

/// A pool of at most `size` clients. `keeper` sees to it that they do not grow old.
pub(super) fn pool(
    home: &NodeAddress,
    size: u32,
    keeper: &Arc<ScheduledThreadPool>,
) -> Result<Pool, RedisError> {
    let address = ConnectionAddr::Tcp(home.host.to_string(), home.port);
    let client = ClusterClientBuilder::new([address])
        .use_protocol(ProtocolVersion::RESP2)
        .retries(REDIRECTS)
        .min_retry_wait(1)
        .max_retry_wait(5)
        .build()?;
    Ok(r2d2::Pool::builder()
        .max_size(size.max(1))
        .min_idle(Some(0))
        .test_on_check_out(false)
        .error_handler(Box::new(r2d2::NopErrorHandler))
        .connection_timeout(Duration::from_secs(1))
        .thread_pool(Arc::clone(keeper))
        .build_unchecked(Manager { client, home: home.clone() }))
}

impl ManageConnection for Manager {
    type Connection = ClusterConnection<Node>;
    type Error = RedisError;

    fn connect(&self) -> Result<Self::Connection, Self::Error> {
        at_home(&self.home, || self.client.get_generic_connection())
    }

    fn is_valid(&self, _: &mut Self::Connection) -> Result<(), Self::Error> {
        Ok(())
    }

    /// A connection that broke is replaced by the client's node itself.
    fn has_broken(&self, _: &mut Self::Connection) -> bool {
        false
    }
}
