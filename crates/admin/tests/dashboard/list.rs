use std::time::Duration;

use http::StatusCode;
use tower_api_tokens::NewToken;

use crate::support::Site;

#[tokio::test]
async fn without_any_token_the_list_teaches_the_first_step() {
    let site = Site::new();
    site.get("/tokens")
        .await
        .is(StatusCode::OK)
        .has("Create the first token")
        .has("curl -H &#34;Authorization: Bearer $TOKEN&#34; https://api.acme.example/invoices");
}

#[tokio::test]
async fn an_app_without_any_token_teaches_the_first_step() {
    let site = Site::new();
    let (ours, theirs) = (
        site.scene.create_app("ours").await.id,
        site.scene.create_app("theirs").await.id,
    );
    let _ = site.issue(&theirs, "alpha").await;
    site.get(&format!("/tokens?app={ours}"))
        .await
        .has("This app has no token yet")
        .has(&format!("href=\"/tokens/new?app={ours}\""))
        .has("Bearer $TOKEN");
}

#[tokio::test]
async fn a_row_tells_what_there_is_to_know_of_a_token() {
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
async fn a_filter_that_matches_nothing_says_so_and_keeps_what_was_typed() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let _ = site.issue(&app.id, "alpha").await;
    site.get("/tokens?name=a%22%3Eb")
        .await
        .is(StatusCode::OK)
        .has("No token matches")
        .has("value=\"a&#34;&#62;b\"");
}

#[tokio::test]
async fn a_filter_that_cannot_be_one_says_what_to_change() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let _ = site.issue(&app.id, "alpha").await;
    for (query, says) in [
        ("app=two+words", "Not an app id: give 1 to 40"),
        ("status=asleep", "choose one of the list"),
        ("after=x", "go to the first"),
        ("name=a&name=b", "cannot be read"),
    ] {
        let page = site.get(&format!("/tokens?{query}")).await;
        page.is(StatusCode::BAD_REQUEST).has(says);
    }
}

#[tokio::test]
async fn a_filter_by_an_app_that_does_not_exist_says_so() {
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
                .has("There is no such app.")
                .lacks("has no token yet")
                .lacks("No token matches")
                .lacks("<bdi>alpha</bdi>");
        }
    }
}

#[tokio::test]
async fn a_search_for_a_control_character_is_refused() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let _ = site.issue(&app.id, "alpha").await;
    for part in ["%00", "a%00", "%1b%5b31m", "a%c2%85b", &"x".repeat(101)] {
        site.get(&format!("/tokens?name={part}"))
            .await
            .is(StatusCode::BAD_REQUEST)
            .has("A part of a name is 1 to 100 characters, without control characters.")
            .lacks("No token matches");
    }
    for field in ["app", "status", "after"] {
        site.get(&format!("/tokens?{field}=%00"))
            .await
            .is(StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn with_many_apps_the_list_is_filtered_by_a_search_for_one() {
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
        .has("apps match: choose one.")
        .has(">shop 1</option>");
    site.get("/tokens?find=nothing")
        .await
        .has("No app has this in its name or as its ID.");
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
