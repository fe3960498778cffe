//! Apps in the dashboard.

use http::StatusCode;

use crate::support::Site;

#[tokio::test]
async fn an_app_is_created_disabled_and_enabled() {
    let site = Site::new();
    let sent = site.post("/tokens/apps", &[("name", "Billing")]).await;
    site.get(sent.location())
        .await
        .has("App created.")
        .has("<bdi>Billing</bdi>");
    let app = site
        .scene
        .tokens
        .list_apps(&Default::default())
        .await
        .unwrap()
        .items
        .remove(0)
        .id;
    let issued = site.issue(&app, "ci").await;

    let confirmed = [("confirm", "Billing")];
    let path = format!("/tokens/apps/{app}/disable");
    let sent = site.post(&path, &confirmed).await;
    assert!(!site.admits(issued.token().expose()).await);
    site.get(sent.location())
        .await
        .has("App disabled.")
        .has("refused: here from now on, and on other nodes within the bound")
        .has(">Disabled</span>");

    let sent = site.post(&format!("/tokens/apps/{app}/enable"), &[]).await;
    assert!(site.admits(issued.token().expose()).await);
    site.get(sent.location())
        .await
        .has("App enabled.")
        .has(">Enabled</span>");
}

#[tokio::test]
async fn a_name_that_is_none_is_said_at_its_field() {
    let site = Site::new();
    let page = site.post("/tokens/apps", &[("name", "  ")]).await;
    page.is(StatusCode::UNPROCESSABLE_ENTITY)
        .has("name-error")
        .has("1 to 100 characters");
}

#[tokio::test]
async fn an_app_that_is_not_there_is_said_to_be_so() {
    let site = Site::new();
    for path in [
        "/tokens/apps/nobody/disable",
        "/tokens/apps/two%20words/enable",
    ] {
        site.post(path, &[])
            .await
            .is(StatusCode::NOT_FOUND)
            .has("There is no such app");
    }
}

#[tokio::test]
async fn apps_of_one_name_are_told_apart_where_one_is_chosen() {
    let site = Site::new();
    let (first, second) = (
        site.scene.create_app("Billing").await.id,
        site.scene.create_app("Billing").await.id,
    );
    site.scene.create_app("Storefront").await;
    let form = site.get("/tokens/new").await;
    form.has(&format!(">Billing ({first})<"))
        .has(&format!(">Billing ({second})<"))
        .has(">Storefront<");
}

#[tokio::test]
async fn the_apps_are_paged() {
    let site = Site::new();
    for n in 0..60 {
        site.scene.create_app(&format!("app {n}")).await;
    }
    let first = site.get("/tokens/apps").await;
    assert_eq!(first.text.matches("<bdi>app ").count(), 50 * 3);
    let (_, rest) = first.text.split_once("rel=\"next\" href=\"").unwrap();
    let second = site.get(rest.split('"').next().unwrap()).await;
    assert_eq!(second.text.matches("<bdi>app ").count(), 10 * 3);
    second.has("First page").lacks("Next page");
}
