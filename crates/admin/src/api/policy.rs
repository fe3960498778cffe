use std::time::Duration;

use axum::{
    Extension, Json, Router,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use tower_api_tokens::Policy;
use utoipa::{OpenApi, ToSchema};

use super::{
    extract::{Body, IfMatch, IfMatchText, NoParams},
    fields::ScopeText,
    tagged,
    values::{Lifetime, ScopesOfApps, TokenCount, scopes},
};
use crate::{operations::Operator, problem::Problem, view::PolicyView};

/// Creates the routes of the handlers below. The paths must match their OpenAPI descriptions.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/policy", get(get_policy).put(set_policy))
}

#[derive(OpenApi)]
#[openapi(paths(get_policy, set_policy))]
pub(super) struct Paths;

/// The rules that every new or edited token must follow. A rule that is null or absent is removed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetPolicy {
    /// The maximum time from a token's creation to its expiry, in seconds. Every token must then have an expiry.
    #[schema(inline)]
    max_lifetime_seconds: Option<Lifetime>,
    /// The lifetime of tokens that are issued without an expiry, in seconds.
    #[schema(inline)]
    default_lifetime_seconds: Option<Lifetime>,
    /// Whether every token must have an expiry. Defaults to false.
    #[serde(default)]
    expiry_required: bool,
    /// How many live tokens an app may have. Tokens that have a successor do not count.
    #[schema(inline)]
    max_live_tokens: Option<TokenCount>,
    /// Whether the live tokens of an app must have different names. Defaults to false.
    #[serde(default)]
    unique_names: bool,
    /// The scopes that the tokens of an app may have. At most 1,024 characters in total.
    #[schema(inline)]
    scopes: Option<Vec<ScopeText>>,
    /// The scopes that the tokens of these apps may have, instead of `scopes`.
    #[serde(default)]
    #[schema(inline)]
    scopes_of: ScopesOfApps,
}

impl SetPolicy {
    fn read(self) -> Result<Policy, Problem> {
        let lifetime = |Lifetime(seconds)| Duration::from_secs(seconds);
        let mut policy = Policy::default();
        policy.max_lifetime = self.max_lifetime_seconds.map(lifetime);
        policy.default_lifetime = self.default_lifetime_seconds.map(lifetime);
        policy.expiry_required = self.expiry_required;
        let most = self.max_live_tokens;
        policy.max_live_tokens =
            most.map(|TokenCount(tokens)| u32::try_from(tokens).unwrap_or(u32::MAX));
        policy.unique_names = self.unique_names;
        policy.scopes = self.scopes.as_deref().map(scopes).transpose()?;
        policy.scopes_of = self.scopes_of.read()?;
        Ok(policy)
    }
}

/// Get the policy.
#[utoipa::path(
    get, path = "/policy", tag = "policy",
    responses((status = OK, description = "The policy.", body = PolicyView))
)]
pub(super) async fn get_policy(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
) -> Result<Response, Problem> {
    Ok(shown(&operator.policy().await?))
}

/// Set the policy.
///
/// Replaces all rules. Existing tokens stay as they are. Requires an actor who may grant everything.
#[utoipa::path(
    put, path = "/policy", tag = "policy", request_body = SetPolicy,
    params(("If-Match" = inline(Option<IfMatchText>), Header)),
    responses(
        (status = OK, description = "The new policy.", body = PolicyView),
        (status = PRECONDITION_FAILED, description = "The policy has another version."),
        (status = UNPROCESSABLE_ENTITY, description = "The scopes are too long."),
    )
)]
pub(super) async fn set_policy(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    IfMatch(version): IfMatch,
    Body(body): Body<SetPolicy>,
) -> Result<Response, Problem> {
    let policy = operator.set_policy(version, body.read()?).await?;
    Ok(shown(&policy))
}

fn shown(policy: &Policy) -> Response {
    let view = Json(PolicyView::from(policy));
    (tagged(policy.version()), view).into_response()
}
