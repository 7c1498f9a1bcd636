//! A blocking connection to a node, for the threads: opened, logged in, asked, within a deadline.

use core::ffi::c_int;
use core::ptr;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nginx_sys::{recv, MSG_DONTWAIT, MSG_PEEK};

use crate::store::cluster::NodeAddress;
use crate::store::command;
use crate::store::dialogue::{Dialogue, Login};
use crate::store::error::Failure;
use crate::store::resp::{Limits, Reader, Reply};

/// How connections are made and used: the same for all nodes of a store.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) login: Login,
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
    /// Of replies.
    pub(super) limits: Limits,
    /// Replicas are asked: they answer only to those who say that they only read.
    pub(super) read_only: bool,
    /// A reused connection that broke may be replaced once.
    pub(super) retry: bool,
}

/// Bytes read at once.
const READ: usize = 32 * 1024;

pub(super) struct Link {
    stream: TcpStream,
    reader: Reader,
    buffer: Box<[u8]>,
    /// It has served before, so that the server may have closed it as idle.
    used: bool,
}

impl Link {
    pub(super) fn is_used(&self) -> bool {
        self.used
    }

    /// Connects and logs in. A name is resolved now, by the system.
    pub(super) fn open(
        address: &NodeAddress,
        terms: &Terms,
        limits: Limits,
        deadline: Instant,
    ) -> Result<Self, Failure> {
        let stream = connect(address, terms, deadline)?;
        let _ = stream.set_nodelay(true);
        let buffer = vec![0; READ].into_boxed_slice();
        let mut link = Self { stream, reader: Reader::new(limits), buffer, used: false };
        link.set_timeouts(terms.connect_timeout)?;
        link.log_in(terms, deadline).map_err(|failure| match failure {
            Failure::Timeout => Failure::ConnectTimeout,
            other => other,
        })?;
        link.set_timeouts(terms.timeout)?;
        Ok(link)
    }

    /// A node that sends a byte now and then may take twice the time: the deadline is looked at between reads.
    fn set_timeouts(&self, timeout: Duration) -> Result<(), Failure> {
        self.stream
            .set_read_timeout(Some(timeout))
            .and_then(|()| self.stream.set_write_timeout(Some(timeout)))
            .map_err(|error| failure_of(&error))
    }

    fn log_in(&mut self, terms: &Terms, deadline: Instant) -> Result<(), Failure> {
        let mut out = Vec::new();
        let mut dialogue = Dialogue::begin(&terms.login, false, &mut out);
        if terms.read_only {
            command::encode(&mut out, &[b"READONLY"]);
        }
        // Nothing is asked of most.
        let mut is_silent = terms.read_only;
        if !dialogue.awaits_reply() && !is_silent {
            return Ok(());
        }
        self.write(&out)?;
        self.read(deadline, &mut |reply| {
            match (dialogue.awaits_reply(), reply) {
                (true, reply) => dialogue.take(reply)?,
                (false, Reply::Error(error)) => return Err(Failure::Server(error)),
                (false, _) => is_silent = false,
            }
            Ok(!dialogue.awaits_reply() && !is_silent)
        })
    }

    /// Whether it is open and there is nothing to read: a reply that nobody asked for would be taken for the answer
    /// to the next command.
    pub(super) fn is_clean(&self) -> bool {
        let mut byte = 0_u8;
        // SAFETY: the descriptor is open as long as the stream; the call writes one byte at most.
        let read = unsafe {
            recv(
                self.stream.as_raw_fd(),
                ptr::from_mut(&mut byte).cast(),
                1,
                (MSG_PEEK | MSG_DONTWAIT) as c_int,
            )
        };
        read < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
    }

    /// Sends commands and reads their `count` replies, or those up to one that is too large to be read over. After that, and
    /// after a failure, the link is not to be used: a reply that comes later must not be taken for another's.
    pub(super) fn exchange(
        &mut self,
        commands: &[u8],
        count: usize,
        deadline: Instant,
    ) -> Result<Vec<Reply<'static>>, Failure> {
        self.write(commands)?;
        let mut replies = Vec::with_capacity(count);
        let read = self.read(deadline, &mut |reply| {
            replies.push(reply.into_owned());
            Ok(replies.len() == count)
        });
        match read {
            Err(Failure::LargeReply) if !replies.is_empty() => {}
            read => read?,
        }
        self.used = true;
        Ok(replies)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(bytes).map_err(|error| failure_of(&error))
    }

    /// Reads replies until `take` has had its last; there must be no more.
    fn read(
        &mut self,
        deadline: Instant,
        take: &mut dyn FnMut(Reply<'_>) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let mut is_last = false;
        while !is_last {
            if Instant::now() >= deadline {
                return Err(Failure::Timeout);
            }
            let size = match self.stream.read(&mut self.buffer) {
                Ok(0) => return Err(Failure::Closed),
                Ok(size) => size,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failure_of(&error)),
            };
            let mut input = self.buffer.get(..size).unwrap_or_default();
            while let Some(reply) = self.reader.next(&mut input)? {
                if matches!(reply, Reply::Push(_)) {
                    continue;
                }
                if is_last {
                    return Err(Failure::Unexpected);
                }
                is_last = take(reply)?;
            }
        }
        Ok(())
    }
}

fn connect(address: &NodeAddress, terms: &Terms, deadline: Instant) -> Result<TcpStream, Failure> {
    let addresses = (&*address.host, address.port).to_socket_addrs();
    let mut last = Failure::Unresolved;
    for address in addresses.map_err(|_| Failure::Unresolved)? {
        match connect_to(&address, terms.connect_timeout, deadline) {
            Ok(stream) => return Ok(stream),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

fn connect_to(
    address: &SocketAddr,
    timeout: Duration,
    deadline: Instant,
) -> Result<TcpStream, Failure> {
    let left = deadline.saturating_duration_since(Instant::now()).min(timeout);
    if left.is_zero() {
        return Err(Failure::ConnectTimeout);
    }
    TcpStream::connect_timeout(address, left).map_err(|error| match error.raw_os_error() {
        Some(errno) => Failure::Connect(errno),
        None => Failure::ConnectTimeout,
    })
}

fn failure_of(error: &io::Error) -> Failure {
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut, _) => Failure::Timeout,
        (_, Some(errno)) => Failure::Broken(errno),
        _ => Failure::Closed,
    }
}
