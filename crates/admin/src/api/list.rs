//! The listing of tokens.

use axum::{
    Extension, Json, Router,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use tower_api_tokens::{TokenCursor, TokenFormats, TokenOrder, TokenQuery, TokenStatus};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::{
    cursor::Listing,
    extract::Params,
    fields::{AppIdText, Cursor, FormatLabel, Limit, NamePart, TokenIdText},
    filter::{ActorName, LastFour, OrderSchema},
    tokens::view,
    values::Instant,
};
use crate::{
    operations::{OperationError, Operator},
    problem::Problem,
    view::{StatusSchema, TokenView},
};

/// Creates the route of the handler below. The path must match its OpenAPI description.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/tokens", get(list_tokens))
}

#[derive(OpenApi)]
#[openapi(paths(list_tokens))]
pub(super) struct Paths;

/// The filter of a listing of tokens.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TokenParams {
    /// Return only the token with this identifier.
    #[param(inline, nullable = false)]
    id: Option<TokenIdText>,
    /// Return only tokens of this app.
    #[param(inline, nullable = false)]
    app_id: Option<AppIdText>,
    /// Return only tokens with this status.
    #[param(inline, nullable = false, value_type = Option<StatusSchema>)]
    status: Option<TokenStatus>,
    /// Return only tokens whose name contains this text. Ignores the case of ASCII letters.
    #[param(inline, nullable = false)]
    name: Option<NamePart>,
    /// Return only tokens of this format. Takes the label or the prefix of the format.
    #[param(inline, nullable = false)]
    format: Option<FormatLabel>,
    #[param(inline, nullable = false)]
    last_four: Option<LastFour>,
    /// Return only tokens that were created by this actor.
    #[param(inline, nullable = false)]
    created_by: Option<ActorName>,
    /// Return only tokens that were created before this instant.
    #[param(inline, nullable = false)]
    created_before: Option<Instant>,
    /// Return only tokens that expire before this instant. Sorts by `expiry` by default.
    #[param(inline, nullable = false)]
    expires_before: Option<Instant>,
    /// With `true`, return only tokens that never expire.
    #[serde(default)]
    #[param(default = false)]
    never_expires: bool,
    /// Return only tokens that were created before this instant and not used since. Only recorded uses
    /// count. Sorts by `last_used` by default.
    #[param(inline, nullable = false)]
    unused_since: Option<Instant>,
    /// With `true`, return only tokens without a recorded use.
    #[serde(default)]
    #[param(default = false)]
    never_used: bool,
    /// With `true`, return only tokens that were replaced in a rotation; with `false`, only those that
    /// were not.
    #[param(nullable = false)]
    replaced: Option<bool>,
    /// Return only tokens that were replaced in a rotation. With `true`, only those that were used
    /// afterwards; with `false`, only those that were not.
    #[param(nullable = false)]
    used_since_rotation: Option<bool>,
    /// The order: `newest` or `oldest` by the time of creation, `expiry` for the earliest expiry first,
    /// or `last_used` for the longest unused first. `expiry` and `last_used` leave out revoked tokens.
    /// Defaults to `newest`, or to the order that a filter names.
    #[param(inline, nullable = false, value_type = Option<OrderSchema>)]
    sort: Option<TokenOrder>,
    #[param(inline, nullable = false)]
    cursor: Option<Cursor>,
    #[param(inline, nullable = false)]
    limit: Option<Limit>,
}

impl TokenParams {
    fn query(self, listing: &Listing, formats: &TokenFormats) -> Result<TokenQuery, Problem> {
        let instant = |at: Option<Instant>| at.map(|Instant(at)| at);
        let mut query = TokenQuery::default().limit(Limit::of(self.limit));
        query.id = self.id.map(|TokenIdText(id)| id);
        query.app = self.app_id.map(|AppIdText(app)| app);
        query.status = self.status;
        query.name = self.name.map(|NamePart(part)| part);
        query.mask_tail = self.last_four.map(|LastFour(tail)| tail);
        query.created_by = self.created_by.map(|ActorName(actor)| actor);
        query.created_before = instant(self.created_before);
        query.expires_before = instant(self.expires_before);
        query.never_expires = self.never_expires;
        query.unused_since = instant(self.unused_since);
        query.never_used = self.never_used;
        query.replaced = self.replaced;
        query.used_since_rotation = self.used_since_rotation;
        query.order = self.sort;
        if let Some(FormatLabel(name)) = self.format {
            let format = formats.named(&name).map_err(OperationError::from)?;
            query = query.format(format);
        }
        query.check().map_err(|conflict| {
            Problem::unprocessable("contradictory_filters", conflict.to_string())
        })?;
        if let Some(Cursor(cursor)) = self.cursor {
            let order = query.order();
            let is_ours = |cursor: &TokenCursor| cursor.order() == order;
            let position = |bytes: &[u8]| token_cursor(bytes).filter(is_ours);
            query = query.after(listing.position(&cursor, position)?);
        }
        Ok(query)
    }
}

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
    let query = params.query(&listing, operator.formats())?;
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
