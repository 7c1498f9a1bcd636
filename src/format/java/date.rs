//! Dates and times as ISO 8601 writes them, and what `java.time.Ser` wrote of each class of `java.time`.

#![forbid(unsafe_code)]

use std::fmt::Write as _;

use serde_json::Value;

use crate::format::calendar::moment;
use crate::format::cursor::Cursor;
use crate::format::Reason;

const NANOS: u32 = 1_000_000_000;

/// A moment, in Unix milliseconds.
pub(super) fn of_millis(millis: i64) -> Value {
    let part = u32::try_from(millis.rem_euclid(1000)).unwrap_or(0);
    of_seconds(millis.div_euclid(1000), part * 1_000_000)
}

/// A moment, in Unix seconds and nanoseconds after that, in UTC; null if its year has not four digits.
pub(super) fn of_seconds(seconds: i64, nanos: u32) -> Value {
    moment(seconds, nanos, digits(nanos), None).into()
}

/// What an object of `java.time.Ser` stands for: its type, then that class's own bytes (`java/time/Ser.java`
/// and the `writeExternal` of each class). A zone's name is left out where its offset stands, too.
pub(super) fn of_ser(data: &mut Cursor<'_>) -> Result<Value, Reason> {
    Ok(Value::String(match data.byte()? {
        1 => duration(signed(data, 8)?, nanos(data)?),
        2 => return Ok(of_seconds(signed(data, 8)?, nanos(data)?)),
        3 => date(data)?,
        4 => time(data)?,
        5 => date_time(data)?,
        6 | 10 => date_time(data)? + &offset(data)?,
        7 => String::from_utf8_lossy(data.counted(2)?).into_owned(),
        8 => offset(data)?,
        9 => time(data)? + &offset(data)?,
        11 => year(signed(data, 4)?),
        12 => format!("{}-{:02}", year(signed(data, 4)?), within(data, 1, 12)?),
        13 => format!("--{:02}-{:02}", within(data, 1, 12)?, within(data, 1, 31)?),
        14 => period([signed(data, 4)?, signed(data, 4)?, signed(data, 4)?]),
        _ => return Err(Reason::Malformed),
    }))
}

fn date_time(data: &mut Cursor<'_>) -> Result<String, Reason> {
    Ok(format!("{}T{}", date(data)?, time(data)?))
}

fn date(data: &mut Cursor<'_>) -> Result<String, Reason> {
    let year = year(signed(data, 4)?);
    Ok(format!("{year}-{:02}-{:02}", within(data, 1, 12)?, within(data, 1, 31)?))
}

/// A time of day: hour, minute, second, nanoseconds. The last that is not zero is inverted and ends it.
fn time(data: &mut Cursor<'_>) -> Result<String, Reason> {
    let mut units = [0; 3];
    for (unit, end) in units.iter_mut().zip([24, 60, 60]) {
        let byte = data.byte()?;
        let is_last = byte >= 0x80;
        *unit = if is_last { !byte } else { byte };
        if *unit >= end {
            return Err(Reason::Malformed);
        }
        if is_last {
            let [hour, minute, second] = units;
            return Ok(format!("{hour:02}:{minute:02}:{second:02}"));
        }
    }
    let ([hour, minute, second], nanos) = (units, nanos(data)?);
    let fraction = format!("{nanos:09}");
    let fraction = fraction.get(..digits(nanos)).unwrap_or_default();
    let point = if fraction.is_empty() { "" } else { "." };
    Ok(format!("{hour:02}:{minute:02}:{second:02}{point}{fraction}"))
}

/// As many groups of three digits as a fraction of a second takes.
fn digits(nanos: u32) -> usize {
    match nanos {
        0 => 0,
        nanos if nanos % 1_000_000 == 0 => 3,
        nanos if nanos % 1000 == 0 => 6,
        _ => 9,
    }
}

/// A zone's distance from UTC: quarters of an hour, or seconds where these would not do.
fn offset(data: &mut Cursor<'_>) -> Result<String, Reason> {
    const ELSEWHERE: i64 = 127;
    let seconds = match signed(data, 1)? {
        ELSEWHERE => signed(data, 4)?,
        quarters => quarters * 900,
    };
    let sign = if seconds < 0 { '-' } else { '+' };
    let distance = seconds.abs();
    if distance > 18 * 3600 {
        return Err(Reason::Malformed);
    }
    let text = format!("{sign}{:02}:{:02}", distance / 3600, distance / 60 % 60);
    Ok(match (distance, distance % 60) {
        (0, _) => "Z".to_owned(),
        (_, 0) => text,
        (_, second) => format!("{text}:{second:02}"),
    })
}

/// Of at least four digits; with a sign where it has more, or is before the year 0.
fn year(year: i64) -> String {
    match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{year:+05}"),
    }
}

/// As `Duration.toString`: hours, minutes, seconds, each with its own sign.
fn duration(seconds: i64, nanos: u32) -> String {
    let negative = seconds < 0 && nanos > 0;
    // The seconds are rounded down; each unit is to count towards zero.
    let whole = if negative { seconds + 1 } else { seconds };
    let (hours, minutes, second) = (whole / 3600, whole / 60 % 60, whole % 60);
    let mut text = String::from("PT");
    for (amount, unit) in [(hours, 'H'), (minutes, 'M')] {
        if amount != 0 {
            let _ = write!(text, "{amount}{unit}");
        }
    }
    if second == 0 && nanos == 0 && text.len() > 2 {
        return text;
    }
    if negative && second == 0 {
        text.push('-');
    }
    let _ = write!(text, "{second}");
    let part = if negative { NANOS.saturating_sub(nanos) } else { nanos };
    if part > 0 {
        let digits = format!("{part:09}");
        let _ = write!(text, ".{}", digits.trim_end_matches('0'));
    }
    text + "S"
}

/// As `Period.toString`: years, months, days.
fn period(amounts: [i64; 3]) -> String {
    let mut text = String::from("P");
    for (amount, unit) in amounts.into_iter().zip(['Y', 'M', 'D']) {
        if amount != 0 {
            let _ = write!(text, "{amount}{unit}");
        }
    }
    if text.len() == 1 {
        "P0D".to_owned()
    } else {
        text
    }
}

fn signed(data: &mut Cursor<'_>, width: usize) -> Result<i64, Reason> {
    let bytes = data.take(width)?;
    let first = bytes.first().map_or(0, |byte| i64::from(byte.cast_signed()) >> 7);
    Ok(bytes.iter().fold(first, |number, byte| number << 8 | i64::from(*byte)))
}

fn nanos(data: &mut Cursor<'_>) -> Result<u32, Reason> {
    u32::try_from(data.number(4)?).ok().filter(|nanos| *nanos < NANOS).ok_or(Reason::Malformed)
}

/// A byte between these.
fn within(data: &mut Cursor<'_>, first: u8, last: u8) -> Result<u32, Reason> {
    let byte = data.byte()?;
    match (first..=last).contains(&byte) {
        true => Ok(u32::from(byte)),
        false => Err(Reason::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn moments_have_the_digits_they_need() {
        assert_eq!(of_millis(1_709_212_455_123), json!("2024-02-29T13:14:15.123Z"));
        assert_eq!(of_millis(-1), json!("1969-12-31T23:59:59.999Z"));
        assert_eq!(of_seconds(1_709_212_455, 500), json!("2024-02-29T13:14:15.000000500Z"));
        assert_eq!(of_seconds(0, 120_000), json!("1970-01-01T00:00:00.000120Z"));
        for far in [
            of_millis(i64::MAX),
            of_millis(i64::MIN),
            of_seconds(i64::MAX, 0),
            of_seconds(0, NANOS),
        ] {
            assert_eq!(far, json!(null));
        }
    }

    #[test]
    fn what_no_clock_shows_is_refused() {
        for bytes in [
            &[0_u8][..],
            &[15, 0],
            &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0x3b, 0x9a, 0xca, 0],
            &[3, 0, 0, 7, 0xe8, 0, 1],
            &[3, 0, 0, 7, 0xe8, 13, 1],
            &[3, 0, 0, 7, 0xe8, 1, 32],
            &[4, 24],
            &[4, 1, !60],
            &[4, 0x80],
            &[8, 73],
            &[8, 127, 0x80, 0, 0, 0],
            &[7, 0, 2, b'a'],
        ] {
            assert_eq!(of_ser(&mut Cursor::new(bytes)), Err(Reason::Malformed), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_time_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            let _ = of_ser(&mut Cursor::new(&bytes));
        }
    }
}
