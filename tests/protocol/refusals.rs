use std::time::Duration;

use tower_api_tokens::{NewToken, RejectionKind};

use crate::{
    service::{BEARER, MALFORMED, Protected, invalid_request, invalid_token},
    wire::{Answer, Raw},
};

/// Every part of an answer.
fn snapshot(answer: &Answer) -> String {
    let mut text = format!("{}\n", answer.status);
    for (name, value) in &answer.headers {
        text += &format!("{name}: {value}\n");
    }
    text + &answer.body
}

#[tokio::test]
async fn no_credential() {
    let service = Protected::new().await;
    let answer = service.refuses(&Raw::get(), 401, BEARER).await;
    assert_eq!(
        snapshot(&answer),
        r#"401
cache-control: no-store
content-type: application/problem+json
www-authenticate: Bearer realm="api"
{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The request carries no token."}"#
    );
}

#[tokio::test]
async fn an_unknown_token() {
    let service = Protected::new().await;
    let raw = Raw::get().authorization("Bearer acme_unknown");
    let answer = service.refuses(&raw, 401, &invalid_token()).await;
    assert_eq!(
        snapshot(&answer),
        r#"401
cache-control: no-store
content-type: application/problem+json
www-authenticate: Bearer realm="api", error="invalid_token", error_description="The token is not valid."
{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The token is not valid."}"#
    );
}

#[tokio::test]
async fn a_malformed_credential() {
    let service = Protected::new().await;
    let raw = Raw::get().authorization("Bearer a b");
    let answer = service
        .refuses(&raw, 400, &invalid_request(MALFORMED))
        .await;
    assert_eq!(
        snapshot(&answer),
        r#"400
cache-control: no-store
content-type: application/problem+json
www-authenticate: Bearer realm="api", error="invalid_request", error_description="The credential is malformed: send exactly one token."
{"type":"about:blank","title":"Bad Request","status":400,"detail":"The credential is malformed: send exactly one token."}"#
    );
}

#[tokio::test]
async fn unknown_revoked_expired_disabled_and_mistyped_tokens_look_the_same() {
    let service = Protected::new().await;
    let tokens = &service.tokens;
    let app = service.token.record().app.id;
    let other = tokens.create_app("Other").await.unwrap().id;
    let issue = async |app, new| tokens.issue(app, new).await.unwrap();
    let revoked = issue(&app, NewToken::named("revoked")).await;
    let new = NewToken::named("expired").expires_in(Duration::from_secs(1));
    let expired = issue(&app, new).await;
    let disabled = issue(&other, NewToken::named("disabled")).await;
    tokens.revoke(revoked.record().id).await.unwrap();
    tokens.disable_app(&other).await.unwrap();
    service.clock.advance(Duration::from_secs(1));
    let elsewhere = Protected::new().await;

    let mut answers = Vec::new();
    for (token, kind) in [
        (elsewhere.plaintext(), RejectionKind::UnknownToken),
        (revoked.token().expose(), RejectionKind::RevokedToken),
        (expired.token().expose(), RejectionKind::ExpiredToken),
        (disabled.token().expose(), RejectionKind::DisabledApp),
        ("acme_0000000000", RejectionKind::WrongFormat),
        (
            "other_00000000000000000000000000000000000000",
            RejectionKind::WrongFormat,
        ),
    ] {
        let raw = Raw::get().authorization(format!("Bearer {token}"));
        answers.push(service.refuses(&raw, 401, &invalid_token()).await);
        let inside = tokens.authenticator().authenticate(token.as_bytes()).await;
        assert_eq!(inside.unwrap_err().kind(), kind);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[tokio::test]
async fn the_wrong_prefix_length_or_checksum_costs_no_question() {
    let service = Protected::new().await;
    let good = service.plaintext();
    let changed = |at: usize| -> String {
        let swap = |c| if c == 'x' { 'y' } else { 'x' };
        good.chars()
            .enumerate()
            .map(|(i, c)| if i == at { swap(c) } else { c })
            .collect()
    };
    let last = good.len() - 1;
    for bad in [
        &changed(0),
        &changed(10),
        &changed(last),
        &good[..last],
        &format!("{good}0"),
    ] {
        let raw = Raw::get().authorization(format!("Bearer {bad}"));
        service.refuses(&raw, 401, &invalid_token()).await;
    }
    assert_eq!(service.store.finds(), 0);
}

#[tokio::test]
async fn a_token_in_the_url_or_the_body_is_not_read() {
    let service = Protected::new().await;
    let token = service.plaintext();
    let url = Raw::get().path(&format!("/?access_token={token}"));
    service.refuses(&url, 401, BEARER).await;
    let form = Raw::get()
        .method("POST")
        .field("content-type", "application/x-www-form-urlencoded")
        .field("cookie", format!("access_token={token}"));
    service.refuses(&form, 401, BEARER).await;
}

#[tokio::test]
async fn the_answer_to_head_has_no_body() {
    let service = Protected::new().await;
    let answer = service
        .refuses(&Raw::get().method("HEAD"), 401, BEARER)
        .await;
    assert_eq!(answer.body, "");
    assert_eq!(answer.values("content-type"), ["application/problem+json"]);
}

#[tokio::test]
async fn a_realm_is_escaped_or_refused() {
    let service = Protected::with(|layer| layer.realm(r#"the "best" \ api"#).unwrap()).await;
    let challenge = r#"Bearer realm="the \"best\" \\ api""#;
    service.refuses(&Raw::get(), 401, challenge).await;
    for bad in ["a\nb", "a\r\nSet-Cookie: x", "a\0", "a\tb", "\u{7f}", "é"] {
        let error = tower_api_tokens::ApiTokenLayer::new(&service.tokens).realm(bad);
        assert!(error.unwrap_err().to_string().contains("realm"), "{bad:?}");
    }
}

#[tokio::test]
async fn every_refusal_has_one_bearer_challenge_with_a_realm() {
    let service = Protected::new().await;
    for raw in [
        Raw::get(),
        Raw::get().authorization("Bearer a b"),
        Raw::get().authorization("Bearer acme_x"),
        Raw::get().authorization("Basic YTpi"),
    ] {
        let answer = service.ask(&raw).await;
        let challenges = answer.values("www-authenticate");
        assert!(
            matches!(challenges[..], [one] if one.starts_with(BEARER)),
            "{challenges:?}"
        );
    }
}
