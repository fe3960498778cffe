//! The nodes that verify tokens, and revocations that wait for all of them.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tower_api_tokens::{ChangeLog, FleetState, NodeId, NodeRegistry, NodeReport, Revision};

use crate::{client::Client, support::Platform};

/// A node whose identifier consists of one byte.
async fn report(platform: &Platform, n: u8, applied: Option<Revision>) -> FleetState {
    let id = NodeId::from_bytes([n; 16]);
    let report = NodeReport::new(
        id,
        &format!("node {n}"),
        "1.2.3",
        Duration::from_millis(1_500),
    );
    let report = report.applied(applied).interval(Duration::from_secs(10));
    platform.scene.store.report(&report).await.unwrap()
}

async fn latest(platform: &Platform) -> Revision {
    platform.scene.store.revision().await.unwrap()
}

#[tokio::test]
async fn nodes_are_listed_with_the_changes_that_they_lack() {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    assert_eq!(
        client.get("/nodes").await.ok(),
        json!({"items": [], "next": null})
    );
    let begin = latest(&platform).await;
    client
        .post("/apps", json!({"name": "b", "id": "b"}))
        .await
        .created();
    client.issue("b", "ci").await;
    report(&platform, 1, Some(begin)).await;
    report(&platform, 2, Some(latest(&platform).await)).await;
    report(&platform, 3, None).await;
    let (mut listed, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/nodes?limit=2{cursor}")).await.ok();
        listed.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    let fields =
        |name: &str| -> Vec<Value> { listed.iter().map(|node| node[name].clone()).collect() };
    assert_eq!(fields("name"), ["node 1", "node 2", "node 3"]);
    assert_eq!(fields("lag"), [json!(1), json!(0), Value::Null]);
    assert_eq!(fields("revision")[0], begin.to_string());
    assert_eq!(fields("gone"), [false, false, false]);
    assert_eq!(listed[0]["max_staleness_seconds"], 1.5);
    let fleet = client.get("/fleet").await.ok();
    let expected = json!({
        "nodes": 3, "lag": 1, "max_staleness_seconds": null, "all_registered": false,
    });
    assert_eq!(fleet, expected);
    client
        .get("/nodes?cursor=AAAA")
        .await
        .problem(400, "invalid_cursor");
}

#[tokio::test]
async fn an_owner_sets_what_holds_for_all_nodes_and_removes_one() {
    let platform = Platform::new();
    let (owner, other) = (Client::owner(&platform).await, Client::new(&platform).await);
    let settings = json!({"max_staleness_seconds": 5, "all_registered": true});
    other
        .put("/fleet", settings.clone())
        .await
        .problem(403, "owner_required");
    let set = owner.put("/fleet", settings).await.ok();
    assert_eq!(
        (&set["max_staleness_seconds"], &set["all_registered"]),
        (&json!(5.0), &json!(true))
    );
    owner.recorded("fleet.set", "done").await;
    report(&platform, 1, None).await;
    let path = format!("/nodes/{}", NodeId::from_bytes([1; 16]));
    other.delete(&path).await.problem(403, "owner_required");
    assert_eq!(owner.delete(&path).await.status, StatusCode::NO_CONTENT);
    owner.delete(&path).await.problem(404, "unknown_node");
    owner.recorded("node.remove", "done").await;
}

#[tokio::test]
async fn the_bound_of_the_fleet_may_have_a_fraction() {
    let platform = Platform::new();
    let owner = Client::owner(&platform).await;
    for bound in [0.0, 0.9, 2.5, 5.0] {
        let set = owner.put("/fleet", json!({"max_staleness_seconds": bound}));
        assert_eq!(set.await.ok()["max_staleness_seconds"], bound);
        let fleet = owner.get("/fleet").await.ok();
        assert_eq!(fleet["max_staleness_seconds"], bound);
    }
    for invalid in [json!(-0.5), json!("2.5")] {
        let set = owner.put("/fleet", json!({"max_staleness_seconds": invalid}));
        set.await.problem(400, "invalid_body");
    }
    let fleet = owner.get("/fleet").await.ok();
    assert_eq!(fleet["max_staleness_seconds"], 5.0);
}

#[tokio::test]
async fn a_revocation_everywhere_returns_a_receipt() {
    let platform = Platform::new();
    let client = Client::owner(&platform).await;
    client
        .put("/fleet", json!({"all_registered": true}))
        .await
        .ok();
    client
        .post("/apps", json!({"name": "b", "id": "b"}))
        .await
        .created();
    report(&platform, 1, None).await;
    let new = json!({"app_id": "b", "name": "ci"});
    let issued = client.post("/tokens", new).await.created();
    let path = format!(
        "/tokens/{}/revoke/everywhere",
        issued["record"]["id"].as_str().unwrap()
    );
    let pending = client.post(&path, json!({"wait_seconds": 0})).await;
    assert_eq!(pending.status, StatusCode::ACCEPTED);
    assert_eq!(
        pending.header("revision"),
        latest(&platform).await.to_string()
    );
    assert_eq!(pending.json["token"]["status"], "revoked");
    let receipt = &pending.json["receipt"];
    assert_eq!(
        (&receipt["status"], &receipt["nodes"][0]["applied"]),
        (&json!("pending"), &json!(false))
    );

    // A node that has applied a later revision has applied this one.
    let later = client.post(&path, json!({"wait_seconds": 0})).await;
    assert_eq!(later.status, StatusCode::ACCEPTED);
    let revoking = client.post(&path, json!({"wait_seconds": 30}));
    let (complete, ()) = tokio::join!(revoking, async {
        while latest(&platform).await.to_string() == later.header("revision") {
            tokio::task::yield_now().await;
        }
        report(&platform, 1, Some(latest(&platform).await)).await;
    });
    let complete = complete.ok();
    assert_eq!(complete["receipt"]["status"], "applied");
    assert_eq!(complete["receipt"]["nodes"][0]["applied"], true);

    let stale = "\"00000000000000000000000000000001\"";
    let wait = json!({"wait_seconds": 0});
    let refused = client
        .send_if(stale, Method::POST, &path, wait.clone())
        .await;
    refused.problem(412, "stale");
    let unknown = format!("/tokens/{}/revoke/everywhere", NodeId::from_bytes([7; 16]));
    client
        .post(&unknown, wait)
        .await
        .problem(404, "unknown_token");
}
