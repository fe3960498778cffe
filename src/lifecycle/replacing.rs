//! Rotates a token in one call of the store if the format of its successor is known beforehand.

use jiff::Timestamp;

use super::{ApiTokens, IssuedToken, LifecycleError, LifecycleErrorKind, change::Subject};
use crate::{
    model::{
        app::{AppId, AppRecord},
        audit::AuditAction,
        record::TokenRecord,
        version::RecordVersion,
    },
    store::{BoundKey, Inheritance, Op, TokenTarget, run_to_end},
    token::{TokenFormat, TokenId},
};

/// How often to read a token that others change at the same time.
const ATTEMPTS: usize = 5;

/// A rotation that was requested.
pub(super) struct Replacing<'t> {
    pub(super) tokens: &'t ApiTokens,
    pub(super) target: TokenTarget,
    pub(super) now: Timestamp,
    pub(super) overlap_ends: Timestamp,
    pub(super) key: Option<BoundKey>,
    /// The version that the token must have.
    pub(super) expected: Option<RecordVersion>,
}

impl Replacing<'_> {
    pub(super) async fn run(&self) -> Result<IssuedToken, LifecycleError> {
        let formats = self.tokens.formats();
        if let Some(format) = formats.only()
            && self.expected.is_none()
        {
            match self.replace(format, None).await {
                Err(error) if error.kind() == LifecycleErrorKind::Stale => {}
                replaced => return replaced,
            }
        }
        let mut attempts = 1;
        loop {
            let old = self.tokens.get_target(&self.target).await?;
            let format = formats.of_successor(&old.mask)?;
            match self.replace(format, Some(&old)).await {
                Err(error)
                    if error.kind() == LifecycleErrorKind::Stale
                        && self.expected.is_none()
                        && attempts < ATTEMPTS =>
                {
                    attempts += 1;
                }
                replaced => return replaced,
            }
        }
    }

    /// Replaces the token by one of this format. If it was read, it must have the expected version, or else not have
    /// changed since.
    async fn replace(
        &self,
        format: &TokenFormat,
        old: Option<&TokenRecord>,
    ) -> Result<IssuedToken, LifecycleError> {
        let shared = &self.tokens.shared;
        let token = format.generate(&*shared.entropy)?;
        let mask = format.mask(&token);
        let authority = &self.tokens.authority;
        let mut inheritance = Inheritance::new(authority.what_is_grantable().clone());
        if let Some(old) = old {
            shared
                .formats
                .check_parts(&old.app.id, &old.scopes, &mask)?;
            inheritance = inheritance.version(self.expected.unwrap_or(old.version()));
        }
        let app = self.target.app.unwrap_or_else(AppId::unread);
        let (id, digest) = (
            TokenId::generate(self.now, &*shared.entropy)?,
            token.digest(),
        );
        let mut successor =
            TokenRecord::new(id, digest, mask, AppRecord::unread(app), "", self.now);
        successor.created_by = authority.actor_shown();
        let op = Op::RotateToken {
            target: self.target,
            successor,
            overlap_ends: self.overlap_ends,
            inheritance: Some(inheritance),
        };
        let subject = Subject::new(AuditAction::RotateToken).target(&self.target);
        let mut rotation = self.tokens.mutation(op, self.now, subject)?;
        rotation.key = self.key;
        let (tokens, old) = (self.tokens.clone(), self.target.id);
        run_to_end(async move {
            let rotated = tokens.apply_about_token(&rotation, old).await;
            if rotated.is_err() {
                tokens.authenticator().apply_token_change(&digest);
            }
            let rotated = rotated.map_err(LifecycleError::about_token)?;
            let (_, successor) = rotated.into_rotation()?;
            Ok(IssuedToken::new(token, successor))
        })
        .await
    }
}
