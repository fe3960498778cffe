//! One layer inside of another.

use http::{Request, StatusCode};
use http_body_util::Empty;
use tower::Layer;
use tower_api_tokens::{
    ApiTokensBuilder, AppPrincipal, ImportedToken, MaskedToken, NewToken, RejectionKind,
};

use crate::{
    support::{Fixture, Inner, Server, UNKNOWN, answer, bearer, get, get_anonymously, kind},
    wire::Wire,
};

/// Two sets of tokens that only share one token.
struct Two {
    outer: Fixture,
    inner: Fixture,
}

impl Two {
    async fn new() -> Self {
        let outer = Fixture::new().await;
        let inner = Fixture::builder()
            .configure(ApiTokensBuilder::any_format)
            .build()
            .await;
        let app = inner.tokens.create_app("Inside").await.unwrap();
        let imported = ImportedToken::new(
            NewToken::named("shared"),
            outer.issued.token().digest(),
            MaskedToken::new("acme_", "").unwrap(),
        );
        inner.tokens.import(&app.id, imported).await.unwrap();
        Self { outer, inner }
    }
}

#[tokio::test]
async fn each_layer_verifies_once_and_the_inner_one_attributes() {
    let two = Two::new().await;
    let server = Server::behind_all(two.outer.layer(), two.inner.layer()).await;
    let request = Wire::get().authorization(two.outer.bearer());
    assert_eq!(server.admits(&request).await.body, "Inside");
    // Over two HTTP versions; the second time from the cache.
    for fixture in [&two.outer, &two.inner] {
        assert_eq!(fixture.store.finds(), 1);
        let stats = fixture.tokens.authenticator().stats();
        assert_eq!((stats.lookups, stats.hits), (1, 1));
    }
}

#[tokio::test]
async fn the_inner_layer_refuses_what_the_outer_one_admits() {
    let two = Two::new().await;
    let inside = two.inner.layer().realm("inside").unwrap();
    let server = Server::behind_all(two.outer.layer(), inside).await;
    let known_outside = two
        .outer
        .issue(&two.outer.app().id, NewToken::named("outside only"))
        .await;
    let request = Wire::get().authorization(bearer(known_outside.token().expose()));
    let answer = server.refuses(&request).await;
    assert_eq!(answer.status, 401);
    let challenge = "Bearer realm=\"inside\", error=\"invalid_token\"";
    assert!(answer.challenge().starts_with(challenge));
}

#[tokio::test]
async fn the_outer_layer_refuses_before_the_inner_one_is_called() {
    let two = Two::new().await;
    let inside = two.inner.layer().realm("inside").unwrap();
    let server = Server::behind_all(two.outer.layer(), inside).await;
    for (value, status) in [
        (String::new(), 401),
        (two.inner.bearer(), 401),
        ("Bearer".into(), 400),
    ] {
        let answer = server.refuses(&Wire::get().authorization(value)).await;
        assert_eq!(answer.status, status);
        assert!(answer.challenge().starts_with("Bearer realm=\"api\""));
    }
    assert_eq!(two.inner.store.finds(), 0);
}

#[tokio::test]
async fn an_optional_outer_layer_leaves_the_decision_to_the_inner_one() {
    let two = Two::new().await;
    let inside = two.inner.layer().realm("inside").unwrap();
    let server = Server::behind_all(two.outer.layer().optional(), inside).await;
    let answer = server.refuses(&Wire::get()).await;
    assert_eq!(
        (answer.status, answer.challenge()),
        (401, "Bearer realm=\"inside\"")
    );
    let request = Wire::get().authorization(two.outer.bearer());
    assert_eq!(server.admits(&request).await.body, "Inside");
}

#[tokio::test]
async fn an_optional_layer_inside_of_a_strict_one_admits_no_additional_requests() {
    let two = Two::new().await;
    let server = Server::behind_all(two.outer.layer(), two.inner.layer().optional()).await;
    assert_eq!(server.refuses(&Wire::get()).await.status, 401);
    let request = Wire::get().authorization(two.outer.bearer());
    assert_eq!(server.admits(&request).await.body, "Inside");
}

#[tokio::test]
async fn two_optional_layers_pass_a_request_without_a_principal() {
    let two = Two::new().await;
    let (outer, inside) = (two.outer.layer().optional(), two.inner.layer().optional());
    let server = Server::behind_all(outer, inside).await;
    assert_eq!(server.admits(&Wire::get()).await.body, "nobody");
    let answer = server
        .refuses(&Wire::get().authorization(bearer(UNKNOWN)))
        .await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn a_principal_of_the_outer_layer_does_not_pass_one_that_finds_no_credential() {
    let two = Two::new().await;
    let outer = two.outer.layer().api_key_header("x-api-key").unwrap();
    let key = Wire::get().field("x-api-key", two.outer.token());
    let strict = Server::behind_all(outer.clone(), two.inner.layer()).await;
    assert_eq!(strict.refuses(&key).await.status, 401);
    let optional = Server::behind_all(outer, two.inner.layer().optional()).await;
    assert_eq!(optional.admits(&key).await.body, "nobody");
}

#[tokio::test]
async fn a_scope_check_behind_two_layers_challenges_as_the_inner_one() {
    let two = Two::new().await;
    let outer = two.outer.layer().realm("outside").unwrap().optional();
    let inner = two.inner.layer().realm("inside").unwrap().optional();
    let inside =
        tower::layer::util::Stack::new(two.outer.layer().require_all("".parse().unwrap()), inner);
    let server = Server::behind_all(outer, inside).await;
    let answer = server.refuses(&Wire::get()).await;
    assert_eq!(
        (answer.status, answer.challenge()),
        (401, "Bearer realm=\"inside\"")
    );
}

#[tokio::test]
async fn a_preflight_that_the_outer_layer_allows_is_refused_by_the_inner_one() {
    let two = Two::new().await;
    let preflight = Wire::new("OPTIONS", "/")
        .field("origin", "https://example.com")
        .field("access-control-request-method", "GET");
    let outer = two.outer.layer().allow_preflight();
    let server = Server::behind_all(outer.clone(), two.inner.layer()).await;
    assert_eq!(server.refuses(&preflight).await.status, 401);
    let server = Server::behind_all(outer, two.inner.layer().allow_preflight()).await;
    assert_eq!(server.admits(&preflight).await.body, "nobody");
}

#[tokio::test]
async fn a_response_shows_the_principal_and_the_rejection_of_the_inner_layer() {
    let two = Two::new().await;
    let inner = Inner::default();
    let inside = two.inner.layer().attribute_responses().layer(inner.clone());
    let service = two.outer.layer().attribute_responses().layer(inside);
    let (parts, _) = answer(service.clone(), get(&two.outer.bearer())).await;
    let principal: &AppPrincipal = parts.extensions.get().unwrap();
    assert_eq!(principal.app_name(), "Inside");

    let calls = inner.calls();
    let unknown_inside = two
        .outer
        .issue(&two.outer.app().id, NewToken::named("outside only"))
        .await;
    let (parts, _) = answer(
        service.clone(),
        get(&bearer(unknown_inside.token().expose())),
    )
    .await;
    assert_eq!(parts.status, StatusCode::UNAUTHORIZED);
    assert_eq!(kind(&parts), Some(RejectionKind::UnknownToken));
    let (parts, _) = answer(service, get_anonymously()).await;
    assert_eq!(kind(&parts), Some(RejectionKind::MissingCredential));
    assert_eq!(inner.calls(), calls);
}

#[tokio::test]
async fn two_layers_of_one_authenticator_count_one_use_and_look_up_once() {
    let fixture = Fixture::new().await;
    let follower = fixture.tokens.follow().start().await.unwrap();
    let inner = Inner::default();
    let service = fixture.layer().layer(fixture.layer().layer(inner.clone()));
    for _ in 0..3 {
        let request = Request::get("/").header("authorization", fixture.bearer());
        let (parts, _) = answer(service.clone(), request.body(Empty::new()).unwrap()).await;
        assert_eq!(parts.status, StatusCode::OK);
    }
    assert_eq!(inner.calls(), 3);
    assert!(fixture.store.finds() <= 1);
    follower.stop().await.unwrap();
    let record = fixture
        .tokens
        .get(fixture.issued.record().id)
        .await
        .unwrap();
    assert_eq!(record.uses, 3);
}
