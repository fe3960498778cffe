//! The token of the first administrator.

use std::{
    io::{self, ErrorKind},
    path::Path,
};

use tower_api_tokens::{AppId, IssuedToken, LifecycleErrorKind, NewToken, ScopeSet, TokenQuery};
use tower_api_tokens_admin::OperationErrorKind;

use super::token_file::TokenFile;
use crate::{failure::Failure, moment::Expiry, note::note, session::Session, views::time_or};

/// The app that administrators' tokens belong to.
const APP: &str = "api-tokens-admin";

/// The identifier of the app that administrators' tokens belong to.
pub(super) fn app() -> Result<AppId, Failure> {
    AppId::new(APP).map_err(|error| Failure::failed(error.to_string()))
}

/// How an operator gets a token when there is none.
const ISSUE: &str = "api-tokens token issue --app id:api-tokens-admin --name administrator --scope tokens:admin,tokens:owner";

/// What the token is to be, and the file for it.
pub(super) struct FirstToken<'a> {
    pub(super) scopes: ScopeSet,
    pub(super) expiry: Expiry,
    pub(super) file: &'a Path,
}

impl FirstToken<'_> {
    /// Issues the token on the first start, into the file. The first start is the one that creates the
    /// app of administrators; of several servers that start together, it is that of one.
    pub(super) async fn issue(self, session: &Session) -> Result<(), Failure> {
        let app = app()?;
        let exists = async || Ok::<_, Failure>(session.registry.app(&app).await?.is_some());
        if exists().await? {
            return remind(session, app).await;
        }
        let file = match TokenFile::reserve(self.file) {
            Ok(file) => file,
            // Another server that starts has written it, and created the app before.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && exists().await? => {
                return Ok(());
            }
            Err(error) => return Err(self.cannot_write(error)),
        };
        let operator = &session.operator;
        match operator.create_app(Some(app), "Token administrators").await {
            Err(error) if is(error.kind(), LifecycleErrorKind::AppExists) => return Ok(()),
            created => drop(created?),
        }
        let token = NewToken::named("first administrator").scopes(self.scopes.clone());
        let issued = operator.issue(&app, self.expiry.of(token)).await?;
        if let Err(error) = file.keep(issued.token()) {
            return Err(take_back(session, &issued, self.cannot_write(error)).await);
        }
        note(&format!(
            "This is the first start: the token of the first administrator is in `{}`. Expires: {}. It is what the dashboard takes for a password. To issue another: {ISSUE}",
            self.file.display(),
            time_or(issued.record().expires_at, "never"),
        ));
        Ok(())
    }

    fn cannot_write(&self, error: io::Error) -> Failure {
        Failure::failed(format!(
            "cannot write the token of the first administrator to `{}`",
            self.file.display()
        ))
        .because(error)
        .advising("Name a file that does not exist yet, in a directory that you may write to, with `--admin-token-file`.")
    }
}

/// Revokes a token that could not be written.
async fn take_back(session: &Session, issued: &IssuedToken, failure: Failure) -> Failure {
    let id = issued.record().id;
    match session.operator.revoke(id).await {
        Ok(_) => failure.advising(format!("It was revoked. To issue another: {ISSUE}")),
        Err(_) => failure.advising(format!(
            "It could not be revoked either: `api-tokens token revoke {id}`. To issue another: {ISSUE}"
        )),
    }
}

/// Says how to get a token where there is none. A later start makes none by itself: an operator who
/// revoked and purged them all does not want that.
async fn remind(session: &Session, app: AppId) -> Result<(), Failure> {
    let some = TokenQuery::default().app(app).limit(1);
    if session.tokens.list(&some).await?.items.is_empty() {
        note(&format!(
            "No administrator has a token. To issue one: {ISSUE}"
        ));
    }
    Ok(())
}

fn is(kind: OperationErrorKind, expected: LifecycleErrorKind) -> bool {
    kind == OperationErrorKind::Lifecycle(expected)
}
