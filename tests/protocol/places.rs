//! Tokens in an API-key header and in Basic credentials.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    support::{Fixture, Server, UNKNOWN, bearer},
    wire::Wire,
};

fn basic(text: impl AsRef<[u8]>) -> String {
    format!("Basic {}", STANDARD.encode(text))
}

async fn api_key(fixture: &Fixture) -> Server {
    Server::behind(fixture.layer().api_key_header("X-Api-Key").unwrap()).await
}

#[tokio::test]
async fn the_value_of_an_api_key_header_is_the_token_itself() {
    let fixture = Fixture::new().await;
    let server = api_key(&fixture).await;
    let padded = format!("\t {} ", fixture.token());
    for value in [fixture.token(), &padded] {
        let answer = server.admits(&Wire::get().field("x-api-key", value)).await;
        assert_eq!(answer.body, "Billing");
    }
    let answer = server
        .refuses(&Wire::get().field("x-api-key", UNKNOWN))
        .await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn a_bearer_credential_is_accepted_besides_an_api_key_header() {
    let fixture = Fixture::new().await;
    let server = api_key(&fixture).await;
    server
        .admits(&Wire::get().authorization(fixture.bearer()))
        .await;
}

#[tokio::test]
async fn a_scheme_in_an_api_key_header_is_malformed() {
    let fixture = Fixture::new().await;
    let server = api_key(&fixture).await;
    let token = fixture.token();
    for value in [
        bearer(token),
        format!("Basic {token}"),
        format!("{token},{token}"),
    ] {
        let answer = server.refuses(&Wire::get().field("x-api-key", value)).await;
        assert_eq!(answer.status, 400);
    }
    assert_eq!(fixture.store.finds(), 0);
}

#[tokio::test]
async fn an_empty_or_overlong_api_key_is_malformed() {
    let fixture = Fixture::new().await;
    let server = api_key(&fixture).await;
    for value in ["", " ", "=", "%61", &"a".repeat(4097)] {
        let answer = server.refuses(&Wire::get().field("x-api-key", value)).await;
        assert_eq!(answer.status, 400);
    }
    assert_eq!(fixture.store.finds(), 0);
}

#[tokio::test]
async fn two_api_key_fields_are_malformed_even_when_they_are_identical() {
    let fixture = Fixture::new().await;
    let server = api_key(&fixture).await;
    for second in [fixture.token(), "", "a"] {
        let request = Wire::get()
            .field("x-api-key", fixture.token())
            .field("x-api-key", second);
        assert_eq!(server.refuses(&request).await.status, 400);
    }
    assert_eq!(fixture.store.finds(), 0);
}

#[tokio::test]
async fn an_api_key_together_with_a_bearer_credential_is_malformed() {
    let fixture = Fixture::new().await;
    let server = api_key(&fixture).await;
    for (key, authorization) in [
        (fixture.token(), &*fixture.bearer()),
        (fixture.token(), "Bearer"),
        ("", &fixture.bearer()),
        (UNKNOWN, &fixture.bearer()),
    ] {
        let request = Wire::get()
            .field("x-api-key", key)
            .authorization(authorization);
        assert_eq!(server.refuses(&request).await.status, 400, "{request:?}");
    }
    assert_eq!(fixture.store.finds(), 0);
}

#[tokio::test]
async fn an_api_key_is_accepted_besides_an_unsupported_scheme() {
    let fixture = Fixture::new().await;
    let server = api_key(&fixture).await;
    let request = Wire::get()
        .field("x-api-key", fixture.token())
        .authorization("Basic QQ==");
    server.admits(&request).await;
}

#[tokio::test]
async fn an_api_key_together_with_a_basic_credential_is_malformed_if_both_are_enabled() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer().basic().api_key_header("x-api-key").unwrap();
    let server = Server::behind(layer).await;
    let request = Wire::get()
        .field("x-api-key", fixture.token())
        .authorization(basic(format!("{}:", fixture.token())));
    assert_eq!(server.refuses(&request).await.status, 400);
    assert_eq!(fixture.store.finds(), 0);
}

#[tokio::test]
async fn an_invalid_field_name_cannot_be_the_api_key_header() {
    let fixture = Fixture::new().await;
    for name in ["", "x api key", "x\n", ":authority", "é"] {
        let error = fixture.layer().api_key_header(name).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid name of the API-key header; use one such as `x-api-key`"
        );
    }
}

#[tokio::test]
async fn a_field_with_another_meaning_cannot_be_the_api_key_header() {
    let fixture = Fixture::new().await;
    for name in [
        "authorization",
        "Authorization",
        "proxy-authorization",
        "cookie",
        "Cookie",
        "set-cookie",
        "host",
        "connection",
        "keep-alive",
        "proxy-connection",
        "content-length",
        "content-type",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "date",
        "www-authenticate",
        "user-agent",
        "origin",
        "referer",
        "via",
        "forwarded",
        "x-forwarded-for",
        "x-real-ip",
        "sec-websocket-protocol",
        "sec-fetch-site",
        "access-control-request-method",
        "if-none-match",
    ] {
        let error = fixture.layer().api_key_header(name).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("another meaning in HTTP"), "{message}");
        assert!(
            message.ends_with("use a name such as `x-api-key`"),
            "{message}"
        );
    }
    for name in [
        "x-api-key",
        "X-Acme-Token",
        "api-key",
        "x-auth-token",
        "secret",
        "hosts",
    ] {
        assert!(fixture.layer().api_key_header(name).is_ok(), "{name}");
    }
}

#[tokio::test]
async fn a_token_is_accepted_as_basic_password_or_as_user_name_with_an_empty_password() {
    let fixture = Fixture::new().await;
    let server = Server::behind(fixture.layer().basic()).await;
    let token = fixture.token();
    for text in [
        format!("x:{token}"),
        format!(":{token}"),
        format!("ü:{token}"),
        format!("{UNKNOWN}:{token}"),
        format!("{token}:"),
    ] {
        let value = basic(&text);
        for value in [
            value.clone(),
            value.replace("Basic", "bASIC"),
            value.replace(' ', "  "),
        ] {
            let answer = server.admits(&Wire::get().authorization(value)).await;
            assert_eq!(answer.body, "Billing");
        }
    }
}

#[tokio::test]
async fn the_user_name_is_ignored_if_there_is_a_password() {
    let fixture = Fixture::new().await;
    let server = Server::behind(fixture.layer().basic()).await;
    let token = fixture.token();
    for text in [
        format!("{token}:x"),
        format!("{token}::"),
        format!("x:{token}:"),
        ":".into(),
    ] {
        let answer = server
            .refuses(&Wire::get().authorization(basic(text)))
            .await;
        assert_eq!(answer.status, 401);
    }
}

#[tokio::test]
async fn a_basic_credential_that_does_not_decode_is_malformed() {
    let fixture = Fixture::new().await;
    let server = Server::behind(fixture.layer().basic()).await;
    let good = STANDARD.encode(format!("x:{}", fixture.token()));
    for value in [
        "Basic".to_owned(),
        "Basic ".to_owned(),
        format!("Basic\t{good}"),
        format!("Basic {good} {good}"),
        format!("Basic {good}, {good}"),
        format!("Basic {good}, Bearer {}", fixture.token()),
        "Basic !".to_owned(),
        "Basic QQ".to_owned(),
        "Basic QQ==QQ==".to_owned(),
        basic(fixture.token()),
        basic(b"x:\xff"),
        basic(b"\xff:x"),
        format!("Basic {}", "QUFB".repeat(1100)),
    ] {
        let answer = server.refuses(&Wire::get().authorization(&value)).await;
        assert_eq!(answer.status, 400, "{value}");
    }
    assert_eq!(fixture.store.finds(), 0);
}

#[tokio::test]
async fn a_basic_password_that_cannot_be_a_token_is_refused_as_unknown() {
    let fixture = Fixture::new().await;
    let server = Server::behind(fixture.layer().basic()).await;
    let unknown = server
        .refuses(&Wire::get().authorization(bearer(UNKNOWN)))
        .await;
    assert_eq!((unknown.status, fixture.store.finds()), (401, 1));
    for password in ["hunter 2", "pässword", "\n", ""] {
        let value = basic(format!("user:{password}"));
        let answer = server.refuses(&Wire::get().authorization(value)).await;
        assert_eq!(answer, unknown, "{password:?}");
    }
    assert_eq!(fixture.store.finds(), 1);
}
