use fantoccini::key::Key;

use tower_api_tokens::NewToken;

use crate::{browser::Browser, screens, site::Site};

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

pub(crate) async fn tokens_are_filtered_and_sorted_with_only_the_keyboard() {
    let site = Site::start().await;
    screens::fill(&site).await;
    let browser = Browser::sign_in(&site).await;
    browser.goto("/tokens").await;
    tab_to(&browser, "More filters and order").await;
    press(&browser, Key::Enter).await;
    tab_to(&browser, "never_expires").await;
    type_in(&browser, "Never").await;
    tab_to(&browser, "Apply").await;
    press(&browser, Key::Enter).await;
    browser.find(".chips").await;
    let text = browser.text().await;
    assert!(text.contains("nightly export"), "{text}");
    assert!(!text.contains("checkout"), "{text}");

    // The heading also names its order, for a screen reader.
    let heading = browser.find("th:nth-last-child(3) a").await;
    assert!(heading.text().await.unwrap().starts_with("Last used"));
    browser
        .client
        .execute(
            "document.querySelector('th:nth-last-child(3) a').focus()",
            vec![],
        )
        .await
        .unwrap();
    press(&browser, Key::Enter).await;
    browser.find("th[aria-sort=ascending]").await;
    let text = browser.text().await;
    assert!(text.contains("Revoked tokens are left out"), "{text}");
    assert!(text.contains("Never expires"), "{text}");
    browser.close().await;
}

pub(crate) async fn a_token_is_found_by_its_text_without_being_shown() {
    let site = Site::start().await;
    let app = site.scene.tokens.create_app("Billing").await.unwrap();
    let new = NewToken::named("leaked");
    let issued = site.scene.tokens.issue(&app.id, new).await.unwrap();
    let browser = Browser::sign_in(&site).await;
    browser.goto("/tokens/find").await;
    browser.heading("Find a token by its text").await;
    // The field has the focus, and masks what is typed.
    type_in(&browser, "mistyped").await;
    press(&browser, Key::Enter).await;
    browser.find("#token-error").await;
    let field = browser.find("#token").await;
    assert_eq!(
        field.attr("type").await.unwrap().as_deref(),
        Some("password")
    );
    assert_eq!(field.prop("value").await.unwrap().as_deref(), Some(""));
    type_in(&browser, issued.token().expose()).await;
    press(&browser, Key::Enter).await;
    browser.heading("leaked").await;
    assert!(
        browser
            .path()
            .await
            .ends_with(&issued.record().id.to_string())
    );
    browser.close().await;
}
