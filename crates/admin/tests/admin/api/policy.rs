//! The policy, and what it refuses.

use http::Method;
use serde_json::{Value, json};

use crate::{client::Client, support::Platform};

async fn owner() -> (Platform, Client) {
    let platform = Platform::new();
    let client = Client::owner(&platform).await;
    client
        .post("/apps", json!({"name": "b", "id": "b"}))
        .await
        .created();
    (platform, client)
}

fn without_rules() -> Value {
    json!({
        "max_lifetime_seconds": null, "default_lifetime_seconds": null, "expiry_required": false,
        "max_live_tokens": null, "unique_names": false, "scopes": null, "scopes_of": {},
    })
}

#[tokio::test]
async fn the_policy_is_read_and_replaced() {
    let (_platform, client) = owner().await;
    let answer = client.get("/policy").await;
    let tag = answer.header("etag").to_owned();
    assert_eq!(answer.ok(), without_rules());

    let policy = json!({
        "max_lifetime_seconds": 31_536_000, "default_lifetime_seconds": 7_776_000.0,
        "expiry_required": true, "max_live_tokens": 20, "unique_names": true,
        "scopes": ["read", "write"], "scopes_of": {"b": ["admin,read"]},
    });
    let answer = client
        .send_if(&tag, Method::PUT, "/policy", policy.clone())
        .await;
    let next = answer.header("etag").to_owned();
    assert_ne!(next, tag);
    let set = answer.ok();
    let mut expected = policy.clone();
    expected["default_lifetime_seconds"] = json!(7_776_000);
    expected["scopes_of"] = json!({"b": ["admin", "read"]});
    assert_eq!(set, expected);
    assert_eq!(client.get("/policy").await.ok(), expected);
    let changes = client.recorded("policy.set", "done").await;
    let lifetime = json!({"field": "max_lifetime", "old": null, "new": "31536000"});
    assert_eq!(changes[0], lifetime);
    let of_app = json!({"field": "scopes_of.b", "old": null, "new": "admin read"});
    assert_eq!(changes[6], of_app);

    // What was read can be sent back.
    client
        .send_if(&next, Method::PUT, "/policy", set)
        .await
        .ok();
    let stale = client
        .send_if(&tag, Method::PUT, "/policy", json!({}))
        .await;
    stale.problem(412, "stale");
    assert_eq!(client.put("/policy", json!({})).await.ok(), without_rules());
}

#[tokio::test]
async fn an_invalid_policy_is_refused() {
    let (_platform, client) = owner().await;
    for (policy, hint) in [
        (json!({"max_lifetime": 5}), "unknown field `max_lifetime`"),
        (json!({"max_lifetime_seconds": 0}), "from 1 to"),
        (json!({"max_lifetime_seconds": 1e300}), "from 1 to"),
        (
            json!({"default_lifetime_seconds": -1}),
            "a whole number of seconds",
        ),
        (
            json!({"max_live_tokens": 4_294_967_296_u64}),
            "4,294,967,295",
        ),
        (json!({"unique_names": null}), "expected a boolean"),
        (json!({"scopes": ["a b"]}), "invalid scope"),
        (json!({"scopes_of": {"a b": []}}), "1 to 40 ASCII letters"),
    ] {
        let answer = client.put("/policy", policy.clone()).await;
        let detail = answer.problem(400, "invalid_body");
        assert!(detail.contains(hint), "{policy}: {detail}");
    }
    let twice = r#"{"scopes_of": {"a": [], "a": ["x"]}}"#;
    let mut request = client.request(Method::PUT, "/policy", &json!({}));
    *request.body_mut() = twice.into();
    let detail = client.send(request).await.problem(400, "invalid_body");
    assert!(detail.contains("twice"), "{detail}");
    let scopes: Vec<_> = (0..100).map(|n| format!("scope-number-{n}")).collect();
    let answer = client.put("/policy", json!({"scopes": scopes})).await;
    answer.problem(422, "invalid_scopes");
    assert_eq!(client.get("/policy").await.ok(), without_rules());
}

#[tokio::test]
async fn only_unrestricted_actors_set_the_policy() {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    let answer = client.put("/policy", json!({"max_live_tokens": 1})).await;
    answer.problem(403, "owner_required");
    client.recorded("policy.set", "owner_required").await;
    assert_eq!(client.get("/policy").await.ok(), without_rules());
}

#[tokio::test]
async fn what_the_policy_does_not_allow_is_refused() {
    let (_platform, client) = owner().await;
    let issued = client.issue("b", "ci").await;
    let path = format!("/tokens/{}", issued["record"]["id"].as_str().unwrap());
    let new = json!({"app_id": "b", "name": "ci"});
    for (policy, new, edit, hint) in [
        (
            json!({"max_live_tokens": 1}),
            new.clone(),
            None,
            "revoke one first",
        ),
        (
            json!({"unique_names": true}),
            new.clone(),
            None,
            "choose another name",
        ),
        (
            json!({"scopes_of": {"b": ["read"]}}),
            json!({"app_id": "b", "name": "x", "scopes": ["write"]}),
            Some(json!({"scopes": ["read", "write"]})),
            "`write`",
        ),
        (
            json!({"max_lifetime_seconds": 86_400}),
            json!({"app_id": "b", "name": "x", "expires_at": "2028-01-01"}),
            None,
            "choose an earlier one",
        ),
        (
            json!({"expiry_required": true}),
            json!({"app_id": "b", "name": "x", "expires_at": null}),
            None,
            "requires an expiry",
        ),
    ] {
        client.put("/policy", policy).await.ok();
        let answer = client.post("/tokens", new).await;
        let detail = answer.problem(422, "policy_violation");
        assert!(detail.contains(hint), "{detail}");
        client.recorded("token.issue", "policy_violation").await;
        if let Some(edit) = edit {
            let answer = client.patch(&path, edit).await;
            answer.problem(422, "policy_violation");
        }
    }
}

#[tokio::test]
async fn a_token_without_a_choice_of_expiry_gets_that_of_the_policy() {
    let (_platform, client) = owner().await;
    client
        .put("/policy", json!({"default_lifetime_seconds": 3600}))
        .await
        .ok();
    for (choice, expires_at) in [
        (json!({}), json!("2027-01-15T09:00:00Z")),
        (json!({"expires_at": null}), Value::Null),
        (
            json!({"expires_at": "2027-01-15"}),
            json!("2027-01-16T00:00:00Z"),
        ),
    ] {
        let mut new = json!({"app_id": "b", "name": "ci"});
        new.as_object_mut()
            .unwrap()
            .extend(choice.as_object().unwrap().clone());
        let issued = client.post("/tokens", new).await.created();
        assert_eq!(issued["record"]["expires_at"], expires_at);
    }
}
