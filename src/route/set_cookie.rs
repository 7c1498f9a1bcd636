//! `Set-Cookie` lines of a response, as a browser reads them (RFC 6265, section 5.2).

#![forbid(unsafe_code)]

use memchr::memchr;
use time::{Date, Month, PrimitiveDateTime, Time};

/// A cookie that a response sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetCookie<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its value, quotes included.
    pub value: &'a [u8],
    attributes: &'a [u8],
}

impl<'a> SetCookie<'a> {
    /// Reads a line. `None`: it sets nothing.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let (pair, attributes) = cut(line, b';');
        let equals = memchr(b'=', pair)?;
        let (name, value) = (pair.get(..equals)?.trim_ascii(), pair.get(equals + 1..)?);
        (!name.is_empty()).then_some(Self { name, value: value.trim_ascii(), attributes })
    }

    /// Whether it takes the cookie from the browser at `now`, in Unix seconds: it has no value, or its end has passed.
    /// Of both `Max-Age` counts, not `Expires`; of several of one name the last.
    pub fn is_end(&self, now: u64) -> bool {
        let (mut age, mut date) = (None, None);
        let mut rest = self.attributes;
        while !rest.is_empty() {
            let (attribute, after) = cut(rest, b';');
            rest = after;
            let (name, value) = cut(attribute, b'=');
            let value = value.trim_ascii();
            match name.trim_ascii() {
                name if name.eq_ignore_ascii_case(b"max-age") => {
                    age = ends_by_age(value).or(age);
                }
                name if name.eq_ignore_ascii_case(b"expires") => {
                    date = unix_time(value).or(date);
                }
                _ => {}
            }
        }
        let is_over =
            || date.is_some_and(|date| u64::try_from(date).map_or(true, |date| date <= now));
        self.value.is_empty() || self.value == b"\"\"" || age.unwrap_or_else(is_over)
    }
}

/// What stands before a byte, and behind it.
fn cut(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    match memchr(at, text) {
        Some(found) => (&text[..found], &text[found + 1..]),
        None => (text, &[]),
    }
}

/// Whether a `Max-Age` is over at once. `None`: it is no number.
fn ends_by_age(value: &[u8]) -> Option<bool> {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.len() < value.len() || digits.iter().all(|digit| *digit == b'0'))
}

/// A date in Unix seconds, in whatever order its parts stand (RFC 6265, section 5.1.1).
fn unix_time(text: &[u8]) -> Option<i64> {
    let is_delimiter = |b: &u8| !b.is_ascii_alphanumeric() && *b != b':' && *b < 0x80;
    let (mut clock, mut day, mut month, mut year) = (None, None, None, None);
    for word in text.split(is_delimiter).filter(|word| !word.is_empty()) {
        if clock.is_none() && word.contains(&b':') {
            clock = Some(time_of(word)?);
        } else if let (None, Some(number @ 1..=31), 1..=2) = (day, number(word), word.len()) {
            day = Some(u8::try_from(number).ok()?);
        } else if let (None, Some(number)) = (month, month_of(word)) {
            month = Some(number);
        } else if let (None, Some(number)) = (year, number(word)) {
            year = Some(match (word.len(), number) {
                (2, 70..) => number + 1900,
                (2, _) => number + 2000,
                (4, 1601..) => number,
                _ => return None,
            });
        }
    }
    let date = Date::from_calendar_date(year?.into(), month?, day?).ok()?;
    Some(PrimitiveDateTime::new(date, clock?).assume_utc().unix_timestamp())
}

fn number(word: &[u8]) -> Option<u16> {
    let is_number = (1..=4).contains(&word.len()) && word.iter().all(u8::is_ascii_digit);
    is_number.then(|| word.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')))
}

/// `hour:minute:second`.
fn time_of(word: &[u8]) -> Option<Time> {
    let mut parts = word.split(|byte| *byte == b':').map(|part| number(part)?.try_into().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then(|| Time::from_hms(hour, minute, second).ok())?
}

fn month_of(word: &[u8]) -> Option<Month> {
    const MONTHS: &[u8; 36] = b"janfebmaraprmayjunjulaugsepoctnovdec";
    let name = word.get(..3)?;
    let at = MONTHS.chunks(3).position(|month| month.eq_ignore_ascii_case(name))?;
    Month::try_from(u8::try_from(at + 1).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Thu, 26 Nov 2026 17:00:00 GMT
    const NOW: u64 = 1_795_712_400;

    fn read(line: &str) -> Option<(&str, &str, bool)> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        let cookie = SetCookie::parse(line.as_bytes())?;
        Some((text(cookie.name), text(cookie.value), cookie.is_end(NOW)))
    }

    #[test]
    fn what_frameworks_set() {
        let php = "PHPSESSID=5vskci7gjubb3itrl38lns61rh; path=/; HttpOnly";
        assert_eq!(read(php), Some(("PHPSESSID", "5vskci7gjubb3itrl38lns61rh", false)));
        let express =
            "connect.sid=s%3Aab.cd%2F; Path=/; Expires=Thu, 26 Nov 2026 18:00:00 GMT; HttpOnly";
        assert_eq!(read(express), Some(("connect.sid", "s%3Aab.cd%2F", false)));
        let flask = "session=\"a=b\"; Max-Age=3600; Path=/";
        assert_eq!(read(flask), Some(("session", "\"a=b\"", false)));
        assert_eq!(read("a = b ;Secure"), Some(("a", "b", false)));
        for nothing in ["", "a", "=b", " = ", ";a=b"] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn what_frameworks_take_away() {
        for line in [
            "PHPSESSID=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; Max-Age=0; path=/",
            "connect.sid=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "SESSION=x; Max-Age=0; Expires=Thu, 1 Jan 1970 00:00:10 GMT; Path=/",
            "rack.session=x; path=/; max-age=0",
            "laravel_session=x; expires=Fri, 26-Nov-2021 17:00:00 GMT; Max-Age=0",
            "a=x; MAX-AGE=-1",
            "a=x; Max-Age=5; max-age=0",
            "a=x; expires=Thu Nov 26 17:00:00 2026",
            "a=x; expires=Sunday, 06-Nov-94 08:49:37 GMT",
            "a=\"\"; Path=/",
            "a=",
        ] {
            assert!(read(line).unwrap().2, "{line}");
        }
    }

    #[test]
    fn what_is_kept() {
        for line in [
            "a=x; Max-Age=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "a=x; Max-Age=0; Max-Age=00010",
            "a=x; Max-Age=soon",
            "a=x; Max-Age=; Expires=Thu, 26 Nov 2026 17:00:01 GMT",
            "a=x; Expires=yesterday",
            "a=x; Expires=Thu, 01 Jan 1970",
            "a=x; Expires=Thu, 01 Jan 1970 24:00:00 GMT",
            "a=x; Expires=Thu, 01 Jan 1500 00:00:00 GMT",
            "a=x; Expires=Wed, 31 Dec 69 23:59:59 GMT",
            "a=x; Expires",
            "a=x;;;=;",
        ] {
            assert!(!read(line).unwrap().2, "{line}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (text, unix) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Thu, 26 Nov 2026 17:00:00 GMT", NOW as i64),
            ("Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600),
            ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
            ("Mon, 01 Mar 2100 00:00:00 GMT", 4_107_542_400),
        ] {
            assert_eq!(unix_time(text.as_bytes()), Some(unix), "{text}");
        }
        assert_eq!(unix_time(b"Mon, 29 Feb 2100 00:00:00 GMT"), None);
    }

    proptest! {
        #[test]
        fn any_line_is_read(line: Vec<u8>, now: u64) {
            if let Some(cookie) = SetCookie::parse(&line) {
                let _ = cookie.is_end(now);
            }
        }
    }
}
