//! What was done to apps and tokens, by whom, and with what outcome.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use thiserror::Error;
use uuid::Uuid;

use crate::{
    app::AppId,
    entropy::{Entropy, EntropyError},
    token::{TokenId, uuid_v7},
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
    type Err = AuditTextError;

    fn from_str(text: &str) -> Result<Self, AuditTextError> {
        Uuid::try_parse(text).map(Self).map_err(|_| AuditTextError)
    }
}

/// One thing that was done, or was tried and refused. It holds nothing of a token but its public
/// handle.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditEvent {
    /// The event's identifier.
    pub id: AuditEventId,
    /// When it was done.
    pub at: Timestamp,
    /// Who did it, as the guard or the command line knows them; at most
    /// [`MAX_ACTOR_LEN`](Self::MAX_ACTOR_LEN) bytes.
    pub actor: String,
    /// What was done.
    pub action: AuditAction,
    /// The app that it was done to or for.
    pub app: Option<AppId>,
    /// The token that it was done to: for an issue the new token, for a rotation the old one.
    pub token: Option<TokenId>,
    /// What came of it.
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
        let outcome = match outcome {
            AuditOutcome::Refused(reason) => {
                AuditOutcome::Refused(one_line(&reason, Self::MAX_REASON_LEN))
            }
            done => done,
        };
        Self {
            id,
            at,
            actor: one_line(actor, Self::MAX_ACTOR_LEN),
            action,
            app: None,
            token: None,
            outcome,
        }
    }
}

/// Returns as much of a text as fits into `max_len` bytes, with spaces for control characters, as the
/// texts of an event are.
#[must_use]
pub fn one_line(text: &str, max_len: usize) -> String {
    let text = &text[..text.floor_char_boundary(max_len)];
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(visible).collect()
}

macro_rules! actions {
    ($($(#[doc = $doc:literal])* $action:ident = $text:literal,)*) => {
        /// What is done to apps and tokens.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum AuditAction {
            $($(#[doc = $doc])* $action,)*
        }

        impl AuditAction {
            /// Every action.
            pub const ALL: &[Self] = &[$(Self::$action),*];

            /// The action's name, as it is stored and shown.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$action => $text,)*
                }
            }
        }
    };
}

actions! {
    /// An app is created.
    CreateApp = "app.create",
    /// An app is disabled.
    DisableApp = "app.disable",
    /// An app is enabled again.
    EnableApp = "app.enable",
    /// A token is issued.
    IssueToken = "token.issue",
    /// A token is renamed.
    RenameToken = "token.rename",
    /// A token is rotated.
    RotateToken = "token.rotate",
    /// A token is revoked.
    RevokeToken = "token.revoke",
    /// Tokens that have ended are purged.
    PurgeTokens = "token.purge",
    /// Tokens are imported.
    ImportTokens = "token.import",
    /// Every node is made to clear its cache.
    ClearCaches = "cache.clear",
}

impl fmt::Display for AuditAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for AuditAction {
    type Err = AuditTextError;

    fn from_str(text: &str) -> Result<Self, AuditTextError> {
        let mut actions = Self::ALL.iter().copied();
        actions
            .find(|action| action.as_str() == text)
            .ok_or(AuditTextError)
    }
}

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

impl fmt::Display for AuditOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.pad("done"),
            Self::Refused(reason) => f.pad(&format!("{REFUSED}{reason}")),
        }
    }
}

impl FromStr for AuditOutcome {
    type Err = AuditTextError;

    fn from_str(text: &str) -> Result<Self, AuditTextError> {
        match (text, text.strip_prefix(REFUSED)) {
            ("done", _) => Ok(Self::Done),
            (_, Some(reason)) => Ok(Self::Refused(reason.to_owned())),
            _ => Err(AuditTextError),
        }
    }
}

/// The text is not that of a part of an audit event.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a part of an audit event that this version knows")]
#[non_exhaustive]
pub struct AuditTextError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_and_outcome_reads_back() {
        for action in AuditAction::ALL {
            assert_eq!(action.as_str().parse(), Ok(*action));
        }
        for outcome in [AuditOutcome::Done, AuditOutcome::Refused("revoked".into())] {
            assert_eq!(outcome.to_string().parse(), Ok(outcome));
        }
        assert_eq!("token.steal".parse::<AuditAction>(), Err(AuditTextError));
        assert_eq!("perhaps".parse::<AuditOutcome>(), Err(AuditTextError));
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
