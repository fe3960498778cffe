use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
    routing::get,
};
use tower::ServiceExt;
use tower_api_tokens::{
    ApiTokenLayer, ApiTokens, AppPrincipal, StoreErrorKind,
    testing::{Fault, Fixture},
};

async fn whoami(app: AppPrincipal) -> String {
    format!("hello, {}", app.app_name())
}

/// The router, as `main` builds it.
fn router(tokens: &ApiTokens) -> Router {
    Router::new()
        .route("/whoami", get(whoami))
        .route_layer(ApiTokenLayer::new(tokens))
}

fn request(authorization: &str) -> Request<Body> {
    let request = Request::get("/whoami").header("authorization", authorization);
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_handler_is_a_function() {
    let fixture = Fixture::new().await;
    let principal = AppPrincipal::of(fixture.issued.record());
    assert_eq!(whoami(principal).await, "hello, Billing");
}

#[tokio::test]
async fn a_request_with_a_token_reaches_the_handler() {
    let fixture = Fixture::new().await;
    let router = router(&fixture.tokens);
    let response = router.oneshot(request(&fixture.bearer())).await.unwrap();
    let body = to_bytes(response.into_body(), 1_000).await.unwrap();
    assert_eq!(body, "hello, Billing");
}

#[tokio::test]
async fn a_request_with_a_revoked_token_does_not() {
    let fixture = Fixture::new().await;
    let revoked = fixture.tokens.revoke(fixture.issued.record().id);
    revoked.await.unwrap();
    let router = router(&fixture.tokens);
    let response = router.oneshot(request(&fixture.bearer())).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_store_that_is_down_is_no_reason_to_let_a_request_through() {
    let fixture = Fixture::new().await;
    let down = Fault::Error(StoreErrorKind::Unavailable);
    fixture.store.set_fault(down);
    let router = router(&fixture.tokens);
    let response = router.oneshot(request(&fixture.bearer())).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}
