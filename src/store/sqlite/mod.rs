//! A store in an SQLite database.

mod error;
mod open;
mod row;
mod statements;

use std::fmt;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use sqlx::{SqliteConnection, SqlitePool};

use error::{expect_one, from_sqlx};
use row::{app_from, change_from, mark_from, token_from};

use super::{
    AppQuery, Change, ChangeLog, Changes, Page, Revision, Rotation, StoreError, StoreErrorKind,
    TokenQuery, TokenRegistry, TokenStore, TokenTarget, Usage, UsageLog,
};
use crate::{
    app::{AppId, AppRecord},
    clock::{microseconds, to_microsecond},
    record::TokenRecord,
    token::{TokenDigest, TokenId},
};

pub use sqlx::sqlite::SqliteConnectOptions;

/// A store in an SQLite database: one file, or memory.
///
/// ```no_run
/// use tower_api_tokens::{ApiTokens, SqliteStore, TokenFormat};
///
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// let store = SqliteStore::open("sqlite://tokens.db").await?;
/// let tokens = ApiTokens::new(store, TokenFormat::new("acme_live")?);
/// # Ok(())
/// # }
/// ```
///
/// SQLite itself is part of the program. The file is created if it is missing, and its tables, which
/// all begin with `api_token`, may lie beside those of another program.
///
/// # Durability
///
/// A change is on disk before it is acknowledged: the journal is a write-ahead log, and
/// `synchronous` is `FULL`. A store in memory is gone when the last clone of its handle is.
///
/// # Several processes
///
/// Processes on one machine may share the file; a change waits up to five seconds for another's.
/// The file must not lie on a network file system.
///
/// # Reading alone
///
/// With `?mode=ro` at the end of the URL the store verifies and lists; whatever would change it
/// fails with [`StoreErrorKind::ReadOnly`].
#[derive(Clone)]
pub struct SqliteStore {
    readers: SqlitePool,
    /// One connection, so that writers in this process queue here and not in SQLite.
    writer: SqlitePool,
}

/// How many changes the log holds at least.
const LOG_LEN: i64 = 100_000;

impl SqliteStore {
    /// Opens `sqlite://path` or `sqlite::memory:`, creates the file if it is missing, and brings its
    /// tables up to date.
    ///
    /// # Errors
    ///
    /// [`InvalidSettings`](StoreErrorKind::InvalidSettings) when this is no such URL;
    /// [`Corrupt`](StoreErrorKind::Corrupt) when the file is not a database or a damaged one, and
    /// [`Incompatible`](StoreErrorKind::Incompatible) when a newer version of this crate wrote its
    /// tables: the file is left as it is then. [`Unavailable`](StoreErrorKind::Unavailable) when it
    /// cannot be opened.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        open::open_url(url).await
    }

    /// Opens a file for reading and writing with settings of the caller's. Those for the journal,
    /// `synchronous`, foreign keys and waiting for locks are the store's own.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_with(options: SqliteConnectOptions) -> Result<Self, StoreError> {
        open::open(options).await
    }

    /// Closes the database for all clones of this handle, when what is under way has ended.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }

    /// Makes a change in one transaction, in a task of its own: a caller that goes away leaves it to
    /// end, and no connection in the midst of it.
    async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut SqliteConnection) -> BoxFuture<'t, Result<T, StoreError>>
            + Send
            + 'static,
    {
        let writer = self.writer.clone();
        let write = tokio::spawn(async move {
            let mut transaction = writer
                .begin_with("BEGIN IMMEDIATE")
                .await
                .map_err(from_sqlx)?;
            let changed = change(&mut transaction).await?;
            transaction.commit().await.map_err(from_sqlx)?;
            Ok(changed)
        });
        write.await.map_err(StoreError::unavailable)?
    }
}

/// Notes a change in the log, within its transaction.
async fn note(connection: &mut SqliteConnection, change: Change) -> Result<(), StoreError> {
    let (digest, app) = match &change {
        Change::Token(digest) => (Some(digest.as_bytes().as_slice()), None),
        Change::App(app) => (None, Some(app.as_str())),
    };
    let noted = sqlx::query(statements::NOTE_CHANGE)
        .bind(digest)
        .bind(app)
        .execute(&mut *connection)
        .await
        .map_err(from_sqlx)?;
    expect_one(noted.rows_affected())?;
    let trimmed = sqlx::query(statements::TRIM_LOG).bind(LOG_LEN);
    trimmed.execute(connection).await.map_err(from_sqlx)?;
    Ok(())
}

async fn insert(connection: &mut SqliteConnection, token: &TokenRecord) -> Result<(), StoreError> {
    let inserted = sqlx::query(statements::INSERT_TOKEN)
        .bind(token.id.as_bytes().as_slice())
        .bind(token.digest.as_bytes().as_slice())
        .bind(token.mask.as_str())
        .bind(token.app.id.as_str())
        .bind(token.name.as_str())
        .bind(token.scopes.as_str())
        .bind(microseconds(token.created_at))
        .bind(token.expires_at.map(microseconds))
        .bind(token.revoked_at.map(microseconds))
        .bind(token.successor.as_ref().map(|id| id.as_bytes().as_slice()))
        .bind(token.last_used_at.map(microseconds))
        .bind(i64::try_from(token.uses).unwrap_or(i64::MAX))
        .execute(&mut *connection)
        .await
        .map_err(from_sqlx)?;
    expect_one(inserted.rows_affected())?;
    note(connection, Change::Token(token.digest)).await
}

async fn read_target(
    connection: impl sqlx::SqliteExecutor<'_>,
    target: &TokenTarget,
) -> Result<Option<TokenRecord>, StoreError> {
    let row = sqlx::query(statements::TOKEN)
        .bind(target.id.as_bytes().as_slice())
        .bind(target.app.as_ref().map(AppId::as_str))
        .fetch_optional(connection)
        .await
        .map_err(from_sqlx)?;
    row.as_ref().map(token_from).transpose()
}

async fn expect_target(
    connection: &mut SqliteConnection,
    target: &TokenTarget,
) -> Result<TokenRecord, StoreError> {
    let found = read_target(connection, target).await?;
    found.ok_or_else(|| StoreError::new(StoreErrorKind::NotFound))
}

async fn read_app(
    connection: impl sqlx::SqliteExecutor<'_>,
    id: &AppId,
) -> Result<Option<AppRecord>, StoreError> {
    let row = sqlx::query(statements::APP)
        .bind(id.as_str())
        .fetch_optional(connection)
        .await
        .map_err(from_sqlx)?;
    row.as_ref().map(|row| app_from(row, 0)).transpose()
}

/// Changes whether an app is disabled.
async fn change_app(
    connection: &mut SqliteConnection,
    id: &AppId,
    change: impl FnOnce(AppRecord) -> AppRecord,
) -> Result<AppRecord, StoreError> {
    let found = read_app(&mut *connection, id).await?;
    let app = change(found.ok_or_else(|| StoreError::new(StoreErrorKind::NotFound))?);
    let updated = sqlx::query(statements::UPDATE_APP)
        .bind(id.as_str())
        .bind(app.disabled_at.map(microseconds))
        .execute(&mut *connection)
        .await
        .map_err(from_sqlx)?;
    expect_one(updated.rows_affected())?;
    note(connection, Change::App(*id)).await?;
    Ok(app)
}

#[async_trait]
impl TokenStore for SqliteStore {
    async fn find(&self, digest: &TokenDigest) -> Result<Option<TokenRecord>, StoreError> {
        let row = sqlx::query(statements::FIND)
            .bind(digest.as_bytes().as_slice())
            .fetch_optional(&self.readers)
            .await
            .map_err(from_sqlx)?;
        row.as_ref().map(token_from).transpose()
    }
}

#[async_trait]
impl TokenRegistry for SqliteStore {
    async fn insert_app(&self, app: &AppRecord) -> Result<(), StoreError> {
        let app = app.clone();
        self.write(move |connection| {
            Box::pin(async move {
                let inserted = sqlx::query(statements::INSERT_APP)
                    .bind(app.id.as_str())
                    .bind(app.name.as_str())
                    .bind(microseconds(app.created_at))
                    .bind(app.disabled_at.map(microseconds))
                    .execute(connection)
                    .await
                    .map_err(from_sqlx)?;
                expect_one(inserted.rows_affected())
            })
        })
        .await
    }

    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        read_app(&self.readers, id).await
    }

    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError> {
        let limit = query.limit.get();
        let rows = sqlx::query(statements::APPS)
            // The empty text is before every identifier.
            .bind(query.after.as_ref().map_or("", AppId::as_str))
            .bind(surplus(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(from_sqlx)?;
        let apps: Result<Vec<_>, _> = rows.iter().map(|row| app_from(row, 0)).collect();
        Ok(Page::from_surplus(apps?, limit, |app| app.id))
    }

    async fn disable_app(&self, id: &AppId, at: Timestamp) -> Result<AppRecord, StoreError> {
        let (id, at) = (*id, to_microsecond(at));
        self.write(move |connection| {
            Box::pin(async move { change_app(connection, &id, |app| app.disable(at)).await })
        })
        .await
    }

    async fn enable_app(&self, id: &AppId) -> Result<AppRecord, StoreError> {
        let id = *id;
        self.write(move |connection| {
            Box::pin(async move { change_app(connection, &id, AppRecord::enable).await })
        })
        .await
    }

    async fn insert(&self, token: &TokenRecord) -> Result<(), StoreError> {
        let token = token.clone();
        self.write(move |connection| Box::pin(async move { insert(connection, &token).await }))
            .await
    }

    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        read_target(&self.readers, target).await
    }

    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenId>, StoreError> {
        // One byte more than an identifier has: after every one of them.
        let last = [u8::MAX; 17];
        let after = query.after.as_ref();
        let limit = query.limit.get();
        let mut select = sqlx::query(statements::list(query.app.is_some(), query.status))
            .bind(after.map_or(last.as_slice(), |id| id.as_bytes().as_slice()))
            .bind(surplus(limit))
            .bind(microseconds(now));
        if let Some(app) = &query.app {
            select = select.bind(app.as_str());
        }
        let rows = select.fetch_all(&self.readers).await.map_err(from_sqlx)?;
        let tokens: Result<Vec<_>, _> = rows.iter().map(token_from).collect();
        Ok(Page::from_surplus(tokens?, limit, |token| token.id))
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<TokenRecord, StoreError> {
        let rotation = rotation.clone();
        self.write(move |connection| {
            Box::pin(async move {
                let token = expect_target(connection, &rotation.target).await?;
                let ends = to_microsecond(rotation.overlap_ends);
                let rotated = token.rotate(rotation.successor.id, rotation.at, ends)?;
                let updated = sqlx::query(statements::ROTATE)
                    .bind(rotated.id.as_bytes().as_slice())
                    .bind(rotation.target.app.as_ref().map(AppId::as_str))
                    .bind(rotated.expires_at.map(microseconds))
                    .bind(rotation.successor.id.as_bytes().as_slice())
                    .execute(&mut *connection)
                    .await
                    .map_err(from_sqlx)?;
                expect_one(updated.rows_affected())?;
                insert(connection, &rotation.successor).await?;
                note(connection, Change::Token(rotated.digest)).await?;
                Ok(rotated)
            })
        })
        .await
    }

    async fn revoke(&self, target: &TokenTarget, at: Timestamp) -> Result<TokenRecord, StoreError> {
        let (target, at) = (*target, to_microsecond(at));
        self.write(move |connection| {
            Box::pin(async move {
                let token = expect_target(connection, &target).await?;
                if token.revoked_at.is_some() {
                    return Ok(token);
                }
                let revoked = token.revoke(at);
                let updated = sqlx::query(statements::REVOKE)
                    .bind(target.id.as_bytes().as_slice())
                    .bind(target.app.as_ref().map(AppId::as_str))
                    .bind(revoked.revoked_at.map(microseconds))
                    .execute(&mut *connection)
                    .await
                    .map_err(from_sqlx)?;
                expect_one(updated.rows_affected())?;
                note(connection, Change::Token(revoked.digest)).await?;
                Ok(revoked)
            })
        })
        .await
    }

    async fn purge(&self, ended_before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.write(move |connection| {
            Box::pin(async move {
                let purged = sqlx::query(statements::PURGE)
                    .bind(microseconds(ended_before))
                    .bind(limit)
                    .execute(connection)
                    .await
                    .map_err(from_sqlx)?;
                Ok(usize::try_from(purged.rows_affected()).unwrap_or(usize::MAX))
            })
        })
        .await
    }
}

#[async_trait]
impl ChangeLog for SqliteStore {
    async fn revision(&self) -> Result<Revision, StoreError> {
        let row = sqlx::query(statements::REVISION)
            .fetch_one(&self.readers)
            .await
            .map_err(from_sqlx)?;
        mark_from(&row)
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        let rows = sqlx::query(statements::CHANGES)
            .bind(i64::try_from(since.number).unwrap_or(i64::MAX))
            .bind(surplus(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(from_sqlx)?;
        // The first row is the revision that was asked about, if the log still holds it.
        let Some((first, rest)) = rows.split_first() else {
            return Ok(Changes::Gap);
        };
        if mark_from(first)? != since {
            return Ok(Changes::Gap);
        }
        let revision = rows.last().map_or(Ok(since), mark_from)?;
        let changes: Result<Vec<_>, _> = rest.iter().map(change_from).collect();
        Ok(Changes::Since {
            changes: changes?,
            revision,
            latest: row::latest_from(first)?,
        })
    }

    async fn live(
        &self,
        after: Option<TokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenId>, StoreError> {
        self.tokens(&TokenQuery::live(after, limit), now).await
    }
}

#[async_trait]
impl UsageLog for SqliteStore {
    async fn record_usage(&self, usages: &[Usage]) -> Result<(), StoreError> {
        let usages = usages.to_vec();
        self.write(move |connection| {
            Box::pin(async move {
                for usage in usages {
                    sqlx::query(statements::RECORD_USAGE)
                        .bind(usage.token.as_bytes().as_slice())
                        .bind(microseconds(usage.last_used_at))
                        .bind(i64::try_from(usage.uses).unwrap_or(i64::MAX))
                        .execute(&mut *connection)
                        .await
                        .map_err(from_sqlx)?;
                }
                Ok(())
            })
        })
        .await
    }
}

/// One record more than a page holds, to see whether another page follows.
fn surplus(limit: usize) -> i64 {
    i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX)
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}
