//! Tokens in several formats.

use http::StatusCode;
use tower_api_tokens::{AppId, NewToken};

use crate::support::{Answer, Site};

/// Submits the form for a token of Billing.
async fn create(site: &Site, scopes: &str, format: &[(&str, &str)]) -> Answer {
    let nonce = site.get("/tokens/new").await.nonce().to_owned();
    let mut fields = vec![
        ("nonce", nonce.as_str()),
        ("name", "nightly export"),
        ("app", "billing"),
        ("scopes", scopes),
        ("expires", "90"),
    ];
    fields.extend(format);
    site.post("/tokens/new", &fields).await
}

async fn with_app(site: Site) -> Site {
    let app = AppId::new("billing").unwrap();
    let tokens = &site.scene.tokens;
    tokens.create_app_with_id(app, "Billing").await.unwrap();
    site
}

#[tokio::test]
async fn the_format_is_chosen_and_shown_if_there_are_several() {
    let site = with_app(Site::with_formats(|tokens| tokens)).await;
    let form = site.get("/tokens/new").await;
    form.has("<option value=\"acme_live\">acme_live</option>")
        .has("<option value=\"test\">test (acme_test_…)</option>");
    site.get("/tokens/new?format=test")
        .await
        .has("<option value=\"test\" selected>");

    let shown = create(&site, "", &[("format", "test")]).await;
    let shown = shown.is(StatusCode::OK);
    assert!(shown.secret().starts_with("acme_test_"));
    let token = site.latest().await;
    site.get("/tokens")
        .await
        .has_once("<span class=\"badge\">test</span>");
    let page = site.get(&format!("/tokens/token/{}", token.id)).await;
    page.has_once("<dt>Format</dt><dd>test</dd>");

    // Without a choice, it is the default format.
    let shown = create(&site, "", &[]).await.is(StatusCode::OK);
    assert!(shown.secret().starts_with("acme_live_"));
    let page = site.get("/tokens").await;
    page.has_once("<span class=\"badge\">acme_live</span>")
        .has_once("<span class=\"badge\">test</span>");
}

#[tokio::test]
async fn a_single_format_is_neither_chosen_nor_shown() {
    let site = with_app(Site::new()).await;
    site.get("/tokens/new").await.lacks("name=\"format\"");
    create(&site, "", &[]).await.is(StatusCode::OK);
    let token = site.latest().await;
    site.get("/tokens")
        .await
        .lacks("<span class=\"badge\">acme_live");
    let page = site.get(&format!("/tokens/token/{}", token.id)).await;
    page.lacks("<dt>Format</dt>");
}

#[tokio::test]
async fn a_format_that_is_not_allowed_is_an_error_at_the_field() {
    let site = Site::with_formats(|tokens| tokens.limit_scope("pay".parse().unwrap(), "acme_live"));
    let site = with_app(site).await;
    for (format, message) in [
        (
            "test",
            "The scope “pay” is limited to tokens of the format “acme_live”",
        ),
        ("other", "Choose one of the options."),
    ] {
        let page = create(&site, "pay", &[("format", format)]).await;
        let page = page.is(StatusCode::UNPROCESSABLE_ENTITY);
        let [focused] = &page.focused()[..] else {
            panic!("{:?}", page.focused());
        };
        assert!(focused.contains("id=\"format\""), "{focused}");
        page.has(message);
    }
    assert!(site.all().await.is_empty());
}

#[tokio::test]
async fn a_limit_is_shown_although_there_is_nothing_to_choose() {
    let limited = |tokens: tower_api_tokens::ApiTokensBuilder| {
        tokens.limit_app(AppId::new("billing").unwrap(), "other")
    };
    let scene = tower_api_tokens::testing::Fixture::builder().configure(limited);
    let site = with_app(Site::of(scene.empty(), |_| crate::support::Ada)).await;
    let page = create(&site, "", &[]).await;
    page.is(StatusCode::UNPROCESSABLE_ENTITY)
        .has("no such format is configured");
}

#[tokio::test]
async fn a_token_that_breaks_a_limit_is_not_rotated() {
    let site = with_app(Site::with_formats(|tokens| {
        tokens.limit_scope("pay".parse().unwrap(), "acme_live")
    }))
    .await;
    let before = tower_api_tokens::ApiTokens::builder(
        site.scene.store.clone(),
        site.scene.tokens.formats().issued()[1].clone(),
    );
    let before = before.clock(site.scene.clock.clone()).build();
    let app = AppId::new("billing").unwrap();
    let new = NewToken::named("ci").scopes("pay".parse().unwrap());
    let issued = before.issue(&app, new).await.unwrap();
    let path = format!("/tokens/token/{}", issued.record().id);
    let nonce = site.get(&path).await.nonce().to_owned();
    let fields = [("nonce", nonce.as_str()), ("overlap", "3600")];
    let page = site.post(&format!("{path}/rotate"), &fields).await;
    page.is(StatusCode::CONFLICT)
        .has("limited to tokens of the format “acme_live”; issue one of that format");
    assert_eq!(site.latest().await.successor, None);
}
