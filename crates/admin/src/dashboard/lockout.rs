//! Changes that lock out the operator who makes them, and how to recover.

use tower_api_tokens::{AppId, AppRecord, TokenRecord};

use super::{
    curl::Snippet,
    message::Message,
    session::Session,
    view::{Notice, Tone},
};
use crate::guard::TokenGuard;

/// Returns the command that enables an app.
fn enable(app: &AppId) -> Snippet {
    Snippet::command("recovery", format!("api-tokens app enable {app}"))
}

/// Returns the command that issues another token for managing tokens. A page shows each identifier
/// once.
fn issue(app: &AppId, id: &'static str) -> Snippet {
    let scope = TokenGuard::SCOPE;
    Snippet::command(
        id,
        format!("api-tokens token issue --app {app} --name administrator --scope {scope}"),
    )
}

/// A warning before a lockout, with the command that recovers from it.
pub(super) struct Warning {
    pub(super) notice: Notice,
    pub(super) recovery: Snippet,
}

/// Returns a warning if disabling the app locks out the signed-in operator.
pub(super) fn before_disabling(session: &Session, app: &AppRecord) -> Option<Warning> {
    let own = session.operator.actor().own_app() == Some(app.id);
    own.then(|| Warning {
        notice: Notice::new(
            Tone::Warn,
            "You signed in with a token of this app. Disabling the app locks you out.",
            "It also locks out everyone else who signs in with a token of this app. To enable the \
             app again, sign in with a token of another app, or run this command on the server:",
        ),
        recovery: enable(&app.id),
    })
}

/// Returns a warning if revoking the token locks out the signed-in operator.
pub(super) fn before_revoking(session: &Session, token: &TokenRecord) -> Option<Warning> {
    is_own(session, token).then(|| Warning {
        notice: Notice::new(
            Tone::Warn,
            "You signed in with this token. Revoking it locks you out.",
            "Make sure that you have another token that can manage tokens. If you don't, run this \
             command on the server to create one:",
        ),
        recovery: issue(&token.app.id, "recovery"),
    })
}

/// Returns a warning if suspending the token locks out the signed-in operator.
pub(super) fn before_suspending(session: &Session, token: &TokenRecord) -> Option<Warning> {
    is_own(session, token).then(|| Warning {
        notice: Notice::new(
            Tone::Warn,
            "You signed in with this token. Suspending it locks you out.",
            "To resume it, sign in with another token that can manage tokens. If you don't have one, \
             run this command on the server to create it:",
        ),
        recovery: issue(&token.app.id, "suspend-recovery"),
    })
}

/// Returns whether the operator signed in with this token.
pub(super) fn is_own(session: &Session, token: &TokenRecord) -> bool {
    session.operator.actor().own_token() == Some(token.id)
}

/// Returns the page for an operator who has disabled their own app.
pub(super) fn after_disabling(session: &Session, app: &AppRecord) -> Message {
    Message::locked_out(
        &session.page,
        "App disabled: you are locked out",
        "You signed in with a token of this app, which no longer works. Sign in with a token of \
         another app, or run this command on the server to enable the app:",
        &[enable(&app.id)],
    )
}

/// Returns the page for an operator who has revoked their own token.
pub(super) fn after_revoking(session: &Session, token: &TokenRecord) -> Message {
    Message::locked_out(
        &session.page,
        "Token revoked: you are locked out",
        "You signed in with this token, which no longer works. Sign in with another one, or run \
         this command on the server to create one:",
        &[issue(&token.app.id, "recovery")],
    )
}

/// Returns the page for an operator who has suspended their own token.
pub(super) fn after_suspending(session: &Session, token: &TokenRecord) -> Message {
    Message::locked_out(
        &session.page,
        "Token suspended: you are locked out",
        "You signed in with this token, which doesn't work now. Sign in with another one to resume \
         it, or run this command on the server to create one:",
        &[issue(&token.app.id, "recovery")],
    )
}
