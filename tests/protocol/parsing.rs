//! What is read as a bearer credential, and what is malformed.

use tower_api_tokens::{ImportedToken, MaskedToken, NewToken, TokenDigest};

use crate::{
    support::{Fixture, Server, UNKNOWN, bearer, server},
    wire::Wire,
};

const MALFORMED: &str = "Bearer realm=\"api\", error=\"invalid_request\", \
     error_description=\"The credential is malformed: send exactly one token.\"";

/// A fixture that looks up tokens of any format.
async fn fixture_of_any_format() -> Fixture {
    Fixture::builder()
        .configure(tower_api_tokens::ApiTokensBuilder::any_format)
        .build()
        .await
}

async fn import(fixture: &Fixture, token: &str) {
    let imported = ImportedToken::new(
        NewToken::named("imported"),
        TokenDigest::of(token.as_bytes()),
        MaskedToken::new("", "").unwrap(),
    );
    fixture
        .tokens
        .import(&fixture.app().id, imported)
        .await
        .unwrap();
}

async fn assert_malformed(fixture: &Fixture, server: &Server, value: impl AsRef<[u8]>) {
    let answer = server.refuses(&Wire::get().authorization(value)).await;
    assert_eq!((answer.status, answer.challenge()), (400, MALFORMED));
    assert_eq!(fixture.store.finds(), 0);
}

#[tokio::test]
async fn the_scheme_is_case_insensitive_and_may_be_followed_by_several_spaces() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let token = fixture.token();
    for value in [
        format!("Bearer {token}"),
        format!("bearer {token}"),
        format!("BEARER {token}"),
        format!("bEaReR {token}"),
        format!("Bearer    {token}"),
    ] {
        let answer = server.admits(&Wire::get().authorization(value)).await;
        assert_eq!(answer.body, "Billing");
    }
}

#[tokio::test]
async fn white_space_around_a_credential_is_ignored_over_both_http_versions() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    for (before, after) in [
        (" ", ""),
        ("\t", ""),
        ("", " "),
        ("", "\t"),
        (" \t ", "\t \t"),
    ] {
        let value = format!("{before}{}{after}", fixture.bearer());
        server.admits(&Wire::get().authorization(value)).await;
    }
}

#[tokio::test]
async fn a_scheme_without_a_token_is_malformed() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    for value in ["Bearer", "Bearer ", "bearer", "Bearer \t", "\tBearer   "] {
        assert_malformed(&fixture, &server, value).await;
    }
}

#[tokio::test]
async fn a_tab_between_scheme_and_token_is_malformed() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let token = fixture.token();
    for separator in ["\t", " \t", "\t ", ",", ", ", "=", ":"] {
        assert_malformed(&fixture, &server, format!("Bearer{separator}{token}")).await;
    }
}

#[tokio::test]
async fn several_tokens_in_one_field_are_malformed() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let token = fixture.token();
    for value in [
        "Bearer a b".to_owned(),
        "Bearer a, Bearer b".to_owned(),
        "Bearer a,b".to_owned(),
        format!("Bearer {token} {token}"),
        format!("Bearer {token},{token}"),
        format!("Bearer {token}, Bearer {token}"),
        format!("Bearer {token}, Basic QQ=="),
        format!("Bearer Bearer {token}"),
    ] {
        assert_malformed(&fixture, &server, value).await;
    }
}

#[tokio::test]
async fn a_bearer_credential_after_one_of_another_scheme_in_one_field_is_malformed() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let value = format!("Basic QQ==, {}", fixture.bearer());
    let answer = server.refuses(&Wire::get().authorization(value)).await;
    assert_eq!(answer.status, 400);
    assert_eq!(fixture.store.finds(), 0);
}

#[tokio::test]
async fn a_byte_outside_of_the_alphabet_is_malformed_wherever_it_is() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let token = fixture.token().as_bytes();
    let outside = [
        &b"%61"[..],
        b"\xff",
        b"\x80",
        b"\xa0",
        b"\xc2\xa0",
        "ä".as_bytes(),
        b"\"",
        b"'",
        b"@",
        b":",
        b"\\",
        b"!",
        b"=a",
    ];
    for bytes in outside {
        for at in [0, 5, token.len()] {
            let (head, tail) = token.split_at(at);
            let value = [b"Bearer ", head, bytes, tail].concat();
            assert_malformed(&fixture, &server, value).await;
        }
    }
}

#[tokio::test]
async fn nothing_is_decoded_before_a_token_is_looked_up() {
    let fixture = fixture_of_any_format().await;
    import(&fixture, "abc").await;
    let server = server(&fixture).await;
    server
        .admits(&Wire::get().authorization("Bearer abc"))
        .await;
    let looked_up = fixture.store.finds();
    for value in [
        "Bearer %61bc",
        "Bearer =?utf-8?q?abc?=",
        "Bearer \"abc\"",
        "Bearer ab\\c",
    ] {
        let answer = server.refuses(&Wire::get().authorization(value)).await;
        assert_eq!(
            (answer.status, answer.challenge()),
            (400, MALFORMED),
            "{value}"
        );
    }
    for value in ["Bearer YWJj", "Bearer ABC", "Bearer abc=", "Bearer +abc"] {
        let answer = server.refuses(&Wire::get().authorization(value)).await;
        assert_eq!(answer.status, 401, "{value}");
    }
    // One for each of the four; cached for the second HTTP version.
    assert_eq!(fixture.store.finds(), looked_up + 4);
}

#[tokio::test]
async fn any_b64token_is_looked_up_where_any_format_is_accepted() {
    let fixture = fixture_of_any_format().await;
    let server = server(&fixture).await;
    for token in [
        "a",
        "AZaz09-._~+/",
        "-._~+/",
        "QQ==",
        "a======",
        "Bearer",
        "eyJ.e30.x",
    ] {
        import(&fixture, token).await;
        server
            .admits(&Wire::get().authorization(bearer(token)))
            .await;
    }
}

#[tokio::test]
async fn a_value_longer_than_4096_bytes_is_malformed_and_not_looked_up() {
    let fixture = fixture_of_any_format().await;
    let server = server(&fixture).await;
    let longest = bearer(&"a".repeat(4096 - "Bearer ".len()));
    let answer = server.refuses(&Wire::get().authorization(&longest)).await;
    assert_eq!((answer.status, fixture.store.finds()), (401, 1));

    for value in [
        longest + "a",
        bearer(&"a".repeat(8000)),
        format!("Bearer {}a", " ".repeat(4096)),
    ] {
        let answer = server.refuses(&Wire::get().authorization(value)).await;
        assert_eq!(answer.status, 400);
        assert_eq!(
            answer.challenge(),
            "Bearer realm=\"api\", error=\"invalid_request\", \
             error_description=\"The credential is longer than 4096 bytes.\""
        );
    }
    assert_eq!(fixture.store.finds(), 1);
}

#[tokio::test]
async fn white_space_around_a_value_does_not_count_towards_its_length() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let value = format!("{:>4100}\t", fixture.bearer());
    server.admits(&Wire::get().authorization(value)).await;
}

#[tokio::test]
async fn another_scheme_is_no_credential() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let missing = server.refuses(&Wire::get()).await.but_for_its_hint();
    let token = fixture.token();
    for value in [
        "Basic QQ==".to_owned(),
        "Basic".to_owned(),
        "Digest username=\"a\", realm=\"b\"".to_owned(),
        format!("Token {token}"),
        format!("Bearer2 {token}"),
        format!("Bear {token}"),
        format!("BearerBearer {token}"),
        token.to_owned(),
        format!("Negotiate {}", "YII".repeat(2000)),
    ] {
        let answer = server.refuses(&Wire::get().authorization(&value)).await;
        assert!(!answer.text().contains(token), "{answer:?}");
        assert_eq!(answer.but_for_its_hint(), missing, "{value}");
    }
    assert_eq!(fixture.store.finds(), 0);
}

#[tokio::test]
async fn a_value_that_begins_with_no_scheme_is_malformed() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    for value in [
        &b"\"Bearer\" a"[..],
        b",Bearer a",
        b"\xa0Bearer a",
        b"=",
        b"\xef\xbb\xbfBearer a",
    ] {
        assert_malformed(&fixture, &server, value).await;
    }
}

#[tokio::test]
async fn an_empty_field_is_no_credential() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let missing = server.refuses(&Wire::get()).await;
    for value in ["", " ", "\t \t"] {
        assert_eq!(
            server.refuses(&Wire::get().authorization(value)).await,
            missing
        );
    }
}

#[tokio::test]
async fn a_token_of_the_wrong_format_is_refused_as_unknown_without_a_lookup() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let token = fixture.token();
    let (body, last) = token.split_at(token.len() - 1);
    let other = if last == "0" { "1" } else { "0" };
    let wrong = [
        "a".to_owned(),
        token.replace("acme", "acne"),
        token.to_uppercase(),
        token["acme_".len()..].to_owned(),
        body.to_owned(),
        format!("{token}0"),
        format!("{token}="),
        format!("{body}{other}"),
        format!("x{token}"),
    ];
    let mut answers = Vec::new();
    for token in &wrong {
        answers.push(
            server
                .refuses(&Wire::get().authorization(bearer(token)))
                .await,
        );
    }
    assert_eq!(fixture.store.finds(), 0);
    let unknown = server
        .refuses(&Wire::get().authorization(bearer(UNKNOWN)))
        .await;
    assert_eq!((unknown.status, fixture.store.finds()), (401, 1));
    for (answer, token) in answers.iter().zip(wrong) {
        assert_eq!(answer, &unknown, "{token}");
    }
}
