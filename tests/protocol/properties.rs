//! What holds for arbitrary bytes.

use http::{HeaderValue, Request, StatusCode};
use http_body_util::Empty;
use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};
use tower::Layer;

use crate::{
    support::{Fixture, Inner, Server, UNKNOWN, answer, bearer, kind},
    wire::{Outcome, Wire, over_http1, over_http2},
};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Arbitrary bytes, and bytes that are close to a credential.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let scheme = "(Bearer|bearer|BEARER|Basic|Digest|)[ \t,]{0,3}";
    let rest = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60),
        "[A-Za-z0-9._~+/=, \t:%\"-]{0,60}".prop_map(String::into_bytes),
    ];
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60),
        (scheme, rest).prop_map(|(scheme, rest)| [scheme.into_bytes(), rest].concat()),
    ]
}

fn layers(fixture: &Fixture) -> [tower_api_tokens::ApiTokenLayer; 2] {
    let every_place = fixture.layer().basic().api_key_header("x-api-key").unwrap();
    [fixture.layer(), every_place]
}

proptest! {
    #[test]
    fn an_arbitrary_credential_is_refused(value in value(), key in any::<bool>()) {
        let Ok(value) = HeaderValue::from_bytes(&value) else {
            return Ok(());
        };
        let name = if key { "x-api-key" } else { "authorization" };
        runtime().block_on(async {
            let fixture = Fixture::new().await;
            for layer in layers(&fixture) {
                let inner = Inner::default();
                let request = Request::get("/").header(name, &value).body(Empty::new()).unwrap();
                let (parts, _) = answer(layer.layer(inner.clone()), request).await;
                let refused = [StatusCode::UNAUTHORIZED, StatusCode::BAD_REQUEST];
                assert!(refused.contains(&parts.status), "{parts:?}");
                assert!(kind(&parts).is_some());
                assert_eq!((inner.calls(), fixture.store.finds()), (0, 0));
            }
        });
    }

    #[test]
    fn outer_white_space_does_not_change_a_verdict(
        before in "[ \t]{0,4}", after in "[ \t]{0,4}", which in 0..4, value in value(),
    ) {
        runtime().block_on(async {
            let fixture = Fixture::new().await;
            let value = match which {
                0 => fixture.bearer().into_bytes(),
                1 => bearer(UNKNOWN).into_bytes(),
                2 => fixture.token().as_bytes().to_vec(),
                _ => value,
            };
            let padded = [before.as_bytes(), &value, after.as_bytes()].concat();
            let (Ok(value), Ok(padded)) =
                (HeaderValue::from_bytes(&value), HeaderValue::from_bytes(&padded))
            else {
                return;
            };
            for layer in layers(&fixture) {
                let service = layer.layer(Inner::default());
                for name in ["authorization", "x-api-key"] {
                    let mut answers = Vec::new();
                    for value in [&value, &padded] {
                        let request = Request::get("/").header(name, value);
                        let request = request.body(Empty::new()).unwrap();
                        let (parts, body) = answer(service.clone(), request).await;
                        let kind = kind(&parts);
                        answers.push((parts.status, parts.headers, body, kind));
                    }
                    assert_eq!(answers[0], answers[1]);
                }
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// A server may refuse bytes that are not allowed in a field. The layer responds to all others
    /// in the same way over both HTTP versions.
    #[test]
    fn both_versions_give_arbitrary_bytes_the_same_verdict(
        value in value().prop_filter("a line", |value| !value.iter().any(|b| b"\r\n".contains(b))),
    ) {
        runtime().block_on(async {
            let fixture = Fixture::new().await;
            for layer in layers(&fixture) {
                let server = Server::behind(layer).await;
                let request = Wire::get().authorization(&value);
                let first = over_http1(server.address(), &request).await;
                let second = over_http2(server.address(), &request).await;
                for outcome in [&first, &second] {
                    if let Outcome::Answered(answer) = outcome {
                        assert!(matches!(answer.status, 400 | 401), "{answer:?}");
                        answer.check_refusal(&request);
                    }
                }
                if first != Outcome::Malformed && second != Outcome::Malformed {
                    assert_eq!(first, second);
                }
                assert_eq!((server.calls(), fixture.store.finds()), (0, 0));
            }
        });
    }

    #[test]
    fn no_token_but_the_one_issued_is_admitted(at in 0..43_usize, byte in any::<u8>()) {
        runtime().block_on(async {
            let fixture = Fixture::new().await;
            let mut value = fixture.bearer().into_bytes();
            let at = at + "Bearer ".len();
            prop_assume!(value[at] != byte);
            value[at] = byte;
            let Ok(value) = HeaderValue::from_bytes(&value) else {
                return Ok(());
            };
            let inner = Inner::default();
            let service = fixture.layer().layer(inner.clone());
            // Caching the right token does not help the wrong one.
            let (parts, _) = answer(service.clone(), crate::support::get(&fixture.bearer())).await;
            assert_eq!(parts.status, StatusCode::OK);
            let request = Request::get("/").header("authorization", value);
            let (parts, _) = answer(service, request.body(Empty::new()).unwrap()).await;
            assert!(parts.status.is_client_error(), "{parts:?}");
            assert_eq!(inner.calls(), 1);
            Ok(())
        })?;
    }
}
