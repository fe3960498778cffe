//! Parses and formats numbers.

use indicatif::{HumanCount, HumanFloatCount};

/// Parses a whole number above zero.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("expected a whole number above 0, like `100`".into()),
    }
}

/// Parses a finite number above zero.
pub(crate) fn above_zero(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && f64::is_finite(number) => Ok(number),
        _ => Err("expected a number above 0, like `0.5` or `100`".into()),
    }
}

/// Parses a share, as a percentage or as a fraction of 1.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.parse().map(|percent: f64| percent / 100.0),
        None => text.parse(),
    };
    match share {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a share like `5%` or `0.05`, at most `100%`".into()),
    }
}

/// Formats a number with thousands separators.
pub(crate) fn grouped(number: u64) -> String {
    HumanCount(number).to_string()
}

/// Formats a number without decimals, with thousands separators.
pub(crate) fn rounded(number: f64) -> String {
    HumanFloatCount(number.round()).to_string()
}

/// Formats a number of things: `1 token`, `1,234 tokens`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_thousands_separators() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(rounded(12_345.6), "12,346");
        assert_eq!(count(1, "token"), "1 token");
        assert_eq!(count(1_000, "token"), "1,000 tokens");
    }
}
