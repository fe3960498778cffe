//! Requests whose token is live but lacks a scope.

use http::StatusCode;
use tower::Layer;
use tower_api_tokens::{NewToken, Rejection, RejectionKind, RequireScopeLayer, ScopeSet};

use crate::{
    support::{Fixture, Inner, Server, answer, bearer, get, get_anonymously, kind},
    wire::Wire,
};

fn scopes(text: &str) -> ScopeSet {
    text.parse().unwrap()
}

#[tokio::test]
async fn all_required_scopes_must_be_present() {
    let fixture = Fixture::new().await;
    for (held, required, admitted) in [
        ("a b", "a b", true),
        ("b a c", "a b", true),
        ("a", "a b", false),
        ("", "a", false),
        ("ab", "a", false),
        ("A", "a", false),
        ("a:b", "a", false),
        ("a", "", true),
        ("", "", true),
    ] {
        let layer = fixture.layer();
        let inside = layer.require_all(scopes(required));
        let server = Server::behind_all(layer, inside).await;
        let issued = fixture
            .issue(&fixture.app().id, NewToken::named("t").scopes(scopes(held)))
            .await;
        let request = Wire::get().authorization(bearer(issued.token().expose()));
        if admitted {
            server.admits(&request).await;
        } else {
            assert_eq!(
                server.refuses(&request).await.status,
                403,
                "{held:?} {required:?}"
            );
        }
    }
}

#[tokio::test]
async fn any_of_the_accepted_scopes_is_enough() {
    let fixture = Fixture::new().await;
    for (held, accepted, admitted) in [
        ("a", "a b", true),
        ("b c", "a b", true),
        ("c", "a b", false),
        ("", "a b", false),
        ("a", "", false),
        ("", "", false),
    ] {
        let layer = fixture.layer();
        let inside = layer.require_any(scopes(accepted));
        let server = Server::behind_all(layer, inside).await;
        let issued = fixture
            .issue(&fixture.app().id, NewToken::named("t").scopes(scopes(held)))
            .await;
        let request = Wire::get().authorization(bearer(issued.token().expose()));
        if admitted {
            server.admits(&request).await;
        } else {
            assert_eq!(
                server.refuses(&request).await.status,
                403,
                "{held:?} {accepted:?}"
            );
        }
    }
}

#[tokio::test]
async fn the_challenge_lists_the_required_scopes_and_not_those_of_the_token() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer().realm("acme").unwrap();
    for (inside, listed) in [
        (layer.require_all(scopes("z:9 a:1")), "a:1 z:9"),
        (layer.require_any(scopes("z:9 a:1 z:9")), "a:1 z:9"),
    ] {
        let server = Server::behind_all(layer.clone(), inside).await;
        let answer = server
            .refuses(&Wire::get().authorization(fixture.bearer()))
            .await;
        let expected = format!(
            "Bearer realm=\"acme\", error=\"insufficient_scope\", error_description=\
             \"The token lacks a required scope.\", scope=\"{listed}\""
        );
        assert_eq!((answer.status, answer.challenge()), (403, &*expected));
    }
}

#[tokio::test]
async fn a_scope_layer_without_an_outer_layer_uses_the_default_realm() {
    let fixture = Fixture::new().await;
    let outer = fixture.layer().realm("acme").unwrap();
    for inside in [
        RequireScopeLayer::all(scopes("admin")),
        RequireScopeLayer::any(scopes("admin")),
    ] {
        let server = Server::behind_all(outer.clone(), inside).await;
        let answer = server
            .refuses(&Wire::get().authorization(fixture.bearer()))
            .await;
        assert_eq!(answer.status, 403);
        assert!(answer.challenge().starts_with("Bearer realm=\"api\", "));
    }
}

#[tokio::test]
async fn the_renderer_of_the_outer_layer_renders_the_refusal() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer().renderer(|rejection, response| {
        let required = rejection.required_scopes().map(ScopeSet::as_str);
        let text = format!("{} {required:?}", rejection.kind());
        response.map(|_| text.into())
    });
    let inner = Inner::default();
    let inside = layer.require_all(scopes("admin"));
    let service = layer.layer(inside.layer(inner.clone()));
    let (parts, body) = answer(service, get(&fixture.bearer())).await;
    assert_eq!(parts.status, StatusCode::FORBIDDEN);
    assert_eq!(body, "insufficient_scope Some(\"admin\")");
    assert_eq!(inner.calls(), 0);
}

#[tokio::test]
async fn the_rejection_names_the_token_and_the_scopes() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer();
    let inside = layer.require_all(scopes("admin"));
    let service = layer.layer(inside.layer(Inner::default()));
    let (parts, _) = answer(service, get(&fixture.bearer())).await;
    let rejection: &Rejection = parts.extensions.get().unwrap();
    assert_eq!(rejection.kind(), RejectionKind::InsufficientScope);
    assert_eq!(rejection.token_id(), Some(fixture.issued.record().id));
    assert_eq!(rejection.app_id(), Some(&fixture.app().id));
    assert_eq!(rejection.required_scopes(), Some(&scopes("admin")));
}

#[tokio::test]
async fn a_request_without_a_principal_is_challenged() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer().realm("acme").unwrap().optional();
    for inside in [
        layer.require_all(scopes("admin")),
        layer.require_all(scopes("")),
        layer.require_any(scopes("admin")),
        RequireScopeLayer::all(scopes("admin")),
    ] {
        let server = Server::behind_all(layer.clone(), inside).await;
        let answer = server.refuses(&Wire::get()).await;
        assert_eq!(
            (answer.status, answer.challenge()),
            (401, "Bearer realm=\"acme\"")
        );
    }
}

#[tokio::test]
async fn a_scope_layer_without_an_outer_layer_states_what_is_missing() {
    let inner = Inner::default();
    let service = RequireScopeLayer::all(scopes("")).layer(inner.clone());
    for request in [get_anonymously(), get("Bearer a")] {
        let (parts, body) = answer(service.clone(), request).await;
        assert_eq!(parts.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(body.contains("put an `ApiTokenLayer` outside"), "{body}");
        assert_eq!(kind(&parts), None);
    }
    assert_eq!(inner.calls(), 0);
}

#[tokio::test]
async fn the_answer_to_head_has_no_body() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer();
    let inside = layer.require_all(scopes("admin"));
    let server = Server::behind_all(layer, inside).await;
    let request = Wire::new("HEAD", "/").authorization(fixture.bearer());
    let answer = server.refuses(&request).await;
    assert_eq!((answer.status, &*answer.body), (403, ""));
}

#[tokio::test]
async fn refusals_by_scope_are_in_the_statistics_of_the_outer_layer() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer().optional();
    let inside = layer.require_all(scopes("admin"));
    let server = Server::behind_all(layer, inside).await;
    server.refuses(&Wire::get()).await;
    server
        .refuses(&Wire::get().authorization(fixture.bearer()))
        .await;
    let stats = fixture.tokens.authenticator().stats();
    let refused = |kind| stats.refused(kind);
    // Each was sent over HTTP/1 and HTTP/2.
    assert_eq!(refused(RejectionKind::MissingCredential), 2);
    assert_eq!(refused(RejectionKind::InsufficientScope), 2);
}
