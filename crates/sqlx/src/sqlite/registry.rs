use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Sqlite, query::Query, sqlite::SqliteArguments};
use tower_api_tokens::{
    AppId, AppQuery, AppRecord, Applied, AuditLog, ChangeLog, Committed, EventLog, ExpiringQuery,
    Mutation, NodeRegistry, Outdated, OutdatedQuery, Page, Policy, StoreError, TokenCursor,
    TokenQuery, TokenRecord, TokenRegistry, TokenTarget, UsageLog, store::microseconds,
};

use super::{
    SqliteStore,
    apply::{Reader, apply, read_app, read_policy, read_token},
    error::from_sqlx,
    statements,
};
use crate::{
    listing::{Listing, Value, listing},
    rows::{app_from, app_page, expiring_from, read_each, surplus, tokens_from},
};

fn bind(
    query: Query<'_, Sqlite, SqliteArguments>,
    value: Value,
) -> Query<'_, Sqlite, SqliteArguments> {
    match value {
        Value::Integer(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
        Value::Digest(digest) => query.bind(digest.to_vec()),
        Value::Identifier(id) => query.bind(id.0.to_vec()),
    }
}

#[async_trait]
impl TokenRegistry for SqliteStore {
    async fn apply(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        Ok(self.apply_with_revision(mutation).await?.applied)
    }

    async fn apply_with_revision(&self, mutation: &Mutation) -> Result<Committed, StoreError> {
        let mutation = mutation.clone();
        self.write(move |connection| Box::pin(async move { apply(connection, mutation).await }))
            .await
    }

    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        read_app(self.readers()?, id).await
    }

    async fn policy(&self) -> Result<Policy, StoreError> {
        read_policy(self.readers()?).await
    }

    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError> {
        if query.selects_nothing() {
            return Ok(Page::empty());
        }
        let limit = query.limit.get();
        let (mut apps, mut unreadable, mut seen) = (Vec::new(), Vec::new(), 0);
        // The next page cannot start after an app whose identifier cannot be read, so other apps take its
        // place.
        loop {
            let rows = sqlx::query(statements::APPS)
                // Empty text sorts before every identifier.
                .bind(query.after.as_ref().map_or("", AppId::as_str))
                .bind(surplus(limit))
                .bind(seen)
                .bind(query.name.as_deref())
                .fetch_all(self.readers()?)
                .await
                .map_err(from_sqlx)?;
            let (read, skipped) = read_each(&rows, "api_token_apps", |row| app_from(row, 0, 4));
            apps.extend(read);
            unreadable.extend(skipped);
            seen += surplus(limit);
            if rows.len() <= limit || apps.len() > limit {
                return Ok(app_page(apps, unreadable, limit));
            }
        }
    }

    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        read_token(self.readers()?, target).await
    }

    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenCursor>, StoreError> {
        if query.selects_nothing() {
            return Ok(Page::empty());
        }
        let Listing { text, values } = listing(query, now, &statements::DIALECT)?;
        // Safe: the text is made of constants, and values are bound.
        let select = sqlx::query(AssertSqlSafe(text));
        let select = values.into_iter().fold(select, bind);
        let rows = select.fetch_all(self.readers()?).await.map_err(from_sqlx)?;
        tokens_from(&rows, query, now)
    }

    async fn expiring(
        &self,
        query: &ExpiringQuery,
    ) -> Result<Page<TokenRecord, ExpiringQuery>, StoreError> {
        // One byte longer than an identifier, so that it sorts after all of them.
        let last = [u8::MAX; 17];
        let after = query.after.as_ref();
        let rows = sqlx::query(statements::EXPIRING)
            .bind(microseconds(query.from))
            .bind(after.map_or(last.as_slice(), |id| id.as_bytes().as_slice()))
            .bind(microseconds(query.until))
            .bind(surplus(query.limit.get()))
            .fetch_all(self.readers()?)
            .await
            .map_err(from_sqlx)?;
        expiring_from(&rows, query)
    }

    async fn outdated(&self, query: &OutdatedQuery) -> Result<Outdated, StoreError> {
        let mut connection = self.readers()?.acquire().await.map_err(from_sqlx)?;
        Outdated::of_async_snapshot(&mut Reader(&mut connection), query).await
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

    fn event_log(&self) -> Option<&dyn EventLog> {
        Some(self)
    }

    fn node_registry(&self) -> Option<&dyn NodeRegistry> {
        Some(self)
    }
}
