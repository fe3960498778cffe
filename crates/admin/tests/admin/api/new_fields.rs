//! Tokens that are issued with networks, a start and metadata.

use std::time::Duration;

use http::{HeaderValue, Method};
use serde_json::{Value, json};

use crate::{
    client::{Answer, Client},
    support::Platform,
};

async fn billing() -> (Platform, Client) {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    client
        .post("/apps", json!({"name": "Billing", "id": "billing"}))
        .await
        .created();
    (platform, client)
}

/// Returns the request for a token, with a field of this value.
fn new(field: &str, value: Value) -> Value {
    let mut new = json!({"app_id": "billing", "name": "ci"});
    new[field] = value;
    new
}

#[tokio::test]
async fn a_token_is_issued_with_networks_a_start_and_metadata() {
    let (platform, client) = billing().await;
    let wanted = json!({
        "app_id": "billing", "name": "ci", "networks": ["192.0.2.7", "10.0.0.0/8"],
        "not_before": "2027-01-15T10:00:00+01:00", "metadata": {"team": "a"},
    });
    let issued = client.post("/tokens", wanted).await.created();
    let record = &issued["record"];
    assert_eq!(record["networks"], json!(["10.0.0.0/8", "192.0.2.7/32"]));
    assert_eq!(record["not_before"], "2027-01-15T09:00:00Z");
    assert_eq!(record["metadata"], json!({"team": "a"}));
    assert_eq!(record["status"], "not_yet_valid");
    let path = format!("/tokens/{}", record["id"].as_str().unwrap());
    assert_eq!(&client.get(&path).await.ok(), record);

    platform.scene.clock.advance(Duration::from_secs(3600));
    assert_eq!(client.get(&path).await.ok()["status"], "live");
    let rotation = json!({"overlap_seconds": 60});
    let rotated = client.post(&format!("{path}/rotate"), rotation).await;
    let successor = &rotated.created()["record"];
    for same in ["networks", "not_before", "metadata"] {
        assert_eq!(successor[same], record[same]);
    }
}

#[tokio::test]
async fn invalid_fields_of_new_tokens_are_refused_with_a_hint() {
    let (_platform, client) = billing().await;
    let keys = |count: usize, len: usize| {
        let keys = (0..count).map(|n| (format!("k{n}"), json!("v".repeat(len))));
        Value::Object(keys.collect())
    };
    let long: Vec<_> = (0..100)
        .map(|n| format!("2001:db8:aaaa:bbbb:cccc:dddd:eeee:{n:x}/128"))
        .collect();
    for (field, value, status, code, hint) in [
        ("metadata", keys(51, 1), 400, "invalid_body", "at most 50"),
        (
            "metadata",
            json!(null),
            400,
            "invalid_body",
            "expected an object",
        ),
        (
            "metadata",
            json!({"a": null}),
            400,
            "invalid_body",
            "expected a string",
        ),
        (
            "metadata",
            keys(40, 300),
            422,
            "invalid_metadata",
            "8,192 bytes",
        ),
        (
            "networks",
            json!(["10.0.0.0/33"]),
            422,
            "invalid_networks",
            "entry 1",
        ),
        (
            "networks",
            json!([]),
            422,
            "invalid_networks",
            "at least one",
        ),
        ("networks", json!(long), 422, "invalid_networks", "up to 90"),
        (
            "networks",
            json!([10]),
            400,
            "invalid_body",
            "expected a string",
        ),
        (
            "not_before",
            json!("2027-01-16"),
            400,
            "invalid_body",
            "RFC 3339",
        ),
        (
            "not_after",
            json!(null),
            400,
            "invalid_body",
            "unknown field `not_after`",
        ),
    ] {
        let answer = client.post("/tokens", new(field, value)).await;
        let detail = answer.problem(status, code);
        assert!(detail.contains(hint), "{field}: {detail}");
    }
    let listed = client.get("/tokens?app_id=billing").await.ok();
    assert_eq!(listed["items"], json!([]));
}

async fn with_key(client: &Client, body: &Value) -> Answer {
    let mut request = client.request(Method::POST, "/tokens", body);
    let key = HeaderValue::from_static("k1");
    request.headers_mut().insert("idempotency-key", key);
    client.send(request).await
}

#[tokio::test]
async fn the_new_fields_are_part_of_a_repeated_request() {
    let (_platform, client) = billing().await;
    let request = json!({
        "app_id": "billing", "name": "ci", "networks": ["10.0.0.0/8", "192.0.2.7"],
        "not_before": "2027-02-01T00:00:00Z", "metadata": {"team": "a", "tier": "gold"},
        "expires_at": null,
    });
    let made = with_key(&client, &request).await.created();
    let mut same = request.clone();
    same["networks"] = json!(["192.0.2.7/32", "10.0.0.0/8"]);
    same["not_before"] = json!("2027-02-01T01:00:00+01:00");
    for again in [&request, &same] {
        let answer = with_key(&client, again).await;
        assert_eq!(answer.json["token_id"], made["record"]["id"]);
        answer.problem(409, "repeated");
    }
    for (field, value) in [
        ("networks", json!(["10.0.0.0/8"])),
        ("not_before", Value::Null),
        ("metadata", json!({"team": "a"})),
        ("metadata", json!({"team": "a", "tier": "silver"})),
        ("expires_at", json!("2027-12-31")),
    ] {
        let mut other = request.clone();
        other[field] = value;
        with_key(&client, &other).await.problem(422, "key_reused");
    }
    let mut undecided = request.clone();
    undecided.as_object_mut().unwrap().remove("expires_at");
    with_key(&client, &undecided)
        .await
        .problem(422, "key_reused");
}
