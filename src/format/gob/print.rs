//! Values as Go would print them, where JSON has no word for them or a map is to name its members by them.

#![forbid(unsafe_code)]

use crate::format::calendar::moment;

/// A float as `fmt` prints it (`%v`).
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let parts = scientific.split_once('e');
    match parts.and_then(|(digits, exponent)| Some((digits, exponent.parse::<i16>().ok()?))) {
        Some((_, -4..6)) | None => number.to_string(),
        Some((digits, exponent)) => format!("{digits}e{exponent:+03}"),
    }
}

/// A complex number as `fmt` prints it.
pub(super) fn complex(real: f64, imaginary: f64) -> String {
    let (real, imaginary) = (float(real), float(imaginary));
    let sign = if imaginary.starts_with(['+', '-']) { "" } else { "+" };
    format!("({real}{sign}{imaginary}i)")
}

/// What a type of this name made of itself, where that is known and no text: a `time.Time` or a UUID, whose
/// packages give it the same form.
pub(super) fn marshaled(name: &[u8], bytes: &[u8]) -> Option<String> {
    match name {
        b"Time" => time(bytes),
        b"UUID" => uuid(bytes),
        _ => None,
    }
}

/// RFC 3339 for a `time.Time` (`MarshalBinary`, versions 1 and 2): seconds since the year 1, nanoseconds,
/// minutes east of Greenwich (-1 for UTC itself), and in version 2 seconds of these, which RFC 3339 has no
/// room for: the moment stays the same without. `None` for what no such time is.
fn time(bytes: &[u8]) -> Option<String> {
    /// From the year 1 to 1970, in seconds.
    const TO_UNIX: i64 = 62_135_596_800;
    let (version, rest) = bytes.split_first()?;
    let (seconds, rest) = rest.split_first_chunk()?;
    let (nanoseconds, rest) = rest.split_first_chunk()?;
    let (minutes, rest) = rest.split_first_chunk()?;
    if !matches!((version, rest), (1, []) | (2, [_])) {
        return None;
    }
    let seconds = i64::from_be_bytes(*seconds).checked_sub(TO_UNIX)?;
    let nanoseconds = u32::from_be_bytes(*nanoseconds);
    let digits = (0..9).find(|digits| nanoseconds % 10_u32.pow(9 - digits) == 0).unwrap_or(9);
    let offset = match i16::from_be_bytes(*minutes) {
        -1 | 0 => None,
        minutes => Some(i32::from(minutes) * 60),
    };
    moment(seconds, nanoseconds, usize::try_from(digits).ok()?, offset)
}

fn uuid(bytes: &[u8]) -> Option<String> {
    let number = u128::from_be_bytes(bytes.try_into().ok()?);
    let digits = format!("{number:032x}");
    let (first, rest) = digits.split_at_checked(8)?;
    let (second, rest) = rest.split_at_checked(4)?;
    let (third, rest) = rest.split_at_checked(4)?;
    let (fourth, fifth) = rest.split_at_checked(4)?;
    Some([first, second, third, fourth, fifth].join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats() {
        // By Go 1.19's `fmt.Sprint`.
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-12.75, "-12.75"),
            (0.0001, "0.0001"),
            (0.000_012_5, "1.25e-05"),
            (999_999.0, "999999"),
            (1e6, "1e+06"),
            (1_234_567.5, "1.2345675e+06"),
            (-1e21, "-1e+21"),
            (1.5e300, "1.5e+300"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(float(number), text);
        }
        assert_eq!(complex(1.5, -2.0), "(1.5-2i)");
        assert_eq!(complex(-1e21, 0.0), "(-1e+21+0i)");
        assert_eq!(complex(f64::INFINITY, f64::NAN), "(+Inf+NaNi)");
    }

    fn time_of(version: u8, seconds: i64, nanoseconds: u32, minutes: i16) -> Vec<u8> {
        let mut bytes = vec![version];
        bytes.extend(seconds.to_be_bytes());
        bytes.extend(nanoseconds.to_be_bytes());
        bytes.extend(minutes.to_be_bytes());
        bytes
    }

    #[test]
    fn times() {
        let time = |bytes: &[u8]| marshaled(b"Time", bytes);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(time(&time_of(1, 0, 0, -1)), some("0001-01-01T00:00:00Z"));
        assert_eq!(
            time(&time_of(1, 63_844_809_255, 120, 480)),
            some("2024-02-29T21:14:15.00000012+08:00")
        );
        assert_eq!(time(&time_of(1, 63_844_809_255, 0, -210)), some("2024-02-29T09:44:15-03:30"));
        let mean_time = [&time_of(2, 63_844_809_255, 0, 53)[..], &[28]].concat();
        assert_eq!(time(&mean_time), some("2024-02-29T14:07:15+00:53"));
        assert_eq!(time(&mean_time[..15]), None);
        assert_eq!(time(&[&time_of(1, 0, 0, -1)[..], &[0]].concat()), None);
        assert_eq!(time(&time_of(3, 0, 0, -1)), None);
        assert_eq!(time(&time_of(1, 0, 1_000_000_000, -1)), None);
        assert_eq!(time(&time_of(1, 0, 0, i16::MAX)), None);
        for seconds in [i64::MIN, i64::MAX, 1 << 40] {
            assert_eq!(time(&time_of(1, seconds, 0, -1)), None, "{seconds}");
        }
        assert_eq!(time(b""), None);
    }

    #[test]
    fn uuids() {
        let bytes: Vec<u8> = (0..16).collect();
        let text = Some("00010203-0405-0607-0809-0a0b0c0d0e0f".to_owned());
        assert_eq!(marshaled(b"UUID", &bytes), text);
        assert_eq!(marshaled(b"UUID", &bytes[1..]), None);
        assert_eq!(marshaled(b"Other", &bytes), None);
    }
}
