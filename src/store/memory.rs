use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt,
    hash::BuildHasher,
    ops::Bound,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::{
    AppQuery, AuditLog, AuditQuery, Change, ChangeLog, Changes, IdempotencyKey, Page, Repeated,
    Revision, Rotation, StoreError, StoreErrorKind, TokenQuery, TokenRegistry, TokenStore,
    TokenTarget, Usage, UsageLog,
};
use crate::{
    app::{AppId, AppRecord},
    audit::{AuditEvent, AuditEventId},
    record::TokenRecord,
    token::{TokenDigest, TokenId},
};

/// A store in memory, for tests and for what may be lost when the process ends.
///
/// It keeps the whole contract of [`TokenRegistry`] but durability. Clones share one state.
///
/// ```
/// use tower_api_tokens::{ApiTokens, MemoryStore, TokenFormat};
///
/// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
/// # Ok::<(), tower_api_tokens::PrefixError>(())
/// ```
#[derive(Clone, Default)]
pub struct MemoryStore {
    state: Arc<RwLock<State>>,
    changed: Arc<Notify>,
}

/// How many changes the log holds.
const LOG_LEN: usize = 1 << 16;

/// Tokens hold the app's identifier alone in `app`; what else is there is filled in on reading.
struct State {
    apps: BTreeMap<AppId, AppRecord>,
    tokens: BTreeMap<TokenId, TokenRecord>,
    ids: HashMap<TokenDigest, TokenId>,
    /// The requests that have made a token.
    keys: HashMap<[u8; 32], UsedKey>,
    audit: BTreeMap<AuditEventId, AuditEvent>,
    /// The latest changes; the last of them has the number `revision.number`.
    log: VecDeque<Change>,
    revision: Revision,
}

struct UsedKey {
    request: [u8; 32],
    token: TokenId,
    used_at: Timestamp,
}

impl Default for State {
    fn default() -> Self {
        Self {
            apps: BTreeMap::new(),
            tokens: BTreeMap::new(),
            ids: HashMap::new(),
            keys: HashMap::new(),
            audit: BTreeMap::new(),
            log: VecDeque::new(),
            revision: Revision {
                number: 0,
                mark: std::collections::hash_map::RandomState::new().hash_one(0_u8),
            },
        }
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    // A change checks everything before it writes anything, so a poisoned lock guards a state that
    // is whole.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a change that followers are to heed.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let changed = change(&mut self.write());
        self.changed.notify_waiters();
        changed
    }
}

impl State {
    fn changed(&mut self, change: Change) {
        self.revision.number += 1;
        self.log.push_back(change);
        if self.log.len() > LOG_LEN {
            self.log.pop_front();
        }
    }

    fn change_app(
        &mut self,
        id: &AppId,
        change: impl FnOnce(AppRecord) -> AppRecord,
    ) -> Result<AppRecord, StoreError> {
        let app = self.apps.get_mut(id).ok_or_else(not_found)?;
        *app = change(app.clone());
        let changed = app.clone();
        self.changed(Change::App(*id));
        Ok(changed)
    }

    fn replace(&mut self, token: &TokenRecord) {
        self.tokens.insert(token.id, token.clone());
        self.changed(Change::Token(token.digest));
    }

    /// The token with its app as it is now.
    fn current(&self, token: &TokenRecord) -> TokenRecord {
        let mut token = token.clone();
        if let Some(app) = self.apps.get(&token.app.id) {
            token.app = app.clone();
        }
        token
    }

    fn target(&self, target: &TokenTarget) -> Option<TokenRecord> {
        let token = self.tokens.get(&target.id)?;
        target.selects(token).then(|| self.current(token))
    }

    fn check_vacant(&self, token: &TokenRecord) -> Result<(), StoreError> {
        if !self.apps.contains_key(&token.app.id) {
            return Err(not_found());
        }
        if self.tokens.contains_key(&token.id) || self.ids.contains_key(&token.digest) {
            return Err(already_exists());
        }
        Ok(())
    }

    /// Whether a key may be used; the keys of yesterday are forgotten.
    fn check_key(&mut self, key: &IdempotencyKey, now: Timestamp) -> Result<(), StoreError> {
        let oldest = now.checked_sub(IdempotencyKey::RETENTION);
        let oldest = oldest.unwrap_or(Timestamp::MIN);
        self.keys.retain(|_, used| used.used_at >= oldest);
        match self.keys.get(&key.key) {
            None => Ok(()),
            Some(used) => Err(Repeated::new(used.token, used.request == key.request).into()),
        }
    }

    fn use_key(&mut self, key: &IdempotencyKey, token: TokenId, used_at: Timestamp) {
        let used = UsedKey {
            request: key.request,
            token,
            used_at,
        };
        self.keys.insert(key.key, used);
    }

    fn insert(&mut self, token: TokenRecord) {
        self.changed(Change::Token(token.digest));
        self.ids.insert(token.digest, token.id);
        self.tokens.insert(token.id, token);
    }
}

fn not_found() -> StoreError {
    StoreError::new(StoreErrorKind::NotFound)
}

fn already_exists() -> StoreError {
    StoreError::new(StoreErrorKind::AlreadyExists)
}

#[async_trait]
impl TokenStore for MemoryStore {
    async fn find(&self, digest: &TokenDigest) -> Result<Option<TokenRecord>, StoreError> {
        let state = self.read();
        let token = state.ids.get(digest).and_then(|id| state.tokens.get(id));
        Ok(token.map(|token| state.current(token)))
    }
}

#[async_trait]
impl TokenRegistry for MemoryStore {
    async fn insert_app(&self, app: &AppRecord) -> Result<(), StoreError> {
        let mut state = self.write();
        if state.apps.contains_key(&app.id) {
            return Err(already_exists());
        }
        state.apps.insert(app.id, app.clone());
        Ok(())
    }

    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        Ok(self.read().apps.get(id).cloned())
    }

    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError> {
        let state = self.read();
        let start = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        let limit = query.limit.get();
        let items = state
            .apps
            .range((start, Bound::Unbounded))
            .map(|(_, app)| app)
            .filter(|app| query.selects(app))
            .take(limit + 1)
            .cloned()
            .collect();
        Ok(Page::from_surplus(items, limit, |app: &AppRecord| app.id))
    }

    async fn disable_app(&self, id: &AppId, at: Timestamp) -> Result<AppRecord, StoreError> {
        self.change(|state| state.change_app(id, |app| app.disable(at)))
    }

    async fn enable_app(&self, id: &AppId) -> Result<AppRecord, StoreError> {
        self.change(|state| state.change_app(id, AppRecord::enable))
    }

    async fn insert(&self, token: &TokenRecord) -> Result<(), StoreError> {
        self.insert_all(std::slice::from_ref(token)).await
    }

    async fn insert_once(
        &self,
        token: &TokenRecord,
        key: &IdempotencyKey,
    ) -> Result<(), StoreError> {
        self.change(|state| {
            state.check_key(key, token.created_at)?;
            state.check_vacant(token)?;
            state.use_key(key, token.id, token.created_at);
            state.insert(token.clone());
            Ok(())
        })
    }

    async fn insert_all(&self, tokens: &[TokenRecord]) -> Result<(), StoreError> {
        self.change(|state| {
            let mut ids = HashSet::new();
            let mut digests = HashSet::new();
            for token in tokens {
                state.check_vacant(token)?;
                if !ids.insert(token.id) || !digests.insert(token.digest) {
                    return Err(already_exists());
                }
            }
            for token in tokens {
                state.insert(token.clone());
            }
            Ok(())
        })
    }

    async fn rename(&self, target: &TokenTarget, name: &str) -> Result<TokenRecord, StoreError> {
        self.change(|state| {
            let mut renamed = state.target(target).ok_or_else(not_found)?;
            name.clone_into(&mut renamed.name);
            state.replace(&renamed);
            Ok(renamed)
        })
    }

    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        Ok(self.read().target(target))
    }

    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenId>, StoreError> {
        let state = self.read();
        let end = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        let limit = query.limit.get();
        let items = state
            .tokens
            .range((Bound::Unbounded, end))
            .rev()
            .map(|(_, token)| state.current(token))
            .filter(|token| query.selects(token, now))
            .take(limit + 1)
            .collect();
        Ok(Page::from_surplus(items, limit, |token: &TokenRecord| {
            token.id
        }))
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<TokenRecord, StoreError> {
        self.change(|state| {
            if let Some(key) = &rotation.key {
                state.check_key(key, rotation.at)?;
            }
            let token = state.target(&rotation.target).ok_or_else(not_found)?;
            let successor = &rotation.successor;
            let rotated = token.rotate(successor.id, rotation.at, rotation.overlap_ends)?;
            state.check_vacant(successor)?;
            if let Some(key) = &rotation.key {
                state.use_key(key, successor.id, rotation.at);
            }
            state.insert(successor.clone());
            state.replace(&rotated);
            Ok(rotated)
        })
    }

    async fn revoke(&self, target: &TokenTarget, at: Timestamp) -> Result<TokenRecord, StoreError> {
        self.change(|state| {
            let revoked = state.target(target).ok_or_else(not_found)?.revoke(at);
            state.replace(&revoked);
            Ok(revoked)
        })
    }

    async fn purge(&self, ended_before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut state = self.write();
        let ended: Vec<_> = state
            .tokens
            .values()
            .filter(|token| {
                token
                    .ended_at(ended_before)
                    .is_some_and(|at| at < ended_before)
            })
            .take(limit)
            .map(|token| (token.id, token.digest))
            .collect();
        for (id, digest) in &ended {
            state.tokens.remove(id);
            state.ids.remove(digest);
        }
        Ok(ended.len())
    }
}

#[async_trait]
impl ChangeLog for MemoryStore {
    async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(self.read().revision)
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        let state = self.read();
        let latest = state.revision.number;
        let behind = latest
            .checked_sub(since.number)
            .and_then(|behind| usize::try_from(behind).ok())
            .filter(|behind| since.mark == state.revision.mark && *behind <= state.log.len());
        let Some(behind) = behind else {
            return Ok(Changes::Gap);
        };
        let first = state.log.len() - behind;
        let changes: Vec<_> = state.log.range(first..).take(limit).copied().collect();
        let number = since.number + changes.len() as u64;
        Ok(Changes::Since {
            changes,
            revision: Revision { number, ..since },
            latest,
        })
    }

    async fn changed(&self) {
        self.changed.notified().await;
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
impl UsageLog for MemoryStore {
    async fn record_usage(&self, usages: &[Usage]) -> Result<(), StoreError> {
        let mut state = self.write();
        for usage in usages {
            if let Some(token) = state.tokens.get_mut(&usage.token) {
                token.last_used_at = token.last_used_at.max(Some(usage.last_used_at));
                token.uses = token.uses.saturating_add(usage.uses);
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
        state.audit.insert(event.id, event.clone());
        Ok(())
    }

    async fn events(
        &self,
        query: &AuditQuery,
    ) -> Result<Page<AuditEvent, AuditEventId>, StoreError> {
        let state = self.read();
        let limit = query.limit.get();
        let selected = state
            .audit
            .values()
            .rev()
            .filter(|event| query.selects(event));
        let items = selected.take(limit + 1).cloned().collect();
        Ok(Page::from_surplus(items, limit, |event: &AuditEvent| {
            event.id
        }))
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
