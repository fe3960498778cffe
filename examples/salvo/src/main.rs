//! A salvo service with API tokens.
//!
//! Run `cargo run -p example-salvo`, and then the command that it prints. Ctrl-C stops it.

use std::{env, error::Error};

use salvo::{
    Depot, FlowCtrl, Listener, Request, Response, Router, Server,
    conn::{Acceptor, TcpListener},
    handler,
};
use tower_api_tokens::{
    ApiTokenLayer, ApiTokens, AppPrincipal, MemoryStore, NewToken, Refusal, RequestHead,
    TokenFormat,
};

#[cfg(test)]
mod tests;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
    let app = tokens.create_app("Billing").await?;
    let issued = tokens.issue(&app.id, NewToken::named("ci")).await?;

    let address = env::var("LISTEN_ADDR").unwrap_or("127.0.0.1:3004".into());
    let acceptor = TcpListener::new(address).try_bind().await?;
    let (token, address) = (issued.token().expose(), &acceptor.holdings()[0].local_addr);
    println!("try: curl -H 'Authorization: Bearer {token}' {address}/");
    let server = Server::new(acceptor);
    Ok(server
        .try_serve(routes(ApiTokenLayer::new(&tokens)))
        .await?)
}

fn routes(layer: ApiTokenLayer) -> Router {
    Router::new().hoop(Authenticate(layer)).get(greet)
}

#[handler]
async fn greet(depot: &mut Depot) -> String {
    let principal = depot.get_typed::<AppPrincipal>().ok();
    let name = principal.map_or("nobody", AppPrincipal::app_name);
    format!("hello, {name}\n")
}

/// Passes only requests with a live token on.
struct Authenticate(ApiTokenLayer);

#[handler]
impl Authenticate {
    async fn handle(
        &self,
        request: &mut Request,
        depot: &mut Depot,
        response: &mut Response,
        next: &mut FlowCtrl,
    ) {
        self.0.mark_sensitive(request.headers_mut());
        let head = RequestHead::new(request.method(), request.uri(), request.headers());
        match self.0.authenticate_head(head).await {
            Ok(principal) => {
                depot.insert_typed(principal);
            }
            Err(refusal) => {
                refuse(response, &refusal);
                next.skip_rest();
            }
        }
    }
}

fn refuse(response: &mut Response, refusal: &Refusal) {
    response.status_code(refusal.status());
    response.set_headers(refusal.headers().clone());
    response.body(refusal.body().clone());
}
