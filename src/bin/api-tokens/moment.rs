//! Times and spans of time as they are typed.

use std::{str::FromStr, time::Duration};

use jiff::{Span, SpanRelativeTo, Timestamp, civil::Date, tz::TimeZone};
use tower_api_tokens::{NewToken, end_of_day, parse_instant};

/// An instant, a day, or a span of time from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// At an instant.
    At(Timestamp),
    /// On a day in UTC.
    On(Date),
    /// So long from now, or ago.
    In(Duration),
}

/// When a token expires: at a moment, of a day at its end, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expiry(Option<Moment>);

impl Expiry {
    /// The token, made to expire then.
    pub(crate) fn of(self, token: NewToken) -> NewToken {
        match self.0 {
            Some(Moment::At(at)) => token.expires_at(at),
            Some(Moment::On(day)) => token.expires_at(end_of_day(day)),
            Some(Moment::In(lifetime)) => token.expires_in(lifetime),
            None => token,
        }
    }
}

impl FromStr for Expiry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(Self(None)),
            _ => text.parse().map(|moment| Self(Some(moment))),
        }
    }
}

impl Moment {
    /// The instant, the beginning of the day, or that so long before `now`.
    pub(crate) fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::On(day) => TimeZone::UTC
                .to_timestamp(day.into())
                .unwrap_or(Timestamp::MIN),
            Self::In(age) => now.checked_sub(age).unwrap_or(Timestamp::MIN),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(duration) = duration(text) {
            return Ok(Self::In(duration));
        }
        if let Ok(at) = parse_instant(text) {
            return Ok(Self::At(at));
        }
        // Other forms are read as a date as well, like a time that would be cut off.
        let day = text.parse().ok();
        let day = day.filter(|day: &Date| day.to_string() == text);
        day.map(Self::On).ok_or_else(|| {
            "give a span of time like `90d` or `12h 30m`, a day like `2027-01-31`, or a time like `2027-01-31T12:00:00Z`".into()
        })
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

    #[test]
    fn a_day_is_its_end_for_an_expiry_and_its_beginning_for_a_purge() {
        let day = Moment::On(Date::constant(2027, 1, 31));
        let token = Expiry(Some(day)).of(NewToken::named("x"));
        let expected = NewToken::named("x").expires_at("2027-02-01T00:00:00Z".parse().unwrap());
        assert_eq!(format!("{token:?}"), format!("{expected:?}"));
        assert_eq!(
            day.before(Timestamp::UNIX_EPOCH),
            "2027-01-31T00:00:00Z".parse().unwrap()
        );
    }

    #[test]
    fn a_moment_is_a_span_a_day_or_a_time() {
        let at = |text: &str| Ok(Moment::At(text.parse().unwrap()));
        assert_eq!("90d".parse(), Ok(Moment::In(90 * DAY)));
        assert_eq!(
            "2027-01-31".parse(),
            Ok(Moment::On(Date::constant(2027, 1, 31)))
        );
        assert_eq!(
            "2027-01-31T12:00:00+01:00".parse::<Moment>(),
            at("2027-01-31T11:00:00Z")
        );
        assert_eq!(
            "9999-12-31T23:59:59Z".parse(),
            Ok(Moment::At(Timestamp::MAX))
        );
        for bad in [
            "",
            "2027-02-30",
            "2027-01-31T12:00",
            "2027-01-31T12:00:00+24:00",
            "tomorrow",
        ] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }
}
