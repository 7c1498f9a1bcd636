//! What is said to a Sentinel, what it answers, and what a store with Sentinels is configured with.
//!
//! One connection serves for questions and events, with servers of any age: `UNSUBSCRIBE`, the question and
//! `SUBSCRIBE` are written at once, since a subscribed connection (RESP2) takes no other command. Whom of
//! several Sentinels to believe, and when to ask them again, is for [`belief`].

#![forbid(unsafe_code)]

pub mod belief;

use std::collections::VecDeque;

use redis::Value;

use super::command;
use super::endpoint::Address;
use super::resp::Reply;
use super::server_error::ServerError;
use crate::config::ConfigError;

/// Where a Sentinel listens unless told otherwise.
pub const DEFAULT_PORT: u16 = 26379;

/// More are not of use to anybody.
const MOST_SENTINELS: usize = 32;

/// Who is to be asked for which master: `sentinel master host[:port] …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelConf {
    /// The name that the Sentinels know the master by.
    pub master: String,
    /// Where they listen, each with its port.
    pub sentinels: Vec<Address>,
}

impl SentinelConf {
    /// Of the directive's arguments.
    pub fn parse(words: &[&str]) -> Result<Self, ConfigError> {
        let usage = "write \"sentinel mymaster 10.0.0.1:26379 10.0.0.2:26379 10.0.0.3:26379\"";
        let Some((&master, hosts)) = words.split_first() else {
            return Err(ConfigError::new("no name of a master").hint(usage));
        };
        // So that `sentinel 10.0.0.1:26379 10.0.0.2:26379` is not taken for a name.
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if master.is_empty() || !master.bytes().all(is_name) {
            return Err(ConfigError::new(format!("\"{master}\" is not the name of a master"))
                .hint(format!("it stands before the Sentinels: {usage}")));
        }
        if hosts.is_empty() {
            return Err(ConfigError::new("no Sentinel is named").hint(usage));
        }
        if hosts.len() > MOST_SENTINELS {
            return Err(ConfigError::new(format!("more than {MOST_SENTINELS} Sentinels")));
        }
        let mut sentinels = Vec::with_capacity(hosts.len());
        for host in hosts {
            let address = parse_host(host)?;
            if sentinels.contains(&address) {
                return Err(ConfigError::new(format!("Sentinel \"{host}\" stands twice")));
            }
            sentinels.push(address);
        }
        Ok(Self { master: master.to_owned(), sentinels })
    }
}

fn parse_host(text: &str) -> Result<Address, ConfigError> {
    match Address::parse(text) {
        Some(Address::Host { host, port }) => {
            Ok(Address::Host { host, port: Some(port.unwrap_or(DEFAULT_PORT)) })
        }
        _ => Err(ConfigError::new(format!("\"{text}\" is not the address of a Sentinel"))
            .hint("write host, host:port or [IPv6 address]:port, without a scheme")),
    }
}

/// What tells of a change of masters. Each of these is sent after the Sentinel that sends it answers anew.
const CHANNELS: [&[u8]; 4] = [
    b"+switch-master",
    b"+failover-state-reconf-slaves",
    b"+promoted-slave",
    b"+config-update-from",
];

/// The channel whose messages name the new master themselves.
const SWITCH: &[u8] = CHANNELS[0];

/// A connection to a Sentinel, from the end of its handshake on.
#[derive(Debug)]
pub struct Talk {
    master: Box<str>,
    awaited: VecDeque<Awaited>,
    subscribed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Unsubscribed,
    Answer,
    Subscribed,
}

/// What a Sentinel has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Where the master is, as an answer.
    Master(Address),
    /// Where the master is from now on, as an event.
    Switched(Address),
    /// It knows no master of this name.
    UnknownMaster,
    /// The master changes or has changed: it is to be asked.
    Change,
    /// Nothing of interest.
    Nothing,
}

/// What is not said by a Sentinel. The connection is to be closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It refused the question.
    Refused(ServerError),
    /// It does not know the question.
    NoSentinel,
    /// An answer of another form.
    Unexpected,
}

impl Talk {
    /// For this master.
    pub fn new(master: &str) -> Self {
        Self { master: master.into(), awaited: VecDeque::new(), subscribed: false }
    }

    /// Asks where the master is, and to be told of changes from then on.
    pub fn ask(&mut self, out: &mut Vec<u8>) {
        if self.subscribed {
            command::encode(out, &[b"UNSUBSCRIBE"]);
            self.awaited.push_back(Awaited::Unsubscribed);
        }
        command::encode(out, &[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self.master.as_bytes()]);
        self.awaited.push_back(Awaited::Answer);
        let [first, second, third, fourth] = CHANNELS;
        command::encode(out, &[b"SUBSCRIBE", first, second, third, fourth]);
        self.awaited.push_back(Awaited::Subscribed);
        self.subscribed = true;
    }

    /// Takes what comes next.
    pub fn take(&mut self, reply: Reply<'_>) -> Result<Heard, Fault> {
        match reply {
            Reply::Other(Value::Array(parts)) => self.take_array(&parts),
            Reply::Null => self.take_answer(Heard::UnknownMaster),
            Reply::Error(error) => self.refused(error),
            _ => Err(Fault::Unexpected),
        }
    }

    /// Answers and events are told by their form: an event comes whenever it likes.
    fn take_array(&mut self, parts: &[Value]) -> Result<Heard, Fault> {
        match parts {
            [Value::BulkString(host), Value::BulkString(port)] => {
                let address = address(host, port).ok_or(Fault::Unexpected)?;
                self.take_answer(Heard::Master(address))
            }
            [Value::BulkString(kind), Value::BulkString(channel), Value::BulkString(message)]
                if kind == b"message" =>
            {
                Ok(self.event(channel, message))
            }
            [Value::BulkString(kind), _, Value::Int(_)] if kind == b"subscribe" => {
                self.pass(Awaited::Subscribed)
            }
            [Value::BulkString(kind), _, Value::Int(_)] if kind == b"unsubscribe" => {
                self.pass(Awaited::Unsubscribed)
            }
            _ => Err(Fault::Unexpected),
        }
    }

    fn take_answer(&mut self, heard: Heard) -> Result<Heard, Fault> {
        match self.awaited.pop_front() {
            Some(Awaited::Answer) => Ok(heard),
            _ => Err(Fault::Unexpected),
        }
    }

    /// A subscription is confirmed channel by channel: the first stands for the others.
    fn pass(&mut self, confirmed: Awaited) -> Result<Heard, Fault> {
        if self.awaited.front() == Some(&confirmed) {
            self.awaited.pop_front();
        }
        Ok(Heard::Nothing)
    }

    fn refused(&mut self, error: ServerError) -> Result<Heard, Fault> {
        match self.awaited.pop_front() {
            Some(Awaited::Answer) if error.is_unknown_command() => Err(Fault::NoSentinel),
            Some(Awaited::Answer) | None => Err(Fault::Refused(error)),
            // Without events it is asked now and then all the same.
            Some(Awaited::Subscribed) => {
                self.subscribed = false;
                Ok(Heard::Nothing)
            }
            Some(Awaited::Unsubscribed) => Ok(Heard::Nothing),
        }
    }

    fn event(&self, channel: &[u8], message: &[u8]) -> Heard {
        let Ok(message) = str::from_utf8(message) else { return Heard::Nothing };
        if channel == SWITCH {
            return self.switched(message).map_or(Heard::Nothing, Heard::Switched);
        }
        match master_of(message) == Some(&*self.master) {
            true => Heard::Change,
            false => Heard::Nothing,
        }
    }

    /// Of `<master> <old host> <old port> <new host> <new port>`.
    fn switched(&self, message: &str) -> Option<Address> {
        let mut words = message.rsplitn(5, ' ');
        let (port, host) = (words.next()?, words.next()?);
        let (_old_port, _old_host) = (words.next()?, words.next()?);
        (words.next()? == &*self.master).then(|| address(host.as_bytes(), port.as_bytes()))?
    }
}

/// The master that an event is about: `master <name> <host> <port>`, or `… @ <name> <host> <port>`.
fn master_of(message: &str) -> Option<&str> {
    let master = match message.rsplit_once(" @ ") {
        Some((_, master)) => master,
        None => message.strip_prefix("master ")?,
    };
    master.split(' ').next()
}

/// Host and port as a Sentinel names them: an address, or a host name where it announces such.
fn address(host: &[u8], port: &[u8]) -> Option<Address> {
    let (host, port) = (str::from_utf8(host).ok()?, str::from_utf8(port).ok()?);
    let text = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    Address::parse(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::resp::{Limits, Reader};
    use proptest::prelude::*;

    fn host(host: &str, port: u16) -> Address {
        Address::Host { host: host.into(), port: Some(port) }
    }

    fn asked() -> Talk {
        let mut talk = Talk::new("mymaster");
        talk.ask(&mut Vec::new());
        talk
    }

    /// What is made of bytes from a Sentinel.
    fn hear(talk: &mut Talk, mut bytes: &[u8]) -> Vec<Result<Heard, Fault>> {
        let mut reader = Reader::new(Limits { bulk: 4096, other: 65536 });
        let mut heard = Vec::new();
        while let Some(reply) = reader.next(&mut bytes).expect("RESP") {
            heard.push(talk.take(reply));
        }
        heard
    }

    fn array(parts: &[&str]) -> String {
        let parts: String = (parts.iter())
            .map(|part| match part.strip_prefix(':') {
                Some(number) => format!(":{number}\r\n"),
                None => format!("${}\r\n{part}\r\n", part.len()),
            })
            .collect();
        format!("*{}\r\n{parts}", parts.matches("\r\n").count().div_ceil(2))
    }

    fn message(channel: &str, text: &str) -> String {
        array(&["message", channel, text])
    }

    fn words(out: &[u8]) -> String {
        let lines = str::from_utf8(out).unwrap().split("\r\n");
        let words: Vec<_> =
            lines.filter(|line| !line.is_empty() && !line.starts_with(['*', '$'])).collect();
        words.join(" ")
    }

    #[test]
    fn the_directive_names_a_master_and_its_sentinels() {
        let conf = SentinelConf::parse(&["my-master", "10.0.0.1:26380", "s2.example", "[::1]"]);
        let sentinels =
            vec![host("10.0.0.1", 26380), host("s2.example", 26379), host("::1", 26379)];
        assert_eq!(conf, Ok(SentinelConf { master: "my-master".into(), sentinels }));

        let cases: [(&[&str], &str); 8] = [
            (&["mymaster"], "no Sentinel is named; write \"sentinel mymaster 10.0.0.1:26379"),
            (
                &["10.0.0.1:26379", "10.0.0.2:26379"],
                "\"10.0.0.1:26379\" is not the name of a master",
            ),
            (&["", "h"], "\"\" is not the name of a master"),
            (&["m", "redis://h"], "\"redis://h\" is not the address of a Sentinel; write host"),
            (&["m", "h:0"], "\"h:0\" is not the address of a Sentinel"),
            (&["m", "h/1"], "\"h/1\" is not the address of a Sentinel"),
            (&["m", "::1"], "\"::1\" is not the address of a Sentinel"),
            (&["m", "h", "H:26379"], "Sentinel \"H:26379\" stands twice"),
        ];
        for (arguments, start) in cases {
            let error = SentinelConf::parse(arguments).expect_err(start).to_string();
            assert!(error.starts_with(start), "{error}");
        }
    }

    #[test]
    fn a_question_is_asked_around_the_subscription() {
        let mut talk = Talk::new("mymaster");
        let question = "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster SUBSCRIBE +switch-master \
                        +failover-state-reconf-slaves +promoted-slave +config-update-from";
        let mut out = Vec::new();
        talk.ask(&mut out);
        assert_eq!(words(&out), question);
        out.clear();
        talk.ask(&mut out);
        assert_eq!(words(&out), format!("UNSUBSCRIBE {question}"));
    }

    #[test]
    fn answers_are_told_from_events_whenever_these_come() {
        let mut talk = asked();
        let subscribed = [
            array(&["subscribe", "+switch-master", ":1"]),
            array(&["subscribe", "+config-update-from", ":4"]),
        ]
        .concat();
        let first = format!("{}{subscribed}", array(&["127.0.0.1", "6379"]));
        let nothing = || Ok(Heard::Nothing);
        let master = |port| Ok(Heard::Master(host("127.0.0.1", port)));
        assert_eq!(hear(&mut talk, first.as_bytes()), [master(6379), nothing(), nothing()]);

        talk.ask(&mut Vec::new());
        let switch = message("+switch-master", "mymaster 127.0.0.1 6379 127.0.0.1 6380");
        let second = [
            switch,
            array(&["unsubscribe", "+switch-master", ":1"]),
            array(&["unsubscribe", "+config-update-from", ":0"]),
            array(&["127.0.0.1", "6381"]),
            subscribed,
        ]
        .concat();
        let switched = Ok(Heard::Switched(host("127.0.0.1", 6380)));
        let expected = [switched, nothing(), nothing(), master(6381), nothing(), nothing()];
        assert_eq!(hear(&mut talk, second.as_bytes()), expected);
    }

    #[test]
    fn events_of_other_masters_are_nothing() {
        let cases = [
            ("+switch-master", "mymaster ::1 6379 ::2 6380", Heard::Switched(host("::2", 6380))),
            ("+switch-master", "my-master 10.0.0.1 6379 10.0.0.2 6379", Heard::Nothing),
            ("+switch-master", "mymaster 10.0.0.1 6379 10.0.0.2", Heard::Nothing),
            ("+switch-master", "mymaster 10.0.0.1 6379 10.0.0.2 x", Heard::Nothing),
            ("+switch-master", "", Heard::Nothing),
            ("+failover-state-reconf-slaves", "master mymaster 127.0.0.1 7101", Heard::Change),
            ("+failover-state-reconf-slaves", "master mymaster2 127.0.0.1 7101", Heard::Nothing),
            (
                "+promoted-slave",
                "slave 127.0.0.1:7102 127.0.0.1 7102 @ mymaster 127.0.0.1 7101",
                Heard::Change,
            ),
            (
                "+config-update-from",
                "sentinel f1a5 127.0.0.1 7202 @ mymaster 127.0.0.1 7101",
                Heard::Change,
            ),
            (
                "+config-update-from",
                "sentinel f1a5 127.0.0.1 7202 @ other 1.1.1.1 1",
                Heard::Nothing,
            ),
        ];
        let mut talk = asked();
        for (channel, text, expected) in cases {
            let heard = hear(&mut talk, message(channel, text).as_bytes());
            assert_eq!(heard, [Ok(expected)], "{channel} {text}");
        }
    }

    #[test]
    fn who_knows_no_such_master_says_so() {
        assert_eq!(hear(&mut asked(), b"*-1\r\n"), [Ok(Heard::UnknownMaster)]);
        assert_eq!(hear(&mut asked(), b"$-1\r\n"), [Ok(Heard::UnknownMaster)]);
    }

    #[test]
    fn who_is_no_sentinel_is_found_out() {
        let unknown = b"-ERR unknown command 'SENTINEL', with args beginning with: 'GET-MAS' \r\n";
        assert_eq!(hear(&mut asked(), unknown), [Err(Fault::NoSentinel)]);
        let text = "NOPERM this user has no permissions to run the 'sentinel' command";
        let refused = Err(Fault::Refused(ServerError::parse(text.as_bytes())));
        assert_eq!(hear(&mut asked(), format!("-{text}\r\n").as_bytes()), [refused]);
        for bytes in [":1\r\n", "+OK\r\n", "*0\r\n", "$1\r\na\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"]
        {
            let unexpected = [Err(Fault::Unexpected)];
            assert_eq!(hear(&mut asked(), bytes.as_bytes()), unexpected, "{bytes}");
        }
        let twice = [array(&["127.0.0.1", "6379"]), array(&["127.0.0.1", "6379"])].concat();
        assert_eq!(hear(&mut asked(), twice.as_bytes())[1], Err(Fault::Unexpected));
    }

    #[test]
    fn a_sentinel_that_tells_no_events_answers_all_the_same() {
        let mut talk = asked();
        let bytes = format!("{}-NOPERM no channel\r\n", array(&["127.0.0.1", "6379"]));
        let master = Ok(Heard::Master(host("127.0.0.1", 6379)));
        assert_eq!(hear(&mut talk, bytes.as_bytes()), [master, Ok(Heard::Nothing)]);
        let mut out = Vec::new();
        talk.ask(&mut out);
        assert!(words(&out).starts_with("SENTINEL "));
    }

    #[test]
    fn host_names_are_taken_as_they_are() {
        let named = array(&["redis-0.redis.example", "6379"]);
        let expected = Ok(Heard::Master(host("redis-0.redis.example", 6379)));
        assert_eq!(hear(&mut asked(), named.as_bytes()), [expected]);
    }

    proptest! {
        #[test]
        fn any_words_are_borne(parts in prop::collection::vec("[ -~]{0,20}|message|subscribe", 0..5), bytes: Vec<u8>) {
            let mut parts: Vec<_> =
                parts.into_iter().map(|part| Value::BulkString(part.into_bytes())).collect();
            let _ = asked().take(Reply::Other(Value::Array(parts.clone())));
            parts.push(Value::BulkString(bytes));
            let _ = asked().take(Reply::Other(Value::Array(parts)));
        }

        #[test]
        fn an_event_names_what_it_was_given(name in "[A-Za-z0-9._-]{1,12}", port in 1..=u16::MAX) {
            let talk = Talk::new(&name);
            let text = format!("{name} 10.0.0.1 6379 10.0.0.2 {port}");
            prop_assert_eq!(talk.event(SWITCH, text.as_bytes()), Heard::Switched(host("10.0.0.2", port)));
        }
    }
}
