//! Every change is logged, and failures of notifications do not affect changes.

use std::error::Error;

use sqlx::{PgConnection, postgres::PgListener};
use tower_api_tokens::{
    AppRecord, Change, ChangeLog, Changes, GrantError, Grantable, MaskedToken, Mutation, Op,
    Replacement, Revision, StoreErrorKind, TokenDigest, TokenId, TokenRecord, TokenRegistry,
    TokenRegistryExt, TokenStore, TokenTarget, Usage, UsageLog,
};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    races::{app, at},
    services::Test,
    support::{Schema, execute, server, try_execute},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![
        every_change_is_logged_once_even_without_triggers,
        enabling_an_app_needs_the_right_to_grant_its_tokens,
        revoking_again_logs_an_unlogged_revocation,
        a_revocation_fails_if_it_cannot_be_logged,
        triggers_run_in_a_replication_session,
        a_node_does_not_start_without_the_triggers,
        clearing_caches_leaves_a_gap_for_every_version,
        a_change_with_an_old_snapshot_is_rejected,
        a_missing_revision_is_a_gap,
        a_full_notification_queue_fails_no_change,
        find_many_returns_answers_in_order_with_positions,
        uses_saturate_at_the_maximum,
    ]
}

pub(crate) const TRIGGERS_OFF: &str = "ALTER TABLE api_tokens DISABLE TRIGGER ALL; \
    ALTER TABLE api_token_apps DISABLE TRIGGER ALL; ALTER TABLE api_token_audit DISABLE TRIGGER ALL";

pub(crate) fn token(app: &AppRecord, number: u128) -> TokenRecord {
    let id = TokenId::from_bytes(number.to_be_bytes());
    let digest = TokenDigest::of(&number.to_be_bytes());
    let mask = MaskedToken::new("acme_", "x7Kq").unwrap();
    TokenRecord::new(id, digest, mask, app.clone(), "ci", at(0))
}

async fn since(store: &PostgresStore, revision: Revision) -> Vec<Change> {
    match store.changes(revision, 1000).await.unwrap() {
        Changes::Since { changes, .. } => changes.into_iter().map(|logged| logged.change).collect(),
        _ => panic!("the log leads on"),
    }
}

/// Makes every change, and checks that each is logged.
async fn change_everything(store: &PostgresStore) {
    let app = app(store).await;
    let (old, new) = (token(&app, 1), token(&app, 2));
    let (of_old, of_new) = (Change::Token(old.digest), Change::Token(new.digest));
    let target = TokenTarget::any(old.id);
    let mut before = store.revision().await.unwrap();
    let mut logged = async |expected: &[Change]| {
        let mut changes = since(store, before).await;
        let key = |change: &Change| match change {
            Change::Token(digest) => digest.as_bytes().to_vec(),
            Change::App(id) => id.as_str().as_bytes().to_vec(),
            other => panic!("{other:?}"),
        };
        changes.sort_by_key(key);
        let mut expected = expected.to_vec();
        expected.sort_by_key(key);
        assert_eq!(changes, expected);
        before = store.revision().await.unwrap();
    };
    store.insert(&old).await.unwrap();
    logged(&[of_old]).await;
    store.rename(&target, "renamed", at(1)).await.unwrap();
    logged(&[of_old]).await;
    let rotation = Replacement::new(target, new, at(1)).overlap_ends(at(5));
    store.rotate(&rotation).await.unwrap();
    logged(&[of_old, of_new]).await;
    for _ in 0..2 {
        store.revoke(&target, at(2)).await.unwrap();
        logged(&[of_old]).await;
    }
    for _ in 0..2 {
        store.disable_app(&app.id, at(3)).await.unwrap();
        logged(&[Change::App(app.id)]).await;
    }
    for _ in 0..2 {
        store.enable_app(&app.id, at(4)).await.unwrap();
        logged(&[Change::App(app.id)]).await;
    }
    let many: Vec<_> = (10..20).map(|number| token(&app, number)).collect();
    store.insert_all(&many).await.unwrap();
    let of_many: Vec<_> = many.iter().map(|t| Change::Token(t.digest)).collect();
    logged(&of_many).await;
    let missing = TokenTarget::any(TokenId::from_bytes([9; 16]));
    let error = store.revoke(&missing, at(5)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NotFound);
    let mut stray = token(&app, 30);
    stray.app.id = "elsewhere".parse().unwrap();
    let error = store.insert(&stray).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NotFound);
    let error = store.insert(&many[0]).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::AlreadyExists);
    logged(&[]).await;
}

async fn every_change_is_logged_once_even_without_triggers() {
    let schema = Schema::new();
    change_everything(&schema.open().await).await;

    let schema = Schema::new();
    let store = schema.open().await;
    execute(&mut schema.connect().await, TRIGGERS_OFF).await;
    change_everything(&store).await;

    let schema = Schema::new();
    let replica = "options=-c%20session_replication_role%3Dreplica";
    let store = schema.open_by(&format!("{}?{replica}", server())).await;
    change_everything(&store).await;
}

async fn enabling_an_app_needs_the_right_to_grant_its_tokens() {
    let schema = Schema::new();
    let store = schema.open().await;
    let app = app(&store).await;
    let holding = |number: u128, scopes: &str, expires_at: Option<i64>| {
        let mut token = token(&app, number);
        token.scopes = scopes.parse().unwrap();
        token.expires_at = expires_at.map(at);
        token
    };
    let revoked = holding(1, "gone", None).revoke(at(0));
    let expired = holding(2, "gone", Some(10));
    let all = [
        revoked,
        expired,
        holding(3, "a b", Some(100)),
        holding(4, "", Some(50)),
    ];
    store.insert_all(&all).await.unwrap();
    store.disable_app(&app.id, at(1)).await.unwrap();
    let enable = async |grantable: Grantable| {
        let op = Op::EnableApp {
            app: app.id,
            grantable,
        };
        store.apply(&Mutation::new(op, at(10))).await
    };
    let scopes = |text: &str| Grantable::scopes(text.parse().unwrap());
    for (grantable, expected) in [
        (scopes(""), GrantError::Scopes("a b".parse().unwrap())),
        (scopes("a c"), GrantError::Scopes("b".parse().unwrap())),
        (
            scopes("a").expires_by(at(1)),
            GrantError::Scopes("b".parse().unwrap()),
        ),
        (scopes("a b").expires_by(at(99)), GrantError::Expiry(at(99))),
        (
            Grantable::everything().expires_by(at(99)),
            GrantError::Expiry(at(99)),
        ),
    ] {
        let error = enable(grantable).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::NotGranted);
        assert_eq!(error.grant(), Some(&expected));
        let kept = store.app(&app.id).await.unwrap().unwrap();
        assert_eq!(kept.disabled_at, Some(at(1)));
    }
    let enabled = enable(scopes("a b").expires_by(at(100))).await.unwrap();
    assert_eq!(enabled.into_app().unwrap().disabled_at, None);
}

async fn revoking_again_logs_an_unlogged_revocation() {
    let schema = Schema::new();
    let store = schema.open().await;
    let token = token(&app(&store).await, 1);
    store.insert(&token).await.unwrap();
    let mut hand = schema.connect().await;
    execute(&mut hand, TRIGGERS_OFF).await;
    let before = store.revision().await.unwrap();
    execute(&mut hand, "UPDATE api_tokens SET revoked_at = 7").await;
    assert_eq!(since(&store, before).await, []);
    let target = TokenTarget::any(token.id);
    let revoked = store.revoke(&target, at(1)).await.unwrap();
    assert_ne!(revoked.revoked_at, Some(at(1)), "the first time is kept");
    let expected = [Change::Token(token.digest)];
    assert_eq!(since(&store, before).await, expected);
}

async fn a_revocation_fails_if_it_cannot_be_logged() {
    let schema = Schema::new();
    let store = schema.open().await;
    let token = token(&app(&store).await, 1);
    store.insert(&token).await.unwrap();
    let mut hand = schema.connect().await;
    execute(
        &mut hand,
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
         CREATE TRIGGER swallow BEFORE INSERT ON api_token_changes FOR EACH ROW EXECUTE FUNCTION swallow()",
    )
    .await;
    let target = TokenTarget::any(token.id);
    let error = store.revoke(&target, at(1)).await.unwrap_err();
    let source = error.source().unwrap().to_string();
    assert!(
        source.contains("triggers and rules on api_token_changes"),
        "{source}"
    );
    let found = store.token(&target).await.unwrap().unwrap();
    assert_eq!(found.revoked_at, None, "nothing was done");
    execute(&mut hand, "DROP TRIGGER swallow ON api_token_changes").await;
    store.revoke(&target, at(1)).await.unwrap();
}

async fn triggers_run_in_a_replication_session() {
    let schema = Schema::new();
    let store = schema.open().await;
    let token = token(&app(&store).await, 1);
    store.insert(&token).await.unwrap();
    let before = store.revision().await.unwrap();
    let mut hand = schema.connect().await;
    execute(
        &mut hand,
        "SET session_replication_role TO replica; UPDATE api_tokens SET revoked_at = 7",
    )
    .await;
    let expected = [Change::Token(token.digest)];
    assert_eq!(since(&store, before).await, expected);
}

async fn refusal(schema: &Schema, read_only: bool) -> Option<String> {
    let builder = PostgresStore::builder(&server()).schema(&schema.name);
    let opened = match read_only {
        true => builder.read_only().connect().await,
        false => builder.connect().await,
    };
    let error = opened.err()?;
    assert_eq!(error.kind(), StoreErrorKind::InvalidSettings);
    Some(error.source().unwrap().to_string())
}

async fn a_node_does_not_start_without_the_triggers() {
    let schema = Schema::new();
    schema.open().await.close().await;
    let mut hand = schema.connect().await;
    for (table, trigger) in [
        ("api_tokens", "a_lock"),
        ("api_tokens", "b_inserted"),
        ("api_tokens", "b_updated"),
        ("api_tokens", "b_deleted"),
        ("api_tokens", "b_truncated"),
        ("api_token_apps", "b_updated"),
    ] {
        for state in ["DISABLE TRIGGER", "ENABLE REPLICA TRIGGER"] {
            execute(&mut hand, &format!("ALTER TABLE {table} {state} {trigger}")).await;
            let refused = refusal(&schema, true).await.unwrap();
            assert!(refused.contains(trigger), "{refused}");
            let refused = refusal(&schema, false).await.unwrap();
            let (_, fix) = refused.split_once("run `").unwrap();
            let (fix, _) = fix.split_once('`').unwrap();
            execute(&mut hand, fix).await;
            assert_eq!(refusal(&schema, true).await, None);
        }
    }
    execute(&mut hand, TRIGGERS_OFF).await;
    assert!(refusal(&schema, false).await.is_some());
    execute(
        &mut hand,
        "ALTER TABLE api_tokens ENABLE TRIGGER ALL; ALTER TABLE api_token_apps ENABLE TRIGGER ALL; \
         ALTER TABLE api_token_audit ENABLE TRIGGER ALL",
    )
    .await;
    assert_eq!(refusal(&schema, false).await, None);
    execute(&mut hand, "DROP TRIGGER b_deleted ON api_tokens").await;
    let refused = refusal(&schema, true).await.unwrap();
    assert!(
        refused.contains("missing (api_tokens.b_deleted)"),
        "{refused}"
    );
}

/// The query of a node of the previous version.
const CHANGES_BEFORE: &str = "SELECT revision, mark FROM api_token_changes WHERE revision >= $1 \
    ORDER BY revision LIMIT 1";

async fn clearing_caches_leaves_a_gap_for_every_version() {
    let schema = Schema::new();
    let store = schema.open().await;
    let app = app(&store).await;
    store.insert(&token(&app, 1)).await.unwrap();
    let before = store.revision().await.unwrap();
    store.clear_caches(at(1)).await.unwrap();
    let after = store.revision().await.unwrap();
    assert_eq!(after.number, before.number + 1);
    let changes = store.changes(before, 10).await.unwrap();
    assert_eq!(changes, Changes::Gap);
    let mut hand = schema.connect().await;
    let number = i64::try_from(before.number).unwrap();
    let (revision, _): (i64, i64) = sqlx::query_as(CHANGES_BEFORE)
        .bind(number)
        .fetch_one(&mut hand)
        .await
        .unwrap();
    assert_ne!(revision, number, "the revision is gone");
    store.insert(&token(&app, 2)).await.unwrap();
    let expected = [Change::Token(token(&app, 2).digest)];
    assert_eq!(since(&store, after).await, expected);
}

/// Such a change would be logged before the end of the log, where no follower reads it.
async fn a_change_with_an_old_snapshot_is_rejected() {
    let schema = Schema::new();
    let store = schema.open().await;
    let token = token(&app(&store).await, 1);
    store.insert(&token).await.unwrap();
    let target = TokenTarget::any(token.id);
    let mut hand = schema.connect().await;
    for isolation in ["REPEATABLE READ", "SERIALIZABLE"] {
        for change in [
            "UPDATE api_tokens SET revoked_at = 7",
            "UPDATE api_token_apps SET disabled_at = 7",
            "DELETE FROM api_tokens",
            "TRUNCATE api_tokens",
        ] {
            let begin = format!("BEGIN ISOLATION LEVEL {isolation}; SELECT FROM api_token_changes");
            execute(&mut hand, &begin).await;
            // The first revision that the old snapshot would use was deleted, so there is no conflict.
            for _ in 0..2 {
                store.clear_caches(at(1)).await.unwrap();
            }
            let before = store.revision().await.unwrap();
            let refused = try_execute(&mut hand, change).await.unwrap_err();
            let refused = refused.as_database_error().unwrap();
            assert_eq!(refused.code().as_deref(), Some("40001"), "{change}");
            execute(&mut hand, "ROLLBACK").await;
            assert_eq!(store.revision().await.unwrap(), before);
        }
        // Usage is not logged.
        let uses =
            format!("BEGIN ISOLATION LEVEL {isolation}; UPDATE api_tokens SET uses = 1; COMMIT");
        execute(&mut hand, &uses).await;
    }
    let fresh = "BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE api_token_apps SET disabled_at = 7";
    let refused = try_execute(&mut hand, fresh).await.unwrap_err();
    let refused = refused.as_database_error().unwrap();
    assert!(
        refused
            .message()
            .contains("under SERIALIZABLE; begin the transaction with"),
        "{refused}"
    );
    execute(
        &mut hand,
        "ROLLBACK; BEGIN ISOLATION LEVEL READ UNCOMMITTED; UPDATE api_tokens SET revoked_at = 7; COMMIT",
    )
    .await;
    let found = store.token(&target).await.unwrap().unwrap();
    assert!(found.revoked_at.is_some());
}

async fn a_missing_revision_is_a_gap() {
    let schema = Schema::new();
    let store = schema.open().await;
    let app = app(&store).await;
    let before = store.revision().await.unwrap();
    for number in 1..=4 {
        store.insert(&token(&app, number)).await.unwrap();
    }
    assert_eq!(since(&store, before).await.len(), 4);
    let mut hand = schema.connect().await;
    let remove = "DELETE FROM api_token_changes WHERE revision = \
        (SELECT max(revision) FROM api_token_changes) - 1";
    execute(&mut hand, remove).await;
    let Changes::Since { changes, .. } = store.changes(before, 1).await.unwrap() else {
        panic!("the part before it leads on");
    };
    assert!(changes.len() < 4);
    assert_eq!(store.changes(before, 10).await.unwrap(), Changes::Gap);
}

async fn a_full_notification_queue_fails_no_change() {
    let schema = Schema::new();
    let store = schema.open().await;
    let token = token(&app(&store).await, 1);
    store.insert(&token).await.unwrap();
    let mut hand = schema.connect().await;
    let room = async |hand: &mut PgConnection, has: bool| {
        let answer = format!(
            "CREATE OR REPLACE FUNCTION api_token_may_notify() RETURNS boolean \
             LANGUAGE sql AS 'SELECT {has}'"
        );
        execute(hand, &answer).await;
    };
    let mut listener = PgListener::connect(&server()).await.unwrap();
    listener.listen("api_token_changes").await.unwrap();
    let sentinel = format!("NOTIFY api_token_changes, '{} over'", schema.name);
    let mut notifications_since = async |hand: &mut PgConnection| {
        execute(hand, &sentinel).await;
        let mut count = 0;
        loop {
            let payload = listener.recv().await.unwrap().payload().to_owned();
            if payload == format!("{} over", schema.name) {
                return count;
            }
            count += usize::from(payload == schema.name);
        }
    };
    let target = TokenTarget::any(token.id);
    notifications_since(&mut hand).await;
    room(&mut hand, false).await;
    let before = store.revision().await.unwrap();
    store.revoke(&target, at(1)).await.unwrap();
    execute(&mut hand, "UPDATE api_tokens SET revoked_at = 8").await;
    store.clear_caches(at(1)).await.unwrap();
    assert_eq!(notifications_since(&mut hand).await, 0);
    let after = store.revision().await.unwrap();
    assert_eq!(after.number, before.number + 3);
    room(&mut hand, true).await;
    store.revoke(&target, at(1)).await.unwrap();
    assert_eq!(notifications_since(&mut hand).await, 1);
}

async fn find_many_returns_answers_in_order_with_positions() {
    let schema = Schema::new();
    let store = schema.open().await;
    let app = app(&store).await;
    let all: Vec<_> = (1..=50).map(|number| token(&app, number)).collect();
    store.insert_all(&all).await.unwrap();
    let position = store.revision().await.unwrap();
    let absent = TokenDigest::of(b"absent");
    let wanted: Vec<_> = all
        .iter()
        .rev()
        .map(|t| t.digest)
        .chain([absent, all[0].digest])
        .collect();
    let answers = store.find_many(&wanted).await.unwrap();
    assert_eq!(answers.len(), wanted.len());
    for (digest, answer) in wanted.iter().zip(&answers) {
        assert_eq!(answer.position, Some(position));
        assert_eq!(*answer, store.find(digest).await.unwrap());
    }
    assert_eq!(answers[50].record, None);
    assert_eq!(store.find_many(&[]).await.unwrap(), []);
}

async fn uses_saturate_at_the_maximum() {
    let schema = Schema::new();
    let store = schema.open().await;
    let app = app(&store).await;
    let (most, few) = (token(&app, 1), token(&app, 2));
    store
        .insert_all(&[most.clone(), few.clone()])
        .await
        .unwrap();
    let greatest = u64::try_from(i64::MAX).unwrap();
    for uses in [greatest - 1, 5, u64::MAX] {
        let usages = [
            Usage::new(most.id, at(1), uses),
            Usage::new(few.id, at(1), 1),
        ];
        store.record_usage(&usages).await.unwrap();
    }
    let uses = async |token: &TokenRecord| {
        let found = store.token(&TokenTarget::any(token.id)).await.unwrap();
        found.unwrap().uses
    };
    assert_eq!(uses(&most).await, greatest);
    assert_eq!(uses(&few).await, 3);
    let mut hand = schema.connect().await;
    let negative = "UPDATE api_tokens SET uses = -1";
    assert!(try_execute(&mut hand, negative).await.is_err());
}
