//! Edits of apps, and apps with metadata.

use http::Method;
use serde_json::{Value, json};

use crate::{client::Client, support::Platform};

#[tokio::test]
async fn an_app_has_metadata_and_is_edited() {
    let platform = Platform::new();
    let client = Client::owner(&platform).await;
    let new = json!({"name": "Billing", "id": "b", "metadata": {"plan": "free", "region": "eu"}});
    let answer = client.post("/apps", new).await;
    let tag = answer.header("etag").to_owned();
    let app = answer.created();
    assert_eq!(app["metadata"], json!({"plan": "free", "region": "eu"}));
    assert_eq!(tag, format!("\"{}\"", app["version"].as_str().unwrap()));
    assert_eq!(client.get("/apps/b").await.header("etag"), tag);

    let patch = json!({"name": "Invoices", "metadata": {"plan": "pro", "region": null}});
    let edited = client
        .send_if(&tag, Method::PATCH, "/apps/b", patch)
        .await
        .ok();
    let mut expected = app.clone();
    expected["name"] = json!("Invoices");
    expected["metadata"] = json!({"plan": "pro"});
    expected["version"] = edited["version"].clone();
    assert_eq!(edited, expected);
    let changes = client.recorded("app.edit", "done").await;
    let expected = json!([
        {"field": "name", "old": "Billing", "new": "Invoices"},
        {"field": "metadata.plan", "old": "free", "new": "pro"},
        {"field": "metadata.region", "old": "eu", "new": null},
    ]);
    assert_eq!(changes, expected);

    let stale = client
        .send_if(&tag, Method::PATCH, "/apps/b", json!({"name": "x"}))
        .await;
    stale.problem(412, "stale");
    assert_eq!(client.get("/apps/b").await.ok(), edited);
    let listed = client.get("/apps?name=Invoices").await.ok();
    assert_eq!(listed["items"][0], edited);
}

#[tokio::test]
async fn invalid_edits_of_apps_are_refused() {
    let platform = Platform::new();
    let client = Client::owner(&platform).await;
    client
        .post("/apps", json!({"name": "Billing", "id": "b"}))
        .await
        .created();
    for (patch, hint) in [
        (json!({}), "at least one field"),
        (json!({"name": ""}), "1 to 100 characters"),
        (json!({"disabled_at": null}), "unknown field `disabled_at`"),
        (
            json!({"metadata": {"k".repeat(41): "v"}}),
            "1 to 40 characters",
        ),
    ] {
        let answer = client.patch("/apps/b", patch.clone()).await;
        let detail = answer.problem(400, "invalid_body");
        assert!(detail.contains(hint), "{patch}: {detail}");
    }
    let keys = |count: usize, value: &str| {
        let keys = (0..count).map(|n| (format!("k{n}"), json!(value)));
        Value::Object(keys.collect())
    };
    let large = keys(40, &"v".repeat(300));
    let answer = client.patch("/apps/b", json!({"metadata": large})).await;
    answer.problem(422, "invalid_metadata");
    let answer = client
        .post("/apps", json!({"name": "x", "metadata": large}))
        .await;
    let detail = answer.problem(422, "invalid_metadata");
    assert!(detail.contains("8,192 bytes"), "{detail}");
    let many = json!({"name": "x", "metadata": keys(51, "v")});
    let detail = client
        .post("/apps", many)
        .await
        .problem(400, "invalid_body");
    assert!(detail.contains("at most 50"), "{detail}");
    let most = json!({"name": "x", "metadata": keys(50, "\u{1}".repeat(150).as_str())});
    client.post("/apps", most).await.created();
    let nowhere = client.patch("/apps/nowhere", json!({"name": "x"})).await;
    nowhere.problem(404, "unknown_app");
}

#[tokio::test]
async fn only_unrestricted_actors_write_the_metadata_of_apps() {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    client
        .post("/apps", json!({"name": "Billing", "id": "b"}))
        .await
        .created();
    let renamed = client.patch("/apps/b", json!({"name": "Invoices"})).await;
    assert_eq!(renamed.ok()["name"], "Invoices");
    let plan = json!({"plan": "pro"});
    let answer = client.patch("/apps/b", json!({"metadata": plan})).await;
    let detail = answer.problem(403, "owner_required");
    assert!(detail.contains("`tokens:owner`"), "{detail}");
    client.recorded("app.edit", "owner_required").await;
    let new = json!({"name": "x", "id": "x", "metadata": plan});
    client
        .post("/apps", new)
        .await
        .problem(403, "owner_required");
    client.get("/apps/x").await.problem(404, "unknown_app");
    assert_eq!(client.get("/apps/b").await.ok()["metadata"], json!({}));
}
