//! Plans a change without a lock, and commits it if nothing that the plan depends on has changed since.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use tower_api_tokens::{
    AppId, AppRecord, AsyncSnapshot, Change, FleetSettings, Mutation, NodeRegistry, Plan, Policy,
    Revision, StoreError, StoreErrorKind, TokenId, TokenRecord, TokenTarget, UsedKey, Write,
    store::{microseconds, truncate_to_microsecond},
};

use super::{PostgresStore, Query, audit::event_row, mutate::Call, outcome::Made};
use crate::{
    nodes::from_duration,
    rows::{
        self, Columns, Identifier, TOKEN_COLUMNS, app_from, log_is_empty, policy_from, policy_text,
        readable, revision_at, token_from, token_if_any, unsupported, used_key_from,
    },
};

/// How often to plan a change again because something that it depends on has changed.
const ATTEMPTS: usize = 50;

impl PostgresStore {
    /// Plans a change and commits it.
    pub(super) async fn plan_and_commit(&self, mutation: &Mutation) -> Result<Made, StoreError> {
        let mut mutation = mutation.clone();
        // Stored times are truncated to microseconds, and this time is compared with them.
        mutation.at = truncate_to_microsecond(mutation.at);
        for _ in 0..ATTEMPTS {
            let mut reader = Reader::new(self);
            let plan = match mutation.plan_async(&mut reader).await {
                Ok(plan) => plan.truncated_to_microseconds(),
                Err(error) => {
                    // What it has read may not be durable yet.
                    if error.kind() != StoreErrorKind::Unavailable {
                        self.inner.queue.await_earlier().await?;
                    }
                    return Err(error);
                }
            };
            let call = commit(&mutation, &plan, &reader.reads)?;
            let outcome = self.make_change(call.text(), false).await?;
            if outcome.is_made()? {
                return outcome.made(plan.applied);
            }
        }
        Err(StoreError::unavailable(
            "too many concurrent changes; try again",
        ))
    }
}

fn commit(mutation: &Mutation, plan: &Plan, reads: &Reads) -> Result<Call, StoreError> {
    let mut writes = Writes::of(plan)?;
    let events = plan.writes.iter().filter_map(|write| match write {
        Write::AppendEvent(event) => Some(event),
        _ => None,
    });
    let events: Vec<_> = events.collect();
    let (event, others) = match events.as_slice() {
        [] => (None, &[][..]),
        [event] => (Some(*event), &[][..]),
        events => (None, events),
    };
    if let (Some(new), Some(old)) = (writes.fleet.take(), reads.fleet) {
        let arguments = json!({ "new": fleet_row(&new), "old": fleet_row(&old) });
        return Ok(Call::new("set_fleet", event, arguments));
    }
    let arguments = json!({
        "made": writes.made,
        "since": reads.since.map(|since| since.number.cast_signed()),
        "since_mark": reads.since.map(|since| since.mark.cast_signed()),
        "digests": reads.digests,
        "apps": reads.apps,
        "owners": reads.owners,
        "obeys_policy": reads.policy.is_some(),
        "policy": reads.policy.clone().flatten(),
        "logged_digests": writes.logged_digests,
        "logged_apps": writes.logged_apps,
        "new_apps": writes.new_apps,
        "changed_apps": writes.changed_apps,
        "new_tokens": writes.new_tokens,
        "changed_tokens": writes.changed_tokens,
        "removed_app": writes.removed_app,
        "new_policy": writes.policy,
        "events": others.iter().map(|event| event_row(event)).collect::<Vec<_>>(),
    });
    Ok(Call::new("commit", event, arguments).with_key(mutation))
}

/// The writes of a plan, by what they write.
#[derive(Default)]
struct Writes {
    new_apps: Vec<Value>,
    changed_apps: Vec<Value>,
    new_tokens: Vec<Value>,
    changed_tokens: Vec<Value>,
    removed_app: Option<String>,
    policy: Option<String>,
    /// Another function writes these.
    fleet: Option<FleetSettings>,
    logged_digests: Vec<String>,
    logged_apps: Vec<String>,
    /// The token that is stored with the idempotency key.
    made: Option<TokenId>,
}

impl Writes {
    fn of(plan: &Plan) -> Result<Self, StoreError> {
        let mut writes = Self::default();
        for write in &plan.writes {
            match write {
                Write::InsertApp(app) => writes.new_apps.push(app_row(app)),
                Write::UpdateApp(app) => writes.changed_apps.push(app_row(app)),
                Write::RemoveApp(app) => writes.removed_app = Some(app.to_string()),
                Write::InsertToken(token) => writes.new_tokens.push(token_row(token)),
                Write::UpdateToken(token) => writes.changed_tokens.push(token_row(token)),
                Write::PutKey(used) => writes.made = Some(used.token),
                Write::PutFleet(settings) => writes.fleet = Some(*settings),
                Write::PutPolicy(policy) => writes.policy = Some(policy_text(policy)),
                Write::AppendEvent(_) => {}
                Write::Log(Change::Token(digest)) => {
                    writes.logged_digests.push(digest.to_hex());
                }
                Write::Log(Change::App(app)) => writes.logged_apps.push(app.to_string()),
                // Other functions remove records and restart the log.
                Write::RemoveToken(_)
                | Write::RemoveEvent(_)
                | Write::RemoveKey(_)
                | Write::RemoveNode(_)
                | Write::RestartLog
                | Write::Log(_) => return Err(unsupported()),
            }
        }
        Ok(writes)
    }
}

fn fleet_row(settings: &FleetSettings) -> Value {
    json!({
        "max_staleness": settings.max_staleness.map(from_duration),
        "all_registered": settings.all_registered,
    })
}

fn app_row(app: &AppRecord) -> Value {
    json!({
        "id": app.id,
        "name": app.name,
        "created_at": microseconds(app.created_at),
        "disabled_at": app.disabled_at.map(microseconds),
        "metadata": (!app.metadata.is_empty()).then_some(&app.metadata),
    })
}

pub(super) fn token_row(token: &TokenRecord) -> Value {
    json!({
        "id": token.id,
        "digest": token.digest.to_hex(),
        "mask": token.mask,
        "app_id": token.app.id,
        "name": token.name,
        "scopes": token.scopes,
        "created_at": microseconds(token.created_at),
        "expires_at": token.expires_at.map(microseconds),
        "revoked_at": token.revoked_at.map(microseconds),
        "successor": token.successor,
        "last_used_at": token.last_used_at.map(microseconds),
        "uses": i64::try_from(token.uses).unwrap_or(i64::MAX),
        "restrictions": token.restrictions,
        "metadata": (!token.metadata.is_empty()).then_some(&token.metadata),
        "created_by": token.created_by,
    })
}

/// What a plan depends on.
#[derive(Default)]
struct Reads {
    /// The oldest revision at which something was read.
    since: Option<Revision>,
    digests: Vec<String>,
    apps: Vec<String>,
    /// Apps all of whose tokens were read.
    owners: Vec<String>,
    /// The policy as it is stored, if it was read.
    policy: Option<Option<String>>,
    fleet: Option<FleetSettings>,
}

/// The state that a plan reads.
struct Reader<'s> {
    store: &'s PostgresStore,
    reads: Reads,
}

impl<'s> Reader<'s> {
    fn new(store: &'s PostgresStore) -> Self {
        let reads = Reads::default();
        Self { store, reads }
    }

    /// Reads at least one row, with the latest revision from a column on.
    async fn read(&mut self, query: Query, revision: usize) -> Result<Vec<PgRow>, StoreError> {
        let rows = self.store.read(query).await?;
        let read_at = revision_at(rows.first().ok_or_else(log_is_empty)?, revision)?;
        match self.reads.since {
            Some(since) if since.number <= read_at.number => {}
            _ => self.reads.since = Some(read_at),
        }
        Ok(rows)
    }

    /// Reads a token from a row, if there is one.
    fn read_token(&mut self, row: &PgRow) -> Result<Option<TokenRecord>, StoreError> {
        let token = token_if_any(row)?;
        if let Some(token) = &token {
            self.reads.digests.push(token.digest.to_hex());
            self.reads.apps.push(token.app.id.to_string());
        }
        Ok(token)
    }

    async fn count(&mut self, query: Query, app: &AppId, at: Timestamp) -> Result<u64, StoreError> {
        self.reads.owners.push(app.to_string());
        let query = query.bind(app.to_string()).bind(microseconds(at));
        let rows = self.read(query, 1).await?;
        rows::count(rows.first().ok_or_else(log_is_empty)?, 0)
    }
}

#[async_trait]
impl AsyncSnapshot for Reader<'_> {
    async fn app(&mut self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        self.reads.apps.push(id.to_string());
        let query = self.store.query(&self.store.statements().planned_app);
        let rows = self.read(query.bind(id.to_string()), 5).await?;
        let row = rows.first().ok_or_else(log_is_empty)?;
        match row.text(0)? {
            Some(_) => app_from(row, 0, 4).map(Some),
            None => Ok(None),
        }
    }

    async fn token(&mut self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        let query = self.store.query(&self.store.statements().planned_token);
        let query = query
            .bind(Identifier::from(target.id))
            .bind(target.app.map(|app| app.to_string()));
        let rows = self.read(query, TOKEN_COLUMNS).await?;
        self.read_token(rows.first().ok_or_else(log_is_empty)?)
    }

    async fn tokens(
        &mut self,
        targets: &[TokenTarget],
    ) -> Result<Vec<Option<TokenRecord>>, StoreError> {
        let ids: Vec<_> = targets
            .iter()
            .map(|target| Identifier::from(target.id))
            .collect();
        let apps = targets
            .iter()
            .map(|target| target.app.map(|app| app.to_string()));
        let apps: Vec<_> = apps.collect();
        let query = self.store.query(&self.store.statements().planned_tokens);
        let rows = self.read(query.bind(ids).bind(apps), TOKEN_COLUMNS).await?;
        rows.iter().map(|row| self.read_token(row)).collect()
    }

    async fn unrevoked_of(&mut self, app: &AppId) -> Result<Vec<TokenRecord>, StoreError> {
        self.reads.owners.push(app.to_string());
        let query = self.store.query(&self.store.statements().planned_unrevoked);
        let rows = self
            .read(query.bind(app.to_string()), TOKEN_COLUMNS)
            .await?;
        let rows = match rows.first().map(|row| row.identifier(0)).transpose()? {
            Some(Some(_)) => rows.as_slice(),
            _ => &[],
        };
        // Tokens that cannot be read are left out, because they are not admitted either.
        Ok(readable(rows, "api_tokens", token_from))
    }

    async fn expired_or_revoked(
        &mut self,
        _: Timestamp,
        _: usize,
    ) -> Result<Vec<TokenId>, StoreError> {
        // Purges search on their own.
        Err(unsupported())
    }

    async fn keys_since(&mut self, _: Timestamp) -> Result<usize, StoreError> {
        // They are counted when the change is made.
        Ok(0)
    }

    async fn fleet_settings(&mut self) -> Result<FleetSettings, StoreError> {
        let settings = self.store.fleet().await?.settings;
        self.reads.fleet = Some(settings);
        Ok(settings)
    }

    async fn key(&mut self, key: &[u8; 32]) -> Result<Option<UsedKey>, StoreError> {
        let query = self.store.query(&self.store.statements().key);
        let rows = self.store.read(query.bind(*key)).await?;
        let row = rows.first();
        row.map(|row| used_key_from(row, *key)).transpose()
    }

    async fn policy(&mut self) -> Result<Policy, StoreError> {
        let query = self.store.query(&self.store.statements().policy);
        let rows = self.store.read(query).await?;
        let Some(row) = rows.first() else {
            self.reads.policy = Some(None);
            self.store.inner.policy.set(None);
            return Ok(Policy::default());
        };
        self.store.inner.policy.set(row.text(0)?);
        self.reads.policy = Some(row.text(0)?.map(str::to_owned));
        policy_from(row)
    }

    async fn live_of(&mut self, app: &AppId, at: Timestamp) -> Result<usize, StoreError> {
        let query = self.store.query(&self.store.statements().planned_live);
        let live = self.count(query, app, at).await?;
        Ok(usize::try_from(live).unwrap_or(usize::MAX))
    }

    async fn current_of(&mut self, app: &AppId, at: Timestamp) -> Result<usize, StoreError> {
        let query = self.store.query(&self.store.statements().planned_current);
        let current = self.count(query, app, at).await?;
        Ok(usize::try_from(current).unwrap_or(usize::MAX))
    }

    async fn is_named(
        &mut self,
        app: &AppId,
        name: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        self.reads.owners.push(app.to_string());
        let query = self.store.query(&self.store.statements().planned_name);
        let query = query
            .bind(app.to_string())
            .bind(microseconds(at))
            .bind(name.to_owned());
        let rows = self.read(query, 1).await?;
        Ok(rows::count(rows.first().ok_or_else(log_is_empty)?, 0)? > 0)
    }
}
