use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::Bound,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::{
    Answer, AppQuery, Applied, AuditLog, AuditQuery, ChangeHistory, ChangeLog, Changes, Committed,
    EventHistory, EventLog, EventPage, EventQuery, ExpiringQuery, FleetSettings, FleetState,
    LivePage, Mutation, NodeId, NodePage, NodeQuery, NodeRegistry, NodeReport, NodeTable, Outdated,
    OutdatedQuery, Page, Revision, Snapshot, StoreError, StoreErrorKind, TokenCursor, TokenOrder,
    TokenQuery, TokenRegistry, TokenStore, TokenTarget, Usage, UsageLog, UsedKey, Write,
};
use crate::{
    model::{
        app::{AppId, AppRecord},
        audit::{AuditEvent, AuditEventId},
        policy::Policy,
        record::TokenRecord,
    },
    time::{Clock, SystemClock},
    token::{TokenDigest, TokenId},
};

/// A store in memory, for tests, and for data that may be lost when the process ends.
///
/// It meets the whole contract of [`TokenRegistry`] except durability. Cloning is cheap, and clones
/// share the same data.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{ApiTokens, MemoryStore, TokenFormat};
///
/// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
/// # Ok::<(), tower_api_tokens::PrefixError>(())
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    state: Arc<RwLock<State>>,
    changed: Arc<Notify>,
    /// Sets the times of nodes. The times of changes are those of the caller.
    clock: Arc<dyn Clock>,
}

/// Tokens only contain the app's identifier in `app`; the rest is filled in when reading.
#[derive(Default)]
struct State {
    apps: BTreeMap<AppId, AppRecord>,
    tokens: BTreeMap<TokenId, TokenRecord>,
    ids: HashMap<TokenDigest, TokenId>,
    keys: HashMap<[u8; 32], UsedKey>,
    policy: Policy,
    audit: BTreeMap<AuditEventId, AuditEvent>,
    events: EventHistory,
    log: ChangeHistory,
    nodes: NodeTable,
}

impl MemoryStore {
    /// Creates an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(SystemClock)
    }

    /// Creates an empty store with a clock for the times at which [nodes](NodeRegistry) report.
    #[must_use]
    pub fn with_clock(clock: impl Clock) -> Self {
        Self {
            state: Arc::default(),
            changed: Arc::default(),
            clock: Arc::new(clock),
        }
    }

    // A change is planned before anything is written, so the state behind a poisoned lock is
    // consistent.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// The token with its app in its current state.
    fn current(&self, token: &TokenRecord) -> TokenRecord {
        let mut token = token.clone();
        if let Some(app) = self.apps.get(&token.app.id) {
            token.app = app.clone();
        }
        token
    }

    fn answer(&self, digest: &TokenDigest) -> Answer {
        Answer::at(self.find(digest), self.log.latest())
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::InsertApp(app) | Write::UpdateApp(app) => drop(self.apps.insert(app.id, app)),
            Write::InsertToken(token) | Write::UpdateToken(token) => {
                self.ids.insert(token.digest, token.id);
                self.tokens.insert(token.id, token);
            }
            Write::RemoveToken(id) => {
                if let Some(token) = self.tokens.remove(&id) {
                    self.ids.remove(&token.digest);
                }
            }
            Write::RemoveApp(app) => {
                self.apps.remove(&app);
                self.tokens.retain(|_, token| token.app.id != app);
                let tokens = &self.tokens;
                self.ids.retain(|_, id| tokens.contains_key(id));
            }
            Write::PutPolicy(policy) => self.policy = policy,
            Write::PutKey(used) => {
                self.keys.retain(|_, other| other.is_valid_at(used.used_at));
                self.keys.insert(used.key.key, used);
            }
            Write::AppendEvent(event) => {
                self.events.push(&event);
                self.audit.insert(event.id, event);
            }
            Write::RemoveEvent(id) => {
                self.events.remove(id);
                self.audit.remove(&id);
            }
            Write::RemoveKey(key) => drop(self.keys.remove(&key)),
            Write::PutFleet(settings) => self.nodes.set(settings),
            Write::RemoveNode(id) => drop(self.nodes.remove(id)),
            Write::Log(change) => self.log.push(change),
            Write::RestartLog => self.log.restart(),
        }
    }
}

impl Snapshot for State {
    fn app(&self, id: &AppId) -> Option<AppRecord> {
        self.apps.get(id).cloned()
    }

    fn token(&self, id: TokenId) -> Option<TokenRecord> {
        self.tokens.get(&id).map(|token| self.current(token))
    }

    fn find(&self, digest: &TokenDigest) -> Option<TokenRecord> {
        Snapshot::token(self, *self.ids.get(digest)?)
    }

    fn tokens(&self, query: &TokenQuery, now: Timestamp) -> Page<TokenRecord, TokenCursor> {
        let end = match query.after {
            Some(after) if after.order() == TokenOrder::Newest => Bound::Excluded(after.id()),
            _ => Bound::Unbounded,
        };
        let tokens = self.tokens.range((Bound::Unbounded, end)).rev();
        query.page(tokens.map(|(_, token)| self.current(token)), now)
    }

    fn tokens_of(&self, app: &AppId) -> Vec<TokenRecord> {
        let of_app = self.tokens.values().filter(|token| token.app.id == *app);
        of_app.map(|token| self.current(token)).collect()
    }

    fn expired_or_revoked(&self, before: Timestamp, limit: usize) -> Vec<TokenId> {
        let has_ended = |token: &&TokenRecord| {
            token
                .expired_or_revoked_at(before)
                .is_some_and(|at| at < before)
        };
        let ended = self.tokens.values().filter(has_ended);
        ended.take(limit).map(|token| token.id).collect()
    }

    fn events_before(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<AuditEventId>, StoreError> {
        Ok(self.events.removable(self.audit.values(), before, limit))
    }

    fn keys_before(&self, before: Timestamp, limit: usize) -> Result<Vec<[u8; 32]>, StoreError> {
        let old = self.keys.iter().filter(|(_, used)| used.used_at < before);
        Ok(old.take(limit).map(|(key, _)| *key).collect())
    }

    fn keys_since(&self, since: Timestamp) -> Result<usize, StoreError> {
        let recent = self.keys.values().filter(|used| used.used_at >= since);
        Ok(recent.count())
    }

    fn fleet_settings(&self) -> Result<FleetSettings, StoreError> {
        Ok(self.nodes.settings())
    }

    fn has_node(&self, id: NodeId) -> Result<bool, StoreError> {
        Ok(self.nodes.has(id))
    }

    fn key(&self, key: &[u8; 32]) -> Option<UsedKey> {
        self.keys.get(key).copied()
    }

    fn policy(&self) -> Policy {
        self.policy.clone()
    }

    fn has_event(&self, id: AuditEventId) -> bool {
        self.audit.contains_key(&id)
    }
}

fn already_exists() -> StoreError {
    StoreError::new(StoreErrorKind::AlreadyExists)
}

#[async_trait]
impl TokenStore for MemoryStore {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        Ok(self.read().answer(digest))
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Answer>, StoreError> {
        let state = self.read();
        Ok(digests.iter().map(|digest| state.answer(digest)).collect())
    }
}

#[async_trait]
impl TokenRegistry for MemoryStore {
    async fn apply(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        Ok(self.apply_with_revision(mutation).await?.applied)
    }

    async fn apply_with_revision(&self, mutation: &Mutation) -> Result<Committed, StoreError> {
        let committed = {
            let mut state = self.write();
            let plan = mutation.plan(&*state)?;
            for write in plan.writes {
                state.write(write);
            }
            Committed::new(plan.applied, state.log.latest())
        };
        self.changed.notify_waiters();
        Ok(committed)
    }

    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        Ok(Snapshot::app(&*self.read(), id))
    }

    async fn policy(&self) -> Result<Policy, StoreError> {
        Ok(self.read().policy.clone())
    }

    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError> {
        let state = self.read();
        let start = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        let apps = state.apps.range((start, Bound::Unbounded));
        Ok(query.page(apps.map(|(_, app)| app.clone())))
    }

    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        let token = Snapshot::token(&*self.read(), target.id);
        Ok(token.filter(|token| target.selects(token)))
    }

    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenCursor>, StoreError> {
        Ok(Snapshot::tokens(&*self.read(), query, now))
    }

    async fn expiring(
        &self,
        query: &ExpiringQuery,
    ) -> Result<Page<TokenRecord, ExpiringQuery>, StoreError> {
        let state = self.read();
        let tokens = state.tokens.values().filter(|token| query.selects(token));
        Ok(query.page(tokens.map(|token| state.current(token)).collect()))
    }

    async fn outdated(&self, query: &OutdatedQuery) -> Result<Outdated, StoreError> {
        Outdated::of_snapshot(&*self.read(), query)
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

#[async_trait]
impl NodeRegistry for MemoryStore {
    async fn report(&self, report: &NodeReport) -> Result<FleetState, StoreError> {
        let State { nodes, log, .. } = &mut *self.write();
        Ok(nodes.report(report.clone(), log, self.clock.precise_now()))
    }

    async fn nodes(&self, query: &NodeQuery) -> Result<NodePage, StoreError> {
        let state = self.read();
        Ok(state
            .nodes
            .list(query, &state.log, self.clock.precise_now()))
    }

    async fn remove_node(&self, id: NodeId) -> Result<bool, StoreError> {
        Ok(self.write().nodes.remove(id))
    }

    async fn fleet(&self) -> Result<FleetState, StoreError> {
        let state = self.read();
        Ok(state.nodes.state(&state.log))
    }
}

#[async_trait]
impl ChangeLog for MemoryStore {
    async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(self.read().log.latest())
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        Ok(self.read().log.since(since, limit))
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }

    async fn live(
        &self,
        after: Option<TokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<LivePage, StoreError> {
        let (query, state) = (TokenQuery::live(after, limit), self.read());
        let page = Snapshot::tokens(&*state, &query, now);
        Ok(LivePage::new(page, state.log.latest()))
    }
}

#[async_trait]
impl UsageLog for MemoryStore {
    async fn record_usage(&self, usages: &[Usage]) -> Result<(), StoreError> {
        let mut state = self.write();
        for usage in usages {
            if let Some(token) = state.tokens.get_mut(&usage.token) {
                usage.add_to(token);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl AuditLog for MemoryStore {
    async fn append(&self, event: &AuditEvent) -> Result<(), StoreError> {
        let mut state = self.write();
        if state.audit.contains_key(&event.id) {
            return Err(already_exists());
        }
        state.write(Write::AppendEvent(event.clone()));
        Ok(())
    }

    async fn events(
        &self,
        query: &AuditQuery,
    ) -> Result<Page<AuditEvent, AuditEventId>, StoreError> {
        let state = self.read();
        Ok(query.page(state.audit.values().rev().cloned()))
    }
}

#[async_trait]
impl EventLog for MemoryStore {
    async fn read_events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        self.read().events.read(query)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.read();
        f.debug_struct("MemoryStore")
            .field("apps", &state.apps.len())
            .field("tokens", &state.tokens.len())
            .finish()
    }
}
