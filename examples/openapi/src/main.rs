//! Run `cargo run -p example-openapi`, and then the commands that it prints. Ctrl-C stops it.

use std::{env, error::Error};

use example_openapi::service;
use tokio::{net::TcpListener, signal};
use tower_api_tokens::{ApiTokens, MemoryStore, NewToken, TokenFormat};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
    let app = tokens.create_app("Billing").await?;
    let token = NewToken::named("ci").scopes("invoices:read".parse()?);
    let issued = tokens.issue(&app.id, token).await?;
    let service = service(&tokens)?;

    let address = env::var("LISTEN_ADDR").unwrap_or_else(|_| "127.0.0.1:3005".into());
    let listener = TcpListener::bind(address).await?;
    let (token, address) = (issued.token().expose(), listener.local_addr()?);
    println!("try: curl http://{address}/openapi.json");
    println!("or:  curl -i -H 'x-api-key: {token}' http://{address}/invoices");
    println!("or:  curl -i -H 'x-api-key: {token}' -X POST http://{address}/invoices");
    axum::serve(listener, service)
        .with_graceful_shutdown(async { signal::ctrl_c().await.unwrap_or_default() })
        .await?;
    Ok(())
}
