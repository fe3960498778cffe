//! The operations of a registry, and what each writes.

use jiff::Timestamp;

use super::{
    Applied,
    plan::Write,
    snapshot::{State, not_found},
};
use crate::{
    model::{
        app::{AppId, AppRecord},
        grantable::Grantable,
        record::TokenRecord,
    },
    store::{Change, StoreError, TokenTarget},
    token::TokenId,
};

/// The operation of a [`Mutation`](super::Mutation).
#[expect(
    clippy::large_enum_variant,
    reason = "a mutation is made for one call of a store, and not kept in numbers"
)]
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
        /// passes [`Grantable::check`].
        grantable: Grantable,
    },
    /// Inserts tokens. Only the identifier of a token's app is used; the app must exist.
    InsertTokens(Vec<TokenRecord>),
    /// Renames a token, whatever its status.
    RenameToken {
        /// The token.
        target: TokenTarget,
        /// The new name.
        name: String,
    },
    /// Inserts the successor of a token, and changes the token as [`TokenRecord::rotate`] does.
    RotateToken {
        /// The token to rotate.
        target: TokenTarget,
        /// The token that replaces it.
        successor: TokenRecord,
        /// When the rotated token expires, unless its own expiry is earlier.
        overlap_ends: Timestamp,
    },
    /// Revokes a token, as [`TokenRecord::revoke`] does. Revoking a revoked token succeeds, and is
    /// recorded in the change log again.
    RevokeToken(TokenTarget),
    /// Removes tokens that [expired or were revoked](TokenRecord::expired_or_revoked_at) before an
    /// instant.
    Purge {
        /// The instant.
        before: Timestamp,
        /// The maximum number of tokens to remove.
        limit: usize,
    },
    /// Restarts the change log, so that every follower clears its cache.
    ClearCaches,
}

impl Op {
    /// Computes what the operation writes, and its result.
    pub(super) fn plan(
        &self,
        at: Timestamp,
        state: &impl State,
        writes: &mut Vec<Write>,
    ) -> Result<Applied, StoreError> {
        Ok(match self {
            Self::CreateApp(app) => {
                state.check_new_app(&app.id)?;
                writes.push(Write::InsertApp(app.clone()));
                Applied::App(app.clone())
            }
            Self::DisableApp(id) => {
                let app = state.app(id).ok_or_else(not_found)?.disable(at);
                writes.extend([Write::UpdateApp(app.clone()), Write::Log(Change::App(*id))]);
                Applied::App(app)
            }
            Self::EnableApp { app: id, grantable } => {
                let app = state.app(id).ok_or_else(not_found)?.enable();
                if !grantable.is_everything() {
                    grantable.check_reactivated(state.unrevoked_of(id), at)?;
                }
                writes.extend([Write::UpdateApp(app.clone()), Write::Log(Change::App(*id))]);
                Applied::App(app)
            }
            Self::InsertTokens(tokens) => {
                state.check_new_tokens(tokens)?;
                for token in tokens {
                    writes.push(Write::InsertToken(token.clone()));
                    writes.push(Write::Log(Change::Token(token.digest)));
                }
                Applied::Count(tokens.len())
            }
            Self::RenameToken { target, name } => {
                let mut token = find(target, state)?;
                name.clone_into(&mut token.name);
                change(token, writes)
            }
            Self::RotateToken {
                target,
                successor,
                overlap_ends,
            } => {
                let token = find(target, state)?;
                token.check_successor(successor)?;
                let rotated = token.rotate(successor.id, at, *overlap_ends)?;
                state.check_new_tokens(std::slice::from_ref(successor))?;
                writes.push(Write::InsertToken(successor.clone()));
                writes.push(Write::Log(Change::Token(successor.digest)));
                change(rotated, writes)
            }
            Self::RevokeToken(target) => change(find(target, state)?.revoke(at), writes),
            Self::Purge { before, limit } => {
                let removed = state.expired_or_revoked(*before, *limit);
                let count = removed.len();
                writes.extend(removed.into_iter().map(Write::RemoveToken));
                Applied::Count(count)
            }
            Self::ClearCaches => {
                writes.push(Write::RestartLog);
                Applied::Count(0)
            }
        })
    }

    /// Returns the first token that the operation creates.
    pub(super) fn created(&self) -> Option<TokenId> {
        match self {
            Self::InsertTokens(tokens) => tokens.first().map(|token| token.id),
            Self::RotateToken { successor, .. } => Some(successor.id),
            _ => None,
        }
    }
}

fn find(target: &TokenTarget, state: &impl State) -> Result<TokenRecord, StoreError> {
    state.token(target).ok_or_else(not_found)
}

fn change(token: TokenRecord, writes: &mut Vec<Write>) -> Applied {
    writes.push(Write::UpdateToken(token.clone()));
    writes.push(Write::Log(Change::Token(token.digest)));
    Applied::Token(token)
}
