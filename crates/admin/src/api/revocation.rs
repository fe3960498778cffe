//! The revocation of many tokens: those that filters select, counted first and then confirmed, or those
//! with given identifiers.

use axum::{
    Extension, Json, Router,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use tower_api_tokens::{PageSize, TokenId, TokenSelection};
use utoipa::{
    OpenApi, PartialSchema, ToSchema,
    openapi::{ArrayBuilder, RefOr, Schema},
};

use super::{
    extract::{Body, NoParams, Params},
    fields::TokenIdText,
    params::SelectionParams,
    values::SelectedCount,
};
use crate::{operations::Operator, problem::Problem, view::RevocationView};

/// Creates the routes of the handlers below. The paths must match their OpenAPI descriptions.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let revocation = get(select_tokens).post(revoke_tokens);
    Router::new()
        .route("/tokens/revocation", revocation)
        .route("/tokens/revoke", post(revoke_listed))
}

#[derive(OpenApi)]
#[openapi(paths(select_tokens, revoke_tokens, revoke_listed))]
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

/// The tokens to revoke.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RevokeListedTokens)]
pub(super) struct RevokeListed {
    #[schema(inline)]
    token_ids: TokenIds,
}

/// The identifiers of tokens: as many as one transaction revokes.
struct TokenIds(Vec<TokenId>);

impl<'de> Deserialize<'de> for TokenIds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ids = Vec::<TokenIdText>::deserialize(deserializer)?;
        match ids.len() {
            1..=PageSize::MAX => Ok(Self(ids.into_iter().map(|id| id.0).collect())),
            _ => Err(D::Error::custom(
                "expected 1 to 1,000 identifiers of tokens",
            )),
        }
    }
}

impl PartialSchema for TokenIds {
    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new()
            .items(TokenIdText::schema())
            .description(Some("The identifiers of the tokens."))
            .min_items(Some(1))
            .max_items(Some(PageSize::MAX))
            .into()
    }
}

impl ToSchema for TokenIds {}

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

/// Revoke the tokens with these identifiers.
///
/// Tokens that do not exist, have expired or were revoked before are left out, and so is the token of the
/// caller. To continue after an error, send the request again.
#[utoipa::path(
    post, path = "/tokens/revoke", tag = "tokens", request_body = RevokeListed,
    responses((status = OK, description = "The tokens were revoked.", body = RevocationView))
)]
pub(super) async fn revoke_listed(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Body(body): Body<RevokeListed>,
) -> Result<Response, Problem> {
    let revocation = operator.revoke_many(&body.token_ids.0).await?;
    Ok(Json(RevocationView::from(&revocation)).into_response())
}
