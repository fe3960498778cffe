use base64::{Engine, engine::general_purpose::STANDARD};
use http::{StatusCode, header::CONTENT_TYPE};
use tower_api_tokens::{ApiTokenLayer, RejectionKind};

use crate::{
    service::{BEARER, MALFORMED, Protected, invalid_request, invalid_token},
    wire::Raw,
};

const TWO_PLACES: &str = "The request carries a token in two header fields: send it in one.";
const REPEATED: &str = "The request carries several credentials: send exactly one.";

#[tokio::test]
async fn an_optional_layer_lets_requests_without_a_credential_through() {
    let service = Protected::with(|layer| layer.optional()).await;
    service.admits_nobody(&Raw::get()).await;
    service
        .admits_nobody(&Raw::get().authorization("Basic YTpi"))
        .await;
    service
        .admits(&Raw::get().authorization(service.bearer()))
        .await;
}

#[tokio::test]
async fn an_optional_layer_refuses_a_bad_credential() {
    let service = Protected::with(|layer| layer.optional()).await;
    let unknown = Raw::get().authorization("Bearer acme_x");
    service.refuses(&unknown, 401, &invalid_token()).await;
    let malformed = Raw::get().authorization("Bearer a b");
    service
        .refuses(&malformed, 400, &invalid_request(MALFORMED))
        .await;
}

#[tokio::test]
async fn a_preflight_passes_where_that_is_allowed_and_nothing_else_does() {
    let preflight = Raw::get()
        .method("OPTIONS")
        .field("origin", "https://acme.example")
        .field("access-control-request-method", "GET");
    let strict = Protected::new().await;
    strict.refuses(&preflight, 401, BEARER).await;
    let service = Protected::with(|layer| layer.allow_preflight()).await;
    service.admits_nobody(&preflight).await;
    for other in [
        preflight.clone().method("GET"),
        Raw::get()
            .method("OPTIONS")
            .field("origin", "https://acme.example"),
        Raw::get()
            .method("OPTIONS")
            .field("access-control-request-method", "GET"),
    ] {
        service.refuses(&other, 401, BEARER).await;
    }
}

#[tokio::test]
async fn an_api_key_header_holds_the_token_itself() {
    let service = Protected::with(|layer| layer.api_key_header("X-Api-Key").unwrap()).await;
    let token = service.plaintext();
    service.admits(&Raw::get().field("x-api-key", token)).await;
    service
        .admits(&Raw::get().field("X-API-Key", format!(" {token}\t")))
        .await;
    service
        .admits(&Raw::get().authorization(service.bearer()))
        .await;
    service
        .admits(
            &Raw::get()
                .field("x-api-key", token)
                .authorization("Basic YTpi"),
        )
        .await;
    service.refuses(&Raw::get(), 401, BEARER).await;
    let unknown = Raw::get().field("x-api-key", "acme_x");
    service.refuses(&unknown, 401, &invalid_token()).await;
}

#[tokio::test]
async fn an_api_key_header_that_is_repeated_or_holds_a_scheme_is_malformed() {
    let service = Protected::with(|layer| layer.api_key_header("x-api-key").unwrap()).await;
    let token = service.plaintext();
    let twice = Raw::get()
        .field("x-api-key", token)
        .field("x-api-key", token);
    service
        .refuses(&twice, 400, &invalid_request(REPEATED))
        .await;
    for bad in [service.bearer(), String::new(), "a b".into()] {
        let raw = Raw::get().field("x-api-key", bad);
        service
            .refuses(&raw, 400, &invalid_request(MALFORMED))
            .await;
    }
    let long = Raw::get().field("x-api-key", "x".repeat(4097));
    let challenge = invalid_request("The credential is longer than 4096 bytes.");
    service.refuses(&long, 400, &challenge).await;
}

#[tokio::test]
async fn an_api_key_header_beside_a_bearer_credential_is_malformed() {
    let service = Protected::with(|layer| layer.api_key_header("x-api-key").unwrap()).await;
    let both = Raw::get()
        .authorization(service.bearer())
        .field("x-api-key", service.plaintext());
    service
        .refuses(&both, 400, &invalid_request(TWO_PLACES))
        .await;
}

#[tokio::test]
async fn an_api_key_header_that_is_not_enabled_is_not_read() {
    let service = Protected::new().await;
    let raw = Raw::get().field("x-api-key", service.plaintext());
    service.refuses(&raw, 401, BEARER).await;
    let layer = || ApiTokenLayer::new(&service.tokens);
    for bad in ["authorization", "Authorization", "a b", ""] {
        let error = layer().api_key_header(bad).unwrap_err();
        assert!(error.to_string().contains("x-api-key"), "{bad:?}");
    }
}

fn basic(user: &str, password: &str) -> Raw {
    let encoded = STANDARD.encode(format!("{user}:{password}"));
    Raw::get().authorization(format!("Basic {encoded}"))
}

#[tokio::test]
async fn basic_takes_the_token_as_password_or_as_user_name_without_one() {
    let service = Protected::with(|layer| layer.basic()).await;
    let token = service.plaintext();
    service.admits(&basic("", token)).await;
    service.admits(&basic("anybody", token)).await;
    service.admits(&basic("Zoë", token)).await;
    service.admits(&basic(token, "")).await;
    service
        .admits(&Raw::get().authorization(service.bearer()))
        .await;
}

#[tokio::test]
async fn basic_is_offered_beside_bearer_in_a_field_of_its_own() {
    let service = Protected::with(|layer| layer.basic()).await;
    let offers = ["Basic realm=\"api\", charset=\"UTF-8\"", BEARER];
    let answer = service.ask(&Raw::get()).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.values("www-authenticate"), offers);
    for wrong in [
        basic("a", "wrong"),
        basic("a", "not a token"),
        basic("", ""),
    ] {
        let answer = service.ask(&wrong).await;
        assert_eq!(answer.status, 401);
        assert_eq!(
            answer.values("www-authenticate"),
            [offers[0], &invalid_token()]
        );
    }
    assert_eq!(service.inner_calls(), 0);
}

#[tokio::test]
async fn basic_that_does_not_decode_is_malformed() {
    let service = Protected::with(|layer| layer.basic()).await;
    let detail = "The Basic credential is malformed: send base64 of UTF-8 text with a colon in it.";
    let no_colon = STANDARD.encode("acme");
    let not_utf8 = STANDARD.encode([b'a', b':', 0xff]);
    for bad in [
        "",
        "!!!",
        "YTpi=",
        "YTpiYw",
        &no_colon,
        &not_utf8,
        "YTpi, YTpi",
    ] {
        let raw = Raw::get().authorization(format!("Basic {bad}"));
        service.refuses(&raw, 400, &invalid_request(detail)).await;
    }
}

#[tokio::test]
async fn basic_that_is_not_enabled_is_another_scheme() {
    let service = Protected::new().await;
    service
        .refuses(&basic("", service.plaintext()), 401, BEARER)
        .await;
}

#[tokio::test]
async fn a_renderer_gives_the_answer_but_cannot_admit() {
    let service = Protected::with(|layer| {
        layer.render_with(|rejection, mut response| {
            assert_eq!(rejection.kind(), RejectionKind::MissingCredential);
            assert_eq!(response.headers()["www-authenticate"], BEARER);
            *response.status_mut() = StatusCode::OK;
            response
                .headers_mut()
                .insert(CONTENT_TYPE, "text/plain".parse().unwrap());
            response.map(|_| "as you like".into())
        })
    })
    .await;
    let answer = service.ask(&Raw::get()).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "as you like"));
    assert_eq!(answer.values("content-type"), ["text/plain"]);
    assert_eq!(service.inner_calls(), 0);
    let head = service.ask(&Raw::get().method("HEAD")).await;
    assert_eq!(head.body, "");
}
