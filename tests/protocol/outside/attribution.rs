//! The principal and the other extensions after authentication.

use http::{HeaderMap, HeaderValue, Request, StatusCode, request::Parts};
use http_body_util::Empty;
use tower::{Layer, service_fn};
use tower_api_tokens::{
    ApiTokenLayer, AppPrincipal, NewToken, RejectionKind, RequestHead, StoreErrorKind,
    testing::Fault,
};

use super::{parts, parts_of};
use crate::support::{Fixture, Inner, UNKNOWN, answer, bearer, get};

/// A CORS preflight with this credential.
fn preflight(authorization: Option<&str>) -> Parts {
    let mut parts = parts_of(
        "OPTIONS",
        &[
            ("origin", "https://example.com"),
            ("access-control-request-method", "GET"),
        ],
    );
    if let Some(value) = authorization {
        let value = HeaderValue::try_from(value).unwrap();
        parts.headers.insert("authorization", value);
    }
    parts
}

/// The principal of another token, as an outer layer might have left it.
async fn forged(fixture: &Fixture) -> AppPrincipal {
    AppPrincipal::of(
        fixture
            .issue(&fixture.app().id, NewToken::named("forged"))
            .await
            .record(),
    )
}

/// The principal of the fixture's token.
fn principal_of(fixture: &Fixture) -> AppPrincipal {
    let format = &fixture.tokens.formats().issued()[0];
    AppPrincipal::of(fixture.issued.record()).with_format(format)
}

fn marked(headers: &HeaderMap) -> Vec<bool> {
    headers.values().map(HeaderValue::is_sensitive).collect()
}

#[tokio::test]
async fn the_principal_is_returned_and_inserted() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer();
    // From the store, and from the cache.
    for _ in 0..2 {
        let mut request = parts(&[("authorization", &fixture.bearer())]);
        request.extensions.insert("kept");
        let principal = layer.authenticate(&mut request).await.unwrap();
        assert_eq!(principal, principal_of(&fixture));
        assert_eq!(request.extensions.get(), Some(&principal));
        assert_eq!(request.extensions.get(), Some(&"kept"));

        let mut request = parts(&[("authorization", &fixture.bearer())]);
        let optional = layer.authenticate_optional(&mut request).await.unwrap();
        assert_eq!(optional.as_ref(), Some(&principal));
        assert_eq!(request.extensions.get(), Some(&principal));

        let by_head = layer.authenticate_head((&request).into()).await.unwrap();
        assert_eq!(by_head, principal);
    }
    let stats = fixture.tokens.authenticator().stats();
    assert_eq!((stats.lookups, stats.hits), (1, 5));
}

#[tokio::test]
async fn a_use_is_counted_once() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer();
    let follower = fixture.tokens.follow().start().await.unwrap();
    let uses = async || {
        let id = fixture.issued.record().id;
        fixture.tokens.get(id).await.unwrap().uses
    };
    let mut request = parts(&[("authorization", &fixture.bearer())]);
    for _ in 0..3 {
        // A use that an outer layer has counted is not counted again.
        layer.authenticate(&mut request).await.unwrap();
    }
    for _ in 0..2 {
        layer.authenticate_head((&request).into()).await.unwrap();
    }
    let inside = layer.clone();
    let handler = service_fn(move |request: Request<Empty<bytes::Bytes>>| {
        let inside = inside.clone();
        async move {
            let (mut request, _) = request.into_parts();
            inside.authenticate(&mut request).await.unwrap();
            Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
        }
    });
    let (answered, _) = answer(layer.layer(handler), get(&fixture.bearer())).await;
    assert_eq!(answered.status, StatusCode::OK);
    follower.stop().await.unwrap();
    assert_eq!(uses().await, 1 + 2 + 1);
}

#[tokio::test]
async fn every_field_that_may_hold_a_token_is_marked_as_sensitive() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer().basic().api_key_header("x-api-key").unwrap();
    let good = fixture.bearer();
    for fields in [
        &[("authorization", &*good)] as &[_],
        &[("x-api-key", fixture.token())],
        &[("authorization", &good), ("authorization", &good)],
        &[("authorization", &good), ("x-api-key", fixture.token())],
        &[("authorization", &bearer(UNKNOWN))],
        &[("authorization", "Digest secret")],
        &[("authorization", "Basic !")],
    ] {
        let plain = parts(fields);
        let expected = vec![true; fields.len()];

        let mut request = parts(fields);
        let _ = layer.authenticate(&mut request).await;
        assert_eq!(marked(&request.headers), expected, "{fields:?}");
        assert!(!format!("{request:?}").contains(fixture.token()));
        let mut request = parts(fields);
        let _ = layer.authenticate_optional(&mut request).await;
        assert_eq!(marked(&request.headers), expected, "{fields:?}");

        let _ = layer.authenticate_head((&plain).into()).await;
        assert_eq!(plain.headers, parts(fields).headers);
        let mut headers = plain.headers;
        layer.mark_sensitive(&mut headers);
        assert_eq!(marked(&headers), expected, "{fields:?}");
    }
}

#[tokio::test]
async fn an_earlier_principal_is_removed_or_replaced() {
    let fixture = Fixture::new().await;
    let forged = forged(&fixture).await;
    let layer = fixture.layer();
    let unchecked = fixture
        .issue(&fixture.app().id, NewToken::named("never looked up"))
        .await;
    let unchecked = bearer(unchecked.token().expose());
    let request = |value: &str| {
        let mut request = parts(&[("authorization", value)]);
        request.extensions.insert(forged.clone());
        request
    };
    let mut good = request(&fixture.bearer());
    layer.authenticate(&mut good).await.unwrap();
    let ours = principal_of(&fixture);
    assert_eq!(good.extensions.get(), Some(&ours));

    fixture
        .store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    for value in ["", "Digest a", "Bearer", &bearer("typo"), &unchecked] {
        let mut bad = request(value);
        assert!(layer.authenticate(&mut bad).await.is_err(), "{value}");
        assert_eq!(bad.extensions.get::<AppPrincipal>(), None, "{value}");
        let mut bad = request(value);
        let verdict = layer.authenticate_optional(&mut bad).await;
        assert!(!matches!(verdict, Ok(Some(_))), "{value}");
        assert_eq!(bad.extensions.get::<AppPrincipal>(), None, "{value}");
    }
}

#[tokio::test]
async fn authenticate_optional_passes_a_request_without_a_credential() {
    let fixture = Fixture::new().await;
    for layer in [fixture.layer(), fixture.layer().optional()] {
        let layer = layer.realm("acme").unwrap();
        for fields in [&[] as &[_], &[("authorization", "Digest a")]] {
            let mut request = parts(fields);
            let verdict = layer.authenticate_optional(&mut request).await;
            assert_eq!(verdict.unwrap(), None);
            // An inner layer that needs a principal refuses the request as the outer layer would
            // have.
            let inside = layer.require_all("".parse().unwrap());
            let request = Request::from_parts(request, Empty::<bytes::Bytes>::new());
            let (answered, _) = answer(inside.layer(Inner::default()), request).await;
            assert_eq!(answered.status, StatusCode::UNAUTHORIZED);
            let challenge = &answered.headers["www-authenticate"];
            assert_eq!(challenge, "Bearer realm=\"acme\"");
        }
    }
    let stats = fixture.tokens.authenticator().stats();
    assert_eq!(stats.refused(RejectionKind::MissingCredential), 4);
}

#[tokio::test]
async fn authenticate_passes_nothing_without_a_principal() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer().optional().allow_preflight();
    for mut request in [parts(&[]), preflight(None)] {
        let by_head = layer.authenticate_head((&request).into()).await;
        for refusal in [by_head, layer.authenticate(&mut request).await] {
            let refusal = refusal.unwrap_err();
            assert_eq!(refusal.status(), StatusCode::UNAUTHORIZED);
            let kind = refusal.rejection().kind();
            assert_eq!(kind, RejectionKind::MissingCredential);
        }
    }
    let mut request = preflight(Some(&fixture.bearer()));
    let principal = layer.authenticate(&mut request).await.unwrap();
    assert_eq!(principal.app_name(), "Billing");
    let mut request = preflight(Some("Bearer a b"));
    let refusal = layer.authenticate(&mut request).await.unwrap_err();
    assert_eq!(refusal.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn authenticate_optional_passes_an_allowed_preflight() {
    let fixture = Fixture::new().await;
    let allowing = fixture.layer().allow_preflight();
    let unknown = bearer(UNKNOWN);
    for value in [None, Some("Bearer"), Some(&*unknown)] {
        let mut request = preflight(value);
        let verdict = allowing.authenticate_optional(&mut request).await;
        assert_eq!(verdict.unwrap(), None);
        assert!(
            request
                .headers
                .get("authorization")
                .is_none_or(|value| value.is_sensitive())
        );

        let mut request = preflight(value);
        let verdict = fixture.layer().authenticate_optional(&mut request).await;
        assert_eq!(
            verdict.is_err(),
            value.is_some(),
            "it is judged like any other"
        );
    }
}

#[test]
fn the_debug_output_of_a_head_hides_everything_that_may_hold_a_token() {
    let mut request = parts(&[("authorization", "Bearer s3cret")]);
    request.uri = "/?access_token=s3cret".parse().unwrap();
    let head = RequestHead::from(&request);
    assert_eq!(format!("{head:?}"), "RequestHead { method: GET, .. }");
}

#[test]
fn the_futures_are_send() {
    fn is_send<T: Send>(_: &T) {}
    fn check(layer: &ApiTokenLayer, request: &mut Parts) {
        is_send(&layer.authenticate(request));
        is_send(&layer.authenticate_optional(request));
        is_send(&layer.authenticate_head((&*request).into()));
    }
    let _: fn(&ApiTokenLayer, &mut Parts) = check;
}
