use jiff::Timestamp;

use crate::{model::record::TokenRecord, time::microseconds, words::words};

/// The order of a listing of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenOrder {
    /// By identifier, the greatest first: the newest tokens first.
    #[default]
    Newest,
    /// By identifier, the smallest first: the oldest tokens first.
    Oldest,
    /// By expiry, the earliest first, and then by identifier. Tokens that never expire come last.
    /// Revoked tokens are left out.
    Expiry,
    /// By the UTC day of the last use, or of the creation if the token was never used, the earliest
    /// first, and then by identifier: the longest unused tokens first. Revoked tokens are left out.
    ///
    /// It is the day, not the time, so that a store with an index for this order changes it at most
    /// once a day for each token, however often the token is used.
    LastUsed,
}

words!(TokenOrder, "order of tokens", {
    Newest = "newest",
    Oldest = "oldest",
    Expiry = "expiry",
    LastUsed = "last_used",
});

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

impl TokenOrder {
    /// Returns whether listings in this order include revoked tokens.
    #[must_use]
    pub const fn includes_revoked(self) -> bool {
        matches!(self, Self::Newest | Self::Oldest)
    }

    /// Returns whether the identifiers of tokens with the same [`key`](Self::key) ascend.
    #[must_use]
    pub const fn is_ascending(self) -> bool {
        !matches!(self, Self::Newest)
    }

    /// Returns what tokens are sorted by, before the identifier: the expiry in microseconds since
    /// 1970, or `i64::MAX` for [`Expiry`](Self::Expiry) if the token never expires; the number of the
    /// day since 1970 for [`LastUsed`](Self::LastUsed); and zero for the other orders.
    #[must_use]
    pub fn key(self, token: &TokenRecord) -> i64 {
        match self {
            Self::Newest | Self::Oldest => 0,
            Self::Expiry => token.expires_at.map_or(i64::MAX, microseconds),
            Self::LastUsed => day(token.last_used_at.unwrap_or(token.created_at)),
        }
    }
}

/// Returns the number of the UTC day since 1970.
fn day(at: Timestamp) -> i64 {
    microseconds(at).div_euclid(MICROSECONDS_PER_DAY)
}
