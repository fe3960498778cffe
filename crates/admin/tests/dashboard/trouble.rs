use axum::Router;
use http::{StatusCode, header};
use tower_api_tokens::{StoreErrorKind, testing::Fault};
use tower_api_tokens_admin::Admin;

use crate::support::{Ada, Site};

#[tokio::test]
async fn a_store_failure_is_a_503_page_without_the_cause() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let issued = site.issue(&app.id, "ci").await;
    let token = format!("/tokens/token/{}", issued.record().id);
    let nonce = site.get("/tokens/new").await.nonce().to_owned();
    site.scene
        .store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let fields = [
        ("nonce", nonce.as_str()),
        ("name", "x"),
        ("app", app.id.as_str()),
        ("expires", "7"),
    ];
    for answer in [
        site.get("/tokens").await,
        site.get("/tokens/new").await,
        site.get("/tokens/apps").await,
        site.get("/tokens/activity").await,
        site.get(&token).await,
        site.post("/tokens/new", &fields).await,
        site.post(&format!("{token}/revoke"), &[("confirm", "ci")])
            .await,
    ] {
        let answer = answer
            .is(StatusCode::SERVICE_UNAVAILABLE)
            .has("Can't reach the token database");
        assert_eq!(answer.headers[header::RETRY_AFTER], "1");
    }
    site.scene.store.set_fault(Fault::None);
    assert_eq!(site.all().await.len(), 1);
    assert!(site.admits(issued.token().expose()).await);
}

#[tokio::test]
async fn a_failed_form_can_be_resubmitted_and_creates_one_token() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let nonce = site.get("/tokens/new").await.nonce().to_owned();
    let fields = [
        ("nonce", nonce.as_str()),
        ("name", "x"),
        ("app", app.id.as_str()),
        ("expires", "7"),
    ];
    site.scene
        .store
        .set_fault(Fault::WriteError(StoreErrorKind::Unavailable));
    let failed = site.post("/tokens/new", &fields).await;
    failed
        .is(StatusCode::SERVICE_UNAVAILABLE)
        .has("check whether it went through");
    site.scene.store.set_fault(Fault::None);
    let secret = site.post("/tokens/new", &fields).await.secret().to_owned();
    assert!(site.admits(&secret).await);
    site.post("/tokens/new", &fields)
        .await
        .is(StatusCode::CONFLICT);
    assert_eq!(site.all().await.len(), 1);
}

#[tokio::test]
async fn unknown_paths_have_error_pages() {
    let site = Site::new();
    site.get("/tokens/nothing")
        .await
        .is(StatusCode::NOT_FOUND)
        .has("Page not found");
    let token = "/tokens/token/01a09f3d-a748-79b0-b382-ad57b0490c59/revoke";
    site.get(token)
        .await
        .is(StatusCode::METHOD_NOT_ALLOWED)
        .has("View all tokens");
}

#[tokio::test]
async fn every_link_resolves() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let issued = site.issue(&app.id, "ci").await;
    let token = format!("/tokens/token/{}", issued.record().id);
    for path in [
        "/tokens",
        "/tokens?name=nothing",
        "/tokens/new",
        "/tokens/apps",
        "/tokens/policy",
        "/tokens/activity",
        &format!("/tokens/apps/{}", app.id),
        &format!("/tokens/apps/{}/edit", app.id),
        &token,
        &format!("{token}/edit"),
        "/tokens/nothing",
    ] {
        let page = site.get(path).await;
        let links = page.text.split("href=\"").skip(1);
        for link in links.map(|rest| rest.split('"').next().unwrap()) {
            if !link.starts_with('#') {
                site.get(link).await.is(StatusCode::OK);
            }
        }
    }
}

#[tokio::test]
async fn links_include_the_mount_path() {
    let site = Site::new();
    let dashboard = Admin::new(&site.operations, Ada).dashboard();
    for (router, path, apps) in [
        (
            Router::new().nest("/a/b", dashboard.clone()),
            "/a/b",
            "/a/b/apps",
        ),
        (
            Router::new().nest_service("/a", dashboard.clone()),
            "/a/",
            "/a/apps",
        ),
        (
            Router::new().fallback_service(dashboard.clone()),
            "/",
            "/apps",
        ),
    ] {
        let site = Site {
            router,
            ..Site::new()
        };
        let page = site.get(path).await.is(StatusCode::OK);
        page.has(&format!("href=\"{apps}\""));
        site.get(apps).await.is(StatusCode::OK).has("aria-current");
    }
}
