//! The search for a token by its text.

use std::time::Duration;

use serde_json::{Value, json};
use tower_api_tokens::{
    ImportedToken, MaskedToken, NewToken, StoreErrorKind, TokenDigest, testing::Fault,
};

use crate::{client::Client, support::Platform};

async fn billing(platform: &Platform) -> Client {
    let client = Client::new(platform).await;
    let app = json!({"name": "Billing", "id": "billing"});
    client.post("/apps", app).await.created();
    client
}

/// Returns a text with the format of a token, but with the characters of its checksum reversed.
fn mistyped(token: &str) -> String {
    let (start, checksum) = token.split_at(token.len() - 6);
    let checksum: String = checksum.chars().rev().collect();
    format!("{start}{checksum}")
}

#[tokio::test]
async fn a_token_is_found_by_its_text_whatever_its_status() {
    let platform = Platform::new();
    let client = billing(&platform).await;
    let issued = client.issue("billing", "ci").await;
    let (text, id) = (issued["token"].as_str().unwrap(), &issued["record"]["id"]);
    for pasted in [text.to_owned(), format!(" {text}\n")] {
        let found = client
            .post("/tokens/search", json!({"token": pasted}))
            .await;
        assert_eq!(found.header("cache-control"), "no-store");
        assert!(!found.json.to_string().contains(text));
        assert_eq!(found.ok()["record"], issued["record"]);
    }
    let path = format!("/tokens/{}/revoke", id.as_str().unwrap());
    client.post(&path, Value::Null).await.ok();
    let found = client
        .post("/tokens/search", json!({"token": text}))
        .await
        .ok();
    assert_eq!(found["record"]["status"], "revoked");
}

#[tokio::test]
async fn an_imported_token_is_found_where_its_format_is_accepted() {
    let platform = Platform::configured(|tokens| tokens.any_format());
    let client = billing(&platform).await;
    let imported = ImportedToken::new(
        NewToken::named("legacy"),
        TokenDigest::of(b"legacy-0123456789"),
        MaskedToken::new("legacy-", "6789").unwrap(),
    );
    let app = "billing".parse().unwrap();
    let record = platform.scene.tokens.import(&app, imported).await.unwrap();
    let search = json!({"token": "legacy-0123456789"});
    let found = client.post("/tokens/search", search).await.ok();
    assert_eq!(found["record"]["id"], record.id.to_string());
}

#[tokio::test]
async fn a_token_that_does_not_exist_is_not_found() {
    let (ours, theirs) = (Platform::new(), Platform::new());
    let (client, other) = (billing(&ours).await, billing(&theirs).await);
    let issued = other.issue("billing", "ci").await;
    let found = client
        .post("/tokens/search", json!({"token": issued["token"]}))
        .await;
    assert_eq!(found.ok(), json!({"record": null}));
}

#[tokio::test]
async fn a_text_that_is_no_token_is_refused_without_a_lookup() {
    let platform = Platform::new();
    let client = billing(&platform).await;
    let issued = client.issue("billing", "ci").await;
    let text = issued["token"].as_str().unwrap();
    let fault = Fault::Error(StoreErrorKind::Unavailable);
    platform.scene.store.set_fault(fault);
    for pasted in [
        &mistyped(text),
        &text[1..],
        "",
        " ",
        "two words",
        &"x".repeat(5_000),
    ] {
        let answer = client
            .post("/tokens/search", json!({"token": pasted}))
            .await;
        let detail = answer.problem(422, "foreign_format");
        assert!(detail.contains("copied all of it"), "{detail}");
    }
    let answer = client.post("/tokens/search", json!({"token": text})).await;
    answer.problem(503, "store_failure");
}

#[tokio::test]
async fn no_error_repeats_the_text() {
    let platform = Platform::new();
    let client = billing(&platform).await;
    let issued = client.issue("billing", "ci").await;
    let text = issued["token"].as_str().unwrap();
    for (body, status, code) in [
        (json!({"token": mistyped(text)}), 422, "foreign_format"),
        (json!({text: "token"}), 400, "invalid_body"),
        (json!({"token": text, text: 1}), 400, "invalid_body"),
        (json!({"token": {text: 1}}), 400, "invalid_body"),
        (json!(text), 400, "invalid_body"),
        (json!({}), 400, "invalid_body"),
    ] {
        let answer = client.post("/tokens/search", body.clone()).await;
        assert!(!answer.json.to_string().contains(&text[..20]), "{body}");
        answer.problem(status, code);
    }
    let path = format!("/tokens/search?token={text}");
    let answer = client.post(&path, json!({"token": text})).await;
    assert!(!answer.json.to_string().contains(&text[..20]));
    answer.problem(400, "invalid_query");
    client
        .get("/tokens/search")
        .await
        .problem(405, "method_not_allowed");
}

#[tokio::test]
async fn every_search_is_in_the_audit_log_without_the_text() {
    let platform = Platform::new();
    let client = billing(&platform).await;
    let issued = client.issue("billing", "ci").await;
    let text = issued["token"].as_str().unwrap();
    let unknown = billing(&Platform::new()).await.issue("billing", "ci").await;
    for token in [&issued["token"], &unknown["token"], &json!(mistyped(text))] {
        platform.scene.clock.advance(Duration::from_secs(1));
        client.post("/tokens/search", json!({"token": token})).await;
    }
    let events = client.get("/events?limit=3").await.ok();
    let events = events["items"].as_array().unwrap();
    let reasons: Vec<_> = events
        .iter()
        .map(|event| event["reason"].as_str())
        .collect();
    assert_eq!(
        reasons,
        [Some("foreign_format"), Some("unknown_token"), None]
    );
    for event in events {
        assert_eq!(event["action"], "token.search");
    }
    assert_eq!(events[2]["token_id"], issued["record"]["id"]);
    assert_eq!(events[2]["app_id"], "billing");
    assert_eq!(events[1]["token_id"], Value::Null);
    assert!(!json!(events).to_string().contains(&text[..20]));
}
