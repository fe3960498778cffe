use axum::{Router, routing::get};
use tonic::service::Routes;
use tower_api_tokens::{ApiTokenLayer, ApiTokens, AppPrincipal, MemoryStore, TokenFormat};

fn tokens() -> Result<ApiTokens, Box<dyn std::error::Error>> {
    let live = TokenFormat::new("acme_live")?.with_label("live")?;
    let test = TokenFormat::new("acme_test")?.with_label("test")?;
    let old = TokenFormat::new("acme")?.with_label("live")?;
    Ok(ApiTokens::builder(MemoryStore::new(), live)
        .with_issued_format(test)
        .with_accepted_format(old)
        .limit_scope("payments:write".parse()?, "live")
        .build())
}

/// Answers from made-up data if the token is for tests.
async fn invoices(app: AppPrincipal) -> &'static str {
    match app.format() {
        Some("test") => "made-up invoices",
        _ => "invoices",
    }
}

/// HTTP and gRPC on one port.
fn service(tokens: &ApiTokens, calls: Routes) -> Router {
    let layer = ApiTokenLayer::new(tokens);
    let http = Router::new()
        .route("/invoices", get(invoices))
        .route_layer(layer.clone());
    http.merge(calls.into_axum_router().layer(layer.grpc()))
}
