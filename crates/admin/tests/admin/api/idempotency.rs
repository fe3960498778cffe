//! Repeated requests with an idempotency key.

use http::{HeaderValue, Method};
use serde_json::{Value, json};

use crate::{
    client::{Answer, Client},
    support::Platform,
};

async fn with_key(client: &Client, path: &str, body: Value, key: &str) -> Answer {
    let mut request = client.request(Method::POST, path, &body);
    let key = HeaderValue::from_str(key).unwrap();
    request.headers_mut().insert("idempotency-key", key);
    client.send(request).await
}

#[tokio::test]
async fn a_repeated_issue_creates_no_second_token() {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    client
        .post("/apps", json!({"name": "b", "id": "b"}))
        .await
        .created();
    let new = json!({"app_id": "b", "name": "ci"});
    let made = with_key(&client, "/tokens", new, "k1").await.created();

    // The same request, written differently.
    let same = json!({"name": " ci ", "scopes": [], "app_id": "b", "networks": null,
        "not_before": null, "metadata": {}});
    let answer = with_key(&client, "/tokens", same, "k1").await;
    assert_eq!(answer.json["token_id"], made["record"]["id"]);
    let detail = answer.problem(409, "repeated");
    assert!(
        detail.contains(made["record"]["id"].as_str().unwrap()),
        "{detail}"
    );

    let other = json!({"app_id": "b", "name": "another"});
    let answer = with_key(&client, "/tokens", other.clone(), "k1").await;
    assert_eq!(answer.json["token_id"], Value::Null);
    let detail = answer.problem(422, "key_reused");
    assert!(detail.contains("use a new key"), "{detail}");

    with_key(&client, "/tokens", other, "k2").await.created();
    let page = client.get("/tokens?app_id=b").await.ok();
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_repeated_rotation_creates_no_second_token() {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    client
        .post("/apps", json!({"name": "b", "id": "b"}))
        .await
        .created();
    let issued = client.issue("b", "ci").await;
    let path = format!(
        "/tokens/{}/rotate",
        issued["record"]["id"].as_str().unwrap()
    );
    let overlap = json!({"overlap_seconds": 60});
    let made = with_key(&client, &path, overlap.clone(), "k1")
        .await
        .created();
    let answer = with_key(&client, &path, overlap, "k1").await;
    assert_eq!(answer.json["token_id"], made["record"]["id"]);
    answer.problem(409, "repeated");
    let answer = with_key(&client, &path, json!({"overlap_seconds": 61}), "k1").await;
    answer.problem(422, "key_reused");
}

#[tokio::test]
async fn a_repeated_rotation_is_recognized_although_the_token_has_another_version_since() {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    client
        .post("/apps", json!({"name": "b", "id": "b"}))
        .await
        .created();
    let issued = client.issue("b", "ci").await;
    let token = format!("/tokens/{}", issued["record"]["id"].as_str().unwrap());
    let tag = client.get(&token).await.header("etag").to_owned();
    let rotate = async |key: &'static str| {
        let (path, overlap) = (format!("{token}/rotate"), json!({"overlap_seconds": 60}));
        let mut request = client.request(Method::POST, &path, &overlap);
        let headers = request.headers_mut();
        headers.insert("if-match", tag.parse().unwrap());
        headers.insert("idempotency-key", HeaderValue::from_static(key));
        client.send(request).await
    };
    let made = rotate("k1").await.created();
    let answer = rotate("k1").await;
    assert_eq!(answer.json["token_id"], made["record"]["id"]);
    answer.problem(409, "repeated");
    rotate("k2").await.problem(412, "stale");
}

#[tokio::test]
async fn idempotency_keys_are_separate_for_each_actor() {
    let platform = Platform::new();
    let alice = Client::new(&platform).await;
    let bob = Client::new(&platform).await;
    alice
        .post("/apps", json!({"name": "b", "id": "b"}))
        .await
        .created();
    let new = json!({"app_id": "b", "name": "ci"});
    with_key(&alice, "/tokens", new.clone(), "k1")
        .await
        .created();
    with_key(&bob, "/tokens", new, "k1").await.created();
}

#[tokio::test]
async fn an_invalid_idempotency_key_is_rejected() {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    client
        .post("/apps", json!({"name": "b", "id": "b"}))
        .await
        .created();
    let new = json!({"app_id": "b", "name": "ci"});
    for key in ["", "two words", &"x".repeat(256)] {
        let answer = with_key(&client, "/tokens", new.clone(), key).await;
        let detail = answer.problem(400, "invalid_idempotency_key");
        assert!(
            detail.contains("1 to 255 visible ASCII characters"),
            "{detail}"
        );
    }
    let mut request = client.request(Method::POST, "/tokens", &new);
    for key in ["k1", "k2"] {
        let key = HeaderValue::from_static(key);
        request.headers_mut().append("idempotency-key", key);
    }
    let answer = client.send(request).await;
    answer.problem(400, "invalid_idempotency_key");
    assert_eq!(
        client.get("/tokens?app_id=b").await.ok()["items"],
        json!([])
    );
}

#[tokio::test]
async fn a_new_key_is_refused_while_there_are_too_many() {
    let platform = Platform::configured(|tokens| tokens.max_idempotency_keys(1));
    let client = Client::new(&platform).await;
    client
        .post("/apps", json!({"name": "b", "id": "b"}))
        .await
        .created();
    let new = json!({"app_id": "b", "name": "ci"});
    with_key(&client, "/tokens", new.clone(), "k1")
        .await
        .created();
    let refused = with_key(&client, "/tokens", new.clone(), "k2").await;
    assert_eq!(refused.header("retry-after"), "60");
    let detail = refused.problem(503, "too_many_keys");
    assert!(
        detail.contains("send the same request again later"),
        "{detail}"
    );
    client.recorded("token.issue", "too_many_keys").await;

    let again = with_key(&client, "/tokens", new.clone(), "k1").await;
    again.problem(409, "repeated");
    client.post("/tokens", new).await.created();
}
