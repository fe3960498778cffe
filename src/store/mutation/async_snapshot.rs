//! Planning against tables that are read asynchronously.

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

/// What [`Mutation::plan_async`] reads, within the transaction that then executes the plan: the part of a
/// [`Snapshot`](super::Snapshot) that a database with an asynchronous driver has to provide.
///
/// # Uniqueness
///
/// Whether what a plan inserts is new, and whether the app of an inserted token exists, is not read: the
/// constraints of the tables have to refuse such an insert, and the store returns
/// [`AlreadyExists`](crate::StoreErrorKind::AlreadyExists) or [`NotFound`](crate::StoreErrorKind::NotFound)
/// then. An import of many tokens so costs no query for each.
///
/// # Isolation
///
/// What was read must not change before the plan is executed: lock it, or use a transaction that is
/// serialized with other changes.
#[async_trait]
pub trait AsyncSnapshot: Send {
    /// Reads an app.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn app(&mut self, id: &AppId) -> Result<Option<AppRecord>, StoreError>;

    /// Reads a token, with its app as it is now. A token of another app than the target names does not
    /// exist.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn token(&mut self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError>;

    /// Reads every token of an app that is not revoked. Leave out rows that cannot be read if no lookup
    /// returns them either.
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

    /// Reads what was created under an idempotency key.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn key(&mut self, key: &[u8; 32]) -> Result<Option<UsedKey>, StoreError>;
}

impl Mutation {
    /// Works out what the change writes, as [`plan`](Self::plan) does, and reads what that depends on as it
    /// goes.
    ///
    /// Execute [every write](super::Write) of the plan in the transaction that `state` reads in. A store that
    /// does has every [`Op`](super::Op), those of later versions too.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`plan`](Self::plan) but those of
    /// [uniqueness](AsyncSnapshot#uniqueness), and those of `state`.
    pub async fn plan_async(
        &self,
        state: &mut (impl AsyncSnapshot + ?Sized),
    ) -> Result<Plan, StoreError> {
        let mut known = Known::default();
        loop {
            let plan = self.work_out(&known);
            // A plan that looked at what was not read yet is wrong.
            if !known.read_missing(state).await? {
                return plan;
            }
        }
    }
}

/// What has been read so far.
#[derive(Default)]
struct Known {
    apps: Answers<AppId, Option<AppRecord>>,
    tokens: Answers<TokenTarget, Option<TokenRecord>>,
    unrevoked: Answers<AppId, Vec<TokenRecord>>,
    expired_or_revoked: Answers<(Timestamp, usize), Vec<TokenId>>,
    keys: Answers<[u8; 32], Option<UsedKey>>,
}

/// The answers of one kind, and the questions without one.
struct Answers<Q, A> {
    known: HashMap<Q, A>,
    missing: RefCell<Vec<Q>>,
}

impl<Q, A> Default for Answers<Q, A> {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            missing: RefCell::default(),
        }
    }
}

impl<Q: Copy + Eq + Hash, A: Clone + Default> Answers<Q, A> {
    fn get(&self, question: Q) -> A {
        self.known.get(&question).cloned().unwrap_or_else(|| {
            self.missing.borrow_mut().push(question);
            A::default()
        })
    }
}

impl Known {
    /// Reads what a plan has looked at in vain. Returns whether there was anything.
    async fn read_missing(
        &mut self,
        state: &mut (impl AsyncSnapshot + ?Sized),
    ) -> Result<bool, StoreError> {
        let mut any = false;
        for id in self.apps.missing.take() {
            let app = state.app(&id).await?;
            any |= self.apps.known.insert(id, app).is_none();
        }
        for target in self.tokens.missing.take() {
            let token = state.token(&target).await?;
            any |= self.tokens.known.insert(target, token).is_none();
        }
        for app in self.unrevoked.missing.take() {
            let tokens = state.unrevoked_of(&app).await?;
            any |= self.unrevoked.known.insert(app, tokens).is_none();
        }
        for (before, limit) in self.expired_or_revoked.missing.take() {
            let ended = state.expired_or_revoked(before, limit).await?;
            any |= self
                .expired_or_revoked
                .known
                .insert((before, limit), ended)
                .is_none();
        }
        for key in self.keys.missing.take() {
            let used = state.key(&key).await?;
            any |= self.keys.known.insert(key, used).is_none();
        }
        Ok(any)
    }
}

impl State for Known {
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
