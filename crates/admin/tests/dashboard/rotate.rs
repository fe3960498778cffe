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
    revealed.has("which stops working in 1 day.");
    assert!(site.admits(&new).await && site.admits(old.token().expose()).await);
    site.pass(DAY);
    assert!(site.admits(&new).await && !site.admits(old.token().expose()).await);
}

#[tokio::test]
async fn without_overlap_the_old_token_stops_at_once() {
    let site = Site::new();
    let (old, path) = issued(&site).await;
    let revealed = rotate(&site, &path, "0").await.is(StatusCode::OK);
    revealed.has("The old token does not work any more");
    assert!(!site.admits(old.token().expose()).await);
}

#[tokio::test]
async fn a_rotation_that_is_sent_again_makes_no_second_token() {
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
async fn what_cannot_be_rotated_says_why() {
    let site = Site::new();
    let (old, path) = issued(&site).await;
    for overlap in ["", "-1", "soon", "99999999999"] {
        let page = rotate(&site, &path, overlap).await;
        page.is(StatusCode::UNPROCESSABLE_ENTITY)
            .has("overlap-error")
            .has("It was not rotated.")
            .has_once("Choose one of these.");
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
        .has_once("rotate its successor");

    site.scene.tokens.revoke(old.record().id).await.unwrap();
    let revoked = site.post(&rotate_path, &fields("another")).await;
    revoked
        .is(StatusCode::UNPROCESSABLE_ENTITY)
        .has("which is final");
}

#[tokio::test]
async fn the_old_tokens_page_says_whether_it_is_still_in_use() {
    let site = Site::new();
    let (old, path) = issued(&site).await;
    rotate(&site, &path, "604800").await.is(StatusCode::OK);
    let early = site.get(&path).await;
    early
        .has("too early to tell")
        .has(">Rotated</span>")
        .has("It stops working by itself in 7 days.");

    site.pass(3 * DAY);
    let unused = site.get(&path).await;
    unused
        .has("No use of the old token was recorded since the rotation 3 days ago.")
        .has("Revoke it below if use is recorded on every node")
        .lacks("safe to delete");

    use_token(&site, &old).await;
    site.pass(120);
    let used = site.get(&path).await;
    used.has("Last used 2 minutes ago by the old token: do not delete it yet.");

    site.pass(2 * DAY);
    let quiet = site.get(&path).await;
    quiet
        .has("Last used 2 days ago by the old token.")
        .lacks("do not delete");

    site.pass(2 * DAY);
    let over = site.get(&path).await;
    over.has(">Expired</span>").lacks("by the old token");
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
        .has("No use of the old token was recorded since the rotation 1 hour ago.");
}

#[tokio::test]
async fn the_new_tokens_page_leads_to_the_old_one_and_has_a_history() {
    let site = Site::new();
    let (old, path) = issued(&site).await;
    let old = old.record();
    // Others of the app, and later events of the old token, do not hide it.
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
        .lacks("Nothing was recorded yet.");

    // A token that was purged is replaced by one that stands on its own.
    site.pass(30 * DAY);
    site.scene.tokens.purge(site.ada().now()).await.unwrap();
    site.get(&format!("/tokens/token/{new}"))
        .await
        .is(StatusCode::OK)
        .lacks("Replaces");
}

#[tokio::test]
async fn the_old_tokens_page_leads_to_the_new_one() {
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

/// Uses a token, and waits until that is recorded.
async fn use_token(site: &Site, token: &IssuedToken) {
    let follower = site.scene.tokens.follow().start().await.unwrap();
    assert!(site.admits(token.token().expose()).await);
    follower.stop().await.unwrap();
}
