//! Whether a rotated token is still in use.

use jiff::{SignedDuration, Timestamp};
use tower_api_tokens::{TokenRecord, TokenStatus};

use super::{
    text::relative_time,
    view::{Notice, Tone},
};

/// How soon a use is recorded at the latest, with a margin.
const RECORDED_WITHIN: SignedDuration = SignedDuration::from_mins(3);

/// How long ago the last use of a token in active use may be.
const ACTIVE_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// Whether a rotated token is still in use, according to recorded uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Usage {
    /// Used after the rotation, within the last day.
    Active(Timestamp),
    /// Used after the rotation, but not within the last day.
    Idle(Timestamp),
    /// No recorded use since the rotation, which was too recent to tell.
    TooEarly,
    /// No recorded use since the rotation.
    Unrecorded,
}

impl Usage {
    fn new(last_used: Option<Timestamp>, rotated: Timestamp, now: Timestamp) -> Self {
        match last_used {
            Some(used) if used > rotated && now.duration_since(used) < ACTIVE_WITHIN => {
                Self::Active(used)
            }
            Some(used) if used > rotated => Self::Idle(used),
            _ if now.duration_since(rotated) < RECORDED_WITHIN => Self::TooEarly,
            _ => Self::Unrecorded,
        }
    }
}

/// Returns a notice on whether a rotated token can be revoked without breaking a client. Returns
/// `None` if the token no longer works.
pub(super) fn notice_for_rotated(
    old: &TokenRecord,
    rotated: Timestamp,
    now: Timestamp,
) -> Option<Notice> {
    if old.status(now) != TokenStatus::Live {
        return None;
    }
    let ends = old.expires_at.map_or_else(String::new, |at| {
        format!(" This token stops working {}.", relative_time(at, now))
    });
    Some(match Usage::new(old.last_used_at, rotated, now) {
        Usage::Active(used) => Notice::new(
            Tone::Warn,
            format!(
                "Still in use: last used {}. Don't revoke this token yet.",
                relative_time(used, now)
            ),
            format!("Some clients haven't switched to the new token yet.{ends}"),
        ),
        Usage::Idle(used) => Notice::new(
            Tone::Plain,
            format!("Last used {}.", relative_time(used, now)),
            format!("You can revoke this token if every client runs more often than that.{ends}"),
        ),
        Usage::TooEarly => Notice::new(
            Tone::Plain,
            "Rotated just now: too early to tell whether this token is still in use.",
            format!("Use is recorded about once a minute. Check again later.{ends}"),
        ),
        // The dashboard cannot see whether every node records use.
        Usage::Unrecorded => Notice::new(
            Tone::Plain,
            format!(
                "No use recorded since it was rotated {}.",
                relative_time(rotated, now)
            ),
            format!(
                "You can revoke this token if all your servers record use and every client runs \
                 more often than that.{ends}"
            ),
        ),
    })
}
