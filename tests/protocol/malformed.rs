use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use proptest::prelude::*;
use tower::{Layer, ServiceExt, service_fn};
use tower_api_tokens::{ApiTokenLayer, Authenticator, MemoryStore};

use crate::{
    service::{BEARER, MALFORMED, Protected, invalid_request},
    wire::{Protocol, Raw, ask},
};

#[tokio::test]
async fn a_scheme_without_a_token_is_malformed() {
    let service = Protected::new().await;
    for value in ["Bearer", "Bearer ", "bearer   "] {
        let raw = Raw::get().authorization(value);
        service
            .refuses(&raw, 400, &invalid_request(MALFORMED))
            .await;
    }
}

#[tokio::test]
async fn anything_but_one_token_after_spaces_is_malformed() {
    let service = Protected::new().await;
    let t = service.plaintext();
    for value in [
        format!("Bearer\t{t}"),
        "Bearer a b".into(),
        format!("Bearer {t}, Bearer {t}"),
        "Bearer a, Bearer b".into(),
        "Bearer a,b".into(),
        format!("Bearer \t{t}"),
        format!("Bearer,{t}"),
        format!("Bearer={t}"),
    ] {
        let raw = Raw::get().authorization(&value);
        let answer = service
            .refuses(&raw, 400, &invalid_request(MALFORMED))
            .await;
        assert!(answer.body.contains("\"status\":400"), "{value}");
    }
    assert_eq!(service.store.finds(), 0);
}

#[tokio::test]
async fn a_byte_outside_the_alphabet_is_malformed_and_never_decoded() {
    let service = Protected::new().await;
    let t = service.plaintext().as_bytes();
    for byte in [
        &b"%61"[..],
        b"\xff",
        b"\xa0",
        "\u{a0}".as_bytes(),
        b"\"",
        b"\\",
        b"(",
        b"=x",
    ] {
        for value in [
            [b"Bearer ", t, byte].concat(),
            [b"Bearer ", byte, t].concat(),
        ] {
            let raw = Raw::get().authorization(value);
            service
                .refuses(&raw, 400, &invalid_request(MALFORMED))
                .await;
        }
    }
    let raw = Raw::get().authorization([b"Bearer\xa0", t].concat());
    service
        .refuses(&raw, 400, &invalid_request(MALFORMED))
        .await;
    let raw = Raw::get().authorization([b"\xa0Bearer ", t].concat());
    service
        .refuses(&raw, 400, &invalid_request(MALFORMED))
        .await;
    assert_eq!(service.store.finds(), 0);
}

#[tokio::test]
async fn a_value_longer_than_4_kib_is_malformed_and_costs_no_question() {
    let service = Protected::new().await;
    let challenge = invalid_request("The credential is longer than 4096 bytes.");
    let long = Raw::get().authorization(format!("Bearer {}", "x".repeat(4090)));
    service.refuses(&long, 400, &challenge).await;
    assert_eq!(service.store.calls(), 3, "only to create the app and issue");
    let fits = Raw::get().authorization(format!("Bearer {}", "x".repeat(4089)));
    assert_eq!(service.ask(&fits).await.status, 401);
}

#[tokio::test]
async fn several_authorization_fields_are_malformed_even_if_they_are_the_same() {
    let service = Protected::new().await;
    let t = service.bearer();
    let challenge = invalid_request("The request carries several credentials: send exactly one.");
    for others in [
        vec![t.as_str()],
        vec!["Basic YTpi"],
        vec!["Bearer x", "Bearer y"],
    ] {
        for first in [true, false] {
            let mut raw = Raw::get();
            if first {
                raw = raw.authorization(&t);
            }
            for other in &others {
                raw = raw.authorization(other);
            }
            if !first {
                raw = raw.field("Authorization", &t);
            }
            service.refuses(&raw, 400, &challenge).await;
        }
    }
}

#[tokio::test]
async fn a_bearer_credential_folded_into_another_field_is_malformed() {
    let service = Protected::new().await;
    let t = service.bearer();
    let challenge = invalid_request("The request carries several credentials: send exactly one.");
    let raw = Raw::get().authorization(format!("Basic YTpi, {t}"));
    service.refuses(&raw, 400, &challenge).await;
    let raw = Raw::get().authorization(format!("{t}, Basic YTpi"));
    service
        .refuses(&raw, 400, &invalid_request(MALFORMED))
        .await;
}

#[tokio::test]
async fn another_scheme_is_no_credential() {
    let service = Protected::new().await;
    for value in [
        "Basic YTpi",
        "Digest username=\"a\", realm=\"b\"",
        "Bearerish x",
        "acme_x",
        "",
    ] {
        service
            .refuses(&Raw::get().authorization(value), 401, BEARER)
            .await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_arbitrary_value_is_refused_and_white_space_around_it_changes_nothing(
        scheme in "(Bearer|bearer|BEARER|Basic|)[ \t,]{0,2}",
        rest in proptest::collection::vec(any::<u8>(), 0..60),
        before in "[ \t]{0,3}",
        after in "[ \t]{0,3}",
    ) {
        let bare = [scheme.as_bytes(), &rest].concat();
        let padded = [before.as_bytes(), &bare, after.as_bytes()].concat();
        let [bare, padded] = [bare, padded].map(|value| {
            let value = HeaderValue::from_bytes(&value).ok()?;
            Some(status_of(value))
        });
        if let (Some(bare), Some(padded)) = (bare, padded) {
            prop_assert!(bare == 400 || bare == 401, "{bare}");
            prop_assert_eq!(bare, padded);
        }
    }
}

fn status_of(authorization: HeaderValue) -> u16 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let layer = ApiTokenLayer::new(Authenticator::new(MemoryStore::new()));
    let service = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, std::convert::Infallible>(Response::new(Bytes::new()))
    }));
    let mut request = Request::new(());
    request.headers_mut().insert(AUTHORIZATION, authorization);
    let response = runtime.block_on(service.oneshot(request)).unwrap();
    response.status().as_u16()
}

#[tokio::test]
async fn the_http1_parser_itself_refuses_what_is_no_header() {
    let service = Protected::new().await;
    let raw = Raw::get().authorization(b"Bearer a\0b");
    let answer = ask(service.address, Protocol::Http1, &raw).await;
    assert_eq!((answer.status, answer.body.as_str()), (400, ""));
    assert_eq!(service.inner_calls(), 0);
}
