//! Denying by default, as the guide to embedding shows it.

use http::{Request, StatusCode};
use tower::ServiceExt;
use tower_api_tokens::{MemoryStore, NewToken, TokenFormat};

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
async fn what_is_not_listed_as_public_needs_a_token() {
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
