//! Pages and filters.

use serde_json::{Value, json};

use crate::{client::Client, support::Platform};

fn names(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["name"].as_str().unwrap())
        .collect()
}

async fn seven_tokens() -> (Platform, Client) {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    for app in ["a", "b"] {
        client
            .post("/apps", json!({"name": app, "id": app}))
            .await
            .created();
    }
    for n in 0..6 {
        platform
            .scene
            .clock
            .advance(std::time::Duration::from_secs(1));
        client.issue(["a", "b"][n % 2], &format!("Token {n}")).await;
    }
    (platform, client)
}

#[tokio::test]
async fn pages_cover_every_record_once() {
    let (_platform, client) = seven_tokens().await;
    let mut seen = Vec::new();
    let mut path = "/tokens?limit=3".to_owned();
    loop {
        let page = client.get(&path).await.ok();
        seen.extend(names(&page).into_iter().map(str::to_owned));
        match page["next"].as_str() {
            Some(next) => path = format!("/tokens?limit=3&cursor={next}"),
            None => break,
        }
    }
    let mut expected: Vec<_> = (0..6).rev().map(|n| format!("Token {n}")).collect();
    expected.push("admin".to_owned());
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn apps_are_searched_by_name() {
    let (_platform, client) = seven_tokens().await;
    for (id, name) in [("c", "Billing"), ("d", "billing (sandbox)"), ("e", "Store")] {
        let app = json!({"name": name, "id": id});
        client.post("/apps", app).await.created();
    }
    let first = client.get("/apps?name=BILL&limit=1").await.ok();
    assert_eq!(names(&first), ["Billing"]);
    let next = first["next"].as_str().unwrap();
    let path = format!("/apps?name=BILL&limit=1&cursor={next}");
    assert_eq!(names(&client.get(&path).await.ok()), ["billing (sandbox)"]);
    let path = format!("/apps?name=other&limit=1&cursor={next}");
    client.get(&path).await.problem(400, "invalid_cursor");
}

#[tokio::test]
async fn apps_and_events_are_paged() {
    let (_platform, client) = seven_tokens().await;
    for listing in ["/apps", "/events"] {
        let mut count = 0;
        let mut path = format!("{listing}?limit=2");
        loop {
            let page = client.get(&path).await.ok();
            count += page["items"].as_array().unwrap().len();
            match page["next"].as_str() {
                Some(next) => path = format!("{listing}?limit=2&cursor={next}"),
                None => break,
            }
        }
        // The events include those of the app and the token that the administrator signs in with.
        assert_eq!(count, if listing == "/apps" { 3 } else { 10 });
    }
}

#[tokio::test]
async fn tokens_are_filtered_by_app_status_and_name() {
    let (_platform, client) = seven_tokens().await;
    let page = client.get("/tokens?name=token%204").await.ok();
    assert_eq!(names(&page), ["Token 4"]);
    let id = page["items"][0]["id"].as_str().unwrap();
    client
        .post(&format!("/tokens/{id}/revoke"), Value::Null)
        .await
        .ok();

    let page = client.get("/tokens?app_id=a&status=live").await.ok();
    assert_eq!(names(&page), ["Token 2", "Token 0"]);
    let page = client.get("/tokens?status=revoked").await.ok();
    assert_eq!(names(&page), ["Token 4"]);
    client.post("/apps/b/disable", Value::Null).await.ok();
    let page = client.get("/tokens?status=app_disabled").await.ok();
    assert_eq!(names(&page), ["Token 5", "Token 3", "Token 1"]);
    assert_eq!(
        client.get("/tokens?app_id=nowhere").await.ok()["items"],
        json!([])
    );
}

#[tokio::test]
async fn a_cursor_of_another_query_is_rejected() {
    let (_platform, client) = seven_tokens().await;
    let page = client.get("/tokens?app_id=a&limit=1").await.ok();
    let next = page["next"].as_str().unwrap();
    client
        .get(&format!("/tokens?app_id=a&limit=2&cursor={next}"))
        .await
        .ok();
    for other in [
        format!("/tokens?cursor={next}"),
        format!("/tokens?app_id=b&cursor={next}"),
        format!("/tokens?app_id=a&status=live&cursor={next}"),
        format!("/events?app_id=a&cursor={next}"),
        format!("/apps?cursor={next}"),
        format!("/tokens?app_id=a&cursor={}", &next[1..]),
        "/tokens?cursor=AAAA".to_owned(),
    ] {
        let detail = client.get(&other).await.problem(400, "invalid_cursor");
        assert!(detail.contains("the same filters"), "{detail}");
    }
    let detail = client
        .get("/tokens?cursor=a%20b")
        .await
        .problem(400, "invalid_query");
    assert!(detail.contains("`next` from the previous page"), "{detail}");
}
