//! Suspended and restricted tokens.

use http::StatusCode;
use tower_api_tokens::{TokenDigest, TokenId, store::TokenRegistryExt};

use crate::support::Site;

#[tokio::test]
async fn a_token_is_suspended_and_resumed() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let issued = site.issue(&app.id, "ci").await;
    let path = format!("/tokens/token/{}", issued.record().id);
    site.get(&path)
        .await
        .has("Requests with this token will fail until you resume it.")
        .lacks("id=\"resume\"");
    let sent = site.post(&format!("{path}/suspend"), &[]).await;
    assert!(!site.admits(issued.token().expose()).await);
    site.get(sent.location())
        .await
        .has("Token suspended.")
        .has(">Suspended</span>")
        .has("<dt>Suspended</dt>")
        .has("id=\"resume\"")
        .lacks("id=\"suspend\"")
        .lacks("id=\"rotate\"");
    let nonce = site.get("/tokens/new").await.nonce().to_owned();
    let fields = [("nonce", nonce.as_str()), ("overlap", "0")];
    site.post(&format!("{path}/rotate"), &fields)
        .await
        .is(StatusCode::UNPROCESSABLE_ENTITY)
        .has("Not rotated: this token is suspended.")
        .has("Resume the token first.");

    let sent = site.post(&format!("{path}/resume"), &[]).await;
    assert!(site.admits(issued.token().expose()).await);
    site.get(sent.location())
        .await
        .has("Requests with this token work again.")
        .has(">Active</span>")
        .lacks("<dt>Suspended</dt>");
    // A notice in the URL is shown only if it is true.
    let page = site.get(&format!("{path}?done=suspended")).await;
    page.lacks("Token suspended.");
}

#[tokio::test]
async fn an_expired_or_revoked_token_is_not_suspended() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let issued = site.issue(&app.id, "ci").await;
    let path = format!("/tokens/token/{}", issued.record().id);
    site.ada().revoke(issued.record().id).await.unwrap();
    site.get(&path).await.lacks("id=\"suspend\"");
    site.post(&format!("{path}/suspend"), &[])
        .await
        .is(StatusCode::CONFLICT)
        .has("Nothing was changed");
}

#[tokio::test]
async fn a_token_with_unknown_restrictions_is_shown_and_keeps_them() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let mut token = site.issue(&app.id, "ci").await.record().clone();
    token.id = TokenId::from_bytes([9; 16]);
    token.digest = TokenDigest::of(b"restricted");
    token.restrictions = Some("moon=full".parse().unwrap());
    site.scene.tokens.registry().insert(&token).await.unwrap();
    let path = format!("/tokens/token/{}", token.id);
    site.get(&path)
        .await
        .has(">Restricted</span>")
        .has("moon=full")
        .lacks("id=\"suspend\"");
    let form = site.get(&format!("{path}/edit")).await;
    let form = form
        .has("The networks can't be edited")
        .lacks("name=\"networks\"");
    let fields = [("version", form.version()), ("name", "release")];
    site.post(&format!("{path}/edit"), &fields).await.location();
    let kept = site.ada().get(token.id).await.unwrap();
    assert_eq!(kept.name, "release");
    assert_eq!(kept.restrictions, token.restrictions);
}
