//! Actors who only read.

use http::Method;
use serde_json::json;

use super::{Scene, calls, exchange, operations};

#[tokio::test]
async fn a_read_only_actor_reads_and_changes_nothing() {
    let scene = Scene::new().await;
    let own = scene.named("ours").await;
    let before = scene.everything().await;
    for actor in ["auditor", "reader of ours"] {
        let client = scene.client(actor);
        for (operation, _) in operations(&scene).await {
            // It changes nothing, but it is recorded.
            if operation == "POST /tokens/search" {
                continue;
            }
            for call in calls(&operation, &own).unwrap() {
                let answer = exchange(&client, &call).await;
                let is_of_fleet = ["/nodes", "/fleet"]
                    .iter()
                    .any(|path| call.path.starts_with(path));
                if call.method == Method::GET && is_of_fleet && actor == "reader of ours" {
                    // Nodes belong to no app.
                    assert_eq!(answer.status, 403, "{answer:?}");
                } else if call.method == Method::GET {
                    let is_read =
                        answer.status.is_success() || [400, 410].contains(&answer.status.as_u16());
                    assert!(is_read, "{actor}: {call:?} {answer:?}");
                } else {
                    assert_eq!(answer.status, 403, "{actor}: {call:?} {answer:?}");
                    assert!(answer.body.contains("\"read_only\""), "{answer:?}");
                }
            }
        }
    }
    assert_eq!(scene.everything().await, before);
}

#[tokio::test]
async fn a_read_only_actor_of_no_app_sees_everything() {
    let scene = Scene::new().await;
    let auditor = scene.client("auditor");
    let apps = auditor.get("/apps").await.ok();
    assert_eq!(apps["items"].as_array().unwrap().len(), 2);
    let tokens = auditor.get("/tokens?app_id=theirs").await.ok();
    let creators = [&tokens["items"][0], &tokens["items"][1]].map(|token| &token["created_by"]);
    assert_eq!(
        creators,
        [&json!("app:theirs:alice"), &json!("bob-of-staff")]
    );
    let refused = auditor.post("/apps", json!({"name": "x"})).await;
    let detail = refused.problem(403, "read_only");
    assert!(detail.contains("not change anything"), "{detail}");
}
