//! Hints for requests whose token is in the wrong place: the response is that to a request without
//! a token, except for a text that says what to send.

use serde_json::Value;
use tower_api_tokens::{ApiTokenLayer, RequireScopeLayer};

use crate::{
    support::{Fixture, Server, bearer, server},
    wire::{Answer, Wire},
};

fn detail(answer: &Answer) -> String {
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    problem["detail"].as_str().unwrap().to_owned()
}

/// Requests whose token is not read by a layer that only reads `Authorization: Bearer`, and a part
/// of the expected hint.
fn misplaced(token: &str) -> Vec<(Wire, &'static str)> {
    let mut requests = Vec::new();
    let scheme = "`Authorization` header has no supported scheme";
    for value in [
        token.to_owned(),
        format!("Token {token}"),
        format!("token {token}"),
        format!("ApiKey {token}"),
        format!("Basic {token}"),
        "Negotiate".into(),
    ] {
        requests.push((Wire::get().authorization(value), scheme));
    }
    for name in [
        "x-api-key",
        "api_key",
        "api-key",
        "apikey",
        "x-auth-token",
        "x-access-token",
        "x-api-token",
    ] {
        requests.push((Wire::get().field(name, token), "API-key header"));
    }
    for name in ["api_key", "apikey", "API_KEY", "access_token", "token"] {
        for target in [
            format!("/?{name}={token}"),
            format!("/?page=1&{name}={token}"),
            format!("/?{name}"),
        ] {
            requests.push((
                Wire::new("GET", &target),
                "Tokens in the URL are not accepted",
            ));
        }
    }
    requests
}

#[tokio::test]
async fn a_misplaced_token_gets_a_hint_about_the_right_place() {
    let fixture = Fixture::new().await;
    let token = fixture.token();
    let server = server(&fixture).await;
    let none = server.refuses(&Wire::get()).await.but_for_its_hint();
    for (request, hint) in misplaced(token) {
        let answer = server.refuses(&request).await;
        let text = detail(&answer);
        assert!(text.contains(hint), "{request:?}: {text}");
        assert!(
            text.ends_with("Send the token as `Authorization: Bearer <token>`."),
            "{text}"
        );
        assert!(!answer.text().contains(token), "{answer:?}");
        assert_eq!(answer.but_for_its_hint(), none);
    }
    assert_eq!(fixture.store.finds(), 0);
}

#[tokio::test]
async fn a_request_without_a_token_gets_a_hint_about_what_to_send() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    for request in [
        Wire::get(),
        Wire::get().authorization(""),
        Wire::get().field("cookie", "token=x"),
        Wire::get().field("x-request-id", "x"),
        Wire::new("GET", "/token?q=api_key"),
        Wire::new("GET", "/?tokens=1&api_keys=2"),
    ] {
        assert_eq!(
            detail(&server.refuses(&request).await),
            "The request has no token. Send the token as `Authorization: Bearer <token>`.",
            "{request:?}"
        );
    }
}

#[tokio::test]
async fn hints_name_exactly_the_configured_places() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer().api_key_header("x-api-key").unwrap();
    let server = Server::behind(layer.clone().basic()).await;
    let send = "Send the token as `Authorization: Bearer <token>` or `x-api-key: <token>`.";
    for (request, hint) in [
        (Wire::get(), "has no token"),
        (Wire::get().authorization("Token x"), "no supported scheme"),
        (Wire::get().field("x-auth-token", "x"), "API-key header"),
        (Wire::new("GET", "/?api_key=x"), "the URL"),
    ] {
        let text = detail(&server.refuses(&request).await);
        assert!(text.contains(hint) && text.ends_with(send), "{text}");
    }
    server
        .admits(&Wire::get().field("x-api-key", fixture.token()))
        .await;
    // In any order of the settings.
    let first = fixture.layer().basic().api_key_header("x-key").unwrap();
    let server = Server::behind(first).await;
    let text = detail(&server.refuses(&Wire::get()).await);
    assert!(text.ends_with("or `x-key: <token>`."), "{text}");
    let text = detail(&server.refuses(&Wire::get().field("x-api-key", "x")).await);
    assert!(text.contains("API-key header"), "{text}");
}

#[tokio::test]
async fn an_anonymous_request_that_needs_a_scope_gets_the_same_hints() {
    let fixture = Fixture::new().await;
    let strict = server(&fixture).await;
    let optional = fixture.layer().optional();
    let by_layer = optional.require_all("invoices:read".parse().unwrap());
    let by_layer = Server::behind_all(optional.clone(), by_layer).await;
    let by_itself = RequireScopeLayer::all("invoices:read".parse().unwrap());
    let by_itself = Server::behind_all(optional, by_itself).await;
    for (request, _) in misplaced("secret") {
        let expected = strict.refuses(&request).await;
        assert_eq!(by_layer.refuses(&request).await, expected);
        assert_eq!(by_itself.refuses(&request).await, expected);
    }
}

#[tokio::test]
async fn a_preflight_gets_no_hint_about_a_misplaced_token() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer().allow_preflight().basic();
    let layer = layer.api_key_header("x-api-key").unwrap();
    let inside = layer.require_all("invoices:read".parse().unwrap());
    let server = Server::behind_all(layer, inside).await;
    let preflight = Wire::new("OPTIONS", "/")
        .field("origin", "https://example.com")
        .field("access-control-request-method", "GET");
    for request in [
        preflight.clone().authorization(fixture.bearer()),
        preflight.clone().authorization("Basic QQ=="),
        preflight.field("x-api-key", fixture.token()),
    ] {
        let text = detail(&server.refuses(&request).await);
        assert!(text.starts_with("The request has no token."), "{text}");
    }
}

#[tokio::test]
async fn the_body_of_a_403_names_the_scopes_in_the_challenge() {
    let fixture = Fixture::new().await;
    let all = |layer: &ApiTokenLayer, scopes: &str| layer.require_all(scopes.parse().unwrap());
    let any = |layer: &ApiTokenLayer, scopes: &str| layer.require_any(scopes.parse().unwrap());
    let layer = fixture.layer();
    for (inside, named) in [
        (all(&layer, "b a"), "a b"),
        (any(&layer, "b a"), "a b"),
        (all(&layer, "50%_of:'<x>'"), "50%_of:'<x>'"),
        (any(&layer, ""), ""),
    ] {
        let server = Server::behind_all(layer.clone(), inside).await;
        let request = Wire::get().authorization(bearer(fixture.token()));
        let answer = server.refuses(&request).await;
        assert!(
            answer
                .challenge()
                .ends_with(&format!(", scope=\"{named}\""))
        );
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(problem["scope"], named);
        assert!(detail(&answer).contains(named), "{answer:?}");
    }
}
