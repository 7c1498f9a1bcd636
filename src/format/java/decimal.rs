//! `BigDecimal` as text.

#![forbid(unsafe_code)]

/// A decimal number as `BigDecimal.toString` writes it: `digits`, which may begin with `-`, times ten to the
/// power of `-scale`.
pub(super) fn text(digits: &str, scale: i32) -> String {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits),
    };
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let scale = i64::from(scale);
    let length = i64::try_from(digits.len()).unwrap_or(i64::MAX);
    let exponent = length.saturating_sub(1).saturating_sub(scale);
    if scale < 0 || exponent < -6 {
        let (first, more) = digits.split_at_checked(1).unwrap_or((digits, ""));
        let point = if more.is_empty() { "" } else { "." };
        return match exponent {
            0 => format!("{sign}{first}{point}{more}"),
            _ => format!("{sign}{first}{point}{more}E{exponent:+}"),
        };
    }
    let whole = usize::try_from(length.saturating_sub(scale)).unwrap_or(0);
    match digits.split_at_checked(whole) {
        Some((whole, part)) if !whole.is_empty() => format!("{sign}{whole}.{part}"),
        _ => format!("{sign}0.{digits:0>width$}", width = usize::try_from(scale).unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    /// As `BigDecimal.toString` of OpenJDK 17 gives them.
    #[test]
    fn decimals_as_java_writes_them() {
        for (digits, scale, text) in [
            ("1234", 0, "1234"),
            ("-1275", 2, "-12.75"),
            ("5", 1, "0.5"),
            ("-5", 6, "-0.000005"),
            ("5", 7, "5E-7"),
            ("-123", 9, "-1.23E-7"),
            ("123", 8, "0.00000123"),
            ("123", -1, "1.23E+3"),
            ("1", -3, "1E+3"),
            ("0", 2, "0.00"),
            ("0", -2, "0E+2"),
            ("12", 2, "0.12"),
            ("1", i32::MIN, "1E+2147483648"),
            ("1", i32::MAX, "1E-2147483647"),
        ] {
            assert_eq!(super::text(digits, scale), text, "{digits} {scale}");
        }
    }
}
