use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{PgConnection, postgres::PgRow};

use super::{PostgresStore, Query, error::from_sqlx};
use crate::{
    app::{AppId, AppRecord},
    clock::{microseconds, to_microsecond},
    record::TokenRecord,
    store::{
        AppQuery, IdempotencyKey, Page, Rotation, StoreError, StoreErrorKind, TokenQuery,
        TokenRegistry, TokenTarget,
        page::surplus,
        rows::{Identifier, app_from, count, repeated_from, token_from},
    },
    token::TokenId,
};

impl PostgresStore {
    /// An insert of all the tokens at once.
    fn insert_tokens(&self, tokens: &[TokenRecord]) -> Query {
        fn column<T>(tokens: &[TokenRecord], value: impl Fn(&TokenRecord) -> T) -> Vec<T> {
            tokens.iter().map(value).collect()
        }
        self.query(&self.statements().insert_tokens)
            .bind(column(tokens, |token| Identifier::from(token.id)))
            .bind(column(tokens, |token| token.digest.as_bytes().to_vec()))
            .bind(column(tokens, |token| token.mask.as_str().to_owned()))
            .bind(column(tokens, |token| token.app.id.as_str().to_owned()))
            .bind(column(tokens, |token| token.name.clone()))
            .bind(column(tokens, |token| token.scopes.as_str().to_owned()))
            .bind(column(tokens, |token| microseconds(token.created_at)))
            .bind(column(tokens, |token| token.expires_at.map(microseconds)))
            .bind(column(tokens, |token| token.revoked_at.map(microseconds)))
            .bind(column(tokens, |token| {
                token.successor.map(Identifier::from)
            }))
            .bind(column(tokens, |token| token.last_used_at.map(microseconds)))
            .bind(column(tokens, |token| {
                i64::try_from(token.uses).unwrap_or(i64::MAX)
            }))
    }

    fn read_target(&self, target: &TokenTarget) -> Query {
        self.query(&self.statements().token)
            .bind(Identifier::from(target.id))
            .bind(target.app.map(|app| app.as_str().to_owned()))
    }

    /// Notes that a token is made under a key, and forgets the keys of yesterday.
    async fn use_key(
        &self,
        connection: &mut PgConnection,
        key: &IdempotencyKey,
        token: TokenId,
        used_at: Timestamp,
    ) -> Result<(), StoreError> {
        let oldest = used_at.checked_sub(IdempotencyKey::RETENTION);
        let trim = self
            .query(&self.statements().trim_keys)
            .bind(microseconds(oldest.unwrap_or(Timestamp::MIN)));
        run(connection, trim).await?;
        let read = self.query(&self.statements().key).bind(key.key);
        if let Some(row) = run(connection, read).await?.first() {
            return Err(repeated_from(row, key)?.into());
        }
        let note = self
            .query(&self.statements().use_key)
            .bind(key.key)
            .bind(key.request)
            .bind(Identifier::from(token))
            .bind(microseconds(used_at));
        run(connection, note).await?;
        Ok(())
    }
}

async fn run(connection: &mut PgConnection, query: Query) -> Result<Vec<PgRow>, StoreError> {
    query.fetch_all(connection).await.map_err(from_sqlx)
}

fn not_found() -> StoreError {
    StoreError::new(StoreErrorKind::NotFound)
}

/// The token of the one row that a change returned.
fn changed_token(rows: &[PgRow]) -> Result<TokenRecord, StoreError> {
    token_from(rows.first().ok_or_else(not_found)?)
}

fn changed_app(rows: &[PgRow]) -> Result<AppRecord, StoreError> {
    app_from(rows.first().ok_or_else(not_found)?, 0)
}

#[async_trait]
impl TokenRegistry for PostgresStore {
    async fn insert_app(&self, app: &AppRecord) -> Result<(), StoreError> {
        let insert = self
            .query(&self.statements().insert_app)
            .bind(app.id.as_str().to_owned())
            .bind(app.name.clone())
            .bind(microseconds(app.created_at))
            .bind(app.disabled_at.map(microseconds));
        self.change(insert).await.map(drop)
    }

    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        let read = self.query(&self.statements().app);
        let rows = self.read(read.bind(id.as_str().to_owned())).await?;
        rows.first().map(|row| app_from(row, 0)).transpose()
    }

    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError> {
        if query.selects_nothing() {
            return Ok(Page::empty());
        }
        let limit = query.limit.get();
        // The empty text is before every identifier.
        let after = query.after.map_or_else(String::new, |app| app.to_string());
        let read = self.query(&self.statements().apps);
        let read = read
            .bind(after)
            .bind(surplus(limit))
            .bind(query.name.clone());
        let rows = self.read(read).await?;
        let apps: Result<Vec<_>, _> = rows.iter().map(|row| app_from(row, 0)).collect();
        Ok(Page::from_surplus(apps?, limit, |app| app.id))
    }

    async fn disable_app(&self, id: &AppId, at: Timestamp) -> Result<AppRecord, StoreError> {
        let disable = self
            .query(&self.statements().disable_app)
            .bind(id.as_str().to_owned())
            .bind(microseconds(at));
        changed_app(&self.change(disable).await?)
    }

    async fn enable_app(&self, id: &AppId) -> Result<AppRecord, StoreError> {
        let enable = self
            .query(&self.statements().enable_app)
            .bind(id.as_str().to_owned());
        changed_app(&self.change(enable).await?)
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
        self.transact(move |store, connection| {
            Box::pin(async move {
                store
                    .use_key(connection, &key, token.id, token.created_at)
                    .await?;
                let insert = store.insert_tokens(std::slice::from_ref(&token));
                run(connection, insert).await.map(drop)
            })
        })
        .await
    }

    async fn insert_all(&self, tokens: &[TokenRecord]) -> Result<(), StoreError> {
        self.change(self.insert_tokens(tokens)).await.map(drop)
    }

    async fn rename(&self, target: &TokenTarget, name: &str) -> Result<TokenRecord, StoreError> {
        let rename = self
            .query(&self.statements().rename)
            .bind(Identifier::from(target.id))
            .bind(target.app.map(|app| app.to_string()))
            .bind(name.to_owned());
        changed_token(&self.change(rename).await?)
    }

    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        let rows = self.read(self.read_target(target)).await?;
        rows.first().map(token_from).transpose()
    }

    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenId>, StoreError> {
        if query.selects_nothing() {
            return Ok(Page::empty());
        }
        let limit = query.limit.get();
        let read = self
            .query(&self.statements().list(query))
            .bind(surplus(limit))
            // An expiry is kept to the microsecond: it has come when that microsecond has begun.
            .bind(microseconds(now))
            .bind(query.after.map(Identifier::from))
            .bind(query.app.map(|app| app.to_string()))
            .bind(query.name.clone())
            .bind(query.successor.map(Identifier::from));
        let rows = self.read(read).await?;
        let tokens: Result<Vec<_>, _> = rows.iter().map(token_from).collect();
        Ok(Page::from_surplus(tokens?, limit, |token| token.id))
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<TokenRecord, StoreError> {
        let rotation = rotation.clone();
        self.transact(move |store, connection| {
            Box::pin(async move {
                let (target, successor) = (&rotation.target, &rotation.successor);
                if let Some(key) = &rotation.key {
                    let made = store.use_key(connection, key, successor.id, rotation.at);
                    made.await?;
                }
                let rows = run(connection, store.read_target(target)).await?;
                let ends = to_microsecond(rotation.overlap_ends);
                let rotated = changed_token(&rows)?.rotate(successor.id, rotation.at, ends)?;
                let update = store
                    .query(&store.statements().rotate)
                    .bind(Identifier::from(target.id))
                    .bind(target.app.map(|app| app.to_string()))
                    .bind(rotated.expires_at.map(microseconds))
                    .bind(Identifier::from(successor.id));
                let rotated = changed_token(&run(connection, update).await?)?;
                let insert = store.insert_tokens(std::slice::from_ref(successor));
                run(connection, insert).await?;
                Ok(rotated)
            })
        })
        .await
    }

    async fn revoke(&self, target: &TokenTarget, at: Timestamp) -> Result<TokenRecord, StoreError> {
        let revoke = self
            .query(&self.statements().revoke)
            .bind(Identifier::from(target.id))
            .bind(target.app.map(|app| app.to_string()))
            .bind(microseconds(at));
        let revoked = self.change(revoke).await?;
        if let Some(row) = revoked.first() {
            return token_from(row);
        }
        // It was revoked before, or is not there.
        changed_token(&self.read(self.read_target(target)).await?)
    }

    async fn purge(&self, ended_before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let purge = self
            .query(&self.statements().purge)
            .bind(microseconds(ended_before))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.change(purge).await?;
        let purged = rows.first().map_or(Ok(0), |row| count(row, 0))?;
        Ok(usize::try_from(purged).unwrap_or(usize::MAX))
    }
}
