//! Credentials that are not tokens of ours, beside API tokens on the same routes.

use std::convert::Infallible;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{Empty, Full};
use tower::{Layer, service_fn};
use tower_api_tokens::{
    ApiTokenLayer, AppPrincipal, Authenticator, MemoryStore, RejectionKind, RequireScopeLayer,
    StoreErrorKind, testing::Fault,
};

use crate::{
    support::{Fixture, Server, UNKNOWN, answer, bearer, get},
    wire::Wire,
};

const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl";

fn basic(user: &str, password: &str) -> String {
    let credential = STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {credential}")
}

fn passing(fixture: &Fixture) -> ApiTokenLayer {
    fixture.layer().pass_unrecognized().unwrap()
}

#[tokio::test]
async fn a_credential_that_is_not_ours_is_passed_on_without_a_principal() {
    let fixture = Fixture::new().await;
    let layer = passing(&fixture).api_key_header("x-api-key").unwrap();
    let server = Server::behind(layer.basic()).await;
    let long = "a".repeat(10_000);
    for request in [
        Wire::get().authorization(bearer(JWT)),
        Wire::get().authorization(bearer("master-key-1")),
        Wire::get().authorization(bearer("s%3Asession.1")),
        Wire::get().authorization(bearer("acm_1")),
        Wire::get().authorization(bearer("acmeco_1")),
        // As long as a token.
        Wire::get().authorization(bearer(&UNKNOWN.replace("acme", "mkey"))),
        Wire::get().authorization(bearer(&long)),
        Wire::get().authorization("bearer  a"),
        Wire::get().authorization(basic("ada", "correct horse")),
        // Only the beginning of a half counts.
        Wire::get().authorization(basic("ada", "correct:acme_x")),
        Wire::get().field("x-api-key", JWT),
        Wire::get().field("x-api-key", &long),
    ] {
        assert_eq!(server.admits(&request).await.body, "nobody", "{request:?}");
    }
    let request = Wire::get().authorization(fixture.bearer());
    assert_eq!(server.admits(&request).await.body, "Billing");
}

#[tokio::test]
async fn the_credential_arrives_as_it_was_sent_and_a_forged_principal_does_not() {
    let fixture = Fixture::new().await;
    let echo = service_fn(async |request: Request<Empty<Bytes>>| {
        assert!(request.extensions().get::<AppPrincipal>().is_none());
        let value = &request.headers()[AUTHORIZATION];
        assert!(value.is_sensitive());
        let body = Full::new(Bytes::copy_from_slice(value.as_bytes()));
        Ok::<_, Infallible>(Response::new(body))
    });
    for value in [bearer(JWT), "bEARER   x".to_owned()] {
        let mut request = get(&value);
        let forged = AppPrincipal::of(fixture.issued.record());
        request.extensions_mut().insert(forged);
        let (_, body) = answer(passing(&fixture).layer(echo), request).await;
        assert_eq!(body, value);
    }
}

#[tokio::test]
async fn what_begins_like_our_tokens_and_is_not_live_is_refused_as_always() {
    let fixture = Fixture::new().await;
    let sources = |layer: ApiTokenLayer| layer.api_key_header("x-api-key").unwrap().basic();
    let passing = Server::behind(sources(passing(&fixture))).await;
    let strict = Server::behind(sources(fixture.layer())).await;
    let revoked = fixture.bearer();
    let id = fixture.issued.record().id;
    fixture.tokens.revoke(id).await.unwrap();
    let [typo, short, long] = [
        UNKNOWN.replace('0', "1"),
        UNKNOWN[..20].to_owned(),
        format!("{UNKNOWN}{}", "a".repeat(5_000)),
    ];
    for request in [
        Wire::get().authorization(&revoked),
        Wire::get().authorization(bearer(UNKNOWN)),
        Wire::get().authorization(bearer(&typo)),
        Wire::get().authorization(bearer(&short)),
        Wire::get().authorization(bearer(&long)),
        Wire::get().authorization(bearer("acme_")),
        Wire::get().field("x-api-key", UNKNOWN),
        // Either half may be the token.
        Wire::get().authorization(basic("ada", "acme_x")),
        Wire::get().authorization(basic("acme_x", "")),
        Wire::get().authorization(basic(UNKNOWN, "x")),
        Wire::get().authorization(basic(fixture.token(), "x")),
        Wire::get().authorization(basic(fixture.token(), "x:y")),
        Wire::get().authorization(basic(fixture.token(), JWT)),
    ] {
        let refusal = passing.refuses(&request).await;
        assert_eq!(refusal, strict.refuses(&request).await, "{request:?}");
    }
}

#[tokio::test]
async fn ambiguous_and_missing_credentials_are_refused_as_always() {
    let fixture = Fixture::new().await;
    let sources = |layer: ApiTokenLayer| layer.api_key_header("x-api-key").unwrap().basic();
    let passing = Server::behind(sources(passing(&fixture))).await;
    let strict = Server::behind(sources(fixture.layer())).await;
    let jwt = bearer(JWT);
    for request in [
        Wire::get(),
        Wire::get().authorization(""),
        Wire::get().authorization("Digest a"),
        Wire::get().authorization("Bearer"),
        Wire::get().authorization("Bearer  "),
        Wire::get().authorization(JWT),
        Wire::get().authorization(&jwt).authorization(&jwt),
        Wire::get()
            .authorization(&jwt)
            .authorization(fixture.bearer()),
        Wire::get().authorization(&jwt).field("x-api-key", JWT),
        Wire::get()
            .authorization(&jwt)
            .field("x-api-key", fixture.token()),
        Wire::get().authorization(format!("{jwt}, {}", fixture.bearer())),
        Wire::get().authorization(format!("{jwt},{}", fixture.token())),
        Wire::get().authorization(format!("{jwt} {}", fixture.token())),
        Wire::get().authorization("Basic !"),
        Wire::get().field("x-api-key", ""),
        Wire::get().field("x-api-key", JWT).field("x-api-key", JWT),
    ] {
        let refusal = passing.refuses(&request).await;
        assert_eq!(refusal, strict.refuses(&request).await, "{request:?}");
    }
}

#[tokio::test]
async fn a_failing_store_refuses_our_tokens_and_does_not_matter_to_others() {
    let fixture = Fixture::new().await;
    let server = Server::behind(passing(&fixture)).await;
    fixture
        .store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let ours = Wire::get().authorization(fixture.bearer());
    assert_eq!(server.refuses(&ours).await.status, 503);
    let other = Wire::get().authorization(bearer(JWT));
    assert_eq!(server.admits(&other).await.body, "nobody");
}

#[tokio::test]
async fn a_request_without_a_credential_needs_the_optional_mode() {
    let fixture = Fixture::new().await;
    let server = Server::behind(passing(&fixture).optional()).await;
    for request in [Wire::get(), Wire::get().authorization(bearer(JWT))] {
        assert_eq!(server.admits(&request).await.body, "nobody");
    }
}

#[tokio::test]
async fn required_scopes_refuse_what_was_passed_on() {
    let fixture = Fixture::new().await;
    let scopes = RequireScopeLayer::all("invoices:read".parse().unwrap());
    let server = Server::behind_all(passing(&fixture), scopes).await;
    let refusal = server
        .refuses(&Wire::get().authorization(bearer(JWT)))
        .await;
    assert_eq!(refusal.status, 401);
    server
        .admits(&Wire::get().authorization(fixture.bearer()))
        .await;
}

#[tokio::test]
async fn without_a_service_only_the_optional_function_passes_it_on() {
    let fixture = Fixture::new().await;
    let layer = passing(&fixture);
    let mut parts = get(&bearer(JWT)).into_parts().0;
    let refusal = layer.authenticate(&mut parts).await.unwrap_err();
    assert_eq!(refusal.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refusal.rejection().kind(), RejectionKind::WrongFormat);
    let head = (&parts).into();
    let refusal = layer.authenticate_head(head).await.unwrap_err();
    assert_eq!(refusal.rejection().kind(), RejectionKind::WrongFormat);
    let passed = layer.authenticate_optional(&mut parts).await.unwrap();
    assert_eq!(passed, None);
}

#[test]
fn without_a_format_every_credential_could_be_a_token() {
    let any = ApiTokenLayer::new(Authenticator::new(MemoryStore::new()));
    let error = any.pass_unrecognized().unwrap_err().to_string();
    assert!(error.contains("tokens need a format"), "{error}");
}
