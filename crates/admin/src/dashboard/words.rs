//! Times and messages in words.

use std::time::Duration;

use askama::{Template, filters::HtmlSafe};
use jiff::{SignedDuration, Timestamp};

/// An instant as a page shows it: in words from now, and exactly where there is room for it or the
/// focus is. The script adds the local time.
#[derive(Clone, Debug, Template)]
#[template(path = "moment.html")]
pub(super) struct Moment {
    iso: String,
    exact: String,
    words: String,
}

impl HtmlSafe for Moment {}

impl Moment {
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Self {
        Self {
            iso: at.to_string(),
            exact: at.strftime("%-d %B %Y, %H:%M:%S UTC").to_string(),
            words: from_now(at, now),
        }
    }
}

/// `2 minutes ago`, `in 6 days`, `just now`.
pub(super) fn from_now(at: Timestamp, now: Timestamp) -> String {
    let distance = at.duration_since(now);
    let length = distance.unsigned_abs();
    if length < Duration::from_secs(10) {
        return if distance > SignedDuration::ZERO {
            "in a moment".to_owned()
        } else {
            "just now".to_owned()
        };
    }
    let length = span(length);
    if distance > SignedDuration::ZERO {
        format!("in {length}")
    } else {
        format!("{length} ago")
    }
}

/// A length of time in its largest unit, to the nearest.
pub(super) fn span(length: Duration) -> String {
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
        // Days go on to 99, since "in 90 days" is what was asked for.
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

/// An error's message as a sentence, with its code in quotation marks.
pub(super) fn sentence(message: &str) -> String {
    let mut sentence = String::with_capacity(message.len() + 1);
    let mut quotes = ['“', '”'].into_iter().cycle();
    for c in message.chars() {
        match c {
            '`' => sentence.extend(quotes.next()),
            first if sentence.is_empty() => sentence.extend(first.to_uppercase()),
            other => sentence.push(other),
        }
    }
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ago(seconds: i64) -> String {
        let now = Timestamp::constant(2_000_000_000, 0);
        from_now(now - SignedDuration::from_secs(seconds), now)
    }

    #[test]
    fn a_time_is_told_in_its_largest_unit() {
        for (seconds, words) in [
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
            assert_eq!(ago(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn the_extremes_of_time_have_words() {
        assert!(from_now(Timestamp::MAX, Timestamp::MIN).starts_with("in "));
        assert!(from_now(Timestamp::MIN, Timestamp::MAX).ends_with(" years ago"));
    }

    #[test]
    fn the_exact_time_goes_with_the_words() {
        let now = Timestamp::constant(1_800_000_000, 0);
        let shown = Moment::new(now - SignedDuration::from_mins(2), now).to_string();
        let exact = "15 January 2027, 07:58:00 UTC";
        let time = "<time datetime=\"2027-01-15T07:58:00Z\"";
        assert!(shown.contains(&format!("{time} title=\"{exact}\">2 minutes ago</time>")));
        assert!(shown.contains(&format!("<span class=\"exact\">{exact}</span>")));
    }

    #[test]
    fn a_message_becomes_a_sentence() {
        assert_eq!(sentence("there is no such app"), "There is no such app.");
        assert_eq!(sentence("Choose an app."), "Choose an app.");
        assert_eq!(sentence("not `a` or `b`"), "Not “a” or “b”.");
    }
}
