//! Concurrent connections create and migrate the tables once.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
};

use futures_util::future::join_all;
use sqlx::{Connection, PgConnection};
use tower_api_tokens::StoreErrorKind;
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    races::COURSE,
    services::Test,
    support::{Schema, execute, server, tokens, unique},
};

const OPENER: &str = "OPEN_SCHEMAS";
const PROCESSES: usize = 8;
const TASKS: usize = 8;
const ROUNDS: usize = 25;

/// The tables of the first version.
const FIRST: &str = include_str!("../../migrations/postgres/0001_tokens.sql");

pub(crate) fn tests() -> Vec<Test> {
    tests![
        processes_and_tasks_open_an_empty_database_concurrently,
        processes_and_tasks_upgrade_tables_concurrently,
        sessions_with_short_timeouts_wait_for_the_migration,
        a_database_with_another_encoding_is_rejected,
    ]
}

/// Opens the schemas that it is given, if this process was started for that.
pub(crate) fn open() -> bool {
    if env::var_os(OPENER).is_none() {
        return false;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for schema in std::io::stdin().lines() {
            match open_and_close(&schema.unwrap(), &server()).await {
                Ok(()) => println!("opened"),
                Err(error) => println!("{error}"),
            }
        }
    });
    true
}

async fn open_and_close(schema: &str, url: &str) -> Result<(), String> {
    let store = PostgresStore::builder(url).schema(schema).connect().await;
    store.map_err(|error| format!("{error:?}"))?.close().await;
    Ok(())
}

struct Opener {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Opener {
    fn start() -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .env(OPENER, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output }
    }

    fn open(&mut self, schema: &Schema) {
        writeln!(self.process.stdin.as_ref().unwrap(), "{}", schema.name).unwrap();
    }

    fn outcome(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Opens a schema in all processes and in as many tasks of this one, and checks the tables.
async fn open_by_all(openers: &mut [Opener], schema: &Schema) {
    for opener in openers.iter_mut() {
        opener.open(schema);
    }
    let tasks = (0..TASKS).map(|_| {
        let name = schema.name.clone();
        tokio::spawn(async move { open_and_close(&name, &server()).await })
    });
    for opened in join_all(tasks).await {
        assert_eq!(opened.unwrap(), Ok(()));
    }
    for opener in openers {
        assert_eq!(opener.outcome(), "opened");
    }
    let mut hand = schema.connect().await;
    let versions: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM _api_token_migrations ORDER BY version")
            .fetch_all(&mut hand)
            .await
            .unwrap();
    let latest = i64::try_from(versions.len()).unwrap();
    assert!(versions.into_iter().eq(1..=latest), "each was made once");
}

async fn processes_and_tasks_open_an_empty_database_concurrently() {
    let _course = COURSE.lock().await;
    let mut openers: Vec<_> = (0..PROCESSES).map(|_| Opener::start()).collect();
    for _ in 0..ROUNDS {
        let schema = Schema::new();
        open_by_all(&mut openers, &schema).await;
    }
}

/// Creates the tables of the first version.
async fn make_old_tables(schema: &Schema) {
    let mut hand = PgConnection::connect(&server()).await.unwrap();
    let make = format!(
        "CREATE SCHEMA \"{name}\"; SET search_path TO \"{name}\", pg_temp; \
         CREATE TABLE _api_token_migrations (version bigint NOT NULL PRIMARY KEY, \
            name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()); \
         {FIRST} \
         INSERT INTO _api_token_migrations (version, name) VALUES (1, 'tokens')",
        name = schema.name
    );
    execute(&mut hand, &make).await;
}

async fn processes_and_tasks_upgrade_tables_concurrently() {
    let _course = COURSE.lock().await;
    let mut openers: Vec<_> = (0..PROCESSES).map(|_| Opener::start()).collect();
    for _ in 0..ROUNDS {
        let schema = Schema::new();
        make_old_tables(&schema).await;
        open_by_all(&mut openers, &schema).await;
    }
    let schema = Schema::new();
    make_old_tables(&schema).await;
    tokens(&schema.open().await)
        .create_app("Billing")
        .await
        .unwrap();
}

async fn sessions_with_short_timeouts_wait_for_the_migration() {
    let schema = Schema::new();
    let mut hand = PgConnection::connect(&server()).await.unwrap();
    let lock = format!(
        "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('tower-api-tokens {}', 0))",
        schema.name
    );
    execute(&mut hand, &lock).await;
    let url = format!(
        "{}?options=-c%20lock_timeout%3D50ms%20-c%20statement_timeout%3D100ms",
        server()
    );
    let name = schema.name.clone();
    let opening = tokio::spawn(async move { open_and_close(&name, &url).await });
    let waits = "SELECT count(*) FROM pg_stat_activity \
        WHERE wait_event_type = 'Lock' AND wait_event = 'advisory' \
        AND now() - query_start > interval '300 milliseconds'";
    let mut watch = PgConnection::connect(&server()).await.unwrap();
    while sqlx::query_scalar::<_, i64>(waits)
        .fetch_one(&mut watch)
        .await
        .unwrap()
        == 0
    {
        assert!(!opening.is_finished(), "{:?}", opening.await);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    execute(&mut hand, "COMMIT").await;
    assert_eq!(opening.await.unwrap(), Ok(()));
}

async fn a_database_with_another_encoding_is_rejected() {
    let mut hand = PgConnection::connect(&server()).await.unwrap();
    let server = server();
    let (rest, _) = server.rsplit_once('/').unwrap();
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("encoded_{}", unique());
        let create =
            format!("CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0");
        execute(&mut hand, &create).await;
        for read_only in [false, true] {
            let builder = PostgresStore::builder(&format!("{rest}/{name}"));
            let builder = if read_only {
                builder.read_only()
            } else {
                builder
            };
            let refused = builder.connect().await.unwrap_err();
            assert_eq!(refused.kind(), StoreErrorKind::InvalidSettings);
            let source = std::error::Error::source(&refused).unwrap().to_string();
            assert!(
                source.contains(encoding) && source.contains("ENCODING 'UTF8'"),
                "{source}"
            );
        }
        let made: i64 = {
            let mut inside = PgConnection::connect(&format!("{rest}/{name}"))
                .await
                .unwrap();
            let tables = "SELECT count(*) FROM pg_tables WHERE tablename LIKE '%api_token%'";
            let count = sqlx::query_scalar(tables)
                .fetch_one(&mut inside)
                .await
                .unwrap();
            inside.close().await.unwrap();
            count
        };
        assert_eq!(made, 0, "nothing is made there");
        execute(&mut hand, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
    }
}
