//! Interns what tokens of one app have in common: their app, scopes, format, restrictions and
//! metadata.

use std::{
    collections::{HashMap, VecDeque, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use compact_str::CompactString;

use super::{grant::Grant, labels::Labels};
use crate::model::{app::AppId, record::TokenRecord};

const SHARDS: usize = 64;

/// How many app evictions are tracked. A lookup that began before the oldest of them is treated as
/// outdated.
const MAX_EVICTED: usize = 1024;

/// Grants by app, so that a change of an app reaches all of its tokens.
#[derive(Debug)]
pub(super) struct Grants {
    shards: Box<[Mutex<HashMap<AppId, AppGrants>>]>,
    hasher: RandomState,
    labels: Labels,
    evicted: Mutex<Evicted>,
}

/// The grants of one app, all with the same state of the app.
#[derive(Debug)]
struct AppGrants {
    name: CompactString,
    disabled: bool,
    /// By fingerprint.
    shared: HashMap<u64, Weak<Grant>>,
    /// The number of grants above which unused ones are dropped.
    sweep_at: usize,
}

#[derive(Debug, Default)]
struct Evicted {
    recent: VecDeque<(u64, AppId)>,
    /// The generation of the latest eviction that is no longer in `recent`.
    dropped: u64,
}

impl AppGrants {
    fn of(token: &TokenRecord) -> Self {
        Self {
            name: CompactString::new(&token.app.name),
            disabled: token.app.disabled_at.is_some(),
            shared: HashMap::new(),
            sweep_at: 16,
        }
    }

    fn matches(&self, token: &TokenRecord) -> bool {
        self.name == token.app.name && self.disabled == token.app.disabled_at.is_some()
    }

    fn evict(&mut self) {
        for (_, grant) in self.shared.drain() {
            if let Some(grant) = grant.upgrade() {
                grant.evict();
            }
        }
    }

    /// Adds a grant. Another one with the same fingerprint is evicted, because a change of the app
    /// could no longer reach it.
    fn insert(&mut self, fingerprint: u64, grant: &Arc<Grant>) {
        if self.shared.len() >= self.sweep_at {
            self.sweep();
        }
        let before = self.shared.insert(fingerprint, Arc::downgrade(grant));
        if let Some(before) = before.as_ref().and_then(Weak::upgrade) {
            before.evict();
        }
    }

    fn sweep(&mut self) {
        self.shared.retain(|_, grant| grant.strong_count() > 0);
        self.sweep_at = (2 * self.shared.len()).max(16);
    }
}

impl Default for Grants {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            labels: Labels::default(),
            evicted: Mutex::default(),
        }
    }
}

impl Grants {
    /// Creates an empty set for tokens of these formats.
    pub(super) fn new(labels: Labels) -> Self {
        Self {
            labels,
            ..Self::default()
        }
    }

    /// Returns a grant that the token shares with no other.
    pub(super) fn single(&self, token: &TokenRecord) -> Arc<Grant> {
        Arc::new(Grant::of(token, self.labels.of(&token.mask)))
    }

    fn shard(&self, app: &AppId) -> MutexGuard<'_, HashMap<AppId, AppGrants>> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the low bits choose the shard"
        )]
        let shard = self.hasher.hash_one(app) as usize % SHARDS;
        lock(&self.shards[shard])
    }

    /// Returns the grant that the token shares with others of its app.
    pub(super) fn intern(&self, token: &TokenRecord) -> Arc<Grant> {
        let mut shard = self.shard(&token.app.id);
        let app_grants = shard
            .entry(token.app.id)
            .or_insert_with(|| AppGrants::of(token));
        if !app_grants.matches(token) {
            // The app has changed since its other tokens were read.
            app_grants.evict();
            *app_grants = AppGrants::of(token);
        }
        let format = self.labels.of(&token.mask);
        let fingerprint = Grant::fingerprint(token, format, &self.hasher);
        let shared = app_grants.shared.get(&fingerprint).and_then(Weak::upgrade);
        if let Some(grant) = shared.filter(|grant| grant.fits(token, format)) {
            return grant;
        }
        let grant = Arc::new(Grant::of(token, format));
        app_grants.insert(fingerprint, &grant);
        grant
    }

    /// Evicts all tokens of an app. Anything read about it before `generation` is outdated.
    pub(super) fn evict(&self, app: &AppId, generation: u64) {
        let mut evicted = lock(&self.evicted);
        if evicted.recent.len() == MAX_EVICTED
            && let Some((dropped, _)) = evicted.recent.pop_front()
        {
            evicted.dropped = dropped;
        }
        evicted.recent.push_back((generation, *app));
        drop(evicted);
        if let Some(mut app_grants) = self.shard(app).remove(app) {
            app_grants.evict();
        }
    }

    /// Whether an app was evicted after a generation.
    pub(super) fn evicted_since(&self, app: &AppId, generation: u64) -> bool {
        let evicted = lock(&self.evicted);
        generation < evicted.dropped
            || evicted
                .recent
                .iter()
                .rev()
                .take_while(|(evicted_at, _)| *evicted_at > generation)
                .any(|(_, evicted)| evicted == app)
    }

    /// Drops grants that no token uses any more.
    pub(super) fn sweep(&self) {
        for shard in &self.shards {
            lock(shard).retain(|_, app_grants| {
                app_grants.sweep();
                !app_grants.shared.is_empty()
            });
        }
    }

    pub(super) fn clear(&self) {
        for shard in &self.shards {
            lock(shard).clear();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{AppRecord, MaskedToken, Metadata, TokenDigest, TokenFormat, TokenId};

    fn token(app: &str, scopes: &str) -> TokenRecord {
        let app = AppRecord::new(AppId::new(app).unwrap(), "App", Timestamp::UNIX_EPOCH);
        let mut token = TokenRecord::new(
            TokenId::from_bytes([7; 16]),
            TokenDigest::of(b"token"),
            MaskedToken::new("acme_", "x7Kq").unwrap(),
            app,
            "ci",
            Timestamp::UNIX_EPOCH,
        );
        token.scopes = scopes.parse().unwrap();
        token
    }

    #[test]
    fn tokens_of_one_app_with_the_same_scopes_share_a_grant_until_the_app_changes() {
        let grants = Grants::default();
        let first = grants.intern(&token("app", "read write"));
        assert!(Arc::ptr_eq(
            &first,
            &grants.intern(&token("app", "write read"))
        ));
        let other = grants.intern(&token("app", "read"));
        assert!(!Arc::ptr_eq(&first, &other));
        let mut disabled = token("app", "read");
        disabled.app.disabled_at = Some(Timestamp::UNIX_EPOCH);
        let _disabled = grants.intern(&disabled);
        assert!(first.is_evicted() && other.is_evicted());
    }

    #[test]
    fn tokens_with_other_restrictions_or_metadata_do_not_share_a_grant() {
        let grants = Grants::default();
        let plain = token("app", "read");
        let mut restricted = plain.clone();
        restricted.restrictions = Some("{}".parse().unwrap());
        let mut described = plain.clone();
        described.metadata = Metadata::new([("plan", "pro")]).unwrap();
        let tokens = [plain, restricted, described];
        let held: Vec<_> = tokens.iter().map(|token| grants.intern(token)).collect();
        for (token, grant) in tokens.iter().zip(&held) {
            assert!(Arc::ptr_eq(grant, &grants.intern(token)));
            assert_eq!(
                tokens
                    .iter()
                    .filter(|token| grant.fits(token, None))
                    .count(),
                1
            );
        }
    }

    #[test]
    fn tokens_of_other_formats_do_not_share_a_grant() {
        let formats = ["acme", "acme_live"].map(|prefix| TokenFormat::new(prefix).unwrap());
        let grants = Grants::new(Labels::new(&formats));
        let held = ["acme_", "acme_live_", "acme_live_eu_"].map(|head| {
            let mut token = token("app", "read");
            token.mask = MaskedToken::new(head, "x7Kq").unwrap();
            grants.intern(&token)
        });
        let formats = held.each_ref().map(|grant| grant.format());
        assert_eq!(formats, [Some("acme"), Some("acme_live"), None]);
    }

    #[test]
    fn a_change_of_the_app_reaches_grants_with_the_same_fingerprint() {
        let mut app_grants = AppGrants::of(&token("app", ""));
        let [first, second] = ["read", "write"].map(|scopes| {
            let grant = Arc::new(Grant::of(&token("app", scopes), None));
            app_grants.insert(7, &grant);
            grant
        });
        assert!(first.is_evicted() && !second.is_evicted());
        app_grants.evict();
        assert!(second.is_evicted());
    }

    #[test]
    fn interning_does_not_slow_down_with_the_number_of_scope_sets() {
        let grants = Grants::default();
        let sets: Vec<_> = (0..20_000)
            .map(|n| token("app", &format!("scope{n}")))
            .collect();
        let held: Vec<_> = sets.iter().map(|token| grants.intern(token)).collect();
        // A linear search would need 200 million comparisons here.
        assert!(
            sets.iter()
                .zip(&held)
                .all(|(token, grant)| Arc::ptr_eq(grant, &grants.intern(token)))
        );
        drop(held);
        grants.sweep();
        assert!(grants.shard(&sets[0].app.id).is_empty());
    }

    #[test]
    fn an_eviction_applies_to_what_was_read_before_it() {
        let grants = Grants::default();
        let app = |n: u64| AppId::new(&format!("app{n}")).unwrap();
        grants.evict(&app(1), 1);
        assert!(grants.evicted_since(&app(1), 0));
        assert!(!grants.evicted_since(&app(1), 1));
        assert!(!grants.evicted_since(&app(2), 0));
        for generation in 2..2000 {
            grants.evict(&app(generation), generation);
        }
        assert!(grants.evicted_since(&app(2), 0), "too long ago to know");
        assert!(!grants.evicted_since(&app(1), 1999));
    }
}
