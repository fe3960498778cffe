use http::StatusCode;
use tower_api_tokens::TokenStatus;

use crate::support::Site;

/// The form as a person fills it in.
async fn sent(site: &Site, changed: &[(&str, &str)]) -> crate::support::Answer {
    let app = match site
        .tokens
        .list_apps(&Default::default())
        .await
        .unwrap()
        .items
        .first()
    {
        Some(app) => app.id,
        None => site.app("Billing").await.id,
    };
    let nonce = site.get("/tokens/new").await.nonce().to_owned();
    let mut fields = vec![
        ("nonce", nonce.as_str()),
        ("name", "nightly export"),
        ("app", app.as_str()),
        ("scopes", "invoices:read"),
        ("expires", "90"),
        ("date", ""),
    ];
    for (name, value) in changed {
        fields.retain(|(present, _)| present != name);
        fields.push((name, value));
    }
    site.post("/tokens/new", &fields).await
}

#[tokio::test]
async fn a_token_is_created_as_the_form_says() {
    let site = Site::new();
    let page = sent(&site, &[("name", "  ci  "), ("scopes", " b  a ")]).await;
    let page = page.is(StatusCode::OK);
    let token = site.latest().await;
    assert_eq!(token.name, "ci");
    assert_eq!(token.scopes.as_str(), "a b");
    assert_eq!(
        token.expires_at.unwrap().to_string(),
        "2026-12-13T09:26:53Z"
    );
    assert!(site.admits(page.secret()).await);
}

#[tokio::test]
async fn an_expiry_is_a_lifetime_a_last_day_or_never() {
    for (expires, date, expected) in [
        ("7", "", Some("2026-09-21T09:26:53Z")),
        ("365", "", Some("2027-09-14T09:26:53Z")),
        ("date", "2026-09-14", Some("2026-09-15T00:00:00Z")),
        ("date", "2030-12-31", Some("2031-01-01T00:00:00Z")),
        ("never", "2030-12-31", None),
    ] {
        let site = Site::new();
        sent(&site, &[("expires", expires), ("date", date)])
            .await
            .is(StatusCode::OK);
        let expiry = site.latest().await.expires_at.map(|at| at.to_string());
        assert_eq!(expiry.as_deref(), expected, "{expires} {date}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_at_its_field_and_what_was_typed_is_kept() {
    for (field, typed, says) in [
        ("name", "", "A name is 1 to 100 characters"),
        ("name", "two\nlines", "A name is 1 to 100 characters"),
        ("app", "", "Choose an app."),
        ("app", "two words", "Not an app id"),
        ("app", "nobody", "There is no such app."),
        ("scopes", "ok say\"so\"", "cope"),
        ("expires", "0", "Choose one of these."),
        ("expires", "99999999999999", "Choose one of these."),
    ] {
        let site = Site::new();
        let kept = [("name", "kept name"), ("scopes", "kept:scope")];
        let mut fields: Vec<_> = kept
            .into_iter()
            .filter(|(name, _)| *name != field)
            .collect();
        fields.push((field, typed));
        let page = sent(&site, &fields).await;
        let mut page = page
            .is(StatusCode::UNPROCESSABLE_ENTITY)
            .has(&format!("id=\"{field}-error\""))
            .has(says);
        for (name, value) in kept {
            if name != field {
                page = page.has(&format!("name=\"{name}\" value=\"{value}\""));
            }
        }
        assert_eq!(site.all().await.len(), 0, "{field}={typed:?}");
    }
}

#[tokio::test]
async fn a_date_that_is_over_or_none_is_refused() {
    for (date, says) in [
        ("2026-09-13", "This day is over."),
        ("tomorrow", "Give a date"),
        ("", "Give a date"),
        ("9999-12-31", "Give a date"),
        ("2026-02-30", "Give a date"),
    ] {
        let site = Site::new();
        let page = sent(&site, &[("expires", "date"), ("date", date)]).await;
        page.is(StatusCode::UNPROCESSABLE_ENTITY)
            .has(says)
            .has(&format!("value=\"{date}\""));
        assert_eq!(site.all().await.len(), 0, "{date}");
    }
}

#[tokio::test]
async fn all_that_is_wrong_is_said_at_once() {
    let site = Site::new();
    let page = sent(
        &site,
        &[("name", ""), ("scopes", "\\"), ("expires", "soon")],
    )
    .await;
    page.has("name-error")
        .has("scopes-error")
        .has("expires-error");
}

#[tokio::test]
async fn a_disabled_app_gets_no_token() {
    let site = Site::new();
    let app = site.app("Billing").await;
    site.tokens.disable_app(&app.id).await.unwrap();
    let page = sent(&site, &[]).await;
    page.is(StatusCode::UNPROCESSABLE_ENTITY)
        .has("The app is disabled; enable it first.")
        .has("Billing (disabled)");
}

#[tokio::test]
async fn a_form_that_is_not_the_dashboards_is_refused() {
    let site = Site::new();
    for (fields, status) in [
        (vec![("name", "x")], StatusCode::BAD_REQUEST),
        (
            vec![("nonce", ""), ("name", "x"), ("app", "a"), ("expires", "7")],
            StatusCode::BAD_REQUEST,
        ),
        (
            vec![("name", "x".repeat(70_000).leak() as &str)],
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
    ] {
        let page = site.post("/tokens/new", &fields).await;
        page.is(status).has("The form was not understood");
    }
}

#[tokio::test]
async fn without_an_app_the_first_one_is_created_first() {
    let site = Site::new();
    site.get("/tokens/new").await.has("Name of the app");
    let sent = site
        .post("/tokens/apps", &[("name", "Billing"), ("then", "token")])
        .await;
    let app = site
        .tokens
        .list_apps(&Default::default())
        .await
        .unwrap()
        .items
        .remove(0);
    assert_eq!(sent.location(), format!("/tokens/new?app={}", app.id));
    let form = site.get(sent.location()).await;
    form.has(&format!(
        "<option value=\"{}\" selected>Billing</option>",
        app.id
    ));
}

#[tokio::test]
async fn with_more_apps_than_a_list_holds_an_identifier_is_typed() {
    let site = Site::new();
    for _ in 0..201 {
        site.app("one of many").await;
    }
    site.get("/tokens/new").await.has("placeholder=\"App ID\"");
    sent(&site, &[]).await.is(StatusCode::OK);
    assert_eq!(
        site.latest().await.status(site.ada().now()),
        TokenStatus::Live
    );
}

#[tokio::test]
async fn an_app_that_cannot_be_chosen_leaves_the_choice_open() {
    let site = Site::new();
    site.app("Billing").await;
    site.app("Storefront").await;
    let form = site.get("/tokens/new?app=nobody").await;
    form.has("<option value=\"\">Choose an app</option>")
        .lacks(" selected");
}
