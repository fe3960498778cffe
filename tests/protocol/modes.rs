//! The optional mode, preflights, and what does not matter: the method, the path and other fields.

use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use tower::Layer;

use crate::{
    support::{Fixture, Inner, Server, UNKNOWN, answer, bearer, server},
    wire::Wire,
};

const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW", "get",
];

#[tokio::test]
async fn the_optional_mode_passes_a_request_without_a_credential_without_a_principal() {
    let fixture = Fixture::new().await;
    let server = Server::behind(fixture.layer().optional()).await;
    for request in [Wire::get(), Wire::get().authorization("Basic QQ==")] {
        assert_eq!(server.admits(&request).await.body, "nobody");
    }
    let request = Wire::get().authorization(fixture.bearer());
    assert_eq!(server.admits(&request).await.body, "Billing");
}

#[tokio::test]
async fn the_optional_mode_still_refuses_a_bad_credential() {
    let fixture = Fixture::new().await;
    let optional = fixture
        .layer()
        .optional()
        .api_key_header("x-api-key")
        .unwrap();
    let required = fixture.layer().api_key_header("x-api-key").unwrap();
    let (optional, required) = (
        Server::behind(optional).await,
        Server::behind(required).await,
    );
    let revoked = fixture.bearer();
    fixture
        .tokens
        .revoke(fixture.issued.record().id)
        .await
        .unwrap();
    for request in [
        Wire::get().authorization("Bearer"),
        Wire::get().authorization("Bearer a b"),
        Wire::get().authorization("\"Bearer\""),
        Wire::get().authorization(bearer("wrong")),
        Wire::get().authorization(bearer(UNKNOWN)),
        Wire::get().authorization(&revoked),
        Wire::get().authorization("").authorization(""),
        Wire::get().authorization("Basic QQ==, Bearer a"),
        Wire::get().field("x-api-key", ""),
    ] {
        let refusal = optional.refuses(&request).await;
        assert_eq!(refusal, required.refuses(&request).await, "{request:?}");
    }
}

#[tokio::test]
async fn the_method_does_not_matter() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    for value in ["", "Bearer", &bearer(UNKNOWN)] {
        let to_get = server.refuses(&Wire::get().authorization(value)).await;
        for method in METHODS {
            let request = Wire::new(method, "/").authorization(value);
            let answer = server.refuses(&request).await;
            assert_eq!(answer.status, to_get.status, "{method}");
            assert_eq!(answer.challenge(), to_get.challenge(), "{method}");
            if method != "HEAD" {
                assert_eq!(answer, to_get, "{method}");
            }
        }
    }
    for method in METHODS {
        let request = Wire::new(method, "/").authorization(fixture.bearer());
        server.admits(&request).await;
    }
}

#[tokio::test]
async fn a_preflight_is_refused_unless_it_is_allowed() {
    let fixture = Fixture::new().await;
    let preflight = Wire::new("OPTIONS", "/")
        .field("origin", "https://example.com")
        .field("access-control-request-method", "GET");
    let answer = server(&fixture).await.refuses(&preflight).await;
    assert_eq!(answer.status, 401);

    let server = Server::behind(fixture.layer().allow_preflight()).await;
    assert_eq!(server.admits(&preflight).await.body, "nobody");
}

#[tokio::test]
async fn an_allowed_preflight_passes_without_a_principal() {
    let fixture = Fixture::new().await;
    let server = Server::behind(fixture.layer().allow_preflight()).await;
    let preflight = Wire::new("OPTIONS", "/")
        .field("origin", "https://example.com")
        .field("access-control-request-method", "GET");
    for value in [fixture.bearer(), bearer(UNKNOWN), "Bearer".into()] {
        let answer = server.admits(&preflight.clone().authorization(value)).await;
        assert_eq!(answer.body, "nobody");
    }
    assert_eq!(fixture.store.finds(), 0);
}

#[tokio::test]
async fn an_incomplete_preflight_is_refused() {
    let fixture = Fixture::new().await;
    let server = Server::behind(fixture.layer().allow_preflight()).await;
    let origin = |wire: Wire| wire.field("origin", "https://example.com");
    let method = |wire: Wire| wire.field("access-control-request-method", "GET");
    for request in [
        Wire::new("OPTIONS", "/"),
        origin(Wire::new("OPTIONS", "/")),
        method(Wire::new("OPTIONS", "/")),
        origin(method(Wire::new("GET", "/"))),
        origin(method(Wire::new("options", "/"))),
        origin(method(Wire::new("POST", "/"))).field("x-http-method-override", "OPTIONS"),
    ] {
        assert_eq!(server.refuses(&request).await.status, 401, "{request:?}");
    }
}

#[tokio::test]
async fn the_path_does_not_matter() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let missing = server.refuses(&Wire::get()).await;
    for path in [
        "/p",
        "//p",
        "/p;x",
        "/%70",
        "/./p",
        "/../p",
        "/p/..",
        "/p?q",
        "/p//",
        "/%2e%2e/p",
        "/%00",
        "/health",
        "/favicon.ico",
        "/.well-known/x",
        "/p%2f..%2f",
        "*",
    ] {
        let method = if path == "*" { "OPTIONS" } else { "GET" };
        let request = Wire::new(method, path);
        assert_eq!(server.refuses(&request).await, missing, "{path}");
        let answer = server
            .admits(&request.authorization(fixture.bearer()))
            .await;
        assert_eq!(answer.body, "Billing", "{path}");
    }
}

#[tokio::test]
async fn a_target_in_absolute_form_does_not_matter() {
    let fixture = Fixture::new().await;
    let service = fixture.layer().layer(Inner::default());
    for target in [
        "http://localhost/p",
        "http://user:pass@localhost/p",
        "localhost:443",
    ] {
        let request = Request::get(target).body(Empty::new()).unwrap();
        let (parts, _) = answer(service.clone(), request).await;
        assert_eq!(parts.status, StatusCode::UNAUTHORIZED, "{target}");
        let request = Request::get(target)
            .header("authorization", fixture.bearer())
            .body(Empty::new())
            .unwrap();
        let (parts, _) = answer(service.clone(), request).await;
        assert_eq!(parts.status, StatusCode::OK, "{target}");
    }
}

#[tokio::test]
async fn fields_that_name_an_app_or_override_the_request_are_not_read() {
    let fixture = Fixture::new().await;
    let required = server(&fixture).await;
    let optional = Server::behind(fixture.layer().optional()).await;
    let missing = required.refuses(&Wire::get()).await;
    let app = fixture.app().id.as_str();
    let forged = Wire::get()
        .field("x-app-id", app)
        .field("x-app-name", "Billing")
        .field("app-id", app)
        .field("x-token-id", fixture.issued.record().id.to_string())
        .field("x-forwarded-user", "Billing")
        .field("x-original-method", "OPTIONS")
        .field("x-http-method-override", "OPTIONS");
    assert_eq!(required.refuses(&forged).await, missing);
    assert_eq!(optional.admits(&forged).await.body, "nobody");
}

#[tokio::test]
async fn the_http_version_does_not_matter() {
    let fixture = Fixture::new().await;
    let service = fixture.layer().layer(Inner::default());
    for version in [
        http::Version::HTTP_09,
        http::Version::HTTP_10,
        http::Version::HTTP_11,
        http::Version::HTTP_2,
        http::Version::HTTP_3,
    ] {
        let request = Request::builder()
            .method(Method::GET)
            .version(version)
            .body(Empty::new())
            .unwrap();
        let (parts, _) = answer(service.clone(), request).await;
        assert_eq!(parts.status, StatusCode::UNAUTHORIZED);
    }
}
