//! Parsing of times.

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime, Time},
    tz::{Offset, TimeZone},
};
use thiserror::Error;

/// The text is not a valid time.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct TimeError(TimeFault);

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
enum TimeFault {
    #[error("invalid time; use the format of RFC 3339, such as `2030-01-31T12:00:00Z`")]
    Instant,
    #[error(
        "invalid time; use a date such as `2030-01-31`, or the format of RFC 3339, such as `2030-01-31T12:00:00Z`"
    )]
    Expiry,
}

/// Parses an expiry: either a date, which means the [end of that day](end_of_day), or an
/// [instant](parse_instant).
///
/// The command line, the JSON API and the dashboard all use this function, so that the same text
/// always means the same instant.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::parse_expiry;
///
/// assert_eq!(parse_expiry("2030-01-31")?, parse_expiry("2030-02-01T00:00:00Z")?);
/// # Ok::<(), tower_api_tokens::TimeError>(())
/// ```
///
/// # Errors
///
/// Returns an error if the text is neither `YYYY-MM-DD` nor an RFC 3339 `date-time`, or if it is
/// `9999-12-31`, whose end RFC 3339 cannot represent.
pub fn parse_expiry(text: &str) -> Result<Timestamp, TimeError> {
    let expiry = match read_date(text.as_bytes()) {
        Some((date, [])) => (date < Date::MAX).then(|| end_of_day(date)),
        Some((date, time)) => read_time(date, time),
        None => None,
    };
    expiry.ok_or(TimeError(TimeFault::Expiry))
}

/// Parses an instant in the format of [RFC
/// 3339](https://www.rfc-editor.org/rfc/rfc3339#section-5.6) (`date-time`).
///
/// Digits beyond nanoseconds are truncated. A leap second, `23:59:60` in UTC at the end of a month,
/// is the instant after `23:59:59`. Instants later than [`Timestamp::MAX`], such as
/// `9999-12-31T23:59:59Z`, become `Timestamp::MAX`.
///
/// # Errors
///
/// Returns an error if the text has another format, or if there is no such date or time.
pub fn parse_instant(text: &str) -> Result<Timestamp, TimeError> {
    let read = read_date(text.as_bytes());
    let instant = read.and_then(|(date, time)| read_time(date, time));
    instant.ok_or(TimeError(TimeFault::Instant))
}

/// Returns the end of a day in UTC, which is the first instant of the next day.
///
/// A token with this expiry works for the whole day. If the end is later than [`Timestamp::MAX`],
/// returns `Timestamp::MAX`.
#[must_use]
pub fn end_of_day(day: Date) -> Timestamp {
    let next = day.checked_add(1.day()).ok();
    next.and_then(|next| {
        let midnight = next.to_datetime(Time::midnight());
        TimeZone::UTC.to_timestamp(midnight).ok()
    })
    .unwrap_or(Timestamp::MAX)
}

/// Reads a `full-date`. Returns it and the rest of the text.
fn read_date(text: &[u8]) -> Option<(Date, &[u8])> {
    let (year, rest) = digits(text, 4)?;
    let (month, rest) = digits(rest.strip_prefix(b"-")?, 2)?;
    let (day, rest) = digits(rest.strip_prefix(b"-")?, 2)?;
    let field = |number: u32| i8::try_from(number).ok();
    let date = Date::new(i16::try_from(year).ok()?, field(month)?, field(day)?).ok()?;
    Some((date, rest))
}

/// Reads the part of a `date-time` after the date.
fn read_time(date: Date, text: &[u8]) -> Option<Timestamp> {
    let text = text.strip_prefix(b"T").or(text.strip_prefix(b"t"))?;
    let (hour, rest) = digits(text, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(b":")?, 2)?;
    let (second, rest) = digits(rest.strip_prefix(b":")?, 2)?;
    let (nanosecond, rest) = match rest.strip_prefix(b".") {
        Some(fraction) => read_fraction(fraction)?,
        None => (0, rest),
    };
    let offset = read_offset(rest)?;

    let leap = second == 60;
    let field = |number: u32| i8::try_from(number).ok();
    let second = field(if leap { 59 } else { second })?;
    let time = Time::new(field(hour)?, field(minute)?, second, nanosecond).ok()?;
    let local = date.to_datetime(time);
    if leap && !ends_a_month(local, offset)? {
        return None;
    }
    // A year of four digits is never before `Timestamp::MIN`, so a time out of range is too late.
    let instant = offset.to_timestamp(local).unwrap_or(Timestamp::MAX);
    let leap = i64::from(leap).seconds();
    Some(instant.checked_add(leap).unwrap_or(Timestamp::MAX))
}

/// Whether a local time is in the last second of a month in UTC, the only time at which a leap
/// second can occur.
fn ends_a_month(local: DateTime, offset: Offset) -> Option<bool> {
    let utc = local
        .checked_sub(i64::from(offset.seconds()).seconds())
        .ok()?;
    let last_second = (utc.hour(), utc.minute(), utc.second()) == (23, 59, 59);
    Some(last_second && utc.date() == utc.date().last_of_month())
}

/// Reads the digits after the decimal point as nanoseconds.
fn read_fraction(text: &[u8]) -> Option<(i32, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, rest) = text.split_at(length);
    if fraction.is_empty() {
        return None;
    }
    let significant = fraction.iter().chain(b"000000000").take(9);
    let nanoseconds = significant.fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0'));
    Some((nanoseconds, rest))
}

/// Reads the `time-offset` at the end of the text.
fn read_offset(text: &[u8]) -> Option<Offset> {
    let (sign, text) = match text {
        b"Z" | b"z" => return Some(Offset::UTC),
        [b'+', text @ ..] => (1, text),
        [b'-', text @ ..] => (-1, text),
        _ => return None,
    };
    let (hours, rest) = digits(text, 2)?;
    let (minutes, rest) = digits(rest.strip_prefix(b":")?, 2)?;
    if hours > 23 || minutes > 59 || !rest.is_empty() {
        return None;
    }
    let seconds = i32::try_from(hours * 3_600 + minutes * 60).ok()?;
    Offset::from_seconds(sign * seconds).ok()
}

/// Reads a number with exactly this many digits. Returns it and the rest of the text.
fn digits(text: &[u8], count: usize) -> Option<(u32, &[u8])> {
    let (number, rest) = text.split_at_checked(count)?;
    number
        .iter()
        .all(u8::is_ascii_digit)
        .then(|| {
            number
                .iter()
                .fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'))
        })
        .map(|number| (number, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn an_instant_has_the_form_of_rfc_3339() {
        for (text, instant) in [
            ("2030-01-31T12:00:00Z", "2030-01-31T12:00:00Z"),
            ("2030-01-31t12:00:00z", "2030-01-31T12:00:00Z"),
            ("2030-01-31T12:00:00-00:00", "2030-01-31T12:00:00Z"),
            ("2030-01-31T12:00:00.5+02:00", "2030-01-31T10:00:00.5Z"),
            ("2030-01-31T00:00:00+23:59", "2030-01-30T00:01:00Z"),
            ("2030-01-31T00:00:00-23:59", "2030-01-31T23:59:00Z"),
            (
                "2030-01-31T12:00:00.12345678999999Z",
                "2030-01-31T12:00:00.123456789Z",
            ),
            ("2032-02-29T00:00:00Z", "2032-02-29T00:00:00Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(parse_instant(text), Ok(at(instant)), "{text}");
            assert_eq!(parse_expiry(text), Ok(at(instant)), "{text}");
        }
    }

    #[test]
    fn the_end_of_the_calendar_is_the_last_instant() {
        for text in [
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59.999999999-23:59",
            "9999-12-31T23:59:60Z",
        ] {
            assert_eq!(parse_instant(text), Ok(Timestamp::MAX), "{text}");
        }
        assert!(parse_expiry("9999-12-31").is_err());
        assert_eq!(end_of_day(Date::MAX), Timestamp::MAX);
        assert_eq!(parse_expiry("9999-12-30"), Ok(Timestamp::MAX));
        assert_eq!(parse_expiry("9999-12-29"), Ok(at("9999-12-30T00:00:00Z")));
    }

    #[test]
    fn a_leap_second_is_only_accepted_at_the_end_of_a_month() {
        for (text, instant) in [
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
            ("2030-06-30T23:59:60.25Z", "2030-07-01T00:00:00.25Z"),
            ("2030-12-31T15:59:60-08:00", "2031-01-01T00:00:00Z"),
            ("2031-01-01T01:29:60+01:30", "2031-01-01T00:00:00Z"),
        ] {
            assert_eq!(parse_instant(text), Ok(at(instant)), "{text}");
        }
        for bad in [
            "2030-06-30T23:58:60Z",
            "2030-06-30T22:59:60Z",
            "2030-06-29T23:59:60Z",
            "2030-06-30T23:59:60-01:00",
            "2030-06-30T23:59:61Z",
        ] {
            assert!(parse_instant(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn text_that_rfc_3339_does_not_allow_is_refused() {
        for bad in [
            "",
            "2030",
            "2030-01-31T12:00Z",
            "2030-01-31 12:00:00Z",
            "2030-01-31T12:00:00",
            "2030-01-31T12:00:00.Z",
            "2030-01-31T12:00:00,5Z",
            "2030-13-31T12:00:00Z",
            "2030-02-29T12:00:00Z",
            "2030-00-01T12:00:00Z",
            "2030-01-31T24:00:00Z",
            "2030-01-31T12:60:00Z",
            "2030-01-31T12:00:00Z[Europe/Paris]",
            "+002030-01-31T12:00:00Z",
            "2030-01-31T12:00:00+0200",
            "2030-01-31T12:00:00+02",
            "2030-01-31T12:00:00+24:00",
            "2030-01-31T12:00:00-24:00",
            "2030-01-31T12:00:00+23:60",
            "2030-01-31T12:00:00+02:00 ",
            " 2030-01-31T12:00:00Z",
            "2030-01-31T12:00:00ZZ",
            "2030-01-31T12:00:00\u{0}Z",
            "2030-1-31",
            "2030-01-311",
            "20300131",
            "2030-02-30",
            "٢٠٣٠-01-31",
        ] {
            assert!(parse_instant(bad).is_err(), "{bad}");
            assert!(parse_expiry(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_date_means_the_end_of_its_day() {
        assert_eq!(parse_expiry("2030-01-31"), Ok(at("2030-02-01T00:00:00Z")));
        assert_eq!(parse_expiry("2031-12-31"), Ok(at("2032-01-01T00:00:00Z")));
        assert!(parse_instant("2030-01-31").is_err());
    }

    proptest! {
        #[test]
        fn a_time_in_rfc_3339_round_trips(
            seconds in Timestamp::UNIX_EPOCH.as_second()..Timestamp::MAX.as_second(),
            nanoseconds in 0..1_000_000_000,
        ) {
            let instant = Timestamp::new(seconds, nanoseconds).unwrap();
            prop_assert_eq!(parse_instant(&instant.to_string()), Ok(instant));
        }

        #[test]
        fn arbitrary_text_is_read_or_refused(text in "[0-9TtZz:.+-]{0,40}|\\PC{0,40}") {
            let _ = parse_expiry(&text);
        }
    }
}
