//! An app and its tokens, from the first request to the last.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tower_api_tokens::RejectionKind;

use crate::{client::Client, support::Platform};

#[tokio::test]
async fn an_app_is_created_read_disabled_and_enabled() {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    let answer = client
        .post("/apps", json!({"name": " Billing ", "id": "app_42"}))
        .await;
    assert_eq!(answer.header("location"), "apps/app_42");
    let app = answer.created();
    let expected = json!({
        "id": "app_42", "name": "Billing",
        "created_at": "2027-01-15T08:00:00Z", "disabled_at": null,
        "metadata": {}, "version": app["version"],
    });
    assert_eq!(app, expected);
    assert_eq!(client.get("/apps/app_42").await.ok(), app);

    platform.scene.clock.advance(Duration::from_secs(60));
    let disabled = client.post("/apps/app_42/disable", Value::Null).await.ok();
    assert_eq!(disabled["disabled_at"], "2027-01-15T08:01:00Z");
    let enabled = client.post("/apps/app_42/enable", Value::Null).await.ok();
    assert_eq!(enabled, app);
}

#[tokio::test]
async fn a_token_is_issued_used_renamed_rotated_and_revoked() {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    let authenticator = platform.scene.tokens.authenticator();
    client
        .post("/apps", json!({"name": "Billing", "id": "billing"}))
        .await
        .created();
    let new = json!({
        "app_id": "billing", "name": "ci", "scopes": ["write", "read"],
        "expires_at": "2027-04-15T10:00:00+02:00",
    });
    let answer = client.post("/tokens", new).await;
    let location = answer.header("location").to_owned();
    let issued = answer.created();
    let (text, record) = (issued["token"].as_str().unwrap(), &issued["record"]);
    let id = record["id"].as_str().unwrap();
    assert_eq!(location, format!("tokens/{id}"));
    let expected = json!({
        "id": id, "app_id": "billing", "app_name": "Billing", "name": "ci",
        "masked": format!("acme_live_…{}", &text[text.len() - 4..]),
        "format": "acme_live", "scopes": ["read", "write"], "status": "live",
        "created_at": "2027-01-15T08:00:00Z", "expires_at": "2027-04-15T08:00:00Z",
        "revoked_at": null, "successor_id": null, "last_used_at": null, "uses": 0,
        "networks": null, "not_before": null, "suspended_at": null, "metadata": {},
        "created_by": record["created_by"], "version": record["version"],
    });
    let admin = client.get("/tokens?name=admin").await.ok();
    let admin = admin["items"][0]["id"].as_str().unwrap();
    assert_eq!(record["created_by"], format!("token:{admin}"));
    assert_eq!(record, &expected);
    let principal = authenticator.authenticate(text.as_bytes()).await.unwrap();
    assert_eq!(principal.token_id().to_string(), id);

    let path = format!("/tokens/{id}");
    let renamed = client.patch(&path, json!({"name": "nightly"})).await.ok();
    assert_eq!(renamed["name"], "nightly");
    assert_eq!(client.get(&path).await.ok(), renamed);

    let overlap = json!({"overlap_seconds": 3600});
    let answer = client.post(&format!("{path}/rotate"), overlap).await;
    let location = answer.header("location").to_owned();
    let rotated = answer.created();
    let successor = rotated["record"]["id"].as_str().unwrap();
    assert_eq!(location, format!("../{successor}"));
    let old = client.get(&path).await.ok();
    assert_eq!(old["successor_id"], successor);
    assert_eq!(old["expires_at"], "2027-01-15T09:00:00Z");
    assert_eq!(rotated["record"]["name"], "nightly");
    for live in [text, rotated["token"].as_str().unwrap()] {
        assert!(authenticator.authenticate(live.as_bytes()).await.is_ok());
    }

    let revoked = client
        .post(&format!("{path}/revoke"), Value::Null)
        .await
        .ok();
    assert_eq!(revoked["status"], "revoked");
    let refused = authenticator
        .authenticate(text.as_bytes())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::RevokedToken);
    assert_eq!(
        client
            .post(&format!("{path}/revoke"), Value::Null)
            .await
            .ok(),
        revoked
    );
}

#[tokio::test]
async fn only_the_response_that_creates_a_token_contains_its_text() {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    client
        .post("/apps", json!({"name": "b", "id": "b"}))
        .await
        .created();
    let issued = client.issue("b", "ci").await;
    let text = issued["token"].as_str().unwrap();
    let id = issued["record"]["id"].as_str().unwrap();
    let record = issued["record"].to_string();
    assert!(!record.contains(text));
    let mut answers = Vec::new();
    for path in [
        "/tokens",
        "/events",
        "/apps",
        &format!("/tokens/{id}"),
        "/openapi.json",
    ] {
        answers.push(client.get(path).await.ok());
    }
    let path = format!("/tokens/{id}");
    answers.push(client.patch(&path, json!({"name": "x"})).await.ok());
    let rotated = client
        .post(&format!("{path}/rotate"), json!({"overlap_seconds": 0}))
        .await;
    answers.push(rotated.created());
    answers.push(
        client
            .post(&format!("{path}/revoke"), Value::Null)
            .await
            .ok(),
    );
    for answer in answers {
        assert!(!answer.to_string().contains(text), "{answer}");
    }
}

#[tokio::test]
async fn audit_events_are_listed_by_token_and_by_app() {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    client
        .post("/apps", json!({"name": "b", "id": "b"}))
        .await
        .created();
    let issued = client.issue("b", "ci").await;
    let id = issued["record"]["id"].as_str().unwrap();
    let refused = client.post("/apps/nowhere/disable", Value::Null).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);

    let events = client.get(&format!("/events?token_id={id}")).await.ok();
    let event = &events["items"][0];
    assert_eq!(event["action"], "token.issue");
    assert_eq!(event["app_id"], "b");
    assert_eq!(event["outcome"], "done");
    assert_eq!(event["reason"], Value::Null);
    let admin = client.get("/tokens?name=admin").await.ok();
    let admin = admin["items"][0]["id"].as_str().unwrap();
    assert_eq!(event["actor"], format!("token:{admin}"));
    assert_eq!(events["items"].as_array().unwrap().len(), 1);

    let events = client.get("/events?app_id=nowhere").await.ok();
    assert_eq!(events["items"][0]["outcome"], "refused");
    assert_eq!(events["items"][0]["reason"], "unknown_app");
    let events = client.get("/events?app_id=b").await.ok();
    assert_eq!(events["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn apps_and_tokens_may_share_a_name() {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    for _ in 0..2 {
        client
            .post("/apps", json!({"name": "same"}))
            .await
            .created();
    }
    client
        .post("/apps", json!({"name": "b", "id": "b"}))
        .await
        .created();
    let first = client.issue("b", "same").await;
    let second = client.issue("b", "same").await;
    assert_ne!(first["record"]["id"], second["record"]["id"]);
}
