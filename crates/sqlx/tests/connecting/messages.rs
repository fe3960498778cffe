//! No error message shows part of a password.

use std::error::Error;

use proptest::{prelude::*, test_runner::TestRunner};
use tower_api_tokens_sqlx::PostgresStore;

/// Returns everything that an error shows, including its sources.
fn shown(error: &dyn Error) -> String {
    let (mut text, mut next) = (String::new(), Some(error));
    while let Some(error) = next {
        text.push_str(&format!("{error}\n{error:?}\n{error:#?}\n"));
        next = error.source();
    }
    text
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Valid and invalid URLs with a password in every possible place. No server listens at them.
fn urls(password: &str) -> Vec<String> {
    let encoded = encoded(password);
    let half = &encoded[..encoded.len() / 2];
    let mut urls = Vec::new();
    for password in [password, &encoded, half] {
        urls.extend([
            format!("postgres://u:{password}@127.0.0.1:1/db"),
            format!("postgresql://u:{password}@127.0.0.1:1"),
            format!("postgres://:{password}@127.0.0.1:1/db"),
            format!("postgres://u:{password}@[::1]:1/db?sslmode=verify-full"),
            format!("postgres://u:{password}@[::1/db"),
            format!("postgres://u:{password}@127.0.0.1:port/db"),
            format!("postgres://u:{password}@127.0.0.1:99999/db"),
            format!("postgres://u:{password}@127.0.0.1:1/db?sslmode=maybe"),
            format!("postgres://u:{password}@127.0.0.1:1/db?none=1"),
            format!("postgres://u:{password}@127.0.0.1:1,127.0.0.1:2/db"),
            format!("postgres://u:{password}@/db?host=127.0.0.1&port=1"),
            format!("postgres://u@127.0.0.1:1/db?password={password}"),
            format!("postgres://u@127.0.0.1:1/db?password={password}&sslmode=maybe"),
            format!("postgres://127.0.0.1:1/db?user=u&password={password}&port=x"),
            format!("postgres:/u:{password}@127.0.0.1:1/db"),
            format!("postgres:u:{password}@127.0.0.1:1/db"),
            format!("postgres//u:{password}@127.0.0.1:1/db"),
            format!(" postgres://u:{password}@127.0.0.1:1/db"),
            format!("mysql://u:{password}@127.0.0.1:1/db"),
            format!("u:{password}@127.0.0.1:1/db"),
            format!("host=127.0.0.1 port=1 user=u password={password}"),
            format!("host=127.0.0.1 port=1 user=u password='{password}'"),
            format!("password={password} host=127.0.0.1 port=x"),
            format!("host=127.0.0.1 port=1 password = {password} user"),
        ]);
    }
    urls
}

/// The parts of a password that must not be shown.
fn pieces(password: &str) -> Vec<String> {
    let letters: Vec<char> = password.chars().collect();
    letters
        .windows(4)
        .map(|piece| piece.iter().collect())
        .collect()
}

fn check(runtime: &tokio::runtime::Runtime, password: &str) -> Result<(), TestCaseError> {
    for url in urls(password) {
        let builder = PostgresStore::builder(&url);
        let builder_shown = format!("{builder:?}");
        let error = runtime.block_on(builder.connect()).unwrap_err();
        let shown = shown(&error) + &builder_shown;
        for piece in pieces(password) {
            prop_assert!(!shown.contains(&piece), "{url} shows {piece:?}: {shown}");
        }
        for piece in pieces(&encoded(password)) {
            prop_assert!(!shown.contains(&piece), "{url} shows {piece:?}: {shown}");
        }
    }
    Ok(())
}

#[test]
fn no_message_shows_a_part_of_a_password() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for password in [
        "Sup3r@Secret/Word",
        "Sup3r@Secret?W0rd@x",
        "Sup3r Secret=W0rd",
        "S3cr\\et'W0rd",
    ] {
        check(&runtime, password).unwrap();
    }
    let config = ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    // Made of letters that no message contains.
    let passwords = "[QXZJKV79][QXZJKV79@/:?#%&=+,;!$ \\[\\]{}'\"\\\\^|~<>é-]{5,24}[QXZJKV79]";
    TestRunner::new(config)
        .run(&passwords, |password| check(&runtime, &password))
        .unwrap();
}
