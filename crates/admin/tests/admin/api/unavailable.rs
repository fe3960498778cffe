//! Store failures are 503 responses.

use std::sync::{Arc, Mutex};

use http::Method;
use serde_json::{Value, json};
use tower_api_tokens::{StoreErrorKind, testing::Fault};

use crate::{client::Client, support::Platform};

#[tokio::test]
async fn a_store_that_fails_is_503() {
    let platform = Platform::new();
    let client = Client::owner(&platform).await;
    client
        .post("/apps", json!({"name": "b", "id": "b"}))
        .await
        .created();
    let issued = client.issue("b", "ci").await;
    let path = format!("/tokens/{}", issued["record"]["id"].as_str().unwrap());
    let (rotate, revoke) = (format!("{path}/rotate"), format!("{path}/revoke"));
    let (suspend, resume) = (format!("{path}/suspend"), format!("{path}/resume"));
    let requests = [
        (Method::GET, "/apps", Value::Null),
        (Method::POST, "/apps", json!({"name": "x"})),
        (Method::GET, "/apps/b", Value::Null),
        (Method::POST, "/apps/b/disable", Value::Null),
        (Method::POST, "/apps/b/enable", Value::Null),
        (Method::GET, "/tokens", Value::Null),
        (Method::POST, "/tokens", json!({"app_id": "b", "name": "x"})),
        (Method::GET, &path, Value::Null),
        (Method::PATCH, &path, json!({"name": "x"})),
        (Method::PATCH, &path, json!({"metadata": {"team": "a"}})),
        (Method::POST, &suspend, Value::Null),
        (Method::POST, &resume, Value::Null),
        (Method::PATCH, "/apps/b", json!({"name": "x"})),
        (Method::DELETE, "/apps/b", Value::Null),
        (Method::GET, "/policy", Value::Null),
        (Method::PUT, "/policy", json!({})),
        (Method::POST, &rotate, json!({"overlap_seconds": 0})),
        (Method::POST, &revoke, Value::Null),
        (Method::GET, "/events", Value::Null),
    ];
    for fault in [
        Fault::Error(StoreErrorKind::Unavailable),
        Fault::Error(StoreErrorKind::ReadOnly),
        Fault::Error(StoreErrorKind::Corrupt),
        Fault::Panic,
        Fault::WritePanic,
    ] {
        for (method, path, body) in &requests {
            if fault == Fault::WritePanic && method == Method::GET {
                continue;
            }
            // Cached, so that the guard still authenticates the request.
            platform.scene.store.set_fault(Fault::None);
            client.get("/openapi.json").await.ok();
            platform.scene.store.set_fault(fault);
            let answer = client
                .send(client.request(method.clone(), path, body))
                .await;
            assert_eq!(
                answer.header("retry-after"),
                "1",
                "{fault:?} {method} {path}"
            );
            let detail = answer.problem(503, "store_failure");
            assert!(detail.contains("try again"), "{detail}");
        }
    }
}

#[tokio::test]
async fn a_guard_without_a_store_is_503() {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    platform
        .scene
        .store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let answer = client.get("/apps").await;
    assert_eq!(answer.header("retry-after"), "1");
    answer.problem(503, "unavailable");
}

#[tokio::test]
async fn the_cause_of_a_failure_is_logged_but_not_returned() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    // With a single subscriber, `tracing` caches the interest of whichever thread reaches an event
    // first, and the threads of other tests have no subscriber.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _logging = tracing::subscriber::set_default(subscriber);
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    client.get("/openapi.json").await.ok();
    platform
        .scene
        .store
        .set_fault(Fault::WriteError(StoreErrorKind::ReadOnly));
    let answer = client.post("/apps", json!({"name": "x"})).await;
    let detail = answer.problem(503, "store_failure");
    assert_eq!(detail, "The token store failed; try again.");
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("an operation failed"), "{log}");
    assert!(log.contains("open it for writing"), "{log}");
    assert!(log.contains("failed to record an audit event"), "{log}");
    assert!(!log.contains(&client.token));
}

/// The captured log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
