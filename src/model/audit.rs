//! What was done to apps and tokens, by whom, and with what outcome.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use thiserror::Error;
use uuid::Uuid;

use crate::{
    entropy::{Entropy, EntropyError},
    model::app::AppId,
    text::serde_text,
    token::TokenId,
    uuid_v7::uuid_v7,
    words::{UnknownVariantError, words},
};

/// The identifier of an audit event: a UUID of version 7, so that events sort by their time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuditEventId(Uuid);

impl AuditEventId {
    /// The identifier with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The identifier's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Makes a new identifier.
    ///
    /// # Errors
    ///
    /// When `entropy` fails.
    pub fn generate(now: Timestamp, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        uuid_v7(now, entropy).map(Self)
    }
}

impl fmt::Display for AuditEventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for AuditEventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditEventId({})", self.0)
    }
}

impl FromStr for AuditEventId {
    type Err = AuditEventIdError;

    fn from_str(text: &str) -> Result<Self, AuditEventIdError> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| AuditEventIdError)
    }
}

serde_text!(AuditEventId, "audit event id");

/// The text is not an audit event's identifier.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not an audit event id: give a UUID, like `0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77`")]
#[non_exhaustive]
pub struct AuditEventIdError;

/// One thing that was done, or was tried and refused. It holds nothing of a token but its public
/// handle.
///
/// With feature `serde` it is serialized with the fields below, by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct AuditEvent {
    /// The event's identifier.
    pub id: AuditEventId,
    /// When it was done.
    pub at: Timestamp,
    /// Who did it, as the guard or the command line knows them; at most
    /// [`MAX_ACTOR_LEN`](Self::MAX_ACTOR_LEN) bytes.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "bounded::actor"))]
    pub actor: String,
    /// What was done.
    pub action: AuditAction,
    /// The app that it was done to or for.
    pub app: Option<AppId>,
    /// The token that it was done to: for an issue the new token, for a rotation the old one.
    pub token: Option<TokenId>,
    /// What came of it.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "bounded::outcome"))]
    pub outcome: AuditOutcome,
}

impl AuditEvent {
    /// The longest name of an actor, in bytes.
    pub const MAX_ACTOR_LEN: usize = 200;

    /// The longest reason of a refusal, in bytes.
    pub const MAX_REASON_LEN: usize = 150;

    /// An event about no app and no token yet.
    ///
    /// The actor and the reason of a refusal are kept to one line of bounded length, so that every
    /// store can keep them: control characters become spaces, and what is too long is cut off.
    #[must_use]
    pub fn new(
        id: AuditEventId,
        at: Timestamp,
        actor: &str,
        action: AuditAction,
        outcome: AuditOutcome,
    ) -> Self {
        Self {
            id,
            at,
            actor: one_line(actor, Self::MAX_ACTOR_LEN),
            action,
            app: None,
            token: None,
            outcome: outcome.bounded(),
        }
    }
}

/// What is read is bounded as it is by [`AuditEvent::new`].
#[cfg(feature = "serde")]
mod bounded {
    use serde::{Deserialize, Deserializer};

    use super::{AuditEvent, AuditOutcome, one_line};

    pub(super) fn actor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        let actor = String::deserialize(deserializer)?;
        Ok(one_line(&actor, AuditEvent::MAX_ACTOR_LEN))
    }

    pub(super) fn outcome<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<AuditOutcome, D::Error> {
        AuditOutcome::deserialize(deserializer).map(AuditOutcome::bounded)
    }
}

/// Returns as much of a text as fits into `max_len` bytes, with spaces for control characters, as the
/// texts of an event are.
#[must_use]
pub fn one_line(text: &str, max_len: usize) -> String {
    let mut ends = (0..=max_len.min(text.len())).rev();
    let end = ends.find(|at| text.is_char_boundary(*at));
    let text = &text[..end.unwrap_or_default()];
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(visible).collect()
}

/// What is done to apps and tokens. Its text is a name like `token.issue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuditAction {
    /// An app is created.
    CreateApp,
    /// An app is disabled.
    DisableApp,
    /// An app is enabled again.
    EnableApp,
    /// A token is issued.
    IssueToken,
    /// A token is renamed.
    RenameToken,
    /// A token is rotated.
    RotateToken,
    /// A token is revoked.
    RevokeToken,
    /// Expired and revoked tokens are purged.
    PurgeTokens,
    /// Tokens are imported.
    ImportTokens,
    /// Every node is made to clear its cache.
    ClearCaches,
}

words!(AuditAction, "audit action", {
    CreateApp = "app.create",
    DisableApp = "app.disable",
    EnableApp = "app.enable",
    IssueToken = "token.issue",
    RenameToken = "token.rename",
    RotateToken = "token.rotate",
    RevokeToken = "token.revoke",
    PurgeTokens = "token.purge",
    ImportTokens = "token.import",
    ClearCaches = "cache.clear",
});

/// What came of an action.
///
/// Its text is `done`, or `refused: ` and the reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuditOutcome {
    /// It was done.
    Done,
    /// It was not done, for this reason: a word like `unknown_token`.
    Refused(String),
}

const REFUSED: &str = "refused: ";

impl AuditOutcome {
    fn bounded(self) -> Self {
        match self {
            Self::Refused(reason) => Self::Refused(one_line(&reason, AuditEvent::MAX_REASON_LEN)),
            done => done,
        }
    }
}

impl fmt::Display for AuditOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.pad("done"),
            Self::Refused(reason) => f.pad(&format!("{REFUSED}{reason}")),
        }
    }
}

impl FromStr for AuditOutcome {
    type Err = UnknownVariantError;

    fn from_str(text: &str) -> Result<Self, UnknownVariantError> {
        match (text, text.strip_prefix(REFUSED)) {
            ("done", _) => Ok(Self::Done),
            (_, Some(reason)) => Ok(Self::Refused(reason.to_owned())),
            _ => Err(UnknownVariantError::new(
                "audit outcome",
                ["done", "refused: …"],
            )),
        }
    }
}

serde_text!(AuditOutcome, "audit outcome");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_reads_back() {
        for outcome in [AuditOutcome::Done, AuditOutcome::Refused("revoked".into())] {
            assert_eq!(outcome.to_string().parse(), Ok(outcome));
        }
        let error = "perhaps".parse::<AuditOutcome>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown audit outcome; expected `done` or `refused: …`"
        );
    }

    #[test]
    fn an_actor_is_cut_at_a_character() {
        let id = AuditEventId::from_bytes([1; 16]);
        let (action, outcome) = (AuditAction::IssueToken, AuditOutcome::Done);
        let at = Timestamp::UNIX_EPOCH;
        let event = AuditEvent::new(id, at, &"é".repeat(1000), action, outcome);
        assert_eq!(event.actor, "é".repeat(AuditEvent::MAX_ACTOR_LEN / 2));
    }
}
