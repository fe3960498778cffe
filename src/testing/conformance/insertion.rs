use std::{slice, sync::Arc};

use jiff::Timestamp;

use super::{
    Registry,
    fixtures::{
        all, app, app_record, at, change_log, fails, read, restrictions, token, token_record,
    },
};
use crate::{AppQuery, StoreErrorKind, TokenId, TokenRegistryExt};

/// A batch of tokens is inserted completely, or not at all if one of them cannot be inserted.
pub async fn a_batch_is_inserted_all_or_nothing(store: Registry) {
    let app = app(&store, 1).await;
    let tokens: Vec<_> = (1..=100).map(|n| token_record(&app, n)).collect();
    let begin = change_log(&store).revision().await.unwrap();
    store.insert_all(&tokens).await.unwrap();
    store.insert_all(&[]).await.unwrap();
    let end = change_log(&store).revision().await.unwrap();
    assert_eq!(end.number, begin.number + 100, "each is in the log");
    let mut twice = token_record(&app, 301);
    twice.digest = token_record(&app, 300).digest;
    let elsewhere = token_record(&super::fixtures::app_record(9), 302);
    for (bad, kind) in [
        (tokens[50].clone(), StoreErrorKind::AlreadyExists),
        (twice, StoreErrorKind::AlreadyExists),
        (elsewhere, StoreErrorKind::NotFound),
    ] {
        let batch = [token_record(&app, 200), token_record(&app, 300), bad];
        fails(store.insert_all(&batch).await, kind);
    }
    assert_eq!(change_log(&store).revision().await.unwrap(), end);
    let mut listed = all(&store).await;
    listed.reverse();
    assert_eq!(listed, tokens);
}

/// An app's identifier is unique: inserting it again fails and changes nothing.
pub async fn an_app_is_inserted_once(store: Registry) {
    let first = app(&store, 1).await;
    let mut second = app_record(1);
    second.name = "Impostor".into();
    fails(
        store.insert_app(&second).await,
        StoreErrorKind::AlreadyExists,
    );
    assert_eq!(store.app(&first.id).await.unwrap(), Some(first));
    assert_eq!(
        store.apps(&AppQuery::default()).await.unwrap().items.len(),
        1
    );
}

/// An insertion with an existing identifier or digest fails and changes nothing.
pub async fn an_insert_never_replaces(store: Registry) {
    let (ours, theirs) = (app(&store, 1).await, app(&store, 2).await);
    let first = token(&store, &ours, 1).await;
    let (mut same_id, mut same_digest) = (token_record(&theirs, 2), token_record(&theirs, 3));
    same_id.id = first.id;
    same_digest.digest = first.digest;
    for impostor in [&same_id, &same_digest, &first] {
        fails(store.insert(impostor).await, StoreErrorKind::AlreadyExists);
        assert_eq!(all(&store).await, slice::from_ref(&first));
    }
    assert_eq!(store.find(&same_id.digest).await.unwrap().record, None);
}

/// A token of a missing app is not inserted.
pub async fn an_insert_needs_its_app(store: Registry) {
    let token = token_record(&app_record(1), 1);
    fails(store.insert(&token).await, StoreErrorKind::NotFound);
    assert_eq!(read(&store, &token).await, None);
}

/// Every field of a record is read as it was written, times to the microsecond.
pub async fn every_field_survives(store: Registry) {
    let app = app(&store, 1).await;
    let end = Timestamp::from_microsecond(Timestamp::MAX.as_microsecond() / 10 * 10);
    let times = [
        None,
        Some(Timestamp::UNIX_EPOCH),
        Some(Timestamp::from_microsecond(-1).unwrap()),
        Some(Timestamp::from_microsecond(1_800_000_000_123_456).unwrap()),
        Some(Timestamp::from_microsecond(-300_000_000_000_000_000).unwrap()),
        end.ok(),
    ];
    for (n, time) in (1..).zip(times) {
        let mut token = token_record(&app, n);
        token.scopes = "invoices:read invoices:write ~!#$%&'*+".parse().unwrap();
        token.created_at = time.unwrap_or(at(0));
        token.expires_at = time;
        token.revoked_at = time;
        token.last_used_at = time;
        token.uses = u64::from(n) << 32;
        token.restrictions =
            time.map(|time| restrictions(&format!(r#" {{"networks": '%?{time}'}} "#)));
        token.successor = time.map(|_| TokenId::from_bytes([u8::MAX; 16]));
        store.insert(&token).await.expect("a token is inserted");
        assert_eq!(read(&store, &token).await, Some(token));
    }
}

/// A name is either read as it was written, or refused. It is never altered, and never part of a
/// statement.
pub async fn names_survive_or_are_refused(store: Registry) {
    let names = [
        "Robert'); DROP TABLE api_tokens;--",
        "quotes ' \" ` and \\ backslashes \\0 %s $1 ?1 :a @b",
        "Zoë 🚀 日本語 \u{202e}right to left\u{200d}",
        "a\0b",
        "\0",
        " white space around ",
        "ﬁ e\u{301} é",
        &"𝕏".repeat(100),
    ];
    for (n, name) in (1..).zip(names) {
        let mut app = app_record(n);
        app.name = name.to_owned();
        let mut token = token_record(&app, n);
        token.name = name.to_owned();
        if store.insert_app(&app).await.is_err() {
            app.name = "refused".into();
            store.insert_app(&app).await.expect("an app is inserted");
            token.app = app.clone();
        }
        assert_eq!(store.app(&app.id).await.unwrap(), Some(app));
        let kept = store.insert(&token).await.is_ok();
        assert_eq!(
            read(&store, &token).await,
            kept.then_some(token),
            "{name:?}"
        );
    }
}

/// If several insertions of one digest race, exactly one succeeds.
pub async fn racing_inserts_have_one_winner(store: Registry) {
    let app = app(&store, 1).await;
    let racers: Vec<_> = (1..=64)
        .map(|n| {
            let (store, mut token) = (Arc::clone(&store), token_record(&app, n));
            token.digest = token_record(&app, 1).digest;
            tokio::spawn(async move { store.insert(&token).await })
        })
        .collect();
    let mut winners = 0;
    for racer in racers {
        match racer.await.unwrap() {
            Ok(()) => winners += 1,
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::AlreadyExists, "{error:?}"),
        }
    }
    assert_eq!(winners, 1);
    assert_eq!(all(&store).await.len(), 1);
}
