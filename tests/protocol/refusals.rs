//! Every kind of refusal, byte by byte, and how the rejections differ.

use std::time::Duration;

use http::Request;
use http_body_util::Empty;
use tower::{Layer, ServiceExt};
use tower_api_tokens::{
    AppPrincipal, IssuedToken, NewToken, Rejection, RejectionKind, StoreErrorKind, testing::Fault,
};

use crate::{
    support::{
        Fixture, Inner, Server, UNKNOWN, answer, bearer, get, get_anonymously, kind, server,
    },
    wire::Wire,
};

const MISSING: &str = r#"401
content-type: application/problem+json
cache-control: no-store
www-authenticate: Bearer realm="api"
content-length: 150

{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The request has no token. Send the token as `Authorization: Bearer <token>`."}"#;

const INVALID: &str = r#"401
content-type: application/problem+json
cache-control: no-store
www-authenticate: Bearer realm="api", error="invalid_token", error_description="The token is not valid."
content-length: 93

{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The token is not valid."}"#;

const MALFORMED: &str = r#"400
content-type: application/problem+json
cache-control: no-store
www-authenticate: Bearer realm="api", error="invalid_request", error_description="The credential is malformed: send exactly one token."
content-length: 121

{"type":"about:blank","title":"Bad Request","status":400,"detail":"The credential is malformed: send exactly one token."}"#;

const TOO_LONG: &str = r#"400
content-type: application/problem+json
cache-control: no-store
www-authenticate: Bearer realm="api", error="invalid_request", error_description="The credential is longer than 4096 bytes."
content-length: 110

{"type":"about:blank","title":"Bad Request","status":400,"detail":"The credential is longer than 4096 bytes."}"#;

const REPEATED: &str = r#"400
content-type: application/problem+json
cache-control: no-store
www-authenticate: Bearer realm="api", error="invalid_request", error_description="The request has several credentials: send exactly one."
content-length: 127

{"type":"about:blank","title":"Bad Request","status":400,"detail":"The request has several credentials: send exactly one."}"#;

const TWO_PLACES: &str = r#"400
content-type: application/problem+json
cache-control: no-store
www-authenticate: Bearer realm="api", error="invalid_request", error_description="The request has a token in two header fields: send it in one."
content-length: 134

{"type":"about:blank","title":"Bad Request","status":400,"detail":"The request has a token in two header fields: send it in one."}"#;

const MALFORMED_BASIC: &str = r#"400
content-type: application/problem+json
cache-control: no-store
www-authenticate: Bearer realm="api", error="invalid_request", error_description="The Basic credential is malformed: send base64 of UTF-8 text with a colon in it."
content-length: 149

{"type":"about:blank","title":"Bad Request","status":400,"detail":"The Basic credential is malformed: send base64 of UTF-8 text with a colon in it."}"#;

const INSUFFICIENT_SCOPE: &str = r#"403
content-type: application/problem+json
cache-control: no-store
www-authenticate: Bearer realm="api", error="insufficient_scope", error_description="The token lacks a required scope.", scope="invoices:read invoices:write"
content-length: 185

{"type":"about:blank","title":"Forbidden","status":403,"detail":"The token lacks a required scope: invoices:read invoices:write","scope":"invoices:read invoices:write"}"#;

const UNAVAILABLE: &str = r#"503
content-type: application/problem+json
cache-control: no-store
retry-after: 1
content-length: 130

{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"The token cannot be checked at the moment. Try again."}"#;

#[tokio::test]
async fn a_request_without_a_credential_is_challenged_without_an_error() {
    let fixture = Fixture::new().await;
    let answer = server(&fixture).await.refuses(&Wire::get()).await;
    assert_eq!(answer.text(), MISSING);
    assert_eq!(fixture.store.finds(), 0);
}

#[tokio::test]
async fn every_kind_of_malformed_credential_gets_a_hint() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer().basic().api_key_header("x-api-key").unwrap();
    let server = Server::behind(layer).await;
    let good = fixture.bearer();
    for (request, expected) in [
        (Wire::get().authorization("Bearer"), MALFORMED),
        (
            Wire::get().authorization(bearer(&"a".repeat(4096))),
            TOO_LONG,
        ),
        (
            Wire::get().authorization(&good).authorization(&good),
            REPEATED,
        ),
        (
            Wire::get().authorization(&good).field("x-api-key", "a"),
            TWO_PLACES,
        ),
        (Wire::get().authorization("Basic !"), MALFORMED_BASIC),
    ] {
        assert_eq!(server.refuses(&request).await.text(), expected);
    }
    assert_eq!(fixture.store.finds(), 0);
}

#[tokio::test]
async fn a_refusal_for_a_missing_scope_names_the_required_scopes() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer();
    let inside = layer.require_all("invoices:write invoices:read".parse().unwrap());
    let server = Server::behind_all(layer, inside).await;
    let request = Wire::get().authorization(fixture.bearer());
    assert_eq!(server.refuses(&request).await.text(), INSUFFICIENT_SCOPE);
}

#[tokio::test]
async fn a_failing_store_leads_to_503() {
    let fixture = Fixture::new().await;
    fixture
        .store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let server = server(&fixture).await;
    let request = Wire::get().authorization(fixture.bearer());
    assert_eq!(server.refuses(&request).await.text(), UNAVAILABLE);
}

/// Tokens with the same refusal, and the kinds of their rejections.
async fn invalid(fixture: &Fixture) -> Vec<(String, RejectionKind)> {
    let text = |issued: &IssuedToken| issued.token().expose().to_owned();
    let revoked = fixture
        .issue(&fixture.app().id, NewToken::named("revoked"))
        .await;
    fixture.tokens.revoke(revoked.record().id).await.unwrap();
    let in_a_minute = NewToken::named("expired").expires_in(Duration::from_secs(60));
    let expired = fixture.issue(&fixture.app().id, in_a_minute).await;
    fixture.clock.advance(Duration::from_secs(60));
    let gone = fixture.tokens.create_app("Gone").await.unwrap();
    let of_disabled = NewToken::named("of a disabled app");
    let of_disabled = fixture.tokens.issue(&gone.id, of_disabled).await.unwrap();
    fixture.tokens.disable_app(&gone.id).await.unwrap();
    vec![
        (UNKNOWN.to_owned(), RejectionKind::UnknownToken),
        (UNKNOWN.replace('Y', "Z"), RejectionKind::WrongFormat),
        (text(&revoked), RejectionKind::RevokedToken),
        (text(&expired), RejectionKind::ExpiredToken),
        (text(&of_disabled), RejectionKind::DisabledApp),
    ]
}

#[tokio::test]
async fn unknown_revoked_expired_disabled_and_misspelt_look_the_same_from_outside() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    for (token, kind) in invalid(&fixture).await {
        let request = Wire::get().authorization(bearer(&token));
        // The first answer is from the store, the second from the cache.
        for _ in 0..2 {
            assert_eq!(server.refuses(&request).await.text(), INVALID, "{kind}");
        }
    }
}

#[tokio::test]
async fn unknown_revoked_expired_disabled_and_misspelt_are_distinguished_by_the_rejection() {
    let fixture = Fixture::new().await;
    let inner = Inner::default();
    let service = fixture.layer().layer(inner.clone());
    for (token, expected) in invalid(&fixture).await {
        let (parts, _) = answer(service.clone(), get(&bearer(&token))).await;
        assert_eq!((parts.status.as_u16(), kind(&parts)), (401, Some(expected)));
        let rejection: &Rejection = parts.extensions.get().unwrap();
        let known = matches!(
            expected,
            RejectionKind::RevokedToken | RejectionKind::ExpiredToken | RejectionKind::DisabledApp
        );
        assert_eq!(rejection.token_id().is_some(), known, "{expected}");
        assert_eq!(rejection.app_id().is_some(), known, "{expected}");
        assert!(parts.extensions.get::<AppPrincipal>().is_none());
    }
    let (parts, _) = answer(service, get_anonymously()).await;
    assert_eq!(kind(&parts), Some(RejectionKind::MissingCredential));
    assert_eq!(inner.calls(), 0);
}

#[tokio::test]
async fn a_token_that_was_admitted_is_refused_once_it_is_revoked() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let request = Wire::get().authorization(fixture.bearer());
    server.admits(&request).await;
    fixture
        .tokens
        .revoke(fixture.issued.record().id)
        .await
        .unwrap();
    assert_eq!(server.refuses(&request).await.text(), INVALID);
}

#[tokio::test]
async fn a_token_is_refused_while_its_app_is_disabled() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let request = Wire::get().authorization(fixture.bearer());
    server.admits(&request).await;
    fixture.tokens.disable_app(&fixture.app().id).await.unwrap();
    assert_eq!(server.refuses(&request).await.text(), INVALID);
    fixture.tokens.enable_app(&fixture.app().id).await.unwrap();
    server.admits(&request).await;
}

#[tokio::test]
async fn a_token_is_refused_from_the_instant_of_its_expiry_even_if_it_is_cached() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let lifetime = Duration::from_secs(2);
    let issued = fixture
        .issue(
            &fixture.app().id,
            NewToken::named("short").expires_in(lifetime),
        )
        .await;
    let request = Wire::get().authorization(bearer(issued.token().expose()));
    server.admits(&request).await;
    let tick = Duration::from_micros(1);
    fixture.clock.advance(lifetime - tick);
    server.admits(&request).await;
    assert_eq!(fixture.store.finds(), 1, "the answer is from memory");
    fixture.clock.advance(tick);
    assert_eq!(server.refuses(&request).await.text(), INVALID);
}

#[tokio::test]
async fn a_refusal_contains_nothing_of_the_credential() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer().basic().api_key_header("x-api-key").unwrap();
    let server = Server::behind(layer).await;
    let secret = "sEcReT.sEcReT";
    let long = secret.repeat(400);
    for value in [secret, "sEcReT sEcReT", "sEcReT%", &long] {
        for request in [
            Wire::get().authorization(bearer(value)),
            Wire::get().authorization(format!("Basic {value}")),
            Wire::get().authorization(value),
            Wire::get().field("x-api-key", value),
            Wire::new("GET", "/?access_token=sEcReT"),
        ] {
            let answer = server.refuses(&request).await;
            assert!(!answer.text().contains("sEcReT"), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn the_answer_to_head_is_that_to_get_without_its_body() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    for value in ["Basic QQ==", "Bearer", &bearer(UNKNOWN)] {
        let mut to_get = server.refuses(&Wire::get().authorization(value)).await;
        let to_head = server
            .refuses(&Wire::new("HEAD", "/").authorization(value))
            .await;
        assert_eq!(to_head.body, "");
        to_get.body.clear();
        to_get.fields.retain(|(name, _)| name != "content-length");
        assert_eq!(to_head, to_get);
    }
}

#[tokio::test]
async fn a_rejection_goes_into_the_extensions_of_its_response() {
    let fixture = Fixture::new().await;
    let service = fixture.layer().layer(Inner::default());
    let request = Request::head("/")
        .body(Empty::<bytes::Bytes>::new())
        .unwrap();
    let Ok(response) = service.oneshot(request).await;
    let rejection = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.kind(), RejectionKind::MissingCredential);
}
