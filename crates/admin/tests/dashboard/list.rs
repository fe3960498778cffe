use std::time::Duration;

use http::StatusCode;
use tower_api_tokens::NewToken;

use crate::support::Site;

#[tokio::test]
async fn an_empty_list_shows_the_first_steps() {
    let site = Site::new();
    site.get("/tokens")
        .await
        .is(StatusCode::OK)
        .has("Create your first token")
        .has("curl -H &#34;Authorization: Bearer $TOKEN&#34; https://api.acme.example/invoices");
}

#[tokio::test]
async fn an_app_without_tokens_shows_how_to_create_one() {
    let site = Site::new();
    let (ours, theirs) = (
        site.scene.create_app("ours").await.id,
        site.scene.create_app("theirs").await.id,
    );
    let _ = site.issue(&theirs, "alpha").await;
    site.get(&format!("/tokens?app={ours}"))
        .await
        .has("This app has no tokens yet")
        .has(&format!("href=\"/tokens/new?app={ours}\""))
        .has("Bearer $TOKEN");
}

#[tokio::test]
async fn a_row_shows_a_tokens_details() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let new = NewToken::named("nightly export")
        .scopes("invoices:read reports:read users:read".parse().unwrap())
        .expires_in(Duration::from_secs(90 * 86_400));
    let issued = site.scene.tokens.issue(&app.id, new).await.unwrap();
    site.pass(120);
    site.get("/tokens")
        .await
        .has("<bdi>nightly export</bdi>")
        .has(issued.record().mask.as_str())
        .has("<bdi>Billing</bdi>")
        .has("<li>invoices:read</li><li>reports:read</li><li>+1</li>")
        .has(">Active</span>")
        .has("title=\"14 September 2026, 09:26:53 UTC\">2 minutes ago</time>")
        .has("title=\"13 December 2026, 09:26:53 UTC\">in 90 days</time>")
        .has("data-label=\"Last used\">Never<");
}

#[tokio::test]
async fn the_list_is_filtered_by_app_status_and_name() {
    let site = Site::new();
    let (ours, theirs) = (
        site.scene.create_app("ours").await.id,
        site.scene.create_app("theirs").await.id,
    );
    let _ = site.issue(&ours, "alpha").await;
    let _ = site.issue(&theirs, "beta").await;
    let revoked = site.issue(&theirs, "gamma").await;
    site.scene.tokens.revoke(revoked.record().id).await.unwrap();
    for (query, shown) in [
        ("", vec!["alpha", "beta", "gamma"]),
        ("?name=ALP", vec!["alpha"]),
        ("?status=live", vec!["alpha", "beta"]),
        ("?status=revoked", vec!["gamma"]),
        (&format!("?app={theirs}"), vec!["beta", "gamma"]),
        (&format!("?app={theirs}&status=live"), vec!["beta"]),
    ] {
        let page = site.get(&format!("/tokens{query}")).await;
        for name in ["alpha", "beta", "gamma"] {
            let row = format!("<bdi>{name}</bdi>");
            assert_eq!(
                page.text.contains(&row),
                shown.contains(&name),
                "{query} {name}"
            );
        }
    }
}

#[tokio::test]
async fn a_filter_without_matches_shows_a_message_and_keeps_its_values() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let _ = site.issue(&app.id, "alpha").await;
    site.get("/tokens?name=a%22%3Eb")
        .await
        .is(StatusCode::OK)
        .has("No tokens found")
        .has("value=\"a&#34;&#62;b\"");
}

#[tokio::test]
async fn an_invalid_filter_shows_what_to_change() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let _ = site.issue(&app.id, "alpha").await;
    for (query, message) in [
        (
            "app=two+words",
            "Not a valid app ID. Choose an app from the list.",
        ),
        ("status=asleep", "Unknown status. Choose one from the list."),
        ("after=x", "Start from the first page."),
        (
            "after=oldest.0.0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77",
            "Start from the first page.",
        ),
        ("name=a&name=b", "The filter in the address is invalid."),
    ] {
        let page = site.get(&format!("/tokens?{query}")).await;
        page.is(StatusCode::BAD_REQUEST).has(message);
    }
}

#[tokio::test]
async fn a_filter_by_an_unknown_app_is_a_404() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let _ = site.issue(&app.id, "alpha").await;
    for many in [false, true] {
        if many {
            for n in 0..201 {
                site.scene.create_app(&format!("app {n}")).await;
            }
        }
        for query in [
            "app=nosuch",
            "app=nosuch&status=live",
            "app=nosuch&name=alpha",
        ] {
            site.get(&format!("/tokens?{query}"))
                .await
                .is(StatusCode::NOT_FOUND)
                .has("App not found.")
                .lacks("has no tokens yet")
                .lacks("No tokens found")
                .lacks("<bdi>alpha</bdi>");
        }
    }
}

#[tokio::test]
async fn a_search_with_control_characters_is_rejected() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let _ = site.issue(&app.id, "alpha").await;
    for part in ["%00", "a%00", "%1b%5b31m", "a%c2%85b", &"x".repeat(101)] {
        site.get(&format!("/tokens?name={part}"))
            .await
            .is(StatusCode::BAD_REQUEST)
            .has("Search for 1–100 characters, without line breaks or control characters.")
            .lacks("No tokens found");
    }
    for field in ["app", "status", "after"] {
        site.get(&format!("/tokens?{field}=%00"))
            .await
            .is(StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn with_many_apps_the_list_is_filtered_by_app_search() {
    let site = Site::new();
    for n in 0..201 {
        site.scene.create_app(&format!("shop {n}")).await;
    }
    let billing = site.scene.create_app("Billing").await.id;
    let shop = site.scene.create_app("shop of ours").await.id;
    let _ = site.issue(&billing, "alpha").await;
    let _ = site.issue(&shop, "beta").await;
    site.get("/tokens?find=billing&status=live")
        .await
        .has("<bdi>alpha</bdi>")
        .lacks("<bdi>beta</bdi>")
        .has(&format!(
            "<option value=\"{billing}\" selected>Billing</option>"
        ));
    site.get("/tokens?find=shop+of")
        .await
        .has("<bdi>beta</bdi>")
        .lacks("<bdi>alpha</bdi>");
    site.get("/tokens?find=shop+1")
        .await
        .has("apps found. Choose one.")
        .has(">shop 1</option>");
    site.get("/tokens?find=nothing")
        .await
        .has("No apps found with this name or ID.")
        .lacks("Revoke all matching tokens");
    site.get(&format!("/tokens?app={billing}"))
        .await
        .has("<bdi>alpha</bdi>")
        .lacks("<bdi>beta</bdi>");
}

#[tokio::test]
async fn the_pages_show_each_token_once() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    for n in 0..120 {
        let _ = site.issue(&app.id, &format!("match {n:03}")).await;
    }
    let _ = site.issue(&app.id, "other").await;
    let mut path = "/tokens?name=match".to_owned();
    let mut seen = Vec::new();
    for size in [50, 50, 20] {
        let page = site.get(&path).await;
        let before = seen.len();
        for row in page.text.split("<bdi>match ").skip(1) {
            seen.push(row[..3].to_owned());
        }
        assert_eq!(seen.len() - before, size);
        let next = page.text.split_once("rel=\"next\" href=\"");
        path = next.map_or(String::new(), |(_, rest)| {
            rest.split('"').next().unwrap().replace("&#38;", "&")
        });
    }
    assert_eq!(path, "", "the third page is the last");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 120);
}
