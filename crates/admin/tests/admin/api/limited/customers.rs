//! Two customers who use the same API.

use http::StatusCode;
use serde_json::{Value, json};
use tower_api_tokens::Authority;

use super::{Call, Named, SECRETS, Scene, calls, exchange, operations, send};
use crate::client::Client;

/// Everything that a customer reads: what every operation that reads returns for their own records.
async fn reads(scene: &Scene, client: &Client, own: &Named) -> Vec<String> {
    let mut read = Vec::new();
    for (operation, _) in operations(scene).await {
        if operation.starts_with("GET ") {
            for call in calls(&operation, own).unwrap() {
                let answer = exchange(client, &call).await;
                read.push(format!("{answer:?}"));
            }
        }
    }
    read
}

async fn own_token(client: &Client) -> String {
    let page = client.get("/tokens").await.ok();
    page["items"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_customer_sees_nothing_of_another() {
    let scene = Scene::new().await;
    let (client, own) = (scene.client("ours"), scene.named("ours").await);
    let theirs = scene.named("theirs").await;
    let read = reads(&scene, &client, &own).await;
    let secrets = SECRETS.map(str::to_owned);
    let ids = [theirs.token.to_string(), theirs.event.to_string()];
    for secret in secrets.iter().chain(&ids) {
        for text in &read {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    let tokens = client.get("/tokens").await.ok();
    let tokens = tokens["items"].as_array().unwrap();
    let creators: Vec<_> = tokens.iter().map(|token| &token["created_by"]).collect();
    assert_eq!(creators, ["app:ours:alice", "support"]);
    let events = client.get("/events").await.ok();
    let events = events["items"].as_array().unwrap();
    let actors: Vec<_> = events.iter().map(|event| &event["actor"]).collect();
    assert_eq!(actors, ["app:ours:alice", "support", "support", "support"]);
    let positions = client.get("/events?after=oldest").await.ok();
    for item in positions["items"].as_array().unwrap() {
        assert_eq!(
            item["position"], item["id"],
            "a number would count other events"
        );
    }
    assert_eq!(client.get("/policy").await.ok()["scopes_of"], json!({}));
}

/// Whatever another customer and staff do with the other app, a customer reads the same bytes.
#[tokio::test]
async fn nothing_that_another_customer_does_shows() {
    let scene = Scene::new().await;
    let (ours, own) = (scene.client("ours"), scene.named("ours").await);
    let before = reads(&scene, &ours, &own).await;

    let theirs = scene.client("theirs");
    let foreign = scene.named("theirs").await;
    for (operation, _) in operations(&scene).await {
        // What the other customer tries with these records, and does with their own.
        for call in [&own, &foreign]
            .into_iter()
            .flat_map(|named| calls(&operation, named).unwrap())
        {
            exchange(&theirs, &call).await;
        }
    }
    let staff = scene.client("staff");
    staff.post("/apps/theirs/disable", Value::Null).await.ok();
    let edit = json!({"name": "their-secret 2", "metadata": {"plan": "their-secret"}});
    staff.patch("/apps/theirs", edit).await.ok();
    let policy = json!({"unique_names": true, "scopes_of": {"theirs": ["their-secret"]}});
    staff.put("/policy", policy).await.ok();
    let another = json!({"id": "another", "name": "their-secret"});
    staff.post("/apps", another).await.created();

    let after = reads(&scene, &ours, &own).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
}

#[tokio::test]
async fn customers_share_neither_idempotency_keys_nor_names() {
    let scene = Scene::new().await;
    let mut issued = Vec::new();
    for app in ["ours", "theirs"] {
        let client = scene.client(app);
        let new = json!({"app_id": app, "name": "same", "scopes": ["read"]});
        let request = || {
            let mut request = client.request(http::Method::POST, "/tokens", &new);
            let headers = request.headers_mut();
            headers.insert("idempotency-key", "k1".parse().unwrap());
            request
        };
        let created = send(&client, request()).await;
        assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
        let created: Value = serde_json::from_str(&created.body).unwrap();
        let id = created["record"]["id"].as_str().unwrap().to_owned();
        let again = send(&client, request()).await;
        assert!(again.body.contains(&id), "{again:?}");
        assert_eq!(again.status, StatusCode::CONFLICT);
        let unique = client.post("/tokens", new.clone()).await;
        unique.problem(422, "policy_violation");
        issued.push(id);
    }
    assert_ne!(issued[0], issued[1]);
}

#[tokio::test]
async fn a_customer_manages_the_tokens_of_the_own_app_and_nothing_else() {
    let scene = Scene::new().await;
    let client = scene.client("ours");
    let issued = client.issue("ours", "ci").await;
    let id = issued["record"]["id"].as_str().unwrap();
    let path = |action: &str| format!("/tokens/{id}{action}");
    let tag = format!("\"{}\"", issued["record"]["version"].as_str().unwrap());
    let edit = json!({"name": "ci 2", "metadata": {"team": "a"}});
    let edited = client
        .send_if(&tag, http::Method::PATCH, &path(""), edit)
        .await;
    assert_eq!(edited.ok()["name"], "ci 2");
    client.post(&path("/suspend"), Value::Null).await.ok();
    client.post(&path("/resume"), Value::Null).await.ok();
    let overlap = json!({"overlap_seconds": 60});
    client.post(&path("/rotate"), overlap).await.created();
    client.post(&path("/revoke"), Value::Null).await.ok();

    // A token that staff has created is edited by the version that the customer reads.
    let by_staff = client.get("/tokens").await.ok();
    let by_staff = by_staff["items"].as_array().unwrap();
    let by_staff = by_staff
        .iter()
        .find(|token| token["created_by"] == "support");
    let tag = format!("\"{}\"", by_staff.unwrap()["version"].as_str().unwrap());
    let by_staff = format!("/tokens/{}", by_staff.unwrap()["id"].as_str().unwrap());
    let edited = client
        .send_if(&tag, http::Method::PATCH, &by_staff, json!({"name": "x"}))
        .await;
    assert_eq!(edited.ok()["created_by"], "support");

    let refused = client
        .patch(&by_staff, json!({"metadata": {"plan": "pro"}}))
        .await;
    let detail = refused.problem(403, "not_permitted");
    assert!(detail.contains("`plan`; use `team`"), "{detail}");
    let management = json!({"app_id": "ours", "name": "x", "scopes": ["tokens:admin"]});
    client
        .post("/tokens", management)
        .await
        .problem(403, "scope_not_held");
    for call in [
        Call::new(http::Method::POST, "/apps", json!({"name": "x"})),
        Call::new(http::Method::PATCH, "/apps/ours", json!({"name": "x"})),
        Call::new(
            http::Method::PATCH,
            "/apps/ours",
            json!({"metadata": {"plan": "pro"}}),
        ),
        Call::new(http::Method::DELETE, "/apps/ours", Value::Null),
        Call::new(http::Method::POST, "/apps/ours/disable", Value::Null),
        Call::new(http::Method::POST, "/apps/ours/enable", Value::Null),
        Call::new(http::Method::PUT, "/policy", json!({})),
    ] {
        let answer = exchange(&client, &call).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{call:?}");
        assert!(answer.body.contains("\"not_permitted\""), "{answer:?}");
    }
}

#[tokio::test]
async fn a_customer_follows_only_the_own_events() {
    let scene = Scene::new().await;
    let ours = scene.client("ours");
    let latest = ours.get("/events?after=latest").await.ok();
    let after = format!("/events?after={}", latest["next"].as_str().unwrap());
    scene
        .client("theirs")
        .issue("theirs", "their-secret 2")
        .await;
    let nothing = ours.get(&after).await.ok();
    assert_eq!(nothing, json!({"items": [], "next": latest["next"]}));
    ours.issue("ours", "seen").await;
    let tokens = &scene.platform.scene.tokens;
    let bob = tokens.acting_as(Authority::of("bob-of-staff"));
    bob.revoke(own_token(&ours).await.parse().unwrap())
        .await
        .unwrap();
    let page = ours.get(&after).await.ok();
    let items = page["items"].as_array().unwrap();
    let shown = items
        .iter()
        .map(|item| json!([item["action"], item["actor"]]));
    let expected = json!([
        ["token.issue", "app:ours:alice"],
        ["token.revoke", "support"]
    ]);
    assert_eq!(shown.collect::<Value>(), expected);
}

#[tokio::test]
async fn a_customer_finds_only_own_tokens_by_their_text_and_creator() {
    let scene = Scene::new().await;
    let client = scene.client("ours");
    let found = async |app| {
        let token = scene.named(app).await.text;
        let found = client.post("/tokens/search", json!({"token": token})).await;
        found.ok()["record"]["app_id"].clone()
    };
    assert_eq!(found("ours").await, "ours");
    assert_eq!(found("theirs").await, Value::Null);
    for (creator, count) in [
        ("app:ours:alice", 1),
        ("app:theirs:alice", 0),
        ("bob-of-staff", 0),
        ("nobody", 0),
    ] {
        let path = format!("/tokens?created_by={creator}");
        let listed = client.get(&path).await.ok();
        assert_eq!(
            listed["items"].as_array().unwrap().len(),
            count,
            "{creator}"
        );
    }
}
