use std::convert::Infallible;

use http::{Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};
use tower_api_tokens::{
    ApiTokenLayer, ApiTokens, AppPrincipal, MemoryStore, NewToken, Rejection, RejectionKind,
    TokenFormat,
};

async fn platform(app: &str) -> (ApiTokens, String) {
    let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme").unwrap());
    let app = tokens.create_app(app).await.unwrap();
    let issued = tokens.issue(&app.id, NewToken::named("ci")).await.unwrap();
    let token = issued.token().expose().to_owned();
    (tokens, token)
}

fn present(token: &str) -> Request<()> {
    let value = format!("Bearer {token}");
    Request::get("/")
        .header("authorization", value)
        .body(())
        .unwrap()
}

async fn name(request: Request<()>) -> Result<Response<String>, Infallible> {
    let principal = request.extensions().get::<AppPrincipal>();
    let name = principal.map_or("nobody", AppPrincipal::app_name);
    Ok(Response::builder()
        .header("x-app", name)
        .body(String::new())
        .unwrap())
}

async fn outer_principal() -> AppPrincipal {
    let (tokens, token) = platform("Forged").await;
    tokens
        .authenticator()
        .authenticate(token.as_bytes())
        .await
        .unwrap()
}

#[tokio::test]
async fn the_inner_layers_verdict_wins() {
    let ((outer, ours), (inner, _)) = (platform("Outer").await, platform("Inner").await);
    let both = ApiTokenLayer::new(&outer).layer(ApiTokenLayer::new(&inner).layer(service_fn(name)));
    let response = both.oneshot(present(&ours)).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let kind = response.extensions().get().map(Rejection::kind);
    assert_eq!(kind, Some(RejectionKind::UnknownToken));
}

#[tokio::test]
async fn each_layer_verifies_once() {
    let (tokens, token) = platform("Billing").await;
    let layer = ApiTokenLayer::new(&tokens);
    let both = layer.layer(layer.layer(service_fn(name)));
    let response = both.oneshot(present(&token)).await.unwrap();
    assert_eq!(response.headers()["x-app"], "Billing");
    let stats = tokens.authenticator().stats();
    assert_eq!(stats.hits + stats.lookups, 2);
}

#[tokio::test]
async fn a_principal_that_was_there_before_is_removed() {
    let (tokens, token) = platform("Billing").await;
    let forged = outer_principal().await;
    let forge = |mut request: Request<()>| {
        request.extensions_mut().insert(forged.clone());
        request
    };
    let service = |layer: ApiTokenLayer| layer.layer(service_fn(name));
    let layer = || ApiTokenLayer::new(&tokens);

    let refused = service(layer())
        .oneshot(forge(Request::new(())))
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let admitted = service(layer())
        .oneshot(forge(present(&token)))
        .await
        .unwrap();
    assert_eq!(admitted.headers()["x-app"], "Billing");
    let remembered = service(layer())
        .oneshot(forge(present(&token)))
        .await
        .unwrap();
    assert_eq!(remembered.headers()["x-app"], "Billing");
    let anonymous = service(layer().optional())
        .oneshot(forge(Request::new(())))
        .await
        .unwrap();
    assert_eq!(anonymous.headers()["x-app"], "nobody");
    let preflight = Request::options("/")
        .header("origin", "https://acme.example")
        .header("access-control-request-method", "GET")
        .body(())
        .unwrap();
    let preflight = service(layer().allow_preflight())
        .oneshot(forge(preflight))
        .await
        .unwrap();
    assert_eq!(preflight.headers()["x-app"], "nobody");
}

#[tokio::test]
async fn the_inner_services_own_401_is_untouched() {
    let (tokens, token) = platform("Billing").await;
    let service = ApiTokenLayer::new(&tokens).layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(
            Response::builder()
                .status(401)
                .header("www-authenticate", "Custom")
                .body("mine".to_owned())
                .unwrap(),
        )
    }));
    let response = service.oneshot(present(&token)).await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers().len(), 1);
    assert_eq!(response.headers()["www-authenticate"], "Custom");
    assert!(response.extensions().is_empty());
}

#[tokio::test]
async fn responses_show_the_principal_where_that_was_asked_for() {
    let (tokens, token) = platform("Billing").await;
    let shown = |response: &Response<_>| response.extensions().get::<AppPrincipal>().is_some();
    let silent = ApiTokenLayer::new(&tokens).layer(service_fn(name));
    assert!(!shown(
        &silent.oneshot(present(&token)).await.unwrap().map(drop)
    ));
    let open = ApiTokenLayer::new(&tokens)
        .attribute_responses()
        .layer(service_fn(name));
    assert!(shown(
        &open
            .clone()
            .oneshot(present(&token))
            .await
            .unwrap()
            .map(drop)
    ));
    assert!(!shown(
        &open.oneshot(Request::new(())).await.unwrap().map(drop)
    ));
}

#[tokio::test]
async fn an_admitted_request_does_not_show_its_token() {
    let (tokens, token) = platform("Billing").await;
    let service = ApiTokenLayer::new(&tokens)
        .api_key_header("x-api-key")
        .unwrap()
        .layer(service_fn(async |request: Request<()>| {
            Ok::<_, Infallible>(Response::new(format!("{request:?}")))
        }));
    for request in [
        present(&token),
        present(&token),
        Request::get("/")
            .header("x-api-key", &token)
            .body(())
            .unwrap(),
    ] {
        let response = service.clone().oneshot(request).await.unwrap();
        let body = http_body_util::BodyExt::collect(response.into_body())
            .await
            .unwrap();
        let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        assert!(
            text.contains("Sensitive") && !text.contains(&token),
            "{text}"
        );
    }
}
