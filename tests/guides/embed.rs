//! Denying by default, as the guide to embedding shows it.

use http::{Method, Request, StatusCode};
use tower::ServiceExt;
use tower_api_tokens::{MemoryStore, NewToken, TokenFormat, testing::Fixture};

include!("shown/embed.rs");

async fn status(app: &Router, path: &str, token: Option<&str>) -> StatusCode {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(axum::body::Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn routes_that_are_not_public_need_a_token() {
    let format = TokenFormat::new("acme_live").unwrap();
    let tokens = ApiTokens::new(MemoryStore::new(), format);
    let customer = tokens.create_app("Billing").await.unwrap();
    let issued = tokens.issue(&customer.id, NewToken::named("export"));
    let issued = issued.await.unwrap();
    let (app, token) = (app(&tokens), Some(issued.token().expose()));
    assert_eq!(status(&app, "/health", None).await, StatusCode::OK);
    for path in ["/invoices", "/reports/latest"] {
        assert_eq!(status(&app, path, None).await, StatusCode::UNAUTHORIZED);
        assert_eq!(status(&app, path, token).await, StatusCode::OK);
    }
    let nowhere = "/nobody/has/thought/of";
    assert_eq!(status(&app, nowhere, None).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&app, nowhere, token).await, StatusCode::NOT_FOUND);
}

/// The status of a request without a token: 200 where it reaches a handler.
async fn uncovered(router: &Router, method: Method, path: &str) -> u16 {
    let request = Request::builder().method(method).uri(path);
    let request = request.body(axum::body::Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    response.status().as_u16()
}

#[tokio::test]
async fn a_layer_covers_what_the_table_says() {
    let layer = Fixture::empty().layer();
    let before = || Router::new().route("/before", get(async || "…"));
    let with_fallback = || before().fallback(async || "…");
    let late = |router: Router| router.route("/after", get(async || "…"));
    for (covered, known, fallback, unknown, other_method, after) in [
        (
            late(before().route_layer(layer.clone())),
            401,
            late(with_fallback().route_layer(layer.clone())),
            (200, 404),
            401,
            200,
        ),
        (
            late(before().layer(layer.clone())),
            401,
            late(with_fallback().layer(layer.clone())),
            (401, 401),
            401,
            200,
        ),
    ] {
        assert_eq!(uncovered(&covered, Method::GET, "/before").await, known);
        assert_eq!(
            uncovered(&covered, Method::POST, "/before").await,
            other_method
        );
        assert_eq!(uncovered(&covered, Method::GET, "/after").await, after);
        let (with_fallback, without) = unknown;
        assert_eq!(
            uncovered(&fallback, Method::GET, "/unknown").await,
            with_fallback
        );
        assert_eq!(uncovered(&covered, Method::GET, "/unknown").await, without);
    }
    let late_fallback = before().layer(layer).fallback(async || "…");
    assert_eq!(
        uncovered(&late_fallback, Method::GET, "/unknown").await,
        200
    );
}
