//! Tokens that another system issued.

use std::process::Command;

use jiff::Timestamp;
use tower_api_tokens::{
    ApiTokens, AppId, MemoryStore, TokenDigest, TokenFormat, TokenStore,
    testing::ManualClock,
    transfer::{Completeness, FaultKind, Import},
};
use tower_api_tokens_sqlx::SqliteStore;

use crate::support::{import, tokens};

fn digest(token: &str) -> String {
    TokenDigest::of(token.as_bytes()).to_hex()
}

#[tokio::test]
async fn a_digest_of_sha256sum_and_an_app_are_enough() {
    let output = Command::new("sh")
        .args(["-c", "printf %s legacy-secret | sha256sum"])
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let digest = printed.split_whitespace().next().unwrap();
    let line = format!(r#"{{"token":{{"app":{{"id":"42","name":"Acme"}},"digest":"{digest}"}}}}"#);
    let store = MemoryStore::new();
    let now = Timestamp::new(1_800_000_000, 0).unwrap();
    let report = Import::new(&store)
        .clock(ManualClock::new(now))
        .run(line.as_bytes())
        .await
        .unwrap();
    assert_eq!((report.inserted, report.apps_created), (1, 1));
    assert_eq!(report.completeness, Completeness::Unknown);

    let tokens = ApiTokens::builder(store.clone(), TokenFormat::new("acme").unwrap());
    let tokens = tokens.any_format().build();
    let principal = tokens.authenticator().authenticate(b"legacy-secret").await;
    assert_eq!(principal.unwrap().app_name(), "Acme");
    let found = store.find(&TokenDigest::of(b"legacy-secret")).await;
    let record = found.unwrap().record.unwrap();
    assert_eq!(
        (record.name.as_str(), record.mask.as_str()),
        ("imported", "…")
    );
    assert_eq!((record.created_at, record.expires_at), (now, None));
    assert!(record.scopes.is_empty());
}

#[tokio::test]
async fn every_optional_field_is_imported() {
    let file = format!(
        concat!(
            r#"{{"app":{{"id":"42","name":"Acme"}}}}"#,
            "\r\n\r\n",
            r#" {{ "token" : {{"digest":"{}","app":"42","name":" partner ","mask":"legacy-…9f3c","#,
            r#""scopes":"b a","expires_at":"2027-01-01T00:00:00+01:00","#,
            r#""created_at":"2020-01-01T00:00:00.123456789Z","revoked_at":null,"uses":7}} }} "#,
        ),
        digest("secret").to_uppercase(),
    );
    let (store, again) = (MemoryStore::new(), "\u{feff}".to_owned() + &file);
    assert_eq!(import(&store, &file).await.report.inserted, 2);
    let [token] = &tokens(&store).await[..] else {
        panic!("one token");
    };
    assert_eq!(token.digest, TokenDigest::of(b"secret"));
    assert_eq!(
        (token.name.as_str(), token.mask.as_str()),
        ("partner", "legacy-…9f3c")
    );
    assert_eq!((token.scopes.as_str(), token.uses), ("a b", 7));
    assert_eq!(
        token.expires_at.unwrap().to_string(),
        "2026-12-31T23:00:00Z"
    );
    assert_eq!(token.created_at.to_string(), "2020-01-01T00:00:00.123456Z");
    assert_eq!(import(&store, again).await.report.already_present, 2);
}

#[tokio::test]
async fn a_digest_in_base64url_has_its_own_field() {
    let text = TokenDigest::of(b"secret").to_base64url();
    let line = |field: &str| {
        format!(r#"{{"token":{{"app":{{"id":"42","name":"Acme"}},"{field}":"{text}"}}}}"#)
    };
    let store = MemoryStore::new();
    assert_eq!(import(&store, line("digest")).await.report.refused, 1);
    assert_eq!(
        import(&store, line("digest_base64url"))
            .await
            .report
            .inserted,
        1
    );
    assert!(
        store
            .find(&TokenDigest::of(b"secret"))
            .await
            .unwrap()
            .record
            .is_some()
    );
}

#[tokio::test]
async fn a_list_can_be_imported_again_as_it_grows() {
    let line = |n: u32| {
        let digest = digest(&format!("secret {n}"));
        format!(
            "{{\"token\":{{\"app\":{{\"id\":\"{}\",\"name\":\"Acme\"}},\"digest\":\"{digest}\"}}}}\n",
            n % 7
        )
    };
    let store = SqliteStore::connect("sqlite::memory:").await.unwrap();
    let some: String = (0..1500).map(line).collect();
    let first = import(&store, &some).await.report;
    assert_eq!((first.inserted, first.apps_created), (1500, 7));
    let more: String = (1000..2000).map(line).collect();
    let second = import(&store, &more).await.report;
    assert_eq!(
        (second.already_present, second.inserted, second.apps_created),
        (500, 500, 0)
    );
}

#[tokio::test]
async fn a_line_twice_is_one_token_and_one_digest_for_two_apps_a_conflict() {
    let line = |app: &str| {
        let digest = digest("secret");
        format!(
            "{{\"token\":{{\"app\":{{\"id\":\"{app}\",\"name\":\"x\"}},\"digest\":\"{digest}\"}}}}\n"
        )
    };
    let store = MemoryStore::new();
    let imported = import(&store, [line("a"), line("a"), line("b")].concat()).await;
    let report = &imported.report;
    assert_eq!(
        (report.inserted, report.already_present, report.conflicts),
        (1, 1, 1)
    );
    assert_eq!(
        (imported.faults[0].line(), imported.faults[0].kind()),
        (3, FaultKind::Conflict)
    );
    assert_eq!(imported.rejects, line("b"));
    assert_eq!(tokens(&store).await[0].app.id, AppId::new("a").unwrap());
}
