//! Where the dashboard and the API are mounted.

use axum::Router;
use http::{StatusCode, header};
use tower_api_tokens::admin::Admin;

use crate::support::{Ada, Site};

#[tokio::test]
async fn a_slash_at_the_end_of_the_mount_leads_to_the_same() {
    let site = Site::new();
    let admin = Admin::new(&site.operations, Ada);
    let site = Site {
        router: Router::new()
            .nest_service("/tokens", admin.dashboard())
            .nest_service("/api", admin.router()),
        ..site
    };
    let (without, with) = (site.get("/tokens").await, site.get("/tokens/").await);
    assert_eq!(with.status, StatusCode::OK);
    assert_eq!(with.text, without.text);
    let (without, with) = (site.get("/api").await, site.get("/api/").await);
    assert_eq!(with.status, without.status);
    assert_eq!(
        with.headers[header::CONTENT_TYPE],
        "application/problem+json"
    );
    with.has("see /openapi.json");
}
