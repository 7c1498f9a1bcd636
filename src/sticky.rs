//! To which server of an `upstream` block a session's requests go, and whether it can have them now.

#![forbid(unsafe_code)]

/// The servers that a route means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// Those of this `server` line.
    Line(&'a [u8]),
    /// That of this address, or those of this line.
    Either(&'a [u8]),
}

impl<'a> Target<'a> {
    /// What `route` means where these names stand for `server` lines.
    pub fn of<'n>(route: &'a [u8], mut names: impl Iterator<Item = (&'n str, &'n str)>) -> Self
    where
        'n: 'a,
    {
        match names.find(|(name, _)| name.as_bytes() == route) {
            Some((_, line)) => Self::Line(line.as_bytes()),
            None => Self::Either(route),
        }
    }

    /// Whether it means the server of this address, which `line` brought.
    pub fn is(self, address: &[u8], line: &[u8]) -> bool {
        match self {
            Self::Line(wanted) => wanted == line,
            Self::Either(wanted) => wanted == address || wanted == line,
        }
    }
}

/// What nginx knows of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// By `down`, that is, not by failures.
    pub down: bool,
    /// Failures in a row.
    pub fails: usize,
    /// From how many on it is left alone; 0: never.
    pub max_fails: usize,
    /// When it was tried last, in s.
    pub checked: i64,
    /// For how many s it is left alone.
    pub fail_timeout: i64,
    /// Its connections.
    pub connections: usize,
    /// How many it may have; 0: any number.
    pub max_connections: usize,
    /// Whether this request was there already.
    pub tried: bool,
}

/// What becomes of a request that belongs to a server, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It goes there.
    Use,
    /// It was there.
    Tried,
    /// The server has all the connections that it may have.
    Full,
    /// The server is down: as configured, or by its failures.
    Down,
}

impl Server {
    /// As nginx's own balancers decide.
    pub fn fate(&self, now: i64) -> Fate {
        let failing = self.max_fails > 0 && self.fails >= self.max_fails;
        if self.down || (failing && now.saturating_sub(self.checked) <= self.fail_timeout) {
            Fate::Down
        } else if self.tried {
            Fate::Tried
        } else if self.max_connections > 0 && self.connections >= self.max_connections {
            Fate::Full
        } else {
            Fate::Use
        }
    }
}

/// The directives that choose a balancing method, nginx's own and widespread ones.
const METHODS: [&str; 6] = ["least_conn", "least_time", "ip_hash", "hash", "random", "fair"];

/// The balancing method that `configuration` names behind its line `line`, on which our directive stands, in the
/// same block.
pub fn method_behind(configuration: &str, line: usize) -> Option<&'static str> {
    let behind = configuration.lines().skip(line.checked_sub(1)?);
    let code = behind.map(|line| line.split('#').next().unwrap_or_default());
    let code = code.collect::<Vec<_>>().join("\n");
    let (_, behind) = code.split_once("session_redis_sticky")?;
    let block = behind.split('}').next()?;
    let directives = block.split(';').skip(1).filter_map(|text| text.split_whitespace().next());
    directives.into_iter().find_map(|name| METHODS.into_iter().find(|known| *known == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Server = Server {
        down: false,
        fails: 0,
        max_fails: 1,
        checked: 100,
        fail_timeout: 10,
        connections: 3,
        max_connections: 0,
        tried: false,
    };

    #[test]
    fn a_route_is_a_name_an_address_or_a_line() {
        let names = [("a", "app1:80"), ("b", "app2:80")];
        let target = |route: &'static str| Target::of(route.as_bytes(), names.into_iter());
        assert!(target("b").is(b"10.0.0.2:80", b"app2:80"));
        assert!(!target("b").is(b"10.0.0.1:80", b"app1:80"));
        assert!(target("app1:80").is(b"10.0.0.1:80", b"app1:80"));
        assert!(target("10.0.0.1:80").is(b"10.0.0.1:80", b"app1:80"));
        assert!(!target("c").is(b"10.0.0.1:80", b"app1:80"));
    }

    #[test]
    fn a_name_is_no_address() {
        let target = Target::of(b"10.0.0.1:80", [("10.0.0.1:80", "app2:80")].into_iter());
        assert!(!target.is(b"10.0.0.1:80", b"app1:80"));
        assert!(target.is(b"10.0.0.2:80", b"app2:80"));
    }

    #[test]
    fn failures_count_while_they_are_fresh() {
        let failed = Server { fails: 1, ..WELL };
        assert_eq!(failed.fate(100), Fate::Down);
        assert_eq!(failed.fate(110), Fate::Down);
        assert_eq!(failed.fate(111), Fate::Use);
        assert_eq!(Server { max_fails: 2, ..failed }.fate(100), Fate::Use);
        assert_eq!(Server { max_fails: 0, fails: 9, ..WELL }.fate(100), Fate::Use);
        assert_eq!(Server { down: true, ..WELL }.fate(100), Fate::Down);
    }

    #[test]
    fn a_server_that_is_full_or_was_tried_is_not_down() {
        let full = Server { max_connections: 3, ..WELL };
        assert_eq!(full.fate(100), Fate::Full);
        assert_eq!(Server { connections: 2, ..full }.fate(100), Fate::Use);
        assert_eq!(Server { tried: true, ..full }.fate(100), Fate::Tried);
        assert_eq!(Server { tried: true, fails: 1, ..WELL }.fate(100), Fate::Down);
    }

    #[test]
    fn the_method_behind_the_directive_is_found() {
        let text = "upstream a {\n  hash $x;\n  session_redis_sticky strict; # least_conn;\n  server a;\n  random two;\n}\n";
        assert_eq!(method_behind(text, 3), Some("random"));
        assert_eq!(method_behind("session_redis_sticky; least_conn;", 1), Some("least_conn"));
        assert_eq!(method_behind("session_redis_sticky;\n}\nupstream b { ip_hash; }", 1), None);
        assert_eq!(method_behind("session_redis_sticky;\nnovel;", 1), None);
        assert_eq!(method_behind("", 0), None);
    }
}
