use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_api_tokens::{
    ApiTokenLayer, ApiTokens, AppPrincipal, MemoryStore, NewToken, TokenFormat,
};

async fn platform() -> (ApiTokens, String) {
    let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme").unwrap());
    let app = tokens.create_app("Billing").await.unwrap();
    let issued = tokens.issue(&app.id, NewToken::named("ci")).await.unwrap();
    let token = issued.token().expose().to_owned();
    (tokens, token)
}

fn routes() -> Router {
    Router::new()
        .route(
            "/must",
            get(async |p: AppPrincipal| p.app_name().to_owned()),
        )
        .route(
            "/may",
            get(async |p: Option<AppPrincipal>| match p {
                Some(principal) => principal.app_name().to_owned(),
                None => "nobody".to_owned(),
            }),
        )
}

async fn ask(router: &Router, path: &str, token: Option<&str>) -> (StatusCode, String, String) {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let challenge = response.headers().get("www-authenticate");
    let challenge = challenge
        .map_or("", |value| value.to_str().unwrap())
        .to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, challenge, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn handlers_see_the_attributed_app() {
    let (tokens, token) = platform().await;
    let router = routes().route_layer(ApiTokenLayer::new(&tokens));
    for path in ["/must", "/may"] {
        let (status, _, body) = ask(&router, path, Some(&token)).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "Billing"));
        let (status, ..) = ask(&router, path, None).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn behind_an_optional_layer_a_principal_is_required_or_not_by_the_handler() {
    let (tokens, token) = platform().await;
    let layer = ApiTokenLayer::new(&tokens)
        .optional()
        .realm("acme")
        .unwrap();
    let router = routes().route_layer(layer);
    let (status, _, body) = ask(&router, "/may", None).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "nobody"));
    let (status, _, body) = ask(&router, "/may", Some(&token)).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "Billing"));
    let (status, challenge, _) = ask(&router, "/must", None).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(challenge, "Bearer realm=\"acme\"");
}

#[tokio::test]
async fn a_missing_layer_names_itself_and_its_cure() {
    for path in ["/must", "/may"] {
        let (status, _, body) = ask(&routes(), path, None).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(
            body.contains("no `ApiTokenLayer`") && body.contains(".route_layer("),
            "{body}"
        );
    }
}
