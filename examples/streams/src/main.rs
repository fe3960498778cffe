//! Run `cargo run -p example-streams`, and then one of the commands that it prints. After a minute the token
//! is revoked, and the stream ends. Ctrl-C stops the service.

use std::{env, error::Error, net::SocketAddr, time::Duration};

use example_streams::{Rechecks, routes};
use tokio::{net::TcpListener, signal, time::sleep};
use tower_api_tokens::{ApiTokens, MemoryStore, NewToken, TokenFormat};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
    let app = tokens.create_app("Billing").await?;
    let issued = tokens.issue(&app.id, NewToken::named("ci")).await?;

    let address = env::var("LISTEN_ADDR").unwrap_or_else(|_| "127.0.0.1:3003".into());
    let listener = TcpListener::bind(address).await?;
    let (token, address) = (issued.token().expose(), listener.local_addr()?);
    println!("try: curl -N -H 'Authorization: Bearer {token}' http://{address}/events");
    println!("or:  websocat -H 'Authorization: Bearer {token}' ws://{address}/echo");
    println!(
        "or:  grpcurl -plaintext -H 'authorization: Bearer {token}' {address} grpc.health.v1.Health/Watch"
    );
    let id = issued.record().id;
    let revoking = tokens.clone();
    tokio::spawn(async move {
        sleep(Duration::from_secs(60)).await;
        revoking.revoke(id).await
    });
    let rechecks = Rechecks::new(&tokens, Duration::from_secs(5));
    let service = routes(rechecks).into_make_service_with_connect_info::<SocketAddr>();
    // The open streams of a service that stops end with it.
    tokio::select! {
        served = axum::serve(listener, service) => served?,
        _ = signal::ctrl_c() => {}
    }
    Ok(())
}
