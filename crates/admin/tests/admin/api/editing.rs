//! Edits of tokens.

use http::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};

use crate::{client::Client, support::Platform};

/// A client with a token, and the path of the token.
async fn with_token(scopes: &str) -> (Platform, Client, String) {
    let platform = Platform::new();
    let client = Client::with_scopes(&platform, scopes).await;
    client
        .post("/apps", json!({"name": "Billing", "id": "billing"}))
        .await
        .created();
    let new = json!({
        "app_id": "billing", "name": "ci", "scopes": ["read"], "expires_at": "2027-04-15",
        "networks": ["10.0.0.0/8"], "metadata": {"team": "a", "tier": "gold"},
    });
    let issued = client.post("/tokens", new).await.created();
    let path = format!("/tokens/{}", issued["record"]["id"].as_str().unwrap());
    (platform, client, path)
}

const ADMIN: &str = "tokens:admin read write";

#[tokio::test]
async fn an_edit_changes_what_it_sets_and_keeps_the_rest() {
    let (_platform, client, path) = with_token(ADMIN).await;
    let before = client.get(&path).await.ok();
    let patch = json!({
        "name": " deploy ", "scopes": ["write", "read"], "expires_at": null,
        "networks": ["192.0.2.7", "10.1.0.0/16"], "metadata": {"team": "b", "tier": null, "plan": "pro"},
    });
    let edited = client.patch(&path, patch).await.ok();
    let mut expected = before.clone();
    expected["name"] = json!("deploy");
    expected["scopes"] = json!(["read", "write"]);
    expected["expires_at"] = Value::Null;
    expected["networks"] = json!(["10.1.0.0/16", "192.0.2.7/32"]);
    expected["metadata"] = json!({"team": "b", "plan": "pro"});
    expected["version"] = edited["version"].clone();
    assert_eq!(edited, expected);
    assert_ne!(edited["version"], before["version"]);
    assert_eq!(client.get(&path).await.ok(), edited);

    let everywhere = client.patch(&path, json!({"networks": null})).await.ok();
    assert_eq!(everywhere["networks"], Value::Null);
    let (one, metadata) = (&everywhere["metadata"], &edited["metadata"]);
    assert_eq!(one, metadata);
}

#[tokio::test]
async fn the_event_of_an_edit_has_the_old_and_the_new_values() {
    let (_platform, client, path) = with_token(ADMIN).await;
    let patch = json!({"scopes": [], "expires_at": null, "metadata": {"tier": null}});
    client.patch(&path, patch).await.ok();
    let changes = client.recorded("token.edit", "done").await;
    let expected = json!([
        {"field": "scopes", "old": "read", "new": ""},
        {"field": "expires_at", "old": "2027-04-16T00:00:00Z", "new": null},
        {"field": "metadata.tier", "old": "gold", "new": null},
    ]);
    assert_eq!(changes, expected);

    // The name alone is a rename, as it always was.
    client.patch(&path, json!({"name": "x"})).await.ok();
    let changes = client.recorded("token.rename", "done").await;
    assert_eq!(changes, json!([{"field": "name", "old": "ci", "new": "x"}]));
}

#[tokio::test]
async fn an_edit_of_a_stale_version_changes_nothing() {
    let (_platform, client, path) = with_token(ADMIN).await;
    let read = client.get(&path).await;
    let tag = read.header("etag").to_owned();
    let version = read.json["version"].as_str().unwrap();
    assert_eq!(tag, format!("\"{version}\""));

    let name = |name: &str| json!({ "name": name });
    let first = client
        .send_if(&tag, Method::PATCH, &path, name("first"))
        .await;
    let next = first.header("etag").to_owned();
    assert_ne!(next, tag);
    first.ok();
    for stale in [&tag, "\"0\"", &format!("W/{next}")] {
        let answer = client
            .send_if(stale, Method::PATCH, &path, name("second"))
            .await;
        let detail = answer.problem(412, "stale");
        assert!(detail.contains("read it again"), "{detail}");
        client.recorded("token.edit", "stale").await;
    }
    assert_eq!(client.get(&path).await.ok()["name"], "first");
    for current in [&*next, "*"] {
        let answer = client
            .send_if(current, Method::PATCH, &path, name(current))
            .await;
        answer.ok();
    }
}

#[tokio::test]
async fn an_invalid_precondition_is_refused() {
    let (_platform, client, path) = with_token(ADMIN).await;
    let version = client.get(&path).await.header("etag").replace('"', "");
    let edit = |tag: String| {
        let (client, path) = (&client, &path);
        async move {
            let change = json!({"name": "x"});
            client.send_if(&tag, Method::PATCH, path, change).await
        }
    };
    for of_no_version in [&*version, "", "\"", "**", "\"a b\"", "0"] {
        edit(of_no_version.to_owned()).await.problem(412, "stale");
    }
    let list = edit("\"a\", \"b\"".to_owned()).await;
    let detail = list.problem(400, "invalid_if_match");
    assert!(detail.contains("`ETag` as it was returned"), "{detail}");
    let mut twice = client.request(Method::PATCH, &path, &json!({"name": "x"}));
    for _ in 0..2 {
        let tag = format!("\"{version}\"");
        twice.headers_mut().append("if-match", tag.parse().unwrap());
    }
    client.send(twice).await.problem(400, "invalid_if_match");
}

#[tokio::test]
async fn every_answer_with_one_token_has_its_entity_tag() {
    let (_platform, client, path) = with_token(ADMIN).await;
    for (action, body) in [
        ("", Value::Null),
        ("/suspend", Value::Null),
        ("/resume", Value::Null),
        ("/rotate", json!({"overlap_seconds": 60})),
        ("/revoke", Value::Null),
    ] {
        let path = format!("{path}{action}");
        let answer = match action {
            "" => client.get(&path).await,
            _ => client.post(&path, body).await,
        };
        let tag = answer.header("etag").to_owned();
        let record = match action {
            "/rotate" => answer.created()["record"].clone(),
            _ => answer.ok(),
        };
        assert_eq!(tag, format!("\"{}\"", record["version"].as_str().unwrap()));
    }
    assert_eq!(client.get("/tokens").await.header("etag"), "");
}

#[tokio::test]
async fn an_edit_is_a_merge_patch() {
    let (_platform, client, path) = with_token(ADMIN).await;
    let send = async |content_type: &'static str| {
        let mut request = client.request(Method::PATCH, &path, &json!({"name": "x"}));
        request
            .headers_mut()
            .insert(CONTENT_TYPE, content_type.parse().unwrap());
        client.send(request).await
    };
    send("application/merge-patch+json").await.ok();
    send("application/json").await.ok();
    let detail = send("application/json-patch+json")
        .await
        .problem(415, "unsupported_media_type");
    assert!(detail.contains("merge-patch"), "{detail}");

    let new = json!({"name": "x"}).to_string();
    let mut request = client.request(Method::POST, "/apps", &Value::Null);
    let patch = "application/merge-patch+json".parse().unwrap();
    request.headers_mut().insert(CONTENT_TYPE, patch);
    *request.body_mut() = new.into();
    client
        .send(request)
        .await
        .problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn invalid_edits_are_refused_with_a_hint() {
    let (_platform, client, path) = with_token(ADMIN).await;
    for (patch, hint) in [
        (json!({}), "at least one field"),
        (json!({"metadata": {}}), "at least one key"),
        (json!({"name": null}), "null, expected a string"),
        (json!({"scopes": null}), "null, expected a sequence"),
        (json!({"metadata": null}), "null, expected an object"),
        (json!({"metadata": {"a": 1}}), "expected a string"),
        (json!({"metadata": {"": "x"}}), "1 to 40 characters"),
        (json!({"metadata": {"a\n": null}}), "1 to 40 characters"),
        (json!({"metadata": {"k": "v".repeat(501)}}), "key `k`"),
        (json!({"networks": "10.0.0.0/8"}), "expected a sequence"),
        (json!({"expires_at": "soon"}), "a date such as"),
        (
            json!({"not_before": "2027-02-01T00:00:00Z"}),
            "unknown field `not_before`",
        ),
        (json!({"app_id": "other"}), "unknown field `app_id`"),
        (
            json!({"suspended_at": null}),
            "unknown field `suspended_at`",
        ),
    ] {
        let answer = client.patch(&path, patch.clone()).await;
        let detail = answer.problem(400, "invalid_body");
        assert!(detail.contains(hint), "{patch}: {detail}");
    }
    let before = client.get(&path).await.ok();
    let values = |count: usize, len: usize| {
        let keys = (0..count).map(|n| (format!("k{n}"), json!("v".repeat(len))));
        Value::Object(keys.collect())
    };
    let scopes: Vec<_> = (0..100).map(|n| format!("scope-number-{n}")).collect();
    for (patch, code, hint) in [
        (json!({"networks": []}), "invalid_networks", "at least one"),
        (
            json!({"networks": ["10.0.0.0/8", "10.0.0.1/8"]}),
            "invalid_networks",
            "In `networks`, entry 2: the network has host bits set",
        ),
        (
            json!({"networks": ["everywhere"]}),
            "invalid_networks",
            "such as `10.0.0.0/8`",
        ),
        (
            json!({"networks": (0..101).map(|n| format!("10.0.0.{n}")).collect::<Vec<_>>()}),
            "invalid_networks",
            "at most 100",
        ),
        (
            json!({"metadata": values(49, 1)}),
            "invalid_metadata",
            "at most 50",
        ),
        (
            json!({"metadata": values(40, 300)}),
            "invalid_metadata",
            "8,192 bytes",
        ),
        (
            json!({"expires_at": "2027-01-14"}),
            "invalid_expiry",
            "choose a later time",
        ),
        (json!({"scopes": scopes}), "invalid_scopes", "1,024"),
    ] {
        let detail = client.patch(&path, patch.clone()).await.problem(422, code);
        assert!(detail.contains(hint), "{patch}: {detail}");
    }
    assert_eq!(client.get(&path).await.ok(), before);
}

#[tokio::test]
async fn an_edit_adds_only_what_the_actor_may_grant() {
    let (platform, client, path) = with_token("tokens:admin tokens:owner").await;
    let restricted = Client::with_scopes(&platform, "tokens:admin read").await;
    for wider in [
        json!({"scopes": ["read", "write"]}),
        json!({"scopes": ["tokens:owner"]}),
    ] {
        let answer = restricted.patch(&path, wider).await;
        answer.problem(403, "scope_not_held");
        client.recorded("token.edit", "scope_not_held").await;
    }
    // The token has a scope that the actor lacks, so the actor cannot let it live longer.
    client.patch(&path, json!({"scopes": ["write"]})).await.ok();
    for wider in [
        json!({"expires_at": null}),
        json!({"expires_at": "2027-12-31"}),
        json!({"networks": null}),
        json!({"networks": ["10.0.0.0/8", "11.0.0.0/8"]}),
    ] {
        let answer = restricted.patch(&path, wider.clone()).await;
        answer.problem(403, "scope_not_held");
        client.patch(&path, wider).await.ok();
        let narrow = json!({"expires_at": "2027-04-15", "networks": ["10.0.0.0/8"]});
        client.patch(&path, narrow).await.ok();
    }
    let narrower = json!({
        "scopes": [], "expires_at": "2027-02-01", "networks": ["10.1.0.0/16"],
        "metadata": {"team": "c"},
    });
    restricted.patch(&path, narrower).await.ok();
}

#[tokio::test]
async fn an_expired_or_revoked_token_keeps_its_access() {
    let (_platform, client, path) = with_token(ADMIN).await;
    client
        .post(&format!("{path}/revoke"), Value::Null)
        .await
        .ok();
    for patch in [
        json!({"scopes": []}),
        json!({"expires_at": null}),
        json!({"networks": null}),
    ] {
        client
            .patch(&path, patch)
            .await
            .problem(409, "revoked_token");
    }
    let noted = json!({"name": "leaked", "metadata": {"incident": "42"}});
    assert_eq!(client.patch(&path, noted).await.ok()["name"], "leaked");
    let unknown = "/tokens/0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77";
    let answer = client.patch(unknown, json!({"scopes": []})).await;
    answer.problem(404, "unknown_token");
}
