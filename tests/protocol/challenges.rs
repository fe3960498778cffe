//! The parts of a challenge besides the error.

use crate::{
    support::{Fixture, Server, UNKNOWN, bearer},
    wire::Wire,
};

#[tokio::test]
async fn the_realm_is_named_in_every_challenge() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer().realm("Acme API, v2").unwrap();
    let inside = layer.require_all("admin".parse().unwrap());
    let server = Server::behind_all(layer, inside).await;
    for value in ["", "Bearer", &bearer(UNKNOWN), &fixture.bearer()] {
        let answer = server.refuses(&Wire::get().authorization(value)).await;
        let realm = "Bearer realm=\"Acme API, v2\"";
        assert!(answer.challenge().starts_with(realm), "{answer:?}");
    }
}

#[tokio::test]
async fn quotes_and_backslashes_in_a_realm_are_escaped() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer().realm(r#"a "b" \c"#).unwrap().basic();
    let server = Server::behind(layer).await;
    let answer = server.refuses(&Wire::get()).await;
    let challenges: Vec<_> = answer.all("www-authenticate").collect();
    assert_eq!(
        challenges,
        [
            r#"Bearer realm="a \"b\" \\c""#,
            r#"Basic realm="a \"b\" \\c", charset="UTF-8""#
        ]
    );
}

#[tokio::test]
async fn an_invalid_realm_is_refused_when_the_layer_is_built() {
    let fixture = Fixture::new().await;
    for realm in [
        "a\nb",
        "a\r\nx-evil: 1",
        "a\tb",
        "a\0",
        "\x7f",
        "é",
        "\u{a0}",
    ] {
        let error = fixture.layer().realm(realm).unwrap_err();
        assert!(error.to_string().contains("realm"), "{error}");
    }
    assert!(fixture.layer().realm("").is_ok());
}

#[tokio::test]
async fn the_basic_challenge_has_its_own_field_line() {
    let fixture = Fixture::new().await;
    let server = Server::behind(fixture.layer().basic()).await;
    for (value, bearer_challenge) in [
        (String::new(), "Bearer realm=\"api\""),
        (
            bearer(UNKNOWN),
            "Bearer realm=\"api\", error=\"invalid_token\", error_description=\"The token is not valid.\"",
        ),
    ] {
        let answer = server.refuses(&Wire::get().authorization(value)).await;
        assert_eq!(answer.status, 401);
        let challenges: Vec<_> = answer.all("www-authenticate").collect();
        let basic_challenge = "Basic realm=\"api\", charset=\"UTF-8\"";
        assert_eq!(challenges, [bearer_challenge, basic_challenge]);
    }
}

#[tokio::test]
async fn only_a_401_offers_basic() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer().basic();
    let inside = layer.require_all("admin".parse().unwrap());
    let server = Server::behind_all(layer, inside).await;
    for (value, status) in [("Basic !", 400), (&*fixture.bearer(), 403)] {
        let answer = server.refuses(&Wire::get().authorization(value)).await;
        assert_eq!(answer.status, status);
        assert!(answer.challenge().starts_with("Bearer"));
    }
}
