//! Times, numbers and messages as text for people.

use std::time::Duration;

use askama::{Template, filters::HtmlSafe};
use jiff::{SignedDuration, Timestamp};

/// An instant as a page shows it: relative to now, with the exact time on focus or where there is
/// room. The script adds the local time.
#[derive(Clone, Debug, Template)]
#[template(path = "moment.html")]
pub(super) struct Moment {
    iso: String,
    exact: String,
    relative: String,
}

impl HtmlSafe for Moment {}

impl Moment {
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Self {
        Self {
            iso: at.to_string(),
            exact: Self::exact(at),
            relative: relative_time(at, now),
        }
    }

    /// Formats an instant exactly: `14 September 2026, 09:26:53 UTC`.
    pub(super) fn exact(at: Timestamp) -> String {
        at.strftime("%-d %B %Y, %H:%M:%S UTC").to_string()
    }
}

/// Formats an instant relative to now: `2 minutes ago`, `in 6 days`, `just now`.
pub(super) fn relative_time(at: Timestamp, now: Timestamp) -> String {
    let distance = at.duration_since(now);
    let length = distance.unsigned_abs();
    if length < Duration::from_secs(10) {
        return if distance > SignedDuration::ZERO {
            "in a moment".to_owned()
        } else {
            "just now".to_owned()
        };
    }
    let length = duration(length);
    if distance > SignedDuration::ZERO {
        format!("in {length}")
    } else {
        format!("{length} ago")
    }
}

/// Formats a duration in its largest unit, rounded to the nearest.
fn duration(length: Duration) -> String {
    const UNITS: [(u64, &str); 6] = [
        (365 * 86_400, "year"),
        (30 * 86_400, "month"),
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let seconds = length.as_secs();
    let mut unit = (1, "second");
    for (size, name) in UNITS {
        // Count up to 99 in days, so that a lifetime of 90 days reads as "in 90 days".
        let from = if name == "month" { 100 * 86_400 } else { size };
        if seconds >= from - size / 60 {
            unit = (size, name);
            break;
        }
    }
    let (size, name) = unit;
    let count = ((seconds + size / 2) / size).max(1);
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {name}{plural}")
}

/// Formats a number with thousands separators: `12,345`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Turns an error's message into a sentence, with quotation marks in the place of backticks.
pub(super) fn sentence(message: &str) -> String {
    let mut quotes = ['“', '”'].into_iter().cycle();
    let mut quoted = String::with_capacity(message.len());
    for c in message.chars() {
        match c {
            '`' => quoted.extend(quotes.next()),
            other => quoted.push(other),
        }
    }
    crate::problem::sentence(&quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ago(seconds: i64) -> String {
        let now = Timestamp::constant(2_000_000_000, 0);
        relative_time(now - SignedDuration::from_secs(seconds), now)
    }

    #[test]
    fn relative_times_use_the_largest_unit() {
        for (seconds, expected) in [
            (0, "just now"),
            (9, "just now"),
            (12, "12 seconds ago"),
            (59, "1 minute ago"),
            (60, "1 minute ago"),
            (119, "2 minutes ago"),
            (3_600, "1 hour ago"),
            (86_399, "1 day ago"),
            (89 * 86_400, "89 days ago"),
            (200 * 86_400, "7 months ago"),
            (730 * 86_400, "2 years ago"),
            (-5, "in a moment"),
            (-3_599, "in 1 hour"),
            (-(90 * 86_400 - 1), "in 90 days"),
        ] {
            assert_eq!(ago(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn the_earliest_and_latest_times_can_be_formatted() {
        assert!(relative_time(Timestamp::MAX, Timestamp::MIN).starts_with("in "));
        assert!(relative_time(Timestamp::MIN, Timestamp::MAX).ends_with(" years ago"));
    }

    #[test]
    fn a_moment_shows_the_exact_time_too() {
        let now = Timestamp::constant(1_800_000_000, 0);
        let shown = Moment::new(now - SignedDuration::from_mins(2), now).to_string();
        let exact = "15 January 2027, 07:58:00 UTC";
        let time = "<time datetime=\"2027-01-15T07:58:00Z\"";
        assert!(shown.contains(&format!("{time} title=\"{exact}\">2 minutes ago</time>")));
        assert!(shown.contains(&format!("<span class=\"exact\">{exact}</span>")));
    }

    #[test]
    fn numbers_have_thousands_separators() {
        for (number, expected) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345, "12,345"),
            (123_456, "123,456"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), expected);
        }
    }

    #[test]
    fn an_error_message_becomes_a_sentence() {
        assert_eq!(sentence("there is no such app"), "There is no such app.");
        assert_eq!(sentence("Choose an app."), "Choose an app.");
        assert_eq!(sentence("not `a` or `b`"), "Not “a” or “b”.");
    }
}
