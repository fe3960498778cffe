//! Changes of a record only if it still has an expected version.

use http::Method;
use serde_json::{Value, json};
use tower_api_tokens::{TokenId, TokenRegistry as _};

use crate::{client::Client, support::Platform};

const STALE: &str = "\"00000000000000000000000000000001\"";

/// A client that may do everything, and the identifier of a token of the app `billing`.
async fn billing(platform: &Platform) -> (Client, String) {
    let client = Client::with_scopes(platform, "tokens:admin tokens:owner read").await;
    let app = json!({"name": "Billing", "id": "billing"});
    client.post("/apps", app).await.created();
    let issued = client.issue("billing", "ci").await;
    let id = issued["record"]["id"].as_str().unwrap().to_owned();
    (client, id)
}

/// A change: its method, its path, its body, its action in the audit log, and the path of the record
/// that it changes.
type Change = (Method, String, Value, &'static str, String);

/// Returns every change that has no version in its body, except for the deletion of an app.
fn changes(token: &str) -> Vec<Change> {
    let of_token = |action: &str, body: Value, event| {
        let path = format!("/tokens/{token}");
        (Method::POST, format!("{path}/{action}"), body, event, path)
    };
    let of_app = |action: &str, event| {
        let path = "/apps/billing".to_owned();
        (
            Method::POST,
            format!("{path}/{action}"),
            Value::Null,
            event,
            path,
        )
    };
    vec![
        of_token("suspend", Value::Null, "token.suspend"),
        of_token("resume", Value::Null, "token.resume"),
        of_token("rotate", json!({"overlap_seconds": 60}), "token.rotate"),
        of_token("revoke", Value::Null, "token.revoke"),
        of_app("disable", "app.disable"),
        of_app("enable", "app.enable"),
    ]
}

#[tokio::test]
async fn a_change_of_another_version_is_refused_and_recorded() {
    let platform = Platform::new();
    let (client, token) = billing(&platform).await;
    let mut all = changes(&token);
    let path = "/apps/billing".to_owned();
    all.push((
        Method::DELETE,
        path.clone(),
        Value::Null,
        "app.delete",
        path,
    ));
    for (method, path, body, action, record) in all {
        let before = client.get(&record).await.ok();
        for tag in [
            STALE,
            "\"nonsense\"",
            "W/\"00000000000000000000000000000001\"",
        ] {
            let answer = client
                .send_if(tag, method.clone(), &path, body.clone())
                .await;
            let detail = answer.problem(412, "stale");
            assert!(detail.contains("read it again"), "{detail}");
        }
        client.recorded(action, "stale").await;
        assert_eq!(client.get(&record).await.ok(), before, "{path}");
        let answer = client.send_if("\"a\", \"b\"", method, &path, body).await;
        answer.problem(400, "invalid_if_match");
    }
}

#[tokio::test]
async fn a_change_of_the_current_version_is_made() {
    let platform = Platform::new();
    let (client, token) = billing(&platform).await;
    for (method, path, body, action, record) in changes(&token) {
        let tag = client.get(&record).await.header("etag").to_owned();
        let answer = client.send_if(&tag, method, &path, body).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.json);
        client.recorded(action, "done").await;
    }
    // The rotation left a successor.
    let page = client.get("/tokens?app_id=billing&status=live").await.ok();
    let successor = page["items"][0]["id"].as_str().unwrap();
    let revoke = format!("/tokens/{successor}/revoke");
    client
        .send_if("*", Method::POST, &revoke, Value::Null)
        .await
        .ok();
    let tag = client.get("/apps/billing").await.header("etag").to_owned();
    let deleted = client.send_if(&tag, Method::DELETE, "/apps/billing", Value::Null);
    assert_eq!(deleted.await.status, 204);
}

#[tokio::test]
async fn a_record_that_does_not_exist_is_not_found_whatever_its_version() {
    let platform = Platform::new();
    let (client, _) = billing(&platform).await;
    let unknown = "0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77";
    for (path, code) in [
        (format!("/tokens/{unknown}/revoke"), "unknown_token"),
        ("/apps/nobody/disable".to_owned(), "unknown_app"),
    ] {
        let answer = client
            .send_if(STALE, Method::POST, &path, Value::Null)
            .await;
        answer.problem(404, code);
    }
}

#[tokio::test]
async fn a_response_to_a_change_has_its_revision() {
    let platform = Platform::new();
    let client = Client::with_scopes(&platform, "tokens:admin").await;
    let registry = platform.scene.tokens.registry();
    let latest = async || {
        let revision = registry.change_log().unwrap().revision().await.unwrap();
        revision.to_string()
    };
    let new = json!({"name": "Billing", "id": "billing"});
    let created = client.post("/apps", new).await;
    assert_eq!(created.header("revision"), latest().await);
    let new = json!({"app_id": "billing", "name": "ci"});
    let issued = client.post("/tokens", new).await;
    assert_eq!(issued.header("revision"), latest().await);
    let path = format!(
        "/tokens/{}",
        issued.created()["record"]["id"].as_str().unwrap()
    );
    let revoked = client.post(&format!("{path}/revoke"), Value::Null).await;
    assert_eq!(revoked.header("revision"), latest().await);

    // Requests that change nothing have none.
    let unknown = format!("/tokens/{}/revoke", TokenId::from_bytes([7; 16]));
    for unchanged in [
        client.get(&path).await,
        client.post(&unknown, Value::Null).await,
    ] {
        assert!(!unchanged.headers.contains_key("revision"));
    }
}
