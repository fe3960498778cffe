//! Connections for reading, separated by purpose.
//!
//! A statement keeps its connection until it ends, even if its caller is gone. So slow listings must not take the
//! connections that verification needs.

use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use tower_api_tokens::StoreError;

use super::{error::from_sqlx, writer::pool};
use crate::PoolStatus;

/// The number of connections for lookups and for the follower.
const LOOKUPS: u32 = 4;

/// The number of connections for all other reads.
const OTHERS: u32 = 4;

#[derive(Clone)]
pub(super) struct Readers {
    lookups: SqlitePool,
    /// The same pool as for lookups if it is the caller's, or that of a database in memory.
    others: SqlitePool,
    is_shared: bool,
}

impl Readers {
    /// Opens connections of the store's own.
    pub(super) async fn open(options: &SqliteConnectOptions) -> Result<Self, StoreError> {
        let open = async |connections| {
            let pool = pool(connections).connect_with(options.clone());
            pool.await.map_err(from_sqlx)
        };
        Ok(Self {
            lookups: open(LOOKUPS).await?,
            others: open(OTHERS).await?,
            is_shared: false,
        })
    }

    /// Uses one pool for everything.
    pub(super) fn shared(pool: SqlitePool) -> Self {
        Self {
            lookups: pool.clone(),
            others: pool,
            is_shared: true,
        }
    }

    pub(super) fn lookups(&self) -> &SqlitePool {
        &self.lookups
    }

    pub(super) fn others(&self) -> &SqlitePool {
        &self.others
    }

    /// Returns the state of the pools.
    pub(super) fn pools(&self) -> Vec<PoolStatus> {
        match self.is_shared {
            true => vec![PoolStatus::of("shared", &self.lookups, 0)],
            false => vec![
                PoolStatus::of("lookups", &self.lookups, 0),
                PoolStatus::of("others", &self.others, 0),
            ],
        }
    }

    pub(super) async fn close(&self) {
        self.lookups.close().await;
        self.others.close().await;
    }
}
