use http::{StatusCode, header};

use crate::support::Site;

#[tokio::test]
async fn a_new_token_is_shown_once_with_a_curl_command() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let nonce = site.get("/tokens/new").await.nonce().to_owned();
    let fields = [
        ("nonce", nonce.as_str()),
        ("name", "ci"),
        ("app", app.id.as_str()),
        ("expires", "never"),
    ];
    let revealed = site.post("/tokens/new", &fields).await.is(StatusCode::OK);
    let secret = revealed.secret().to_owned();
    assert!(site.admits(&secret).await);
    assert_eq!(revealed.headers[header::CACHE_CONTROL], "no-store");
    let revealed = revealed.has("You won't see it again.").has(&format!(
        "curl -H &#39;Authorization: Bearer {secret}&#39; https://api.acme.example/invoices"
    ));
    assert_eq!(revealed.text.matches(&secret).count(), 2);

    let id = site.latest().await.id;
    for path in [
        "/tokens",
        "/tokens/new",
        "/tokens/apps",
        &format!("/tokens/token/{id}"),
    ] {
        site.get(path).await.is(StatusCode::OK).lacks(&secret);
    }
}

#[tokio::test]
async fn a_repeated_form_neither_shows_nor_creates_a_token() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let nonce = site.get("/tokens/new").await.nonce().to_owned();
    let fields = [
        ("nonce", nonce.as_str()),
        ("name", "ci"),
        ("app", app.id.as_str()),
        ("expires", "never"),
    ];
    let secret = site.post("/tokens/new", &fields).await.secret().to_owned();
    let made = site.latest().await.id;
    // Unchanged, and with another name, as after going back and editing the form.
    for name in ["ci", "another"] {
        let mut again = fields;
        again[1].1 = name;
        site.post("/tokens/new", &again)
            .await
            .is(StatusCode::CONFLICT)
            .has("This token was created already")
            .has(&format!("href=\"/tokens/token/{made}\""))
            .lacks(&secret);
    }
    assert_eq!(site.all().await.len(), 1);
}

#[tokio::test]
async fn each_form_has_its_own_idempotency_key() {
    let site = Site::new();
    site.scene.create_app("Billing").await;
    let nonces = [site.get("/tokens/new").await, site.get("/tokens/new").await];
    assert_ne!(nonces[0].nonce(), nonces[1].nonce());
}

#[tokio::test]
async fn a_corrected_form_creates_one_token() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let nonce = site.get("/tokens/new").await.nonce().to_owned();
    let mut fields = [
        ("nonce", nonce.as_str()),
        ("name", ""),
        ("app", app.id.as_str()),
        ("expires", "never"),
    ];
    let wrong = site.post("/tokens/new", &fields).await;
    let wrong = wrong.is(StatusCode::UNPROCESSABLE_ENTITY);
    fields[0].1 = wrong.nonce();
    fields[1].1 = "ci";
    site.post("/tokens/new", &fields).await.is(StatusCode::OK);
    site.post("/tokens/new", &fields)
        .await
        .is(StatusCode::CONFLICT);
    assert_eq!(site.all().await.len(), 1);
}
