use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use tower_api_tokens::{
    AppId, AppQuery, AppRecord, AuditEvent, AuditEventId, AuditQuery, ChangeHistory, EventHistory,
    Page, Policy, Snapshot, StoreError, Tables, TokenCursor, TokenDigest, TokenId, TokenQuery,
    TokenRecord, Transactional, UsedKey, Write,
};

/// Maps under one lock. A database has its transactions here.
#[derive(Debug, Default)]
struct Maps(Mutex<Rows>);

#[derive(Debug, Default)]
struct Rows {
    apps: BTreeMap<AppId, AppRecord>,
    tokens: BTreeMap<TokenId, TokenRecord>,
    keys: BTreeMap<[u8; 32], UsedKey>,
    events: BTreeMap<AuditEventId, AuditEvent>,
    event_history: EventHistory,
    policy: Policy,
    history: ChangeHistory,
}

impl Transactional for Maps {
    type Tables = Rows;

    fn transaction<T>(
        &self,
        run: impl FnOnce(&mut Rows) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        run(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Snapshot for Rows {
    fn app(&self, id: &AppId) -> Option<AppRecord> {
        self.apps.get(id).cloned()
    }

    fn token(&self, id: TokenId) -> Option<TokenRecord> {
        let mut token = self.tokens.get(&id)?.clone();
        // A token shows its app as it is now.
        token.app = self.app(&token.app.id)?;
        Some(token)
    }

    fn find(&self, digest: &TokenDigest) -> Option<TokenRecord> {
        let found = self.tokens.values().find(|token| token.digest == *digest);
        self.token(found?.id)
    }

    fn tokens(&self, query: &TokenQuery, now: Timestamp) -> Page<TokenRecord, TokenCursor> {
        let newest_first = self.tokens.keys().rev();
        query.page(newest_first.filter_map(|id| self.token(*id)), now)
    }

    fn key(&self, key: &[u8; 32]) -> Option<UsedKey> {
        self.keys.get(key).copied()
    }

    fn policy(&self) -> Policy {
        self.policy.clone()
    }

    fn has_event(&self, id: AuditEventId) -> bool {
        self.events.contains_key(&id)
    }

    fn events_before(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<AuditEventId>, StoreError> {
        let all = self.events.values();
        Ok(self.event_history.removable(all, before, limit))
    }

    fn keys_before(&self, before: Timestamp, limit: usize) -> Result<Vec<[u8; 32]>, StoreError> {
        let old = self.keys.iter().filter(|(_, used)| used.used_at < before);
        Ok(old.take(limit).map(|(key, _)| *key).collect())
    }

    fn keys_since(&self, since: Timestamp) -> Result<usize, StoreError> {
        Ok(self.keys.values().filter(|k| k.used_at >= since).count())
    }
}

impl Tables for Rows {
    fn apps(&self, query: &AppQuery) -> Page<AppRecord, AppId> {
        query.page(self.apps.values().cloned())
    }

    fn events(&self, query: &AuditQuery) -> Page<AuditEvent, AuditEventId> {
        query.page(self.events.values().rev().cloned())
    }

    fn history(&self) -> &ChangeHistory {
        &self.history
    }

    fn event_history(&self) -> &EventHistory {
        &self.event_history
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::InsertApp(app) | Write::UpdateApp(app) => drop(self.apps.insert(app.id, app)),
            Write::InsertToken(token) | Write::UpdateToken(token) => {
                self.tokens.insert(token.id, token);
            }
            Write::RemoveToken(id) => drop(self.tokens.remove(&id)),
            Write::RemoveApp(app) => {
                self.tokens.retain(|_, token| token.app.id != app);
                self.apps.remove(&app);
            }
            Write::PutPolicy(policy) => self.policy = policy,
            Write::PutKey(used) => {
                self.keys.retain(|_, other| other.is_valid_at(used.used_at));
                self.keys.insert(used.key.key, used);
            }
            Write::AppendEvent(event) => {
                self.event_history.push(&event);
                self.events.insert(event.id, event);
            }
            Write::RemoveEvent(id) => {
                self.event_history.remove(id);
                self.events.remove(&id);
            }
            Write::RemoveKey(key) => drop(self.keys.remove(&key)),
            // Not planned for a store that knows no nodes.
            Write::PutFleet(_) | Write::RemoveNode(_) => {}
            Write::Log(change) => self.history.push(change),
            Write::RestartLog => self.history.restart(),
        }
    }
}
