//! Audit events: who did what to which app or token, and with what outcome.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use thiserror::Error;
use uuid::Uuid;

use crate::{
    model::app::AppId,
    text::serde_text,
    token::TokenId,
    uuid_v7::uuid_v7_id,
    words::{UnknownVariantError, words},
};

/// The identifier of an audit event: a UUID of version 7, so that events sort by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuditEventId(Uuid);

uuid_v7_id!(AuditEventId, AuditEventIdError, "audit event id");

/// The text is not an audit event identifier.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("invalid audit event id; use a UUID such as `0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77`")]
#[non_exhaustive]
pub struct AuditEventIdError;

/// An action that was carried out or refused. It identifies a token only by its identifier.
///
/// With feature `serde`, it is serialized with the names of the fields below.
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
    /// The time of the action.
    pub at: Timestamp,
    /// Who acted, as the guard or the command line names them; at most
    /// [`MAX_ACTOR_LEN`](Self::MAX_ACTOR_LEN) bytes.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "bounded::actor"))]
    pub actor: String,
    /// The action.
    pub action: AuditAction,
    /// The app concerned.
    pub app: Option<AppId>,
    /// The token concerned: the new token of an issue, the old token of a rotation.
    pub token: Option<TokenId>,
    /// The outcome.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "bounded::outcome"))]
    pub outcome: AuditOutcome,
    /// The fields that the action changed. A store sets them when it makes an edit or a rotation, because the old
    /// values are not known before.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Vec::is_empty")
    )]
    pub changes: Vec<AuditChange>,
}

/// The old and the new value of a field that an edit changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct AuditChange {
    /// The name of the field, such as `scopes` or `metadata.plan`.
    pub field: String,
    /// The value before; `None` if there was none.
    pub old: Option<String>,
    /// The value after; `None` if there is none.
    pub new: Option<String>,
}

impl AuditChange {
    /// Creates a change of a field.
    #[must_use]
    pub fn new(field: impl Into<String>, old: Option<String>, new: Option<String>) -> Self {
        let field = field.into();
        Self { field, old, new }
    }
}

impl AuditEvent {
    /// The maximum length of an actor's name, in bytes.
    pub const MAX_ACTOR_LEN: usize = 200;

    /// The maximum length of the reason of a refusal, in bytes.
    pub const MAX_REASON_LEN: usize = 150;

    /// Creates an event without an app and without a token.
    ///
    /// The actor and the reason of a refusal are limited to one line of bounded length, so that
    /// every store can keep them: control characters become spaces, and text that is too long is
    /// truncated.
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
            changes: Vec::new(),
        }
    }
}

/// Deserialized texts are bounded as by [`AuditEvent::new`].
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

/// Returns the text as one line of at most `max_len` bytes: control characters become spaces, and
/// the rest is truncated. Texts of audit events are limited in this way.
#[must_use]
pub fn one_line(text: &str, max_len: usize) -> String {
    let mut ends = (0..=max_len.min(text.len())).rev();
    let end = ends.find(|at| text.is_char_boundary(*at));
    let text = &text[..end.unwrap_or_default()];
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(visible).collect()
}

/// The start of the name of an actor who is limited to an app. The identifier of the app follows, which
/// contains no colon, so that actors of two apps never have the same name.
const OF_APP: &str = "app:";

/// Returns the name in the audit log of an actor who is [limited to an app](crate::Authority::limited_to).
pub(crate) fn actor_of_app(app: &AppId, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{OF_APP}{app}:{name}"),
        None => format!("{OF_APP}{app}"),
    }
}

/// Returns the name that an actor who is [limited to an app](crate::Authority::limited_to) was given, from the
/// name in the audit log: `alice` from `app:42:alice`. The name is empty for `app:42`, an actor without one.
/// Returns `None` for the name of an actor who is not limited to this app.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{AppId, name_in_app};
///
/// let app = AppId::new("42")?;
/// assert_eq!(name_in_app("app:42:alice", &app), Some("alice"));
/// assert_eq!(name_in_app("app:43:alice", &app), None);
/// assert_eq!(name_in_app("alice", &app), None);
/// # Ok::<(), tower_api_tokens::AppIdError>(())
/// ```
#[must_use]
pub fn name_in_app<'a>(actor: &'a str, app: &AppId) -> Option<&'a str> {
    let rest = actor.strip_prefix(OF_APP)?.strip_prefix(app.as_str())?;
    match rest {
        "" => Some(rest),
        rest => rest.strip_prefix(':'),
    }
}

/// An action on apps and tokens. Its text form is a name such as `token.issue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuditAction {
    /// An app is created.
    CreateApp,
    /// The name or the metadata of an app is edited.
    EditApp,
    /// An app is deleted.
    DeleteApp,
    /// An app is disabled.
    DisableApp,
    /// An app is enabled again.
    EnableApp,
    /// A token is issued.
    IssueToken,
    /// A token is renamed.
    RenameToken,
    /// A token is edited.
    EditToken,
    /// A token is suspended.
    SuspendToken,
    /// A suspended token is resumed.
    ResumeToken,
    /// A token is rotated.
    RotateToken,
    /// A token is revoked.
    RevokeToken,
    /// A token expires soon.
    ExpiringToken,
    /// A token is searched for by its text.
    SearchToken,
    /// Expired and revoked tokens are purged.
    PurgeTokens,
    /// Old audit events are removed.
    TrimEvents,
    /// Tokens are imported.
    ImportTokens,
    /// The policy is set.
    SetPolicy,
    /// Every node is asked to clear its cache.
    ClearCaches,
    /// The settings of the fleet are set.
    SetFleet,
    /// The record of a node is removed.
    RemoveNode,
}

words!(AuditAction, "audit action", {
    CreateApp = "app.create",
    EditApp = "app.edit",
    DeleteApp = "app.delete",
    DisableApp = "app.disable",
    EnableApp = "app.enable",
    IssueToken = "token.issue",
    RenameToken = "token.rename",
    EditToken = "token.edit",
    SuspendToken = "token.suspend",
    ResumeToken = "token.resume",
    RotateToken = "token.rotate",
    RevokeToken = "token.revoke",
    ExpiringToken = "token.expiring",
    SearchToken = "token.search",
    PurgeTokens = "token.purge",
    TrimEvents = "event.trim",
    ImportTokens = "token.import",
    SetPolicy = "policy.set",
    ClearCaches = "cache.clear",
    SetFleet = "fleet.set",
    RemoveNode = "node.remove",
});

/// The outcome of an action.
///
/// Its text form is `done`, or `refused: ` followed by the reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuditOutcome {
    /// The action was carried out.
    Done,
    /// The action was refused, with the reason: a word such as `unknown_token`.
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
    fn an_actor_is_truncated_at_a_character_boundary() {
        let id = AuditEventId::from_bytes([1; 16]);
        let (action, outcome) = (AuditAction::IssueToken, AuditOutcome::Done);
        let at = Timestamp::UNIX_EPOCH;
        let event = AuditEvent::new(id, at, &"é".repeat(1000), action, outcome);
        assert_eq!(event.actor, "é".repeat(AuditEvent::MAX_ACTOR_LEN / 2));
    }
}
