//! Numbers that JSON has no notation for, or serde_json no type.

#![forbid(unsafe_code)]

use serde_json::{Number, Value};

use super::budget::Budget;
use super::Reason;

/// The longest integer that is read, in bytes: its decimal digits take the square of that.
const LONGEST: usize = 256;

/// A float. JSON has no infinities: they are the words that JavaScript, Python and Ruby have for them.
pub(super) fn float(number: f64) -> Value {
    match Number::from_f64(number) {
        Some(number) => Value::Number(number),
        None if number.is_nan() => Value::from("NaN"),
        None if number > 0.0 => Value::from("Infinity"),
        None => Value::from("-Infinity"),
    }
}

/// A float as it is written. What none can tell apart by its first digits is drawn from the budget: to round it
/// right takes thousands of times as long.
pub(super) fn parse(written: &str, budget: &Budget) -> Result<f64, Reason> {
    const HARD: usize = 32 * 1024;
    if written.len() > EASY && !is_easy(written).unwrap_or(false) {
        budget.draw(HARD)?;
    }
    written.parse().map_err(|_| Reason::Malformed)
}

/// As many digits are not hard to round.
const EASY: usize = 17;

/// Whether the first digits of a float alone tell how it is rounded.
fn is_easy(written: &str) -> Option<bool> {
    /// As many fit into 64 bits.
    const FIRST: usize = 19;
    /// The powers of ten that fit there beside them.
    const POWERS: std::ops::RangeInclusive<i64> = -27..=55;
    let (mantissa, power) = written.split_once(['e', 'E']).unwrap_or((written, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole.trim_start_matches(['-', '+']), fraction].concat();
    let digits = digits.trim_start_matches('0');
    if digits.len() <= EASY {
        return Some(true);
    }
    let first = digits.get(..FIRST).unwrap_or(digits);
    let behind = i64::try_from(digits.len() - first.len()).ok()?;
    let power = power.parse::<i64>().ok()? - i64::try_from(fraction.len()).ok()? + behind;
    let first: u64 = first.parse().ok()?;
    let float = |first: u64| format!("{first}e{power}").parse::<f64>().ok();
    Some(POWERS.contains(&power) && (behind == 0 || float(first) == float(first + 1)))
}

/// An integer of any length up to 2048 bits, exactly; null beyond that. `magnitude` has its lowest byte first.
pub(super) fn integer(negative: bool, magnitude: &[u8], budget: &Budget) -> Result<Value, Reason> {
    let length = magnitude.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let magnitude = magnitude.get(..length).unwrap_or_default();
    if length > LONGEST {
        return Ok(Value::Null);
    }
    // Its digits, and the time that they take.
    budget.draw(3 * length + length * length / 2)?;
    let sign = if negative && length > 0 { "-" } else { "" };
    let number = format!("{sign}{}", decimal(magnitude));
    Ok(number.parse().map_or(Value::Null, Value::Number))
}

/// The decimal digits of a number.
fn decimal(magnitude: &[u8]) -> String {
    /// The greatest power of ten in 32 bits, and how many digits it splits off.
    const PART: u64 = 1_000_000_000;
    const DIGITS: usize = 9;
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let mut words: Vec<u64> = magnitude.chunks(4).map(word).collect();
    let mut parts = Vec::new();
    while !words.is_empty() {
        let mut rest = 0;
        for word in words.iter_mut().rev() {
            let value = rest << 32 | *word;
            (*word, rest) = (value / PART, value % PART);
        }
        parts.push(rest);
        while words.last() == Some(&0) {
            words.pop();
        }
    }
    let mut digits = parts.pop().unwrap_or_default().to_string();
    parts.iter().rev().for_each(|part| digits.push_str(&format!("{part:0DIGITS$}")));
    digits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn integer(negative: bool, magnitude: &[u8]) -> Value {
        super::integer(negative, magnitude, &Budget::of(0, 0)).unwrap()
    }

    #[test]
    fn words_stand_for_what_is_no_number() {
        assert_eq!(float(1.5), json!(1.5));
        assert_eq!(float(f64::INFINITY), json!("Infinity"));
        assert_eq!(float(f64::NEG_INFINITY), json!("-Infinity"));
        assert_eq!(float(f64::NAN), json!("NaN"));
    }

    #[test]
    fn integers_are_exact_or_null() {
        assert_eq!(integer(true, &[]).to_string(), "0");
        assert_eq!(integer(true, &[0, 0]).to_string(), "0");
        let power = |bytes: usize| [vec![0; bytes], vec![1]].concat();
        assert_eq!(
            integer(true, &power(16)).to_string(),
            "-340282366920938463463374607431768211456"
        );
        assert!(integer(false, &power(LONGEST - 1)).is_number());
        assert_eq!(integer(false, &power(LONGEST)), json!(null));
    }

    proptest! {
        #[test]
        fn integers_of_128_bits(number: u128, shift in 0..128_u32) {
            let number = number >> shift;
            prop_assert_eq!(integer(false, &number.to_le_bytes()).to_string(), number.to_string());
        }

        /// A number of many parts is that of its halves.
        #[test]
        fn integers_beyond(low: u64, high in 1..u64::MAX) {
            let bytes = [[0; 64].as_slice(), &low.to_le_bytes(), &high.to_le_bytes()].concat();
            let mut digits = (u128::from(high) << 64 | u128::from(low)).to_string().into_bytes();
            for _ in 0..512 {
                let mut carry = 0;
                for digit in digits.iter_mut().rev() {
                    let twice = (*digit - b'0') * 2 + carry;
                    (*digit, carry) = (b'0' + twice % 10, twice / 10);
                }
                if carry > 0 {
                    digits.insert(0, b'0' + carry);
                }
            }
            prop_assert_eq!(integer(false, &bytes).to_string().into_bytes(), digits);
        }
    }
}
