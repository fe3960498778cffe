//! Audit events as pages show them.

use askama::{Template, filters::HtmlSafe};
use tower_api_tokens::{
    AuditAction, AuditChange, AuditEvent, AuditOutcome, LifecycleErrorKind, MaskedToken,
};

use super::{
    directory::{Directory, token_of_actor},
    names::visible,
    page::Page,
    text::Moment,
    view::Identifier,
};

/// What the events of a list have in common, and therefore do not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// All events are about one token.
    Token,
    /// All events are about one app or its tokens.
    App,
    Everything,
}

/// An audit event as a list shows it.
#[derive(Template)]
#[template(path = "event.html")]
pub(super) struct EventView {
    /// What was done, such as `Created` or `Couldn't create`.
    done: String,
    object: Object,
    /// The app of the token that the event is about.
    app: Option<Link>,
    /// Why it was refused.
    reason: String,
    actor: ActorView,
    at: Moment,
    facts: Vec<(&'static str, Identifier)>,
    /// The fields that an edit changed, with the old and the new value.
    changes: Vec<(String, String)>,
}

impl HtmlSafe for EventView {}

/// What an event is about.
#[derive(Debug, PartialEq, Eq)]
enum Object {
    /// The list shows it already.
    Known,
    Text(&'static str),
    /// What it is, and the link to it.
    Link(String, Link),
}

/// A link to the page of a record.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    href: String,
    text: String,
}

/// Who acted.
#[derive(Template)]
#[template(
    ext = "html",
    source = "{% if let Some(token) = token %}<a href=\"{{ token.href }}\"><bdi>{{ token.text }}</bdi></a>\
        {% if let Some(app) = app %} (<bdi>{{ app }}</bdi>){% endif %}\
        {% else %}<bdi>{{ name }}</bdi>{% endif %}"
)]
pub(super) struct ActorView {
    name: String,
    /// The token that the actor signed in with, if it can be read.
    token: Option<Link>,
    /// The name of its app. It is always shown with the name of a token, which may imitate a person's.
    app: Option<String>,
}

impl HtmlSafe for ActorView {}

impl ActorView {
    pub(super) fn new(actor: &str, directory: &Directory, page: &Page) -> Self {
        let actor = page.short_actor(actor);
        let token = token_of_actor(actor).and_then(|id| directory.token(id));
        Self {
            name: visible(actor),
            token: token.map(|token| Link {
                href: page.link(&format!("/token/{}", token.id)),
                text: visible(&token.name),
            }),
            app: token.map(|token| visible(&token.app.name)),
        }
    }
}

impl EventView {
    /// Returns whether an event changed something.
    pub(super) fn is_change(event: &AuditEvent) -> bool {
        event.outcome == AuditOutcome::Done && event.action != AuditAction::ExpiringToken
    }

    /// Returns whether an event belongs in a history. A typing error does not: nothing happened.
    pub(super) fn is_history(event: &AuditEvent) -> bool {
        use LifecycleErrorKind::{
            InvalidExpiry, InvalidMetadata, InvalidName, InvalidNetworks, InvalidOverlap,
        };

        let AuditOutcome::Refused(reason) = &event.outcome else {
            return true;
        };
        !matches!(
            reason.parse(),
            Ok(InvalidName | InvalidExpiry | InvalidMetadata | InvalidNetworks | InvalidOverlap)
        )
    }

    /// Creates the view of a rotation for the history of the successor.
    pub(super) fn of_origin(
        rotation: &AuditEvent,
        old: &MaskedToken,
        directory: &Directory,
        page: &Page,
    ) -> Self {
        Self {
            done: format!("Created by rotating {old}"),
            ..Self::new(rotation, About::Token, directory, page)
        }
    }

    pub(super) fn new(
        event: &AuditEvent,
        about: About,
        directory: &Directory,
        page: &Page,
    ) -> Self {
        let words = Words::of(event.action);
        let (done, reason) = match &event.outcome {
            AuditOutcome::Refused(reason) => {
                (format!("Couldn't {}", words.attempt), plain_reason(reason))
            }
            // Without an object, no preposition may remain at the end.
            _ if about == About::Token => {
                (words.done.trim_end_matches(" of").to_owned(), String::new())
            }
            _ => (words.done.to_owned(), String::new()),
        };
        let mut facts = vec![("Event ID", Identifier::new(event.id, "event ID"))];
        let ids = [
            ("Token ID", "token ID", event.token.map(|id| id.to_string())),
            ("App ID", "app ID", event.app.map(|id| id.to_string())),
            ("Actor", "actor", Some(visible(&event.actor))),
            ("Action", "action", Some(event.action.to_string())),
            (
                "Outcome",
                "outcome",
                Some(visible(&event.outcome.to_string())),
            ),
        ];
        let ids = ids.into_iter();
        facts.extend(ids.filter_map(|(name, copy, id)| Some((name, Identifier::new(id?, copy)))));
        Self {
            done,
            object: Object::new(event, about, words.object, directory, page),
            app: (about == About::Everything && event.token.is_some())
                .then(|| app_link(event, directory, page))
                .flatten(),
            reason,
            actor: ActorView::new(&event.actor, directory, page),
            at: Moment::new(event.at, page.now),
            facts,
            changes: event.changes.iter().map(change).collect(),
        }
    }
}

fn change(change: &AuditChange) -> (String, String) {
    let shown =
        |value: &Option<String>| value.as_deref().map_or_else(|| "none".to_owned(), visible);
    let (old, new) = (shown(&change.old), shown(&change.new));
    (visible(&change.field), format!("{old} → {new}"))
}

impl Object {
    fn new(
        event: &AuditEvent,
        about: About,
        object: &'static str,
        directory: &Directory,
        page: &Page,
    ) -> Self {
        if about == About::Token {
            return Self::Known;
        }
        let link = match (event.token, about) {
            (Some(id), _) => {
                // A token that cannot be read may still be in the database.
                let name = directory.token(id).map(|token| visible(&token.name));
                Some(Link {
                    href: page.link(&format!("/token/{id}")),
                    text: name.unwrap_or_else(|| id.to_string()),
                })
            }
            (None, About::Everything) => app_link(event, directory, page),
            (None, _) => None,
        };
        match link {
            Some(link) if event.token.is_some() => Self::Link("token".to_owned(), link),
            Some(link) if event.action.as_str().starts_with("app.") => {
                Self::Link("app".to_owned(), link)
            }
            Some(link) => Self::Link(format!("{object} of"), link),
            None => Self::Text(object),
        }
    }
}

fn app_link(event: &AuditEvent, directory: &Directory, page: &Page) -> Option<Link> {
    let id = event.app?;
    let name = directory.app(&id).map(|app| visible(&app.name));
    Some(Link {
        href: page.link(&format!("/apps/{id}")),
        text: name.unwrap_or_else(|| id.to_string()),
    })
}

/// The words for an action.
struct Words {
    done: &'static str,
    attempt: &'static str,
    /// What it is about, if the event has no identifier.
    object: &'static str,
}

impl Words {
    fn of(action: AuditAction) -> Self {
        let (done, attempt, object) = match action {
            AuditAction::CreateApp => ("Created", "create", "the app"),
            AuditAction::EditApp => ("Edited", "edit", "the app"),
            AuditAction::DeleteApp => ("Deleted", "delete", "the app"),
            AuditAction::DisableApp => ("Disabled", "disable", "the app"),
            AuditAction::EnableApp => ("Enabled", "enable", "the app"),
            AuditAction::IssueToken => ("Created", "create", "a token"),
            AuditAction::RenameToken => ("Renamed", "rename", "a token"),
            AuditAction::EditToken => ("Edited", "edit", "a token"),
            AuditAction::SuspendToken => ("Suspended", "suspend", "a token"),
            AuditAction::ResumeToken => ("Resumed", "resume", "a token"),
            AuditAction::RotateToken => ("Rotated", "rotate", "a token"),
            AuditAction::RevokeToken => ("Revoked", "revoke", "a token"),
            AuditAction::ExpiringToken => (
                "Announced the expiration of",
                "announce the expiration of",
                "a token",
            ),
            AuditAction::SearchToken => ("Looked up", "look up", "a token"),
            AuditAction::PurgeTokens => ("Purged", "purge", "expired and revoked tokens"),
            AuditAction::TrimEvents => ("Removed", "remove", "old audit events"),
            AuditAction::ImportTokens => ("Imported", "import", "tokens"),
            AuditAction::SetPolicy => ("Changed", "change", "the policy"),
            AuditAction::ClearCaches => ("Cleared", "clear", "the caches"),
            AuditAction::SetFleet => ("Changed", "change", "the settings of the fleet"),
            AuditAction::RemoveNode => ("Removed", "remove", "a node"),
            other => (other.as_str(), other.as_str(), ""),
        };
        Self {
            done,
            attempt,
            object,
        }
    }
}

/// Returns what an action is called in the filter.
pub(super) fn action_label(action: AuditAction) -> String {
    let words = Words::of(action);
    let object = words.object.trim_start_matches("the ");
    format!("{} {}", words.done, object.trim_start_matches("a "))
        .trim()
        .to_owned()
}

fn plain_reason(reason: &str) -> String {
    match reason {
        "rotated_token" => "already rotated".to_owned(),
        "revoked_token" => "the token is revoked".to_owned(),
        "expired_token" => "the token has expired".to_owned(),
        "suspended_token" => "the token is suspended".to_owned(),
        "restricted_token" => "the token's restrictions are not understood".to_owned(),
        "policy_violation" => "the policy doesn't allow it".to_owned(),
        "unknown_token" => "no such token".to_owned(),
        "foreign_format" => "not a token of this service".to_owned(),
        "stale" => "it was changed in the meantime".to_owned(),
        "app_in_use" => "the app has tokens that still work or can be resumed".to_owned(),
        "owner_required" => "only owners may do that".to_owned(),
        "disabled_app" => "the app is disabled".to_owned(),
        "scope_not_held" => "missing scopes".to_owned(),
        "expiry_not_held" => "it would outlast the person's own access".to_owned(),
        "format_not_allowed" => "the app or a scope needs another format".to_owned(),
        "store_failure" => "database error".to_owned(),
        "repeated" => "submitted twice".to_owned(),
        "too_many_tokens" => "too many tokens match".to_owned(),
        "selection_changed" => "more tokens match than were confirmed".to_owned(),
        code => visible(&code.replace('_', " ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_in_plain_words() {
        assert_eq!(plain_reason("rotated_token"), "already rotated");
        assert_eq!(plain_reason("key_reused"), "key reused");
    }

    #[test]
    fn every_action_has_a_label() {
        let all = AuditAction::ALL.iter().copied();
        for action in all.clone() {
            assert!(!action_label(action).contains(action.as_str()), "{action}");
        }
        let mut labels: Vec<String> = all.map(action_label).collect();
        assert!(labels.contains(&"Created app".to_owned()));
        assert!(labels.contains(&"Cleared caches".to_owned()));
        let all = labels.len();
        labels.sort();
        labels.dedup();
        assert_eq!(labels.len(), all);
    }
}
