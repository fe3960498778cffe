//! The revocation of many tokens: counted first, then confirmed.

use axum::{
    Extension, Json, Router,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use tower_api_tokens::TokenSelection;
use utoipa::{OpenApi, ToSchema};

use super::{
    extract::{Body, Params},
    fields::TokenIdText,
    params::SelectionParams,
    values::SelectedCount,
};
use crate::{operations::Operator, problem::Problem, view::RevocationView};

/// Creates the routes of the handlers below. The paths must match their OpenAPI descriptions.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let revocation = get(select_tokens).post(revoke_tokens);
    Router::new().route("/tokens/revocation", revocation)
}

#[derive(OpenApi)]
#[openapi(paths(select_tokens, revoke_tokens))]
pub(super) struct Paths;

/// The tokens that filters select.
#[derive(Serialize, ToSchema)]
#[schema(as = Selection)]
struct SelectionView {
    /// How many tokens there are.
    count: usize,
    /// The greatest identifier of a token, or null if there is none.
    #[schema(required, value_type = Option<String>, format = "uuid")]
    newest: Option<String>,
}

/// The selection to revoke, as the count returned it: how many tokens at most, and the greatest identifier of
/// one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RevokeTokens)]
pub(super) struct RevokeTokens {
    #[schema(inline)]
    count: SelectedCount,
    #[schema(inline)]
    newest: TokenIdText,
}

/// Count the tokens that a revocation would include.
///
/// Without those that have expired or been revoked, and without the token of the caller.
#[utoipa::path(
    get, path = "/tokens/revocation", tag = "tokens", params(SelectionParams),
    responses(
        (status = OK, description = "The number of tokens.", body = SelectionView),
        (status = UNPROCESSABLE_ENTITY,
            description = "Two filters contradict each other, no format has this label or prefix, or more than 100,000 tokens match."),
    )
)]
pub(super) async fn select_tokens(
    Extension(operator): Extension<Operator>,
    Params(params): Params<SelectionParams>,
) -> Result<Response, Problem> {
    let query = params.query(operator.formats())?;
    let selection = operator.select_for_revocation(&query).await?;
    let view = SelectionView {
        count: selection.as_ref().map_or(0, |selection| selection.count),
        newest: selection.map(|selection| selection.newest.to_string()),
    };
    Ok(Json(view).into_response())
}

/// Revoke many tokens.
///
/// Send the same filters as for the count, and what it returned. Tokens that were created since then, or
/// that no longer match, are left out. To continue after an error, send the request again.
#[utoipa::path(
    post, path = "/tokens/revocation", tag = "tokens", params(SelectionParams),
    request_body = RevokeTokens,
    responses(
        (status = OK, description = "The tokens were revoked.", body = RevocationView),
        (status = CONFLICT, description = "More tokens match than were counted. None was revoked."),
        (status = UNPROCESSABLE_ENTITY,
            description = "Two filters contradict each other, or no format has this label or prefix."),
    )
)]
pub(super) async fn revoke_tokens(
    Extension(operator): Extension<Operator>,
    Params(params): Params<SelectionParams>,
    Body(body): Body<RevokeTokens>,
) -> Result<Response, Problem> {
    let query = params.query(operator.formats())?;
    let (TokenIdText(newest), SelectedCount(count)) = (body.newest, body.count);
    let count = usize::try_from(count).unwrap_or(TokenSelection::MAX_COUNT);
    let selection = TokenSelection::new(query, newest, count);
    let revocation = operator.revoke_selected(&selection).await?;
    Ok(Json(RevocationView::from(&revocation)).into_response())
}
