//! The first administrator's token.

use std::{
    io::{self, ErrorKind},
    path::Path,
};

use tower_api_tokens::{
    AppId, IssuedToken, LifecycleErrorKind, NewApp, NewToken, ScopeSet, TokenQuery,
};
use tower_api_tokens_admin::OperationErrorKind;

use super::token_file::TokenFile;
use crate::{failure::Failure, note::note, session::Session, time::Expiry, views::time_or};

/// The identifier of the app that administrators' tokens belong to.
const APP: &str = "api-tokens-admin";

/// Returns the identifier of the app that administrators' tokens belong to.
pub(super) fn app() -> Result<AppId, Failure> {
    AppId::new(APP).map_err(|error| Failure::failed(error.to_string()))
}

/// The command that issues an administrator token.
const ISSUE: &str = "api-tokens token issue --app id:api-tokens-admin --name administrator --scope tokens:admin,tokens:owner";

/// The properties of the token, and the file for it.
pub(super) struct FirstToken<'a> {
    pub(super) scopes: ScopeSet,
    pub(super) expiry: Expiry,
    pub(super) file: &'a Path,
}

impl FirstToken<'_> {
    /// Issues the token on the first start, and writes it to the file. The first start is the one that
    /// creates the app of administrators. If several servers start concurrently, only one does.
    pub(super) async fn issue(self, session: &Session) -> Result<(), Failure> {
        let app = app()?;
        let exists = async || Ok::<_, Failure>(session.registry.app(&app).await?.is_some());
        if exists().await? {
            return explain_if_none(session, app).await;
        }
        let file = match TokenFile::reserve(self.file) {
            Ok(file) => file,
            // Another server that is starting created the app and wrote the file.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && exists().await? => {
                return Ok(());
            }
            Err(error) => return Err(self.cannot_write(error)),
        };
        let operator = &session.operator;
        match operator
            .create_app(NewApp::named("Token administrators").id(app))
            .await
        {
            Err(error) if is(error.kind(), LifecycleErrorKind::AppExists) => return Ok(()),
            created => drop(created?),
        }
        let mut token = NewToken::named("first administrator").scopes(self.scopes.clone());
        if let Some(format) = session.tokens.formats().required(&app, &self.scopes) {
            token = token.format(format);
        }
        let issued = operator.issue(&app, self.expiry.apply(token)).await?;
        if let Err(error) = file.write(issued.token()) {
            return Err(revoke_unwritten(session, &issued, self.cannot_write(error)).await);
        }
        note(&format!(
            "Wrote the first administrator's token to `{}`. It expires: {}. To sign in to the dashboard, use it as the password with any user name. To issue another: {ISSUE}",
            self.file.display(),
            time_or(issued.record().expires_at, "never"),
        ));
        Ok(())
    }

    fn cannot_write(&self, error: io::Error) -> Failure {
        Failure::failed(format!(
            "cannot write the first administrator's token to `{}`",
            self.file.display()
        ))
        .because(error)
        .advising("With `--admin-token-file`, choose a file that does not exist, in a directory that you can write to.")
    }
}

/// Revokes a token that could not be written.
async fn revoke_unwritten(session: &Session, issued: &IssuedToken, failure: Failure) -> Failure {
    let id = issued.record().id;
    match session.operator.revoke(id).await {
        Ok(_) => failure.advising(format!("The token was revoked. To issue another: {ISSUE}")),
        Err(_) => failure.advising(format!(
            "The token could not be revoked either. Revoke it with `api-tokens token revoke {id}`. To issue another: {ISSUE}"
        )),
    }
}

/// Explains how to issue a token if none exists. A later start issues none, because an operator who
/// revoked and purged all of them did so on purpose.
async fn explain_if_none(session: &Session, app: AppId) -> Result<(), Failure> {
    let some = TokenQuery::default().app(app).limit(1);
    if session.tokens.list(&some).await?.items.is_empty() {
        note(&format!(
            "No administrator token exists. To issue one: {ISSUE}"
        ));
    }
    Ok(())
}

fn is(kind: OperationErrorKind, expected: LifecycleErrorKind) -> bool {
    kind == OperationErrorKind::Lifecycle(expected)
}
