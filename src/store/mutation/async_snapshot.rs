//! Plans changes for stores with asynchronous drivers.

use std::{cell::RefCell, collections::HashMap, hash::Hash};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    Mutation, Plan, UsedKey,
    snapshot::{State, active, current, unsupported},
};
use crate::{
    model::{
        app::{AppId, AppRecord},
        audit::AuditEventId,
        policy::Policy,
        record::TokenRecord,
    },
    store::{FleetSettings, NodeId, StoreError, StoreErrorKind, TokenTarget},
    token::TokenId,
};

/// The reads of [`Mutation::plan_async`], in the transaction that then executes the plan.
///
/// It is the part of a [`Snapshot`](super::Snapshot) that a store with an asynchronous driver provides.
///
/// # Uniqueness
///
/// The plan does not check whether what it inserts is new, or whether the app of an inserted token
/// exists. The constraints of your tables must reject such an insert, and the store then returns
/// [`AlreadyExists`](crate::StoreErrorKind::AlreadyExists) or
/// [`NotFound`](crate::StoreErrorKind::NotFound). Importing many tokens therefore costs no query per
/// token.
///
/// # Isolation
///
/// The state must not change between these reads and the writes of the plan. Lock it, or use a
/// transaction that is serialized with other changes.
#[async_trait]
pub trait AsyncSnapshot: Send {
    /// Reads an app.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn app(&mut self, id: &AppId) -> Result<Option<AppRecord>, StoreError>;

    /// Reads a token, with its app in its current state. If the target names another app than the
    /// token's, the token does not exist.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn token(&mut self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError>;

    /// Reads several tokens, like [`token`](Self::token). Returns an answer for each target, in the same order.
    ///
    /// The default implementation reads them one by one. Override it if the store can read many in one
    /// query.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn tokens(
        &mut self,
        targets: &[TokenTarget],
    ) -> Result<Vec<Option<TokenRecord>>, StoreError> {
        let mut tokens = Vec::with_capacity(targets.len());
        for target in targets {
            tokens.push(self.token(target).await?);
        }
        Ok(tokens)
    }

    /// Reads all tokens of an app that are not revoked. Omit rows that cannot be parsed, provided that
    /// no lookup returns them either.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn unrevoked_of(&mut self, app: &AppId) -> Result<Vec<TokenRecord>, StoreError>;

    /// Reads the identifiers of at most `limit` tokens that expired or were revoked before an instant.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn expired_or_revoked(
        &mut self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<TokenId>, StoreError>;

    /// Reads the identifiers of audit events that may be removed; see
    /// [`Snapshot::events_before`](super::Snapshot::events_before). The default implementation returns an
    /// error of the kind [`Unsupported`](crate::StoreErrorKind::Unsupported).
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails or does not remove events.
    async fn events_before(
        &mut self,
        _before: Timestamp,
        _limit: usize,
    ) -> Result<Vec<AuditEventId>, StoreError> {
        Err(unsupported())
    }

    /// Reads at most `limit` idempotency keys that were used before an instant. The default implementation
    /// returns an error of the kind [`Unsupported`](crate::StoreErrorKind::Unsupported).
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails or does not remove keys.
    async fn keys_before(
        &mut self,
        _before: Timestamp,
        _limit: usize,
    ) -> Result<Vec<[u8; 32]>, StoreError> {
        Err(unsupported())
    }

    /// Counts the idempotency keys that were used at an instant or later; see
    /// [`Snapshot::keys_since`](super::Snapshot::keys_since). The default implementation returns an error of the
    /// kind [`Unsupported`](crate::StoreErrorKind::Unsupported).
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails or does not count keys.
    async fn keys_since(&mut self, _since: Timestamp) -> Result<usize, StoreError> {
        Err(unsupported())
    }

    /// Reads the settings of the fleet. The default implementation returns an error of the kind
    /// [`Unsupported`](crate::StoreErrorKind::Unsupported), for a store without a [registry of
    /// nodes](crate::NodeRegistry).
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails or has no registry of nodes.
    async fn fleet_settings(&mut self) -> Result<FleetSettings, StoreError> {
        Err(unsupported())
    }

    /// Reads whether a node is registered. The default implementation returns an error of the kind
    /// [`Unsupported`](crate::StoreErrorKind::Unsupported), for a store without a [registry of
    /// nodes](crate::NodeRegistry).
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails or has no registry of nodes.
    async fn has_node(&mut self, _id: NodeId) -> Result<bool, StoreError> {
        Err(unsupported())
    }

    /// Reads the use of an idempotency key.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn key(&mut self, key: &[u8; 32]) -> Result<Option<UsedKey>, StoreError>;

    /// Reads the policy. The default implementation returns one without rules, for a store that keeps
    /// none.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn policy(&mut self) -> Result<Policy, StoreError> {
        Ok(Policy::default())
    }

    /// Counts the tokens of an app that have neither expired nor been revoked at an instant. The default
    /// implementation reads them.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn live_of(&mut self, app: &AppId, at: Timestamp) -> Result<usize, StoreError> {
        Ok(active(&self.unrevoked_of(app).await?, at).count())
    }

    /// Counts the tokens of [`live_of`](Self::live_of) that have no successor. The default
    /// implementation reads them.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn current_of(&mut self, app: &AppId, at: Timestamp) -> Result<usize, StoreError> {
        Ok(current(&self.unrevoked_of(app).await?, at).count())
    }

    /// Returns whether one of the tokens of [`current_of`](Self::current_of) has this name. The default
    /// implementation reads them.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn is_named(
        &mut self,
        app: &AppId,
        name: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let tokens = self.unrevoked_of(app).await?;
        Ok(current(&tokens, at).any(|token| token.name == name))
    }
}

impl Mutation {
    /// Computes what the change writes, like [`plan`](Self::plan), and reads what it depends on.
    ///
    /// Execute every [`Write`](super::Write) of the plan in the transaction that `state` reads in. Such a
    /// store supports every [`Op`](super::Op), including those of later versions.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`plan`](Self::plan), except those about
    /// [uniqueness](AsyncSnapshot#uniqueness), and the errors of `state`.
    pub async fn plan_async(
        &self,
        state: &mut (impl AsyncSnapshot + ?Sized),
    ) -> Result<Plan, StoreError> {
        let mut fetched = Fetched::default();
        loop {
            let plan = self.plan_against(&fetched);
            // A plan that needed something unread is wrong.
            if !fetched.read_missing(state).await? {
                return plan;
            }
        }
    }
}

/// The results of the reads so far.
#[derive(Default)]
struct Fetched {
    apps: Reads<AppId, Option<AppRecord>>,
    tokens: Reads<TokenTarget, Option<TokenRecord>>,
    unrevoked: Reads<AppId, Vec<TokenRecord>>,
    expired_or_revoked: Reads<(Timestamp, usize), Vec<TokenId>>,
    events_before: Reads<(Timestamp, usize), Vec<AuditEventId>>,
    keys_before: Reads<(Timestamp, usize), Vec<[u8; 32]>>,
    keys_since: Reads<Timestamp, usize>,
    fleet_settings: Reads<(), FleetSettings>,
    nodes: Reads<NodeId, bool>,
    keys: Reads<[u8; 32], Option<UsedKey>>,
    policy: Reads<(), Policy>,
    live: Reads<(AppId, Timestamp), usize>,
    current: Reads<(AppId, Timestamp), usize>,
    named: Reads<(AppId, String, Timestamp), bool>,
}

/// The results of one kind of read, and the reads that are still missing.
struct Reads<K, V> {
    done: HashMap<K, V>,
    missing: RefCell<Vec<K>>,
}

impl<K, V> Default for Reads<K, V> {
    fn default() -> Self {
        Self {
            done: HashMap::new(),
            missing: RefCell::default(),
        }
    }
}

impl<K: Clone + Eq + Hash, V: Clone + Default> Reads<K, V> {
    fn get(&self, key: K) -> V {
        self.done.get(&key).cloned().unwrap_or_else(|| {
            self.missing.borrow_mut().push(key);
            V::default()
        })
    }
}

impl Fetched {
    /// Performs the missing reads. Returns whether there were any.
    async fn read_missing(
        &mut self,
        state: &mut (impl AsyncSnapshot + ?Sized),
    ) -> Result<bool, StoreError> {
        // A macro, because the compiler cannot prove that the futures of asynchronous closures are `Send`.
        macro_rules! read {
            ($($reads:ident: $key:pat => $read:expr;)*) => {{
                let mut any = false;
                $(for key in self.$reads.missing.take() {
                    let $key = &key;
                    let value = $read.await?;
                    any |= self.$reads.done.insert(key, value).is_none();
                })*
                any
            }};
        }
        let targets = self.tokens.missing.take();
        let tokens = match targets.as_slice() {
            [] => Vec::new(),
            [target] => vec![state.token(target).await?],
            targets => state.tokens(targets).await?,
        };
        if tokens.len() != targets.len() {
            return Err(StoreError::with_source(
                StoreErrorKind::Corrupt,
                "the store did not answer for each token; check its `AsyncSnapshot::tokens`",
            ));
        }
        let any = !targets.is_empty();
        self.tokens.done.extend(targets.into_iter().zip(tokens));
        Ok(any
            | read! {
                apps: id => state.app(id);
                unrevoked: app => state.unrevoked_of(app);
                expired_or_revoked: (before, limit) => state.expired_or_revoked(*before, *limit);
                events_before: (before, limit) => state.events_before(*before, *limit);
                keys_before: (before, limit) => state.keys_before(*before, *limit);
                keys_since: since => state.keys_since(*since);
                fleet_settings: () => state.fleet_settings();
                nodes: id => state.has_node(*id);
                keys: key => state.key(key);
                policy: () => state.policy();
                live: (app, at) => state.live_of(app, *at);
                current: (app, at) => state.current_of(app, *at);
                named: (app, name, at) => state.is_named(app, name, *at);
            })
    }
}

impl State for Fetched {
    fn app(&self, id: &AppId) -> Option<AppRecord> {
        self.apps.get(*id)
    }

    fn token(&self, target: &TokenTarget) -> Option<TokenRecord> {
        self.tokens.get(*target)
    }

    fn unrevoked_of(&self, app: &AppId) -> Vec<TokenRecord> {
        self.unrevoked.get(*app)
    }

    fn expired_or_revoked(&self, before: Timestamp, limit: usize) -> Vec<TokenId> {
        self.expired_or_revoked.get((before, limit))
    }

    fn events_before(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<AuditEventId>, StoreError> {
        Ok(self.events_before.get((before, limit)))
    }

    fn keys_before(&self, before: Timestamp, limit: usize) -> Result<Vec<[u8; 32]>, StoreError> {
        Ok(self.keys_before.get((before, limit)))
    }

    fn keys_since(&self, since: Timestamp) -> Result<usize, StoreError> {
        Ok(self.keys_since.get(since))
    }

    fn fleet_settings(&self) -> Result<FleetSettings, StoreError> {
        Ok(self.fleet_settings.get(()))
    }

    fn has_node(&self, id: NodeId) -> Result<bool, StoreError> {
        Ok(self.nodes.get(id))
    }

    fn key(&self, key: &[u8; 32]) -> Option<UsedKey> {
        self.keys.get(*key)
    }

    fn policy(&self) -> Policy {
        self.policy.get(())
    }

    fn live_of(&self, app: &AppId, at: Timestamp) -> usize {
        self.live.get((*app, at))
    }

    fn current_of(&self, app: &AppId, at: Timestamp) -> usize {
        self.current.get((*app, at))
    }

    fn is_named(&self, app: &AppId, name: &str, at: Timestamp) -> bool {
        self.named.get((*app, name.to_owned(), at))
    }

    // The constraints of the tables check these.

    fn check_new_app(&self, _: &AppId) -> Result<(), StoreError> {
        Ok(())
    }

    fn check_new_tokens(&self, _: &[TokenRecord]) -> Result<(), StoreError> {
        Ok(())
    }

    fn check_new_event(&self, _: AuditEventId) -> Result<(), StoreError> {
        Ok(())
    }
}
