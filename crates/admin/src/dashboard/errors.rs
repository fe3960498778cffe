//! What the dashboard shows for each error: what is wrong, then what to do.

use tower_api_tokens::{GrantError, LifecycleErrorKind, PolicyError, Scope, ScopeSet};

use super::{
    names::excerpt,
    text::{Moment, sentence},
};
use crate::operations::{OperationError, OperationErrorKind};

pub(super) const FIX_FIELDS: &str = "Fix the fields marked below.";
pub(super) const CHOOSE_OPTION: &str = "Choose one of the options.";
pub(super) const UNKNOWN_APP: &str = "App not found. Choose an app from the list.";
pub(super) const INVALID_APP_ID: &str = "Not a valid app ID. Choose an app from the list.";
pub(super) const INVALID_SEARCH: &str =
    "Search for 1–100 characters, without line breaks or control characters.";

/// Returns the message for a name that was refused.
pub(super) fn invalid_name(name: &str) -> &'static str {
    let breaks_line = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if name.trim().contains(breaks_line) {
        "Remove line breaks and control characters from the name."
    } else {
        "Enter a name of 1–100 characters."
    }
}

/// Returns the message for a list of scopes that was refused.
pub(super) fn invalid_scopes(list: &str) -> String {
    let mut scopes = list.split(|c: char| c == ',' || c.is_whitespace());
    match scopes.find(|scope| !scope.is_empty() && Scope::new(scope).is_err()) {
        Some(scope) => {
            format!(
                "Invalid scope: {}. A scope is 1–128 letters, digits or punctuation marks, without \
                 quotation marks or backslashes.",
                excerpt(scope)
            )
        }
        None => "Use fewer scopes: at most 1,024 characters in total.".to_owned(),
    }
}

/// Returns whether the record was changed after the version that the operation expected.
pub(super) fn is_stale(error: &OperationError) -> bool {
    error.kind() == OperationErrorKind::Lifecycle(LifecycleErrorKind::Stale)
}

/// Returns whether the app does not exist.
pub(super) fn is_unknown_app(error: &OperationError) -> bool {
    error.kind() == OperationErrorKind::Lifecycle(LifecycleErrorKind::UnknownApp)
}

/// Returns the message for a rule of the policy that a token violates.
fn in_policy(error: &PolicyError) -> String {
    match error {
        PolicyError::NeverExpires => "The policy requires an expiration. Choose one.".to_owned(),
        PolicyError::Lifetime(latest) => format!(
            "The policy allows this token to work until {} at most. Choose an earlier expiration.",
            Moment::exact(*latest)
        ),
        PolicyError::LiveTokens(0) => {
            "The policy doesn't allow this app any active tokens.".to_owned()
        }
        PolicyError::LiveTokens(1) => {
            "This app already has an active token, and the policy allows only one. Revoke it first."
                .to_owned()
        }
        PolicyError::LiveTokens(most) => format!(
            "This app already has {most} active tokens, as many as the policy allows. Revoke one \
             first."
        ),
        PolicyError::Name => {
            "An active token of this app already has this name. Choose another name.".to_owned()
        }
        PolicyError::Scopes(scopes) => format!(
            "The policy doesn't allow the tokens of this app {}. Remove {}.",
            quoted(scopes),
            pronoun(scopes)
        ),
        other => sentence(&other.to_string()),
    }
}

/// Returns the message for an error that belongs to a field of the form for a new token.
pub(super) fn in_new_token(error: &OperationError) -> String {
    if let Some(policy) = error.policy() {
        return in_policy(policy);
    }
    match (error.kind(), error.grant()) {
        (_, Some(GrantError::Scopes(scopes))) => {
            let (pronoun, scopes) = (pronoun(scopes), quoted(scopes));
            format!(
                "You can't grant {scopes}, because you don't have {pronoun}. Remove {pronoun}, or \
                 ask someone who has {pronoun}."
            )
        }
        (_, Some(GrantError::Expiry(at))) => format!(
            "Choose an expiration no later than the end of your own access, {}.",
            Moment::exact(*at)
        ),
        (_, Some(GrantError::Networks(networks))) => format!(
            "Your own access is limited to the networks {networks}. Enter networks within them."
        ),
        (OperationErrorKind::Lifecycle(LifecycleErrorKind::AppDisabled), _) => {
            "This app is disabled. Enable it first, or choose another app.".to_owned()
        }
        (OperationErrorKind::Lifecycle(LifecycleErrorKind::UnknownApp), _) => {
            UNKNOWN_APP.to_owned()
        }
        (OperationErrorKind::Lifecycle(LifecycleErrorKind::UnknownFormat), _) => {
            CHOOSE_OPTION.to_owned()
        }
        (OperationErrorKind::Lifecycle(LifecycleErrorKind::InvalidExpiry), _) => {
            "Choose an expiration in the future.".to_owned()
        }
        _ => sentence(&error.to_string()),
    }
}

/// Returns the message for an error about an existing app or token.
pub(super) fn in_change(error: &OperationError) -> String {
    if let Some(policy) = error.policy() {
        return in_policy(policy);
    }
    match error.grant() {
        Some(GrantError::Scopes(scopes)) => format!(
            "This needs scopes that you don't have: {}. Ask someone who has them.",
            quoted(scopes)
        ),
        Some(GrantError::Expiry(at)) => format!(
            "This would outlast your own access, which ends {}. Ask someone whose access lasts \
             longer.",
            Moment::exact(*at)
        ),
        Some(GrantError::Networks(networks)) => format!(
            "This would allow access from outside of your own networks, {networks}. Ask someone \
             whose access isn't limited to them."
        ),
        _ => sentence(&error.to_string()),
    }
}

/// Returns why an app with this many live tokens was not deleted, and what to do.
pub(super) fn app_in_use(live: usize) -> (String, &'static str) {
    let tokens = match live {
        1 => "a token that is neither expired nor revoked".to_owned(),
        live => format!("{live} tokens that are neither expired nor revoked"),
    };
    let title = format!("App not deleted: it has {tokens}.");
    (title, "Revoke them first, or disable the app instead.")
}

/// Returns why a token cannot be rotated in its current state, and what to do instead.
pub(super) fn rotation_state(error: &OperationError) -> Option<(&'static str, &'static str)> {
    let OperationErrorKind::Lifecycle(kind) = error.kind() else {
        return None;
    };
    Some(match kind {
        LifecycleErrorKind::Rotated => (
            "Not rotated: this token was rotated already.",
            "Rotate the token that replaced it.",
        ),
        LifecycleErrorKind::Revoked => (
            "Not rotated: this token is revoked.",
            "Create a new token instead.",
        ),
        LifecycleErrorKind::Expired => (
            "Not rotated: this token has expired.",
            "Create a new token instead.",
        ),
        LifecycleErrorKind::AppDisabled => (
            "Not rotated: this token's app is disabled.",
            "Enable the app first.",
        ),
        LifecycleErrorKind::Suspended => (
            "Not rotated: this token is suspended.",
            "Resume the token first.",
        ),
        LifecycleErrorKind::Restricted => (
            "Not rotated: this version of the service doesn't understand the token's restrictions.",
            "Upgrade the service, or create a new token instead.",
        ),
        _ => return None,
    })
}

fn quoted(scopes: &ScopeSet) -> String {
    let scopes: Vec<String> = scopes.iter().map(|scope| format!("“{scope}”")).collect();
    match scopes.as_slice() {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        one => one.concat(),
    }
}

fn pronoun(scopes: &ScopeSet) -> &'static str {
    if scopes.iter().count() == 1 {
        "it"
    } else {
        "them"
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tower_api_tokens::LifecycleError;

    use super::*;

    fn lacking(scopes: &str) -> OperationError {
        let error = GrantError::Scopes(scopes.parse().unwrap());
        LifecycleError::from(error).into()
    }

    #[test]
    fn a_name_error_names_the_fix() {
        for name in ["", "  ", "\n", &"x".repeat(101)] {
            assert_eq!(invalid_name(name), "Enter a name of 1–100 characters.");
        }
        for name in ["a\nb", "a\0b", "a\u{2028}b"] {
            assert!(invalid_name(name).starts_with("Remove line breaks"));
        }
    }

    #[test]
    fn a_scope_error_names_the_scope() {
        let message = invalid_scopes("invoices:read, say\"so\"");
        assert!(message.starts_with("Invalid scope: say\"so\". A scope is"));
        let message = invalid_scopes(&"é".repeat(200));
        assert!(message.len() < 250, "{message}");
        let many: String = (0..200).map(|n| format!("scope-{n} ")).collect();
        assert!(invalid_scopes(&many).starts_with("Use fewer scopes"));
    }

    #[test]
    fn a_grant_error_lists_the_scopes() {
        assert_eq!(
            in_new_token(&lacking("a")),
            "You can't grant “a”, because you don't have it. Remove it, or ask someone who has it."
        );
        assert_eq!(
            in_new_token(&lacking("a b c")),
            "You can't grant “a”, “b” and “c”, because you don't have them. Remove them, or ask \
             someone who has them."
        );
        assert_eq!(
            in_change(&lacking("a b")),
            "This needs scopes that you don't have: “a” and “b”. Ask someone who has them."
        );
    }

    #[test]
    fn a_policy_error_names_the_rule_and_the_fix() {
        let late = PolicyError::Lifetime(Timestamp::constant(1_800_000_000, 0));
        for (error, part) in [
            (PolicyError::NeverExpires, "requires an expiration"),
            (late, "until 15 January 2027, 08:00:00 UTC at most"),
            (PolicyError::LiveTokens(3), "already has 3 active tokens"),
            (PolicyError::Name, "already has this name"),
            (
                PolicyError::Scopes("a b".parse().unwrap()),
                "“a” and “b”. Remove them.",
            ),
        ] {
            let message = in_policy(&error);
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn an_expiry_error_shows_when_access_ends() {
        let error = GrantError::Expiry(Timestamp::constant(1_800_000_000, 0));
        let error: OperationError = LifecycleError::from(error).into();
        for message in [in_new_token(&error), in_change(&error)] {
            assert!(
                message.contains("15 January 2027, 08:00:00 UTC."),
                "{message}"
            );
        }
    }
}
