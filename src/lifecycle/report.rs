//! The report on tokens that deserve attention.

use jiff::{SignedDuration, Timestamp};

use super::{ApiTokens, LifecycleError};
use crate::{
    model::{app::AppId, record::TokenStatus},
    store::{TokenQuery, catch_panic},
    words::words,
};

/// After how long without a recorded use a token counts as idle.
const IDLE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// How long before its expiry a token counts as expiring soon.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

const SECONDS_PER_DAY: i64 = 86_400;

/// The maximum number of tokens that a card counts.
const MAX_COUNT: usize = 10_000;

/// The live tokens that deserve attention. Created by [`ApiTokens::report`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The time of the report.
    pub at: Timestamp,
    /// The cards, in the order of [`ReportKind::ALL`].
    pub cards: Vec<ReportCard>,
}

/// A part of a [`Report`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReportCard {
    /// What the tokens have in common.
    pub kind: ReportKind,
    /// Selects the tokens.
    pub query: TokenQuery,
    /// How many tokens there are, up to 10,000.
    pub count: usize,
    /// Whether there are more.
    pub is_truncated: bool,
}

/// The kinds of [`ReportCard`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReportKind {
    /// The tokens never expire.
    NeverExpires,
    /// The tokens are older than 90 days and have no recorded use within them.
    Idle,
    /// The tokens expire within 14 days.
    ExpiresSoon,
    /// The tokens were rotated, and clients have used them since.
    RotatedButUsed,
    /// The tokens were rotated, and no client has used them since. Only reported if [every use is
    /// recorded](super::ApiTokensBuilder::every_use_is_recorded).
    SafeToRevoke,
}

words!(ReportKind, "kind of report card", {
    NeverExpires = "never_expires",
    Idle = "idle",
    ExpiresSoon = "expires_soon",
    RotatedButUsed = "rotated_but_used",
    SafeToRevoke = "safe_to_revoke",
});

impl ReportKind {
    /// Returns a query for the tokens at an instant. Days begin at midnight, UTC, so that a list with the
    /// same date has the same tokens.
    #[must_use]
    pub fn query(self, at: Timestamp) -> TokenQuery {
        let live = TokenQuery::default().status(TokenStatus::Live);
        match self {
            Self::NeverExpires => live.never_expires(),
            Self::Idle => live.unused_since(midnight(at.checked_sub(IDLE))),
            Self::ExpiresSoon => live.expires_before(midnight(at.checked_add(SOON))),
            Self::RotatedButUsed => live.used_since_rotation(true),
            Self::SafeToRevoke => live.used_since_rotation(false),
        }
    }
}

/// Returns the beginning of the day of an instant, UTC.
fn midnight(at: Result<Timestamp, jiff::Error>) -> Timestamp {
    let second = at.map_or(0, Timestamp::as_second);
    let midnight = second - second.rem_euclid(SECONDS_PER_DAY);
    Timestamp::from_second(midnight).unwrap_or(Timestamp::MIN)
}

impl ApiTokens {
    /// Reports the live tokens that deserve attention: those that never expire, are idle, expire soon, or were
    /// rotated. With an app, only its tokens are reported.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_api_tokens::{ApiTokens, MemoryStore, TokenFormat};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
    /// for card in tokens.report(None).await?.cards {
    ///     println!("{}: {}", card.kind, card.count);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    pub async fn report(&self, app: Option<AppId>) -> Result<Report, LifecycleError> {
        let at = self.now();
        let mut cards = Vec::new();
        for kind in self.reported_kinds() {
            let mut query = kind.query(at);
            query.app = app;
            let counted = self.count(&query, MAX_COUNT + 1).await?;
            cards.push(ReportCard {
                kind,
                query,
                count: counted.min(MAX_COUNT),
                is_truncated: counted > MAX_COUNT,
            });
        }
        Ok(Report { at, cards })
    }

    /// Returns the kinds of cards that [`report`](Self::report) has.
    pub fn reported_kinds(&self) -> impl Iterator<Item = ReportKind> + use<> {
        let has_uses = self.shared.registry.usage_log().is_some();
        let is_complete = self.shared.every_use_is_recorded;
        ReportKind::ALL
            .iter()
            .copied()
            .filter(move |kind| match kind {
                ReportKind::NeverExpires | ReportKind::ExpiresSoon => true,
                ReportKind::Idle | ReportKind::RotatedButUsed => has_uses,
                ReportKind::SafeToRevoke => has_uses && is_complete,
            })
    }

    /// Counts the tokens that a query selects, from its position on, up to a limit.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    pub async fn count(&self, query: &TokenQuery, limit: usize) -> Result<usize, LifecycleError> {
        if query.selects_nothing() {
            return Ok(0);
        }
        let (registry, now) = (&self.registry, self.now());
        Ok(catch_panic(|| registry.count(query, now, limit)).await?)
    }
}
