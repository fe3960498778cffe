//! Whether a token that was rotated is still in use.

use jiff::{SignedDuration, Timestamp};
use tower_api_tokens::{TokenRecord, TokenStatus};

use super::{
    view::{Notice, Tone},
    words::from_now,
};

/// How long it takes at most until a use is recorded, with room to spare.
const RECORDED_WITHIN: SignedDuration = SignedDuration::from_mins(3);

/// How long something in use may be silent.
const SILENCE: SignedDuration = SignedDuration::from_hours(24);

/// Whether a token that was rotated is still in use, as far as it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It was used after the rotation, and lately.
    InUse(Timestamp),
    /// It was used after the rotation, but not lately.
    Quiet(Timestamp),
    /// No use was recorded after the rotation, which is too short a time ago to mean anything.
    TooEarly,
    /// No use was recorded after the rotation.
    Unrecorded,
}

impl Verdict {
    fn new(last_used: Option<Timestamp>, rotated: Timestamp, now: Timestamp) -> Self {
        match last_used {
            Some(used) if used > rotated && now.duration_since(used) < SILENCE => Self::InUse(used),
            Some(used) if used > rotated => Self::Quiet(used),
            _ if now.duration_since(rotated) < RECORDED_WITHIN => Self::TooEarly,
            _ => Self::Unrecorded,
        }
    }
}

/// A plain word on whether deleting a rotated token would break anyone; none for a token that is
/// not admitted any more.
pub(super) fn of_rotated(old: &TokenRecord, rotated: Timestamp, now: Timestamp) -> Option<Notice> {
    if old.status(now) != TokenStatus::Live {
        return None;
    }
    let ends = old.expires_at.map_or_else(String::new, |at| {
        format!(" It stops working by itself {}.", from_now(at, now))
    });
    Some(match Verdict::new(old.last_used_at, rotated, now) {
        Verdict::InUse(used) => Notice::new(
            Tone::Warn,
            format!(
                "Last used {} by the old token: do not delete it yet.",
                from_now(used, now)
            ),
            format!("Something has not moved to the new token.{ends}"),
        ),
        Verdict::Quiet(used) => Notice::new(
            Tone::Plain,
            format!("Last used {} by the old token.", from_now(used, now)),
            format!("Delete it if nothing that uses it runs less often than that.{ends}"),
        ),
        Verdict::TooEarly => Notice::new(
            Tone::Plain,
            "Rotated just now: too early to tell whether the old token is in use.",
            format!("Use is recorded about once a minute. Look again in a while.{ends}"),
        ),
        // Whether every node records use cannot be seen from here.
        Verdict::Unrecorded => Notice::new(
            Tone::Plain,
            format!(
                "No use of the old token was recorded since the rotation {}.",
                from_now(rotated, now)
            ),
            format!(
                "Revoke it below if use is recorded on every node, and nothing uses it less often \
                 than that.{ends}"
            ),
        ),
    })
}
