//! A service with API tokens that uses only hyper and tower, without a framework.
//!
//! Run `cargo run -p example-hyper`, and then the command that it prints. Ctrl-C stops it.

use std::{convert::Infallible, env, error::Error};

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, signal};
use tower::{ServiceBuilder, service_fn};
use tower_api_tokens::{
    ApiTokenLayer, ApiTokens, AppPrincipal, MemoryStore, NewToken, TokenFormat,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
    let app = tokens.create_app("Billing").await?;
    let issued = tokens.issue(&app.id, NewToken::named("ci")).await?;

    let service = ServiceBuilder::new()
        .layer(ApiTokenLayer::new(&tokens))
        .service(service_fn(greet));

    let address = env::var("LISTEN_ADDR").unwrap_or_else(|_| "127.0.0.1:3001".into());
    let listener = TcpListener::bind(address).await?;
    let (token, address) = (issued.token().expose(), listener.local_addr()?);
    println!("try: curl -H 'Authorization: Bearer {token}' http://{address}/");
    loop {
        let (connection, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = signal::ctrl_c() => return Ok(()),
        };
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            let served = server.serve_connection(TokioIo::new(connection), service);
            if let Err(error) = served.await {
                eprintln!("connection failed: {error}");
            }
        });
    }
}

async fn greet(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let principal = request.extensions().get::<AppPrincipal>();
    let name = principal.map_or("nobody", AppPrincipal::app_name);
    Ok(Response::new(Full::from(format!("hello, {name}\n"))))
}
