//! Lifetimes as text in forms.

use std::time::Duration;

/// The units of a lifetime, with their length in seconds.
const UNITS: [(u64, &str); 4] = [
    (86_400, "day"),
    (3_600, "hour"),
    (60, "minute"),
    (1, "second"),
];

/// The longest lifetime: 10,000 years, as in the API.
const LONGEST: u64 = 316_224_000_000;

const INVALID: &str = "Enter a number of days, such as 90, or another unit, such as 12 hours.";

/// Returns a lifetime in the largest unit that divides it.
pub(super) fn text(lifetime: Duration) -> String {
    let seconds = lifetime.as_secs();
    let fitting = UNITS
        .into_iter()
        .find(|(size, _)| seconds.is_multiple_of(*size));
    let (size, unit) = fitting.unwrap_or((1, "second"));
    let count = seconds / size;
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

/// Parses a number and a unit. Without a unit, it is a number of days.
pub(super) fn read(text: &str) -> Result<Duration, String> {
    let text = text.trim().to_lowercase();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (count, unit) = text.split_at(end);
    let unit = match unit.trim() {
        "" => "day",
        unit => unit.strip_suffix('s').unwrap_or(unit),
    };
    let size = UNITS.into_iter().find(|(_, name)| *name == unit);
    let count: Option<u64> = count.parse().ok();
    let seconds = count
        .zip(size)
        .and_then(|(count, (size, _))| count.checked_mul(size));
    match seconds {
        Some(seconds @ 1..=LONGEST) => Ok(Duration::from_secs(seconds)),
        Some(0) => Err("Enter a lifetime that is longer than zero.".to_owned()),
        Some(_) => Err("Enter a shorter lifetime.".to_owned()),
        None => Err(INVALID.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_shown_in_the_largest_unit_and_reads_back() {
        for (seconds, expected) in [
            (90 * 86_400, "90 days"),
            (86_400, "1 day"),
            (5_400, "90 minutes"),
            (3_600, "1 hour"),
            (61, "61 seconds"),
            (LONGEST, "3660000 days"),
        ] {
            let lifetime = Duration::from_secs(seconds);
            assert_eq!(text(lifetime), expected);
            assert_eq!(read(expected), Ok(lifetime));
        }
    }

    #[test]
    fn a_number_without_a_unit_is_a_number_of_days() {
        assert_eq!(read(" 7 "), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(read("2Hours"), Ok(Duration::from_secs(7_200)));
        for text in [
            "0",
            "0 hours",
            "-1",
            "soon",
            "1 week",
            "1.5",
            "days",
            "99999999999999999999",
            "3660001",
            "300000000000000",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
