//! Purges in steps, without scanning deleted rows again.
//!
//! While an older snapshot exists, such as that of a backup, deleted tokens stay in the indexes. So the
//! tokens for several steps are searched ahead, without the lock, and each search begins where the
//! previous one ended.

use std::sync::Mutex;

use jiff::Timestamp;
use sqlx::SqlStr;
use tower_api_tokens::{Applied, Mutation, StoreError, store::microseconds};

use super::{PostgresStore, outcome::Made};
use crate::rows::{Columns, Identifier};

/// The number of steps to search ahead.
const STEPS: usize = 20;

/// The maximum number of tokens in one search.
const MOST: usize = 20_000;

/// The tokens that the next steps of a purge delete.
#[derive(Default)]
pub(super) struct Purging(Mutex<Ahead>);

#[derive(Default)]
struct Ahead {
    before: i64,
    candidates: Vec<Identifier>,
    revoked: Search,
    expired: Search,
}

/// Where the search continues.
#[derive(Clone, Copy, Default)]
struct Search {
    from: Option<i64>,
    is_over: bool,
}

impl Purging {
    /// Takes the state, so that concurrent purges search independently.
    fn take(&self, before: i64) -> Ahead {
        let mut ahead = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        let ahead = std::mem::take(&mut *ahead);
        if ahead.before == before {
            return ahead;
        }
        Ahead {
            before,
            ..Ahead::default()
        }
    }

    fn put_back(&self, ahead: Ahead) {
        let mut place = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        *place = ahead;
    }
}

impl PostgresStore {
    pub(super) async fn purge(
        &self,
        mutation: &Mutation,
        before: Timestamp,
        limit: usize,
    ) -> Result<Made, StoreError> {
        let before = microseconds(before);
        let mut ahead = self.inner.purging.take(before);
        if ahead.candidates.len() < limit {
            let (revoked, expired) = (&self.statements().revoked, &self.statements().expired);
            let many = limit.saturating_mul(STEPS).min(MOST);
            self.search(
                revoked,
                &mut ahead.revoked,
                before,
                many,
                &mut ahead.candidates,
            )
            .await?;
            self.search(
                expired,
                &mut ahead.expired,
                before,
                many,
                &mut ahead.candidates,
            )
            .await?;
            // A search begins at the last instant of the previous one, so some tokens may occur twice.
            ahead.candidates.sort_unstable_by_key(|id| id.0);
            ahead.candidates.dedup_by_key(|id| id.0);
        }
        let step = limit.min(ahead.candidates.len());
        let candidates: Vec<_> = ahead.candidates.drain(..step).collect();
        let purged = self.make(mutation, &candidates).await?;
        // The last step searched from the start, and so does the next purge.
        if matches!(purged.applied, Applied::Count(count) if count == limit) {
            self.inner.purging.put_back(ahead);
        }
        Ok(purged)
    }

    async fn search(
        &self,
        statement: &SqlStr,
        search: &mut Search,
        before: i64,
        many: usize,
        found: &mut Vec<Identifier>,
    ) -> Result<(), StoreError> {
        if search.is_over {
            return Ok(());
        }
        let read = self
            .query(statement)
            .bind(search.from.unwrap_or(i64::MIN))
            .bind(before)
            .bind(i64::try_from(many).unwrap_or(i64::MAX));
        let rows = self.list(read).await?;
        for row in &rows {
            found.extend(row.identifier(0)?.map(Identifier));
        }
        search.is_over = rows.len() < many;
        if let Some(last) = rows.last() {
            search.from = last.integer(1)?;
        }
        Ok(())
    }
}
