use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{
    SqliteStore,
    changes::note,
    error::{expect_one, from_sqlx},
    statements,
};
use crate::{
    app::{AppId, AppRecord},
    clock::{microseconds, to_microsecond},
    record::TokenRecord,
    store::{
        AppQuery, Change, IdempotencyKey, Page, Rotation, StoreError, StoreErrorKind, TokenQuery,
        TokenRegistry, TokenTarget,
        page::surplus,
        rows::{app_from, repeated_from, token_from},
    },
    token::TokenId,
};

async fn insert(
    connection: &mut SqliteConnection,
    tokens: &[TokenRecord],
) -> Result<(), StoreError> {
    let mut changes = Vec::with_capacity(tokens.len());
    for token in tokens {
        insert_row(connection, token).await?;
        changes.push(Change::Token(token.digest));
    }
    note(connection, &changes).await
}

async fn insert_row(
    connection: &mut SqliteConnection,
    token: &TokenRecord,
) -> Result<(), StoreError> {
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
    note(connection, &[Change::App(*id)]).await?;
    Ok(app)
}

/// Notes that a token is made under a key, and forgets the keys of yesterday.
async fn use_key(
    connection: &mut SqliteConnection,
    key: &IdempotencyKey,
    token: TokenId,
    used_at: Timestamp,
) -> Result<(), StoreError> {
    let oldest = used_at.checked_sub(IdempotencyKey::RETENTION);
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
        if query.selects_nothing() {
            return Ok(Page::empty());
        }
        let limit = query.limit.get();
        let rows = sqlx::query(statements::APPS)
            // The empty text is before every identifier.
            .bind(query.after.as_ref().map_or("", AppId::as_str))
            .bind(surplus(limit))
            .bind(query.name.as_deref())
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
        self.insert_all(std::slice::from_ref(token)).await
    }

    async fn insert_once(
        &self,
        token: &TokenRecord,
        key: &IdempotencyKey,
    ) -> Result<(), StoreError> {
        let (token, key) = (token.clone(), *key);
        self.write(move |connection| {
            Box::pin(async move {
                use_key(connection, &key, token.id, token.created_at).await?;
                insert(connection, &[token]).await
            })
        })
        .await
    }

    async fn insert_all(&self, tokens: &[TokenRecord]) -> Result<(), StoreError> {
        let tokens = tokens.to_vec();
        self.write(move |connection| Box::pin(async move { insert(connection, &tokens).await }))
            .await
    }

    async fn rename(&self, target: &TokenTarget, name: &str) -> Result<TokenRecord, StoreError> {
        let (target, name) = (*target, name.to_owned());
        self.write(move |connection| {
            Box::pin(async move {
                let mut renamed = expect_target(connection, &target).await?;
                let updated = sqlx::query(statements::RENAME)
                    .bind(target.id.as_bytes().as_slice())
                    .bind(target.app.as_ref().map(AppId::as_str))
                    .bind(name.as_str())
                    .execute(&mut *connection)
                    .await
                    .map_err(from_sqlx)?;
                expect_one(updated.rows_affected())?;
                note(connection, &[Change::Token(renamed.digest)]).await?;
                renamed.name = name;
                Ok(renamed)
            })
        })
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
        if query.selects_nothing() {
            return Ok(Page::empty());
        }
        // One byte more than an identifier has: after every one of them.
        let last = [u8::MAX; 17];
        let after = query.after.as_ref();
        let limit = query.limit.get();
        let select = sqlx::query(statements::list(query.app.is_some(), query.status))
            .bind(after.map_or(last.as_slice(), |id| id.as_bytes().as_slice()))
            .bind(surplus(limit))
            .bind(microseconds(now))
            .bind(query.app.as_ref().map(AppId::as_str))
            .bind(query.name.as_deref())
            .bind(query.successor.as_ref().map(|id| id.as_bytes().as_slice()));
        let rows = select.fetch_all(&self.readers).await.map_err(from_sqlx)?;
        let tokens: Result<Vec<_>, _> = rows.iter().map(token_from).collect();
        Ok(Page::from_surplus(tokens?, limit, |token| token.id))
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<TokenRecord, StoreError> {
        let rotation = rotation.clone();
        self.write(move |connection| {
            Box::pin(async move {
                if let Some(key) = &rotation.key {
                    use_key(connection, key, rotation.successor.id, rotation.at).await?;
                }
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
                insert(connection, std::slice::from_ref(&rotation.successor)).await?;
                note(connection, &[Change::Token(rotated.digest)]).await?;
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
                note(connection, &[Change::Token(revoked.digest)]).await?;
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
