//! The apps of the cached tokens, and what tokens of one app have in common.
//!
//! Each app has one current state, which most of its cached tokens show. A change of the app makes that state unknown
//! and evicts all grants, so that no token of the app is served from the cache. The first answer of the store that
//! includes the change shows the new state. The other entries of the app are then *revived*: each gets a grant with its
//! own terms and the new state of the app, without a lookup. A revived entry is used for no longer than both the entry
//! and the answer could be.

use std::{
    collections::{HashMap, VecDeque, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::Notify;

use super::{
    grant::{AppState, Grant, Terms},
    labels::Labels,
    positions::{COVERED, Freshness},
    weight::Weights,
};
use crate::{
    model::{
        app::{AppId, AppRecord},
        record::TokenRecord,
    },
    token::TokenDigest,
};

const SHARDS: usize = 64;

/// How many app evictions are tracked. A lookup that began before the oldest of them is treated as
/// outdated.
const MAX_EVICTED: usize = 1024;

/// How often an app is looked up in the background after a change. After that, the next request
/// with one of its tokens does it.
const ATTEMPTS: u32 = 3;

/// The apps by identifier, so that a change of an app reaches all of its tokens.
#[derive(Debug)]
pub(super) struct Grants {
    shards: Box<[Mutex<HashMap<AppId, App>>]>,
    hasher: RandomState,
    labels: Labels,
    /// What the grants and apps take, as far as they have metadata or restrictions.
    pub(super) weights: Weights,
    evicted: Mutex<Evicted>,
    /// Apps whose state is to be looked up in the background, and how often that was tried.
    unknown: Mutex<HashMap<AppId, u32>>,
    /// Notified when an app is added to `unknown`.
    pub(super) work: Notify,
}

/// An app and the grants of its tokens.
#[derive(Debug)]
struct App {
    /// `None` after a change, until an answer has shown the new state.
    current: Option<Current>,
    /// All grants of the app by fingerprint, whichever state of the app they show.
    grants: HashMap<u64, Weak<Grant>>,
    /// The number of grants above which unused ones are dropped.
    sweep_at: usize,
    /// The token whose answer has shown the app last.
    sample: TokenDigest,
}

/// The state of an app, and how long the answer that showed it may be used.
#[derive(Clone, Debug)]
pub(super) struct Current {
    state: Arc<AppState>,
    pub(super) freshness: Freshness,
}

#[derive(Debug, Default)]
struct Evicted {
    recent: VecDeque<(u64, AppId)>,
    /// The generation of the latest eviction that is no longer in `recent`.
    dropped: u64,
}

impl Current {
    fn is_covered(&self) -> bool {
        self.freshness.coverage == COVERED
    }

    /// Combines what several answers with the same state allow.
    fn extend(&mut self, freshness: Freshness) {
        let before = self.freshness;
        self.freshness.until = before.until.max(freshness.until);
        if before.coverage != COVERED {
            self.freshness.coverage = freshness.coverage;
        }
    }

    /// Whether an answer that shows another state replaces this one. The state of an answer that
    /// may be older does not.
    fn is_replaced_by(&self, freshness: Freshness) -> bool {
        freshness.coverage == COVERED
            || !self.is_covered() && self.freshness.until <= freshness.until
    }
}

impl App {
    fn new(sample: TokenDigest) -> Self {
        Self {
            current: None,
            grants: HashMap::new(),
            sweep_at: 16,
            sample,
        }
    }

    /// Returns the state that an answer shows, and whether it is the current one.
    fn show(
        &mut self,
        shown: &AppRecord,
        freshness: Freshness,
        weights: &Weights,
    ) -> (Arc<AppState>, bool) {
        match &mut self.current {
            Some(current) if current.state.is_that_of(shown) => {
                if !freshness.is_behind {
                    current.extend(freshness);
                }
                (Arc::clone(&current.state), true)
            }
            current => {
                let state = Arc::new(AppState::of(shown, weights));
                let current = current.as_ref();
                let is_current = !freshness.is_behind
                    && current.is_none_or(|current| current.is_replaced_by(freshness));
                if is_current {
                    self.evict();
                    self.current = Some(Current {
                        state: Arc::clone(&state),
                        freshness,
                    });
                }
                (state, is_current)
            }
        }
    }

    fn evict(&mut self) {
        self.current = None;
        for (_, grant) in self.grants.drain() {
            if let Some(grant) = grant.upgrade() {
                grant.evict();
            }
        }
    }

    /// Returns the grant with these terms and a state of the app.
    fn grant(
        &mut self,
        fingerprint: u64,
        state: &Arc<AppState>,
        terms: &Terms,
        weights: &Weights,
    ) -> Arc<Grant> {
        let shared = self.grants.get(&fingerprint).and_then(Weak::upgrade);
        let is_same = |grant: &Arc<Grant>| grant.app().is_like(state) && grant.terms() == terms;
        match shared {
            Some(grant) if is_same(&grant) => grant,
            other => {
                // A change of the app could no longer reach it.
                if let Some(other) = other {
                    other.evict();
                }
                if self.grants.len() >= self.sweep_at {
                    self.sweep();
                }
                let grant = Arc::new(Grant::new(state, terms.clone(), weights));
                self.grants.insert(fingerprint, Arc::downgrade(&grant));
                grant
            }
        }
    }

    fn sweep(&mut self) {
        self.grants.retain(|_, grant| grant.strong_count() > 0);
        self.sweep_at = (2 * self.grants.len()).max(16);
    }
}

impl Default for Grants {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            labels: Labels::default(),
            weights: Weights::default(),
            evicted: Mutex::default(),
            unknown: Mutex::default(),
            work: Notify::new(),
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

    fn shard(&self, app: &AppId) -> MutexGuard<'_, HashMap<AppId, App>> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the low bits choose the shard"
        )]
        let shard = self.hasher.hash_one(app) as usize % SHARDS;
        lock(&self.shards[shard])
    }

    fn fingerprint(&self, terms: &Terms, is_current: bool) -> u64 {
        self.hasher.hash_one((terms, is_current))
    }

    /// Returns the grant that the token shares with others of its app. `freshness` is that of the
    /// answer that showed the token.
    pub(super) fn intern(&self, token: &TokenRecord, freshness: Freshness) -> Arc<Grant> {
        let terms = Terms::of(token, self.labels.of(&token.mask));
        self.share(&token.app, &terms, token.digest, freshness)
    }

    /// Returns the grant of a snapshot that tokens of an app share. `sample` is the digest of one of them.
    pub(super) fn restore(
        &self,
        app: &AppRecord,
        terms: &Terms,
        sample: TokenDigest,
    ) -> Arc<Grant> {
        let freshness = Freshness {
            until: 0,
            coverage: COVERED,
            is_behind: false,
        };
        self.share(app, terms, sample, freshness)
    }

    fn share(
        &self,
        shown: &AppRecord,
        terms: &Terms,
        sample: TokenDigest,
        freshness: Freshness,
    ) -> Arc<Grant> {
        let mut shard = self.shard(&shown.id);
        let app = shard.entry(shown.id);
        let app = app.or_insert_with(|| App::new(sample));
        app.sample = sample;
        let (state, is_current) = app.show(shown, freshness, &self.weights);
        let fingerprint = self.fingerprint(terms, is_current);
        app.grant(fingerprint, &state, terms, &self.weights)
    }

    pub(super) fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Returns the grant with the terms of an evicted one and the current state of its app, and how
    /// long that state may be used. Returns `None` while the state is unknown.
    pub(super) fn revive(&self, evicted: &Grant) -> Option<(Arc<Grant>, Freshness)> {
        let mut shard = self.shard(&evicted.app_id);
        let app = shard.get_mut(&evicted.app_id)?;
        let Current { state, freshness } = app.current.clone()?;
        if !state.is_same_app(evicted.app()) {
            return None;
        }
        let fingerprint = self.fingerprint(evicted.terms(), true);
        let grant = app.grant(fingerprint, &state, evicted.terms(), &self.weights);
        Some((grant, freshness))
    }

    /// Marks the state that a grant shows as covered by the lease, if it is the current one.
    pub(super) fn cover(&self, grant: &Grant) {
        if let Some(app) = self.shard(&grant.app_id).get_mut(&grant.app_id)
            && let Some(current) = &mut app.current
            && Arc::ptr_eq(&current.state, grant.app())
        {
            current.freshness.coverage = COVERED;
        }
    }

    /// Drops the state that a grant shows, because it belongs to another history, unless another
    /// answer has shown it too.
    pub(super) fn refute(&self, grant: &Grant) {
        if let Some(app) = self.shard(&grant.app_id).get_mut(&grant.app_id)
            && let Some(current) = &app.current
            && Arc::ptr_eq(&current.state, grant.app())
            && !current.is_covered()
        {
            app.evict();
        }
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
        let mut shard = self.shard(app);
        if let Some(cached) = shard.get_mut(app) {
            cached.evict();
            drop(shard);
            lock(&self.unknown).insert(*app, 0);
            self.work.notify_one();
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

    /// Returns a token of each app whose state is to be looked up.
    pub(super) fn samples(&self) -> Vec<TokenDigest> {
        let sample = |app: &AppId| {
            let shard = self.shard(app);
            let app = shard.get(app).filter(|app| app.current.is_none())?;
            Some(app.sample)
        };
        let mut samples = Vec::new();
        lock(&self.unknown).retain(|app, attempts| {
            *attempts += 1;
            let sample = sample(app).filter(|_| *attempts <= ATTEMPTS);
            samples.extend(sample);
            sample.is_some()
        });
        samples
    }

    /// Keeps only the apps whose state is still to be looked up.
    pub(super) fn drop_known(&self) {
        lock(&self.unknown).retain(|app, _| {
            let shard = self.shard(app);
            shard.get(app).is_some_and(|app| app.current.is_none())
        });
    }

    /// Whether the state of some app is to be looked up.
    pub(super) fn has_unknown(&self) -> bool {
        !lock(&self.unknown).is_empty()
    }

    /// Drops grants that no token uses any more, and apps without any.
    pub(super) fn sweep(&self) {
        for shard in &self.shards {
            lock(shard).retain(|_, app| {
                app.sweep();
                !app.grants.is_empty()
            });
        }
    }

    pub(super) fn clear(&self) {
        lock(&self.unknown).clear();
        for shard in &self.shards {
            lock(shard).clear();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
