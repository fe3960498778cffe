//! A poem service with API tokens.
//!
//! Run `cargo run -p example-poem`, and then the command that it prints. Ctrl-C stops it.

use std::{env, error::Error};

use poem::{
    Endpoint, EndpointExt, IntoResponse, Request, Response, Route, Server, handler,
    listener::{Acceptor, Listener, TcpListener},
    web::Data,
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

    let address = env::var("LISTEN_ADDR").unwrap_or("127.0.0.1:3003".into());
    let acceptor = TcpListener::bind(address).into_acceptor().await?;
    let (token, address) = (issued.token().expose(), &acceptor.local_addr()[0]);
    println!("try: curl -H 'Authorization: Bearer {token}' {address}/");
    let server = Server::new_with_acceptor(acceptor);
    Ok(server.run(routes(ApiTokenLayer::new(&tokens))).await?)
}

fn routes(layer: ApiTokenLayer) -> impl Endpoint {
    let guarded = Route::new().at("/", greet);
    guarded.around(move |next, request| authenticate(layer.clone(), request, next))
}

#[handler]
async fn greet(Data(principal): Data<&AppPrincipal>) -> String {
    format!("hello, {}\n", principal.app_name())
}

/// Passes only requests with a live token on.
async fn authenticate(
    layer: ApiTokenLayer,
    mut request: Request,
    next: impl Endpoint,
) -> poem::Result<Response> {
    layer.mark_sensitive(request.headers_mut());
    let head = RequestHead::new(request.method(), request.uri(), request.headers());
    match layer.authenticate_head(head).await {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.call(request).await.map(IntoResponse::into_response)
        }
        Err(refusal) => Ok(refused(&refusal)),
    }
}

fn refused(refusal: &Refusal) -> Response {
    let mut response = Response::from((refusal.status(), refusal.body().clone()));
    response.headers_mut().clone_from(refusal.headers());
    response
}
