//! Times and spans of time as they are typed.

use std::{str::FromStr, time::Duration};

use jiff::{Span, SpanRelativeTo, Timestamp, civil::Date, tz::TimeZone};
use tower_api_tokens::{NewToken, parse_expiry, parse_instant};

const ADVICE: &str = "give a span of time like `90d` or `12h 30m`, a day like `2027-01-31`, or a time like `2027-01-31T12:00:00Z`";

/// When a token expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    Never,
    /// At an instant: of a day, at its end in UTC.
    At(Timestamp),
    /// So long after it was issued.
    In(Duration),
}

impl Expiry {
    /// The token, made to expire then.
    pub(crate) fn of(self, token: NewToken) -> NewToken {
        match self {
            Self::Never => token,
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
            Err(_) => parse_expiry(text).map(Self::At).map_err(|_| ADVICE),
        }
    }
}

/// A time that has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// An instant: of a day, its beginning in UTC.
    At(Timestamp),
    /// So long ago.
    Ago(Duration),
}

impl Past {
    /// The instant, seen from `now`.
    pub(crate) fn before(self, now: Timestamp) -> Timestamp {
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
        if let Ok(at) = parse_instant(text) {
            return Ok(Self::At(at));
        }
        // Other forms are read as a date as well, like a time that would be cut off.
        let day = text.parse().ok();
        let day = day.filter(|day: &Date| day.to_string() == text);
        let beginning = day.and_then(|day| TimeZone::UTC.to_timestamp(day.into()).ok());
        beginning.map(Self::At).ok_or(ADVICE)
    }
}

/// Reads a span of time that is not negative: `7d`, `12h 30m`, `0s`. A day has 24 hours.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let span: Result<Span, _> = text.parse();
    span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| "give weeks, days, hours, minutes or seconds, like `7d` or `12h 30m`".into())
}

/// Reads a span of time that is longer than none.
pub(crate) fn duration_above_zero(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("give a span of time above zero, like `75s`".into()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_span_of_time_is_typed_as_people_write_it() {
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
    fn an_expiry_is_a_span_the_end_of_a_day_a_time_or_never() {
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
    fn a_past_time_is_a_span_the_beginning_of_a_day_or_a_time() {
        let now = at("2027-03-01T00:00:00Z");
        for (text, expected) in [
            ("1d", "2027-02-28T00:00:00Z"),
            ("2027-01-31", "2027-01-31T00:00:00Z"),
            ("2027-01-31T12:00:00+01:00", "2027-01-31T11:00:00Z"),
        ] {
            let past: Past = text.parse().unwrap();
            assert_eq!(past.before(now), at(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
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
