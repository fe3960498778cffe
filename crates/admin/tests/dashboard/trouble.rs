use axum::Router;
use http::{StatusCode, header};
use tower_api_tokens::{StoreErrorKind, testing::Fault};
use tower_api_tokens_admin::Admin;

use crate::support::{Ada, Site};

#[tokio::test]
async fn a_store_that_fails_is_503_with_nothing_of_its_error() {
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
        site.get(&token).await,
        site.post("/tokens/new", &fields).await,
        site.post(&format!("{token}/revoke"), &[("confirm", "ci")])
            .await,
    ] {
        let answer = answer
            .is(StatusCode::SERVICE_UNAVAILABLE)
            .has("The token store does not answer");
        assert_eq!(answer.headers[header::RETRY_AFTER], "1");
    }
    site.scene.store.set_fault(Fault::None);
    assert_eq!(site.all().await.len(), 1);
    assert!(site.admits(issued.token().expose()).await);
}

#[tokio::test]
async fn a_form_that_failed_can_be_sent_again_and_makes_one_token() {
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
        .has("look whether it was done");
    site.scene.store.set_fault(Fault::None);
    let secret = site.post("/tokens/new", &fields).await.secret().to_owned();
    assert!(site.admits(&secret).await);
    site.post("/tokens/new", &fields)
        .await
        .is(StatusCode::CONFLICT);
    assert_eq!(site.all().await.len(), 1);
}

#[tokio::test]
async fn what_is_not_there_is_a_page_too() {
    let site = Site::new();
    site.get("/tokens/nothing")
        .await
        .is(StatusCode::NOT_FOUND)
        .has("There is no such page");
    let token = "/tokens/token/01a09f3d-a748-79b0-b382-ad57b0490c59/revoke";
    site.get(token)
        .await
        .is(StatusCode::METHOD_NOT_ALLOWED)
        .has("Show all tokens");
}

#[tokio::test]
async fn every_link_of_a_page_leads_to_a_page() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let issued = site.issue(&app.id, "ci").await;
    let token = format!("/tokens/token/{}", issued.record().id);
    for path in [
        "/tokens",
        "/tokens?name=nothing",
        "/tokens/new",
        "/tokens/apps",
        &token,
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
async fn the_dashboard_knows_where_it_is_nested() {
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
