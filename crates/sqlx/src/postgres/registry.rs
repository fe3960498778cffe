use async_trait::async_trait;
use jiff::Timestamp;
use tower_api_tokens::{
    AppId, AppQuery, AppRecord, Applied, AuditLog, ChangeLog, Committed, EventLog, ExpiringQuery,
    Mutation, NodeRegistry, Outdated, OutdatedQuery, Page, Policy, StoreError, TokenCursor,
    TokenQuery, TokenRecord, TokenRegistry, TokenTarget, UsageLog, store::microseconds,
};

use super::{PostgresStore, Query, statements::DIALECT};
use crate::{
    listing::{Listing, Value, listing},
    rows::{
        Columns, Identifier, app_from, app_page, count, expiring_from, first_identifier_at,
        policy_from, read_each, surplus, token_from, tokens_from, unsupported,
    },
};

impl PostgresStore {
    fn read_target(&self, target: &TokenTarget) -> Query {
        self.query(&self.statements().token)
            .bind(Identifier::from(target.id))
            .bind(target.app.map(|app| app.as_str().to_owned()))
    }
}

fn bind(query: Query, value: Value) -> Query {
    match value {
        Value::Integer(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
        Value::Digest(digest) => query.bind(digest),
        Value::Identifier(id) => query.bind(id),
    }
}

#[async_trait]
impl TokenRegistry for PostgresStore {
    async fn apply(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        Ok(self.apply_with_revision(mutation).await?.applied)
    }

    async fn apply_with_revision(&self, mutation: &Mutation) -> Result<Committed, StoreError> {
        let made = self.mutate(mutation).await?;
        Ok(Committed::new(made.applied, made.revision))
    }

    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        let read = self.query(&self.statements().app);
        let rows = self.read(read.bind(id.as_str().to_owned())).await?;
        rows.first().map(|row| app_from(row, 0, 4)).transpose()
    }

    async fn policy(&self) -> Result<Policy, StoreError> {
        let rows = self.read(self.query(&self.statements().policy)).await?;
        rows.first()
            .map_or_else(|| Ok(Policy::default()), policy_from)
    }

    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError> {
        if query.selects_nothing() {
            return Ok(Page::empty());
        }
        let limit = query.limit.get();
        // The empty string sorts before every identifier.
        let mut after = query.after.map_or_else(String::new, |app| app.to_string());
        let (mut apps, mut unreadable) = (Vec::new(), Vec::new());
        loop {
            let read = self
                .query(&self.statements().apps)
                .bind(after)
                .bind(surplus(limit))
                .bind(query.name.clone());
            let rows = self.list(read).await?;
            let (read, skipped) = read_each(&rows, "api_token_apps", |row| app_from(row, 0, 4));
            apps.extend(read);
            unreadable.extend(skipped);
            // A page cannot end at an unreadable identifier.
            match rows.last() {
                Some(last) if rows.len() > limit && apps.len() <= limit => {
                    after = last.text(0)?.unwrap_or_default().to_owned();
                }
                _ => return Ok(app_page(apps, unreadable, limit)),
            }
        }
    }

    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        let rows = self.read(self.read_target(target)).await?;
        rows.first().map(token_from).transpose()
    }

    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenCursor>, StoreError> {
        if query.selects_nothing() {
            return Ok(Page::empty());
        }
        let Listing { text, values } = listing(query, now, &DIALECT)?;
        let read = self.query(&self.statements().fill(&text));
        let rows = self.list(values.into_iter().fold(read, bind)).await?;
        tokens_from(&rows, query, now)
    }

    async fn expiring(
        &self,
        query: &ExpiringQuery,
    ) -> Result<Page<TokenRecord, ExpiringQuery>, StoreError> {
        let limit = query.limit.get();
        let read = self
            .query(&self.statements().expiring)
            .bind(microseconds(query.from))
            .bind(
                query
                    .after
                    .map_or(Identifier([u8::MAX; 16]), Identifier::from),
            )
            .bind(microseconds(query.until))
            .bind(surplus(limit));
        expiring_from(&self.list(read).await?, query)
    }

    async fn outdated(&self, query: &OutdatedQuery) -> Result<Outdated, StoreError> {
        // Nothing is before the smallest time.
        let before = |instant: Option<Timestamp>| instant.map_or(i64::MIN, microseconds);
        let count_query = self
            .query(&self.statements().outdated)
            .bind(before(query.tokens_before))
            .bind(before(query.events_before))
            .bind(first_identifier_at(
                query.events_before.unwrap_or(Timestamp::MIN),
            ))
            .bind(before(query.keys_before))
            .bind(i64::try_from(query.limit).unwrap_or(i64::MAX));
        let rows = self.list(count_query).await?;
        let row = rows.first().ok_or_else(unsupported)?;
        let counted = |column| {
            let count = count(row, column)?;
            Ok::<_, StoreError>(usize::try_from(count).unwrap_or(usize::MAX))
        };
        let mut outdated = Outdated::default();
        outdated.tokens = counted(0)?;
        outdated.events = counted(1)?.saturating_add(counted(2)?).min(query.limit);
        outdated.keys = counted(3)?;
        Ok(outdated)
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
