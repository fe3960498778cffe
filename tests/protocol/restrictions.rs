//! Tokens that are restricted to networks, that are not valid yet, or that are suspended.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{Router, extract::ConnectInfo, routing::any};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimitLayer};
use tower_api_tokens::{
    ApiTokenLayer, AppPrincipal, NewToken, Refusal, Rejection, RejectionKind, RequestHead,
    TokenQuery, TrustedProxies,
};

use crate::{
    support::{
        Fixture, Inner, Server, UNKNOWN, answer, bearer, get, kind, restricted, restricted_with,
    },
    wire::{PATIENCE, Wire, both},
};

/// The response to a client outside of the token's networks.
const OUTSIDE: &str = r#"403
content-type: application/problem+json
cache-control: no-store
www-authenticate: Bearer realm="api"
content-length: 111

{"type":"about:blank","title":"Forbidden","status":403,"detail":"The token may not be used from this address."}"#;

const INSIDE: &str = "10.1.2.3";
const ELSEWHERE: &str = "192.0.2.1";

/// Reads the client's address from a field that the proxy in front of the test's server sets.
fn behind_proxy(layer: ApiTokenLayer) -> ApiTokenLayer {
    let proxies = TrustedProxies::new("x-forwarded-for", "127.0.0.0/8".parse().unwrap()).unwrap();
    layer.client_address(move |head| {
        proxies.client_address(Ipv4Addr::LOCALHOST.into(), head.headers())
    })
}

fn from(client: &str, authorization: &str) -> Wire {
    let request = Wire::get().authorization(authorization);
    request.field("x-forwarded-for", client)
}

/// How many uses of all tokens were recorded.
async fn recorded_uses(fixture: &Fixture) -> u64 {
    let follower = fixture.tokens.follow().start().await.unwrap();
    follower.stop().await.unwrap();
    let page = fixture.tokens.list(&TokenQuery::default()).await;
    let tokens = page.unwrap().items;
    tokens.iter().map(|token| token.uses).sum()
}

#[tokio::test]
async fn a_token_is_only_admitted_from_its_networks() {
    let fixture = Fixture::new().await;
    let token = restricted(&fixture, "networks=10.0.0.0/8,2001:db8::/32").await;
    let server = Server::behind(behind_proxy(fixture.layer())).await;
    for client in [
        ELSEWHERE,
        "unknown",
        "",
        "10.1.2.3, 192.0.2.1",
        "2001:db9::1",
    ] {
        assert_eq!(server.refuses(&from(client, &token)).await.text(), OUTSIDE);
    }
    let unknown = Wire::get().authorization(&token);
    assert_eq!(server.refuses(&unknown).await.text(), OUTSIDE);
    assert_eq!(recorded_uses(&fixture).await, 0);
    let refused = |kind| fixture.tokens.authenticator().stats().refused(kind);
    assert_eq!(refused(RejectionKind::OutsideNetworks), 12);
    for client in [
        INSIDE,
        "::ffff:10.1.2.3",
        "2001:db8::1",
        "192.0.2.1, 10.1.2.3",
    ] {
        assert_eq!(server.admits(&from(client, &token)).await.body, "Billing");
    }
    assert_eq!(recorded_uses(&fixture).await, 8);
    // Once, and again after each follower had started over.
    assert!(fixture.store.finds() <= 3);
}

#[tokio::test]
async fn without_a_known_address_a_restricted_token_is_refused() {
    let fixture = Fixture::new().await;
    let token = restricted(&fixture, "networks=0.0.0.0/0,::/0").await;
    for layer in [fixture.layer(), fixture.layer().client_address(|_| None)] {
        let server = Server::behind(layer).await;
        assert_eq!(server.refuses(&from(INSIDE, &token)).await.text(), OUTSIDE);
        let live = from(INSIDE, &fixture.bearer());
        server.admits(&live).await;
    }
    let authenticator = fixture.tokens.authenticator();
    let text = token.strip_prefix("Bearer ").unwrap().as_bytes();
    let refused = authenticator.authenticate(text).await.unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::OutsideNetworks);
    assert_eq!(refused.client_address(), None);
    let address: IpAddr = INSIDE.parse().unwrap();
    authenticator
        .authenticate_from(text, address)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_rejection_names_the_token_and_the_address() {
    let fixture = Fixture::new().await;
    let token = restricted(&fixture, "networks=10.0.0.0/8").await;
    let address: IpAddr = ELSEWHERE.parse().unwrap();
    let service = fixture.layer().client_address(move |_| Some(address));
    let service = service.layer(Inner::default());
    // Looked up, and from the cache.
    for _ in 0..2 {
        let (parts, _) = answer(service.clone(), get(&token)).await;
        let rejection: &Rejection = parts.extensions.get().unwrap();
        assert_eq!(rejection.kind(), RejectionKind::OutsideNetworks);
        assert_eq!(rejection.client_address(), Some(address));
        assert_eq!(rejection.app_id(), Some(&fixture.app().id));
        assert!(rejection.token_id().is_some());
        let said = rejection.to_string();
        assert_eq!(said, "the token is used from outside its networks");
    }
    assert_eq!(fixture.store.finds(), 1);
}

#[tokio::test]
async fn the_address_is_only_needed_for_tokens_with_networks() {
    let fixture = Fixture::new().await;
    let restricted = restricted(&fixture, "networks=10.0.0.0/8").await;
    let valid = crate::support::restricted(&fixture, "not_before=2020-01-01T00:00:00Z").await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let layer = fixture.layer().client_address(move |_| {
        counter.fetch_add(1, SeqCst);
        Some(INSIDE.parse().unwrap())
    });
    let service = layer.layer(Inner::default());
    for _ in 0..3 {
        for token in [&fixture.bearer(), &valid, &bearer(UNKNOWN), "Bearer a b"] {
            answer(service.clone(), get(token)).await;
        }
    }
    assert_eq!(calls.load(SeqCst), 0);
    for _ in 0..3 {
        let (parts, _) = answer(service.clone(), get(&restricted)).await;
        assert_eq!(parts.status, StatusCode::OK);
    }
    assert!(calls.load(SeqCst) >= 3);
}

#[tokio::test]
async fn a_token_that_is_not_live_looks_unknown_from_everywhere() {
    let fixture = Fixture::new().await;
    let networks = "networks=10.0.0.0/8";
    let minute = Duration::from_secs(60);
    let soon = NewToken::named("soon").expires_in(minute);
    let expired = restricted_with(&fixture, networks, soon).await;
    let early = format!("{networks} not_before=2100-01-01T00:00:00Z");
    let early = restricted(&fixture, &early).await;
    let suspended = format!("{networks} suspended_at=2026-01-01T00:00:00Z");
    let suspended = restricted(&fixture, &suspended).await;
    fixture.clock.advance(minute);
    let layer = behind_proxy(fixture.layer());
    let server = Server::behind(layer.clone()).await;
    let unknown = from(ELSEWHERE, &bearer(UNKNOWN));
    let unknown = server.refuses(&unknown).await;
    assert_eq!(unknown.status, 401);
    for (token, expected) in [
        (expired, RejectionKind::ExpiredToken),
        (early, RejectionKind::NotYetValidToken),
        (suspended, RejectionKind::SuspendedToken),
    ] {
        for client in [INSIDE, ELSEWHERE, "unknown"] {
            let refusal = server.refuses(&from(client, &token)).await;
            assert_eq!(refusal, unknown, "{expected}");
            let service = layer.clone().layer(Inner::default());
            let mut request = get(&token);
            let client = client.parse().unwrap();
            request.headers_mut().insert("x-forwarded-for", client);
            let (parts, _) = answer(service, request).await;
            assert_eq!(kind(&parts), Some(expected));
        }
    }
    assert_eq!(recorded_uses(&fixture).await, 0);
}

#[tokio::test]
async fn a_cached_token_becomes_valid_at_its_first_instant() {
    let fixture = Fixture::new().await;
    // The fixture's clock shows this time less two seconds.
    let token = restricted(&fixture, "not_before=2027-01-15T08:00:02Z").await;
    let server = Server::behind(fixture.layer()).await;
    let request = Wire::get().authorization(&token);
    let refusal = server.refuses(&request).await;
    let unknown = Wire::get().authorization(bearer(UNKNOWN));
    assert_eq!(refusal, server.refuses(&unknown).await);
    let finds = fixture.store.finds();
    fixture.clock.advance(Duration::from_nanos(1_999_999_999));
    assert_eq!(server.refuses(&request).await, refusal);
    fixture.clock.advance(Duration::from_nanos(1));
    server.admits(&request).await;
    assert_eq!(fixture.store.finds(), finds, "it was cached all along");
}

#[tokio::test]
async fn no_method_and_no_mode_admits_from_outside() {
    let fixture = Fixture::new().await;
    let token = restricted(&fixture, "networks=10.0.0.0/8").await;
    let layer = behind_proxy(fixture.layer()).optional().basic();
    let server = Server::behind(layer.api_key_header("x-api-key").unwrap()).await;
    for method in ["GET", "HEAD", "OPTIONS", "POST", "BREW"] {
        let request = Wire::new(method, "/").field("x-forwarded-for", ELSEWHERE);
        let refusal = server.refuses(&request.clone().authorization(&token)).await;
        assert_eq!(refusal.status, 403, "{method}");
        assert_eq!(refusal.body.is_empty(), method == "HEAD", "{method}");
        let text = token.strip_prefix("Bearer ").unwrap();
        let key = request.field("x-api-key", text);
        assert_eq!(server.refuses(&key).await, refusal, "{method}");
    }
    let anonymous = Wire::get().field("x-forwarded-for", ELSEWHERE);
    assert_eq!(server.admits(&anonymous).await.body, "nobody");
}

/// The address of the connection, as a server puts it into the extensions of a request.
#[derive(Clone, Copy)]
struct Peer(IpAddr);

#[tokio::test]
async fn every_way_to_authenticate_knows_the_address_of_the_connection() {
    let fixture = Fixture::new().await;
    let token = restricted(&fixture, "networks=10.0.0.0/8").await;
    let layer = fixture.layer().grpc();
    let layer = layer.client_address(|head| Some(head.extension::<Peer>()?.0));
    let request = |client: Option<&str>| {
        let mut request = get(&token);
        if let Some(client) = client {
            let peer = Peer(client.parse().unwrap());
            request.extensions_mut().insert(peer);
        }
        request
    };
    // Looked up, and from the cache.
    for _ in 0..2 {
        for (client, admitted) in [
            (Some(INSIDE), true),
            (Some(ELSEWHERE), false),
            (None, false),
        ] {
            let expected = if admitted { 200 } else { 403 };
            let service = layer.layer(Inner::default());
            let (parts, body) = answer(service, request(client)).await;
            assert_eq!(parts.status, expected);
            let status = |verdict: Result<AppPrincipal, Refusal>| match verdict {
                Ok(_) => 200,
                Err(refusal) => {
                    assert_eq!(refusal.body(), body.as_bytes());
                    refusal.status().as_u16()
                }
            };
            let (mut parts, ()) = request(client).map(|_| ()).into_parts();
            let head = RequestHead::from(&parts);
            assert_eq!(status(layer.authenticate_head(head).await), expected);
            let bare = RequestHead::new(head.method(), head.uri(), head.headers());
            let refused = layer.authenticate_head(bare).await.unwrap_err();
            let kind = refused.rejection().kind();
            assert_eq!(kind, RejectionKind::OutsideNetworks);
            let head = bare.with_extensions(&parts.extensions);
            assert_eq!(status(layer.authenticate_head(head).await), expected);
            assert_eq!(status(layer.authenticate(&mut parts).await), expected);
            let principal = parts.extensions.get::<AppPrincipal>();
            assert_eq!(principal.is_some(), admitted);
        }
        fixture.tokens.clear_caches().await.unwrap();
    }
}

#[tokio::test]
async fn axum_knows_the_address_of_the_connection() {
    let fixture = Fixture::new().await;
    let inside = restricted(&fixture, "networks=127.0.0.0/8").await;
    let outside = restricted(&fixture, "networks=10.0.0.0/8").await;
    let layer = fixture.layer().client_address(|head| {
        let ConnectInfo(peer) = head.extension::<ConnectInfo<SocketAddr>>()?;
        Some(peer.ip())
    });
    let router = Router::new()
        .route("/", any(async || ""))
        .route_layer(layer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async { axum::serve(listener, service).await.unwrap() });
    for (token, expected) in [(inside, 200), (outside, 403)] {
        let request = Wire::get().authorization(&token);
        assert_eq!(both(address, &request).await.status, expected);
    }
}

#[tokio::test]
async fn two_layers_count_one_use_and_each_checks_the_address() {
    let fixture = Fixture::new().await;
    let token = restricted(&fixture, "networks=10.0.0.0/8").await;
    let layer = behind_proxy(fixture.layer());
    let server = Server::behind_all(layer.clone(), layer.clone()).await;
    for _ in 0..3 {
        server.admits(&from(INSIDE, &token)).await;
    }
    assert_eq!(recorded_uses(&fixture).await, 6);
    // The inner layer does not know the address, and decides.
    let server = Server::behind_all(layer, fixture.layer()).await;
    let refusal = server.refuses(&from(INSIDE, &token)).await;
    assert_eq!(refusal.text(), OUTSIDE);
}

async fn ready<S>(service: &mut S) -> &mut S
where
    S: Service<Request<Empty<Bytes>>, Error = Infallible>,
{
    let Ok(service) = service.ready().await;
    service
}

#[tokio::test]
async fn a_client_outside_does_not_wait_for_the_inner_service() {
    let fixture = Fixture::new().await;
    let token = restricted(&fixture, "networks=10.0.0.0/8").await;
    let limited = ConcurrencyLimitLayer::new(1).layer(Inner::default());
    let service = behind_proxy(fixture.layer()).layer(limited);
    let mut outside = service.clone();
    let outside = ready(&mut outside).await;
    let refused = outside.call(get(&token));
    // During the lookup, another request takes the only permit.
    let mut other = service.clone();
    let other = ready(&mut other).await;
    let refused: Result<_, Infallible> = tokio::time::timeout(PATIENCE, refused)
        .await
        .expect("it does not wait for the permit");
    assert_eq!(refused.unwrap().status(), StatusCode::FORBIDDEN);
    let admitted = other.call(get(&fixture.bearer())).await.unwrap();
    assert_eq!(admitted.status(), StatusCode::OK);
}
