//! Upgrading a database while nodes of the previous version keep running.

use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::PgConnection;
use tokio::time::{Instant, sleep, timeout};
use tower_api_tokens::{
    AppId, AppQuery, ChangeLog, ChangeLogStreams, StoreErrorKind, TokenDigest, TokenId, TokenQuery,
    TokenRegistry, TokenRegistryExt, TokenRegistryStreams, TokenStore, TokenTarget, Usage,
    UsageLog,
    transfer::{Export, TransferErrorKind},
};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    log::token,
    races::{app, at},
    releases::{Outcome, id_of, tables_of},
    services::Test,
    support::{Schema, execute, server, try_execute},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![
        an_upgrade_during_a_backup_does_not_block_lookups,
        unreadable_old_rows_affect_no_other_row,
        unreadable_rows_are_rejected_on_insert,
        a_restricted_token_is_expired_for_nodes_of_earlier_versions,
        roles_of_the_previous_version_keep_their_rights,
    ]
}

async fn an_upgrade_during_a_backup_does_not_block_lookups() {
    let (schema, mut backup) = tables_of(1).await;
    execute(
        &mut backup,
        "BEGIN; SELECT FROM api_tokens; SELECT FROM api_token_changes",
    )
    .await;
    let upgrade = {
        let builder = PostgresStore::builder(&server()).schema(&schema.name);
        tokio::spawn(async move { builder.connect().await })
    };
    let mut node = schema.connect().await;
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        let lookup = execute(&mut node, "SELECT FROM api_token_records WHERE digest = ''");
        timeout(Duration::from_secs(1), lookup)
            .await
            .expect("a lookup does not wait");
        sleep(Duration::from_millis(5)).await;
    }
    assert!(!upgrade.is_finished(), "it waits for the backup");
    execute(&mut backup, "COMMIT").await;
    let store = timeout(Duration::from_secs(20), upgrade)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    app(&store).await;
}

async fn unreadable_old_rows_affect_no_other_row() {
    let (schema, mut hand) = tables_of(1).await;
    execute(
        &mut hand,
        "INSERT INTO api_token_apps VALUES ('a', E'two\\nlines', 0), ('bad id!', 'Bad', 0), ('z', 'Z', 0); \
         INSERT INTO api_tokens (id, digest, mask, app_id, name, scopes, created_at) VALUES \
         ('00000000-0000-0000-0000-000000000001', sha256('1'), '…', 'a', ' n ', '', 0), \
         ('00000000-0000-0000-0000-000000000002', sha256('2'), 'abc', 'a', 'n', '', 0), \
         ('00000000-0000-0000-0000-000000000003', sha256('3'), '…', 'a', 'n', 'a\"b', 0), \
         ('00000000-0000-0000-0000-000000000004', sha256('4'), '…', 'bad id!', 'n', '', 0), \
         ('00000000-0000-0000-0000-000000000005', sha256('5'), '…', 'z', 'n', '', 0)",
    )
    .await;
    let store = schema.open().await;
    let readable = [b"5".as_slice(), b"1"].map(TokenDigest::of);
    let bad = [b"4".as_slice(), b"3", b"2"].map(TokenDigest::of);
    for limit in [1, 2, 3, 100] {
        let found = store.stream_tokens(TokenQuery::default().limit(limit), at(0));
        let found: Vec<_> = found
            .map_ok(|token| token.digest)
            .try_collect()
            .await
            .unwrap();
        assert_eq!(found, readable, "listed by {limit}");
        let (mut live, mut unreadable) = (Vec::new(), Vec::new());
        let mut pages = store.stream_live(limit, at(0));
        while let Some(page) = pages.try_next().await.unwrap() {
            live.extend(page.tokens.into_iter().map(|token| token.digest));
            unreadable.extend(page.unreadable);
        }
        assert_eq!(
            (live.as_slice(), unreadable.as_slice()),
            (&readable[..], &bad[..])
        );
        let found = store.stream_apps(AppQuery::default().limit(limit));
        let found = found.map_ok(|app| app.id.to_string());
        let found: Vec<_> = found.try_collect().await.unwrap();
        assert_eq!(found, ["a", "z"], "listed by {limit}");
    }
    let exported = Export::new(&store).run(Vec::new()).await;
    let error = exported.unwrap_err();
    assert_eq!(error.kind(), TransferErrorKind::Corrupt, "{error:?}");
    for digest in &bad {
        let error = store.find(digest).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    }
    for digest in &readable {
        assert!(store.find(digest).await.unwrap().record.is_some());
    }
    // Usage of an unreadable row is skipped, and that of the others recorded.
    let uses: Vec<_> = (1..=5)
        .map(|number: u128| Usage::new(TokenId::from_bytes(number.to_be_bytes()), at(1), 1))
        .collect();
    store.record_usage(&uses).await.unwrap();
    let used = store.find(&readable[0]).await.unwrap().record.unwrap();
    assert_eq!(used.uses, 1);
    // An unreadable row can still be revoked and purged, and the log continues.
    let before = store.revision().await.unwrap();
    for number in 1..=5_u128 {
        let target = TokenTarget::any(TokenId::from_bytes(number.to_be_bytes()));
        let revoked = store.revoke(&target, at(1)).await;
        assert_eq!(
            revoked.is_err(),
            number == 4,
            "{number}: its app cannot be read"
        );
    }
    let (live,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM api_tokens WHERE revoked_at IS NULL")
            .fetch_one(&mut hand)
            .await
            .unwrap();
    assert_eq!(live, 0);
    let after = store.revision().await.unwrap();
    assert_eq!(after.number, before.number + 5);
    let app = AppId::new("a").unwrap();
    store.disable_app(&app, at(1)).await.unwrap();
    store.enable_app(&app, at(1)).await.unwrap();
    assert_eq!(store.purge(at(2), 10).await.unwrap(), 5);
}

async fn unreadable_rows_are_rejected_on_insert() {
    let schema = Schema::new();
    let store = schema.open().await;
    let app = app(&store).await;
    let mut hand = schema.connect().await;
    execute(&mut hand, "INSERT INTO api_token_apps VALUES ('a', 'A', 0)").await;
    let insert = "INSERT INTO api_tokens (id, digest, mask, app_id, name, scopes, created_at) VALUES \
        (gen_random_uuid(), sha256(gen_random_uuid()::text::bytea),";
    let good = |text: &str| format!("{insert} {text}, 0)");
    let long = "x".repeat(128);
    for row in [
        "'…', 'a', 'n', ''".to_owned(),
        "'acme_…x7Kq', 'a', 'Zoë''s \"CI\" 🚀', 'a:b c'".to_owned(),
        format!("'…', 'a', 'n', '{long} b'"),
        format!("'{}…{}', 'a', 'n', '[ ] ~'", "~".repeat(24), "!".repeat(4)),
    ] {
        execute(&mut hand, &good(&row)).await;
    }
    for row in [
        "'abc', 'a', 'n', ''",
        "'', 'a', 'n', ''",
        "'……', 'a', 'n', ''",
        "'a b…', 'a', 'n', ''",
        "E'…\\n', 'a', 'n', ''",
        "'…12345', 'a', 'n', ''",
        "'ä…', 'a', 'n', ''",
        "'…', 'a', '', ''",
        "'…', 'a', ' n', ''",
        "'…', 'a', E'n\\u00a0', ''",
        "'…', 'a', E'a\\nb', ''",
        "'…', 'a', E'a\\u0085b', ''",
        "'…', 'a', E'a\\u2028b', ''",
        "'…', 'a', 'n', ' '",
        "'…', 'a', 'n', 'a  b'",
        "'…', 'a', 'n', 'a '",
        "'…', 'a', 'n', E'a\\tb'",
        "'…', 'a', 'n', E'a\\n'",
        "'…', 'a', 'n', 'a\"b'",
        "'…', 'a', 'n', E'a\\\\b'",
        "'…', 'a', 'n', 'ä'",
        &format!("'…', 'a', 'n', '{long}x'"),
    ] {
        let refused = try_execute(&mut hand, &good(row)).await.unwrap_err();
        let code = refused.as_database_error().unwrap().code();
        assert_eq!(code.as_deref(), Some("23514"), "{row}");
    }
    for id in ["bad id!", "-a", ".", "ä", "a/b", "a\n"] {
        let insert = format!("INSERT INTO api_token_apps VALUES ('{id}', 'A', 0)");
        let refused = try_execute(&mut hand, &insert).await.unwrap_err();
        let code = refused.as_database_error().unwrap().code();
        assert_eq!(code.as_deref(), Some("23514"), "{id}");
    }
    for change in ["name = E'a\\nb'", "mask = 'abc'", "scopes = 'a\"b'"] {
        let change = format!("UPDATE api_tokens SET {change}");
        assert!(try_execute(&mut hand, &change).await.is_err(), "{change}");
    }
    // Through the store, the same is an error that the caller can correct.
    let mut bad = token(&app, 1);
    "a\nb".clone_into(&mut bad.name);
    let error = store.insert(&bad).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::InvalidRecord);
}

/// Inserts and rotates a token as a node of the second version does.
const INSERT_AS_BEFORE: &str = "SELECT outcome, detail, expires_at FROM api_token_insert_tokens( \
    ROW(NULL, NULL, NULL, NULL, NULL, NULL, NULL)::api_token_event, NULL, NULL, 5, 0, \
    ARRAY[$1::text::uuid], ARRAY[$2::bytea], ARRAY['acme_…x7Kq'], ARRAY['app'], ARRAY['ci'], ARRAY[''], \
    ARRAY[0], ARRAY[NULL::bigint], ARRAY[NULL::bigint], ARRAY[NULL::uuid], ARRAY[NULL::bigint], ARRAY[0])";
const ROTATE_AS_BEFORE: &str = "SELECT outcome, detail, expires_at FROM api_token_rotate_token( \
    ROW(NULL, NULL, NULL, NULL, NULL, NULL, NULL)::api_token_event, NULL, NULL, 5, 0, \
    ARRAY[$1::text::uuid], ARRAY[$2::bytea], ARRAY['acme_…x7Kq'], ARRAY['app'], ARRAY['ci'], ARRAY[''], \
    ARRAY[0], ARRAY[NULL::bigint], ARRAY[NULL::bigint], ARRAY[NULL::uuid], ARRAY[NULL::bigint], ARRAY[0], \
    $3::text::uuid, NULL, 50)";

async fn insert_as_before(hand: &mut PgConnection, number: u128) -> Outcome {
    sqlx::query_as(INSERT_AS_BEFORE)
        .bind(id_of(number))
        .bind(TokenDigest::of(&number.to_be_bytes()).as_bytes().to_vec())
        .fetch_one(hand)
        .await
        .unwrap()
}

async fn rotate_as_before(hand: &mut PgConnection, number: u128, successor: u128) -> Outcome {
    sqlx::query_as(ROTATE_AS_BEFORE)
        .bind(id_of(successor))
        .bind(
            TokenDigest::of(&successor.to_be_bytes())
                .as_bytes()
                .to_vec(),
        )
        .bind(id_of(number))
        .fetch_one(hand)
        .await
        .unwrap()
}

async fn a_restricted_token_is_expired_for_nodes_of_earlier_versions() {
    let (schema, mut hand) = tables_of(2).await;
    execute(
        &mut hand,
        "INSERT INTO api_token_apps VALUES ('app', 'App', 0)",
    )
    .await;
    // The session of a node that started before the upgrade, with prepared statements.
    insert_as_before(&mut hand, 1).await;
    let rotated = rotate_as_before(&mut hand, 1, 2).await;
    assert_eq!(rotated, ("done".to_owned(), None, Some(50)));
    let store = schema.open().await;
    let app = store.app(&AppId::new("app").unwrap()).await.unwrap();
    let mut restricted = token(&app.unwrap(), 3);
    restricted.expires_at = Some(at(3600));
    restricted.restrictions = Some("{\"networks\":[]}".parse().unwrap());
    store.insert(&restricted).await.unwrap();
    let found = store.find(&restricted.digest).await.unwrap().record;
    assert_eq!(found.as_ref(), Some(&restricted));
    let many = store.find_many(&[restricted.digest]).await.unwrap();
    assert_eq!(many[0].record.as_ref(), Some(&restricted));
    let (expires_at,): (Option<i64>,) =
        sqlx::query_as("SELECT expires_at FROM api_token_records WHERE id = $1::text::uuid")
            .bind(id_of(3))
            .fetch_one(&mut hand)
            .await
            .unwrap();
    assert_eq!(expires_at, Some(0));
    // Nodes of the previous version keep working, but cannot drop restrictions.
    insert_as_before(&mut hand, 4).await;
    assert_eq!(rotate_as_before(&mut hand, 4, 5).await.0, "done");
    let refused = rotate_as_before(&mut hand, 3, 6).await;
    let expired = ("conflict".to_owned(), Some("expired".to_owned()), None);
    assert_eq!(refused, expired);
    // Neither can those of the first version, which use no functions.
    let successor = id_of(5);
    for rotation in [
        format!(
            "UPDATE api_tokens SET successor = '{successor}' WHERE id = '{}'",
            id_of(3)
        ),
        format!(
            "UPDATE api_tokens SET successor = gen_random_uuid(), expires_at = 5 WHERE id = '{}'",
            id_of(3)
        ),
    ] {
        let refused = try_execute(&mut hand, &rotation).await.unwrap_err();
        let code = refused.as_database_error().unwrap().code();
        assert_eq!(code.as_deref(), Some("23514"));
    }
    let found = store.find(&restricted.digest).await.unwrap().record;
    assert_eq!(found.as_ref(), Some(&restricted));
    // A token revoked by such a node is revoked, and shows as expired at the latest.
    let revoke = "SELECT expires_at, revoked_at FROM api_token_revoke_token( \
        ROW(NULL, NULL, NULL, NULL, NULL, NULL, NULL)::api_token_event, $1::text::uuid, NULL, 7)";
    let revoked: (Option<i64>, Option<i64>) = sqlx::query_as(revoke)
        .bind(id_of(3))
        .fetch_one(&mut hand)
        .await
        .unwrap();
    assert_eq!(revoked, (Some(0), Some(7)));
    let found = store.find(&restricted.digest).await.unwrap().record;
    let moment = jiff::Timestamp::from_microsecond(7).unwrap();
    assert_eq!(found, Some(restricted.revoke(moment)));
    for bad in ["", "ä", "a\nb", &"x".repeat(4097)] {
        let change = format!("UPDATE api_tokens SET restrictions = '{bad}'");
        let refused = try_execute(&mut hand, &change).await.unwrap_err();
        let code = refused.as_database_error().unwrap().code();
        assert_eq!(code.as_deref(), Some("23514"), "{bad:?}");
    }
}

async fn roles_of_the_previous_version_keep_their_rights() {
    let (schema, mut hand) = tables_of(2).await;
    let (verifier, manager) = (format!("{} v", schema.name), format!("{} m", schema.name));
    execute(
        &mut hand,
        &format!(
            "CREATE ROLE \"{verifier}\"; CREATE ROLE \"{manager}\"; \
             GRANT SELECT ON api_token_records TO \"{verifier}\"; \
             GRANT INSERT ON api_tokens TO \"{manager}\"; \
             DO $$ DECLARE f text; BEGIN \
               FOR f IN SELECT p.oid::regprocedure::text FROM pg_proc p \
                 WHERE p.proname IN ('api_token_insert_tokens', 'api_token_rotate_token') \
                   AND p.pronamespace = quote_ident(current_schema())::regnamespace \
               LOOP EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO \"{manager}\"', f); END LOOP; END $$"
        ),
    )
    .await;
    drop(schema.open().await);
    let may: (bool, bool, i64, i64) = sqlx::query_as(
        "SELECT has_table_privilege($1, 'api_token_details', 'SELECT'), \
            has_table_privilege($2, 'api_token_details', 'SELECT'), \
            count(*) FILTER (WHERE has_function_privilege($2, p.oid, 'EXECUTE')), \
            count(*) FILTER (WHERE has_function_privilege($1, p.oid, 'EXECUTE')) \
         FROM pg_proc p WHERE p.proname IN ('api_token_insert_tokens', 'api_token_rotate_token', 'api_token_add') \
           AND p.pronamespace = quote_ident(current_schema())::regnamespace",
    )
    .bind(&verifier)
    .bind(&manager)
    .fetch_one(&mut hand)
    .await
    .unwrap();
    assert_eq!(may, (true, false, 4, 0));
    let name = &schema.name;
    let drop = format!(
        "DROP SCHEMA \"{name}\" CASCADE; DROP ROLE \"{verifier}\"; DROP ROLE \"{manager}\""
    );
    execute(&mut hand, &drop).await;
}
