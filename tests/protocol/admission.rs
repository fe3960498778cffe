use std::time::Duration;

use tower_api_tokens::NewToken;

use crate::{
    service::{BEARER, Protected, invalid_token},
    wire::Raw,
};

#[tokio::test]
async fn the_scheme_is_read_in_any_case_and_before_any_number_of_spaces() {
    let service = Protected::new().await;
    let token = service.plaintext();
    for value in [
        format!("Bearer {token}"),
        format!("bearer {token}"),
        format!("BEARER {token}"),
        format!("Bearer    {token}"),
    ] {
        service.admits(&Raw::get().authorization(value)).await;
    }
}

#[tokio::test]
async fn white_space_around_a_value_changes_nothing() {
    let service = Protected::new().await;
    let token = service.bearer();
    for value in [
        format!(" {token}"),
        format!("{token} "),
        format!("\t{token}\t"),
        format!(" \t {token} \t "),
    ] {
        service.admits(&Raw::get().authorization(value)).await;
    }
}

#[tokio::test]
async fn the_name_of_the_header_is_read_in_any_case() {
    let service = Protected::new().await;
    for name in [
        "authorization",
        "Authorization",
        "AUTHORIZATION",
        "aUtHoRiZaTiOn",
    ] {
        service
            .admits(&Raw::get().field(name, service.bearer()))
            .await;
    }
}

#[tokio::test]
async fn every_method_gets_the_same_verdict() {
    let service = Protected::new().await;
    for method in [
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW",
    ] {
        let raw = Raw::get().method(method);
        let answer = service
            .ask(&raw.clone().authorization(service.bearer()))
            .await;
        assert_eq!(answer.status, 200, "{method}");
        service.refuses(&raw, 401, BEARER).await;
        let unknown = raw.authorization("Bearer acme_unknown");
        service.refuses(&unknown, 401, &invalid_token()).await;
    }
}

#[tokio::test]
async fn every_path_gets_the_same_verdict() {
    let service = Protected::new().await;
    for path in ["/", "//p", "/p;x", "/%70", "/./p", "/../p", "/p?x", "*"] {
        let raw = Raw::get()
            .path(path)
            .method(if path == "*" { "OPTIONS" } else { "GET" });
        service
            .admits(&raw.clone().authorization(service.bearer()))
            .await;
        service.refuses(&raw, 401, BEARER).await;
    }
}

#[tokio::test]
async fn a_token_is_refused_from_its_expiry_on_however_well_it_is_remembered() {
    let service = Protected::new().await;
    let app = service.token.record().app.id;
    let new = NewToken::named("short").expires_in(Duration::from_secs(2));
    let token = service.tokens.issue(&app, new).await.unwrap();
    let raw = Raw::get().authorization(format!("Bearer {}", token.token().expose()));
    service.admits(&raw).await;
    service
        .clock
        .advance(Duration::from_secs(2) - Duration::from_nanos(1));
    service.admits(&raw).await;
    service.clock.advance(Duration::from_nanos(1));
    service.refuses(&raw, 401, &invalid_token()).await;
}

#[tokio::test]
async fn headers_that_look_like_an_identity_are_never_read() {
    let service = Protected::with(|layer| layer.optional()).await;
    let raw = Raw::get()
        .field("x-app-id", "Billing")
        .field("x-forwarded-user", "Billing");
    service.admits_nobody(&raw).await;
}
