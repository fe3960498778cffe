//! Computes what a change writes, without I/O.

use jiff::Timestamp;

use super::{
    Applied, Mutation,
    op::Draft,
    snapshot::{Snapshot, State, UsedKey},
};
use crate::{
    model::{
        app::{AppId, AppRecord},
        audit::{AuditEvent, AuditEventId},
        policy::Policy,
        record::TokenRecord,
    },
    store::{BoundKey, Change, FleetSettings, NodeId, Repeated, StoreError, StoreErrorKind},
    time::truncate_to_microsecond,
    token::TokenId,
};

/// The writes of a change, and its result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// What to write, completely or not at all.
    pub writes: Vec<Write>,
    /// What [`TokenRegistry::apply`](crate::TokenRegistry::apply) returns.
    pub applied: Applied,
}

impl Plan {
    /// Truncates all times to microseconds, for a store with no higher precision. What it returns then
    /// equals what it reads later.
    #[must_use]
    pub fn truncated_to_microseconds(mut self) -> Self {
        for write in &mut self.writes {
            match write {
                Write::InsertApp(app) | Write::UpdateApp(app) => truncate_app(app),
                Write::InsertToken(token) | Write::UpdateToken(token) => truncate_token(token),
                Write::PutKey(used) => truncate(&mut used.used_at),
                Write::AppendEvent(event) => truncate(&mut event.at),
                Write::RemoveApp(_)
                | Write::RemoveToken(_)
                | Write::RemoveEvent(_)
                | Write::RemoveKey(_)
                | Write::PutPolicy(_)
                | Write::PutFleet(_)
                | Write::RemoveNode(_)
                | Write::Log(_)
                | Write::RestartLog => {}
            }
        }
        match &mut self.applied {
            Applied::App(app) => truncate_app(app),
            Applied::Token(token) => truncate_token(token),
            Applied::Rotated { rotated, successor } => {
                truncate_token(rotated);
                truncate_token(successor);
            }
            Applied::Tokens(tokens) => tokens.iter_mut().for_each(truncate_token),
            Applied::Count(_) => {}
        }
        self
    }
}

fn truncate(time: &mut Timestamp) {
    *time = truncate_to_microsecond(*time);
}

fn truncate_app(app: &mut AppRecord) {
    let AppRecord {
        created_at,
        disabled_at,
        ..
    } = app;
    truncate(created_at);
    disabled_at.iter_mut().for_each(truncate);
}

fn truncate_token(token: &mut TokenRecord) {
    truncate_app(&mut token.app);
    truncate(&mut token.created_at);
    let ends = [
        &mut token.expires_at,
        &mut token.revoked_at,
        &mut token.last_used_at,
    ];
    ends.into_iter().flatten().for_each(truncate);
}

/// One write of a change.
///
/// A store has to handle all variants, so the enum is exhaustive: a new variant is a breaking
/// change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Inserts an app.
    InsertApp(AppRecord),
    /// Updates the app with this identifier.
    UpdateApp(AppRecord),
    /// Removes an app, with the tokens that it still has.
    RemoveApp(AppId),
    /// Inserts a token.
    InsertToken(TokenRecord),
    /// Updates the token with this identifier.
    UpdateToken(TokenRecord),
    /// Removes a token.
    RemoveToken(TokenId),
    /// Stores an idempotency key, replacing an older use of it.
    PutKey(UsedKey),
    /// Replaces the policy.
    PutPolicy(Policy),
    /// Appends an audit event.
    AppendEvent(AuditEvent),
    /// Removes an audit event, also from the [event log](crate::EventLog).
    RemoveEvent(AuditEventId),
    /// Removes an idempotency key.
    RemoveKey([u8; 32]),
    /// Replaces the settings of the fleet.
    PutFleet(FleetSettings),
    /// Removes the record of a node.
    RemoveNode(NodeId),
    /// Appends to the change log.
    Log(Change),
    /// Restarts the change log, so that it does not continue from any earlier revision.
    RestartLog,
}

impl Mutation {
    /// Computes what the change writes, for a store that reads its state synchronously. Other stores
    /// use [`plan_async`](Self::plan_async), or a statement for each [`Op`](super::Op) with the same
    /// outcome.
    ///
    /// # Errors
    ///
    /// Returns the error that [`TokenRegistry::apply`](crate::TokenRegistry::apply) documents for
    /// the operation. Nothing must be written then.
    pub fn plan(&self, state: &impl Snapshot) -> Result<Plan, StoreError> {
        self.plan_against(state)
    }

    pub(super) fn plan_against(&self, state: &impl State) -> Result<Plan, StoreError> {
        let mut draft = Draft {
            at: self.at,
            state,
            policy: self.policy.as_ref(),
            writes: Vec::new(),
            changes: Vec::new(),
        };
        if let Some(key) = &self.key {
            draft.writes.push(Write::PutKey(self.use_key(*key, state)?));
        }
        let applied = self.op.plan(&mut draft)?;
        let Draft {
            mut writes,
            changes,
            ..
        } = draft;
        match (&self.audit, &applied) {
            (None, _) => {}
            (Some(_), Applied::Tokens(tokens)) => {
                for event in tokens.iter().filter_map(|token| self.event_of(token)) {
                    state.check_new_event(event.id)?;
                    writes.push(Write::AppendEvent(event));
                }
            }
            (Some(event), _) => {
                state.check_new_event(event.id)?;
                let mut event = event.clone();
                applied.complete(&mut event);
                if !self.op.inserts() {
                    event.changes = changes;
                }
                writes.push(Write::AppendEvent(event));
            }
        }
        Ok(Plan { writes, applied })
    }

    /// Returns the token that the mutation creates, which is stored with the idempotency key.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind [`Unsupported`](StoreErrorKind::Unsupported) if the mutation creates no
    /// token.
    pub fn created(&self) -> Result<TokenId, StoreError> {
        self.op.created().ok_or_else(|| {
            StoreError::with_source(
                StoreErrorKind::Unsupported,
                "only a change that creates a token takes an idempotency key",
            )
        })
    }

    fn use_key(&self, key: BoundKey, state: &impl State) -> Result<UsedKey, StoreError> {
        let token = self.created()?;
        match state.key(&key.key).filter(|used| used.is_valid_at(self.at)) {
            Some(used) => Err(Repeated::new(used.token, used.key.request == key.request).into()),
            None => {
                self.check_room(state)?;
                Ok(UsedKey {
                    key,
                    token,
                    used_at: self.at,
                })
            }
        }
    }

    /// Checks that the store may have another idempotency key.
    fn check_room(&self, state: &impl State) -> Result<(), StoreError> {
        let Some(most) = self.max_keys else {
            return Ok(());
        };
        let oldest = self.at.checked_sub(BoundKey::RETENTION);
        match state.keys_since(oldest.unwrap_or(Timestamp::MIN))? < most {
            true => Ok(()),
            false => Err(StoreError::new(StoreErrorKind::TooManyKeys)),
        }
    }
}
