//! The listing of tokens.

use axum::{
    Extension, Json, Router,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use tower_api_tokens::TokenCursor;
use utoipa::{OpenApi, ToSchema};

use super::{cursor::Listing, extract::Params, fields::Cursor, params::TokenParams, tokens::view};
use crate::{operations::Operator, problem::Problem, view::TokenView};

/// Creates the route of the handler below. The path must match its OpenAPI description.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/tokens", get(list_tokens))
}

#[derive(OpenApi)]
#[openapi(paths(list_tokens))]
pub(super) struct Paths;

fn token_cursor(position: &[u8]) -> Option<TokenCursor> {
    str::from_utf8(position).ok()?.parse().ok()
}

/// A page of tokens.
#[derive(Serialize, ToSchema)]
#[schema(as = TokenPage)]
pub(super) struct TokenPageView<'r> {
    /// The tokens, in the order of the listing.
    items: Vec<TokenView<'r>>,
    /// The cursor of the next page, or null on the last page.
    #[schema(required)]
    next: Option<String>,
}

/// List tokens.
///
/// All filters must match.
#[utoipa::path(
    get, path = "/tokens", tag = "tokens", params(TokenParams),
    responses(
        (status = OK, description = "A page of tokens.", body = TokenPageView),
        (status = UNPROCESSABLE_ENTITY,
            description = "Two filters contradict each other, or no format has this label or prefix."),
    )
)]
pub(super) async fn list_tokens(
    Extension(operator): Extension<Operator>,
    listing: Listing,
    Params(params): Params<TokenParams>,
) -> Result<Response, Problem> {
    let (mut query, cursor) = params.query(operator.formats())?;
    if let Some(Cursor(cursor)) = cursor {
        let order = query.order();
        let is_ours = |cursor: &TokenCursor| cursor.order() == order;
        let position = |bytes: &[u8]| token_cursor(bytes).filter(is_ours);
        query = query.after(listing.position(&cursor, position)?);
    }
    let page = operator.list(&query).await?;
    let view = TokenPageView {
        items: page
            .items
            .iter()
            .map(|token| view(&operator, token))
            .collect(),
        next: page
            .next
            .map(|next| listing.cursor(next.to_string().as_bytes())),
    };
    Ok(Json(view).into_response())
}
