//! What in a session says when it ends: some stores keep a session longer than it lives.

#![forbid(unsafe_code)]

use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::OffsetDateTime;

use crate::format::Pipeline;
use crate::pointer::{Pointer, Selected};

/// One sign of a session's end.
#[derive(Debug, Clone, PartialEq)]
pub enum Life {
    /// A time of no use ends it.
    Idle {
        /// When it was last used, in Unix ms.
        last: Pointer,
        /// How long it may be unused, in seconds.
        max: Pointer,
        /// Where that is less than this, for ever.
        least: u64,
    },
    /// It has ended where this is not true.
    Valid {
        /// A boolean.
        at: Pointer,
    },
    /// It has ended where this is true.
    Over {
        /// A boolean.
        at: Pointer,
    },
    /// It ends then.
    Date {
        /// A date as RFC 3339 writes it.
        at: Pointer,
    },
    /// It ends then.
    Millis {
        /// A Unix time in ms.
        at: Pointer,
    },
    /// It ends then; a negative number: never.
    Ticks {
        /// .NET's ticks: units of 100 ns since the year 1, in UTC.
        at: Pointer,
    },
    /// It ends with the entry of Rails' cache that it is in.
    Entry,
}

/// The Unix epoch in ticks.
const EPOCH_TICKS: i64 = 621_355_968_000_000_000;

impl Life {
    /// When a session ends, in Unix ms; 0: it has. `None`: it says nothing that could be understood.
    pub fn end(&self, session: &Value) -> Option<u64> {
        match self {
            Self::Idle { last, max, least } => {
                let (last, max) = (whole(last, session)?, whole(max, session)?);
                let max = u64::try_from(max).ok().filter(|max| max >= least)?;
                Some(u64::try_from(last).ok()?.saturating_add(max.saturating_mul(1000)))
            }
            Self::Valid { at } => match at.select(session) {
                Selected::One(Value::Bool(true)) => None,
                _ => Some(0),
            },
            Self::Over { at } => match at.select(session) {
                Selected::One(Value::Bool(true)) => Some(0),
                _ => None,
            },
            Self::Date { at } => match at.select(session) {
                Selected::One(Value::String(date)) => {
                    let date = OffsetDateTime::parse(date, &Rfc3339).ok()?;
                    Some(u64::try_from(date.unix_timestamp_nanos() / 1_000_000).unwrap_or(0))
                }
                _ => None,
            },
            Self::Millis { at } => u64::try_from(whole(at, session)?).ok(),
            Self::Ticks { at } => {
                let ticks = whole(at, session).filter(|ticks| *ticks >= 0)?;
                Some(u64::try_from((ticks - EPOCH_TICKS) / 10_000).unwrap_or(0))
            }
            Self::Entry => None,
        }
    }

    /// When that ends, in Unix ms, which the session `stored` is in, read as `format`; `None`: it says nothing.
    pub fn end_around(&self, stored: &[u8], format: &Pipeline) -> Option<u64> {
        match self {
            Self::Entry => format.entry_end(stored),
            _ => None,
        }
    }

    /// What must be decoded of a session for [`Life::end`].
    pub fn pointers(&self) -> impl Iterator<Item = &Pointer> {
        let (one, other) = match self {
            Self::Idle { last, max, .. } => (Some(last), Some(max)),
            Self::Valid { at }
            | Self::Over { at }
            | Self::Date { at }
            | Self::Millis { at }
            | Self::Ticks { at } => (Some(at), None),
            Self::Entry => (None, None),
        };
        one.into_iter().chain(other)
    }
}

/// A whole number, or the text of one.
fn whole(at: &Pointer, session: &Value) -> Option<i64> {
    match at.select(session) {
        Selected::One(Value::Number(number)) => number.as_i64(),
        Selected::One(Value::String(text)) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(pointer: &str) -> Pointer {
        Pointer::parse(pointer).unwrap()
    }

    #[test]
    fn a_time_of_no_use() {
        let life = Life::Idle { last: at("/last"), max: at("/max"), least: 0 };
        let end = |last: Value, max: Value| life.end(&json!({ "last": last, "max": max }));
        assert_eq!(end(json!(1_709_212_500_456_i64), json!(1800)), Some(1_709_214_300_456));
        assert_eq!(end(json!("1000"), json!("1")), Some(2000));
        assert_eq!(end(json!(1000), json!(-1)), None);
        assert_eq!(end(json!(1000), json!(i64::MAX)), Some(u64::MAX));
        assert_eq!(end(json!(null), json!(1)), None);
        assert_eq!(life.pointers().map(Pointer::as_str).collect::<Vec<_>>(), ["/last", "/max"]);
    }

    #[test]
    fn what_is_not_valid_has_ended() {
        let life = Life::Valid { at: at("/ok") };
        assert_eq!(life.end(&json!({"ok": true})), None);
        for ok in [json!(false), json!(null), json!("true")] {
            assert_eq!(life.end(&json!({ "ok": ok })), Some(0));
        }
        assert_eq!(life.end(&json!({})), Some(0));
    }

    #[test]
    fn what_is_over_has_ended() {
        let life = Life::Over { at: at("/gone") };
        assert_eq!(life.end(&json!({"gone": true})), Some(0));
        for gone in [json!(false), json!(null), json!("true")] {
            assert_eq!(life.end(&json!({ "gone": gone })), None);
        }
        assert_eq!(life.end(&json!({})), None);
    }

    #[test]
    fn dates() {
        let life = Life::Date { at: at("/d") };
        for (date, end) in [
            ("2024-02-29T13:14:15.1234Z", Some(1_709_212_455_123)),
            ("2024-02-29T21:14:15+08:00", Some(1_709_212_455_000)),
            ("0001-01-01T00:00:00Z", Some(0)),
            ("tomorrow", None),
        ] {
            assert_eq!(life.end(&json!({ "d": date })), end, "{date}");
        }
    }

    #[test]
    fn milliseconds() {
        let life = Life::Millis { at: at("/t") };
        let end = |t: Value| life.end(&json!({ "t": t }));
        assert_eq!(end(json!(1_795_305_806_461_i64)), Some(1_795_305_806_461));
        assert_eq!((end(json!(-1)), end(json!(null))), (None, None));
    }

    #[test]
    fn ticks() {
        let life = Life::Ticks { at: at("/t") };
        for (ticks, end) in [
            (json!("-1"), None),
            (json!("0"), Some(0)),
            (json!("638448092551230000"), Some(1_709_212_455_123)),
            (json!(i64::MAX), Some(860_201_606_885_477)),
            (json!("x"), None),
        ] {
            assert_eq!(life.end(&json!({ "t": ticks })), end);
        }
    }
}
