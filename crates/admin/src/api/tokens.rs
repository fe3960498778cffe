use std::time::Duration;

use axum::{
    Extension, Json, Router,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{StatusCode, header::LOCATION};
use serde::{Deserialize, Serialize};
use tower_api_tokens::{
    IssuedToken, NewToken, Rotation, ScopeSet, TokenId, TokenQuery, TokenRecord, TokenStatus,
};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::{
    cursor::Listing,
    extract::{Body, Id, Key, NoParams, Params},
    fields::{
        AppIdText, Cursor, Expiry, FormatLabel, KeyText, Limit, Name, NamePart, ScopeText, Seconds,
        TokenIdText,
    },
};
use crate::{
    operations::Operator,
    problem::Problem,
    view::{IssuedView, StatusSchema, TokenView},
};

/// Creates the routes of the handlers below. The paths must match their OpenAPI descriptions.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/tokens", get(list_tokens).post(issue_token))
        .route("/tokens/{token}", get(get_token).patch(rename_token))
        .route("/tokens/{token}/rotate", post(rotate_token))
        .route("/tokens/{token}/revoke", post(revoke_token))
}

#[derive(OpenApi)]
#[openapi(paths(
    list_tokens,
    issue_token,
    get_token,
    rename_token,
    rotate_token,
    revoke_token
))]
pub(super) struct Paths;

/// The filter of a listing of tokens.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TokenParams {
    /// Return only tokens of this app.
    #[param(inline, nullable = false)]
    app_id: Option<AppIdText>,
    /// Return only tokens with this status.
    #[param(inline, nullable = false, value_type = Option<StatusSchema>)]
    status: Option<TokenStatus>,
    /// Return only tokens whose name contains this text. Ignores the case of ASCII letters.
    #[param(inline, nullable = false)]
    name: Option<NamePart>,
    #[param(inline, nullable = false)]
    cursor: Option<Cursor>,
    #[param(inline, nullable = false)]
    limit: Option<Limit>,
}

impl TokenParams {
    fn listing(&self) -> Listing {
        let app = self.app_id.as_ref().map(|AppIdText(app)| app.as_str());
        let status = self.status.map(|status| status.as_str());
        let name = self.name.as_ref().map(|NamePart(part)| part.as_str());
        let [app, status, name] = [app, status, name].map(Option::unwrap_or_default);
        Listing::new(&["tokens", app, status, name])
    }

    fn query(self, listing: &Listing) -> Result<TokenQuery, Problem> {
        let mut query = TokenQuery::default().limit(Limit::of(self.limit));
        query.app = self.app_id.map(|AppIdText(app)| app);
        query.status = self.status;
        query.name = self.name.map(|NamePart(part)| part);
        if let Some(Cursor(cursor)) = self.cursor {
            query = query.after(listing.position(&cursor, token_id)?);
        }
        Ok(query)
    }
}

fn token_id(position: &[u8]) -> Option<TokenId> {
    position.try_into().ok().map(TokenId::from_bytes)
}

/// A page of tokens.
#[derive(Serialize, ToSchema)]
#[schema(as = TokenPage)]
pub(super) struct TokenPageView<'r> {
    /// The tokens, newest first.
    items: Vec<TokenView<'r>>,
    /// The cursor of the next page, or null on the last page.
    #[schema(required)]
    next: Option<String>,
}

/// The token to issue.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewToken)]
pub(super) struct NewTokenBody {
    #[schema(inline)]
    app_id: AppIdText,
    #[schema(inline)]
    name: Name,
    /// The scopes of the token. Defaults to none. At most 1,024 characters in total, with a space
    /// between two scopes.
    #[serde(default)]
    #[schema(inline)]
    scopes: Vec<ScopeText>,
    /// The label of the token's format, for example `live` or `test`. Null or absent for the
    /// default one.
    #[schema(inline)]
    format: Option<FormatLabel>,
    /// When the token expires: an instant, or the last day on which it works. Null or absent if it
    /// never expires.
    #[schema(inline)]
    expires_at: Option<Expiry>,
}

/// The new name of a token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RenameToken {
    #[schema(inline)]
    name: Name,
}

/// The options of a rotation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RotateToken {
    #[schema(inline)]
    overlap_seconds: Seconds,
}

/// List tokens.
#[utoipa::path(
    get, path = "/tokens", tag = "tokens", params(TokenParams),
    responses((status = OK, description = "A page of tokens.", body = TokenPageView))
)]
pub(super) async fn list_tokens(
    Extension(operator): Extension<Operator>,
    Params(params): Params<TokenParams>,
) -> Result<Response, Problem> {
    let listing = params.listing();
    let page = operator.list(&params.query(&listing)?).await?;
    let view = TokenPageView {
        items: page
            .items
            .iter()
            .map(|token| view(&operator, token))
            .collect(),
        next: page.next.map(|token| listing.cursor(token.as_bytes())),
    };
    Ok(Json(view).into_response())
}

/// Issue a token.
///
/// Only this response contains the text of the token.
#[utoipa::path(
    post, path = "/tokens", tag = "tokens", request_body = NewTokenBody,
    params(("Idempotency-Key" = inline(Option<KeyText>), Header)),
    responses(
        (status = CREATED, description = "The new token, including its text.", body = IssuedView,
            headers(("Location" = String, description = "The URL of the new token, relative to the request."))),
        (status = NOT_FOUND, description = "The app does not exist."),
        (status = CONFLICT, description = "The app is disabled, or the request already created a token."),
        (status = UNPROCESSABLE_ENTITY,
            description = "The scopes are too long, the expiry is not in the future, tokens of the format are not issued, the app or a scope is limited to another format, or the idempotency key was used for another request."),
    )
)]
pub(super) async fn issue_token(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Key(key): Key,
    Body(body): Body<NewTokenBody>,
) -> Result<Response, Problem> {
    let lists: Vec<_> = body.scopes.iter().map(|list| list.0.as_str()).collect();
    let scopes = ScopeSet::parse_list(&lists.join(" "));
    let scopes = scopes.map_err(|error| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_scopes",
            error.to_string(),
        )
    })?;
    let mut new = NewToken::named(body.name.0).scopes(scopes);
    if let Some(Expiry(at)) = body.expires_at {
        new = new.expires_at(at);
    }
    if let Some(FormatLabel(label)) = body.format {
        new = new.format(label);
    }
    if let Some(key) = key {
        new = new.idempotency_key(key);
    }
    let issued = operator.issue(&body.app_id.0, new).await?;
    Ok(created(&operator, &issued, "tokens"))
}

/// Get a token.
#[utoipa::path(
    get, path = "/tokens/{token}", tag = "tokens", params(("token" = inline(TokenIdText), Path)),
    responses(
        (status = OK, description = "The token.", body = TokenView),
        (status = NOT_FOUND, description = "The token does not exist."),
    )
)]
pub(super) async fn get_token(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Id(TokenIdText(id)): Id<TokenIdText>,
) -> Result<Response, Problem> {
    let token = operator.get(id).await?;
    Ok(Json(view(&operator, &token)).into_response())
}

/// Rename a token.
#[utoipa::path(
    patch, path = "/tokens/{token}", tag = "tokens", request_body = RenameToken,
    params(("token" = inline(TokenIdText), Path)),
    responses(
        (status = OK, description = "The renamed token.", body = TokenView),
        (status = NOT_FOUND, description = "The token does not exist."),
    )
)]
pub(super) async fn rename_token(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Id(TokenIdText(id)): Id<TokenIdText>,
    Body(body): Body<RenameToken>,
) -> Result<Response, Problem> {
    let token = operator.rename(id, &body.name.0).await?;
    Ok(Json(view(&operator, &token)).into_response())
}

/// Rotate a token.
///
/// Issues a successor. Only this response contains its text. The old token keeps working for the
/// overlap, or until its own expiry if that comes first.
#[utoipa::path(
    post, path = "/tokens/{token}/rotate", tag = "tokens", request_body = RotateToken,
    params(
        ("token" = inline(TokenIdText), Path),
        ("Idempotency-Key" = inline(Option<KeyText>), Header),
    ),
    responses(
        (status = CREATED, description = "The successor, including its text.", body = IssuedView,
            headers(("Location" = String, description = "The URL of the successor, relative to the request."))),
        (status = NOT_FOUND, description = "The token does not exist."),
        (status = CONFLICT,
            description = "The token is revoked, expired or already rotated, its app is disabled, or the request already created a token."),
        (status = UNPROCESSABLE_ENTITY,
            description = "The overlap is too long, tokens of this format are not rotated, the app or a scope is limited to another format, or the idempotency key was used for another request."),
    )
)]
pub(super) async fn rotate_token(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Id(TokenIdText(id)): Id<TokenIdText>,
    Key(key): Key,
    Body(body): Body<RotateToken>,
) -> Result<Response, Problem> {
    let mut rotation = Rotation::new(Duration::from_secs(body.overlap_seconds.0));
    if let Some(key) = key {
        rotation = rotation.idempotency_key(key);
    }
    let issued = operator.rotate(id, rotation).await?;
    Ok(created(&operator, &issued, ".."))
}

/// Revoke a token.
///
/// Rejects the token permanently. Revoking it again changes nothing.
#[utoipa::path(
    post, path = "/tokens/{token}/revoke", tag = "tokens",
    params(("token" = inline(TokenIdText), Path)),
    responses(
        (status = OK, description = "The revoked token.", body = TokenView),
        (status = NOT_FOUND, description = "The token does not exist."),
    )
)]
pub(super) async fn revoke_token(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Id(TokenIdText(id)): Id<TokenIdText>,
) -> Result<Response, Problem> {
    let token = operator.revoke(id).await?;
    Ok(Json(view(&operator, &token)).into_response())
}

fn view<'r>(operator: &'r Operator, token: &'r TokenRecord) -> TokenView<'r> {
    let format = operator.formats().label_of(&token.mask);
    TokenView::at(operator.now(), token).with_format(format)
}

/// Returns the response that contains a token's text. `tokens` is the URL of the tokens, relative to
/// the request.
fn created(operator: &Operator, issued: &IssuedToken, tokens: &str) -> Response {
    let location = [(LOCATION, format!("{tokens}/{}", issued.record().id))];
    let format = operator.formats().label_of(&issued.record().mask);
    let view = IssuedView::at(operator.now(), issued).with_format(format);
    (StatusCode::CREATED, location, Json(view)).into_response()
}
