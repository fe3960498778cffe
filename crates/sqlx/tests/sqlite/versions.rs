//! Processes of every released version verify and manage while a file is upgraded, and afterwards.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::join_all;
use jiff::Timestamp;
use sqlx::{
    Connection, Row, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use tokio::time::{sleep, timeout};
use tower_api_tokens::{
    AppId, Change, ChangeLog, Changes, MaskedToken, TokenDigest, TokenId, TokenOrder, TokenQuery,
    TokenRecord, TokenRegistry, TokenRegistryExt, TokenStore, TokenTarget,
};
use tower_api_tokens_sqlx::SqliteStore;

use crate::support::{File, RELEASED, write_version};

/// The maximum time for one round of a process during an upgrade.
const IN_TIME: Duration = Duration::from_secs(30);

/// An expiry that has not passed.
const LATER: i64 = 9_000_000_000_000_000;

fn id_of(number: u128) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn digest_of(number: u128) -> TokenDigest {
    TokenDigest::of(&number.to_be_bytes())
}

/// A process of a released version, by its statements.
struct Node {
    version: usize,
    connection: SqliteConnection,
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Unknown,
    Live,
    Revoked,
    Expired,
    Restricted,
}

/// Looks up a token, like versions without restrictions.
const FIND: &str = "SELECT t.id, t.digest, t.mask, t.name, t.scopes, t.created_at, t.expires_at AS expiry, \
    t.revoked_at, t.successor, t.last_used_at, t.uses, a.id, a.name, a.created_at, a.disabled_at, \
    false AS is_restricted \
    FROM api_tokens t JOIN api_token_apps a ON a.id = t.app_id WHERE t.digest = ?1";

/// Looks up a token, like the fourth version.
const FIND_RESTRICTED: &str = "SELECT t.id, t.digest, t.mask, t.name, t.scopes, t.created_at, \
    CASE WHEN t.restrictions IS NULL THEN t.expires_at ELSE t.restricted_expires_at END AS expiry, \
    t.revoked_at, t.successor, t.last_used_at, t.uses, a.id, a.name, a.created_at, a.disabled_at, \
    t.restrictions IS NOT NULL AS is_restricted \
    FROM api_tokens t JOIN api_token_apps a ON a.id = t.app_id WHERE t.digest = ?1";

/// Logs a change, like versions without triggers.
const NOTE: &str = "INSERT INTO api_token_changes (revision, mark, digest) \
    SELECT max(revision) + 1, random(), ?1 FROM api_token_changes";

/// Logs a change after a revision, unless a trigger has done so.
const ENSURE_LOGGED: &str = "INSERT INTO api_token_changes (revision, mark, digest) \
    SELECT latest + 1, random(), ?1 FROM (SELECT coalesce(max(revision), 0) AS latest FROM api_token_changes) \
    WHERE NOT EXISTS (SELECT 1 FROM api_token_changes WHERE revision > ?2 AND digest IS ?1 AND app_id IS NULL)";

const INSERT: &str = "INSERT INTO api_tokens \
    (id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at, successor, last_used_at, uses) \
    VALUES (?1, ?2, 'acme_…x7Kq', 'app', 'ci', '', 0, NULL, NULL, NULL, NULL, 0)";

const INSERT_RESTRICTED: &str = "INSERT INTO api_tokens \
    (id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at, successor, last_used_at, uses, \
     restrictions, restricted_expires_at) \
    VALUES (?1, ?2, 'acme_…x7Kq', 'app', 'ci', '', 0, NULL, NULL, NULL, NULL, 0, NULL, NULL)";

const ROTATE: &str = "UPDATE api_tokens SET expires_at = ?2, successor = ?3 \
    WHERE id = ?1 AND successor IS NULL AND revoked_at IS NULL";

const REVOKE: &str = "UPDATE api_tokens SET revoked_at = ?2 WHERE id = ?1";

/// Changes a token, like the fourth version.
const UPDATE: &str = "UPDATE api_tokens SET \
    digest = ?2, mask = 'acme_…x7Kq', app_id = 'app', name = 'ci', scopes = '', created_at = 0, expires_at = ?3, \
    revoked_at = ?4, successor = ?5, last_used_at = 5, uses = 1, restrictions = NULL, \
    restricted_expires_at = NULL WHERE id = ?1";

const RECORD_USAGE: &str = "UPDATE api_tokens SET \
    last_used_at = max(coalesce(last_used_at, ?2), ?2), uses = uses + ?3 WHERE id = ?1";

impl Node {
    async fn start(file: &File, version: usize) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(file.path())
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(Duration::from_secs(5));
        let connection = SqliteConnection::connect_with(&options).await.unwrap();
        Self {
            version,
            connection,
        }
    }

    async fn find(&mut self, number: u128) -> Seen {
        let find = match self.version {
            1..=3 => FIND,
            _ => FIND_RESTRICTED,
        };
        let found = sqlx::query(find)
            .bind(digest_of(number).as_bytes().as_slice())
            .fetch_optional(&mut self.connection)
            .await
            .unwrap();
        let Some(row) = found else {
            return Seen::Unknown;
        };
        let time = |column| row.get::<Option<i64>, _>(column);
        if time("revoked_at").is_some() {
            Seen::Revoked
        } else if time("expiry").is_some_and(|expiry| expiry < LATER) {
            Seen::Expired
        } else if row.get("is_restricted") {
            Seen::Restricted
        } else {
            Seen::Live
        }
    }

    /// Begins a change, and returns the latest revision.
    async fn begin(&mut self) -> i64 {
        self.run("BEGIN IMMEDIATE").await;
        let latest = "SELECT coalesce(max(revision), 0) FROM api_token_changes";
        let latest = sqlx::query_scalar(latest).fetch_one(&mut self.connection);
        latest.await.unwrap()
    }

    async fn run(&mut self, statement: &'static str) {
        let run = sqlx::raw_sql(statement).execute(&mut self.connection);
        run.await.unwrap();
    }

    /// Logs the change of a token.
    async fn note(&mut self, number: u128, since: i64) {
        let digest = digest_of(number);
        let note = match self.version {
            1 | 2 => sqlx::query(NOTE).bind(digest.as_bytes().as_slice()),
            _ => sqlx::query(ENSURE_LOGGED)
                .bind(digest.as_bytes().as_slice())
                .bind(since),
        };
        note.execute(&mut self.connection).await.unwrap();
    }

    async fn insert(&mut self, number: u128) {
        let insert = match self.version {
            1..=3 => INSERT,
            _ => INSERT_RESTRICTED,
        };
        let insert = sqlx::query(insert)
            .bind(id_of(number))
            .bind(digest_of(number).as_bytes().to_vec());
        insert.execute(&mut self.connection).await.unwrap();
    }

    async fn issue(&mut self, number: u128) {
        let since = self.begin().await;
        self.insert(number).await;
        self.note(number, since).await;
        self.run("COMMIT").await;
    }

    async fn rotate(&mut self, number: u128, successor: u128) {
        let since = self.begin().await;
        self.insert(successor).await;
        let rotate = match self.version {
            1..=3 => sqlx::query(ROTATE)
                .bind(id_of(number))
                .bind(LATER)
                .bind(id_of(successor)),
            _ => sqlx::query(UPDATE)
                .bind(id_of(number))
                .bind(digest_of(number).as_bytes().to_vec())
                .bind(LATER)
                .bind(None::<i64>)
                .bind(id_of(successor)),
        };
        let rotated = rotate.execute(&mut self.connection).await.unwrap();
        assert_eq!(rotated.rows_affected(), 1);
        self.note(successor, since).await;
        self.note(number, since).await;
        self.run("COMMIT").await;
    }

    async fn revoke(&mut self, number: u128) {
        let since = self.begin().await;
        let revoke = sqlx::query(REVOKE).bind(id_of(number)).bind(7_i64);
        let revoked = revoke.execute(&mut self.connection).await.unwrap();
        assert_eq!(revoked.rows_affected(), 1);
        self.note(number, since).await;
        self.run("COMMIT").await;
    }

    async fn record_usage(&mut self, number: u128) {
        let record = sqlx::query(RECORD_USAGE);
        let record = record.bind(id_of(number)).bind(5_i64).bind(1_i64);
        record.execute(&mut self.connection).await.unwrap();
    }

    async fn round(&mut self, first: u128, second: u128) {
        assert_eq!(self.find(first).await, Seen::Unknown);
        self.issue(first).await;
        assert_eq!(self.find(first).await, Seen::Live);
        self.record_usage(first).await;
        self.rotate(first, second).await;
        assert_eq!(self.find(first).await, Seen::Live);
        assert_eq!(self.find(second).await, Seen::Live);
        self.revoke(second).await;
        assert_eq!(self.find(second).await, Seen::Revoked);
    }
}

/// A process that verifies and manages until it is stopped.
struct Running {
    rounds: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(mut node: Node, number: u128, stop: Arc<AtomicBool>) -> Self {
        let rounds = Arc::new(AtomicU64::new(0));
        let done = Arc::clone(&rounds);
        let task = tokio::spawn(async move {
            let mut next = number * 1_000_000;
            while !stop.load(Relaxed) {
                let round = node.round(next, next + 1);
                timeout(IN_TIME, round).await.expect("nothing waits long");
                next += 2;
                done.fetch_add(1, Relaxed);
                // SQLite has no queue: others get their turn.
                sleep(Duration::from_millis(2)).await;
            }
        });
        Self { rounds, task }
    }

    /// Waits for more rounds.
    async fn go_on(&self) {
        let until = self.rounds.load(Relaxed) + 2;
        while self.rounds.load(Relaxed) < until {
            assert!(!self.task.is_finished(), "the process goes on");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn upgrade_from(version: usize) {
    let file = File::new();
    write_version(&file.path(), version).await;
    file.execute("INSERT INTO api_token_apps (id, name, created_at, disabled_at) VALUES ('app', 'App', 0, NULL)")
        .await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut nodes = Vec::new();
    // Processes of the versions before still run.
    for (number, version) in (1..).zip(1..=version) {
        let node = Node::start(&file, version).await;
        nodes.push(Running::start(node, number, Arc::clone(&stop)));
    }
    join_all(nodes.iter().map(Running::go_on)).await;
    let store = file.open().await;
    let before = store.revision().await.unwrap();
    join_all(nodes.iter().map(Running::go_on)).await;
    let app = AppId::new("app").unwrap();
    let app = store.app(&app).await.unwrap().unwrap();
    for number in 0..10_u128 {
        let mask = MaskedToken::new("acme_", "x7Kq").unwrap();
        let id = TokenId::from_bytes(number.to_be_bytes());
        let digest = digest_of(number);
        let token = TokenRecord::new(id, digest, mask, app.clone(), "ci", app.created_at);
        store.insert(&token).await.unwrap();
        let target = TokenTarget::any(id);
        store.revoke(&target, app.created_at).await.unwrap();
    }
    join_all(nodes.iter().map(Running::go_on)).await;
    stop.store(true, Relaxed);
    let mut expected = Vec::new();
    for (number, node) in (1_u128..).zip(nodes) {
        node.task.await.unwrap();
        let rounds = u128::from(node.rounds.load(Relaxed));
        expected.extend((0..rounds * 2).map(|token| number * 1_000_000 + token));
    }
    // This version sees what they did, and their last changes are in the log.
    for number in &expected {
        let found = store.find(&digest_of(*number)).await.unwrap().record;
        let found = found.unwrap();
        assert_eq!(found.revoked_at.is_some(), number % 2 == 1, "{number}");
        assert_eq!(found.successor.is_some(), number % 2 == 0, "{number}");
    }
    let Changes::Since { changes, .. } = store.changes(before, 100_000).await.unwrap() else {
        panic!("the log leads on")
    };
    let logged: Vec<_> = changes.iter().map(|logged| logged.change).collect();
    for (position, change) in logged.iter().enumerate() {
        let Change::Token(digest) = change else {
            panic!("only tokens are changed: {change:?}")
        };
        assert!(
            store.find(digest).await.unwrap().record.is_some(),
            "{position}"
        );
    }
    let last = expected.last().unwrap();
    assert!(logged.contains(&Change::Token(digest_of(*last))));
    let mut connection = file.connect().await;
    let (rows, latest): (i64, i64) =
        sqlx::query_as("SELECT count(*), max(revision) FROM api_token_changes")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(rows, latest + 1, "no gap");
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_of_version_1_verify_and_manage_throughout_an_upgrade() {
    upgrade_from(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_of_version_2_verify_and_manage_throughout_an_upgrade() {
    upgrade_from(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_of_version_3_verify_and_manage_throughout_an_upgrade() {
    upgrade_from(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_of_version_4_verify_and_manage_throughout_an_upgrade() {
    upgrade_from(4).await;
}

#[tokio::test]
async fn what_processes_of_released_versions_cannot_judge_is_refused() {
    let file = File::new();
    let store = file.open().await;
    file.execute("INSERT INTO api_token_apps (id, name, created_at) VALUES ('app', 'App', 0)")
        .await;
    let app = store.app(&AppId::new("app").unwrap()).await.unwrap();
    let app = app.unwrap();
    let mask = MaskedToken::new("acme_", "x7Kq").unwrap();
    let id = TokenId::from_bytes(1_u128.to_be_bytes());
    let at = app.created_at;
    let mut restricted = TokenRecord::new(id, digest_of(1), mask, app, "ci", at);
    restricted.restrictions = Some("what only a later version understands".parse().unwrap());
    restricted.expires_at = Some(jiff::Timestamp::from_second(9_500_000_000).unwrap());
    store.insert(&restricted).await.unwrap();
    for version in 1..=RELEASED {
        let seen = match version {
            1..=3 => Seen::Expired,
            _ => Seen::Restricted,
        };
        let mut node = Node::start(&file, version).await;
        assert_eq!(node.find(1).await, seen, "version {version}");
    }
    for version in 1..=RELEASED {
        let mut node = Node::start(&file, version).await;
        node.revoke(1).await;
        assert_eq!(node.find(1).await, Seen::Revoked, "version {version}");
        file.execute("UPDATE api_tokens SET revoked_at = NULL")
            .await;
    }
    let found = store.find(&restricted.digest).await.unwrap().record;
    assert_eq!(found.as_ref(), Some(&restricted));
}

/// The identifiers of tokens by their last use, and of those that were used since their rotation.
async fn listed(store: &SqliteStore) -> [Vec<TokenId>; 2] {
    let by_use = TokenQuery::default().sorted_by(TokenOrder::LastUsed);
    let used = TokenQuery::default().used_since_rotation(true);
    let mut listed = [const { Vec::new() }; 2];
    for (ids, query) in listed.iter_mut().zip([by_use, used]) {
        let page = store.tokens(&query, Timestamp::UNIX_EPOCH).await.unwrap();
        ids.extend(page.items.iter().map(|token| token.id));
    }
    listed
}

#[tokio::test]
async fn processes_of_released_versions_move_the_tokens_that_they_use() {
    for version in 1..=RELEASED {
        let file = File::new();
        write_version(&file.path(), version).await;
        file.execute("INSERT INTO api_token_apps (id, name, created_at, disabled_at) VALUES ('app', 'App', 0, NULL)")
            .await;
        let mut node = Node::start(&file, version).await;
        let days_ago = "UPDATE api_tokens SET created_at = created_at - 9 * 86400000000";
        for number in 1..=3 {
            node.issue(number).await;
        }
        file.execute(days_ago).await;
        // Before the upgrade, and after it.
        node.record_usage(1).await;
        let store = file.open().await;
        let [first, second, third, fourth] =
            [1_u128, 2, 3, 4].map(|number| TokenId::from_bytes(number.to_be_bytes()));
        assert_eq!(listed(&store).await, [vec![second, third, first], vec![]]);
        node.record_usage(2).await;
        assert_eq!(listed(&store).await, [vec![third, first, second], vec![]]);
        // The identifier of the successor has no time, so any use counts as one after the rotation.
        node.rotate(2, 4).await;
        assert_eq!(
            listed(&store).await,
            [vec![third, first, second, fourth], vec![second]],
            "version {version}"
        );
        // A process without triggers, and a later version that restores them.
        file.execute("DROP TRIGGER api_tokens_used_update; UPDATE api_tokens SET last_used_at = 6 WHERE last_used_at IS NULL")
            .await;
        store.close().await;
        let store = file.open().await;
        let [by_use, _] = listed(&store).await;
        assert_eq!(by_use, [first, second, third, fourth]);
    }
}
