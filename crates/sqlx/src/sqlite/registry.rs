use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{Row, SqliteConnection};
use tower_api_tokens::{
    AppId, AppQuery, AppRecord, Applied, AuditLog, BoundKey, Change, ChangeLog, Mutation, Op, Page,
    Restrictions, StoreError, StoreErrorKind, TokenId, TokenQuery, TokenRecord, TokenRegistry,
    TokenTarget, UsageLog,
    store::{microseconds, truncate_to_microsecond},
};

use super::{
    SqliteStore,
    audit::append,
    error::{expect_one, from_sqlx},
    statements,
};
use crate::rows::{app_from, page_from, readable, repeated_from, surplus, token_from, unsupported};

async fn insert(
    connection: &mut SqliteConnection,
    tokens: &[TokenRecord],
) -> Result<(), StoreError> {
    for token in tokens {
        insert_row(connection, token).await?;
    }
    Ok(())
}

async fn insert_row(
    connection: &mut SqliteConnection,
    token: &TokenRecord,
) -> Result<(), StoreError> {
    let expires_at = token.expires_at.map(microseconds);
    let is_restricted = token.restrictions.is_some();
    let inserted = sqlx::query(statements::INSERT_TOKEN)
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
        .execute(&mut *connection)
        .await
        .map_err(from_sqlx)?;
    expect_one(inserted.rows_affected())
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

/// What an operation that was made adds to the log.
fn changes_of(op: &Op, applied: &Applied) -> Vec<Change> {
    match (op, applied) {
        (Op::InsertTokens(tokens), _) => {
            let digests = tokens.iter().map(|token| token.digest);
            digests.map(Change::Token).collect()
        }
        (Op::RotateToken { successor, .. }, Applied::Token(rotated)) => {
            vec![
                Change::Token(rotated.digest),
                Change::Token(successor.digest),
            ]
        }
        (_, Applied::Token(token)) => vec![Change::Token(token.digest)],
        (Op::DisableApp(app) | Op::EnableApp { app, .. }, _) => vec![Change::App(*app)],
        _ => Vec::new(),
    }
}

async fn latest_revision(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let row = sqlx::query(statements::LATEST).fetch_one(connection).await;
    row.and_then(|row| row.try_get(0)).map_err(from_sqlx)
}

/// Makes sure that the changes of this transaction, which are those after `since`, are in the log, even
/// if a trigger has been dropped since the database was opened.
async fn ensure_logged(
    connection: &mut SqliteConnection,
    since: i64,
    changes: &[Change],
) -> Result<(), StoreError> {
    let logged = latest_revision(connection).await?.saturating_sub(since);
    if usize::try_from(logged).is_ok_and(|logged| logged == changes.len()) && changes.len() > 2 {
        // Each trigger logs one row a token: that none is missing need not be looked up for each.
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

/// Stores the idempotency key of a token, and removes keys past their retention.
async fn use_key(
    connection: &mut SqliteConnection,
    key: &BoundKey,
    token: TokenId,
    used_at: Timestamp,
) -> Result<(), StoreError> {
    let oldest = used_at.checked_sub(BoundKey::RETENTION);
    let trimmed = sqlx::query(statements::TRIM_KEYS)
        .bind(microseconds(oldest.unwrap_or(Timestamp::MIN)))
        .execute(&mut *connection)
        .await;
    trimmed.map_err(from_sqlx)?;
    let used = sqlx::query(statements::KEY)
        .bind(key.key.as_slice())
        .fetch_optional(&mut *connection)
        .await
        .map_err(from_sqlx)?;
    if let Some(row) = used {
        return Err(repeated_from(&row, key)?.into());
    }
    let noted = sqlx::query(statements::USE_KEY)
        .bind(key.key.as_slice())
        .bind(key.request.as_slice())
        .bind(token.as_bytes().as_slice())
        .bind(microseconds(used_at))
        .execute(connection)
        .await
        .map_err(from_sqlx)?;
    expect_one(noted.rows_affected())
}

/// Makes a change within its transaction.
async fn change(
    connection: &mut SqliteConnection,
    mutation: &Mutation,
) -> Result<Applied, StoreError> {
    if let Some(key) = &mutation.key {
        use_key(connection, key, mutation.created()?, mutation.at).await?;
    }
    let since = latest_revision(connection).await?;
    let applied = operate(connection, &mutation.op, mutation.at).await?;
    ensure_logged(connection, since, &changes_of(&mutation.op, &applied)).await?;
    if let Some(event) = &mutation.audit {
        append(connection, event).await?;
    }
    Ok(applied)
}

async fn operate(
    connection: &mut SqliteConnection,
    op: &Op,
    at: Timestamp,
) -> Result<Applied, StoreError> {
    match op {
        Op::CreateApp(app) => {
            insert_app(connection, app).await?;
            Ok(Applied::App(app.clone()))
        }
        Op::DisableApp(id) => {
            let app = expect_app(connection, id).await?;
            set_app(connection, app.disable(truncate_to_microsecond(at))).await
        }
        Op::EnableApp { app: id, grantable } => {
            let app = expect_app(connection, id).await?.enable();
            if !grantable.is_everything() {
                let tokens = read_unrevoked(connection, id).await?;
                grantable.check_reactivated(tokens, at)?;
            }
            set_app(connection, app).await
        }
        Op::InsertTokens(tokens) => {
            insert(connection, tokens).await?;
            Ok(Applied::Count(tokens.len()))
        }
        Op::RenameToken { target, name } => rename(connection, target, name).await,
        Op::RotateToken {
            target,
            successor,
            overlap_ends,
        } => {
            let token = expect_target(connection, target).await?;
            token.check_successor(successor)?;
            let ends = truncate_to_microsecond(*overlap_ends);
            let rotated = token.rotate(successor.id, at, ends)?;
            rotate(connection, rotated, successor).await
        }
        Op::RevokeToken(target) => {
            let token = expect_target(connection, target).await?;
            revoke(connection, token.revoke(truncate_to_microsecond(at))).await
        }
        Op::Purge { before, limit } => purge(connection, *before, *limit).await,
        Op::ClearCaches => {
            sqlx::raw_sql(statements::RESTART_LOG)
                .execute(connection)
                .await
                .map_err(from_sqlx)?;
            Ok(Applied::Count(0))
        }
        _ => Err(unsupported()),
    }
}

async fn insert_app(connection: &mut SqliteConnection, app: &AppRecord) -> Result<(), StoreError> {
    let inserted = sqlx::query(statements::INSERT_APP)
        .bind(app.id.as_str())
        .bind(app.name.as_str())
        .bind(microseconds(app.created_at))
        .bind(app.disabled_at.map(microseconds))
        .execute(connection)
        .await
        .map_err(from_sqlx)?;
    expect_one(inserted.rows_affected())
}

async fn expect_app(
    connection: &mut SqliteConnection,
    id: &AppId,
) -> Result<AppRecord, StoreError> {
    let found = read_app(connection, id).await?;
    found.ok_or_else(|| StoreError::new(StoreErrorKind::NotFound))
}

async fn set_app(connection: &mut SqliteConnection, app: AppRecord) -> Result<Applied, StoreError> {
    let updated = sqlx::query(statements::UPDATE_APP)
        .bind(app.id.as_str())
        .bind(app.disabled_at.map(microseconds))
        .execute(&mut *connection)
        .await
        .map_err(from_sqlx)?;
    expect_one(updated.rows_affected())?;
    Ok(Applied::App(app))
}

async fn read_unrevoked(
    connection: &mut SqliteConnection,
    app: &AppId,
) -> Result<Vec<TokenRecord>, StoreError> {
    let rows = sqlx::query(statements::UNREVOKED)
        .bind(app.as_str())
        .fetch_all(connection)
        .await
        .map_err(from_sqlx)?;
    // A token that cannot be read is not admitted again either.
    Ok(readable(&rows, "api_tokens", token_from))
}

async fn rename(
    connection: &mut SqliteConnection,
    target: &TokenTarget,
    name: &str,
) -> Result<Applied, StoreError> {
    let mut renamed = expect_target(connection, target).await?;
    let updated = sqlx::query(statements::RENAME)
        .bind(renamed.id.as_bytes().as_slice())
        .bind(name)
        .execute(&mut *connection)
        .await
        .map_err(from_sqlx)?;
    expect_one(updated.rows_affected())?;
    name.clone_into(&mut renamed.name);
    Ok(Applied::Token(renamed))
}

async fn rotate(
    connection: &mut SqliteConnection,
    rotated: TokenRecord,
    successor: &TokenRecord,
) -> Result<Applied, StoreError> {
    // First the successor: a trigger looks at its restrictions when the token is given it.
    insert(connection, std::slice::from_ref(successor)).await?;
    let updated = sqlx::query(statements::ROTATE)
        .bind(rotated.id.as_bytes().as_slice())
        .bind(rotated.expires_at.map(microseconds))
        .bind(successor.id.as_bytes().as_slice())
        .execute(&mut *connection)
        .await
        .map_err(from_sqlx)?;
    expect_one(updated.rows_affected())?;
    Ok(Applied::Token(rotated))
}

async fn revoke(
    connection: &mut SqliteConnection,
    revoked: TokenRecord,
) -> Result<Applied, StoreError> {
    let updated = sqlx::query(statements::REVOKE)
        .bind(revoked.id.as_bytes().as_slice())
        .bind(revoked.revoked_at.map(microseconds))
        .execute(&mut *connection)
        .await
        .map_err(from_sqlx)?;
    expect_one(updated.rows_affected())?;
    Ok(Applied::Token(revoked))
}

async fn purge(
    connection: &mut SqliteConnection,
    before: Timestamp,
    limit: usize,
) -> Result<Applied, StoreError> {
    let purged = sqlx::query(statements::PURGE)
        .bind(microseconds(before))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .execute(connection)
        .await
        .map_err(from_sqlx)?;
    let purged = usize::try_from(purged.rows_affected());
    Ok(Applied::Count(purged.unwrap_or(usize::MAX)))
}

#[async_trait]
impl TokenRegistry for SqliteStore {
    async fn apply(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        let mutation = mutation.clone();
        self.write(move |connection| Box::pin(async move { change(connection, &mutation).await }))
            .await
    }

    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        read_app(self.readers()?, id).await
    }

    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError> {
        if query.selects_nothing() {
            return Ok(Page::empty());
        }
        let limit = query.limit.get();
        let (mut apps, mut seen) = (Vec::new(), 0);
        // A page cannot go on after an app whose identifier cannot be read, so other apps fill its place.
        loop {
            let rows = sqlx::query(statements::APPS)
                // The empty text is before every identifier.
                .bind(query.after.as_ref().map_or("", AppId::as_str))
                .bind(surplus(limit))
                .bind(seen)
                .bind(query.name.as_deref())
                .fetch_all(self.readers()?)
                .await
                .map_err(from_sqlx)?;
            apps.extend(readable(&rows, "api_token_apps", |row| app_from(row, 0)));
            seen += surplus(limit);
            if rows.len() <= limit || apps.len() > limit {
                return Ok(Page::from_surplus(apps, limit, |app| app.id));
            }
        }
    }

    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        read_target(self.readers()?, target).await
    }

    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenId>, StoreError> {
        if query.selects_nothing() {
            return Ok(Page::empty());
        }
        // One byte more than an identifier has: after every one of them.
        let last = [u8::MAX; 17];
        let after = query.after.as_ref();
        let limit = query.limit.get();
        let select = sqlx::query(statements::list(query.app.is_some(), query.status)?)
            .bind(after.map_or(last.as_slice(), |id| id.as_bytes().as_slice()))
            .bind(surplus(limit))
            .bind(microseconds(now))
            .bind(query.app.as_ref().map(AppId::as_str))
            .bind(query.name.as_deref())
            .bind(query.successor.as_ref().map(|id| id.as_bytes().as_slice()));
        let rows = select.fetch_all(self.readers()?).await.map_err(from_sqlx)?;
        page_from(&rows, limit, "api_tokens", token_from, TokenId::from_bytes)
    }

    fn change_log(&self) -> Option<&dyn ChangeLog> {
        Some(self)
    }

    fn usage_log(&self) -> Option<&dyn UsageLog> {
        Some(self)
    }

    fn audit_log(&self) -> Option<&dyn AuditLog> {
        Some(self)
    }
}
