//! A service with two rate limits, by `governor` and `tower_governor`:
//!
//! - [one for each plan](plans), which counts the requests of an app after its token was verified. The plan
//!   is in the app's metadata.
//! - [one for refusals](refusals), which counts the refused requests of a client's address.
//!
//! The layer for API tokens itself counts nothing.

pub mod plans;
pub mod refusals;

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::get,
};
use governor::clock::Clock;
use http::{
    StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use tower::{ServiceExt, service_fn};
use tower_api_tokens::{ApiTokenLayer, ApiTokens, AppPrincipal};

use plans::PlanLimits;
use refusals::{RefusalLimit, limit_refusals};

/// Creates the service. Its clients' addresses come from axum's `ConnectInfo`.
pub fn service<C>(tokens: &ApiTokens, plans: &PlanLimits, refusals: Arc<RefusalLimit<C>>) -> Router
where
    C: Clock + Clone + Send + Sync + 'static,
{
    let routes = Router::new().route("/invoices", get(invoices));
    // The routes once for each plan, with the limit of the plan.
    let limited = plans.iter().map(|plan| routes.clone().layer(plan.layer()));
    let limited: Arc<[Router]> = limited.collect();
    let by_plan = service_fn(move |request: Request| {
        let plan = plans::index_of(&request);
        limited[plan].clone().oneshot(request)
    });
    // The last layer runs first: refusals, then tokens, then plans.
    Router::new()
        .fallback_service(by_plan)
        .layer(ApiTokenLayer::new(tokens))
        .layer(from_fn_with_state(refusals, limit_refusals))
}

async fn invoices(app: AppPrincipal) -> String {
    format!("invoices of {}", app.app_name())
}

/// The response to a client that has to wait for this many seconds.
fn too_many_requests(seconds: u64, detail: &str) -> Response {
    let body = format!(
        r#"{{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"{detail}"}}"#
    );
    let headers = [
        (CONTENT_TYPE, "application/problem+json".to_owned()),
        (CACHE_CONTROL, "no-store".to_owned()),
        (RETRY_AFTER, seconds.to_string()),
    ];
    (StatusCode::TOO_MANY_REQUESTS, headers, body).into_response()
}
