//! Days and moments as ISO 8601 writes them, of the years that have four digits there.

#![forbid(unsafe_code)]

use time::{Date, OffsetDateTime, UtcOffset};

/// A day: `2024-02-29`.
pub(super) fn date(day: Date) -> String {
    let sign = if day.year() < 0 { "-" } else { "" };
    let year = day.year().unsigned_abs();
    format!("{sign}{year:04}-{:02}-{:02}", u8::from(day.month()), day.day())
}

/// The moment `seconds` and `nanos` after 1970 began in UTC, with so many digits of its fraction, on a clock
/// that is `offset` seconds ahead: `2024-02-29T21:14:15.500+08:00`. Without an offset it ends in `Z`.
pub(super) fn moment(
    seconds: i64,
    nanos: u32,
    digits: usize,
    offset: Option<i32>,
) -> Option<String> {
    let utc = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    let clock = UtcOffset::from_whole_seconds(offset.unwrap_or_default()).ok()?;
    let local = utc.checked_to_offset(clock)?;
    let (hour, minute, second) = local.to_hms();
    let nanos = format!("{:09}", utc.replace_nanosecond(nanos).ok()?.nanosecond());
    let (point, fraction) = if digits > 0 { (".", nanos.get(..digits)?) } else { ("", "") };
    let zone = match offset {
        None => "Z".to_owned(),
        Some(offset) => {
            let sign = if offset < 0 { '-' } else { '+' };
            let minutes = offset.unsigned_abs() / 60;
            format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        }
    };
    let date = date(local.date());
    Some(format!("{date}T{hour:02}:{minute:02}:{second:02}{point}{fraction}{zone}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days() {
        for (day, text) in [
            (2_440_588, "1970-01-01"),
            (2_460_370, "2024-02-29"),
            (1_721_060, "0000-01-01"),
            (1_721_059, "-0001-12-31"),
        ] {
            assert_eq!(date(Date::from_julian_day(day).unwrap()), text);
        }
    }

    #[test]
    fn moments() {
        for (seconds, nanos, digits, offset, expected) in [
            (1_709_212_455, 500_000_000, 9, None, "2024-02-29T13:14:15.500000000Z"),
            (1_709_212_455, 500_000_000, 0, Some(0), "2024-02-29T13:14:15+00:00"),
            (1_709_212_455, 123_456_789, 3, Some(28_800), "2024-02-29T21:14:15.123+08:00"),
            (0, 1, 6, Some(-12_600), "1969-12-31T20:30:00.000000-03:30"),
            (-1, 0, 0, None, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(moment(seconds, nanos, digits, offset).as_deref(), Some(expected));
        }
    }

    #[test]
    fn moments_that_are_none() {
        for (seconds, nanos, digits, offset) in [
            (i64::MAX, 0, 0, None),
            (i64::MIN, 0, 0, Some(1)),
            (253_402_300_799, 0, 0, Some(1)),
            (0, 1_000_000_000, 0, None),
            (0, 0, 10, None),
            (0, 0, 0, Some(i32::MAX)),
        ] {
            assert_eq!(moment(seconds, nanos, digits, offset), None);
        }
    }
}
