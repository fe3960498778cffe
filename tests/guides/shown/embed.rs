use axum::{Router, routing::get};
use tower_api_tokens::{ApiTokenLayer, ApiTokens};

/// Every route that needs a token.
fn guarded() -> Router {
    Router::new().route("/invoices", get(async || "…")).nest(
        "/reports",
        Router::new().route("/latest", get(async || "…")),
    )
}

fn app(tokens: &ApiTokens) -> Router {
    Router::new()
        .route("/health", get(async || "ok"))
        .fallback_service(guarded().layer(ApiTokenLayer::new(tokens)))
}
