use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{PgConnection, postgres::PgRow};

use super::{PostgresStore, Query, error::from_sqlx};
use crate::{
    app::{AppId, AppRecord},
    clock::{microseconds, to_microsecond},
    record::TokenRecord,
    store::{
        AppQuery, Applied, AuditLog, ChangeLog, IdempotencyKey, Mutation, Op, Page, StoreError,
        StoreErrorKind, TokenQuery, TokenRegistry, TokenTarget, UsageLog,
        mutation::check_readmitted,
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

fn changed_app(rows: &[PgRow]) -> Result<Applied, StoreError> {
    app_from(rows.first().ok_or_else(not_found)?, 0).map(Applied::App)
}

/// Makes a change within its transaction.
async fn change(
    store: &PostgresStore,
    connection: &mut PgConnection,
    mutation: &Mutation,
) -> Result<Applied, StoreError> {
    if let Some(key) = &mutation.key {
        let used = store.use_key(connection, key, mutation.created()?, mutation.at);
        used.await?;
    }
    let applied = operate(store, connection, &mutation.op, mutation.at).await?;
    if let Some(event) = &mutation.audit {
        run(connection, store.append_event(event)).await?;
    }
    Ok(applied)
}

async fn operate(
    store: &PostgresStore,
    connection: &mut PgConnection,
    op: &Op,
    at: Timestamp,
) -> Result<Applied, StoreError> {
    let statements = store.statements();
    match op {
        Op::CreateApp(app) => {
            let insert = store
                .query(&statements.insert_app)
                .bind(app.id.as_str().to_owned())
                .bind(app.name.clone())
                .bind(microseconds(app.created_at))
                .bind(app.disabled_at.map(microseconds));
            run(connection, insert).await?;
            Ok(Applied::App(app.clone()))
        }
        Op::DisableApp(id) => {
            let disable = store
                .query(&statements.disable_app)
                .bind(id.as_str().to_owned())
                .bind(microseconds(at));
            changed_app(&run(connection, disable).await?)
        }
        Op::EnableApp { app: id, grantable } => {
            let id = id.as_str().to_owned();
            if !grantable.is_everything() {
                let read = store.query(&statements.unrevoked).bind(id.clone());
                let rows = run(connection, read).await?;
                let tokens: Result<Vec<_>, _> = rows.iter().map(token_from).collect();
                check_readmitted(tokens?, grantable, at)?;
            }
            let enable = store.query(&statements.enable_app).bind(id);
            changed_app(&run(connection, enable).await?)
        }
        Op::InsertTokens(tokens) => {
            run(connection, store.insert_tokens(tokens)).await?;
            Ok(Applied::Count(tokens.len()))
        }
        Op::RenameToken { target, name } => {
            let token = expect_target(store, connection, target).await?;
            let rename = store
                .query(&statements.rename)
                .bind(Identifier::from(token.id))
                .bind(name.clone());
            changed_token(&run(connection, rename).await?).map(Applied::Token)
        }
        Op::RotateToken {
            target,
            successor,
            overlap_ends,
        } => {
            let token = expect_target(store, connection, target).await?;
            let rotated = token.rotate(successor.id, at, to_microsecond(*overlap_ends))?;
            let update = store
                .query(&statements.rotate)
                .bind(Identifier::from(rotated.id))
                .bind(rotated.expires_at.map(microseconds))
                .bind(Identifier::from(successor.id));
            let rotated = changed_token(&run(connection, update).await?)?;
            let insert = store.insert_tokens(std::slice::from_ref(successor));
            run(connection, insert).await?;
            Ok(Applied::Token(rotated))
        }
        Op::RevokeToken(target) => {
            let revoked = expect_target(store, connection, target).await?.revoke(at);
            let revoke = store
                .query(&statements.revoke)
                .bind(Identifier::from(revoked.id))
                .bind(revoked.revoked_at.map(microseconds));
            changed_token(&run(connection, revoke).await?).map(Applied::Token)
        }
        Op::Purge {
            ended_before,
            limit,
        } => {
            let purge = store
                .query(&statements.purge)
                .bind(microseconds(*ended_before))
                .bind(i64::try_from(*limit).unwrap_or(i64::MAX));
            let rows = run(connection, purge).await?;
            let purged = rows.first().map_or(Ok(0), |row| count(row, 0))?;
            Ok(Applied::Count(
                usize::try_from(purged).unwrap_or(usize::MAX),
            ))
        }
        Op::ClearCaches => Err(StoreError::new(StoreErrorKind::Unsupported)),
    }
}

async fn expect_target(
    store: &PostgresStore,
    connection: &mut PgConnection,
    target: &TokenTarget,
) -> Result<TokenRecord, StoreError> {
    changed_token(&run(connection, store.read_target(target)).await?)
}

#[async_trait]
impl TokenRegistry for PostgresStore {
    async fn apply(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        let mutation = mutation.clone();
        self.transact(move |store, connection| {
            Box::pin(async move { change(store, connection, &mutation).await })
        })
        .await
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
