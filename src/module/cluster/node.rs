//! The connections under the `redis` crate's cluster client.
//!
//! A client of the crate connects to every node of a cluster as it is made and whenever a slot has moved, and asks
//! any of them for the map: one node that is frozen would hold up the keys of all others. It waits for each reply of
//! a pipeline for the whole timeout, reads a reply of any size, and gives up a pipeline for one command's error. So
//! the client gets connections of ours: they open when a command is to be sent, keep to the deadline and to
//! `max_size`, and put the replies aside; of these the client sees only that a key is elsewhere, and follows.
//! Each client is at home at one node, and is told that this one serves all slots: whom to ask is decided in
//! one place, `store::cluster::nodes`.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::cluster::{ClusterConnection, Connect};
use redis::{
    Cmd, ConnectionAddr, ConnectionLike, ErrorKind, IntoConnectionInfo, RedisResult, Value,
};

use super::link::{Link, Terms};
use crate::store::cluster::batch::is_elsewhere;
use crate::store::cluster::redirect::Redirect;
use crate::store::cluster::slot::SLOTS;
use crate::store::cluster::NodeAddress;
use crate::store::error::Failure;
use crate::store::resp::{Reply, MOST_READ_OVER};
use crate::store::server_error::{Code, ServerError};

/// What a thread asks a cluster now. The crate makes and uses connections without knowing for whom.
pub(super) struct Turn {
    home: NodeAddress,
    /// None while a client is made, which asks nobody.
    terms: Option<Arc<Terms>>,
    deadline: Instant,
    replies: Vec<Reply<'static>>,
    /// Which node answered last.
    answered: Option<NodeAddress>,
    /// Which node failed, and how.
    failed: Option<(NodeAddress, Failure)>,
    /// The last redirect, or what else made the client go on.
    refusal: Option<ServerError>,
}

thread_local! {
    static TURN: RefCell<Option<Turn>> = const { RefCell::new(None) };

    /// Connections to where redirects led. A client keeps none but that to its home, or there would be as many to a
    /// node as there are nodes.
    static AWAY: RefCell<Vec<(NodeAddress, Link)>> = const { RefCell::new(Vec::new()) };
}

/// The replies to one command or to many, and who gave them; or who failed, and how.
pub(super) type Answer = Result<(Vec<Reply<'static>>, NodeAddress), (NodeAddress, Failure)>;

const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";

/// Runs something that makes a client at home at this node.
pub(super) fn at_home<T>(home: &NodeAddress, run: impl FnOnce() -> T) -> T {
    during(Turn::new(home, None, Instant::now()), run).0
}

/// Asks for all these commands at once, at the client's home. There are fewer replies where one ended the connection.
pub(super) fn ask_all(
    client: &mut ClusterConnection<Node>,
    home: &NodeAddress,
    terms: &Arc<Terms>,
    deadline: Instant,
    commands: &[u8],
    count: usize,
) -> Answer {
    let turn = Turn::new(home, Some(Arc::clone(terms)), deadline);
    let (result, turn) = during(turn, || client.req_packed_commands(commands, 0, count));
    turn.answer(result.is_ok())
}

/// Asks for one command, wherever the cluster says that its key is.
pub(super) fn ask_one(
    client: &mut ClusterConnection<Node>,
    home: &NodeAddress,
    terms: &Arc<Terms>,
    deadline: Instant,
    command: &[u8],
) -> Answer {
    let turn = Turn::new(home, Some(Arc::clone(terms)), deadline);
    let (result, turn) = during(turn, || client.req_packed_command(command));
    turn.answer(result.is_ok())
}

/// Ends the connections to where redirects led.
pub(super) fn come_home() {
    AWAY.take();
}

fn during<T>(turn: Turn, run: impl FnOnce() -> T) -> (T, Turn) {
    let home = turn.home.clone();
    TURN.set(Some(turn));
    let result = run();
    (result, TURN.take().unwrap_or_else(|| Turn::new(&home, None, Instant::now())))
}

impl Turn {
    fn new(home: &NodeAddress, terms: Option<Arc<Terms>>, deadline: Instant) -> Self {
        let home = home.clone();
        let (answered, failed, refusal) = (None, None, None);
        Self { home, terms, deadline, replies: Vec::new(), answered, failed, refusal }
    }

    fn answer(self, succeeded: bool) -> Answer {
        let Self { home, replies, answered, failed, refusal, .. } = self;
        if succeeded {
            return Ok((replies, answered.unwrap_or(home)));
        }
        // A client that gave up following redirects leaves the last one.
        let refused = refusal.map(|error| (home.clone(), Failure::Server(error)));
        Err(failed.or(refused).unwrap_or((home, Failure::Unexpected)))
    }
}

/// A connection to a node, open or not.
pub(super) struct Node {
    address: NodeAddress,
    /// Only to a home.
    link: Option<Link>,
}

impl Node {
    fn is_home(&self) -> bool {
        TURN.with_borrow(|turn| turn.as_ref().is_some_and(|turn| turn.home == self.address))
    }

    fn take_link(&mut self) -> Option<Link> {
        if self.is_home() {
            return self.link.take();
        }
        AWAY.with_borrow_mut(|away| {
            let at = away.iter().position(|(address, _)| *address == self.address)?;
            Some(away.swap_remove(at).1)
        })
    }

    fn keep_link(&mut self, link: Link) {
        if self.is_home() {
            self.link = Some(link);
        } else {
            AWAY.with_borrow_mut(|away| away.push((self.address.clone(), link)));
        }
    }

    /// Sends commands and reads their replies. A connection that was closed as idle is opened again once.
    fn exchange(&mut self, commands: &[u8], count: usize) -> RedisResult<Vec<Reply<'static>>> {
        let (terms, deadline) = TURN
            .with_borrow(|turn| {
                turn.as_ref().and_then(|turn| Some((turn.terms.clone()?, turn.deadline)))
            })
            .ok_or_else(given_up)?;
        let mut result = self.try_exchange(commands, count, &terms, deadline);
        if let Err((failure, true)) = &result {
            if terms.retry && failure.is_retryable_on_fresh_connection() {
                result = self.try_exchange(commands, count, &terms, deadline);
            }
        }
        result.map_err(|(failure, _)| self.give_up(failure))
    }

    /// The failure comes with whether the connection was a reused one.
    fn try_exchange(
        &mut self,
        commands: &[u8],
        count: usize,
        terms: &Terms,
        deadline: Instant,
    ) -> Result<Vec<Reply<'static>>, (Failure, bool)> {
        let mut link = match self.take_link().filter(Link::is_clean) {
            Some(link) => link,
            None => {
                let open = Link::open(&self.address, terms, terms.limits, deadline);
                open.map_err(|failure| (failure, false))?
            }
        };
        let used = link.is_used();
        let replies =
            link.exchange(commands, count, deadline).map_err(|failure| (failure, used))?;
        if !replies.iter().any(closes) {
            self.keep_link(link);
        }
        Ok(replies)
    }

    /// Notes why; the client is not to try again by itself.
    fn give_up(&self, failure: Failure) -> redis::RedisError {
        TURN.with_borrow_mut(|turn| {
            if let Some(turn) = turn {
                turn.failed = Some((self.address.clone(), failure));
            }
        });
        given_up()
    }

    /// Tells the client where a key is, or that it is on its way.
    fn elsewhere(&self, error: &ServerError) -> RedisResult<Value> {
        TURN.with_borrow_mut(|turn| {
            if let Some(turn) = turn {
                turn.refusal = Some(error.clone());
            }
        });
        let reply = match error.code() {
            Code::TryAgain => "-TRYAGAIN\r\n".to_owned(),
            _ => match Redirect::parse(&error.to_string(), &self.address) {
                Some(redirect) => redirect.to_reply(),
                None => return Err(given_up()),
            },
        };
        redis::parse_redis_value(reply.as_bytes())
    }

    fn put_aside(&self, replies: Vec<Reply<'static>>) {
        TURN.with_borrow_mut(|turn| {
            if let Some(turn) = turn {
                turn.replies = replies;
                turn.answered = Some(self.address.clone());
            }
        });
    }
}

/// Whether a connection ends with a reply: the server closes it, or we do since we do not read it over.
fn closes(reply: &Reply) -> bool {
    match reply {
        Reply::Error(error) => Failure::Server(error.clone()).closes_connection(),
        Reply::TooLarge(bytes) => *bytes > MOST_READ_OVER,
        _ => false,
    }
}

/// An error that the client does not try again for: we decide that.
fn given_up() -> redis::RedisError {
    (ErrorKind::InvalidClientConfig, "given up").into()
}

impl Connect for Node {
    fn connect<T: IntoConnectionInfo>(info: T, _timeout: Option<Duration>) -> RedisResult<Self> {
        let info = info.into_connection_info()?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else { return Err(given_up()) };
        let address = NodeAddress::new(host.as_bytes(), (*port).into()).ok_or_else(given_up)?;
        Ok(Self { address, link: None })
    }

    fn send_packed_command(&mut self, _: &[u8]) -> RedisResult<()> {
        Err(given_up())
    }

    /// The terms say how long.
    fn set_write_timeout(&self, _: Option<Duration>) -> RedisResult<()> {
        Ok(())
    }

    fn set_read_timeout(&self, _: Option<Duration>) -> RedisResult<()> {
        Ok(())
    }

    fn recv_response(&mut self) -> RedisResult<Value> {
        Err(given_up())
    }
}

impl ConnectionLike for Node {
    /// What the client asks of its own accord: whether the connection lives, and who serves which slots.
    fn req_command(&mut self, command: &Cmd) -> RedisResult<Value> {
        match command.args_iter().next() {
            Some(redis::Arg::Simple(b"CLUSTER")) => {
                let home = TURN.with_borrow(|turn| turn.as_ref().map(|turn| turn.home.clone()));
                home.map(|home| serves_all(&home)).ok_or_else(given_up)
            }
            Some(redis::Arg::Simple(b"PING")) => Ok(Value::SimpleString("PONG".into())),
            _ => Err(given_up()),
        }
    }

    fn req_packed_command(&mut self, command: &[u8]) -> RedisResult<Value> {
        let replies = self.exchange(command, 1)?;
        match replies.first() {
            Some(Reply::Error(error)) if replies.iter().any(is_elsewhere) => self.elsewhere(error),
            _ if command == ASKING => Ok(Value::Okay),
            _ => {
                self.put_aside(replies);
                Ok(Value::Okay)
            }
        }
    }

    fn req_packed_commands(
        &mut self,
        commands: &[u8],
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        let replies = self.exchange(commands, offset + count)?;
        self.put_aside(replies);
        Ok(Vec::new())
    }

    fn get_db(&self) -> i64 {
        0
    }

    fn check_connection(&mut self) -> bool {
        true
    }

    fn is_open(&self) -> bool {
        true
    }
}

/// A map on which one node serves everything.
fn serves_all(home: &NodeAddress) -> Value {
    let host = Value::BulkString(home.host.as_bytes().to_vec());
    let node = Value::Array(vec![host, Value::Int(home.port.into())]);
    Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(i64::from(SLOTS) - 1), node])])
}
