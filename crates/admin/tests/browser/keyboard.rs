use fantoccini::key::Key;

use crate::{browser::Browser, site::Site};

/// Presses Tab until the control with this text or name has the focus.
async fn tab_to(browser: &Browser, wanted: &str) {
    for _ in 0..40 {
        press(browser, Key::Tab).await;
        let focused = browser.client.active_element().await.unwrap();
        let (text, name) = (
            focused.text().await.unwrap(),
            focused.attr("name").await.unwrap(),
        );
        if text == wanted || name.as_deref() == Some(wanted) {
            return;
        }
    }
    panic!("{wanted} cannot be reached");
}

async fn press(browser: &Browser, key: Key) {
    type_in(browser, &char::from(key).to_string()).await;
}

async fn type_in(browser: &Browser, text: &str) {
    let focused = browser.client.active_element().await.unwrap();
    focused.send_keys(text).await.unwrap();
}

pub(crate) async fn a_token_is_created_with_only_the_keyboard() {
    let site = Site::start().await;
    site.scene.tokens.create_app("Billing").await.unwrap();
    let browser = Browser::sign_in(&site).await;
    browser.goto("/tokens").await;

    // The first stop skips the navigation.
    press(&browser, Key::Tab).await;
    let skip = browser.client.active_element().await.unwrap();
    assert_eq!(skip.text().await.unwrap(), "Skip to content");
    let ring = skip.css_value("outline-style").await.unwrap();
    assert_eq!(ring, "solid");
    press(&browser, Key::Enter).await;
    tab_to(&browser, "Create token").await;
    press(&browser, Key::Enter).await;

    browser.heading("Create token").await;
    type_in(&browser, "nightly export").await;
    tab_to(&browser, "app").await;
    type_in(&browser, "Bill").await;
    tab_to(&browser, "scopes").await;
    type_in(&browser, "invoices:read").await;
    tab_to(&browser, "expires").await;
    press(&browser, Key::Left).await;
    press(&browser, Key::Enter).await;

    browser.heading("Token created").await;
    // The copy button has the focus.
    press(&browser, Key::Enter).await;
    browser.find("#copy-status:not(:empty)").await;
    let secret = browser.clipboard().await;
    assert_eq!(site.whoami(&secret).await, (200, "Billing".to_owned()));

    let token = site.issued().await.remove(0);
    assert_eq!(
        (token.name.as_str(), token.scopes.as_str()),
        ("nightly export", "invoices:read")
    );
    let lifetime = token.expires_at.unwrap().duration_since(token.created_at);
    assert_eq!(lifetime.as_hours(), 30 * 24);
    browser.close().await;
}

pub(crate) async fn scopes_are_chosen_with_only_the_keyboard() {
    let site = Site::start().await;
    site.scene.tokens.create_app("Billing").await.unwrap();
    let browser = Browser::sign_in(&site).await;
    browser.goto("/tokens/new").await;
    browser.heading("Create token").await;
    type_in(&browser, "nightly export").await;
    tab_to(&browser, "app").await;
    type_in(&browser, "Bill").await;
    tab_to(&browser, "scope:invoices:read").await;
    type_in(&browser, " ").await;
    tab_to(&browser, "scope:orders:write").await;
    type_in(&browser, " ").await;
    press(&browser, Key::Enter).await;
    browser.heading("Token created").await;
    let token = site.issued().await.remove(0);
    assert_eq!(token.scopes.as_str(), "invoices:read orders:write");
    browser.close().await;
}
