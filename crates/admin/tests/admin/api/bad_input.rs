//! Invalid requests get a 4xx response with a hint on what to fix.

use http::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};

use crate::{client::Client, support::Platform};

async fn billing() -> (Platform, Client) {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    client
        .post("/apps", json!({"name": "Billing", "id": "billing"}))
        .await
        .created();
    (platform, client)
}

#[tokio::test]
async fn unknown_fields_are_named() {
    let (_platform, client) = billing().await;
    for (path, body) in [
        ("/apps", json!({"name": "a", "colour": "red"})),
        (
            "/tokens",
            json!({"app_id": "billing", "name": "a", "colour": "red"}),
        ),
    ] {
        let detail = client.post(path, body).await.problem(400, "invalid_body");
        assert!(
            detail.contains("unknown field `colour`, expected"),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn unknown_parameters_are_named() {
    let (_platform, client) = billing().await;
    for path in ["/apps?page=2", "/tokens?page=2", "/events?page=2"] {
        let detail = client.get(path).await.problem(400, "invalid_query");
        assert!(
            detail.contains("unknown field `page`, expected"),
            "{detail}"
        );
    }
    for path in ["/apps/billing?page=2", "/openapi.json?page=2"] {
        let detail = client.get(path).await.problem(400, "invalid_query");
        assert!(detail.contains("remove them"), "{detail}");
    }
}

#[tokio::test]
async fn invalid_values_are_rejected_with_a_hint() {
    let (_platform, client) = billing().await;
    for (body, hint) in [
        (json!({"app_id": "billing", "name": 5}), "expected a string"),
        (json!({"app_id": "billing"}), "missing field `name`"),
        (
            json!({"app_id": "billing", "name": ""}),
            "1 to 100 characters",
        ),
        (
            json!({"app_id": "billing", "name": "a\nb"}),
            "without control characters",
        ),
        (
            json!({"app_id": "billing", "name": "a\n"}),
            "without control characters",
        ),
        (
            json!({"app_id": "billing", "name": "x".repeat(101)}),
            "1 to 100 characters",
        ),
        (
            json!({"app_id": "a b", "name": "a"}),
            "1 to 40 ASCII letters",
        ),
        (
            json!({"app_id": "billing", "name": "a", "scopes": "read"}),
            "expected a sequence",
        ),
        (
            json!({"app_id": "billing", "name": "a", "scopes": ["a b"]}),
            "Invalid body at line 1 column 47: invalid scope; use",
        ),
        (
            json!({"app_id": "billing", "name": "a", "expires_at": 17}),
            "expected a string",
        ),
        (
            json!({"app_id": "billing", "name": "a", "expires_at": "soon"}),
            "`2030-01-31T12",
        ),
        (
            json!({"app_id": "billing", "name": "a", "expires_at": "2030-01-31T12:00:00+24:00"}),
            "a date such as `2030-01-31`",
        ),
        (
            json!({"app_id": "billing", "name": "a", "expires_at": "2030-02-30"}),
            "a date such as `2030-01-31`",
        ),
        (json!(["billing", "ci", [], null]), "a JSON object"),
        (json!("billing"), "a JSON object"),
    ] {
        let answer = client.post("/tokens", body.clone()).await;
        let detail = answer.problem(400, "invalid_body");
        assert!(detail.contains(hint), "{body}: {detail}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_is_rejected() {
    let (_platform, client) = billing().await;
    let send = async |content_type: Option<&str>, body: &str| {
        let mut request = client.request(Method::POST, "/apps", &json!({}));
        request.headers_mut().remove(CONTENT_TYPE);
        if let Some(content_type) = content_type {
            request
                .headers_mut()
                .insert(CONTENT_TYPE, content_type.parse().unwrap());
        }
        *request.body_mut() = body.to_owned().into();
        client.send(request).await
    };
    let good = r#"{"name": "a"}"#;
    for wrong in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some(""),
    ] {
        let detail = send(wrong, good)
            .await
            .problem(415, "unsupported_media_type");
        assert!(detail.contains("application/json"), "{detail}");
    }
    send(Some("Application/JSON; charset=utf-8"), good)
        .await
        .created();
    for wrong in [
        "",
        "{",
        "{\"name\": \"a\"} x",
        "{\"name\": \"a\", \"name\": \"b\"}",
    ] {
        send(Some("application/json"), wrong)
            .await
            .problem(400, "invalid_body");
    }
}

#[tokio::test]
async fn an_oversized_body_is_refused() {
    let (_platform, client) = billing().await;
    let body = json!({"name": "x".repeat(70_000)});
    let detail = client
        .post("/apps", body)
        .await
        .problem(413, "body_too_large");
    assert!(detail.contains("64 KiB"), "{detail}");
}

#[tokio::test]
async fn invalid_identifiers_are_rejected() {
    let (_platform, client) = billing().await;
    for path in [
        "/tokens/17",
        "/tokens/0198c9d28f6a7cc19a433f2b8d1c5e77",
        "/tokens/%00",
    ] {
        let detail = client.get(path).await.problem(400, "invalid_path");
        assert!(detail.contains("use a UUID"), "{detail}");
    }
    let detail = client.get("/apps/a%20b").await.problem(400, "invalid_path");
    assert!(detail.contains("1 to 40 ASCII letters"), "{detail}");
    client.get("/apps/%FF").await.problem(400, "invalid_path");
    let nowhere = "0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77";
    client
        .get(&format!("/tokens/{nowhere}"))
        .await
        .problem(404, "unknown_token");
    client
        .get("/apps/nowhere")
        .await
        .problem(404, "unknown_app");
    for page in ["0", "1001", "-1", "ten", ""] {
        let answer = client.get(&format!("/tokens?limit={page}")).await;
        answer.problem(400, "invalid_query");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_return_problems() {
    let (_platform, client) = billing().await;
    let detail = client.get("/token").await.problem(404, "not_found");
    assert!(detail.contains("openapi.json"), "{detail}");
    let answer = client
        .send(client.request(Method::DELETE, "/apps", &Value::Null))
        .await;
    assert_eq!(answer.header("allow"), "GET,HEAD,POST");
    answer.problem(405, "method_not_allowed");
}

#[tokio::test]
async fn an_existing_app_is_not_overwritten() {
    let (_platform, client) = billing().await;
    let answer = client
        .post("/apps", json!({"name": "x", "id": "billing"}))
        .await;
    answer.problem(409, "app_exists");
    assert_eq!(client.get("/apps/billing").await.ok()["name"], "Billing");
}

#[tokio::test]
async fn a_disabled_app_gets_no_token() {
    let (_platform, client) = billing().await;
    let issued = client.issue("billing", "ci").await;
    client.post("/apps/billing/disable", Value::Null).await.ok();
    let new = json!({"app_id": "billing", "name": "ci"});
    let detail = client
        .post("/tokens", new)
        .await
        .problem(409, "disabled_app");
    assert!(detail.contains("enable it first"), "{detail}");
    let path = format!(
        "/tokens/{}/rotate",
        issued["record"]["id"].as_str().unwrap()
    );
    let answer = client.post(&path, json!({"overlap_seconds": 0})).await;
    answer.problem(409, "disabled_app");
}

#[tokio::test]
async fn an_unknown_app_gets_no_token() {
    let (_platform, client) = billing().await;
    let new = json!({"app_id": "nowhere", "name": "ci"});
    client
        .post("/tokens", new)
        .await
        .problem(404, "unknown_app");
}

#[tokio::test]
async fn an_expiry_must_be_in_the_future() {
    let (_platform, client) = billing().await;
    for past in ["2027-01-15T08:00:00Z", "1970-01-01T00:00:00Z"] {
        let new = json!({"app_id": "billing", "name": "ci", "expires_at": past});
        let detail = client
            .post("/tokens", new)
            .await
            .problem(422, "invalid_expiry");
        assert!(detail.contains("choose a later time"), "{detail}");
    }
}

#[tokio::test]
async fn an_expiry_may_be_an_instant_or_a_date() {
    let (_platform, client) = billing().await;
    for (written, instant) in [
        // The test clock is at 2027-01-15, so the first date is today.
        ("2027-01-15", "2027-01-16T00:00:00Z"),
        ("2030-12-31", "2031-01-01T00:00:00Z"),
        ("2030-01-31t12:00:00.5+02:00", "2030-01-31T10:00:00.5Z"),
        ("2030-12-31T23:59:60Z", "2031-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59Z", "9999-12-30T22:00:00.999999Z"),
    ] {
        let new = json!({"app_id": "billing", "name": "ci", "expires_at": written});
        let issued = client.post("/tokens", new).await.created();
        assert_eq!(issued["record"]["expires_at"], instant, "{written}");
    }
    let yesterday = json!({"app_id": "billing", "name": "ci", "expires_at": "2027-01-14"});
    let answer = client.post("/tokens", yesterday).await;
    answer.problem(422, "invalid_expiry");
}

#[tokio::test]
async fn commas_separate_scopes() {
    let (_platform, client) = billing().await;
    for scopes in [json!(["write,read"]), json!(["write,", ",read,write"])] {
        let new = json!({"app_id": "billing", "name": "ci", "scopes": scopes});
        let issued = client.post("/tokens", new).await.created();
        assert_eq!(
            issued["record"]["scopes"],
            json!(["read", "write"]),
            "{scopes}"
        );
    }
}

#[tokio::test]
async fn a_search_with_control_characters_is_rejected() {
    let (_platform, client) = billing().await;
    for part in ["%00", "a%00b", "%1b", "%c2%85", "%e2%80%a8"] {
        for listing in ["tokens", "apps"] {
            let answer = client.get(&format!("/{listing}?name={part}")).await;
            let detail = answer.problem(400, "invalid_query");
            assert!(detail.contains("without control characters"), "{detail}");
        }
    }
}

#[tokio::test]
async fn an_overlap_is_limited() {
    let (_platform, client) = billing().await;
    let issued = client.issue("billing", "ci").await;
    let path = format!(
        "/tokens/{}/rotate",
        issued["record"]["id"].as_str().unwrap()
    );
    for beyond in [2_592_001, u64::MAX] {
        let answer = client.post(&path, json!({"overlap_seconds": beyond})).await;
        let detail = answer.problem(422, "invalid_overlap");
        assert!(
            detail.contains("at most 30 days (2592000 seconds)"),
            "{detail}"
        );
    }
    for wrong in [
        json!({"overlap_seconds": -1}),
        json!({"overlap_seconds": 0.5}),
        json!({"overlap_seconds": "1h"}),
        json!({"overlap_seconds": null}),
        json!({}),
    ] {
        client.post(&path, wrong).await.problem(400, "invalid_body");
    }
    // In JSON, `60.0` and `60` are the same number.
    client
        .post(&path, json!({"overlap_seconds": 60.0}))
        .await
        .created();
}

#[tokio::test]
async fn a_revoked_or_rotated_token_cannot_be_rotated() {
    let (_platform, client) = billing().await;
    let issued = client.issue("billing", "ci").await;
    let path = format!("/tokens/{}", issued["record"]["id"].as_str().unwrap());
    let rotate = format!("{path}/rotate");
    client
        .post(&rotate, json!({"overlap_seconds": 60}))
        .await
        .created();
    let answer = client.post(&rotate, json!({"overlap_seconds": 60})).await;
    let detail = answer.problem(409, "rotated_token");
    assert!(detail.contains("rotate its successor"), "{detail}");
    client
        .post(&format!("{path}/revoke"), Value::Null)
        .await
        .ok();
    let answer = client.post(&rotate, json!({"overlap_seconds": 60})).await;
    let detail = answer.problem(409, "revoked_token");
    assert!(detail.contains("issue a new one"), "{detail}");
}

#[tokio::test]
async fn too_many_scopes_are_refused() {
    let (_platform, client) = billing().await;
    let scopes: Vec<_> = (0..100).map(|n| format!("scope-number-{n}")).collect();
    let new = json!({"app_id": "billing", "name": "ci", "scopes": scopes});
    let detail = client
        .post("/tokens", new)
        .await
        .problem(422, "invalid_scopes");
    assert!(detail.contains("1,024"), "{detail}");
}
