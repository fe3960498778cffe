//! Authentication and authorization: the actor comes only from verified credentials.

use axum::{Router, body::Body};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, LOCATION, ORIGIN},
    request::Parts,
};
use serde_json::{Value, json};
use tower_api_tokens_admin::{Actor, Admin, Denied, Guard};

use crate::{client::Client, support::Platform};

const EVERY_ROUTE: &[(Method, &str)] = &[
    (Method::GET, "/apps"),
    (Method::POST, "/apps"),
    (Method::GET, "/apps/billing"),
    (Method::POST, "/apps/billing/disable"),
    (Method::POST, "/apps/billing/enable"),
    (Method::GET, "/tokens"),
    (Method::POST, "/tokens"),
    (Method::GET, "/tokens/0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77"),
    (
        Method::PATCH,
        "/tokens/0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77",
    ),
    (
        Method::POST,
        "/tokens/0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77/rotate",
    ),
    (
        Method::POST,
        "/tokens/0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77/revoke",
    ),
    (Method::GET, "/events"),
    (Method::GET, "/openapi.json"),
    (Method::GET, "/nothing"),
    (Method::DELETE, "/apps"),
];

#[tokio::test]
async fn every_route_requires_authentication() {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    for (method, path) in EVERY_ROUTE {
        let mut request = client.request(method.clone(), path, &Value::Null);
        request.headers_mut().remove(AUTHORIZATION);
        let answer = client.send(request).await;
        let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(
            challenges,
            [
                "Bearer realm=\"api\"",
                "Basic realm=\"api\", charset=\"UTF-8\""
            ]
        );
        answer.problem(401, "unauthenticated");
    }
    assert!(platform.sink.all().is_empty());
}

#[tokio::test]
async fn a_token_without_the_scope_is_forbidden() {
    let platform = Platform::new();
    let client = Client::with_scopes(&platform, "read write").await;
    for (method, path) in EVERY_ROUTE {
        let answer = client
            .send(client.request(method.clone(), path, &Value::Null))
            .await;
        assert!(
            answer
                .header("www-authenticate")
                .contains("scope=\"tokens:admin\"")
        );
        answer.problem(403, "forbidden");
    }
}

#[tokio::test]
async fn a_browser_may_send_the_token_as_a_password() {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    let mut request = client.request(Method::GET, "/apps", &Value::Null);
    let basic = format!("Basic {}", STANDARD.encode(format!("me:{}", client.token)));
    request
        .headers_mut()
        .insert(AUTHORIZATION, basic.parse().unwrap());
    client.send(request).await.ok();
}

#[tokio::test]
async fn two_credentials_are_rejected() {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    let mut request = client.request(Method::GET, "/apps", &Value::Null);
    let second = request.headers()[AUTHORIZATION].clone();
    request.headers_mut().append(AUTHORIZATION, second);
    client
        .send(request)
        .await
        .problem(400, "malformed_credential");
}

#[tokio::test]
async fn a_token_cannot_grant_scopes_that_it_lacks() {
    let platform = Platform::new();
    let strong = Client::new(&platform).await;
    let weak = Client::with_scopes(&platform, "tokens:admin read").await;
    strong
        .post("/apps", json!({"name": "b", "id": "b"}))
        .await
        .created();
    let new = json!({"app_id": "b", "name": "ci", "scopes": ["read", "write"]});
    let detail = weak
        .post("/tokens", new.clone())
        .await
        .problem(403, "scope_not_held");
    assert!(detail.contains("`write`"), "{detail}");

    let issued = strong.post("/tokens", new).await.created();
    let path = format!("/tokens/{}", issued["record"]["id"].as_str().unwrap());
    let answer = weak
        .post(&format!("{path}/rotate"), json!({"overlap_seconds": 0}))
        .await;
    answer.problem(403, "scope_not_held");
    assert_eq!(weak.get(&path).await.ok()["status"], "live");
}

#[tokio::test]
async fn an_actor_claimed_in_the_request_is_ignored() {
    let platform = Platform::new();
    let client = Client::with_scopes(&platform, "tokens:admin").await;
    client
        .post("/apps", json!({"name": "b", "id": "b"}))
        .await
        .created();
    for forged in ["actor", "actor_id", "token", "digest", "id", "created_at"] {
        let mut new = json!({"app_id": "b", "name": "ci"});
        new[forged] = json!("root");
        client
            .post("/tokens", new)
            .await
            .problem(400, "invalid_body");
        let path = format!("/tokens?{forged}=root");
        client.get(&path).await.problem(400, "invalid_query");
    }
    let new = json!({"app_id": "b", "name": "ci"});
    let mut request = client.request(Method::POST, "/tokens", &new);
    request
        .headers_mut()
        .insert("x-actor", HeaderValue::from_static("root"));
    request.extensions_mut().insert(Actor::unrestricted("root"));
    let root = platform.operations.by(Actor::unrestricted("root"));
    request.extensions_mut().insert(root);
    assert_eq!(client.send(request).await.status, StatusCode::CREATED);
    assert!(
        platform
            .sink
            .all()
            .iter()
            .all(|event| event.actor.starts_with("token:"))
    );
}

#[tokio::test]
async fn a_cross_site_request_changes_nothing() {
    let platform = Platform::new();
    let client = Client::new(&platform).await;
    for (method, path) in EVERY_ROUTE
        .iter()
        .filter(|(method, _)| method != Method::GET)
    {
        for (field, value) in [
            ("sec-fetch-site", "cross-site"),
            ("origin", "https://evil.example"),
        ] {
            let mut request = client.request(method.clone(), path, &json!({"name": "x"}));
            request
                .headers_mut()
                .insert("host", HeaderValue::from_static("acme.example"));
            request
                .headers_mut()
                .insert(field, HeaderValue::from_static(value));
            client.send(request).await.problem(403, "cross_site");
        }
    }
    assert_eq!(
        platform
            .scene
            .tokens
            .list_apps(&Default::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    let mut request = client.request(Method::POST, "/apps", &json!({"name": "x"}));
    request
        .headers_mut()
        .insert("host", HeaderValue::from_static("acme.example"));
    request
        .headers_mut()
        .insert(ORIGIN, HeaderValue::from_static("https://acme.example"));
    client.send(request).await.created();
}

/// Authenticates by cookie, and redirects others to a login page.
struct Cookies;

#[async_trait::async_trait]
impl Guard for Cookies {
    async fn authenticate(&self, request: &mut Parts) -> Result<Actor, Denied> {
        match request.headers.get("cookie").map(HeaderValue::as_bytes) {
            Some(b"session=alice") => Ok(Actor::unrestricted("alice")),
            Some(b"session=eve") => Err(Denied::forbidden("Ask an owner.")),
            Some(_) => Err(Denied::unavailable()),
            None => {
                let login = Response::builder().status(303).header(LOCATION, "/login");
                Err(Denied::with_response(login.body("".into()).unwrap()))
            }
        }
    }
}

#[tokio::test]
async fn a_service_can_use_its_own_guard() {
    let platform = Platform::new();
    let admin = Admin::builder(&platform.operations, Cookies)
        .with_trusted_origin("https://console.example")
        .unwrap()
        .build();
    let client = Client {
        router: Router::new().nest("/admin/api", admin.router()),
        token: String::new(),
    };
    let send = async |cookie: Option<&str>| {
        let mut request = Request::post("/admin/api/apps")
            .header("content-type", "application/json")
            .header(ORIGIN, "https://console.example");
        if let Some(cookie) = cookie {
            request = request.header("cookie", cookie);
        }
        let request = request.body(Body::from(r#"{"name": "Billing"}"#));
        client.send(request.unwrap()).await
    };
    send(Some("session=alice")).await.created();
    assert_eq!(platform.sink.summaries(), ["alice app.create done"]);
    let detail = send(Some("session=eve")).await.problem(403, "forbidden");
    assert_eq!(detail, "Ask an owner.");
    send(Some("session=lost")).await.problem(503, "unavailable");
    let login = send(None).await;
    assert_eq!(
        (login.status.as_u16(), login.header("location")),
        (303, "/login")
    );
    assert_eq!(login.header("cache-control"), "no-store");
}
