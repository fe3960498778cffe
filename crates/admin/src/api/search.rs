//! The search for a token by its text.

use axum::{
    Extension, Json, Router,
    response::{IntoResponse, Response},
    routing::post,
};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::{
    extract::{NoParams, SecretBody},
    tokens::view,
};
use crate::{operations::Operator, problem::Problem, view::TokenView};

/// Creates the route of the handler below. The path must match its OpenAPI description.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/tokens/search", post(search_token))
}

#[derive(OpenApi)]
#[openapi(paths(search_token))]
pub(super) struct Paths;

/// The token to search for. It has no `Debug` output, so that the text is never logged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchToken {
    /// The text of the token. Leading and trailing white space is ignored.
    #[schema(write_only)]
    token: String,
}

/// The result of a search.
#[derive(Serialize, ToSchema)]
#[schema(as = FoundToken)]
pub(super) struct FoundView<'r> {
    /// The record of the token, or null if no token has this text.
    #[schema(required)]
    record: Option<TokenView<'r>>,
}

/// Find a token by its text.
///
/// Use it to find out what a leaked token belongs to. The audit log records the search, without the
/// text.
#[utoipa::path(
    post, path = "/tokens/search", tag = "tokens", request_body = SearchToken,
    responses(
        (status = OK, description = "The record of the token, or null.", body = FoundView),
        (status = UNPROCESSABLE_ENTITY,
            description = "The text has none of the accepted formats, or its checksum is wrong."),
    )
)]
pub(super) async fn search_token(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    SecretBody(body): SecretBody<SearchToken>,
) -> Result<Response, Problem> {
    let found = operator.find_token(&body.token).await?;
    let record = found.as_ref().map(|token| view(&operator, token));
    Ok(Json(FoundView { record }).into_response())
}
