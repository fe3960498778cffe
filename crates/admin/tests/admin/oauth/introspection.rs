//! `POST /introspect` (RFC 7662).

use std::time::Duration;

use axum::body::Body;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{
    Request,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use serde_json::json;
use tower_api_tokens::{NewToken, StoreErrorKind, testing::Fault};

use super::{Endpoints, FORM, unreadable_forms_are_refused};
use crate::support::Platform;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_live_token_is_described() {
    let endpoints = Endpoints::new().await;
    let scopes = "invoices:read invoices:write".parse().unwrap();
    let plain = endpoints.issue(NewToken::named("ci").scopes(scopes)).await;
    let answer = endpoints.introspect_token(&plain).await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(
        answer.active(),
        json!({
            "active": true,
            "scope": "invoices:read invoices:write",
            "client_id": plain.record().app.id.as_str(),
            "sub": plain.record().app.id.as_str(),
            "token_type": "Bearer",
            "iat": plain.record().created_at.as_second(),
            "jti": plain.record().id.to_string(),
        })
    );

    let now = endpoints.platform.scene.tokens.now();
    let new = NewToken::named("later").expires_in(3 * HOUR);
    let limited = endpoints
        .issue(new.not_before(now.checked_add(HOUR).unwrap()))
        .await;
    endpoints.introspect_token(&limited).await.inactive();
    endpoints.platform.scene.clock.advance(HOUR);
    let answer = endpoints.introspect_token(&limited).await.active();
    assert_eq!(answer["scope"], "");
    assert_eq!(answer["iat"], now.as_second());
    assert_eq!(answer["nbf"], now.as_second() + 3600);
    assert_eq!(answer["exp"], now.as_second() + 3 * 3600);
    endpoints.platform.scene.clock.advance(2 * HOUR);
    endpoints.introspect_token(&limited).await.inactive();
}

#[tokio::test]
async fn cached_and_looked_up_answers_are_the_same() {
    let endpoints = Endpoints::new().await;
    let now = endpoints.platform.scene.tokens.now();
    let new = NewToken::named("ci").expires_in(HOUR).not_before(now);
    let token = endpoints.issue(new).await;
    let looked_up = endpoints.introspect_token(&token).await;
    let finds = endpoints.platform.scene.store.finds();
    let cached = endpoints.introspect_token(&token).await;
    assert_eq!(endpoints.platform.scene.store.finds(), finds);
    assert_eq!(looked_up.active(), cached.active());
    assert_eq!(cached.active()["nbf"], now.as_second());
}

#[tokio::test]
async fn every_reason_gets_the_same_bytes() {
    let endpoints = Endpoints::new().await;
    let scene = &endpoints.platform.scene;
    let revoked = endpoints.issue(NewToken::named("revoked")).await;
    scene.tokens.revoke(revoked.record().id).await.unwrap();
    let suspended = endpoints.issue(NewToken::named("suspended")).await;
    scene.tokens.suspend(suspended.record().id).await.unwrap();
    let expired = endpoints
        .issue(NewToken::named("expired").expires_in(HOUR))
        .await;
    let disabled = endpoints.issue(NewToken::named("disabled")).await;
    scene
        .tokens
        .disable_app(&disabled.record().app.id)
        .await
        .unwrap();
    let networks = "10.0.0.0/8".parse().unwrap();
    let elsewhere = endpoints
        .issue(NewToken::named("elsewhere").networks(networks))
        .await;
    scene.clock.advance(HOUR);
    let early = scene.tokens.now().checked_add(HOUR).unwrap();
    let early = endpoints
        .issue(NewToken::named("early").not_before(early))
        .await;
    let other = Platform::new();
    let app = other.app().await;
    let unknown = other.scene.issue(&app.id, NewToken::named("unknown")).await;

    let mut forms = [
        &revoked, &suspended, &expired, &disabled, &elsewhere, &early, &unknown,
    ]
    .map(|token| format!("token={}", token.token().expose()))
    .to_vec();
    forms.extend([
        "token=a".to_owned(),
        "token=%00%ff".to_owned(),
        "token=acme_live_a_typo".to_owned(),
        format!("token={}", "a".repeat(5000)),
        format!(
            "token={}&token_type_hint=refresh_token",
            revoked.token().expose()
        ),
        format!("token={}&client_ip=192.0.2.1", elsewhere.token().expose()),
    ]);
    let first = endpoints.introspect(&forms[0]).await;
    for form in &forms {
        let answer = endpoints.introspect(form).await;
        answer.inactive();
        assert_eq!(answer.headers, first.headers);
    }
}

#[tokio::test]
async fn a_network_restricted_token_needs_the_address_of_its_client() {
    let endpoints = Endpoints::new().await;
    let networks = "10.0.0.0/8,2001:db8::/32".parse().unwrap();
    let token = endpoints
        .issue(NewToken::named("ci").networks(networks))
        .await;
    let token = token.token().expose();
    for (address, active) in [
        ("", false),
        ("&client_ip=", false),
        ("&client_ip=192.0.2.1", false),
        ("&client_ip=10.1.2.3", true),
        ("&client_ip=%3A%3Affff%3A10.1.2.3", true),
        ("&client_ip=2001%3Adb8%3A%3A1", true),
        ("&client_ip=%3A%3A1", false),
    ] {
        let answer = endpoints
            .introspect(&format!("token={token}{address}"))
            .await;
        assert_eq!(answer.json()["active"], active, "{address}");
    }
    for address in ["unknown", "10.0.0.1:80", "10.0.0.1, 10.0.0.2", "[::1]"] {
        let form = format!("token={token}&client_ip={address}");
        let description = endpoints
            .introspect(&form)
            .await
            .error(400, "invalid_request");
        assert!(description.contains("not an IP address"), "{description}");
    }
    let twice = format!("token={token}&client_ip=10.0.0.1&client_ip=10.0.0.1");
    endpoints
        .introspect(&twice)
        .await
        .error(400, "invalid_request");
}

#[tokio::test]
async fn a_failing_store_is_never_an_inactive_token() {
    let endpoints = Endpoints::new().await;
    let token = endpoints.issue(NewToken::named("ci")).await;
    // The caller's own token is cached.
    endpoints.introspect("token=a").await.inactive();
    let store = &endpoints.platform.scene.store;
    store.set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let answer = endpoints.introspect_token(&token).await;
    answer.error(503, "temporarily_unavailable");
    store.set_fault(Fault::None);
    endpoints.introspect_token(&token).await.active();
    // Nor is it if the caller cannot be checked.
    endpoints.platform.scene.clock.advance(HOUR);
    store.set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let answer = endpoints.introspect_token(&token).await;
    answer.error(503, "temporarily_unavailable");
}

#[tokio::test]
async fn a_revocation_shows_in_the_next_answer() {
    let endpoints = Endpoints::new().await;
    let token = endpoints.issue(NewToken::named("ci")).await;
    endpoints.introspect_token(&token).await.active();
    let tokens = &endpoints.platform.scene.tokens;
    tokens.revoke(token.record().id).await.unwrap();
    endpoints.introspect_token(&token).await.inactive();
}

#[tokio::test]
async fn callers_need_the_scope() {
    let endpoints = Endpoints::new().await;
    let live = endpoints.issue(NewToken::named("ci")).await;
    let form = format!("token={}", live.token().expose());
    for scopes in [
        "",
        "tokens:admin tokens:owner",
        "tokens:introspect:all tokens",
    ] {
        let new = NewToken::named("other").scopes(scopes.parse().unwrap());
        let other = endpoints.issue(new).await;
        let credential = format!("Bearer {}", other.token().expose());
        let answer = endpoints.introspect_as(&credential, &form).await;
        answer.error(401, "insufficient_scope");
        assert_eq!(
            answer.header("www-authenticate"),
            "Bearer realm=\"api\", error=\"insufficient_scope\", \
             error_description=\"The token lacks a required scope.\", scope=\"tokens:introspect\""
        );
    }
    for (credential, status, code) in [
        ("Bearer acme_live_a_typo", 401, "invalid_client"),
        ("Digest a", 401, "invalid_client"),
        ("Bearer a b", 400, "invalid_request"),
    ] {
        let answer = endpoints.introspect_as(credential, &form).await;
        answer.error(status, code);
    }
    let request = Request::post("/oauth/introspect").header(CONTENT_TYPE, FORM);
    let anonymous = endpoints
        .send(request.body(Body::from(form)).unwrap())
        .await;
    anonymous.error(401, "invalid_client");
}

#[tokio::test]
async fn callers_can_send_their_token_as_a_password() {
    let endpoints = Endpoints::new().await;
    let live = endpoints.issue(NewToken::named("ci")).await;
    let pair = format!("my-gateway:{}", endpoints.caller.token().expose());
    let basic = format!("Basic {}", BASE64_STANDARD.encode(pair));
    let form = format!("token={}", live.token().expose());
    endpoints.introspect_as(&basic, &form).await.active();
}

#[tokio::test]
async fn callers_can_percent_encode_their_token_as_oauth_clients_do() {
    let endpoints = Endpoints::new().await;
    let live = endpoints.issue(NewToken::named("ci")).await;
    let form = format!("token={}", live.token().expose());
    let caller = endpoints.caller.token().expose();
    let escaped = caller.replace('_', "%5F").replace('a', "%61");
    for pair in [
        format!("my%3Agateway:{escaped}"),
        format!(":{escaped}"),
        format!("{escaped}:"),
        format!("100%:{caller}"),
    ] {
        let basic = format!("basic {}", BASE64_STANDARD.encode(&pair));
        endpoints.introspect_as(&basic, &form).await.active();
    }
    for (pair, status) in [
        (format!("my-gateway:{}%5F", caller), 401),
        (format!("my-gateway:{}", caller.replace('_', "%255F")), 401),
        (format!("my-gateway:%FF{caller}"), 401),
        (format!("my-gateway:%0A{caller}"), 401),
        ("%5F".to_owned(), 400),
    ] {
        let basic = format!("Basic {}", BASE64_STANDARD.encode(&pair));
        let answer = endpoints.introspect_as(&basic, &form).await;
        assert_eq!(answer.status.as_u16(), status, "{pair}");
    }
}

#[tokio::test]
async fn callers_with_two_credentials_are_refused() {
    let endpoints = Endpoints::new().await;
    let live = endpoints.issue(NewToken::named("ci")).await;
    let form = format!("token={}", live.token().expose());
    let caller = endpoints.caller.token().expose();
    let bearer = format!("Bearer {caller}");
    let escaped = format!("my-gateway:{}", caller.replace('_', "%5F"));
    let basic = format!("Basic {}", BASE64_STANDARD.encode(escaped));
    for pair in [[&bearer, &basic], [&basic, &bearer], [&basic, &basic]] {
        let request = Request::post("/oauth/introspect")
            .header(CONTENT_TYPE, FORM)
            .header(AUTHORIZATION, pair[0])
            .header(AUTHORIZATION, pair[1]);
        let answer = endpoints.send(request.body(Body::from(form.clone())).unwrap());
        answer.await.error(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_client_secret_in_the_form_is_no_credential() {
    let endpoints = Endpoints::new().await;
    let live = endpoints.issue(NewToken::named("ci")).await;
    let form = format!(
        "token={}&client_id=my-gateway&client_secret={}",
        live.token().expose(),
        endpoints.caller.token().expose()
    );
    let request = Request::post("/oauth/introspect").header(CONTENT_TYPE, FORM);
    let answer = endpoints.send(request.body(Body::from(form)).unwrap());
    answer.await.error(401, "invalid_client");
}

#[tokio::test]
async fn callers_can_be_limited_to_named_apps() {
    let platform = Platform::new();
    let allowed = platform.scene.create_app("Allowed").await;
    let introspect = NewToken::named("a").scopes("tokens:introspect".parse().unwrap());
    let ours = platform.scene.issue(&allowed.id, introspect).await;
    let endpoints =
        Endpoints::configured(platform, |builder| builder.introspected_by([allowed.id])).await;
    let theirs = endpoints.introspect("token=a").await;
    theirs.error(401, "insufficient_scope");
    let challenge = theirs.header("www-authenticate");
    assert_eq!(
        challenge,
        "Bearer realm=\"api\", error=\"insufficient_scope\""
    );
    let credential = format!("Bearer {}", ours.token().expose());
    endpoints
        .introspect_as(&credential, "token=a")
        .await
        .inactive();
}

#[tokio::test]
async fn every_challenge_names_the_realm() {
    for limited in [true, false] {
        let endpoints = Endpoints::configured(Platform::new(), |builder| {
            let builder = builder.realm(r#"a "b" \c"#).unwrap();
            match limited {
                true => builder.introspected_by([]),
                false => builder,
            }
        });
        let endpoints = endpoints.await;
        let answer = match limited {
            true => endpoints.introspect("token=a").await,
            false => endpoints.introspect_as("Bearer a", "token=a").await,
        };
        let challenge = answer.header("www-authenticate");
        assert!(challenge.contains(r#"realm="a \"b\" \\c""#), "{challenge}");
    }
}

#[tokio::test]
async fn a_caller_outside_of_its_networks_is_refused() {
    let endpoints = Endpoints::configured(Platform::new(), |builder| {
        builder.caller_address(|request| {
            let address = request.headers().get("x-test-address")?;
            address.to_str().ok()?.parse().ok()
        })
    })
    .await;
    let networks = "10.0.0.0/8".parse().unwrap();
    let new = NewToken::named("ci").scopes("tokens:introspect".parse().unwrap());
    let caller = endpoints.issue(new.networks(networks)).await;
    for (address, status) in [("10.0.0.1", 200), ("192.0.2.1", 401), ("", 401)] {
        let request = Request::post("/oauth/introspect")
            .header(
                "authorization",
                format!("Bearer {}", caller.token().expose()),
            )
            .header("x-test-address", address)
            .header(CONTENT_TYPE, FORM);
        let answer = endpoints
            .send(request.body(Body::from("token=a")).unwrap())
            .await;
        assert_eq!(answer.status.as_u16(), status, "{address}");
    }
}

#[tokio::test]
async fn forms_that_cannot_be_read_are_refused() {
    let endpoints = Endpoints::new().await;
    unreadable_forms_are_refused(&endpoints, "/oauth/introspect", 16 << 10).await;
    // Not even read without a caller.
    let request = Request::post("/oauth/introspect").header(CONTENT_TYPE, FORM);
    let large = Body::from("a".repeat(10 << 20));
    let answer = endpoints.send(request.body(large).unwrap()).await;
    answer.error(401, "invalid_client");
}

#[tokio::test]
async fn unknown_parameters_are_ignored() {
    let endpoints = Endpoints::new().await;
    let token = endpoints.issue(NewToken::named("ci")).await;
    let form = format!(
        "a=b&token={}&a=c&token_type_hint=access_token&token_type_hint=x&%ff=%zz",
        token.token().expose()
    );
    endpoints.introspect(&form).await.active();
}
