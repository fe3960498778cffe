use std::fmt;

use jiff::Timestamp;

use crate::time::{from_microseconds, microseconds};

/// An optional instant stored as one integer: microseconds since 1970, the precision of the stores.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expiry(i64);

impl Expiry {
    const NEVER: Self = Self(i64::MAX);

    pub(crate) fn of(expires_at: Option<Timestamp>) -> Self {
        expires_at.map_or(Self::NEVER, |at| Self(microseconds(at)))
    }

    /// Returns the microseconds since 1970; `None` means never.
    #[inline]
    pub(crate) fn microseconds(self) -> Option<i64> {
        (self != Self::NEVER).then_some(self.0)
    }

    pub(super) fn get(self) -> Option<Timestamp> {
        self.microseconds().map(from_microseconds)
    }
}

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
