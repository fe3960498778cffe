//! Plans changes for stores with asynchronous drivers.

use std::{cell::RefCell, collections::HashMap, hash::Hash};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Mutation, Plan, UsedKey, snapshot::State};
use crate::{
    model::{
        app::{AppId, AppRecord},
        audit::AuditEventId,
        record::TokenRecord,
    },
    store::{StoreError, TokenTarget},
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

    /// Reads the use of an idempotency key.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn key(&mut self, key: &[u8; 32]) -> Result<Option<UsedKey>, StoreError>;
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
    keys: Reads<[u8; 32], Option<UsedKey>>,
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

impl<K: Copy + Eq + Hash, V: Clone + Default> Reads<K, V> {
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
        Ok(read! {
            apps: id => state.app(id);
            tokens: target => state.token(target);
            unrevoked: app => state.unrevoked_of(app);
            expired_or_revoked: (before, limit) => state.expired_or_revoked(*before, *limit);
            keys: key => state.key(key);
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

    fn key(&self, key: &[u8; 32]) -> Option<UsedKey> {
        self.keys.get(*key)
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
