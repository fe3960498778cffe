//! What locks the person out who does it, and how they get back in.

use tower_api_tokens::{AppId, AppRecord, TokenRecord};

use super::{
    curl::Snippet,
    message::Message,
    session::Session,
    view::{Notice, Tone},
};
use crate::guard::TokenGuard;

/// The command that admits the tokens of an app again.
fn enable(app: &AppId) -> Snippet {
    Snippet::command("way-back", format!("api-tokens app enable {app}"))
}

/// The command that issues another token for managing tokens.
fn issue(app: &AppId) -> Snippet {
    let scope = TokenGuard::SCOPE;
    Snippet::command(
        "way-back",
        format!("api-tokens token issue --app {app} --name administrator --scope {scope}"),
    )
}

/// A warning, and the command that undoes what it warns of.
pub(super) struct Warning {
    pub(super) notice: Notice,
    pub(super) way_back: Snippet,
}

/// The warning before an app is disabled, if that locks out the person who does it.
pub(super) fn before_disabling(session: &Session, app: &AppRecord) -> Option<Warning> {
    let own = session.operator.actor().own_app() == Some(app.id);
    own.then(|| Warning {
        notice: Notice::new(
            Tone::Warn,
            "You are signed in with a token of this app. Disabling it locks you out.",
            "The same is true for everyone else who signs in with a token of this app. Then only \
             an administrator with a token of another app, or this command on the server, can \
             enable it:",
        ),
        way_back: enable(&app.id),
    })
}

/// The warning before a token is revoked, if that locks out the person who does it.
pub(super) fn before_revoking(session: &Session, token: &TokenRecord) -> Option<Warning> {
    is_own(session, token).then(|| Warning {
        notice: Notice::new(
            Tone::Warn,
            "You are signed in with this token. Revoking it locks you out.",
            "Make sure first that you have another token for managing tokens. If you have none, \
             this command on the server issues one:",
        ),
        way_back: issue(&token.app.id),
    })
}

/// Whether it is the token that the person signed in with.
pub(super) fn is_own(session: &Session, token: &TokenRecord) -> bool {
    session.operator.actor().own_token() == Some(token.id)
}

/// The answer to a person who has disabled their own app.
pub(super) fn after_disabling(session: &Session, app: &AppRecord) -> Message {
    Message::locked_out(
        &session.page,
        "App disabled. You are locked out",
        "The token that you signed in with belongs to this app, so it is refused from now on. Sign \
         in with a token of another app, or run this command on the server to enable the app:",
        &[enable(&app.id)],
    )
}

/// The answer to a person who has revoked their own token.
pub(super) fn after_revoking(session: &Session, token: &TokenRecord) -> Message {
    Message::locked_out(
        &session.page,
        "Token revoked. You are locked out",
        "You signed in with this token, and it is refused from now on. Sign in with another one, \
         or run this command on the server to issue one:",
        &[issue(&token.app.id)],
    )
}
