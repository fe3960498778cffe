use crate::{browser::Browser, site::Site};

pub(crate) async fn a_token_is_created_copied_used_rotated_and_revoked() {
    let site = Site::start().await;
    let browser = Browser::sign_in(&site).await;

    browser.goto("/tokens/apps").await;
    browser.fill("#name", "Billing").await;
    browser.click("Create app").await;
    browser.find(".notice.good").await;

    browser.click("Create token for Billing").await;
    browser.heading("Create token").await;
    browser.fill("#name", "nightly export").await;
    browser.fill("#scopes", "invoices:read").await;
    browser.click("30 days").await;
    browser.click("Create token").await;
    browser.heading("Token created").await;
    let old = copied(&browser).await;
    assert!(browser.text().await.contains(&old));
    assert_eq!(site.whoami(&old).await, (200, "Billing".to_owned()));

    browser.click("Done").await;
    browser.heading("Tokens").await;
    let list = browser.text().await;
    assert!(list.contains("nightly export") && !list.contains(&old));

    browser.click("nightly export").await;
    browser.heading("nightly export").await;
    browser.click("1 day").await;
    browser.click("Rotate token").await;
    browser.heading("Token rotated").await;
    let new = copied(&browser).await;
    assert_ne!(old, new);
    for token in [&old, &new] {
        assert_eq!(site.whoami(token).await.0, 200);
    }

    browser.click("View old token").await;
    browser.heading("nightly export").await;
    browser.fill("#confirm", "nightly export").await;
    browser.click("Revoke token").await;
    browser.find(".notice.good").await;
    assert!(browser.text().await.contains(
        "Requests with this token now fail. Other servers follow within 5 seconds (default)."
    ));
    assert_eq!(site.whoami(&old).await.0, 401);
    assert_eq!(site.whoami(&new).await.0, 200);

    browser.close().await;
}

/// Copies the token with the button, and returns the clipboard.
async fn copied(browser: &Browser) -> String {
    browser.click("Copy token").await;
    browser.find("#copy-status:not(:empty)").await;
    browser.clipboard().await
}

pub(crate) async fn a_token_is_copied_without_the_clipboard_api() {
    let site = Site::start().await;
    site.scene.tokens.create_app("Billing").await.unwrap();
    let browser = Browser::sign_in(&site).await;
    browser.goto("/tokens/new").await;
    browser.choose("#app", "Billing").await;
    browser.fill("#name", "ci").await;
    browser.click("Create token").await;
    browser.heading("Token created").await;
    // As in an insecure context.
    let hide = "window.hidden = navigator.clipboard;
        Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true });";
    browser.client.execute(hide, vec![]).await.unwrap();
    browser.click("Copy token").await;
    browser.find("#copy-status:not(:empty)").await;
    let show = "Object.defineProperty(navigator, 'clipboard', { value: window.hidden });";
    browser.client.execute(show, vec![]).await.unwrap();
    let token = browser.clipboard().await;
    assert_eq!(site.whoami(&token).await.0, 200);
    browser.close().await;
}

pub(crate) async fn an_invalid_form_keeps_its_values() {
    let site = Site::start().await;
    site.scene.tokens.create_app("Billing").await.unwrap();
    let browser = Browser::sign_in(&site).await;
    browser.goto("/tokens/new").await;
    browser.choose("#app", "Billing").await;
    browser.fill("#scopes", "invoices:read users:write").await;
    browser.click("7 days").await;
    browser.click("Create token").await;
    let error = browser.find("#name-error").await.text().await.unwrap();
    assert!(
        error.starts_with("Enter a name of 1–100 characters."),
        "{error}"
    );

    browser.fill("#name", "ci").await;
    browser.click("Create token").await;
    let error = browser.find("#scopes-error").await.text().await.unwrap();
    assert!(
        error.starts_with("You can't grant “users:write”"),
        "{error}"
    );

    browser.fill("#scopes", "invoices:read").await;
    browser.click("Create token").await;
    browser.heading("Token created").await;
    let issued = site.issued().await;
    assert_eq!(issued.len(), 1);
    assert_eq!(issued[0].app.name, "Billing");
    let week = issued[0]
        .expires_at
        .unwrap()
        .duration_since(issued[0].created_at);
    assert_eq!(week.as_hours(), 7 * 24);
    browser.close().await;
}

pub(crate) async fn hostile_names_are_shown_as_text() {
    let site = Site::start().await;
    let browser = Browser::sign_in(&site).await;
    for name in [
        "<script>document.title = 'run'</script>",
        "\"><img src=x onerror=\"document.title='run'\">",
        "javascript:alert(1)",
    ] {
        browser.goto("/tokens/apps").await;
        browser.fill("#name", name).await;
        browser.click("Create app").await;
        browser.find(".notice.good").await;
        assert!(browser.text().await.contains(name));
        let app = site
            .scene
            .tokens
            .list_apps(&Default::default())
            .await
            .unwrap()
            .items;
        let app = app.iter().find(|app| app.name == name).unwrap().id;

        browser.goto(&format!("/tokens/new?app={app}")).await;
        browser.fill("#name", name).await;
        browser.click("Create token").await;
        browser.heading("Token created").await;
        assert!(browser.text().await.contains(name));
        let issued = site.issued().await;
        let id = issued.iter().find(|token| token.name == name).unwrap().id;
        for path in ["/tokens", "/tokens/new", &format!("/tokens/token/{id}")] {
            browser.goto(path).await;
            assert!(browser.text().await.contains(name), "{path}");
            assert_ne!(browser.client.title().await.unwrap(), "run", "{path}");
        }
        browser.fill("#confirm", name).await;
        browser.click("Revoke token").await;
        browser.find(".notice.good").await;
    }
    // `close` checks that no script was even attempted.
    browser.close().await;
}

pub(crate) async fn signing_out_makes_the_browser_discard_its_credentials() {
    let site = Site::start().await;
    let browser = Browser::sign_in(&site).await;
    let (password, signed_in) = (site.password(), "Signed in as");
    let off = serde_json::json!({ "headers": {} });
    browser.devtools("Network.setExtraHTTPHeaders", off).await;
    let url = site
        .url("/tokens")
        .replace("http://", &format!("http://ada:{password}@"));
    browser.client.goto(&url).await.unwrap();
    browser.heading("Tokens").await;
    // The browser keeps sending the password.
    browser.goto("/tokens/apps").await;
    browser.heading("Apps").await;
    let sign_out = browser.find(".sign-out").await;
    let sign_out = sign_out.attr("href").await.unwrap().unwrap();

    browser.goto(&sign_out).await;
    browser.goto("/tokens/apps").await;
    let source = browser.client.source().await.unwrap();
    assert!(!source.contains(signed_in), "{source}");
    browser.close().await;
}
