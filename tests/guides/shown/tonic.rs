use tonic::{
    service::LayerExt,
    transport::{Server, server::Router},
};
use tower::layer::util::{Identity, Stack};
use tower_api_tokens::{ApiTokenLayer, ApiTokens, ScopeError};

fn server(tokens: &ApiTokens) -> Result<Router<Stack<ApiTokenLayer, Identity>>, ScopeError> {
    let authenticate = ApiTokenLayer::new(tokens).grpc();
    let may_read_health = authenticate.require_all("health:read".parse()?);

    // A generated service, such as `InvoicesServer::new(…)`.
    let (_, health) = tonic_health::server::health_reporter();
    Ok(Server::builder()
        .layer(authenticate)
        .add_service(may_read_health.named_layer(health)))
}
