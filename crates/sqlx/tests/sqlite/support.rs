//! Helpers for the tests of the SQLite store.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use sqlx::{
    Connection, SqlStr, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use tempfile::TempDir;
use tower_api_tokens::{ApiTokens, StoreError, StoreErrorKind, TokenFormat};
use tower_api_tokens_sqlx::SqliteStore;

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The schemas of the released versions.
const MIGRATIONS: [&str; RELEASED] = [
    include_str!("../../migrations/sqlite/0001_tokens.sql"),
    include_str!("../../migrations/sqlite/0002_operations.sql"),
    include_str!("../../migrations/sqlite/0003_triggers.sql"),
    include_str!("../../migrations/sqlite/0004_restrictions.sql"),
];

/// The number of released versions.
pub(crate) const RELEASED: usize = 4;

pub(crate) struct File {
    pub(crate) directory: TempDir,
}

impl File {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        Self { directory }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("tokens.db")
    }

    pub(crate) fn url(&self) -> String {
        url(&self.path())
    }

    pub(crate) async fn open(&self) -> SqliteStore {
        SqliteStore::connect(&self.url()).await.unwrap()
    }

    pub(crate) async fn connect(&self) -> SqliteConnection {
        SqliteConnection::connect(&self.url()).await.unwrap()
    }

    /// Executes statements as another program would, without foreign keys.
    pub(crate) async fn execute(&self, statements: &str) {
        let options = SqliteConnectOptions::new()
            .filename(self.path())
            .foreign_keys(false);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned()))
            .execute(&mut connection)
            .await
            .unwrap_or_else(|error| panic!("{statements}: {error}"));
        connection.close().await.unwrap();
    }

    /// Asserts that opening fails with this kind, and leaves the file unchanged.
    pub(crate) async fn refuses(&self, kind: StoreErrorKind) -> StoreError {
        let before = fs::read(self.path()).unwrap();
        let error = SqliteStore::connect(&self.url()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(
            fs::read(self.path()).unwrap() == before,
            "the file was changed"
        );
        error
    }
}

pub(crate) fn url(file: &Path) -> String {
    format!("sqlite://{}", file.display())
}

pub(crate) fn tokens(store: &SqliteStore) -> ApiTokens {
    ApiTokens::new(store.clone(), TokenFormat::new("acme").unwrap())
}

/// Returns the messages of an error and its causes.
pub(crate) fn message(error: &StoreError) -> String {
    let source = std::error::Error::source(error);
    format!(
        "{error}: {}",
        source.map(ToString::to_string).unwrap_or_default()
    )
}

/// Creates a file as the release with this version of the schema did.
pub(crate) async fn write_version(file: &Path, version: usize) {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let migration = |(version, sql): (i64, &&'static str)| {
        let sql = SqlStr::from_static(sql);
        Migration::new(version, "".into(), MigrationType::Simple, sql, false)
    };
    let migrations = (1..).zip(&MIGRATIONS[..version]).map(migration).collect();
    let mut migrator = Migrator::with_migrations(migrations);
    migrator.dangerous_set_table_name("_api_token_migrations");
    migrator
        .run_direct(None, &mut connection, false)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// A process of this program that runs one ignored test.
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(test: &str) -> Self {
        Self::start_by(Command::new(std::env::current_exe().unwrap()), test)
    }

    pub(crate) fn start_by(mut command: Command, test: &str) -> Self {
        let mut child = command
            .args(["--exact", test, "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Returns the last response of the process. The test harness prints other lines.
    pub(crate) fn answer(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).unwrap();
            assert!(read > 0, "the process goes on");
            if let Some(at) = line.find("answer: ") {
                return line[at + "answer: ".len()..].trim().to_owned();
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Responds to each line of input, in such a process.
pub(crate) async fn answer_lines(mut answer: impl AsyncFnMut(String) -> String) {
    for line in std::io::stdin().lines() {
        println!("answer: {}", answer(line.unwrap()).await);
    }
}
