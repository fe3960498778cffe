//! What a client can learn from a refusal.

use std::time::Duration;

use http::{Method, Request};
use tower::Layer;
use tower_api_tokens::testing::ManualClock;
use tower_api_tokens::{ApiTokenLayer, MemoryStore, NewToken, RejectionKind, TokenRegistryExt};

use crate::support::{START, Strict, answer, basic, bearer, outcome, tokens_in, unknown};

fn keyed(token: &str) -> Request<String> {
    let request = Request::builder().header("x-api-key", token);
    request.body(String::new()).unwrap()
}

#[tokio::test]
async fn an_expired_or_revoked_token_looks_like_an_unknown_one() {
    let clock = ManualClock::new(START);
    let store = MemoryStore::new();
    let tokens = tokens_in(store.clone()).clock(clock.clone()).build();
    let app = tokens.create_app("a").await.unwrap();
    let disabled = tokens.create_app("b").await.unwrap();
    let named = || NewToken::named("t");
    let hour = Duration::from_secs(3600);
    let revoked = tokens.issue(&app.id, named()).await.unwrap();
    let expired = tokens.issue(&app.id, named().expires_in(hour)).await;
    let expired = expired.unwrap();
    let rotated = tokens.issue(&app.id, named()).await.unwrap();
    let orphan = tokens.issue(&disabled.id, named()).await.unwrap();
    // The text of a token with restrictions comes from elsewhere.
    let elsewhere = tokens_in(MemoryStore::new()).build();
    let theirs = elsewhere.create_app("a").await.unwrap();
    let restricted = async |restrictions: &str| {
        let issued = elsewhere.issue(&theirs.id, named()).await.unwrap();
        let (token, mut record) = issued.into_parts();
        record.app = app.clone();
        record.restrictions = Some(restrictions.parse().unwrap());
        store.insert(&record).await.unwrap();
        token
    };
    let limited = restricted("{}").await;
    let suspended = restricted("suspended_at=2026-01-01T00:00:00Z").await;
    let early = restricted("not_before=2100-01-01T00:00:00Z").await;
    tokens.revoke(revoked.record().id).await.unwrap();
    let successor = tokens.rotate(rotated.record().id, hour).await.unwrap();
    tokens.disable_app(&disabled.id).await.unwrap();
    clock.set(START.checked_add(hour).unwrap());

    let unknown = unknown();
    let typo = unknown.replace("acme_", "acme_x");
    let dead = [
        (&*unknown, RejectionKind::UnknownToken),
        (&*typo, RejectionKind::WrongFormat),
        ("x", RejectionKind::WrongFormat),
        (revoked.token().expose(), RejectionKind::RevokedToken),
        (expired.token().expose(), RejectionKind::ExpiredToken),
        (rotated.token().expose(), RejectionKind::ExpiredToken),
        (orphan.token().expose(), RejectionKind::DisabledApp),
        (limited.expose(), RejectionKind::RestrictedToken),
        (suspended.expose(), RejectionKind::SuspendedToken),
        (early.expose(), RejectionKind::NotYetValidToken),
    ];
    let layer = ApiTokenLayer::new(&tokens)
        .basic()
        .api_key_header("x-api-key")
        .unwrap();
    for layer in [layer.clone(), layer.clone().optional()] {
        let service = layer.layer(Strict::default());
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            for present in [bearer, basic, keyed] {
                let mut answers = Vec::new();
                for (token, kind) in dead {
                    let mut request = present(token);
                    *request.method_mut() = method.clone();
                    let inside = outcome(&service, request.clone()).await;
                    assert_eq!(inside, (401, Some(kind)));
                    let (parts, body) = answer(&service, request).await;
                    // In order, including repetitions and the sensitivity of each value.
                    let headers = format!("{:?}", parts.headers);
                    answers.push((parts.version, parts.status, headers, body));
                }
                assert!(answers.windows(2).all(|two| two[0] == two[1]));
            }
        }
        let live = answer(&service, bearer(successor.token().expose())).await;
        assert_eq!(live.0.status, 200);
    }
}
