//! For a limited actor, a record of another app and one that does not exist are the same, in every
//! operation of the API.

use super::{Scene, calls, exchange, operations};

/// The parameters that name no record.
const HARMLESS: [&str; 14] = [
    "limit",
    "name",
    "status",
    "wait",
    "format",
    "last_four",
    "created_before",
    "expires_before",
    "never_expires",
    "unused_since",
    "never_used",
    "replaced",
    "used_since_rotation",
    "sort",
];

#[tokio::test]
async fn a_record_of_another_app_is_like_an_unknown_one_in_every_operation() {
    for customer in ["ours", "reader of ours"] {
        let scene = Scene::new().await;
        let foreign = scene.named("theirs").await;
        let absent = foreign.absent();
        let before = scene.everything().await;
        let mut operations = operations(&scene).await;
        // Refused changes are events, which would be different for the two records.
        operations.sort_by_key(|(operation, _)| !operation.starts_with("GET "));
        let client = scene.client(customer);
        for (operation, parameters) in operations {
            let foreign_calls = calls(&operation, &foreign);
            let foreign_calls = foreign_calls
                .unwrap_or_else(|| panic!("add `{operation}` to the calls of limited actors"));
            for parameter in parameters {
                let is_covered = foreign_calls.iter().any(|call| {
                    call.path.contains(&format!("?{parameter}="))
                        || call.path.contains(&format!("&{parameter}="))
                });
                assert!(
                    is_covered || HARMLESS.contains(&parameter.as_str()),
                    "add `{parameter}` of `{operation}` to the calls of limited actors"
                );
            }
            let absent_calls = calls(&operation, &absent).unwrap();
            for (on_foreign, on_absent) in foreign_calls.iter().zip(&absent_calls) {
                let mut one = exchange(&client, on_foreign).await;
                let mut other = exchange(&client, on_absent).await;
                one.body = foreign.anonymous(&one.body);
                other.body = absent.anonymous(&other.body);
                assert_eq!(one, other, "{customer}: {on_foreign:?}");
            }
        }
        assert_eq!(scene.everything().await, before, "nothing was changed");
    }
}

#[tokio::test]
async fn an_event_of_a_refused_attempt_is_about_the_own_app_alone() {
    let scene = Scene::new().await;
    let foreign = scene.named("theirs").await;
    let theirs = scene.client("theirs").get("/events").await.ok();
    scene.pass();
    let ours = scene.client("ours");
    ours.post(
        "/tokens",
        serde_json::json!({"app_id": "theirs", "name": "x"}),
    )
    .await
    .problem(404, "unknown_app");
    scene.pass();
    let path = format!("/tokens/{}/revoke", foreign.token);
    ours.post(&path, serde_json::Value::Null)
        .await
        .problem(404, "unknown_token");
    assert_eq!(scene.client("theirs").get("/events").await.ok(), theirs);
    let own = ours.get("/events").await.ok();
    let latest = &own["items"][0];
    assert_eq!(latest["reason"], "unknown_token");
    assert_eq!(latest["actor"], "app:ours:alice");
    assert_eq!(latest["app_id"], "ours");
    // Staff sees the attempt with the token.
    let path = format!("/events?token_id={}", foreign.token);
    let found = scene.client("staff").get(&path).await.ok();
    assert_eq!(found["items"][0]["id"], latest["id"]);
}
