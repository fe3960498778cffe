//! Parses times and durations.

use std::{str::FromStr, time::Duration};

use jiff::{Span, SpanRelativeTo, Timestamp, civil::Date, tz::TimeZone};
use tower_api_tokens::{NewToken, parse_expiry, parse_instant};

use crate::failure::Failure;

const EXPECTED: &str = "expected a duration like `90d` or `12h 30m`, a date like `2027-01-31`, or a time like `2027-01-31T12:00:00Z`";

/// When a token expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    Never,
    /// At an instant. A date means the end of that day in UTC.
    At(Timestamp),
    /// This long after the token is issued.
    In(Duration),
}

impl Expiry {
    /// Sets the expiry of a token.
    pub(crate) fn apply(self, token: NewToken) -> NewToken {
        match self {
            Self::Never => token.never_expires(),
            Self::At(at) => token.expires_at(at),
            Self::In(lifetime) => token.expires_in(lifetime),
        }
    }
}

impl FromStr for Expiry {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "never" {
            return Ok(Self::Never);
        }
        match duration(text) {
            Ok(lifetime) => Ok(Self::In(lifetime)),
            Err(_) => parse_expiry(text).map(Self::At).map_err(|_| EXPECTED),
        }
    }
}

impl Expiry {
    /// Returns the instant, if the token is issued or edited at `now`. `None` means never.
    pub(crate) fn instant(self, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
        match self {
            Self::Never => Ok(None),
            Self::At(at) => Ok(Some(at)),
            Self::In(lifetime) => now.checked_add(lifetime).map(Some).map_err(|_| {
                Failure::usage(
                    "the expiry is too far in the future; choose an earlier time, or `never`",
                )
            }),
        }
    }
}

/// A time in the future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Future {
    /// An instant. A date means the beginning of that day in UTC.
    At(Timestamp),
    /// This long from now.
    In(Duration),
}

impl Future {
    /// Returns the instant, relative to `now`. The error names the option.
    pub(crate) fn instant(self, now: Timestamp, option: &str) -> Result<Timestamp, Failure> {
        match self {
            Self::At(at) => Ok(at),
            Self::In(wait) => now.checked_add(wait).map_err(|_| {
                Failure::usage(format!(
                    "`{option}` is too far in the future; choose an earlier time"
                ))
            }),
        }
    }
}

impl FromStr for Future {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match duration(text) {
            Ok(wait) => Ok(Self::In(wait)),
            Err(_) => beginning(text).map(Self::At).ok_or(EXPECTED),
        }
    }
}

/// A time in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// An instant. A date means the beginning of that day in UTC.
    At(Timestamp),
    /// This long ago.
    Ago(Duration),
}

impl Past {
    /// Returns the instant, relative to `now`.
    pub(crate) fn instant(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(age) => now.checked_sub(age).unwrap_or(Timestamp::MIN),
        }
    }
}

impl FromStr for Past {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(age) = duration(text) {
            return Ok(Self::Ago(age));
        }
        beginning(text).map(Self::At).ok_or(EXPECTED)
    }
}

/// Parses an instant, or a date, which means the beginning of that day in UTC.
fn beginning(text: &str) -> Option<Timestamp> {
    if let Ok(at) = parse_instant(text) {
        return Some(at);
    }
    // jiff also accepts other forms as a date, such as a time that it would truncate.
    let day = text.parse().ok();
    let day = day.filter(|day: &Date| day.to_string() == text);
    day.and_then(|day| TimeZone::UTC.to_timestamp(day.into()).ok())
}

/// Parses a duration that is not negative: `7d`, `12h 30m`, `0s`. A day has 24 hours.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let span: Result<Span, _> = text.parse();
    span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| {
            "expected weeks, days, hours, minutes or seconds, like `7d` or `12h 30m`".into()
        })
}

/// Formats a duration of whole seconds in the largest unit that divides it, like `90d`.
pub(crate) fn in_largest_unit(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let unit = units.iter().find(|(unit, _)| seconds.is_multiple_of(*unit));
    let (unit, letter) = unit.copied().unwrap_or((1, "s"));
    format!("{}{letter}", seconds / unit)
}

/// Parses a duration above zero.
pub(crate) fn duration_above_zero(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("expected a duration above zero, like `75s`".into()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn durations_are_parsed_in_common_notations() {
        assert_eq!(duration("7d"), Ok(7 * DAY));
        assert_eq!(duration("2 weeks"), Ok(14 * DAY));
        assert_eq!(
            duration("1d 12h 30m"),
            Ok(DAY + DAY / 2 + Duration::from_secs(1800))
        );
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for bad in ["", "7", "-1d", "1d ago", "1mo", "1y", "soon", "9999999999w"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn an_expiry_is_a_duration_a_date_a_time_or_never() {
        for (text, expiry) in [
            ("90d", Expiry::In(90 * DAY)),
            ("2027-01-31", Expiry::At(at("2027-02-01T00:00:00Z"))),
            (
                "2027-01-31T12:00:00+01:00",
                Expiry::At(at("2027-01-31T11:00:00Z")),
            ),
            ("9999-12-31T23:59:59Z", Expiry::At(Timestamp::MAX)),
            ("never", Expiry::Never),
        ] {
            assert_eq!(text.parse(), Ok(expiry), "{text}");
        }
    }

    #[test]
    fn a_past_time_is_a_duration_a_date_or_a_time() {
        let now = at("2027-03-01T00:00:00Z");
        for (text, expected) in [
            ("1d", "2027-02-28T00:00:00Z"),
            ("2027-01-31", "2027-01-31T00:00:00Z"),
            ("2027-01-31T12:00:00+01:00", "2027-01-31T11:00:00Z"),
        ] {
            let past: Past = text.parse().unwrap();
            assert_eq!(past.instant(now), at(expected), "{text}");
        }
    }

    #[test]
    fn a_future_time_is_a_duration_a_date_or_a_time() {
        let now = at("2027-03-01T00:00:00Z");
        for (text, expected) in [
            ("1d", "2027-03-02T00:00:00Z"),
            ("2027-01-31", "2027-01-31T00:00:00Z"),
            ("2027-01-31T12:00:00+01:00", "2027-01-31T11:00:00Z"),
        ] {
            let future: Future = text.parse().unwrap();
            assert_eq!(future.instant(now, "").unwrap(), at(expected), "{text}");
        }
        let beyond: Future = "420000w".parse().unwrap();
        assert!(beyond.instant(now, "").is_err());
    }

    #[test]
    fn durations_are_formatted_in_the_largest_unit() {
        for text in ["90d", "36h", "90m", "61s", "1d"] {
            assert_eq!(in_largest_unit(duration(text).unwrap()), text);
        }
    }

    #[test]
    fn invalid_times_are_rejected() {
        for bad in [
            "",
            "2027-02-30",
            "2027-01-31T12:00",
            "2027-01-31T12:00:00+24:00",
            "tomorrow",
        ] {
            assert!(bad.parse::<Expiry>().is_err(), "{bad}");
            assert!(bad.parse::<Past>().is_err(), "{bad}");
        }
        assert!("never".parse::<Past>().is_err());
    }
}
