//! The token of the first administrator.

use tower_api_tokens::{
    AppId, LifecycleErrorKind, NewToken, ScopeSet, TokenQuery, admin::OperationErrorKind,
};

use crate::{failure::Failure, output::note, session::Session, token::hand_over};

/// The app that administrators' tokens belong to.
const APP: &str = "api-tokens-admin";

/// The identifier of the app that administrators' tokens belong to.
pub(super) fn app() -> Result<AppId, Failure> {
    AppId::new(APP).map_err(|error| Failure::failed(error.to_string()))
}

/// Issues a token with these scopes, and prints it, on the first start: that which creates the app of
/// administrators, as one does of several servers that start at once.
pub(super) async fn issue(session: &Session, scopes: ScopeSet) -> Result<(), Failure> {
    let app = app()?;
    let operator = &session.operator;
    if session.registry.app(&app).await?.is_some() {
        return remind(session, app).await;
    }
    match operator.create_app(Some(app), "Token administrators").await {
        Err(error) if is(error.kind(), LifecycleErrorKind::AppExists) => return Ok(()),
        created => drop(created?),
    }
    let token = NewToken::named("first administrator").scopes(scopes);
    let issued = operator.issue(&app, token, None).await?;
    note("This is the first start, so here is the token of the first administrator.");
    hand_over(session, &issued)
}

/// Says how to get a token where there is none: a later start makes none by itself, for whoever revoked
/// them all and purged them does not want that.
async fn remind(session: &Session, app: AppId) -> Result<(), Failure> {
    let some = TokenQuery::default().app(app).limit(1);
    if session.tokens.list(&some).await?.items.is_empty() {
        note(
            "No administrator has a token. To issue one: api-tokens token issue \
             --app api-tokens-admin --name administrator --scope tokens:admin --scope tokens:owner",
        );
    }
    Ok(())
}

fn is(kind: OperationErrorKind, expected: LifecycleErrorKind) -> bool {
    kind == OperationErrorKind::Lifecycle(expected)
}
