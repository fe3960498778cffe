//! The operations of a registry, and what each writes.

use std::collections::HashSet;

use jiff::Timestamp;

use super::{
    Applied,
    inheritance::Inheritance,
    plan::Write,
    policing::Policing,
    snapshot::{State, not_found},
};
use crate::{
    model::{
        app::{AppId, AppRecord},
        audit::AuditChange,
        edit::{AppEdit, TokenEdit, app_changes, policy_changes, token_changes},
        grantable::Grantable,
        policy::Policy,
        record::{TokenRecord, TransitionError},
        version::RecordVersion,
    },
    store::{
        AppInUse, Change, FleetSettings, NodeId, StoreError, StoreErrorKind, TokenQuery,
        TokenTarget,
    },
    time::truncate_to_microsecond,
    token::TokenId,
};

/// The operation of a [`Mutation`](super::Mutation).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// Inserts an app.
    CreateApp(AppRecord),
    /// Disables an app, as [`AppRecord::disable`] does.
    DisableApp(AppId),
    /// Enables an app, as [`AppRecord::enable`] does.
    EnableApp {
        /// The app.
        app: AppId,
        /// What the actor may grant. The app is only enabled if every token that becomes live
        /// passes [`Grantable::check_token`].
        grantable: Grantable,
    },
    /// Edits an app, as [`AppEdit::apply`] does.
    EditApp {
        /// The app.
        app: AppId,
        /// The version that the app must have; `None` means any.
        version: Option<RecordVersion>,
        /// What to change.
        edit: AppEdit,
    },
    /// Removes an app and its tokens, all of which must have expired or be revoked.
    DeleteApp(AppId),
    /// Inserts tokens. Only the identifier of a token's app is used; the app must exist.
    InsertTokens(Vec<TokenRecord>),
    /// Inserts a token of an app that is not disabled. The result is [`Applied::Token`]: the token, with its
    /// app in its current state.
    IssueToken {
        /// The token. Only the identifier of its app is used.
        token: TokenRecord,
        /// Whether the token gets the [default expiry](Policy::default_expiry) of the policy instead of its
        /// own.
        expires_by_default: bool,
        /// What the actor may grant, for [`Grantable::check_token`].
        grantable: Grantable,
    },
    /// Renames a token, whatever its status.
    RenameToken {
        /// The token.
        target: TokenTarget,
        /// The new name.
        name: String,
    },
    /// Edits a token, as [`TokenEdit::apply`] does.
    EditToken {
        /// The token.
        target: TokenTarget,
        /// The version that the token must have; `None` means any.
        version: Option<RecordVersion>,
        /// What to change.
        edit: TokenEdit,
        /// What the actor may grant, for [`Grantable::check_edit`].
        grantable: Grantable,
    },
    /// Suspends a token, as [`TokenRecord::suspend`] does.
    SuspendToken(TokenTarget),
    /// Resumes a token, as [`TokenRecord::resume`] does.
    ResumeToken {
        /// The token.
        target: TokenTarget,
        /// What the actor may grant. The token is only resumed if it passes
        /// [`Grantable::check_token`].
        grantable: Grantable,
    },
    /// Inserts the successor of a token, and changes the token as [`TokenRecord::rotate`] does. The result is
    /// [`Applied::Token`], the rotated token, or [`Applied::Rotated`] if the successor inherits.
    RotateToken {
        /// The token to rotate.
        target: TokenTarget,
        /// The token that replaces it.
        successor: TokenRecord,
        /// When the rotated token expires, unless its own expiry is earlier.
        overlap_ends: Timestamp,
        /// What the successor takes from the rotated token; `None` means that the successor is complete.
        inheritance: Option<Inheritance>,
    },
    /// Revokes a token, as [`TokenRecord::revoke`] does. Revoking a revoked token succeeds, and is
    /// recorded in the change log again.
    RevokeToken(TokenTarget),
    /// Revokes those of these tokens that the query still selects and that have neither expired nor been
    /// revoked. The others are left out. The result is [`Applied::Tokens`].
    ///
    /// Instead of the audit event of the mutation, [one event per revoked
    /// token](super::Mutation::event_of) is recorded.
    RevokeTokens {
        /// The tokens.
        tokens: Vec<TokenId>,
        /// The conditions that they must still meet. Its position and its limit do not apply.
        query: TokenQuery,
    },
    /// Removes tokens that [expired or were revoked](TokenRecord::expired_or_revoked_at) before an
    /// instant.
    Purge {
        /// The instant.
        before: Timestamp,
        /// The maximum number of tokens to remove.
        limit: usize,
    },
    /// Removes the oldest audit events, as [`Snapshot::events_before`](super::Snapshot::events_before)
    /// returns them.
    TrimEvents {
        /// Only events before this instant.
        before: Timestamp,
        /// The maximum number of events to remove.
        limit: usize,
    },
    /// Removes idempotency keys, as [`Snapshot::keys_before`](super::Snapshot::keys_before) returns them.
    TrimKeys {
        /// Only keys that were used before this instant.
        before: Timestamp,
        /// The maximum number of keys to remove.
        limit: usize,
    },
    /// Sets the policy.
    SetPolicy {
        /// The version that the policy must have; `None` means any.
        version: Option<RecordVersion>,
        /// The new policy.
        policy: Policy,
    },
    /// Restarts the change log, so that every follower clears its cache.
    ClearCaches,
    /// Sets what holds for all nodes of the fleet.
    SetFleet(FleetSettings),
    /// Removes the record of a node. A node that still runs registers itself again.
    RemoveNode(NodeId),
}

/// What a plan collects in addition to its result.
pub(super) struct Draft<'a, S> {
    pub(super) at: Timestamp,
    pub(super) state: &'a S,
    /// The policy of the process, besides that of the store.
    pub(super) policy: Option<&'a Policy>,
    pub(super) writes: Vec<Write>,
    /// What the operation changes, for the audit event.
    pub(super) changes: Vec<AuditChange>,
}

impl Op {
    /// Computes what the operation writes, and its result.
    pub(super) fn plan<S: State>(&self, draft: &mut Draft<'_, S>) -> Result<Applied, StoreError> {
        let (at, state) = (draft.at, draft.state);
        Ok(match self {
            Self::CreateApp(app) => {
                state.check_new_app(&app.id)?;
                draft.writes.push(Write::InsertApp(app.clone()));
                Applied::App(app.clone())
            }
            Self::EditApp { app, version, edit } => {
                let app = find_app(app, state)?;
                check_version(*version, app.version())?;
                let edited = edit.apply(app.clone())?;
                draft.changes = app_changes(&app, &edited);
                draft.update_app(edited)
            }
            Self::DeleteApp(id) => {
                let app = find_app(id, state)?;
                let live = state.live_of(id, at);
                if live > 0 {
                    return Err(AppInUse::new(live).into());
                }
                draft.writes.push(Write::RemoveApp(*id));
                draft.writes.push(Write::Log(Change::App(*id)));
                Applied::App(app)
            }
            Self::DisableApp(id) => {
                let app = find_app(id, state)?.disable(at);
                draft.update_app(app)
            }
            Self::EnableApp { app: id, grantable } => {
                let app = find_app(id, state)?.enable();
                if !grantable.is_everything() {
                    grantable.check_reactivated(state.unrevoked_of(id), at)?;
                }
                draft.update_app(app)
            }
            Self::InsertTokens(tokens) => {
                draft.policing().check_new(tokens)?;
                state.check_new_tokens(tokens)?;
                for token in tokens {
                    draft.insert_token(token.clone());
                }
                Applied::Count(tokens.len())
            }
            Self::IssueToken {
                token,
                expires_by_default,
                grantable,
            } => {
                let token = draft.complete(token, *expires_by_default)?;
                grantable.check_token(&token)?;
                let new = std::slice::from_ref(&token);
                draft.policing().check_new(new)?;
                state.check_new_tokens(new)?;
                draft.insert_token(token.clone());
                Applied::Token(token)
            }
            Self::RenameToken { target, name } => {
                let token = find(target, state)?;
                let edit = TokenEdit::default().name(name);
                draft.edit(&token, &edit, &Grantable::everything())?
            }
            Self::EditToken {
                target,
                version,
                edit,
                grantable,
            } => {
                let token = find(target, state)?;
                check_version(*version, token.version())?;
                draft.edit(&token, edit, grantable)?
            }
            Self::SuspendToken(target) => draft.update_token(find(target, state)?.suspend(at)?),
            Self::ResumeToken { target, grantable } => {
                let token = find(target, state)?;
                if token.suspended_at().is_some() {
                    grantable.check_token(&token)?;
                }
                draft.update_token(token.resume()?)
            }
            Self::RotateToken {
                target,
                successor,
                overlap_ends,
                inheritance,
            } => {
                let token = find(target, state)?;
                let policing = draft.policing();
                let inherits = |of: &Inheritance| of.complete(successor, &token, policing.policy());
                let inherited = inheritance.as_ref().map(inherits).transpose()?;
                let successor = inherited.as_ref().unwrap_or(successor);
                token.check_successor(successor)?;
                let rotated = token.clone().rotate(successor.id, at, *overlap_ends)?;
                policing.check_successor(successor)?;
                state.check_new_tokens(std::slice::from_ref(successor))?;
                draft.changes = token_changes(&token, &rotated);
                let new = Some(successor.id.to_string());
                draft.changes.push(AuditChange::new("successor", None, new));
                draft.insert_token(successor.clone());
                let applied = draft.update_token(rotated.clone());
                match inherited {
                    Some(successor) => Applied::Rotated { rotated, successor },
                    None => applied,
                }
            }
            Self::RevokeToken(target) => draft.update_token(find(target, state)?.revoke(at)),
            Self::Purge { before, limit } => {
                let removed = state.expired_or_revoked(*before, *limit);
                let count = removed.len();
                draft
                    .writes
                    .extend(removed.into_iter().map(Write::RemoveToken));
                Applied::Count(count)
            }
            Self::RevokeTokens { tokens, query } => {
                let query = query.clone().after(None);
                let (mut seen, mut revoked) = (HashSet::new(), Vec::new());
                for id in tokens.iter().filter(|id| seen.insert(**id)) {
                    let token = state.token(&TokenTarget::any(*id));
                    let is_selected = |token: &TokenRecord| {
                        token.check_active(at).is_ok() && query.selects(token, at)
                    };
                    if let Some(token) = token.filter(is_selected) {
                        let token = token.revoke(at);
                        draft.update_token(token.clone());
                        revoked.push(token);
                    }
                }
                Applied::Tokens(revoked)
            }
            Self::TrimEvents { before, limit } => {
                let trimmed = state.events_before(*before, *limit)?;
                let count = trimmed.len();
                let writes = trimmed.into_iter().map(Write::RemoveEvent);
                draft.writes.extend(writes);
                Applied::Count(count)
            }
            Self::TrimKeys { before, limit } => {
                let trimmed = state.keys_before(*before, *limit)?;
                let count = trimmed.len();
                draft
                    .writes
                    .extend(trimmed.into_iter().map(Write::RemoveKey));
                Applied::Count(count)
            }
            Self::SetPolicy { version, policy } => {
                let current = state.policy();
                check_version(*version, current.version())?;
                draft.changes = policy_changes(&current, policy);
                draft.writes.push(Write::PutPolicy(policy.clone()));
                Applied::Count(0)
            }
            Self::ClearCaches => {
                draft.writes.push(Write::RestartLog);
                Applied::Count(0)
            }
            Self::SetFleet(settings) => {
                draft.changes = state.fleet_settings()?.changes_to(settings);
                draft.writes.push(Write::PutFleet(*settings));
                Applied::Count(0)
            }
            Self::RemoveNode(id) => {
                if !state.has_node(*id)? {
                    return Err(not_found());
                }
                draft.writes.push(Write::RemoveNode(*id));
                Applied::Count(1)
            }
        })
    }

    /// Returns whether the operation inserts something and changes nothing else.
    pub(super) fn inserts(&self) -> bool {
        matches!(
            self,
            Self::CreateApp(_) | Self::InsertTokens(_) | Self::IssueToken { .. }
        )
    }

    /// Returns the first token that the operation creates.
    pub(super) fn created(&self) -> Option<TokenId> {
        match self {
            Self::InsertTokens(tokens) => tokens.first().map(|token| token.id),
            Self::IssueToken { token, .. } => Some(token.id),
            Self::RotateToken { successor, .. } => Some(successor.id),
            _ => None,
        }
    }
}

impl<S: State> Draft<'_, S> {
    fn policing(&self) -> Policing<'_, S> {
        Policing::new(self.state, self.policy, self.at)
    }

    /// Returns a token to issue, with its app, and with the default expiry if it has none of its own.
    fn complete(
        &self,
        token: &TokenRecord,
        expires_by_default: bool,
    ) -> Result<TokenRecord, StoreError> {
        let mut token = token.clone();
        token.app = find_app(&token.app.id, self.state)?;
        if token.app.disabled_at.is_some() {
            return Err(TransitionError::AppDisabled.into());
        }
        if expires_by_default {
            let expiry = self.policing().policy().default_expiry(token.created_at);
            token.expires_at = expiry.map(truncate_to_microsecond);
        }
        Ok(token)
    }

    fn edit(
        &mut self,
        token: &TokenRecord,
        edit: &TokenEdit,
        grantable: &Grantable,
    ) -> Result<Applied, StoreError> {
        let edited = edit.apply(token.clone(), self.at)?;
        grantable.check_edit(token, &edited)?;
        self.policing().check_edit(token, &edited)?;
        self.changes = token_changes(token, &edited);
        Ok(self.update_token(edited))
    }

    fn insert_token(&mut self, token: TokenRecord) {
        let log = Write::Log(Change::Token(token.digest));
        self.writes.extend([Write::InsertToken(token), log]);
    }

    fn update_token(&mut self, token: TokenRecord) -> Applied {
        self.writes.push(Write::UpdateToken(token.clone()));
        self.writes.push(Write::Log(Change::Token(token.digest)));
        Applied::Token(token)
    }

    fn update_app(&mut self, app: AppRecord) -> Applied {
        self.writes.push(Write::UpdateApp(app.clone()));
        self.writes.push(Write::Log(Change::App(app.id)));
        Applied::App(app)
    }
}

fn find(target: &TokenTarget, state: &impl State) -> Result<TokenRecord, StoreError> {
    state.token(target).ok_or_else(not_found)
}

fn find_app(id: &AppId, state: &impl State) -> Result<AppRecord, StoreError> {
    state.app(id).ok_or_else(not_found)
}

fn check_version(
    expected: Option<RecordVersion>,
    current: RecordVersion,
) -> Result<(), StoreError> {
    match expected {
        Some(expected) if expected != current => Err(StoreError::new(StoreErrorKind::Stale)),
        _ => Ok(()),
    }
}
