//! A gRPC service with API tokens: tonic's health service, which requires a token here.
//!
//! Run `cargo run -p example-tonic`, and then the command that it prints. `LISTEN_ADDR` sets the address to listen
//! on.

use std::{env, error::Error};

use tokio::net::TcpListener;
use tonic::{Request, Status, service::InterceptorLayer, transport::server::TcpIncoming};
use tower::ServiceBuilder;
use tower_api_tokens::{
    ApiTokenLayer, ApiTokens, AppPrincipal, MemoryStore, NewToken, TokenFormat,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::var("LISTEN_ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("demo")?);
    let app = tokens.create_app("Billing").await?;
    let issued = tokens.issue(&app.id, NewToken::named("grpc")).await?;

    let listener = TcpListener::bind(&address).await?;
    println!(
        "try: grpcurl -plaintext -H 'authorization: Bearer {}' {} grpc.health.v1.Health/Check",
        issued.token().expose(),
        listener.local_addr()?,
    );

    let (_reporter, health) = tonic_health::server::health_reporter();
    let layers = ServiceBuilder::new()
        .layer(ApiTokenLayer::new(&tokens).grpc())
        .layer(InterceptorLayer::new(greet))
        .into_inner();
    tonic::transport::Server::builder()
        .layer(layers)
        .add_service(health)
        .serve_with_incoming(TcpIncoming::from(listener))
        .await?;
    Ok(())
}

/// Reads the principal from the request's extensions, as any interceptor or handler inside the layer can.
fn greet(request: Request<()>) -> Result<Request<()>, Status> {
    let principal = request.extensions().get::<AppPrincipal>();
    let principal = principal.ok_or_else(|| Status::internal("there is no token layer outside"))?;
    println!("called by {}", principal.app_name());
    Ok(request)
}
