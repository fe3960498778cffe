//! Deleting apps.

use http::StatusCode;
use serde_json::{Value, json};

use crate::{client::Client, support::Platform};

#[tokio::test]
async fn an_app_without_live_tokens_is_deleted_with_their_records() {
    let platform = Platform::new();
    let client = Client::owner(&platform).await;
    client
        .post("/apps", json!({"name": "b", "id": "b"}))
        .await
        .created();
    let mut paths = Vec::new();
    for name in ["one", "two"] {
        let issued = client.issue("b", name).await;
        paths.push(format!(
            "/tokens/{}",
            issued["record"]["id"].as_str().unwrap()
        ));
    }
    // A suspended token could be resumed, so it is in the way too.
    client
        .post(&format!("{}/suspend", paths[0]), Value::Null)
        .await
        .ok();
    let answer = client.delete("/apps/b").await;
    assert_eq!(answer.json["live_tokens"], 2);
    let detail = answer.problem(409, "app_in_use");
    assert!(detail.contains("live tokens (2)"), "{detail}");
    client.recorded("app.delete", "app_in_use").await;
    client.get("/apps/b").await.ok();

    for path in &paths {
        client
            .post(&format!("{path}/revoke"), Value::Null)
            .await
            .ok();
    }
    let answer = client.delete("/apps/b").await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(answer.json, Value::Null);
    client.recorded("app.delete", "done").await;
    client.get("/apps/b").await.problem(404, "unknown_app");
    client.get(&paths[0]).await.problem(404, "unknown_token");
    client.delete("/apps/b").await.problem(404, "unknown_app");
}

#[tokio::test]
async fn only_unrestricted_actors_delete_apps() {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    client
        .post("/apps", json!({"name": "b", "id": "b"}))
        .await
        .created();
    client
        .delete("/apps/b")
        .await
        .problem(403, "owner_required");
    client.get("/apps/b").await.ok();
}
