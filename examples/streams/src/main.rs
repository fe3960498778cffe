//! Run `cargo run -p example-streams`, and then the command that it prints. Revoke nothing and the stream
//! goes on; the token is revoked after a minute, and the stream ends. Ctrl-C stops the service.

use std::{env, error::Error, time::Duration};

use example_streams::{Rechecks, Watched, routes};
use tokio::{net::TcpListener, signal, time::sleep};
use tonic::transport::server::TcpIncoming;
use tonic_health::pb::health_server::HealthServer;
use tower_api_tokens::{ApiTokenLayer, ApiTokens, MemoryStore, NewToken, TokenFormat};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
    let app = tokens.create_app("Billing").await?;
    let issued = tokens.issue(&app.id, NewToken::named("ci")).await?;
    let rechecks = Rechecks::new(&tokens, Duration::from_secs(5));

    let http = env::var("LISTEN_ADDR").unwrap_or_else(|_| "127.0.0.1:3003".into());
    let http = TcpListener::bind(http).await?;
    let grpc = TcpListener::bind("127.0.0.1:0").await?;
    let (token, address) = (issued.token().expose(), http.local_addr()?);
    println!("try: curl -N -H 'Authorization: Bearer {token}' http://{address}/events");
    println!(
        "or:  grpcurl -plaintext -H 'authorization: Bearer {token}' {} grpc.health.v1.Health/Watch",
        grpc.local_addr()?
    );
    let health = HealthServer::new(Watched(rechecks.clone()));
    let calls = tonic::transport::Server::builder()
        .layer(ApiTokenLayer::new(&tokens).grpc())
        .add_service(health)
        .serve_with_incoming(TcpIncoming::from(grpc));
    let served = axum::serve(http, routes(rechecks));
    let revoking = async {
        sleep(Duration::from_secs(60)).await;
        tokens.revoke(issued.record().id).await
    };
    tokio::select! {
        served = async { tokio::join!(revoking, served) } => {
            served.0?;
            served.1?;
        }
        served = calls => served?,
        _ = signal::ctrl_c() => {}
    }
    Ok(())
}
