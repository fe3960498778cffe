//! Run `cargo run -p example-credentials`, and then the commands that it prints. Ctrl-C stops it.

use std::{env, error::Error};

use example_credentials::{DEMO_MASTER_KEY, Keys, commands, service};
use tokio::{net::TcpListener, signal};
use tower_api_tokens::{ApiTokens, MemoryStore, NewToken, TokenFormat};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
    let app = tokens.create_app("Billing").await?;
    let issued = tokens.issue(&app.id, NewToken::named("ci")).await?;

    let master = env::var("MASTER_KEY").unwrap_or_else(|_| DEMO_MASTER_KEY.into());
    let secret = env::var("JWT_SECRET").unwrap_or_else(|_| "jwt-secret-for-the-demo".into());
    let service = service(&tokens, Keys::new(&master, secret.as_bytes()))?;

    let address = env::var("LISTEN_ADDR").unwrap_or_else(|_| "127.0.0.1:3002".into());
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    for command in commands(issued.token().expose(), &master, address) {
        println!("try: {command}");
    }
    axum::serve(listener, service)
        .with_graceful_shutdown(async { signal::ctrl_c().await.unwrap_or_default() })
        .await?;
    Ok(())
}
