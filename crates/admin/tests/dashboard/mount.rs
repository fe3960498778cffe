//! The mount path of the dashboard and the API.

use axum::Router;
use http::{StatusCode, header};
use tower_api_tokens_admin::Admin;

use crate::support::{Ada, Site};

#[tokio::test]
async fn the_mount_path_works_with_a_trailing_slash() {
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
    for path in ["/api", "/api/"] {
        let answer = site.get(path).await.is(StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(answer.headers[header::LOCATION], "/api/openapi.json");
    }
    site.get("/api/openapi.json").await.is(StatusCode::OK);
}
