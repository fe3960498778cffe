use http::StatusCode;
use tower_api_tokens::{IssuedToken, TokenQuery};

use crate::support::{Answer, Site};

const DAY: u64 = 86_400;

async fn issued(site: &Site) -> (IssuedToken, String) {
    let app = site.scene.create_app("Billing").await;
    let issued = site.issue(&app.id, "ci").await;
    let path = format!("/tokens/token/{}", issued.record().id);
    (issued, path)
}

async fn rotate(site: &Site, path: &str, overlap: &str) -> Answer {
    let nonce = site.get(path).await.nonce().to_owned();
    let fields = [("nonce", nonce.as_str()), ("overlap", overlap)];
    site.post(&format!("{path}/rotate"), &fields).await
}

#[tokio::test]
async fn both_tokens_work_for_the_chosen_overlap() {
    let site = Site::new();
    let (old, path) = issued(&site).await;
    let revealed = rotate(&site, &path, "86400").await.is(StatusCode::OK);
    let new = revealed.secret().to_owned();
    revealed.has("It stops working in 1 day.");
    assert!(site.admits(&new).await && site.admits(old.token().expose()).await);
    site.pass(DAY);
    assert!(site.admits(&new).await && !site.admits(old.token().expose()).await);
}

#[tokio::test]
async fn without_overlap_the_old_token_stops_immediately() {
    let site = Site::new();
    let (old, path) = issued(&site).await;
    let revealed = rotate(&site, &path, "0").await.is(StatusCode::OK);
    revealed.has("The old token no longer works.");
    assert!(!site.admits(old.token().expose()).await);
}

#[tokio::test]
async fn a_repeated_rotation_form_creates_no_second_token() {
    let site = Site::new();
    let (_, path) = issued(&site).await;
    let nonce = site.get(&path).await.nonce().to_owned();
    let fields = [("nonce", nonce.as_str()), ("overlap", "3600")];
    let secret = site
        .post(&format!("{path}/rotate"), &fields)
        .await
        .secret()
        .to_owned();
    let again = site.post(&format!("{path}/rotate"), &fields).await;
    again
        .is(StatusCode::CONFLICT)
        .has("created already")
        .lacks(&secret);
    assert_eq!(site.all().await.len(), 2);
}

#[tokio::test]
async fn a_failed_rotation_explains_why() {
    let site = Site::new();
    let (old, path) = issued(&site).await;
    for overlap in ["", "-1", "soon", "99999999999"] {
        let page = rotate(&site, &path, overlap).await;
        page.is(StatusCode::UNPROCESSABLE_ENTITY)
            .has("overlap-error")
            .has("Token not rotated.")
            .has_once("Choose one of the options.");
    }
    assert_eq!(site.all().await.len(), 1);

    let nonces = [site.get(&path).await, site.get(&path).await];
    let fields = |nonce| [("nonce", nonce), ("overlap", "3600")];
    let rotate_path = format!("{path}/rotate");
    site.post(&rotate_path, &fields(nonces[0].nonce()))
        .await
        .is(StatusCode::OK);
    let late = site.post(&rotate_path, &fields(nonces[1].nonce())).await;
    late.is(StatusCode::UNPROCESSABLE_ENTITY)
        .has_once("Not rotated: this token was rotated already.");

    site.scene.tokens.revoke(old.record().id).await.unwrap();
    let revoked = site.post(&rotate_path, &fields("another")).await;
    revoked
        .is(StatusCode::UNPROCESSABLE_ENTITY)
        .has("Not rotated: this token is revoked.");
}

#[tokio::test]
async fn the_page_of_a_rotated_token_shows_whether_it_is_in_use() {
    let site = Site::new();
    let (old, path) = issued(&site).await;
    rotate(&site, &path, "604800").await.is(StatusCode::OK);
    let early = site.get(&path).await;
    early
        .has("too early to tell")
        .has(">Rotated</span>")
        .has("This token stops working in 7 days.");

    site.pass(3 * DAY);
    let unused = site.get(&path).await;
    unused
        .has("No use recorded since it was rotated 3 days ago.")
        .has("You can revoke this token if all your servers record use")
        .lacks("safe to delete");

    use_token(&site, &old).await;
    site.pass(120);
    let used = site.get(&path).await;
    used.has("Still in use: last used 2 minutes ago. Don't revoke this token yet.");

    site.pass(2 * DAY);
    let quiet = site.get(&path).await;
    quiet.has("Last used 2 days ago.").lacks("Don't revoke");

    site.pass(2 * DAY);
    let over = site.get(&path).await;
    over.has(">Expired</span>").lacks("Last used 4 days ago.");
}

#[tokio::test]
async fn a_use_before_the_rotation_does_not_count() {
    let site = Site::new();
    let (old, path) = issued(&site).await;
    use_token(&site, &old).await;
    site.pass(60);
    rotate(&site, &path, "604800").await.is(StatusCode::OK);
    site.pass(3_600);
    site.get(&path)
        .await
        .has("No use recorded since it was rotated 1 hour ago.");
}

#[tokio::test]
async fn the_new_token_links_to_the_old_one_and_has_a_history() {
    let site = Site::new();
    let (old, path) = issued(&site).await;
    let old = old.record();
    // Other tokens of the app, and later events of the old token, do not hide it.
    for n in 0..60 {
        site.pass(1);
        let _ = site.issue(&old.app.id, &format!("other {n}")).await;
    }
    site.get(&path).await.lacks("Replaces");
    rotate(&site, &path, "604800").await.is(StatusCode::OK);
    site.pass(1);
    site.post(&format!("{path}/rename"), &[("name", "old ci")])
        .await
        .location();
    let all = site
        .scene
        .tokens
        .list(&TokenQuery::default().limit(1000))
        .await;
    let all = all.unwrap().items;
    let renamed = all.iter().find(|token| token.id == old.id).unwrap();
    let new = renamed.successor.unwrap();
    let page = site.get(&format!("/tokens/token/{new}")).await;
    page.has("<dt>Replaces</dt>")
        .has(&format!(
            "href=\"/tokens/token/{}\">{}</a>",
            old.id, old.mask
        ))
        .has(&format!(
            "Created by rotating {} <span class=\"by\">by <bdi>ada@acme.example</bdi>",
            old.mask
        ))
        .lacks("No events yet.");

    // After the old token is purged, the page no longer links to it.
    site.pass(30 * DAY);
    site.scene.tokens.purge(site.ada().now()).await.unwrap();
    site.get(&format!("/tokens/token/{new}"))
        .await
        .is(StatusCode::OK)
        .lacks("Replaces");
}

#[tokio::test]
async fn the_old_token_links_to_the_new_one() {
    let site = Site::new();
    let (_, path) = issued(&site).await;
    site.pass(1);
    rotate(&site, &path, "604800").await.is(StatusCode::OK);
    let new = site.latest().await;
    let page = site.get(&path).await;
    page.has(&format!(
        "href=\"/tokens/token/{}\">{}</a>",
        new.id, new.mask
    ))
    .lacks("id=\"rotate\"");
}

/// Uses a token, and waits until the use is recorded.
async fn use_token(site: &Site, token: &IssuedToken) {
    let follower = site.scene.tokens.follow().start().await.unwrap();
    assert!(site.admits(token.token().expose()).await);
    follower.stop().await.unwrap();
}
