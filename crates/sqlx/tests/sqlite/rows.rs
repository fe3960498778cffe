//! Unreadable rows affect no other row, and are rejected on write.

use std::{
    error::Error,
    io::{self, Write},
    sync::{Arc, Mutex},
};

use futures_util::TryStreamExt;
use jiff::Timestamp;
use sqlx::{Connection, Row, SqliteConnection, sqlite::SqliteConnectOptions};
use tower_api_tokens::{
    AppQuery, AuditQuery, ChangeLog, ChangeLogStreams, EventLog, EventQuery, EventStart,
    MemoryStore, NewToken, StoreErrorKind, TokenQuery, TokenRegistry, TokenRegistryStreams,
    TokenStore, Usage, UsageLog,
    transfer::{Completeness, Export, Import, TransferErrorKind},
};
use tower_api_tokens_sqlx::SqliteStore;

use crate::support::{DEADLINE, File, tokens};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// Writes a row that the triggers would reject, as a version without them did.
async fn execute_unchecked(file: &File, statements: &str) {
    let options = SqliteConnectOptions::new()
        .filename(file.path())
        .foreign_keys(false);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let checks = sqlx::query("SELECT name, sql FROM sqlite_schema WHERE name LIKE '%check%'")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let mut all = "BEGIN IMMEDIATE;".to_owned();
    for check in &checks {
        all += &format!("DROP TRIGGER {};", check.get::<&str, _>(0));
    }
    all += statements;
    for check in &checks {
        all += &format!(";{}", check.get::<&str, _>(1));
    }
    sqlx::raw_sql(sqlx::AssertSqlSafe(all + ";COMMIT"))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_damaged_row_affects_no_other_row() {
    for damage in [
        "mask = 'no ellipsis'",
        "scopes = 'a\"b'",
        "name = CAST(x'ff' AS TEXT)",
        "uses = -1",
        "app_id = 'bad'",
    ] {
        let file = File::new();
        let store = file.open().await;
        let platform = tokens(&store);
        let app = platform.create_app("Billing").await.unwrap();
        let mut issued = Vec::new();
        for name in ["a", "b", "bad", "c", "d"] {
            let token = platform
                .issue(&app.id, NewToken::named(name))
                .await
                .unwrap();
            issued.push(token.record().clone());
        }
        execute_unchecked(
            &file,
            &format!(
                "INSERT INTO api_token_apps (id, name, created_at, disabled_at) VALUES ('bad', CAST(x'ff' AS TEXT), 0, NULL);
                 UPDATE api_tokens SET {damage} WHERE name = 'bad'"
            ),
        )
        .await;
        let error = store.find(&issued[2].digest).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{damage}");
        let bad = issued.remove(2);
        issued.sort_by_key(|token| std::cmp::Reverse(token.id));
        for token in &issued {
            let found = store.find(&token.digest).await.unwrap();
            assert_eq!(found.record.as_ref(), Some(token));
        }
        for limit in 1..=6 {
            let listed = store.stream_tokens(TokenQuery::default().limit(limit), NOW);
            let listed: Vec<_> = listed.try_collect().await.unwrap();
            assert_eq!(listed, issued, "{damage}, {limit} a page");
            let (mut listed, mut unreadable) = (Vec::new(), Vec::new());
            let mut pages = store.stream_live(limit, NOW);
            while let Some(page) = pages.try_next().await.unwrap() {
                assert_eq!(page.position, store.revision().await.unwrap(), "{damage}");
                unreadable.extend(page.unreadable);
                listed.extend(page.tokens);
            }
            assert_eq!(listed, issued, "{damage}, {limit} a page");
            assert_eq!(unreadable, [bad.digest], "{damage}, {limit} a page");
        }
        // It can be revoked manually, and its usage does not affect that of others.
        let usages = [&bad, &issued[0]].map(|token| Usage::new(token.id, NOW, 1));
        store.record_usage(&usages).await.unwrap();
        let used = store.find(&issued[0].digest).await.unwrap().record.unwrap();
        assert_eq!(used.uses, 1, "{damage}");
    }
}

/// Exports a store that has unreadable records, and returns what the error names.
async fn failed_export(store: &SqliteStore) -> String {
    let mut file = Vec::new();
    let error = Export::new(store).run(&mut file).await.unwrap_err();
    assert_eq!(error.kind(), TransferErrorKind::Corrupt, "{error:?}");
    let imported = Import::new(&MemoryStore::new())
        .run(&file[..])
        .await
        .unwrap();
    assert_ne!(imported.completeness, Completeness::Complete);
    error.source().unwrap().to_string()
}

#[tokio::test]
async fn an_export_fails_if_it_would_lack_records() {
    let file = File::new();
    let store = file.open().await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap().id;
    let mut issued = Vec::new();
    for _ in 0..7 {
        let token = platform.issue(&app, NewToken::named("ci")).await.unwrap();
        issued.push(token.record().id);
    }
    Export::new(&store).run(Vec::new()).await.unwrap();

    let [oldest, newest] = [issued[0], issued[6]];
    for id in [oldest, newest] {
        let hex = id.to_string().replace('-', "");
        let damage = |mask| format!("UPDATE api_tokens SET mask = {mask} WHERE id = x'{hex}'");
        execute_unchecked(&file, &damage("'no ellipsis'")).await;
        assert_eq!(
            failed_export(&store).await,
            format!("unreadable tokens: {id}")
        );
        execute_unchecked(&file, &damage("'…'")).await;
        Export::new(&store).run(Vec::new()).await.unwrap();
    }
    let bad = "INSERT INTO api_token_apps (id, name, created_at, disabled_at) VALUES
         ('!1', 'a', 0, NULL), ('!2', 'a', 0, NULL), ('!3', 'a', 0, NULL), ('!4', 'a', 0, NULL),
         ('!5', 'a', 0, NULL), ('!6', 'a', 0, NULL)";
    execute_unchecked(&file, bad).await;
    let several = "unreadable apps: !1, !2, !3, !4, !5, …";
    assert_eq!(failed_export(&store).await, several);
}

#[tokio::test]
async fn listings_skip_unreadable_apps_and_events() {
    let file = File::new();
    let store = file.open().await;
    let platform = tokens(&store);
    for name in ["one", "two", "three"] {
        platform.create_app(name).await.unwrap();
    }
    let apps = store.apps(&AppQuery::default()).await.unwrap().items;
    assert_eq!(apps.len(), 3);
    execute_unchecked(
        &file,
        "INSERT INTO api_token_apps (id, name, created_at, disabled_at) VALUES
         (' first', 'a', 0, NULL), ('0', CAST(x'ff' AS TEXT), 0, NULL), ('1' || char(0), 'a', 0, NULL),
         ('zz/', 'a', 0, NULL), ('zzz?', 'a', 0, NULL), ('é', 'a', 0, NULL)",
    )
    .await;
    for limit in 1..=4 {
        let listed = store.stream_apps(AppQuery::default().limit(limit));
        let listed: Vec<_> = listed.try_collect().await.unwrap();
        assert_eq!(listed, apps, "{limit} a page");
    }
    let readable: Vec<_> = store
        .stream_events(AuditQuery::default())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(readable.len(), 3);
    execute_unchecked(
        &file,
        "INSERT INTO api_token_audit (id, at, actor, action, app_id, token, outcome) VALUES
         (zeroblob(16), 0, 'ada', 'no such action', NULL, NULL, 'done'),
         (x'ffffffffffffffffffffffffffffffff', 0, 'ada', 'app.create', 'no/app', NULL, 'done')",
    )
    .await;
    let events = store.stream_events(AuditQuery::default().limit(1));
    let reading = tokio::time::timeout(DEADLINE, events.try_collect::<Vec<_>>());
    assert_eq!(reading.await.unwrap().unwrap(), readable);
    // Those who follow the events would miss one that is left out.
    let query = EventQuery::new(EventStart::Oldest);
    let page = store.read_events(&query).await.unwrap();
    assert_eq!((page.events.len(), page.position.number), (3, 3));
    let query = EventQuery::after(page.position);
    let error = store.read_events(&query).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
}

#[tokio::test]
async fn unreadable_values_are_rejected_on_write() {
    let file = File::new();
    let store = file.open().await;
    tokens(&store).create_app("Billing").await.unwrap();
    let mut connection = file.connect().await;
    let long = format!("'{}'", "x".repeat(129));
    let head = format!("'{}…'", "x".repeat(25));
    let token = |mask: &str, name: &str, scopes: &str, uses: &str| {
        format!(
            "INSERT INTO api_tokens (id, digest, mask, app_id, name, scopes, created_at, uses) \
             SELECT randomblob(16), randomblob(32), {mask}, id, {name}, {scopes}, 0, {uses} FROM api_token_apps"
        )
    };
    let mut good = vec![
        token("'…'", "'n'", "''", "0"),
        token("'acme_…1234'", "'Zoë 🚀'", "'read write:all'", "7"),
        token(
            "'…'",
            "' n '",
            &format!("'{}'", ["a".repeat(128), "b".repeat(128)].join(" ")),
            "0",
        ),
    ];
    let mut bad = Vec::new();
    for mask in [
        "'abc'",
        "''",
        "'a…b…'",
        "'…a…'",
        "'…12345'",
        "'ä…'",
        "'a b…'",
        "'…' || char(0)",
        "'a' || char(10) || '…'",
        "'…' || char(127)",
        &head,
    ] {
        bad.push(token(mask, "'n'", "''", "0"));
        bad.push(format!("UPDATE api_tokens SET mask = {mask}"));
    }
    for name in ["''", "zeroblob(1)"] {
        bad.push(token("'…'", name, "''", "0"));
        bad.push(format!("UPDATE api_tokens SET name = {name}"));
        bad.push(format!("UPDATE api_token_apps SET name = {name}"));
    }
    for scopes in [
        "'a\"b'",
        "'a\\b'",
        "'é'",
        "'a' || char(9)",
        "char(0)",
        "'a ' || char(0)",
        "char(127)",
        &long,
    ] {
        bad.push(token("'…'", "'n'", scopes, "0"));
        bad.push(format!("UPDATE api_tokens SET scopes = {scopes}"));
    }
    bad.push(token("'…'", "'n'", "''", "-1"));
    bad.push("UPDATE api_tokens SET uses = -1".to_owned());
    for id in [
        "''",
        "'.a'",
        "'-a'",
        "'a b'",
        "'a/b'",
        "'ä'",
        "'a' || char(10)",
        "'a' || char(0)",
        "'a%62'",
    ] {
        bad.push(format!(
            "INSERT INTO api_token_apps (id, name, created_at, disabled_at) VALUES ({id}, 'a', 0, NULL)"
        ));
        bad.push(format!("UPDATE api_token_apps SET id = {id}"));
        bad.push(format!(
            "PRAGMA foreign_keys = OFF; UPDATE api_tokens SET app_id = {id}"
        ));
    }
    for id in ["'42'", "'a.b-c~d_e'", &format!("'{}'", "x".repeat(40))] {
        good.push(format!(
            "INSERT INTO api_token_apps (id, name, created_at, disabled_at) VALUES ({id}, 'a', 0, NULL)"
        ));
    }
    for statement in good {
        let executed = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone()));
        executed
            .execute(&mut connection)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    for statement in bad {
        let executed = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone()));
        assert!(
            executed.execute(&mut connection).await.is_err(),
            "{statement}"
        );
    }
    // Every accepted row can be read.
    let rows = store
        .tokens(&TokenQuery::default(), NOW)
        .await
        .unwrap()
        .items;
    assert_eq!(rows.len(), 3);
}

#[tokio::test]
async fn uses_saturate_and_extremes_affect_no_other_token() {
    for url in ["file", "sqlite::memory:"] {
        let file = File::new();
        let store = match url {
            "file" => file.open().await,
            url => SqliteStore::connect(url).await.unwrap(),
        };
        let platform = tokens(&store);
        let app = platform.create_app("Billing").await.unwrap();
        let mut issued = Vec::new();
        for name in ["a", "b", "c"] {
            let token = platform
                .issue(&app.id, NewToken::named(name))
                .await
                .unwrap();
            issued.push(token.record().clone());
        }
        let extremes = [
            (i64::MAX.unsigned_abs(), Timestamp::MAX),
            (u64::MAX, Timestamp::MIN),
            (0, NOW),
        ];
        let usages: Vec<_> = issued
            .iter()
            .zip(extremes)
            .map(|(token, (uses, at))| Usage::new(token.id, at, uses))
            .collect();
        for _ in 0..3 {
            store.record_usage(&usages).await.unwrap();
        }
        let one_more: Vec<_> = issued
            .iter()
            .map(|token| Usage::new(token.id, NOW, 1))
            .collect();
        store.record_usage(&one_more).await.unwrap();
        let mut recorded = Vec::new();
        for token in &issued {
            let found = store.find(&token.digest).await.unwrap().record.unwrap();
            recorded.push((found.uses, found.last_used_at));
        }
        let most = i64::MAX.unsigned_abs();
        assert_eq!(recorded[0].0, most);
        assert!(recorded[0].1.unwrap() > NOW);
        assert_eq!(recorded[1..], [(most, Some(NOW)), (1, Some(NOW))]);
    }
}

/// Collects log events.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_skipped_row_is_logged_only_by_its_identifier() {
    let file = File::new();
    let store = file.open().await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let issued = platform
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    execute_unchecked(&file, "UPDATE api_tokens SET mask = 'acme_secret'").await;
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || writer.clone())
        .finish();
    let watching = tracing::subscriber::set_default(subscriber);
    // Another test may first log such a row at this moment. As nobody listens there, the event may then be taken for
    // one that nobody listens to.
    for _ in 0..100 {
        tracing::callsite::rebuild_interest_cache();
        let page = store.tokens(&TokenQuery::default(), NOW).await.unwrap();
        assert!(page.items.is_empty());
        if !written.0.lock().unwrap().is_empty() {
            break;
        }
    }
    drop(watching);
    let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    assert_eq!(written.lines().count(), 1, "{written}");
    assert!(
        written.contains("WARN") && written.contains("api_tokens"),
        "{written}"
    );
    assert!(
        written.contains(&issued.record().id.to_string()),
        "{written}"
    );
    assert!(!written.contains("secret"), "{written}");
}
