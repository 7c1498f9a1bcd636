//! Dates and times as Python's `isoformat` writes them, of the bytes that they are pickled as: those that
//! `Lib/_pydatetime.py` packs and unpacks.

#![forbid(unsafe_code)]

/// The microseconds of a second.
const SECOND: i128 = 1_000_000;
/// The seconds of a minute, of an hour, of a day.
const MINUTE: i128 = 60;
const HOUR: i128 = 60 * MINUTE;
const DAY: i128 = 24 * HOUR;

/// Marks the second of two equal times, in the byte of a month or an hour.
const FOLD: u8 = 0x80;

/// A day: `2024-02-29`.
pub(super) fn date(state: &[u8]) -> Option<String> {
    let [high, low, month @ 1..=12, day @ 1..=31] = *state else { return None };
    let year @ 1..=9999 = u16::from_be_bytes([high, low]) else { return None };
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

/// A time: `13:14:15`, with six digits behind a point where there are microseconds. `ahead` is what its zone's
/// clocks are ahead of UTC, in microseconds.
pub(super) fn time(state: &[u8], ahead: Option<i128>) -> Option<String> {
    let [hour, minute @ 0..60, second @ 0..60, high, middle, low] = *state else { return None };
    let hour @ 0..24 = hour & !FOLD else { return None };
    let micros @ 0..1_000_000 = u32::from_be_bytes([0, high, middle, low]) else { return None };
    let offset = ahead.map(offset).unwrap_or_default();
    Some(format!("{hour:02}:{minute:02}:{second:02}{}{offset}", fraction(micros.into())))
}

/// A day and a time: `2024-02-29T13:14:15.500000+01:00`.
pub(super) fn datetime(state: &[u8], ahead: Option<i128>) -> Option<String> {
    let (day, rest) = state.split_first_chunk::<4>()?;
    let [high, low, month, day] = *day;
    let date = date(&[high, low, month & !FOLD, day])?;
    Some(format!("{date}T{}", time(rest, ahead)?))
}

/// What a `timedelta` is in microseconds.
pub(super) fn micros(days: i64, seconds: i64, micros: i64) -> Option<i128> {
    const MOST_DAYS: i128 = 999_999_999;
    let (days, seconds, micros) = (i128::from(days), i128::from(seconds), i128::from(micros));
    let whole = (days * DAY + seconds) * SECOND + micros;
    (whole.abs() / SECOND / DAY <= MOST_DAYS).then_some(whole)
}

/// A `timedelta` as Django writes it in JSON: `P1DT02H03M04.500000S`.
pub(super) fn duration(micros: i128) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let (seconds, micros) = (micros.abs() / SECOND, micros.abs() % SECOND);
    let (days, hours) = (seconds / DAY, seconds % DAY / HOUR);
    let (minutes, seconds) = (seconds % HOUR / MINUTE, seconds % MINUTE);
    format!("{sign}P{days}DT{hours:02}H{minutes:02}M{seconds:02}{}S", fraction(micros))
}

/// A `timezone` by its own name: `UTC`, `UTC+01:00`; `None` where it is a day or more ahead.
pub(super) fn zone(ahead: i128) -> Option<String> {
    match ahead {
        0 => Some("UTC".to_owned()),
        _ if ahead.abs() < DAY * SECOND => Some(format!("UTC{}", offset(ahead))),
        _ => None,
    }
}

fn offset(ahead: i128) -> String {
    let sign = if ahead < 0 { '-' } else { '+' };
    let (seconds, micros) = (ahead.abs() / SECOND, ahead.abs() % SECOND);
    let fraction = fraction(micros);
    let (hours, minutes) = (seconds / HOUR, seconds % HOUR / MINUTE);
    match (seconds % MINUTE, micros) {
        (0, 0) => format!("{sign}{hours:02}:{minutes:02}"),
        (seconds, _) => format!("{sign}{hours:02}:{minutes:02}:{seconds:02}{fraction}"),
    }
}

fn fraction(micros: i128) -> String {
    match micros {
        0 => String::new(),
        _ => format!(".{micros:06}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let leap = [7, 232, 2, 29, 13, 14, 15, 1, 226, 64];
        let day = || leap[..4].to_vec();
        assert_eq!(date(&day()).as_deref(), Some("2024-02-29"));
        assert_eq!(time(&leap[4..], None).as_deref(), Some("13:14:15.123456"));
        assert_eq!(datetime(&leap, Some(0)).as_deref(), Some("2024-02-29T13:14:15.123456+00:00"));
        let spoilt = |place: usize, byte: u8| {
            let mut moment = leap;
            moment[place] = byte;
            datetime(&moment, None)
        };
        let folded = spoilt(2, 2 | FOLD);
        assert_eq!(folded.as_deref(), Some("2024-02-29T13:14:15.123456"));
        for (place, byte) in
            [(0, 255), (2, 0), (2, 13), (3, 0), (3, 32), (4, 24), (5, 60), (6, 60), (7, 16)]
        {
            assert_eq!(spoilt(place, byte), None, "{place}");
        }
        assert_eq!(datetime(&leap[..9], None), None);
        assert_eq!(date(&[day(), vec![0]].concat()), None);
        assert_eq!(date(&[0, 0, 1, 1]), None);
    }

    #[test]
    fn durations() {
        let of = |days, seconds, micros_| micros(days, seconds, micros_).map(duration);
        assert_eq!(of(0, 0, 0).as_deref(), Some("P0DT00H00M00S"));
        assert_eq!(of(1, 93_784, 5).as_deref(), Some("P2DT02H03M04.000005S"));
        assert_eq!(of(-1, 0, 1).as_deref(), Some("-P0DT23H59M59.999999S"));
        assert!(of(999_999_999, 86_399, 999_999).is_some());
        for (days, seconds) in [(1_000_000_000, 0), (i64::MAX, i64::MAX), (i64::MIN, i64::MIN)] {
            assert_eq!(of(days, seconds, 0), None);
        }
    }

    #[test]
    fn zones() {
        let of = |seconds: i128| zone(seconds * SECOND);
        assert_eq!(of(0).as_deref(), Some("UTC"));
        assert_eq!(of(-12_600).as_deref(), Some("UTC-03:30"));
        assert_eq!(of(86_399).as_deref(), Some("UTC+23:59:59"));
        assert_eq!(of(86_400), None);
        assert_eq!(zone(-1).as_deref(), Some("UTC-00:00:00.000001"));
    }
}
