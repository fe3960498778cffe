//! Several credentials in one request.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Request;
use tower::Layer;
use tower_api_tokens::{ApiTokenLayer, MemoryStore, RejectionKind};

use crate::support::{Act, Strict, Tap, outcome, uncached, unknown};

/// The same fields in both orders.
fn both_orders<T: Clone>(pairs: &[(T, T)]) -> Vec<[T; 2]> {
    let swapped = |(a, b): &(T, T)| [[a.clone(), b.clone()], [b.clone(), a.clone()]];
    pairs.iter().flat_map(swapped).collect()
}

fn request(fields: &[(&str, String)]) -> Request<String> {
    let mut request = Request::new(String::new());
    for (name, value) in fields {
        let name = http::HeaderName::try_from(*name).unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn several_credentials_are_refused_in_every_order_and_never_looked_up() {
    let store = Tap::new(MemoryStore::new(), |_, _| Act::Pass);
    let fixture = uncached(store.clone()).build().await;
    let good = fixture.token();
    let (bearer, other) = (format!("Bearer {good}"), format!("Bearer {}", unknown()));
    let basic = format!("Basic {}", STANDARD.encode(format!(":{good}")));
    let digest = "Digest username=\"u\"".to_owned();

    let values = [
        (bearer.clone(), bearer.clone()),
        (bearer.clone(), other),
        (bearer.clone(), basic.clone()),
        (bearer.clone(), digest.clone()),
        (bearer.clone(), "Bearer".into()),
        (bearer.clone(), String::new()),
        (basic.clone(), basic.clone()),
        (basic.clone(), digest),
    ];
    let mut requests = Vec::new();
    for [first, second] in both_orders(&values) {
        for glue in [",", ", ", " , ", ",\t", ",,", ";", " "] {
            let joined = format!("{first}{glue}{second}");
            if joined.trim() != bearer && joined.contains("Bearer") {
                requests.push(request(&[("authorization", joined)]));
            }
        }
        requests.push(request(&[
            ("authorization", first),
            ("authorization", second),
        ]));
    }
    // A scheme that is not supported may be followed by anything except a supported credential.
    requests.retain(joins);
    let plain = ApiTokenLayer::new(&fixture.tokens);
    let keys = plain.clone().api_key_header("x-api-key").unwrap();
    for layer in [
        plain.clone(),
        plain.clone().basic(),
        plain.clone().optional(),
        keys.clone().basic().optional(),
    ] {
        let inner = Strict::default();
        let seen = inner.seen();
        let service = layer.layer(inner);
        for request in &requests {
            let malformed = (400, Some(RejectionKind::MalformedCredential));
            let outcome = outcome(&service, request.clone()).await;
            assert_eq!(outcome, malformed, "{request:?}");
        }
        assert_eq!(seen.calls(), 0);
    }

    let fields = [("x-api-key", good.to_owned()), ("authorization", bearer)];
    let service = keys.layer(Strict::default());
    for fields in [
        vec![fields[0].clone(), fields[1].clone()],
        vec![fields[1].clone(), fields[0].clone()],
        vec![fields[0].clone(), fields[0].clone()],
        vec![("x-api-key", format!("{good},{good}"))],
        vec![("x-api-key", format!("{good}, {good}"))],
        vec![("x-api-key", format!("Bearer {good}"))],
    ] {
        let malformed = (400, Some(RejectionKind::MalformedCredential));
        assert_eq!(outcome(&service, request(&fields)).await, malformed);
    }
    assert_eq!(store.count("find"), 0);
}

/// Whether the fields have two distinguishable credentials: two fields, or a comma.
fn joins(request: &Request<String>) -> bool {
    let fields = request.headers().get_all("authorization");
    let first = fields.iter().next().unwrap().to_str().unwrap();
    fields.iter().count() > 1 || first.contains(',') || first.starts_with("Bearer ")
}

#[tokio::test]
async fn a_basic_credential_joined_to_another_scheme_is_refused_if_basic_is_enabled() {
    let store = Tap::new(MemoryStore::new(), |_, _| Act::Pass);
    let fixture = uncached(store.clone()).build().await;
    let basic = STANDARD.encode(format!(":{}", fixture.token()));
    let layer = ApiTokenLayer::new(&fixture.tokens).basic();
    for layer in [layer.clone(), layer.optional()] {
        let inner = Strict::default();
        let seen = inner.seen();
        let service = layer.layer(inner);
        for joined in [
            format!("Digest a=\"b\", Basic {basic}"),
            format!("Negotiate QQ==,basic {basic}"),
            format!("Basic {basic}, Digest a=\"b\""),
            format!("Basic {basic}, Basic {basic}"),
        ] {
            let outcome = outcome(&service, request(&[("authorization", joined)])).await;
            assert_eq!(outcome, (400, Some(RejectionKind::MalformedCredential)));
        }
        assert_eq!(seen.calls(), 0);
    }
    assert_eq!(store.count("find"), 0);
}
