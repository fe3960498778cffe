//! Reading the plan of a customer, as the guide to embedding shows it.

use axum::{Router, routing::get};
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_api_tokens::{Metadata, NewToken, testing::Fixture};

include!("shown/plan.rs");

#[tokio::test]
async fn a_handler_sees_the_plan_of_the_app_and_not_one_that_the_token_claims() {
    let fixture = Fixture::empty();
    let customer = fixture.create_app("Billing").await;
    let claim = Metadata::new([("plan", "enterprise")]).unwrap();
    let new = NewToken::named("export").metadata(claim);
    let issued = fixture.issue(&customer.id, new).await;
    let router = Router::new()
        .route("/export", get(export))
        .route_layer(fixture.layer());
    for (plan, expected) in [
        ("free", "up to 1000 rows"),
        ("pro", "up to 1000000 rows"),
        ("free", "up to 1000 rows"),
    ] {
        set_plan(&fixture.tokens, &customer.id, plan).await.unwrap();
        let bearer = format!("Bearer {}", issued.token().expose());
        let request = Request::get("/export").header("authorization", bearer);
        let request = request.body(axum::body::Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, expected);
    }
}
