//! The expiry and the start date of a token in forms.

use std::time::Duration;

use jiff::Timestamp;
use tower_api_tokens::{NewToken, parse_expiry, parse_instant};

use super::errors::CHOOSE_OPTION;

/// The lifetimes to choose from, in days, and the other choices.
pub(super) const EXPIRIES: &[(&str, &str)] = &[
    ("7", "7 days"),
    ("30", "30 days"),
    ("90", "90 days"),
    ("365", "1 year"),
    ("date", "Custom date"),
    ("never", "Never"),
];

const INVALID_DATE: &str = "Enter a date, such as 2031-12-24.";

/// When a token expires.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expiry {
    Never,
    In(Duration),
    At(Timestamp),
}

impl Expiry {
    pub(super) fn read(choice: &str, date: &str, now: Timestamp) -> Result<Self, &'static str> {
        match choice {
            "never" => Ok(Self::Never),
            "date" => last_day(date, now).map(Self::At),
            days => match days.parse::<u32>() {
                Ok(days @ 1..=3650) => Ok(Self::In(Duration::from_secs(86_400) * days)),
                _ => Err(CHOOSE_OPTION),
            },
        }
    }

    pub(super) fn apply(self, new: NewToken) -> NewToken {
        match self {
            Self::Never => new.never_expires(),
            Self::In(lifetime) => new.expires_in(lifetime),
            Self::At(at) => new.expires_at(at),
        }
    }

    /// Returns the instant, or `None` if the token never expires.
    pub(super) fn instant(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Never => None,
            Self::In(lifetime) => Some(now.checked_add(lifetime).unwrap_or(Timestamp::MAX)),
            Self::At(at) => Some(at),
        }
    }
}

/// Returns the end of a day, or an exact instant as it is.
fn last_day(date: &str, now: Timestamp) -> Result<Timestamp, &'static str> {
    let date = date.trim();
    let end = parse_expiry(date).map_err(|_| INVALID_DATE)?;
    match end > now {
        true => Ok(end),
        false => Err("Choose today or a later date."),
    }
}

/// Returns the beginning of a day, or an exact instant as it is. Returns `None` for empty text.
pub(super) fn first_day(date: &str) -> Result<Option<Timestamp>, &'static str> {
    let date = date.trim();
    if date.is_empty() {
        return Ok(None);
    }
    let first = parse_instant(&format!("{date}T00:00:00Z")).or_else(|_| parse_instant(date));
    first.map(Some).map_err(|_| INVALID_DATE)
}
