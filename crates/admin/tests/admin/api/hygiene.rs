//! The report, and the revocation of many tokens.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tower_api_tokens::{AppId, NewToken, RejectionKind, TokenRegistryExt, TokenTarget};

use crate::{client::Client, support::Platform};

const DAY: Duration = Duration::from_secs(86_400);

/// A client with three tokens of the app `billing` and one of `crm`.
async fn client(platform: &Platform) -> Client {
    let client = Client::new(platform).await;
    for app in ["billing", "crm"] {
        let new = json!({"name": app, "id": app});
        client.post("/apps", new).await.created();
    }
    for (app, name) in [
        ("billing", "a"),
        ("billing", "b"),
        ("billing", "c"),
        ("crm", "d"),
    ] {
        platform.scene.clock.advance(Duration::from_millis(1));
        client.issue(app, name).await;
    }
    client
}

fn id_of(page: &Value, name: &str) -> String {
    let mut items = page["items"].as_array().unwrap().iter();
    let found = items.find(|token| token["name"] == name).unwrap();
    found["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn many_tokens_are_revoked_after_they_were_counted() {
    let platform = Platform::new();
    let client = client(&platform).await;
    let filters = "/tokens/revocation?app_id=billing&status=live";
    let selection = client.get(filters).await.ok();
    let newest = id_of(&client.get("/tokens").await.ok(), "c");
    assert_eq!(selection, json!({"count": 3, "newest": newest}));
    assert_eq!(client.listed("status=live&app_id=billing").await.len(), 3);

    let revocation = client.post(filters, selection.clone()).await.ok();
    assert_eq!(revocation["revoked"], 3);
    assert!(client.listed("status=live&app_id=billing").await.is_empty());
    assert_eq!(client.listed("status=live&app_id=crm").await, ["d"]);
    let changes = client.recorded("token.revoke", "done").await;
    let batch = &revocation["batch"];
    assert_eq!(
        changes,
        json!([{"field": "batch", "old": null, "new": batch}])
    );

    let again = client.post(filters, selection).await.ok();
    assert_eq!(again, json!({"revoked": 0, "batch": null}));
    let nothing = client.get(filters).await.ok();
    assert_eq!(nothing, json!({"count": 0, "newest": null}));
}

#[tokio::test]
async fn tokens_that_another_process_has_revoked_are_not_admitted_after_the_answer() {
    let platform = Platform::new();
    let client = client(&platform).await;
    let scene = &platform.scene;
    let app = AppId::new("billing").unwrap();
    for listed in [true, false] {
        scene.clock.advance(Duration::from_millis(1));
        let token = scene.issue(&app, NewToken::named("cached")).await;
        assert_eq!(scene.refusal(&token).await, None);
        let filters = "/tokens/revocation?app_id=billing&name=cached&status=live";
        let selection = client.get(filters).await.ok();
        let id = token.record().id;
        // Straight in the store, without a word to this process.
        let target = TokenTarget::any(id);
        let revoked = scene.store.revoke(&target, scene.tokens.now()).await;
        revoked.unwrap();
        assert_eq!(scene.refusal(&token).await, None, "cached");
        let (path, body) = match listed {
            true => ("/tokens/revoke", json!({"token_ids": [id.to_string()]})),
            false => (filters, selection),
        };
        let revocation = client.post(path, body).await.ok();
        assert_eq!(revocation["revoked"], 0);
        let refusal = scene.refusal(&token).await;
        assert_eq!(refusal, Some(RejectionKind::RevokedToken), "{path}");
    }
}

#[tokio::test]
async fn listed_tokens_are_revoked_except_that_of_the_caller() {
    let platform = Platform::new();
    let client = client(&platform).await;
    let page = client.get("/tokens").await.ok();
    let [a, d, admin] = ["a", "d", "admin"].map(|name| id_of(&page, name));
    let unknown = "01a21555-0408-763c-92e4-2eee2dcedfec";
    let body = json!({"token_ids": [a, d, a, admin, unknown]});
    let revocation = client.post("/tokens/revoke", body.clone()).await.ok();
    assert_eq!(revocation["revoked"], 2);
    assert_eq!(client.listed("status=revoked").await, ["d", "a"]);
    let changes = client.recorded("token.revoke", "done").await;
    assert_eq!(
        changes,
        json!([{"field": "batch", "old": null, "new": revocation["batch"]}])
    );
    let again = client.post("/tokens/revoke", body).await.ok();
    assert_eq!(again, json!({"revoked": 0, "batch": null}));
}

#[tokio::test]
async fn a_list_of_tokens_to_revoke_has_1_to_1000_identifiers() {
    let platform = Platform::new();
    let client = client(&platform).await;
    let id = id_of(&client.get("/tokens").await.ok(), "a");
    for body in [
        json!({}),
        json!({"token_ids": []}),
        json!({"token_ids": id}),
        json!({"token_ids": ["a"]}),
        json!({"token_ids": [null]}),
        json!({"token_ids": vec![&id; 1_001]}),
        json!({"token_ids": [&id], "status": "live"}),
    ] {
        let answer = client.post("/tokens/revoke", body).await;
        answer.problem(400, "invalid_body");
    }
    let query = client.post("/tokens/revoke?app_id=crm", json!({"token_ids": [&id]}));
    query.await.problem(400, "invalid_query");
    assert_eq!(client.listed("status=live&app_id=billing").await.len(), 3);
    let most = json!({"token_ids": vec![&id; 1_000]});
    let revocation = client.post("/tokens/revoke", most).await.ok();
    assert_eq!(revocation["revoked"], 1);
}

#[tokio::test]
async fn the_token_of_the_caller_is_not_revoked() {
    let platform = Platform::new();
    let client = client(&platform).await;
    let selection = client.get("/tokens/revocation").await.ok();
    assert_eq!(selection["count"], 4);
    let revocation = client.post("/tokens/revocation", selection).await.ok();
    assert_eq!(revocation["revoked"], 4);
    assert_eq!(client.listed("status=live").await, ["admin"]);
}

#[tokio::test]
async fn more_tokens_than_were_counted_are_a_conflict() {
    let platform = Platform::new();
    let client = client(&platform).await;
    let filters = "/tokens/revocation?app_id=billing&name=a";
    let mut selection = client.get(filters).await.ok();
    let page = client.get("/tokens").await.ok();
    selection["newest"] = json!(id_of(&page, "c"));
    let renamed = format!("/tokens/{}", id_of(&page, "b"));
    client.patch(&renamed, json!({"name": "ba"})).await.ok();
    let answer = client.post(filters, selection).await;
    let detail = answer.problem(409, "selection_changed");
    assert!(detail.contains("list them again"), "{detail}");
    assert_eq!(client.listed("status=live&app_id=billing").await.len(), 3);
    client.recorded("token.revoke", "selection_changed").await;
}

#[tokio::test]
async fn an_invalid_selection_is_refused_with_a_hint() {
    let platform = Platform::new();
    let client = client(&platform).await;
    let newest = id_of(&client.get("/tokens").await.ok(), "a");
    for body in [
        json!({"count": 0, "newest": newest}),
        json!({"count": 100_001, "newest": newest}),
        json!({"count": 1, "newest": "a"}),
        json!({"count": 1}),
        json!({"count": 1, "newest": newest, "status": "live"}),
    ] {
        let answer = client.post("/tokens/revocation", body).await;
        answer.problem(400, "invalid_body");
    }
    for query in ["sort=oldest", "limit=1", "cursor=a"] {
        let answer = client.get(&format!("/tokens/revocation?{query}")).await;
        answer.problem(400, "invalid_query");
    }
    let contradictory = "/tokens/revocation?never_expires=true&expires_before=2027-01-01T00:00:00Z";
    client
        .get(contradictory)
        .await
        .problem(422, "contradictory_filters");
    let method = client.request(Method::DELETE, "/tokens/revocation", &Value::Null);
    client.send(method).await.problem(405, "method_not_allowed");
    assert_eq!(client.listed("status=live&app_id=billing").await.len(), 3);
}

#[tokio::test]
async fn each_card_of_the_report_lists_what_it_counts() {
    let platform = Platform::new();
    let client = client(&platform).await;
    platform.scene.clock.advance(100 * DAY);
    let expires_at = platform.scene.tokens.now() + 10 * DAY;
    let ending = json!({
        "app_id": "billing", "name": "ending", "scopes": ["read"], "expires_at": expires_at,
    });
    client.post("/tokens", ending).await.created();
    let counts = async |query: &str| {
        let report = client.get(&format!("/report{query}")).await.ok();
        let mut counts = Vec::new();
        for card in report["cards"].as_array().unwrap() {
            let listed = client.listed(card["query"].as_str().unwrap()).await;
            assert_eq!(card["count"], listed.len(), "{card}");
            assert_eq!(card["is_truncated"], false);
            counts.push((card["kind"].as_str().unwrap().to_owned(), listed.len()));
        }
        counts
    };
    let expected = |counts: [usize; 4]| {
        let kinds = ["never_expires", "idle", "expires_soon", "rotated_but_used"];
        kinds
            .map(str::to_owned)
            .into_iter()
            .zip(counts)
            .collect::<Vec<_>>()
    };
    assert_eq!(counts("?app_id=billing").await, expected([3, 3, 1, 0]));
    // The token of the client never expires either.
    assert_eq!(counts("").await, expected([5, 5, 1, 0]));
    assert_eq!(counts("?app_id=nothing").await, expected([0, 0, 0, 0]));
    client
        .get("/report?app_id=a%20b")
        .await
        .problem(400, "invalid_query");
}
