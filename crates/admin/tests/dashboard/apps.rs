//! Apps in the dashboard.

use http::StatusCode;
use tower_api_tokens::NewToken;

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
        .has("Requests with this app's tokens now fail. Other servers follow within 5 seconds (default).")
        .has(">Disabled</span>");

    let sent = site.post(&format!("/tokens/apps/{app}/enable"), &[]).await;
    assert!(site.admits(issued.token().expose()).await);
    site.get(sent.location())
        .await
        .has("App enabled.")
        .has(">Enabled</span>");
}

#[tokio::test]
async fn an_invalid_name_is_reported_at_its_field() {
    let site = Site::new();
    let page = site.post("/tokens/apps", &[("name", "  ")]).await;
    page.is(StatusCode::UNPROCESSABLE_ENTITY)
        .has("name-error")
        .has("App not created.")
        .has("Enter a name of 1–100 characters.");
}

#[tokio::test]
async fn an_unknown_app_is_a_404_page() {
    let site = Site::new();
    for path in [
        "/tokens/apps/nobody/disable",
        "/tokens/apps/two%20words/enable",
    ] {
        site.post(path, &[])
            .await
            .is(StatusCode::NOT_FOUND)
            .has("App not found");
    }
}

#[tokio::test]
async fn apps_with_the_same_name_are_listed_with_their_ids() {
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

#[tokio::test]
async fn the_page_of_an_app_shows_its_tokens_and_its_history() {
    let site = Site::new();
    let app = site.ada().create_app("Billing").await.unwrap();
    let path = format!("/tokens/apps/{}", app.id);
    site.get(&path)
        .await
        .has(&format!("<code>{}</code>", app.id))
        .has("aria-label=\"Copy app ID\"")
        .has("This app has no tokens yet.")
        .has("This app has no active tokens.")
        .has("Created the app <span class=\"by\">by <bdi>ada@acme.example</bdi>");
    let mut issued = Vec::new();
    for n in 0..11 {
        let new = NewToken::named(format!("token {n}"));
        issued.push(site.ada().issue(&app.id, new).await.unwrap());
    }
    let last = issued.pop().unwrap().record().id;
    let other = site.scene.create_app("Storefront").await;
    let _ = site.issue(&other.id, "not of Billing").await;
    site.ada().revoke(last).await.unwrap();
    let page = site.get(&path).await;
    let tokens = page.text.split("id=\"history\"").next().unwrap();
    assert_eq!(tokens.matches("<bdi>token ").count(), 10);
    page.has("Newest tokens")
        .has(&format!("href=\"/tokens?app={}\"", app.id))
        .has("10 active tokens will stop working until you enable the app again.")
        .has(&format!(
            "Revoked token <a href=\"/tokens/token/{last}\"><bdi>token 10</bdi></a> <span"
        ))
        .has(&format!("href=\"/tokens/activity?app={}\"", app.id))
        .lacks("not of Billing");
    let confirmed = [("confirm", "Billing")];
    site.post(&format!("{path}/disable"), &confirmed).await;
    site.get(&path)
        .await
        .has("Disabled the app <span")
        .lacks("will stop working");
}
