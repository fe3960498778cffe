//! Principals that someone outside has put into the request.

use http::{Request, Response};
use tower::{Layer, service_fn};
use tower_api_tokens::{
    ApiTokenLayer, AppId, AppPrincipal, AppRecord, MaskedToken, MemoryStore, TokenDigest, TokenId,
    TokenRecord,
};

use crate::support::{
    InMemory, START, Strict, anonymous, answer, authorized, bearer, outcome, preflight, uncached,
    unknown,
};

/// A principal of a missing app, with every scope that the tests use.
fn forged() -> AppPrincipal {
    let mut record = TokenRecord::new(
        TokenId::from_bytes([6; 16]),
        TokenDigest::of(b"forged"),
        MaskedToken::new("f", "f").unwrap(),
        AppRecord::new(AppId::new("victim").unwrap(), "victim", START),
        "forged",
        START,
    );
    record.scopes = "read write admin".parse().unwrap();
    AppPrincipal::of(&record)
}

fn with_forged(mut request: Request<String>) -> Request<String> {
    request.extensions_mut().insert(forged());
    let headers = request.headers_mut();
    for name in ["x-app-id", "x-api-app", "x-forwarded-user", "app-id"] {
        headers.insert(name, "victim".parse().unwrap());
    }
    request
}

async fn fixture() -> InMemory {
    uncached(MemoryStore::new()).build().await
}

#[tokio::test]
async fn a_forged_principal_is_replaced_by_the_proven_one() {
    let fixture = fixture().await;
    let layer = ApiTokenLayer::new(&fixture.tokens);
    for layer in [
        layer.clone(),
        layer.clone().optional(),
        layer.allow_preflight(),
    ] {
        let service = layer.layer(Strict::default());
        let (parts, body) = answer(&service, with_forged(bearer(fixture.token()))).await;
        assert_eq!(parts.status, 200);
        assert_eq!(body, fixture.app().id.as_str());
    }
}

#[tokio::test]
async fn a_forged_principal_does_not_admit_a_request() {
    let fixture = fixture().await;
    let inner = Strict::default();
    let seen = inner.seen();
    let layer = ApiTokenLayer::new(&fixture.tokens);
    let strict = layer.clone().layer(inner.clone());
    assert_eq!(outcome(&strict, with_forged(anonymous())).await.0, 401);
    assert_eq!(outcome(&strict, with_forged(preflight())).await.0, 401);
    for layer in [layer.clone(), layer.optional()] {
        let service = layer.layer(inner.clone());
        let unknown = with_forged(bearer(&unknown()));
        assert_eq!(outcome(&service, unknown).await.0, 401);
        let malformed = with_forged(bearer("a b"));
        assert_eq!(outcome(&service, malformed).await.0, 400);
    }
    assert_eq!(seen.calls(), 0);
}

#[tokio::test]
async fn a_forged_principal_is_removed_from_an_anonymous_request() {
    let fixture = fixture().await;
    let layer = ApiTokenLayer::new(&fixture.tokens)
        .optional()
        .allow_preflight();
    let service = layer.layer(Strict::default());
    for request in [
        anonymous(),
        preflight(),
        authorized("Digest a=b"),
        authorized(""),
    ] {
        let (parts, body) = answer(&service, with_forged(request)).await;
        assert_eq!((parts.status.as_u16(), &*body), (200, &b"nobody"[..]));
    }
    // Nor does it pass a check of its scopes.
    let guarded = layer.layer(
        layer
            .require_all("admin".parse().unwrap())
            .layer(Strict::default()),
    );
    assert_eq!(outcome(&guarded, with_forged(anonymous())).await.0, 401);
    assert_eq!(outcome(&guarded, with_forged(preflight())).await.0, 401);
    let request = with_forged(bearer(fixture.token()));
    assert_eq!(outcome(&guarded, request).await.0, 403);
}

#[tokio::test]
async fn the_inner_of_two_stacked_layers_decides() {
    let (outer, inner) = (fixture().await, fixture().await);
    let keys = ApiTokenLayer::new(&inner.tokens)
        .api_key_header("x-api-key")
        .unwrap();
    // The outer layer accepts a key in its own field, and the inner layer reads another.
    let outside = ApiTokenLayer::new(&outer.tokens)
        .api_key_header("x-outer-key")
        .unwrap();
    let outer_key = || {
        let mut request = anonymous();
        let key = outer.token().parse().unwrap();
        request.headers_mut().insert("x-outer-key", key);
        request
    };
    let stacked = outside.layer(keys.clone().layer(Strict::default()));
    assert_eq!(outcome(&stacked, outer_key()).await.0, 401);

    let stacked = outside.layer(keys.clone().optional().layer(Strict::default()));
    assert_eq!(answer(&stacked, outer_key()).await.1, "nobody");

    let mut both = outer_key();
    let key = inner.token().parse().unwrap();
    both.headers_mut().insert("x-api-key", key);
    let stacked = outside.layer(keys.layer(Strict::default()));
    assert_eq!(answer(&stacked, both).await.1, inner.app().id.as_str());
}

#[tokio::test]
async fn a_response_has_the_principal_only_where_configured() {
    let fixture = fixture().await;
    let layer = ApiTokenLayer::new(&fixture.tokens).optional();
    let shown = async |layer: &ApiTokenLayer, request| {
        let service = layer.layer(service_fn(async |_: Request<String>| {
            Ok::<_, std::convert::Infallible>(Response::new(String::new()))
        }));
        let (parts, _) = answer(&service, request).await;
        let principal = parts.extensions.get::<AppPrincipal>();
        principal.map(|principal| *principal.app_id())
    };
    assert_eq!(shown(&layer, bearer(fixture.token())).await, None);
    let layer = layer.attribute_responses();
    assert_eq!(
        shown(&layer, bearer(fixture.token())).await,
        Some(fixture.app().id)
    );
    assert_eq!(shown(&layer, with_forged(anonymous())).await, None);
    let refused = with_forged(bearer(&unknown()));
    assert_eq!(shown(&layer, refused).await, None);
}
