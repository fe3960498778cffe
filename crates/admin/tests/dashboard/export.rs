//! Listings as CSV files, and their totals and pages.

use http::{StatusCode, header};
use tower_api_tokens::{NewToken, StoreErrorKind, testing::Fault};

use crate::support::{Answer, Site};

/// Returns the target of the link with this text.
fn link(page: &Answer, text: &str) -> Option<String> {
    let (before, _) = page.text.split_once(&format!("\">{text}</a>"))?;
    let (_, address) = before.rsplit_once("href=\"")?;
    Some(address.replace("&#38;", "&"))
}

#[tokio::test]
async fn a_list_is_exported_as_csv() {
    let site = Site::new();
    let app = site.ada().create_app("Billing").await.unwrap();
    let new = NewToken::named("a, \"b\"").scopes("invoices:read orders:read".parse().unwrap());
    let issued = site.ada().issue(&app.id, new).await.unwrap();
    let record = issued.record();
    let file = site.get("/tokens/tokens.csv").await.is(StatusCode::OK);
    assert_eq!(
        file.headers[header::CONTENT_TYPE],
        "text/csv; charset=utf-8"
    );
    assert_eq!(
        file.headers[header::CONTENT_DISPOSITION],
        "attachment; filename=\"tokens.csv\""
    );
    assert_eq!(file.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(file.headers[header::CACHE_CONTROL], "no-store");
    let row = format!(
        "{},\"a, \"\"b\"\"\",{},acme_live,{},Billing,invoices:read orders:read,live,2026-09-14T09:26:53Z,",
        record.id, record.mask, app.id
    );
    let file = file
        .has("id,name,masked,format,app_id,app_name,scopes,status,created_at,created_by,")
        .has(&row)
        .lacks(issued.token().expose());
    assert_eq!(file.text.matches("\r\n").count(), 2);
    let digest: String = record
        .digest
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let file = file.lacks(&digest);
    assert!(!file.text.contains(&format!("{:?}", record.digest)));

    let file = site.get("/tokens/apps.csv").await.is(StatusCode::OK);
    file.has(&format!(
        "{},Billing,enabled,2026-09-14T09:26:53Z,\r\n",
        app.id
    ));
    let file = site.get("/tokens/activity.csv").await.is(StatusCode::OK);
    file.has(&format!(
        ",2026-09-14T09:26:53Z,ada@acme.example,token.issue,{},{},done\r\n",
        app.id, record.id
    ));
}

#[tokio::test]
async fn a_name_is_no_formula_in_a_spreadsheet() {
    let site = Site::new();
    for name in ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)"] {
        let app = site.scene.create_app(name).await;
        let _ = site.issue(&app.id, name).await;
    }
    for path in ["/tokens/tokens.csv", "/tokens/apps.csv"] {
        let file = site.get(path).await;
        for name in ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)"] {
            assert!(file.text.contains(&format!(",\"'{name}\",")), "{name}");
            assert!(!file.text.contains(&format!(",{name},")), "{name}");
        }
    }
}

#[tokio::test]
async fn an_export_has_every_page_of_the_filtered_list() {
    let site = Site::new();
    let ours = site.scene.create_app("ours").await;
    let theirs = site.scene.create_app("theirs").await;
    for n in 0..1_050 {
        let _ = site.issue(&ours.id, &format!("match {n}")).await;
    }
    let _ = site.issue(&ours.id, "other").await;
    let _ = site.issue(&theirs.id, "match").await;
    let list = site
        .get(&format!("/tokens?name=match&app={}", ours.id))
        .await;
    let next = site.get(&link(&list, "Next page").unwrap()).await;
    // The export is that of the whole list, on whatever page it was asked for.
    for page in [&list, &next] {
        let file = site.get(&link(page, "Export CSV").unwrap()).await;
        let mut ids: Vec<&str> = file.text.lines().skip(1).map(|row| &row[..36]).collect();
        assert_eq!(ids.len(), 1_050);
        ids.dedup();
        assert_eq!(ids.len(), 1_050);
    }
    for query in ["app=two+words", "status=x", "name=%00"] {
        site.get(&format!("/tokens/tokens.csv?{query}"))
            .await
            .is(StatusCode::BAD_REQUEST);
    }
    site.get("/tokens/tokens.csv?app=nosuch")
        .await
        .is(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_export_that_cannot_begin_is_an_error_page() {
    let site = Site::new();
    site.scene
        .store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    for file in ["tokens", "apps", "activity"] {
        site.get(&format!("/tokens/{file}.csv"))
            .await
            .is(StatusCode::SERVICE_UNAVAILABLE)
            .has("Can't reach the token database");
    }
}

#[tokio::test]
async fn the_total_is_counted_on_request() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let _ = site.issue(&app.id, "one").await;
    site.get("/tokens")
        .await
        .has(">1 token<")
        .lacks("Count all");
    for n in 0..120 {
        let _ = site.issue(&app.id, &format!("match {n}")).await;
    }
    let list = site.get("/tokens?name=match").await.lacks("120 tokens");
    let counted = site.get(&link(&list, "Count all").unwrap()).await;
    let counted = counted.has(">120 tokens<").lacks("Count all");
    // The same page is shown, and the next one does not count again.
    assert_eq!(link(&counted, "Next page"), link(&list, "Next page"));
    for (path, noun) in [("/tokens/apps", "app"), ("/tokens/activity", "event")] {
        site.get(path).await.has(noun);
    }
    for n in 0..60 {
        site.ada().create_app(&format!("app {n}")).await.unwrap();
    }
    site.get("/tokens/apps?count=yes").await.has(">61 apps<");
    site.get("/tokens/activity?count=yes&action=app.create")
        .await
        .has(">61 events<");
}

#[tokio::test]
async fn the_previous_pages_lead_back() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    for n in 0..220 {
        let _ = site.issue(&app.id, &format!("match {n}")).await;
    }
    let rows = |page: &Answer| -> Vec<String> {
        let names = page.text.split("<bdi>match ").skip(1);
        names
            .map(|row| row.split('<').next().unwrap().to_owned())
            .collect()
    };
    let mut page = site.get("/tokens?name=match").await.lacks("Previous page");
    let mut seen = vec![rows(&page)];
    while let Some(next) = link(&page, "Next page") {
        page = site.get(&next).await;
        seen.push(rows(&page));
    }
    assert_eq!(seen.len(), 5);
    assert_eq!(seen.concat().len(), 220);
    while let Some(previous) = link(&page, "Previous page") {
        seen.pop();
        page = site.get(&previous).await;
        assert_eq!(rows(&page), *seen.last().unwrap());
    }
    assert_eq!(seen.len(), 1);
    page.lacks("First page");
}
