//! The filters and orders of the list of tokens.

use std::time::Duration;

use http::{StatusCode, header};
use tower_api_tokens::{NewToken, TokenRecord, store::Usage};

use crate::support::{Answer, Site};

const DAY: Duration = Duration::from_secs(86_400);

/// Tokens of one app, each created a day after the one before: `plain`, which was used, `sandbox` of
/// the format `test`, `expiring`, `replaced` with a successor, and `revoked`.
struct Scene {
    site: Site,
    records: Vec<TokenRecord>,
}

impl Scene {
    async fn new() -> Self {
        let site = Site::with_formats(|tokens| tokens);
        let app = site.ada().create_app("Billing").await.unwrap().id;
        let mut records = Vec::new();
        for new in [
            NewToken::named("plain"),
            NewToken::named("sandbox").format("test"),
            NewToken::named("expiring").expires_in(30 * DAY),
            NewToken::named("replaced"),
            NewToken::named("revoked"),
        ] {
            let issued = site.ada().issue(&app, new).await.unwrap();
            records.push(issued.record().clone());
            site.scene.clock.advance(DAY);
        }
        let _ = site.ada().rotate(records[3].id, 7 * DAY).await.unwrap();
        site.ada().revoke(records[4].id).await.unwrap();
        let usage = Usage::new(records[0].id, site.scene.tokens.now(), 1);
        let registry = site.scene.tokens.registry();
        let log = registry.usage_log().unwrap();
        log.record_usage(&[usage]).await.unwrap();
        Self { site, records }
    }

    async fn get(&self, query: &str) -> Answer {
        self.site.get(&format!("/tokens?{query}")).await
    }
}

/// Returns the names in the rows of the list.
fn names(page: &Answer) -> Vec<String> {
    let rows = page.text.split("<td role=\"cell\" class=\"name\">").skip(1);
    rows.map(|row| {
        let (_, name) = row.split_once("<bdi>").unwrap();
        name.split('<').next().unwrap().to_owned()
    })
    .collect()
}

/// The default order depends on the filters.
fn sorted(names: impl IntoIterator<Item = impl ToString>) -> Vec<String> {
    let mut names: Vec<_> = names.into_iter().map(|name| name.to_string()).collect();
    names.sort();
    names
}

/// Returns the target of the first link whose content starts with this text.
fn link(page: &Answer, text: &str) -> Option<String> {
    let (before, _) = page.text.split_once(&format!("\">{text}"))?;
    let (_, address) = before.rsplit_once("href=\"")?;
    Some(address.replace("&#38;", "&"))
}

#[tokio::test]
async fn every_filter_selects_tokens_also_in_the_export() {
    let scene = Scene::new().await;
    let id = scene.records[1].id;
    let mask = scene.records[2].mask.to_string();
    let last_four = mask.split_once('…').unwrap().1;
    let all = [
        "replaced", "revoked", "replaced", "expiring", "sandbox", "plain",
    ];
    for (query, expected) in [
        (format!("id={id}"), &["sandbox"][..]),
        ("format=test".to_owned(), &["sandbox"]),
        ("format=acme_test".to_owned(), &["sandbox"]),
        (format!("last_four={last_four}"), &["expiring"]),
        ("created_by=+ada%40acme.example".to_owned(), &all),
        ("created_by=nobody".to_owned(), &[]),
        (
            "created_before=2026-09-16".to_owned(),
            &["sandbox", "plain"],
        ),
        ("created_before=2026-09-15T09:26:53Z".to_owned(), &["plain"]),
        ("expires_before=2026-10-01".to_owned(), &["replaced"]),
        (
            "expires_before=2026-12-01".to_owned(),
            &["replaced", "expiring"],
        ),
        (
            "never_expires=true&status=live".to_owned(),
            &["replaced", "sandbox", "plain"],
        ),
        (
            "unused_since=2026-09-17".to_owned(),
            &["sandbox", "expiring"],
        ),
        ("never_used=true&name=plain".to_owned(), &[]),
        ("replaced=true".to_owned(), &["replaced"]),
        ("replaced=false&name=replaced".to_owned(), &["replaced"]),
        ("used_since_rotation=false".to_owned(), &["replaced"]),
        (
            "sort=oldest".to_owned(),
            &[
                "plain", "sandbox", "expiring", "replaced", "revoked", "replaced",
            ],
        ),
    ] {
        let page = scene.get(&query).await.is(StatusCode::OK);
        assert_eq!(sorted(names(&page)), sorted(expected), "{query}");
        let file = scene.site.get(&format!("/tokens/tokens.csv?{query}")).await;
        let rows: Vec<_> = file.text.lines().skip(1).collect();
        let in_file: Vec<_> = rows
            .iter()
            .map(|row| row.split(',').nth(1).unwrap())
            .collect();
        assert_eq!(in_file, names(&page), "{query}");
    }
}

#[tokio::test]
async fn the_headings_sort_the_list() {
    let scene = Scene::new().await;
    let page = scene.get("name=e&created_by=ada%40acme.example").await;
    let page = page.has_once("aria-sort=\"descending\"");
    let heading_link = |page: &Answer, heading: &str| link(page, &format!("{heading}<span"));
    for (heading, expected) in [
        (
            "Created",
            &["expiring", "replaced", "revoked", "replaced"][..],
        ),
        ("Last used", &["expiring", "replaced", "replaced"]),
        ("Expires", &["replaced", "expiring", "replaced"]),
    ] {
        let page = scene
            .site
            .get(&heading_link(&page, heading).unwrap())
            .await
            .is(StatusCode::OK);
        assert_eq!(names(&page), expected, "{heading}");
        let page = page
            .has_once("aria-sort=\"ascending\"")
            .has("Created by ada@acme.example</bdi>");
        let has_revoked = expected.contains(&"revoked");
        let note = "Revoked tokens are left out in this order.";
        assert_eq!(!page.text.contains(note), has_revoked, "{heading}");
        // The same heading leads back.
        let page = scene.site.get(&heading_link(&page, heading).unwrap()).await;
        assert_eq!(names(&page)[0], "replaced", "{heading}");
    }
    let revoked = scene.get("status=revoked").await;
    assert_eq!(heading_link(&revoked, "Expires"), None);
    assert!(heading_link(&revoked, "Created").is_some());
}

#[tokio::test]
async fn pages_and_totals_keep_the_filters_and_the_order() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await.id;
    for n in 0..120 {
        let _ = site.issue(&app, &format!("match {n:03}")).await;
        site.pass(1);
    }
    let mut path = "/tokens?sort=oldest&never_expires=true&created_by=".to_owned();
    let mut seen = Vec::new();
    for size in [50, 50, 20] {
        let page = site.get(&path).await;
        assert_eq!(names(&page).len(), size);
        seen.extend(names(&page));
        let count = link(&page, "Count all").unwrap();
        site.get(&count).await.has(">120 tokens</span>");
        path = link(&page, "Next page").unwrap_or_default();
        assert!(path.is_empty() || path.contains("never_expires=true"));
    }
    let expected: Vec<_> = (0..120).map(|n| format!("match {n:03}")).collect();
    assert_eq!(seen, expected);
    let page = site.get("/tokens?sort=oldest&after=newest.0.0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77");
    page.await
        .is(StatusCode::BAD_REQUEST)
        .has("Start from the first page.");
}

#[tokio::test]
async fn each_further_filter_is_shown_and_can_be_removed() {
    let scene = Scene::new().await;
    let page = scene
        .get("status=live&never_expires=true&format=test&created_by=ada%40acme.example&sort=oldest")
        .await
        .has("<bdi>Never expires</bdi>")
        .has("<bdi>Format: test</bdi>")
        .has("<bdi>Created by ada@acme.example</bdi>")
        .has("<option value=\"true\" selected>Never expires</option>")
        .has("<option value=\"acme_test\" selected>test</option>")
        .has("<option value=\"oldest\" selected>Oldest first</option>")
        .has("name=\"created_by\" value=\"ada@acme.example\"")
        .lacks("<details class=\"further\" open>");
    let (_, chip) = page
        .text
        .split_once("<bdi>Format: test</bdi><a href=\"")
        .unwrap();
    let remove = chip.split('"').next().unwrap().replace("&#38;", "&");
    let page = scene.site.get(&remove).await.is(StatusCode::OK);
    assert_eq!(names(&page), ["plain", "sandbox", "replaced"]);
    page.has("<bdi>Never expires</bdi>").lacks("<bdi>Format");
}

#[tokio::test]
async fn the_page_of_an_app_leads_to_a_sorted_list_of_its_tokens() {
    let scene = Scene::new().await;
    let app = scene.records[0].app.id;
    scene
        .site
        .get(&format!("/tokens/apps/{app}"))
        .await
        .has(&format!(
            "<input type=\"hidden\" name=\"app\" value=\"{app}\">"
        ))
        .has("<label class=\"hidden\" for=\"sort\">Order</label>")
        .has("<option value=\"last_used\">Longest unused first</option>");
    let page = scene.get(&format!("app={app}&name=&sort=last_used")).await;
    assert_eq!(
        names(&page),
        ["sandbox", "expiring", "replaced", "plain", "replaced"]
    );
}

#[tokio::test]
async fn an_exact_time_in_the_address_is_kept_in_the_form() {
    let scene = Scene::new().await;
    let page = scene.get("unused_since=2026-09-17T00:00:00Z").await;
    page.has("<input type=\"text\" id=\"unused_since\" name=\"unused_since\" value=\"2026-09-17T00:00:00Z\"");
    let page = scene.get("unused_since=2026-09-17").await;
    page.has("<input type=\"date\" id=\"unused_since\" name=\"unused_since\" value=\"2026-09-17\"");
}

#[tokio::test]
async fn an_invalid_filter_is_explained_where_it_can_be_changed() {
    let scene = Scene::new().await;
    for (query, message) in [
        (
            "id=x",
            "Not a valid token ID. Copy it from the page of the token.",
        ),
        (
            "last_four=abcde",
            "Enter the last four characters of the token, as the list shows them.",
        ),
        ("created_by=a%00b", "in one line of at most 200 characters"),
        ("created_before=soon", "Enter a date, such as 2031-12-24."),
        ("never_used=maybe", "Choose one of the options."),
        ("format=tset", "Unknown format. Choose one from the list."),
        (
            "never_expires=true&expires_before=2027-01-01",
            "No token can match both “Never expires” and “Expires before”.",
        ),
        (
            "replaced=false&used_since_rotation=true",
            "No token can match both “Not replaced” and “Used since its rotation”.",
        ),
    ] {
        let page = scene.get(query).await;
        page.is(StatusCode::BAD_REQUEST)
            .has(message)
            .has("<details class=\"further\" open>")
            .lacks("class=\"name\">");
        let file = scene.site.get(&format!("/tokens/tokens.csv?{query}")).await;
        file.is(StatusCode::BAD_REQUEST);
    }
    for (query, message) in [
        ("sort=name", "Unknown order. Choose one from the list."),
        (
            "status=revoked&sort=expiry",
            "No token can match both “Status: Revoked” and “Earliest expiration first”.",
        ),
    ] {
        scene
            .get(query)
            .await
            .is(StatusCode::BAD_REQUEST)
            .has(message);
    }
}

#[tokio::test]
async fn a_pasted_token_leads_to_its_page() {
    let scene = Scene::new().await;
    let site = &scene.site;
    let app = scene.records[0].app.id;
    let issued = site.issue(&app, "leaked").await;
    let text = issued.token().expose();
    let form = site.get("/tokens/find").await.is(StatusCode::OK);
    assert_eq!(form.headers[header::CACHE_CONTROL], "no-store");
    form.has("<input type=\"password\"")
        .has("autocomplete=\"off\"")
        .has("<label for=\"token\">");
    let found = site
        .post("/tokens/find", &[("token", &format!(" {text} "))])
        .await;
    let page = format!("/tokens/token/{}", issued.record().id);
    assert_eq!(found.location(), page);
    assert_eq!(found.headers[header::CACHE_CONTROL], "no-store");
    site.scene.tokens.revoke(issued.record().id).await.unwrap();
    assert_eq!(
        site.post("/tokens/find", &[("token", text)])
            .await
            .location(),
        page
    );
    site.get(&format!("/tokens/activity?token={}", issued.record().id))
        .await
        .has("Looked up")
        .lacks(text);
}

#[tokio::test]
async fn a_text_that_is_not_found_is_explained_and_not_shown() {
    let (scene, other) = (Scene::new().await, Scene::new().await);
    let app = other.records[0].app.id;
    let unknown = other.site.issue(&app, "ci").await;
    let unknown = unknown.token().expose();
    for (text, status, message) in [
        (unknown, StatusCode::NOT_FOUND, "No token has this text."),
        (
            &unknown[1..],
            StatusCode::UNPROCESSABLE_ENTITY,
            "Check that you copied all of it.",
        ),
        (" ", StatusCode::UNPROCESSABLE_ENTITY, "Paste a token."),
    ] {
        let page = scene.site.post("/tokens/find", &[("token", text)]).await;
        assert_eq!(page.headers[header::CACHE_CONTROL], "no-store");
        page.is(status)
            .has(message)
            .has("value=\"\"")
            .has("aria-describedby=\"token-error\"")
            .lacks(&unknown[10..30]);
    }
    let page = scene
        .site
        .post("/tokens/find", &[("token", "a"), ("token", "b")])
        .await;
    page.is(StatusCode::UNPROCESSABLE_ENTITY);
    let page = scene
        .site
        .get(&format!("/tokens/find?token={unknown}"))
        .await;
    page.lacks(&unknown[10..30]);
}
