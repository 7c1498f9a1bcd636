//! What a server refuses a command with: a code to decide on and a text that is fit for the log.
//!
//! Error texts quote what was sent (`unknown command 'GET', with args beginning with: 'sess:…'`), keys and passwords
//! included, so that only words are kept that cannot be such a thing.

#![forbid(unsafe_code)]

use std::fmt;

use super::cluster::redirect::Redirect;
use super::cluster::NodeAddress;

/// An error reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    code: Code,
    text: Box<str>,
}

/// The kinds of error replies that a caller decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// `ASK`: the slot is moving to another node of a cluster.
    Ask,
    /// `BUSY`: a script runs and the server answers nobody.
    Busy,
    /// `CLUSTERDOWN`: the cluster serves no keys, or not this one.
    ClusterDown,
    /// `DENIED`: protected mode, only local clients are served.
    Denied,
    /// `ERR` without a code of its own: unknown command, wrong number of arguments, …
    Err,
    /// `LOADING`: the data set is being read from disk.
    Loading,
    /// `MASTERDOWN`: a replica lost its master and serves no stale data.
    MasterDown,
    /// The server has as many clients as it wants, and closes this connection.
    MaxClients,
    /// `MISCONF`: no writes, since the server cannot save.
    Misconf,
    /// `MOVED`: the key belongs to another node of a cluster.
    Moved,
    /// `NOAUTH`: the server wants a password.
    NoAuth,
    /// `NOPERM`: the user may not run this command or touch this key.
    NoPerm,
    /// `NOREPLICAS`: no writes, too few replicas.
    NoReplicas,
    /// `OOM`: no writes, the memory is full.
    Oom,
    /// `READONLY`: no writes, the server is a replica.
    ReadOnly,
    /// `TRYAGAIN`: keys of one command lie on both sides of a slot that moves.
    TryAgain,
    /// `WRONGPASS`: user or password is wrong, or the user is disabled.
    WrongPass,
    /// `WRONGTYPE`: the key holds another type than the command reads.
    WrongType,
    /// Any other first word.
    Other,
}

/// The commands that this module sends: their names may be quoted in a text that is kept.
const COMMANDS: [&str; 15] = [
    "auth",
    "client",
    "del",
    "eval",
    "get",
    "hgetall",
    "pexpire",
    "ping",
    "pttl",
    "role",
    "select",
    "sentinel",
    "set",
    "smembers",
    "subscribe",
];

/// The longest text kept, in bytes.
const LONGEST_TEXT: usize = 96;

/// Longer words are hardly plain English in a server's error, but may be an id or a key.
const LONGEST_WORD: usize = 15;

/// The one that is, in the text of `WRONGPASS`.
const LONG_WORD: &str = "username-password";

/// What stands for what was left out.
const LEFT_OUT: &str = "...";

impl ServerError {
    /// Of the text of an error reply, without the leading `-` and the line end. Spaces at its end are nothing.
    pub fn parse(text: &[u8]) -> Self {
        let text = text.trim_ascii_end();
        let word = text.split(|&byte| byte == b' ').next().unwrap_or_default();
        let code = match word {
            b"ASK" => Code::Ask,
            b"BUSY" => Code::Busy,
            b"CLUSTERDOWN" => Code::ClusterDown,
            b"DENIED" => Code::Denied,
            b"ERR" => code_of_err(text),
            b"LOADING" => Code::Loading,
            b"MASTERDOWN" => Code::MasterDown,
            b"MISCONF" => Code::Misconf,
            b"MOVED" => Code::Moved,
            b"NOAUTH" => Code::NoAuth,
            b"NOPERM" => Code::NoPerm,
            b"NOREPLICAS" => Code::NoReplicas,
            b"OOM" => Code::Oom,
            b"READONLY" => Code::ReadOnly,
            b"TRYAGAIN" => Code::TryAgain,
            b"WRONGPASS" => Code::WrongPass,
            b"WRONGTYPE" => Code::WrongType,
            _ => Code::Other,
        };
        let text = match code {
            Code::Ask | Code::Moved => whole_redirect(text).unwrap_or_else(|| fit_for_log(text)),
            _ => fit_for_log(text),
        };
        Self { code, text: text.into() }
    }

    /// Of an error whose kind is known.
    pub(super) fn new(code: Code, text: &[u8]) -> Self {
        Self { code, text: fit_for_log(text).into() }
    }

    /// What kind of error it is.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Whether it is a slot that nobody serves, of a cluster that is well otherwise.
    pub fn is_about_slot(&self) -> bool {
        self.code == Code::ClusterDown && self.text.contains("slot")
    }

    /// Whether the command had more or fewer arguments than this server knows: it is older than the command's form.
    pub fn is_wrong_arity(&self) -> bool {
        self.code == Code::Err && self.text.starts_with("ERR wrong number of arguments")
    }

    /// Whether the server does not know the command: it is older, or another kind of server.
    pub fn is_unknown_command(&self) -> bool {
        self.code == Code::Err && self.text.starts_with("ERR unknown command")
    }
}

/// A redirect says where to go: that must not be cut. None where it is not of a redirect's form.
fn whole_redirect(text: &[u8]) -> Option<String> {
    let text = str::from_utf8(text).ok()?;
    let nobody = NodeAddress { host: "-".into(), port: 1 };
    Redirect::parse(text, &nobody).map(|_| text.to_owned())
}

/// The code word and the text, as far as neither can hold an id, a key or a secret.
impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The errors that have no code word of their own (`networking.c` and, before Redis 6, `server.c`).
fn code_of_err(text: &[u8]) -> Code {
    if text.starts_with(b"ERR max number of clients") {
        Code::MaxClients
    } else if text == b"ERR invalid password" {
        Code::WrongPass
    } else if text.windows(SCRIPT_READ_ONLY.len()).any(|part| part == SCRIPT_READ_ONLY) {
        Code::ReadOnly
    } else {
        Code::Err
    }
}

/// How servers before Redis 7 say `READONLY` of a command within a script.
const SCRIPT_READ_ONLY: &[u8] = b": -READONLY ";

fn fit_for_log(text: &[u8]) -> String {
    let mut kept = String::with_capacity(text.len().min(LONGEST_TEXT));
    for word in text.split(|&byte| byte == b' ') {
        let shown = match plain(word) {
            Word::Plain(word) => Some(word),
            Word::Long => Some(LEFT_OUT),
            Word::Quote => None,
        };
        match shown.filter(|shown| kept.len() + shown.len() + LEFT_OUT.len() + 2 <= LONGEST_TEXT) {
            Some(shown) => append(&mut kept, shown),
            None => {
                append(&mut kept, LEFT_OUT);
                break;
            }
        }
    }
    kept
}

fn append(kept: &mut String, word: &str) {
    if !kept.is_empty() {
        kept.push(' ');
    }
    kept.push_str(word);
}

enum Word<'a> {
    /// May be shown.
    Plain(&'a str),
    /// Too long, or letters and digits mixed: may be an id.
    Long,
    /// Something is quoted from here on, perhaps with spaces in it, or it is not text.
    Quote,
}

fn plain(word: &[u8]) -> Word<'_> {
    let Some(text) =
        str::from_utf8(word).ok().filter(|text| text.bytes().all(|b| b.is_ascii_graphic()))
    else {
        return Word::Quote;
    };
    let is_quote = |c: char| matches!(c, '\'' | '"' | '`');
    if text.contains(is_quote) {
        let name = text.trim_end_matches(['.', ',', ';', ':']).trim_matches(is_quote);
        return match COMMANDS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            true => Word::Plain(text),
            false => Word::Quote,
        };
    }
    let digits = text.bytes().any(|b| b.is_ascii_digit());
    let letters = text.bytes().any(|b| b.is_ascii_alphabetic());
    let is_long = text.len() > LONGEST_WORD && text != LONG_WORD;
    match is_long || (digits && letters) {
        true => Word::Long,
        false => Word::Plain(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> (Code, String) {
        let error = ServerError::parse(text.as_bytes());
        (error.code(), error.to_string())
    }

    #[test]
    fn codes_of_servers_are_known() {
        let cases = [
            ("ASK 3999 10.0.0.5:6379", Code::Ask),
            ("BUSY Redis is busy running a script.", Code::Busy),
            ("CLUSTERDOWN Hash slot not served", Code::ClusterDown),
            ("DENIED Redis is running in protected mode", Code::Denied),
            ("ERR syntax error", Code::Err),
            ("ERR max number of clients reached", Code::MaxClients),
            ("ERR in script: -READONLY no writes", Code::ReadOnly),
            ("ERR invalid password", Code::WrongPass),
            ("LOADING Redis is loading the dataset in memory", Code::Loading),
            ("MISCONF Redis is configured to save RDB snapshots", Code::Misconf),
            ("MOVED 3999 10.0.0.5:6379", Code::Moved),
            ("NOAUTH Authentication required.", Code::NoAuth),
            ("NOREPLICAS Not enough good replicas to write.", Code::NoReplicas),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Code::TryAgain),
            ("WRONGPASS invalid username-password pair or user is disabled.", Code::WrongPass),
            ("upstream failure", Code::Other),
            ("err lower case is no code", Code::Other),
            ("", Code::Other),
        ];
        for (text, code) in cases {
            assert_eq!(parse(text), (code, text.to_owned()));
            assert_eq!(parse(&format!("{text}  ")), (code, text.to_owned()));
        }
    }

    #[test]
    fn what_was_sent_is_not_repeated() {
        let cases = [
            (
                "ERR unknown command 'get', with args beginning with: 'sess:9f8e7d' 'b' ",
                "ERR unknown command 'get', with args beginning with: ...",
            ),
            (
                "ERR unknown command `PEXPIRE`, with args beginning with: `sess:x y z`",
                "ERR unknown command `PEXPIRE`, with args beginning with: ...",
            ),
            ("ERR unknown command 's3cret pass word'", "ERR unknown command ..."),
            ("ERR no such key PHPREDIS_SESSION:abcdef here", "ERR no such key ... here"),
            ("ERR bad key a1b2c3", "ERR bad key ..."),
            ("ERR bad key \u{fc}ber alles", "ERR bad key ..."),
            ("ERR bad key\0x y", "ERR bad ..."),
            (
                "ERR wrong number of arguments for 'auth' command",
                "ERR wrong number of arguments for 'auth' command",
            ),
        ];
        for (text, shown) in cases {
            assert_eq!(parse(text).1, shown);
        }
    }

    #[test]
    fn a_redirect_keeps_its_address() {
        for text in
            ["MOVED 3999 10.100.100.100:16379", "ASK 1 node-1.redis.example.com:6379", "MOVED 1 :1"]
        {
            assert_eq!(parse(text).1, text);
        }
        assert_eq!(parse("MOVED 1 not'a:host").1, "MOVED 1 ...");
    }

    #[test]
    fn a_slot_that_nobody_serves_is_told_from_a_cluster_that_is_down() {
        assert!(ServerError::parse(b"CLUSTERDOWN Hash slot not served").is_about_slot());
        assert!(!ServerError::parse(b"CLUSTERDOWN The cluster is down").is_about_slot());
        assert!(!ServerError::parse(b"ERR slot").is_about_slot());
    }

    #[test]
    fn a_password_quoted_in_part_is_cut() {
        assert_eq!(parse("ERR bad 'it's a pass word").1, "ERR bad ...");
    }

    #[test]
    fn a_server_older_than_a_commands_form_is_seen() {
        let error = ServerError::parse(b"ERR wrong number of arguments for 'pexpire' command");
        assert!(error.is_wrong_arity());
        assert!(!ServerError::parse(b"ERR syntax error").is_wrong_arity());
        let text = b"ERR unknown command 'GET', with args beginning with: 'x' ";
        assert!(ServerError::parse(text).is_unknown_command());
        assert!(!error.is_unknown_command());
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_short_printable_text(bytes: Vec<u8>) {
            let text = ServerError::parse(&bytes).to_string();
            prop_assert!(text.len() <= LONGEST_TEXT || text.starts_with("MOVED ") || text.starts_with("ASK "));
            prop_assert!(text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
        }

        #[test]
        fn no_id_shows(before in "[a-zA-Z ]{0,40}", id in "[a-z]{0,9}[0-9][a-zA-Z0-9]{16,64}") {
            let text = format!("ERR {before} {id} and so on");
            prop_assert!(!parse(&text).1.contains(&id));
        }
    }
}
