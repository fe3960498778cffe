//! Events in the order of their commits.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{client::Client, support::Platform};

/// A platform with some events, and its latest position.
async fn platform() -> (Platform, Client, String) {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    client
        .post("/apps", json!({"name": "Billing", "id": "a"}))
        .await
        .created();
    let issued = client.issue("a", "ci").await;
    let id = issued["record"]["id"].as_str().unwrap();
    client
        .post(&format!("/tokens/{id}/revoke"), Value::Null)
        .await
        .ok();
    client
        .post("/apps/nowhere/disable", Value::Null)
        .await
        .problem(404, "unknown_app");
    let latest = client.get("/events?after=latest").await.ok();
    assert_eq!(latest["items"], json!([]));
    let position = latest["next"].as_str().unwrap().to_owned();
    (platform, client, position)
}

fn actions(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["action"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn events_are_read_in_their_order_with_their_positions() {
    let (_platform, client, latest) = platform().await;
    let all = client.get("/events?after=oldest").await.ok();
    assert!(actions(&all).ends_with(&["app.create", "token.issue", "token.revoke"]));
    assert_eq!(all["next"], latest.as_str());
    let items = all["items"].as_array().unwrap();
    assert!(items.iter().all(|item| item["outcome"] == "done"));
    for (number, item) in (1..).zip(items) {
        let expected = format!("{number}-{}", item["id"].as_str().unwrap());
        assert_eq!(item["position"], expected.as_str());
    }
    let mut read = Vec::new();
    let mut after = "0".to_owned();
    loop {
        let page = client
            .get(&format!("/events?after={after}&limit=2"))
            .await
            .ok();
        page["next"].as_str().unwrap().clone_into(&mut after);
        match page["items"].as_array().unwrap().as_slice() {
            [] => break,
            items => read.extend(items.iter().cloned()),
        }
    }
    assert_eq!(read, *items);
    assert_eq!(after, latest);
    // The listing for people has no positions.
    let newest = client.get("/events?limit=1").await.ok();
    assert_eq!(newest["items"][0].get("position"), None);
}

#[tokio::test(start_paused = true)]
async fn a_request_can_wait_for_an_event() {
    let (platform, client, latest) = platform().await;
    let path = format!("/events?after={latest}&wait=30");
    let begun = tokio::time::Instant::now();
    let waiting = client.get(&path);
    // The paused clock goes on only once the request waits.
    let changing = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        platform.alice().create_app("Later").await.unwrap();
    };
    let (page, ()) = tokio::join!(waiting, changing);
    assert_eq!(actions(&page.ok()), ["app.create"]);
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_in_vain_is_answered() {
    let (_platform, client, latest) = platform().await;
    let begun = tokio::time::Instant::now();
    let page = client
        .get(&format!("/events?after={latest}&wait=7"))
        .await
        .ok();
    assert_eq!(begun.elapsed().as_secs(), 7);
    assert_eq!(
        (&page["items"], &page["next"]),
        (&json!([]), &json!(latest))
    );
}

#[tokio::test]
async fn a_position_of_another_store_is_gone() {
    let (_platform, client, latest) = platform().await;
    let (_, event) = latest.split_once('-').unwrap();
    for position in [format!("1-{event}"), format!("999-{event}")] {
        let path = format!("/events?after={position}");
        let detail = client.get(&path).await.problem(410, "gone");
        assert!(detail.contains("`oldest` or `latest`"), "{detail}");
    }
}

#[tokio::test]
async fn what_cannot_be_combined_is_rejected() {
    let (_platform, client, latest) = platform().await;
    for query in [
        "after=oldest&app_id=a".to_owned(),
        "after=oldest&cursor=AAAA".to_owned(),
        format!("after={latest}&token_id=01a221d1-993f-7bed-a6e5-b024c789ffd4"),
        "wait=5".to_owned(),
        "after=latest&wait=31".to_owned(),
        "after=newest".to_owned(),
        "after=7".to_owned(),
    ] {
        client
            .get(&format!("/events?{query}"))
            .await
            .problem(400, "invalid_query");
    }
}
