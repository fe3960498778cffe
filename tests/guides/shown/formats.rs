use axum::{Router, routing::get};
use tonic::service::Routes;
use tower_api_tokens::{ApiTokenLayer, ApiTokens, MemoryStore, PrefixError, TokenFormat};

fn tokens() -> Result<ApiTokens, PrefixError> {
    Ok(ApiTokens::builder(MemoryStore::new(), TokenFormat::new("acme_live")?)
        .with_issued_format(TokenFormat::new("acme_test")?)
        .with_accepted_format(TokenFormat::new("acme")?)
        .build())
}

/// HTTP and gRPC on one port.
fn service(tokens: &ApiTokens, calls: Routes) -> Router {
    let layer = ApiTokenLayer::new(tokens);
    let http = Router::new()
        .route("/invoices", get(async || "…"))
        .route_layer(layer.clone());
    http.merge(calls.into_axum_router().layer(layer.grpc()))
}
