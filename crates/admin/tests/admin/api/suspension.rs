//! Suspending and resuming tokens.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{client::Client, support::Platform};

#[tokio::test]
async fn a_suspended_token_is_refused_until_it_is_resumed() {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    client
        .post("/apps", json!({"name": "b", "id": "b"}))
        .await
        .created();
    let issued = client.issue("b", "ci").await;
    let text = issued["token"].as_str().unwrap();
    let path = format!("/tokens/{}", issued["record"]["id"].as_str().unwrap());
    let (suspend, resume) = (format!("{path}/suspend"), format!("{path}/resume"));
    let authenticator = platform.scene.tokens.authenticator();
    assert!(authenticator.authenticate(text.as_bytes()).await.is_ok());

    let suspended = client.post(&suspend, Value::Null).await.ok();
    assert_eq!(suspended["status"], "suspended");
    assert_eq!(suspended["suspended_at"], "2027-01-15T08:00:00Z");
    assert!(authenticator.authenticate(text.as_bytes()).await.is_err());
    client.recorded("token.suspend", "done").await;
    platform.scene.clock.advance(Duration::from_secs(60));
    assert_eq!(client.post(&suspend, Value::Null).await.ok(), suspended);
    let listed = client.get("/tokens?status=suspended").await.ok();
    assert_eq!(listed["items"], json!([suspended]));
    let rotation = json!({"overlap_seconds": 0});
    let answer = client.post(&format!("{path}/rotate"), rotation).await;
    let detail = answer.problem(409, "suspended_token");
    assert!(detail.contains("resume it first"), "{detail}");

    let resumed = client.post(&resume, Value::Null).await.ok();
    assert_eq!(resumed, issued["record"]);
    assert!(authenticator.authenticate(text.as_bytes()).await.is_ok());
    assert_eq!(client.post(&resume, Value::Null).await.ok(), resumed);
    client.recorded("token.resume", "done").await;

    let revoke = format!("{path}/revoke");
    client.post(&revoke, Value::Null).await.ok();
    for path in [&suspend, &resume] {
        let answer = client.post(path, Value::Null).await;
        answer.problem(409, "revoked_token");
    }
    let unknown = "/tokens/0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77/suspend";
    client
        .post(unknown, Value::Null)
        .await
        .problem(404, "unknown_token");
}

#[tokio::test]
async fn any_actor_suspends_but_only_who_may_grant_the_token_resumes_it() {
    let platform = Platform::new();
    let owner = Client::owner(&platform).await;
    owner
        .post("/apps", json!({"name": "b", "id": "b"}))
        .await
        .created();
    let issued = owner.issue("b", "ci").await;
    let path = format!("/tokens/{}", issued["record"]["id"].as_str().unwrap());
    let restricted = Client::with_scopes(&platform, "tokens:admin").await;
    restricted
        .post(&format!("{path}/suspend"), Value::Null)
        .await
        .ok();
    let resume = format!("{path}/resume");
    restricted
        .post(&resume, Value::Null)
        .await
        .problem(403, "scope_not_held");
    owner.recorded("token.resume", "scope_not_held").await;
    let events = owner.get("/events?app_id=b").await.ok();
    let mut events = events["items"].as_array().unwrap().iter();
    assert!(events.any(|event| event["action"] == "token.resume"));
    assert_eq!(owner.get(&path).await.ok()["status"], "suspended");
    owner.post(&resume, Value::Null).await.ok();
}
