//! Tokens in several formats.

use serde_json::{Value, json};
use tower_api_tokens::{
    AppId, ImportedToken, LifecycleErrorKind, MaskedToken, NewToken, TokenDigest, TokenFormat,
};

use crate::{client::Client, support::Platform};

/// A platform that issues `acme_live` and `test`, and limits a scope and an app.
fn platform() -> Platform {
    Platform::configured(|tokens| {
        let test = TokenFormat::new("acme_test").unwrap();
        tokens
            .any_format()
            .with_issued_format(test.with_label("test").unwrap())
            .limit_scope("write".parse().unwrap(), "acme_live")
            .limit_app(AppId::new("sandbox").unwrap(), "test")
    })
}

async fn create_app(client: &Client, id: &str) {
    let app = json!({"name": id, "id": id});
    client.post("/apps", app).await.created();
}

#[tokio::test]
async fn a_token_is_issued_in_the_format_that_the_request_names_and_shows_it() {
    let platform = platform();
    let client = Client::new(&platform).await;
    create_app(&client, "billing").await;
    for (format, prefix, label) in [
        (json!("test"), "acme_test_", "test"),
        (json!("acme_live"), "acme_live_", "acme_live"),
        (Value::Null, "acme_live_", "acme_live"),
    ] {
        let new = json!({"app_id": "billing", "name": "ci", "format": format});
        let issued = client.post("/tokens", new).await.created();
        assert!(issued["token"].as_str().unwrap().starts_with(prefix));
        assert_eq!(issued["record"]["format"], label);
        let path = format!("/tokens/{}", issued["record"]["id"].as_str().unwrap());
        assert_eq!(client.get(&path).await.ok()["format"], label);
        let overlap = json!({"overlap_seconds": 60});
        let rotated = client.post(&format!("{path}/rotate"), overlap).await;
        let rotated = rotated.created();
        assert!(rotated["token"].as_str().unwrap().starts_with(prefix));
        assert_eq!(rotated["record"]["format"], label);
    }
    let imported = ImportedToken::new(
        NewToken::named("partner"),
        TokenDigest::of(b"legacy-4711"),
        MaskedToken::new("legacy-", "4711").unwrap(),
    );
    let app = AppId::new("billing").unwrap();
    platform.scene.tokens.import(&app, imported).await.unwrap();
    let page = client.get("/tokens?app_id=billing").await.ok();
    let formats: Vec<_> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["format"])
        .collect();
    let count = |label: Value| formats.iter().filter(|format| ***format == label).count();
    let counts = [
        count(json!("acme_live")),
        count(json!("test")),
        count(Value::Null),
    ];
    assert_eq!(counts, [4, 2, 1]);
}

#[tokio::test]
async fn a_format_that_is_not_issued_or_not_allowed_is_a_problem_that_names_the_fix() {
    let platform = platform();
    let client = Client::new(&platform).await;
    for app in ["billing", "sandbox"] {
        create_app(&client, app).await;
    }
    let issue = async |app: &str, scope: &str, format: Value| {
        let new = json!({"app_id": app, "name": "ci", "scopes": [scope], "format": format});
        client.post("/tokens", new).await
    };
    let answer = issue("billing", "read", json!("acme_test")).await;
    let detail = answer.problem(422, "unknown_format");
    assert!(detail.contains("choose `acme_live` or `test`"), "{detail}");
    let answer = issue("billing", "write", json!("test")).await;
    let detail = answer.problem(422, "format_not_allowed");
    assert!(
        detail.contains("`write` is limited to tokens of the format `acme_live`"),
        "{detail}"
    );
    let answer = issue("sandbox", "read", Value::Null).await;
    let detail = answer.problem(422, "format_not_allowed");
    assert!(
        detail.contains("`sandbox` is limited to tokens of the format `test`"),
        "{detail}"
    );
    issue("sandbox", "read", json!("test")).await.created();
    issue("billing", "write", json!("acme_live"))
        .await
        .created();
    for invalid in [
        json!(""),
        json!("a b"),
        json!("a,b"),
        json!("x".repeat(41)),
        json!(7),
    ] {
        issue("billing", "read", invalid)
            .await
            .problem(400, "invalid_body");
    }
    let refused = platform.sink.summaries();
    for kind in [
        LifecycleErrorKind::UnknownFormat,
        LifecycleErrorKind::FormatNotAllowed,
    ] {
        assert!(
            refused.iter().any(|event| event.contains(kind.as_str())),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn the_format_is_part_of_an_idempotent_request() {
    let platform = platform();
    let client = Client::new(&platform).await;
    create_app(&client, "billing").await;
    let issue = async |format: &str| {
        let new = json!({"app_id": "billing", "name": "ci", "format": format});
        let mut request = client.request(http::Method::POST, "/tokens", &new);
        let headers = request.headers_mut();
        headers.insert("idempotency-key", "k1".parse().unwrap());
        client.send(request).await
    };
    issue("test").await.created();
    issue("test").await.problem(409, "repeated");
    issue("acme_live").await.problem(422, "key_reused");
}
