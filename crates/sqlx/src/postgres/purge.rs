//! Purging, in steps that do not read again what those before have left behind.
//!
//! As long as anyone holds an older snapshot, as a backup does, the tokens that were purged meanwhile are
//! still in the indexes. So what is to be purged is looked for ahead of several steps, without the lock,
//! and each search begins where the one before ended.

use std::sync::Mutex;

use jiff::Timestamp;
use sqlx::SqlStr;
use tower_api_tokens::{Applied, Mutation, StoreError, store::microseconds};

use super::PostgresStore;
use crate::rows::{Columns, Identifier};

/// How many steps ahead is looked.
const STEPS: usize = 20;

/// How many tokens are looked for at most in one search.
const MOST: usize = 20_000;

/// What the next steps of a purge remove.
#[derive(Default)]
pub(super) struct Purging(Mutex<Ahead>);

#[derive(Default)]
struct Ahead {
    before: i64,
    candidates: Vec<Identifier>,
    revoked: Search,
    expired: Search,
}

/// Where a search for tokens goes on.
#[derive(Clone, Copy, Default)]
struct Search {
    from: Option<i64>,
    is_over: bool,
}

impl Purging {
    /// Takes the state, so that of two purges at once each looks for itself.
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
    ) -> Result<Applied, StoreError> {
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
            // A search begins with the last instant of the one before, of which some may still be here.
            ahead.candidates.sort_unstable_by_key(|id| id.0);
            ahead.candidates.dedup_by_key(|id| id.0);
        }
        let step = limit.min(ahead.candidates.len());
        let candidates: Vec<_> = ahead.candidates.drain(..step).collect();
        let purged = self.make(mutation, candidates).await?;
        // The last step has looked from the beginning, and the next purge does so too.
        if matches!(purged, Applied::Count(count) if count == limit) {
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
