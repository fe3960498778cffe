use serde_json::json;

use crate::{browser::Browser, site::Site};

/// Creates a token, and stays on the page that shows it.
async fn reveal(site: &Site, browser: &Browser) -> String {
    site.scene.tokens.create_app("Billing").await.unwrap();
    browser.goto("/tokens/new").await;
    browser.choose("#app", "Billing").await;
    browser.fill("#name", "ci").await;
    browser.click("Create token").await;
    browser.heading("Token created").await;
    let secret = browser.find("#secret").await.text().await.unwrap();
    assert_eq!(site.whoami(&secret).await.0, 200);
    secret
}

pub(crate) async fn a_reload_shows_the_tokens_page_and_creates_nothing() {
    let site = Site::start().await;
    let browser = Browser::sign_in(&site).await;
    let secret = reveal(&site, &browser).await;
    let page = format!("/tokens/token/{}", site.issued().await[0].id);
    assert_eq!(browser.path().await, page);

    browser.client.refresh().await.unwrap();
    browser.heading("ci").await;
    assert_eq!(browser.path().await, page);
    assert!(!browser.client.source().await.unwrap().contains(&secret));
    assert_eq!(site.issued().await.len(), 1);
    browser.close().await;
}

pub(crate) async fn going_back_and_forth_shows_no_token_again() {
    let site = Site::start().await;
    let browser = Browser::sign_in(&site).await;
    let secret = reveal(&site, &browser).await;
    browser.click("Done").await;
    browser.heading("Tokens").await;

    browser.client.back().await.unwrap();
    browser.heading("ci").await;
    assert!(!browser.client.source().await.unwrap().contains(&secret));
    browser.client.back().await.unwrap();
    browser.heading("Create token").await;
    let name = browser.find("#name").await.prop("value").await.unwrap();
    assert_eq!(name.as_deref(), Some(""));
    browser.client.forward().await.unwrap();
    browser.heading("ci").await;
    assert!(!browser.client.source().await.unwrap().contains(&secret));
    assert_eq!(site.issued().await.len(), 1);
    browser.close().await;
}

pub(crate) async fn without_scripts_a_reload_neither_shows_nor_creates_a_token() {
    let site = Site::start().await;
    let browser = Browser::sign_in(&site).await;
    let off = json!({ "value": true });
    browser
        .devtools("Emulation.setScriptExecutionDisabled", off)
        .await;
    let secret = reveal(&site, &browser).await;
    assert_eq!(browser.path().await, "/tokens/new");

    // The browser submits the form again.
    browser.client.refresh().await.unwrap();
    browser.heading("This token was created already").await;
    assert!(!browser.client.source().await.unwrap().contains(&secret));
    assert_eq!(site.issued().await.len(), 1);

    browser.click("View token").await;
    browser.heading("ci").await;
    browser.client.back().await.unwrap();
    assert!(!browser.client.source().await.unwrap().contains(&secret));
    assert_eq!(site.issued().await.len(), 1);
    browser.close().await;
}

pub(crate) async fn without_scripts_going_back_shows_no_token_again() {
    let site = Site::start().await;
    let browser = Browser::sign_in(&site).await;
    let off = json!({ "value": true });
    browser
        .devtools("Emulation.setScriptExecutionDisabled", off)
        .await;
    let secret = reveal(&site, &browser).await;
    browser.click("Done").await;
    browser.heading("Tokens").await;

    browser.client.back().await.unwrap();
    assert!(!browser.client.source().await.unwrap().contains(&secret));
    assert_eq!(site.issued().await.len(), 1);
    browser.close().await;
}
