//! The token of the first administrator.

use tower_api_tokens::{
    AppId, LifecycleErrorKind, NewToken, ScopeSet, TokenQuery,
    admin::{OperationErrorKind, RequestKey},
};

use crate::{failure::Failure, output::note, session::Session, token::hand_over};

/// The app that administrators' tokens belong to.
const APP: &str = "api-tokens-admin";

/// Issues a token with these scopes, and prints it, where no administrator has had one yet. Of
/// several servers that start at once, one does.
pub(super) async fn issue(session: &Session, scopes: ScopeSet) -> Result<(), Failure> {
    let app = AppId::new(APP).map_err(|error| Failure::failed(error.to_string()))?;
    let operator = &session.operator;
    if session.registry.app(&app).await?.is_none() {
        match operator.create_app(Some(app), "Token administrators").await {
            Err(error) if is(error.kind(), LifecycleErrorKind::AppExists) => {}
            created => drop(created?),
        }
    }
    let some = TokenQuery::default().app(app).limit(1);
    if !session.tokens.list(&some).await?.items.is_empty() {
        return Ok(());
    }
    let key = RequestKey::new("first").map_err(|error| Failure::failed(error.to_string()))?;
    let token = NewToken::named("first administrator").scopes(scopes);
    match operator.issue(&app, token, Some(&key)).await {
        Err(error) if is(error.kind(), LifecycleErrorKind::Repeated) => Ok(()),
        issued => {
            let issued = issued?;
            note("This is the first start, so here is the token of the first administrator.");
            hand_over(session, &issued)
        }
    }
}

fn is(kind: OperationErrorKind, expected: LifecycleErrorKind) -> bool {
    kind == OperationErrorKind::Lifecycle(expected)
}
