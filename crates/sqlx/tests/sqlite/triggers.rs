//! Changes of every program are logged.

use std::time::Duration;

use sqlx::{Row, SqliteConnection};
use tower_api_tokens::{
    ApiTokens, Change, ChangeLog, Changes, NewToken, Restrictions, Revision, StoreErrorKind,
    TokenDigest, TokenId, TokenRegistryExt, TokenStore,
};
use tower_api_tokens_sqlx::SqliteStore;

use crate::support::{File, message, tokens};

/// A store with one app and two tokens, and a reader of its log.
struct Logged {
    file: File,
    store: SqliteStore,
    platform: ApiTokens,
    app: tower_api_tokens::AppRecord,
    tokens: Vec<tower_api_tokens::TokenRecord>,
    revision: Revision,
}

impl Logged {
    async fn new() -> Self {
        let file = File::new();
        let store = file.open().await;
        let platform = tokens(&store);
        let app = platform.create_app("Billing").await.unwrap();
        let mut tokens = Vec::new();
        for name in ["one", "two"] {
            let issued = platform.issue(&app.id, NewToken::named(name)).await;
            tokens.push(issued.unwrap().record().clone());
        }
        let revision = store.revision().await.unwrap();
        Self {
            file,
            store,
            platform,
            app,
            tokens,
            revision,
        }
    }

    /// Returns the changes logged since the last call.
    async fn logged(&mut self) -> Vec<Change> {
        let Changes::Since {
            changes,
            revision,
            latest,
            ..
        } = self.store.changes(self.revision, 1000).await.unwrap()
        else {
            panic!("the log leads on")
        };
        assert_eq!(latest, revision.number);
        assert_eq!(changes.len() as u64, latest - self.revision.number);
        self.revision = revision;
        changes.into_iter().map(|logged| logged.change).collect()
    }

    fn token(&self, n: usize) -> Change {
        Change::Token(self.tokens[n].digest)
    }
}

fn digest(byte: u8) -> Change {
    Change::Token(TokenDigest::from_bytes([byte; 32]))
}

#[tokio::test]
async fn every_column_that_verification_depends_on_is_logged() {
    let mut log = Logged::new().await;
    log.file
        .execute("INSERT INTO api_token_apps (id, name, created_at, disabled_at) VALUES ('other', 'Other', 0, NULL)")
        .await;
    assert_eq!(log.logged().await, []);
    let columns = [
        ("mask", "'a…b'"),
        ("name", "'renamed'"),
        ("scopes", "'read'"),
        ("app_id", "'other'"),
        ("created_at", "1"),
        ("metadata", "'{\"plan\":\"pro\"}'"),
        ("created_by", "'me'"),
        ("expires_at", "9000000000000000"),
        ("expires_at", "NULL"),
        ("successor", "zeroblob(16)"),
        ("revoked_at", "5"),
        ("revoked_at", "revoked_at"),
        ("revoked_at", "NULL"),
        ("expires_at = 0, restrictions", "'{}'"),
        ("restricted_expires_at", "9000000000000000"),
        ("metadata", "'{}'"),
        ("created_by", "'alice'"),
        (
            "restrictions = NULL, restricted_expires_at = NULL, expires_at",
            "NULL",
        ),
    ];
    for (column, value) in columns {
        log.file
            .execute(&format!(
                "UPDATE api_tokens SET {column} = {value} WHERE name IN ('one', 'renamed')"
            ))
            .await;
        assert_eq!(log.logged().await, [log.token(0)], "{column} = {value}");
    }
    // The log identifies a token by its digest, or by both digests if it changes.
    log.file
        .execute(&format!(
            "UPDATE api_tokens SET digest = x'{}' WHERE name = 'two'",
            "07".repeat(32)
        ))
        .await;
    let mut changes = log.logged().await;
    changes.sort_by_key(|change| *change != digest(7));
    assert_eq!(changes, [digest(7), log.token(1)]);
    log.file
        .execute("UPDATE api_tokens SET id = zeroblob(16) WHERE name = 'two'")
        .await;
    assert_eq!(log.logged().await, [digest(7)]);
    // Every column was changed above, except those for usage.
    let mut connection = log.file.connect().await;
    let known = [
        "id",
        "digest",
        "last_used_at",
        "uses",
        "last_used_day",
        "used_since_rotation",
    ];
    for column in columns_of(&mut connection, "api_tokens").await {
        let changed = columns
            .iter()
            .any(|(changed, _)| *changed == column || changed.ends_with(&format!(" {column}")));
        assert!(changed || known.contains(&&*column), "{column}");
    }
    log.file
        .execute("UPDATE api_tokens SET uses = uses + 1, last_used_at = 7, last_used_day = 7, used_since_rotation = 1")
        .await;
    assert_eq!(log.logged().await, []);
}

async fn columns_of(connection: &mut SqliteConnection, table: &'static str) -> Vec<String> {
    let rows = sqlx::query("SELECT name FROM pragma_table_info(?1)")
        .bind(table)
        .fetch_all(connection)
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn every_column_of_an_app_is_logged() {
    let mut log = Logged::new().await;
    let app = Change::App(log.app.id);
    let changes = [
        ("name", "'New'"),
        ("created_at", "1"),
        ("metadata", "'{\"plan\":\"pro\"}'"),
        ("disabled_at", "2"),
        ("disabled_at", "NULL"),
    ];
    for (column, value) in changes {
        log.file
            .execute(&format!("UPDATE api_token_apps SET {column} = {value}"))
            .await;
        assert_eq!(log.logged().await, [app], "{column} = {value}");
    }
    // The identifier is changed below.
    for column in columns_of(&mut log.file.connect().await, "api_token_apps").await {
        let changed = changes.iter().any(|(changed, _)| *changed == column);
        assert!(changed || column == "id", "{column}");
    }
    log.file
        .execute("UPDATE api_token_apps SET id = 'moved'")
        .await;
    let moved = Change::App("moved".parse().unwrap());
    let mut changes = log.logged().await;
    changes.sort_by_key(|change| *change != app);
    assert_eq!(changes, [app, moved]);
    // Tokens of a deleted app are not found until the app is inserted again.
    log.file
        .execute("UPDATE api_tokens SET app_id = 'moved'; DELETE FROM api_token_apps")
        .await;
    assert_eq!(log.logged().await, [log.token(0), log.token(1), moved]);
    log.file
        .execute("INSERT INTO api_token_apps (id, name, created_at, disabled_at) VALUES ('moved', 'Moved', 0, NULL)")
        .await;
    assert_eq!(log.logged().await, [moved]);
    log.file
        .execute("REPLACE INTO api_token_apps (id, name, created_at, disabled_at) VALUES ('moved', 'Moved', 0, 1)")
        .await;
    assert_eq!(log.logged().await, [moved]);
}

#[tokio::test]
async fn deletions_and_replacements_are_logged() {
    let mut log = Logged::new().await;
    let insert = |verb: &str, id: &str, digest: &str| {
        format!(
            "{verb} INTO api_tokens (id, digest, mask, app_id, name, scopes, created_at) \
             SELECT {id}, {digest}, '…', id, 'three', '', 0 FROM api_token_apps"
        )
    };
    let seven = format!("x'{}'", "07".repeat(32));
    log.file
        .execute(&insert("INSERT", "zeroblob(16)", &seven))
        .await;
    assert_eq!(log.logged().await, [digest(7)]);
    // By identifier, by digest, by both, and by row number.
    let eight = format!("x'{}'", "08".repeat(32));
    log.file
        .execute(&insert("REPLACE", "zeroblob(16)", &eight))
        .await;
    assert_eq!(log.logged().await, [digest(7), digest(8)]);
    log.file
        .execute(&insert("REPLACE", "randomblob(16)", &eight))
        .await;
    assert_eq!(log.logged().await, [digest(8)]);
    log.file
        .execute(&insert(
            "REPLACE",
            "(SELECT id FROM api_tokens WHERE name = 'one')",
            &eight,
        ))
        .await;
    assert_eq!(log.logged().await, [log.token(0), digest(8)]);
    let one_id = format!("'{}'", log.tokens[1].id);
    let one_id = format!("x'{}'", one_id.replace(['-', '\''], ""));
    log.file
        .execute(&format!(
            "UPDATE OR REPLACE api_tokens SET id = {one_id} WHERE digest = {eight}"
        ))
        .await;
    assert_eq!(log.logged().await, [log.token(1), digest(8)]);
    log.file
        .execute(&format!(
            "{} ON CONFLICT (digest) DO UPDATE SET name = 'upserted'",
            insert("INSERT", "randomblob(16)", &eight)
                .replace("FROM api_token_apps", "FROM api_token_apps WHERE true"),
        ))
        .await;
    assert_eq!(log.logged().await, [digest(8)]);
    // Bulk deletion, also with the triggers of `REPLACE`.
    log.file
        .execute(&insert("INSERT", "zeroblob(16)", &seven))
        .await;
    assert_eq!(log.logged().await, [digest(7)]);
    log.file
        .execute("PRAGMA recursive_triggers = ON; DELETE FROM api_tokens")
        .await;
    let mut changes = log.logged().await;
    changes.sort_by_key(|change| *change != digest(7));
    assert_eq!(changes, [digest(7), digest(8)]);
}

#[tokio::test]
async fn deleting_expired_and_revoked_tokens_is_not_logged() {
    let mut log = Logged::new().await;
    log.file
        .execute("UPDATE api_tokens SET revoked_at = 1 WHERE name = 'one'")
        .await;
    log.file
        .execute("UPDATE api_tokens SET expires_at = 1 WHERE name = 'two'")
        .await;
    assert_eq!(log.logged().await, [log.token(0), log.token(1)]);
    log.file.execute("DELETE FROM api_tokens").await;
    assert_eq!(log.logged().await, []);
}

#[tokio::test]
async fn a_change_of_the_store_is_logged_once() {
    let mut log = Logged::new().await;
    let id = log.tokens[0].id;
    log.platform.rename(id, "renamed").await.unwrap();
    assert_eq!(log.logged().await, [log.token(0)]);
    // Revoking again reaches the nodes again.
    for _ in 0..2 {
        log.platform.revoke(id).await.unwrap();
        assert_eq!(log.logged().await, [log.token(0)]);
    }
    for _ in 0..2 {
        log.platform.disable_app(&log.app.id).await.unwrap();
        assert_eq!(log.logged().await, [Change::App(log.app.id)]);
    }
}

#[tokio::test]
async fn a_revocation_is_logged_without_triggers() {
    let mut log = Logged::new().await;
    log.file
        .execute("DROP TRIGGER api_tokens_log_update; DROP TRIGGER api_token_apps_log_update")
        .await;
    for _ in 0..2 {
        // Whether or not the latest change was about the same token.
        for _ in 0..2 {
            log.platform.revoke(log.tokens[0].id).await.unwrap();
            assert_eq!(log.logged().await, [log.token(0)]);
        }
        for _ in 0..2 {
            log.platform.disable_app(&log.app.id).await.unwrap();
            assert_eq!(log.logged().await, [Change::App(log.app.id)]);
        }
    }
}

#[tokio::test]
async fn every_change_of_the_store_is_logged_without_triggers() {
    let mut log = Logged::new().await;
    for (name, _) in triggers_of(&mut log.file.connect().await).await {
        log.file.execute(&format!("DROP TRIGGER {name}")).await;
    }
    let (id, app) = (log.tokens[0].id, log.app.id);
    log.platform.rename(id, "renamed").await.unwrap();
    assert_eq!(log.logged().await, [log.token(0)]);
    let rotated = log.platform.rotate(id, Duration::ZERO).await.unwrap();
    let successor = Change::Token(rotated.record().digest);
    assert_eq!(log.logged().await, [successor, log.token(0)]);
    for name in ["a", "b"] {
        let issued = log
            .platform
            .issue(&app, NewToken::named(name))
            .await
            .unwrap();
        assert_eq!(log.logged().await, [Change::Token(issued.record().digest)]);
    }
    log.platform.disable_app(&app).await.unwrap();
    log.platform.enable_app(&app).await.unwrap();
    assert_eq!(log.logged().await, [Change::App(app), Change::App(app)]);
}

#[tokio::test]
async fn dropped_or_altered_triggers_are_restored_and_the_log_is_started_over() {
    let log = Logged::new().await;
    let all = triggers_of(&mut log.file.connect().await).await;
    assert!(all.len() > 10);
    for (name, _) in &all {
        let log = Logged::new().await;
        log.store.close().await;
        log.file.execute(&format!("DROP TRIGGER {name}")).await;
        // Without the trigger, the change is not logged.
        log.file
            .execute("UPDATE api_tokens SET revoked_at = 1")
            .await;
        let reading = format!("{}?mode=ro", log.file.url());
        let refused = SqliteStore::connect(&reading).await.unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Incompatible);
        assert!(
            message(&refused).contains("for writing once"),
            "{refused:?}"
        );
        let store = log.file.open().await;
        let since = store.changes(log.revision, 10).await.unwrap();
        assert_eq!(since, Changes::Gap, "{name}");
        assert_eq!(triggers_of(&mut log.file.connect().await).await, all);
        store.close().await;
        SqliteStore::connect(&reading).await.unwrap();
    }
    let log = Logged::new().await;
    log.file
        .execute(
            "DROP TRIGGER api_tokens_log_update; \
             CREATE TRIGGER api_tokens_log_update AFTER UPDATE OF name ON api_tokens BEGIN SELECT 1; END",
        )
        .await;
    let store = log.file.open().await;
    assert_eq!(triggers_of(&mut log.file.connect().await).await, all);
    assert_eq!(store.changes(log.revision, 10).await.unwrap(), Changes::Gap);
}

async fn triggers_of(connection: &mut SqliteConnection) -> Vec<(String, String)> {
    let rows =
        sqlx::query("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name")
            .fetch_all(connection)
            .await
            .unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn opening_again_keeps_the_log() {
    let log = Logged::new().await;
    log.store.close().await;
    let store = log.file.open().await;
    assert_eq!(store.revision().await.unwrap(), log.revision);
}

#[tokio::test]
async fn an_emptied_log_is_started_over_and_every_lookup_has_a_position() {
    let log = Logged::new().await;
    log.file.execute("DELETE FROM api_token_changes").await;
    assert_eq!(
        log.store.changes(log.revision, 10).await.unwrap(),
        Changes::Gap
    );
    let latest = log.store.revision().await.unwrap();
    assert!(latest.number > log.revision.number);
    let found = log.store.find(&log.tokens[0].digest).await.unwrap();
    assert_eq!(found.position, Some(latest));
    let absent = log
        .store
        .find(&TokenDigest::from_bytes([9; 32]))
        .await
        .unwrap();
    assert_eq!((absent.record, absent.position), (None, Some(latest)));
}

#[tokio::test]
async fn the_log_is_bounded_for_every_writer() {
    let log = Logged::new().await;
    log.file
        .execute(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 100100) \
             INSERT INTO api_token_changes (revision, mark, digest) \
             SELECT 2 + n, random(), zeroblob(32) FROM n; \
             UPDATE api_tokens SET name = name",
        )
        .await;
    let mut connection = log.file.connect().await;
    let row = sqlx::query("SELECT count(*), count(DISTINCT mark) FROM api_token_changes")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let (rows, marks): (i64, i64) = (row.get(0), row.get(1));
    assert_eq!((rows, marks), (100_001, 100_001));
}

#[tokio::test]
async fn every_change_has_another_mark() {
    let mut log = Logged::new().await;
    log.file
        .execute("UPDATE api_tokens SET name = 'both'")
        .await;
    assert_eq!(log.logged().await, [log.token(0), log.token(1)]);
    let mut connection = log.file.connect().await;
    let row = sqlx::query("SELECT count(*), count(DISTINCT mark) FROM api_token_changes")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(row.get::<i64, _>(0), row.get::<i64, _>(1));
}

/// Rotates a token as a process of the previous version does.
const ROTATE_AS_BEFORE: &str = "UPDATE api_tokens SET expires_at = 9, successor = zeroblob(16) \
     WHERE id = (SELECT id FROM api_tokens WHERE name = 'one') AND successor IS NULL";

#[tokio::test]
async fn a_restricted_token_is_expired_for_a_process_of_the_previous_version() {
    let log = Logged::new().await;
    let mut restricted = log.tokens[0].clone();
    restricted.id = TokenId::from_bytes([9; 16]);
    restricted.digest = TokenDigest::of(b"restricted");
    "restricted".clone_into(&mut restricted.name);
    restricted.expires_at = Some("2100-01-01T00:00:00Z".parse().unwrap());
    restricted.restrictions = Some("{\"networks\":[]}".parse().unwrap());
    log.store.insert(&restricted).await.unwrap();
    let mut connection = log.file.connect().await;
    let as_before = "SELECT name FROM api_tokens \
         WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > 0) ORDER BY name";
    let live: Vec<String> = sqlx::query_scalar(as_before)
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(live, ["one", "two"]);
    // It creates the successor without restrictions.
    for rotation in [
        ROTATE_AS_BEFORE.to_owned(),
        ROTATE_AS_BEFORE.replace("expires_at = 9, ", ""),
    ] {
        let rotation = rotation.replace("'one'", "'restricted'");
        let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(rotation))
            .execute(&mut connection)
            .await;
        assert!(refused.is_err());
    }
    sqlx::raw_sql(ROTATE_AS_BEFORE)
        .execute(&mut connection)
        .await
        .unwrap();
    let kept = log.store.find(&restricted.digest).await.unwrap().record;
    assert_eq!(kept.as_ref(), Some(&restricted));
    let revoked = "UPDATE api_tokens SET revoked_at = 5 WHERE name = 'restricted'";
    log.file.execute(revoked).await;
    let kept = log.store.find(&restricted.digest).await.unwrap().record;
    let at = jiff::Timestamp::from_microsecond(5).unwrap();
    assert_eq!(kept, Some(restricted.revoke(at)));
}

#[tokio::test]
async fn unreadable_restrictions_are_rejected() {
    let log = Logged::new().await;
    let mut connection = log.file.connect().await;
    for (bad, reason) in [
        ("expires_at = 0, restrictions = ''", "1 to 4096"),
        ("expires_at = 0, restrictions = 'ä'", "printable"),
        (
            "expires_at = 0, restrictions = 'a' || char(10)",
            "printable",
        ),
        (
            "expires_at = 0, restrictions = CAST(x'610062' AS TEXT)",
            "printable",
        ),
        (
            "expires_at = 0, restrictions = hex(zeroblob(2049))",
            "1 to 4096",
        ),
        ("restrictions = '{}'", "restricted_expires_at"),
        (
            "expires_at = 5, restrictions = '{}'",
            "restricted_expires_at",
        ),
        ("restricted_expires_at = 5", "restricted_expires_at"),
    ] {
        let change = format!("UPDATE api_tokens SET {bad} WHERE name = 'one'");
        let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(change));
        let refused = refused.execute(&mut connection).await.unwrap_err();
        assert!(refused.to_string().contains(reason), "{bad}: {refused}");
    }
    let restrict = "UPDATE api_tokens SET expires_at = 0, restrictions = '{}' WHERE name = 'one'";
    log.file.execute(restrict).await;
    let found = log.store.find(&log.tokens[0].digest).await.unwrap();
    let restrictions = found.record.unwrap().restrictions;
    assert_eq!(restrictions.as_ref().map(Restrictions::as_str), Some("{}"));
}
