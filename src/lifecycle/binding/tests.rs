use std::time::Duration;

use super::*;
use crate::{
    ApiTokens, IdempotencyKeyError, MaskedToken, MemoryStore, TokenDigest, TokenFormat,
    model::{grantable::Grantable, scope::ScopeSet},
};

const DAY: Duration = Duration::from_secs(86_400);

fn tokens() -> ApiTokens {
    ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme").unwrap())
}

fn by(actor: &str) -> ApiTokens {
    tokens().acting_as(Authority::of(actor))
}

fn billing() -> AppId {
    AppId::new("billing").unwrap()
}

fn key() -> IdempotencyKey {
    IdempotencyKey::new("k1").unwrap()
}

fn new(scopes: &str) -> NewToken {
    let scopes: ScopeSet = scopes.parse().unwrap();
    NewToken::named("ci").scopes(scopes).idempotency_key(key())
}

fn hex(digest: [u8; 32]) -> String {
    TokenDigest::from_bytes(digest).to_hex()
}

/// Hashes of the previous version for the same requests: a request that was sent to it may be
/// repeated to this version.
#[test]
fn keys_survive_an_upgrade() {
    let owner = "6b87ee7ee2035072994f8e80dae09d6a10891925377ecd28222a2f8c9094d348";
    let at = "2027-01-31T12:00:00Z".parse().unwrap();
    let cases = [
        (
            new("read write"),
            "1ae78dc605f3af6df62b1d54a5383f2d4fe36608c737242e68974ec19b273c3b",
        ),
        (
            new("read").expires_at(at),
            "efa73a99e34580f452cdc183870270aa084a7fcebc6e4c6eaac46fa2517968ce",
        ),
        (
            new("").expires_in(DAY),
            "a241a89bf0bc42544e66197567e67cf4eedffe5e0431cc27267a0966b3750c69",
        ),
        (
            new("").prefix("acme_test"),
            "09413425133d98a54e63777768a41e8c3af8500ebbdc7d68d2bf0b11bed40d9a",
        ),
    ];
    let alice = by("alice");
    for (request, expected) in cases {
        let bound = alice.authority.key_of_issue(&billing(), &request).unwrap();
        assert_eq!((&*hex(bound.key), &*hex(bound.request)), (owner, expected));
    }

    let id = "01890000-0000-7000-8000-000000000000".parse().unwrap();
    let rotation = Rotation::new(DAY).idempotency_key(key());
    let bound = alice.authority.key_of_rotation(id, &rotation).unwrap();
    let expected = "a254ad1cf361a9c69adcd0b4e172d6c55453c322c17b6a1fc44779bca09a7420";
    assert_eq!((&*hex(bound.key), &*hex(bound.request)), (owner, expected));
}

#[test]
fn owners_do_not_share_keys() {
    let grantable = Grantable::everything();
    // Names and identifiers that could be confused with a key or part of another owner.
    let [app, k1] = ["app", "k1"].map(|id| AppId::new(id).unwrap());
    let owners = [
        tokens(),
        by(""),
        by("k1"),
        by("app"),
        tokens().app(app, &grantable).tokens,
        tokens().app(k1, &grantable).tokens,
        by("k1").app(app, &grantable).tokens,
        by("app").app(k1, &grantable).tokens,
        by("app").app(app, &grantable).tokens,
    ];
    let mut keys: Vec<_> = owners
        .iter()
        .flat_map(|owner| {
            ["k1", "app"].map(|text| {
                let key = IdempotencyKey::new(text).unwrap();
                let request = new("").idempotency_key(key);
                owner
                    .authority
                    .key_of_issue(&billing(), &request)
                    .unwrap()
                    .key
            })
        })
        .collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((keys.len(), count), (18, 18));
}

#[test]
fn a_key_is_bound_to_its_request() {
    let tokens = tokens();
    let id: TokenId = "01890000-0000-7000-8000-000000000000".parse().unwrap();
    let mask = MaskedToken::new("legacy-", "9f3c").unwrap();
    let imported = |text: &[u8]| ImportedToken::new(new(""), TokenDigest::of(text), mask);
    let rotation = |overlap| Rotation::new(overlap).idempotency_key(key());
    let keys = [
        tokens.authority.key_of_issue(&billing(), &new("")),
        tokens.authority.key_of_issue(&billing(), &new("read")),
        tokens
            .authority
            .key_of_issue(&AppId::new("other").unwrap(), &new("")),
        tokens
            .authority
            .key_of_issue(&billing(), &new("").expires_in(DAY)),
        tokens.authority.key_of_import(&billing(), &imported(b"a")),
        tokens.authority.key_of_import(&billing(), &imported(b"b")),
        tokens.authority.key_of_rotation(id, &rotation(DAY)),
        tokens.authority.key_of_rotation(id, &rotation(DAY * 2)),
    ];
    let mut requests: Vec<_> = keys.iter().map(|key| key.unwrap().request).collect();
    requests.sort_unstable();
    requests.dedup();
    assert_eq!(requests.len(), keys.len());
    assert!(
        keys.iter()
            .all(|key| key.unwrap().key == keys[0].unwrap().key)
    );
    assert_eq!(tokens.authority.key_of_rotation(id, &DAY.into()), None);
}

#[test]
fn a_key_is_one_word_of_visible_ascii() {
    for bad in ["", " ", "a b", "ä", "a\n", &"x".repeat(256)] {
        assert_eq!(bad.parse::<IdempotencyKey>(), Err(IdempotencyKeyError));
    }
    assert!(IdempotencyKey::new(&"x".repeat(255)).is_ok());
    assert!(!format!("{:?}", new("")).contains("k1"));
}
