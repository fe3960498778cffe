//! Makes a change in its transaction. The library plans it, and this module executes the writes, whatever the
//! operation is.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{Row, SqliteConnection, SqliteExecutor};
use tower_api_tokens::{
    AppId, AppRecord, AsyncSnapshot, AuditEventId, BoundKey, Change, Committed, FleetSettings,
    Metadata, Mutation, NodeId, Policy, Restrictions, StoreError, TokenId, TokenRecord,
    TokenTarget, UsedKey, Write,
    store::{microseconds, truncate_to_microsecond},
};

use super::{
    audit::{append, old_events},
    error::{expect_one, from_sqlx},
    nodes, statements,
    writer::execute,
};
use crate::rows::{
    self, Columns, app_from, json_text, policy_from, policy_text, readable, revision_from,
    token_from, unsupported, used_key_from,
};

/// Makes a change.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    mut mutation: Mutation,
) -> Result<Committed, StoreError> {
    // Stored times are truncated to microseconds, and this time is compared with them.
    mutation.at = truncate_to_microsecond(mutation.at);
    let since = latest_number(connection).await?;
    let plan = mutation.plan_async(&mut Reader(connection)).await?;
    let plan = plan.truncated_to_microseconds();
    let (mut changes, mut removed) = (Vec::new(), Vec::new());
    for write in plan.writes {
        if !matches!(write, Write::RemoveToken(_)) {
            remove(connection, &mut removed).await?;
        }
        match write {
            Write::InsertApp(app) => put_app(connection, statements::INSERT_APP, &app).await?,
            Write::UpdateApp(app) => put_app(connection, statements::UPDATE_APP, &app).await?,
            Write::InsertToken(token) => {
                put_token(connection, statements::INSERT_TOKEN, &token).await?;
            }
            Write::UpdateToken(token) => {
                put_token(connection, statements::UPDATE_TOKEN, &token).await?;
            }
            Write::RemoveToken(id) => removed.push(id),
            Write::RemoveApp(app) => remove_app(connection, &app).await?,
            Write::PutPolicy(policy) => put_policy(connection, &policy).await?,
            Write::PutKey(used) => put_key(connection, &used).await?,
            Write::AppendEvent(event) => append(connection, &event).await?,
            Write::RemoveEvent(id) => {
                for statement in [statements::REMOVE_EVENT_FROM_LOG, statements::REMOVE_EVENT] {
                    let removal = sqlx::query(statement).bind(id.as_bytes().as_slice());
                    removal.execute(&mut *connection).await.map_err(from_sqlx)?;
                }
            }
            Write::RemoveKey(key) => {
                let removal = sqlx::query(statements::REMOVE_KEY).bind(key.as_slice());
                removal.execute(&mut *connection).await.map_err(from_sqlx)?;
            }
            Write::PutFleet(settings) => nodes::put_fleet(connection, &settings).await?,
            Write::RemoveNode(id) => drop(nodes::remove_node(connection, id).await?),
            Write::Log(change) => changes.push(change),
            Write::RestartLog => execute(connection, statements::RESTART_LOG).await?,
        }
    }
    remove(connection, &mut removed).await?;
    ensure_logged(connection, since, &changes).await?;
    let latest = sqlx::query(statements::REVISION).fetch_optional(connection);
    let latest = latest.await.map_err(from_sqlx)?;
    let revision = latest.as_ref().map(revision_from).transpose()?;
    Ok(Committed::new(plan.applied, revision))
}

/// The state that a plan reads.
pub(super) struct Reader<'c>(pub(super) &'c mut SqliteConnection);

#[async_trait]
impl AsyncSnapshot for Reader<'_> {
    async fn app(&mut self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        read_app(&mut *self.0, id).await
    }

    async fn token(&mut self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        read_token(&mut *self.0, target).await
    }

    async fn unrevoked_of(&mut self, app: &AppId) -> Result<Vec<TokenRecord>, StoreError> {
        let rows = sqlx::query(statements::UNREVOKED)
            .bind(app.as_str())
            .fetch_all(&mut *self.0)
            .await
            .map_err(from_sqlx)?;
        // Tokens that cannot be read are left out, because they are not admitted either.
        Ok(readable(&rows, "api_tokens", token_from))
    }

    async fn expired_or_revoked(
        &mut self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<TokenId>, StoreError> {
        let rows = sqlx::query(statements::ENDED)
            .bind(microseconds(before))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&mut *self.0)
            .await
            .map_err(from_sqlx)?;
        let mut ended = Vec::with_capacity(rows.len());
        for row in &rows {
            ended.extend(row.identifier(0)?.map(TokenId::from_bytes));
        }
        Ok(ended)
    }

    async fn events_before(
        &mut self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<AuditEventId>, StoreError> {
        old_events(self.0, before, limit).await
    }

    async fn keys_before(
        &mut self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<[u8; 32]>, StoreError> {
        let rows = sqlx::query(statements::OLD_KEYS)
            .bind(microseconds(before))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&mut *self.0)
            .await
            .map_err(from_sqlx)?;
        let keys = rows.iter().map(|row| row.try_get::<Vec<u8>, _>(0));
        let keys = keys.map(|key| key.map_err(from_sqlx));
        // A key of another length was not written by this store, and is never used.
        keys.filter_map(|key| key.map(|key| key.try_into().ok()).transpose())
            .collect()
    }

    async fn keys_since(&mut self, since: Timestamp) -> Result<usize, StoreError> {
        let row = sqlx::query(statements::KEYS_SINCE)
            .bind(microseconds(since))
            .fetch_one(&mut *self.0)
            .await
            .map_err(from_sqlx)?;
        Ok(usize::try_from(rows::count(&row, 0)?).unwrap_or(usize::MAX))
    }

    async fn fleet_settings(&mut self) -> Result<FleetSettings, StoreError> {
        Ok(nodes::read_fleet(&mut *self.0).await?.settings)
    }

    async fn has_node(&mut self, id: NodeId) -> Result<bool, StoreError> {
        nodes::has_node(&mut *self.0, id).await
    }

    async fn key(&mut self, key: &[u8; 32]) -> Result<Option<UsedKey>, StoreError> {
        let row = sqlx::query(statements::KEY)
            .bind(key.as_slice())
            .fetch_optional(&mut *self.0)
            .await
            .map_err(from_sqlx)?;
        row.map(|row| used_key_from(&row, *key)).transpose()
    }

    async fn policy(&mut self) -> Result<Policy, StoreError> {
        read_policy(&mut *self.0).await
    }

    async fn live_of(&mut self, app: &AppId, at: Timestamp) -> Result<usize, StoreError> {
        count(&mut *self.0, statements::LIVE_OF, app, at).await
    }

    async fn current_of(&mut self, app: &AppId, at: Timestamp) -> Result<usize, StoreError> {
        count(&mut *self.0, statements::CURRENT_OF, app, at).await
    }

    async fn is_named(
        &mut self,
        app: &AppId,
        name: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let row = sqlx::query(statements::NAMED)
            .bind(app.as_str())
            .bind(microseconds(at))
            .bind(name)
            .fetch_optional(&mut *self.0)
            .await
            .map_err(from_sqlx)?;
        Ok(row.is_some())
    }
}

async fn count(
    connection: &mut SqliteConnection,
    statement: &'static str,
    app: &AppId,
    at: Timestamp,
) -> Result<usize, StoreError> {
    let row = sqlx::query(statement)
        .bind(app.as_str())
        .bind(microseconds(at))
        .fetch_one(connection)
        .await
        .map_err(from_sqlx)?;
    Ok(usize::try_from(rows::count(&row, 0)?).unwrap_or(usize::MAX))
}

pub(super) async fn read_app(
    connection: impl SqliteExecutor<'_>,
    id: &AppId,
) -> Result<Option<AppRecord>, StoreError> {
    let row = sqlx::query(statements::APP)
        .bind(id.as_str())
        .fetch_optional(connection)
        .await
        .map_err(from_sqlx)?;
    row.as_ref().map(|row| app_from(row, 0, 4)).transpose()
}

pub(super) async fn read_token(
    connection: impl SqliteExecutor<'_>,
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

async fn put_app(
    connection: &mut SqliteConnection,
    statement: &'static str,
    app: &AppRecord,
) -> Result<(), StoreError> {
    let put = sqlx::query(statement)
        .bind(app.id.as_str())
        .bind(app.name.as_str())
        .bind(microseconds(app.created_at))
        .bind(app.disabled_at.map(microseconds))
        .bind(metadata_text(&app.metadata))
        .execute(connection)
        .await
        .map_err(from_sqlx)?;
    expect_one(put.rows_affected())
}

async fn put_token(
    connection: &mut SqliteConnection,
    statement: &'static str,
    token: &TokenRecord,
) -> Result<(), StoreError> {
    let expires_at = token.expires_at.map(microseconds);
    let is_restricted = token.restrictions.is_some();
    let put = sqlx::query(statement)
        .bind(token.id.as_bytes().as_slice())
        .bind(token.digest.as_bytes().as_slice())
        .bind(token.mask.as_str())
        .bind(token.app.id.as_str())
        .bind(token.name.as_str())
        .bind(token.scopes.as_str())
        .bind(microseconds(token.created_at))
        .bind(if is_restricted { Some(0) } else { expires_at })
        .bind(token.revoked_at.map(microseconds))
        .bind(token.successor.as_ref().map(|id| id.as_bytes().as_slice()))
        .bind(token.last_used_at.map(microseconds))
        .bind(i64::try_from(token.uses).unwrap_or(i64::MAX))
        .bind(token.restrictions.as_ref().map(Restrictions::as_str))
        .bind(expires_at.filter(|_| is_restricted))
        .bind(metadata_text(&token.metadata))
        .bind(token.created_by.as_deref())
        .execute(connection)
        .await
        .map_err(from_sqlx)?;
    expect_one(put.rows_affected())
}

/// Removes all of these tokens in one statement.
async fn remove(
    connection: &mut SqliteConnection,
    ids: &mut Vec<TokenId>,
) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    let bytes: Vec<u8> = ids.drain(..).flat_map(|id| *id.as_bytes()).collect();
    let removed = sqlx::query(statements::REMOVE)
        .bind(bytes)
        .execute(connection)
        .await;
    removed.map(drop).map_err(from_sqlx)
}

/// Removes an app and its tokens.
async fn remove_app(connection: &mut SqliteConnection, app: &AppId) -> Result<(), StoreError> {
    for statement in [statements::REMOVE_TOKENS_OF_APP, statements::REMOVE_APP] {
        let removed = sqlx::query(statement).bind(app.as_str());
        removed.execute(&mut *connection).await.map_err(from_sqlx)?;
    }
    Ok(())
}

pub(super) async fn read_policy(connection: impl SqliteExecutor<'_>) -> Result<Policy, StoreError> {
    let row = sqlx::query(statements::POLICY)
        .fetch_optional(connection)
        .await
        .map_err(from_sqlx)?;
    row.as_ref()
        .map_or_else(|| Ok(Policy::default()), policy_from)
}

async fn put_policy(connection: &mut SqliteConnection, policy: &Policy) -> Result<(), StoreError> {
    let put = sqlx::query(statements::PUT_POLICY)
        .bind(policy_text(policy))
        .execute(connection)
        .await;
    put.map(drop).map_err(from_sqlx)
}

/// How many keys past their retention a change removes. They do not become more, because it adds only one.
const TRIMMED_KEYS: i64 = 10;

/// Stores an idempotency key, and removes keys past their retention.
async fn put_key(connection: &mut SqliteConnection, used: &UsedKey) -> Result<(), StoreError> {
    let oldest = used.used_at.checked_sub(BoundKey::RETENTION);
    let trimmed = sqlx::query(statements::TRIM_KEYS)
        .bind(microseconds(oldest.unwrap_or(Timestamp::MIN)))
        .bind(TRIMMED_KEYS)
        .execute(&mut *connection)
        .await;
    trimmed.map_err(from_sqlx)?;
    let put = sqlx::query(statements::PUT_KEY)
        .bind(used.key.key.as_slice())
        .bind(used.key.request.as_slice())
        .bind(used.token.as_bytes().as_slice())
        .bind(microseconds(used.used_at))
        .execute(connection)
        .await
        .map_err(from_sqlx)?;
    expect_one(put.rows_affected())
}

async fn latest_number(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let row = sqlx::query(statements::LATEST).fetch_one(connection).await;
    row.and_then(|row| row.try_get(0)).map_err(from_sqlx)
}

/// Ensures that the log has these changes of the current transaction (after the revision `since`), even if a
/// trigger was dropped after the database was opened.
async fn ensure_logged(
    connection: &mut SqliteConnection,
    since: i64,
    changes: &[Change],
) -> Result<(), StoreError> {
    let logged = latest_number(connection).await?.saturating_sub(since);
    if usize::try_from(logged).is_ok_and(|logged| logged == changes.len()) && changes.len() > 2 {
        // The triggers log one entry per change, so equal counts mean that none is missing.
        return Ok(());
    }
    for change in changes {
        let (digest, app) = match change {
            Change::Token(digest) => (Some(digest.as_bytes().as_slice()), None),
            Change::App(app) => (None, Some(app.as_str())),
            _ => return Err(unsupported()),
        };
        sqlx::query(statements::ENSURE_LOGGED)
            .bind(digest)
            .bind(app)
            .bind(since)
            .execute(&mut *connection)
            .await
            .map_err(from_sqlx)?;
    }
    Ok(())
}

/// Returns metadata as it is stored.
fn metadata_text(metadata: &Metadata) -> Option<String> {
    (!metadata.is_empty()).then(|| json_text(metadata))
}
