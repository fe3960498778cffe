use std::time::Duration;

use axum::{
    Extension, Json, Router,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{StatusCode, header::LOCATION};
use serde::Deserialize;
use tower_api_tokens::{IssuedToken, NewToken, Rotation, TokenEdit, TokenRecord};
use utoipa::{OpenApi, ToSchema};

use super::{
    extract::{Body, Id, IfMatch, IfMatchText, Key, NoParams, Patch},
    fields::{AppIdText, Expiry, FormatLabel, KeyText, Name, ScopeText, Seconds, TokenIdText},
    tagged,
    values::{Instant, MetadataChanges, MetadataText, NetworkList, present, scopes},
};
use crate::{
    operations::Operator,
    problem::Problem,
    view::{IssuedView, TokenView},
};

/// Creates the routes of the handlers below. The paths must match their OpenAPI descriptions.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/tokens", post(issue_token))
        .route("/tokens/{token}", get(get_token).patch(edit_token))
        .route("/tokens/{token}/rotate", post(rotate_token))
        .route("/tokens/{token}/suspend", post(suspend_token))
        .route("/tokens/{token}/resume", post(resume_token))
        .route("/tokens/{token}/revoke", post(revoke_token))
}

#[derive(OpenApi)]
#[openapi(paths(
    issue_token,
    get_token,
    edit_token,
    rotate_token,
    suspend_token,
    resume_token,
    revoke_token
))]
pub(super) struct Paths;

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
    /// When the token expires: an instant, or the last day on which it works. Null if it never
    /// expires. If absent, the default lifetime of the policy applies; without one, the token never
    /// expires.
    #[serde(default, deserialize_with = "present")]
    #[schema(inline, value_type = Option<Expiry>)]
    expires_at: Option<Option<Expiry>>,
    /// The networks from which the token may be used: 1 to 100. Null or absent for everywhere.
    #[schema(inline)]
    networks: Option<NetworkList>,
    /// The instant before which the token is refused. Null or absent for none.
    #[schema(inline)]
    not_before: Option<Instant>,
    /// The metadata of the token: at most 8,192 bytes for all keys and values.
    #[serde(default)]
    #[schema(inline)]
    metadata: MetadataText,
}

impl NewTokenBody {
    fn read(self) -> Result<NewToken, Problem> {
        let mut new = NewToken::named(self.name.0)
            .scopes(scopes(&self.scopes)?)
            .metadata(self.metadata.read()?);
        new = match self.expires_at {
            Some(Some(Expiry(at))) => new.expires_at(at),
            Some(None) => new.never_expires(),
            None => new,
        };
        if let Some(FormatLabel(label)) = self.format {
            new = new.format(label);
        }
        if let Some(networks) = self.networks {
            new = new.networks(networks.read()?);
        }
        if let Some(Instant(at)) = self.not_before {
            new = new.not_before(at);
        }
        Ok(new)
    }
}

/// What to change in a token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1)]
pub(super) struct EditToken {
    #[serde(default, deserialize_with = "present")]
    #[schema(inline, nullable = false)]
    name: Option<Name>,
    /// The new scopes, replacing all existing ones. At most 1,024 characters in total, with a space between two scopes.
    #[serde(default, deserialize_with = "present")]
    #[schema(inline, nullable = false)]
    scopes: Option<Vec<ScopeText>>,
    /// When the token expires: an instant, or the last day on which it works. Null if it never
    /// expires.
    #[serde(default, deserialize_with = "present")]
    #[schema(inline, value_type = Option<Expiry>)]
    expires_at: Option<Option<Expiry>>,
    /// The networks from which the token may be used: 1 to 100. Null for everywhere.
    #[serde(default, deserialize_with = "present")]
    #[schema(inline, value_type = Option<NetworkList>)]
    networks: Option<Option<NetworkList>>,
    /// The keys to set, and those to remove, with null.
    #[serde(default, deserialize_with = "present")]
    #[schema(inline, nullable = false)]
    metadata: Option<MetadataChanges>,
}

impl EditToken {
    fn read(self) -> Result<TokenEdit, Problem> {
        let mut edit = TokenEdit::default();
        edit.name = self.name.map(|Name(name)| name);
        edit.scopes = self.scopes.as_deref().map(scopes).transpose()?;
        edit.expires_at = self.expires_at.map(|at| at.map(|Expiry(at)| at));
        let read = |networks: Option<NetworkList>| networks.map(NetworkList::read).transpose();
        edit.networks = self.networks.map(read).transpose()?;
        edit.metadata = self
            .metadata
            .map(MetadataChanges::into_patch)
            .unwrap_or_default();
        match edit.is_empty() {
            true => Err(Problem::no_changes()),
            false => Ok(edit),
        }
    }
}

/// The options of a rotation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RotateToken {
    #[schema(inline)]
    overlap_seconds: Seconds,
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
            description = "The scopes are too long, the expiry is not in the future, the networks are invalid, the metadata is too large, the policy does not allow the token, tokens of the format are not issued, the app or a scope is limited to another format, or the idempotency key was used for another request."),
    )
)]
pub(super) async fn issue_token(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Key(key): Key,
    Body(body): Body<NewTokenBody>,
) -> Result<Response, Problem> {
    let app = body.app_id.0;
    let mut new = body.read()?;
    if let Some(key) = key {
        new = new.idempotency_key(key);
    }
    let issued = operator.issue(&app, new).await?;
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
    Ok(shown(&operator, &token))
}

/// Edit a token.
///
/// A JSON merge patch (RFC 7396). Absent fields stay the same. The name and the metadata of any token can be edited.
/// Everything else can be edited only while the token is neither revoked nor expired.
#[utoipa::path(
    patch, path = "/tokens/{token}", tag = "tokens",
    request_body(content(
        (EditToken = "application/merge-patch+json"),
        (EditToken = "application/json"),
    )),
    params(
        ("token" = inline(TokenIdText), Path),
        ("If-Match" = inline(Option<IfMatchText>), Header),
    ),
    responses(
        (status = OK, description = "The edited token.", body = TokenView),
        (status = NOT_FOUND, description = "The token does not exist."),
        (status = CONFLICT,
            description = "The token is revoked or expired, or was rotated and cannot expire later."),
        (status = PRECONDITION_FAILED, description = "The token has another version."),
        (status = UNPROCESSABLE_ENTITY,
            description = "The scopes are too long, the expiry is not in the future, the networks are invalid, the metadata would be too large, or the policy does not allow the edit."),
    )
)]
pub(super) async fn edit_token(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Id(TokenIdText(id)): Id<TokenIdText>,
    IfMatch(version): IfMatch,
    Patch(body): Patch<EditToken>,
) -> Result<Response, Problem> {
    let edit = body.read()?;
    let token = match &edit.name {
        // The audit log distinguishes a rename from other edits.
        Some(name) if version.is_none() && edit == TokenEdit::default().name(name) => {
            operator.rename(id, name).await?
        }
        _ => operator.edit(id, version, edit).await?,
    };
    Ok(shown(&operator, &token))
}

/// Rotate a token.
///
/// Issues a successor. Only this response contains its text. The old token keeps working for the
/// overlap, or until its own expiry if that comes first.
#[utoipa::path(
    post, path = "/tokens/{token}/rotate", tag = "tokens", request_body = RotateToken,
    params(
        ("token" = inline(TokenIdText), Path),
        ("If-Match" = inline(Option<IfMatchText>), Header),
        ("Idempotency-Key" = inline(Option<KeyText>), Header),
    ),
    responses(
        (status = CREATED, description = "The successor, including its text.", body = IssuedView,
            headers(("Location" = String, description = "The URL of the successor, relative to the request."))),
        (status = NOT_FOUND, description = "The token does not exist."),
        (status = CONFLICT,
            description = "The token is revoked, expired, suspended or already rotated, its app is disabled, or the request already created a token."),
        (status = UNPROCESSABLE_ENTITY,
            description = "The overlap is too long, tokens of this format are not rotated, the app or a scope is limited to another format, the policy does not allow the successor, or the idempotency key was used for another request."),
        (status = PRECONDITION_FAILED, description = "The token has another version."),
    )
)]
pub(super) async fn rotate_token(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Id(TokenIdText(id)): Id<TokenIdText>,
    IfMatch(version): IfMatch,
    Key(key): Key,
    Body(body): Body<RotateToken>,
) -> Result<Response, Problem> {
    // With the rotation, so that a repeated request is recognized although the first one changed the version.
    let mut rotation = Rotation::new(Duration::from_secs(body.overlap_seconds.0)).version(version);
    if let Some(key) = key {
        rotation = rotation.idempotency_key(key);
    }
    let issued = operator.rotate(id, rotation).await?;
    Ok(created(&operator, &issued, ".."))
}

/// Suspend a token.
///
/// Rejects the token until it is resumed. Its expiry does not change. Suspending it again changes
/// nothing.
#[utoipa::path(
    post, path = "/tokens/{token}/suspend", tag = "tokens",
    params(
        ("token" = inline(TokenIdText), Path),
        ("If-Match" = inline(Option<IfMatchText>), Header),
    ),
    responses(
        (status = OK, description = "The suspended token.", body = TokenView),
        (status = NOT_FOUND, description = "The token does not exist."),
        (status = CONFLICT, description = "The token is revoked or expired."),
        (status = PRECONDITION_FAILED, description = "The token has another version."),
    )
)]
pub(super) async fn suspend_token(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Id(TokenIdText(id)): Id<TokenIdText>,
    IfMatch(version): IfMatch,
) -> Result<Response, Problem> {
    let token = operator.expecting(version).suspend(id).await?;
    Ok(shown(&operator, &token))
}

/// Resume a token.
///
/// Accepts a suspended token again. Resuming a token that is not suspended changes nothing.
#[utoipa::path(
    post, path = "/tokens/{token}/resume", tag = "tokens",
    params(
        ("token" = inline(TokenIdText), Path),
        ("If-Match" = inline(Option<IfMatchText>), Header),
    ),
    responses(
        (status = OK, description = "The resumed token.", body = TokenView),
        (status = NOT_FOUND, description = "The token does not exist."),
        (status = CONFLICT, description = "The token is revoked."),
        (status = PRECONDITION_FAILED, description = "The token has another version."),
    )
)]
pub(super) async fn resume_token(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Id(TokenIdText(id)): Id<TokenIdText>,
    IfMatch(version): IfMatch,
) -> Result<Response, Problem> {
    let token = operator.expecting(version).resume(id).await?;
    Ok(shown(&operator, &token))
}

/// Revoke a token.
///
/// Rejects the token permanently. Revoking it again changes nothing.
#[utoipa::path(
    post, path = "/tokens/{token}/revoke", tag = "tokens",
    params(
        ("token" = inline(TokenIdText), Path),
        ("If-Match" = inline(Option<IfMatchText>), Header),
    ),
    responses(
        (status = OK, description = "The revoked token.", body = TokenView),
        (status = NOT_FOUND, description = "The token does not exist."),
        (status = PRECONDITION_FAILED, description = "The token has another version."),
    )
)]
pub(super) async fn revoke_token(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Id(TokenIdText(id)): Id<TokenIdText>,
    IfMatch(version): IfMatch,
) -> Result<Response, Problem> {
    let token = operator.expecting(version).revoke(id).await?;
    Ok(shown(&operator, &token))
}

pub(super) fn view<'r>(operator: &'r Operator, token: &'r TokenRecord) -> TokenView<'r> {
    let format = operator.formats().label_of(&token.mask);
    TokenView::at(operator.now(), token).with_format(format)
}

fn shown(operator: &Operator, token: &TokenRecord) -> Response {
    let view = Json(view(operator, token));
    (tagged(token.version()), view).into_response()
}

/// Returns the response that contains a token's text. `tokens` is the URL of the tokens, relative to
/// the request.
fn created(operator: &Operator, issued: &IssuedToken, tokens: &str) -> Response {
    let location = [(LOCATION, format!("{tokens}/{}", issued.record().id))];
    let format = operator.formats().label_of(&issued.record().mask);
    let view = Json(IssuedView::at(operator.now(), issued).with_format(format));
    let tag = tagged(issued.record().version());
    (StatusCode::CREATED, location, tag, view).into_response()
}
