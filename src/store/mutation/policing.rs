//! Enforces the policy. Every operation that issues or edits tokens checks it here.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::snapshot::State;
use crate::model::{
    app::AppId,
    edit::is_later,
    policy::{Policy, PolicyError},
    record::TokenRecord,
};

/// The policy of the store and of the process, in the state that a change is planned against.
pub(super) struct Policing<'a, S> {
    policy: Policy,
    state: &'a S,
    at: Timestamp,
}

impl<'a, S: State> Policing<'a, S> {
    pub(super) fn new(state: &'a S, of_process: Option<&Policy>, at: Timestamp) -> Self {
        let policy = state.policy();
        let policy = match of_process {
            Some(of_process) => policy.and(of_process),
            None => policy,
        };
        Self { policy, state, at }
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(super) fn check_new(&self, tokens: &[TokenRecord]) -> Result<(), PolicyError> {
        if self.policy.is_empty() {
            return Ok(());
        }
        let mut added: HashMap<AppId, (usize, HashSet<&str>)> = HashMap::new();
        for token in tokens {
            // An imported token that has expired or was revoked gives no access.
            if token.check_active(self.at).is_err() {
                continue;
            }
            self.policy.check_expiry(token)?;
            self.policy.check_scopes(token)?;
            if token.successor.is_some() {
                continue;
            }
            let (count, names) = added.entry(token.app.id).or_default();
            *count += 1;
            if !names.insert(&token.name) && self.policy.unique_names {
                return Err(PolicyError::Name);
            }
            self.check_name(token)?;
        }
        let Some(most) = self.policy.max_live_tokens else {
            return Ok(());
        };
        for (app, (count, _)) in added {
            let live = self.state.current_of(&app, self.at);
            if live.saturating_add(count) > usize::try_from(most).unwrap_or(usize::MAX) {
                return Err(PolicyError::LiveTokens(most));
            }
        }
        Ok(())
    }

    /// Checks the successor of a token, which no longer counts itself.
    pub(super) fn check_successor(&self, successor: &TokenRecord) -> Result<(), PolicyError> {
        self.policy.check_expiry(successor)?;
        self.policy.check_scopes(successor)
    }

    /// Checks what an edit changes. Existing violations may remain.
    pub(super) fn check_edit(
        &self,
        old: &TokenRecord,
        new: &TokenRecord,
    ) -> Result<(), PolicyError> {
        if is_later(new.expires_at, old.expires_at) {
            self.policy.check_expiry(new)?;
        }
        if !old.scopes.contains_all(&new.scopes) {
            self.policy.check_scopes(new)?;
        }
        match old.name != new.name && self.counts(new) {
            true => self.check_name(new),
            false => Ok(()),
        }
    }

    fn check_name(&self, token: &TokenRecord) -> Result<(), PolicyError> {
        match self.policy.unique_names && self.state.is_named(&token.app.id, &token.name, self.at) {
            true => Err(PolicyError::Name),
            false => Ok(()),
        }
    }

    fn counts(&self, token: &TokenRecord) -> bool {
        token.check_active(self.at).is_ok() && token.successor.is_none()
    }
}
