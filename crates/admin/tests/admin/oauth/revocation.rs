//! `POST /revoke` (RFC 7009).

use std::time::Duration;

use axum::body::Body;
use futures_util::future::join_all;
use http::{Request, StatusCode, header::CONTENT_TYPE};
use tokio::time::sleep;
use tower_api_tokens::{
    AuditQuery, ImportedToken, NewToken, RejectionKind, StoreErrorKind, TokenDigest,
    TokenRegistryExt, TokenTarget, testing::Fault,
};

use super::{Endpoints, FORM, unreadable_forms_are_refused};
use crate::support::Platform;

#[tokio::test]
async fn a_holder_revokes_its_token() {
    let endpoints = Endpoints::new().await;
    let token = endpoints.issue(NewToken::named("ci")).await;
    let scene = &endpoints.platform.scene;
    assert_eq!(scene.refusal(&token).await, None);
    let form = format!("token={}", token.token().expose());
    let answer = endpoints.revoke(&form).await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(
        scene.refusal(&token).await,
        Some(RejectionKind::RevokedToken)
    );
}

#[tokio::test]
async fn the_audit_log_records_the_holder_once() {
    let endpoints = Endpoints::new().await;
    let token = endpoints.issue(NewToken::named("ci")).await;
    let form = format!(
        "token={}&token_type_hint=access_token",
        token.token().expose()
    );
    for _ in 0..3 {
        assert_eq!(endpoints.revoke(&form).await.status, StatusCode::OK);
    }
    let id = token.record().id;
    let about = AuditQuery::default().token(id);
    let expected = [format!("token:{id} token.revoke done")];
    let events = endpoints.platform.stored_events(&about).await;
    assert_eq!(events, expected);
    assert_eq!(endpoints.platform.sink.summaries(), expected);
}

#[tokio::test]
async fn a_token_that_another_process_has_revoked_is_not_admitted_after_the_answer() {
    let endpoints = Endpoints::new().await;
    let scene = &endpoints.platform.scene;
    let token = endpoints.issue(NewToken::named("ci")).await;
    assert_eq!(scene.refusal(&token).await, None);
    // Straight in the store, without a word to this process.
    let target = TokenTarget::any(token.record().id);
    scene
        .store
        .revoke(&target, scene.tokens.now())
        .await
        .unwrap();
    assert_eq!(scene.refusal(&token).await, None, "cached");
    let form = format!("token={}", token.token().expose());
    assert_eq!(endpoints.revoke(&form).await.status, StatusCode::OK);
    let refusal = scene.refusal(&token).await;
    assert_eq!(refusal, Some(RejectionKind::RevokedToken));
    let about = AuditQuery::default().token(token.record().id);
    let events = endpoints.platform.stored_events(&about).await;
    assert!(events.is_empty(), "nothing was revoked: {events:?}");
}

#[tokio::test]
async fn tokens_that_are_refused_for_now_are_revoked_too() {
    let endpoints = Endpoints::new().await;
    let tokens = &endpoints.platform.scene.tokens;
    let suspended = endpoints.issue(NewToken::named("suspended")).await;
    tokens.suspend(suspended.record().id).await.unwrap();
    let disabled = endpoints.issue(NewToken::named("disabled")).await;
    tokens.disable_app(&disabled.record().app.id).await.unwrap();
    let networks = "10.0.0.0/8".parse().unwrap();
    let elsewhere = endpoints
        .issue(NewToken::named("elsewhere").networks(networks))
        .await;
    for token in [&suspended, &disabled, &elsewhere] {
        let form = format!("token={}", token.token().expose());
        assert_eq!(endpoints.revoke(&form).await.status, StatusCode::OK);
        let record = tokens.get(token.record().id).await.unwrap();
        assert!(record.revoked_at.is_some(), "{}", record.name);
    }
}

#[tokio::test]
async fn the_answer_does_not_show_whether_a_token_exists() {
    let endpoints = Endpoints::new().await;
    let token = endpoints.issue(NewToken::named("ci")).await;
    let expired = NewToken::named("expired").expires_in(Duration::from_secs(1));
    let expired = endpoints.issue(expired).await;
    endpoints
        .platform
        .scene
        .clock
        .advance(Duration::from_secs(1));
    let other = Platform::new();
    let app = other.app().await;
    let unknown = other.scene.issue(&app.id, NewToken::named("unknown")).await;
    let revoked = endpoints
        .revoke(&format!("token={}", token.token().expose()))
        .await;
    for text in [
        token.token().expose(),
        expired.token().expose(),
        unknown.token().expose(),
        "a",
        "acme_live_a_typo",
        "%00",
        "%ff",
    ] {
        let answer = endpoints.revoke(&format!("token={text}")).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(
            (answer.headers, answer.body),
            (revoked.headers.clone(), revoked.body.clone())
        );
    }
}

#[tokio::test]
async fn a_token_with_a_wrong_format_or_checksum_is_not_looked_up() {
    let endpoints = Endpoints::new().await;
    let token = endpoints.issue(NewToken::named("ci")).await;
    let mut typo = token.token().expose().to_owned();
    typo.pop();
    typo.push(if token.token().expose().ends_with('a') {
        'b'
    } else {
        'a'
    });
    // A lookup would fail.
    let store = &endpoints.platform.scene.store;
    store.set_fault(Fault::Error(StoreErrorKind::Unavailable));
    for text in [typo.as_str(), "a", "acme_live_x", "other_live_x"] {
        let answer = endpoints.revoke(&format!("token={text}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{text}");
    }
}

#[tokio::test]
async fn a_token_of_another_system_can_be_revoked_if_it_is_accepted() {
    let platform = Platform::configured(|tokens| tokens.any_format());
    let app = platform.app().await;
    let imported = ImportedToken::new(
        NewToken::named("legacy"),
        TokenDigest::of(b"legacy-secret-1"),
        "lega…et-1".parse().unwrap(),
    );
    let imported = platform
        .scene
        .tokens
        .import(&app.id, imported)
        .await
        .unwrap();
    let endpoints = Endpoints::configured(platform, |builder| builder).await;
    let answer = endpoints.revoke("token=legacy-secret-1").await;
    assert_eq!(answer.status, StatusCode::OK);
    let record = endpoints
        .platform
        .scene
        .tokens
        .get(imported.id)
        .await
        .unwrap();
    assert!(record.revoked_at.is_some());
}

#[tokio::test]
async fn a_failing_store_is_reported_and_the_token_stays() {
    let endpoints = Endpoints::new().await;
    let token = endpoints.issue(NewToken::named("ci")).await;
    let form = format!("token={}", token.token().expose());
    let store = &endpoints.platform.scene.store;
    for fault in [
        Fault::Error(StoreErrorKind::Unavailable),
        Fault::WriteError(StoreErrorKind::Unavailable),
        Fault::Panic,
    ] {
        store.set_fault(fault);
        endpoints
            .revoke(&form)
            .await
            .error(503, "temporarily_unavailable");
    }
    store.set_fault(Fault::None);
    assert_eq!(endpoints.platform.scene.refusal(&token).await, None);
    assert_eq!(endpoints.revoke(&form).await.status, StatusCode::OK);
    assert!(endpoints.platform.scene.refusal(&token).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_hanging_store_is_reported_and_takes_no_permits_from_verification() {
    let endpoints = Endpoints::new().await;
    let token = endpoints.issue(NewToken::named("ci")).await;
    let live = endpoints.issue(NewToken::named("live")).await;
    let form = format!("token={}", token.token().expose());
    let store = &endpoints.platform.scene.store;
    store.set_fault(Fault::Hang);
    let answers = join_all((0..40).map(|_| endpoints.revoke(&form))).await;
    for answer in &answers {
        answer.error(503, "temporarily_unavailable");
    }
    store.set_fault(Fault::None);
    assert_eq!(endpoints.platform.scene.refusal(&live).await, None);
    assert_eq!(endpoints.revoke(&form).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_tokens_keeps_no_holder_from_revoking() {
    let endpoints = Endpoints::new().await;
    let token = endpoints.issue(NewToken::named("ci")).await;
    let store = &endpoints.platform.scene.store;
    store.set_fault(Fault::Hang);
    let elsewhere = Endpoints::new().await;
    let unknown = elsewhere.issue(NewToken::named("ci")).await;
    let unknown = format!("token={}", unknown.token().expose());
    let flood = join_all((0..40).map(|_| endpoints.revoke(&unknown)));
    let holder = async {
        sleep(Duration::from_secs(1)).await;
        let form = format!("token={}", token.token().expose());
        endpoints.revoke(&form).await
    };
    let recovers = async {
        sleep(Duration::from_secs(2)).await;
        store.set_fault(Fault::None);
    };
    let (_, answer, ()) = tokio::join!(flood, holder, recovers);
    assert_eq!(answer.status, StatusCode::OK);
    assert!(endpoints.platform.scene.refusal(&token).await.is_some());
}

#[tokio::test]
async fn revocation_can_be_switched_off() {
    let endpoints =
        Endpoints::configured(Platform::new(), |builder| builder.without_revocation()).await;
    let token = endpoints.issue(NewToken::named("ci")).await;
    let answer = endpoints
        .revoke(&format!("token={}", token.token().expose()))
        .await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(endpoints.platform.scene.refusal(&token).await, None);
    endpoints.introspect_token(&token).await.active();
}

#[tokio::test]
async fn forms_that_cannot_be_read_are_refused() {
    let endpoints = Endpoints::new().await;
    unreadable_forms_are_refused(&endpoints, "/oauth/revoke", 4 << 10).await;
}

#[tokio::test]
async fn a_body_that_ends_early_revokes_nothing() {
    let endpoints = Endpoints::new().await;
    let failing = futures_util::stream::iter([
        Ok(bytes::Bytes::from_static(b"token=")),
        Err(std::io::Error::other("the client is gone")),
    ]);
    let request = Request::post("/oauth/revoke").header(CONTENT_TYPE, FORM);
    let answer = endpoints
        .send(request.body(Body::from_stream(failing)).unwrap())
        .await;
    answer.error(400, "invalid_request");
}
