//! An actix-web service with API tokens. actix-web uses an earlier version of the crate `http`.
//!
//! Run `cargo run -p example-actix`, and then the command that it prints. Ctrl-C stops it.

use actix_web::{
    App, HttpMessage, HttpResponse, HttpServer,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    error::ErrorBadRequest,
    http::StatusCode,
    middleware::{Next, from_fn},
    web,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use tower_api_tokens::{
    ApiTokenLayer, ApiTokens, AppPrincipal, MemoryStore, NewToken, Refusal, RequestHead,
    TokenFormat,
};

#[cfg(test)]
mod tests;

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
    let app = tokens.create_app("Billing").await?;
    let issued = tokens.issue(&app.id, NewToken::named("ci")).await?;

    let layer = web::Data::new(ApiTokenLayer::new(&tokens));
    let server = HttpServer::new(move || App::new().configure(|app| routes(app, &layer)));
    let server = server.bind(std::env::var("LISTEN_ADDR").unwrap_or("127.0.0.1:3002".into()))?;
    let (token, address) = (issued.token().expose(), server.addrs()[0]);
    println!("try: curl -H 'Authorization: Bearer {token}' http://{address}/");
    Ok(server.run().await?)
}

fn routes(app: &mut web::ServiceConfig, layer: &web::Data<ApiTokenLayer>) {
    let greet = web::to(greet).wrap(from_fn(authenticate));
    app.app_data(layer.clone()).route("/", greet);
}

async fn greet(principal: web::ReqData<AppPrincipal>) -> String {
    format!("hello, {}\n", principal.app_name())
}

/// Passes only requests with a live token on.
async fn authenticate(
    layer: web::Data<ApiTokenLayer>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> actix_web::Result<ServiceResponse<impl MessageBody>> {
    let (method, uri, headers) = converted(&request).map_err(ErrorBadRequest)?;
    let head = RequestHead::new(&method, &uri, &headers);
    Ok(match layer.authenticate_head(head).await {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.call(request).await?.map_into_left_body()
        }
        Err(refusal) => refused(request, &refusal).map_into_right_body(),
    })
}

fn converted(request: &ServiceRequest) -> Result<(Method, Uri, HeaderMap), http::Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers() {
        let name = HeaderName::from_bytes(name.as_ref())?;
        headers.append(name, HeaderValue::from_bytes(value.as_bytes())?);
    }
    let method = Method::from_bytes(request.method().as_str().as_bytes())?;
    Ok((method, request.uri().to_string().try_into()?, headers))
}

fn refused(request: ServiceRequest, refusal: &Refusal) -> ServiceResponse {
    let status = StatusCode::from_u16(refusal.status().as_u16());
    let mut response = HttpResponse::build(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    for (name, value) in refusal.headers() {
        response.append_header((name.as_str(), value.as_bytes()));
    }
    request.into_response(response.body(refusal.body().clone()))
}
