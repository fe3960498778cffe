//! Creates a schema for each test.

use std::{
    env, process,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::time::{sleep, timeout};
use tower_api_tokens::{ApiTokens, TokenFormat};
use tower_api_tokens_sqlx::PostgresStore;

/// The URL of the test database.
pub(crate) fn url() -> Option<String> {
    env::var("TEST_POSTGRES_URL").ok()
}

pub(crate) fn server() -> String {
    url().expect("`TEST_POSTGRES_URL` names a database")
}

/// Returns the parts `host:port` and `/database` of the URL.
pub(crate) fn address() -> (String, String) {
    let url = server();
    let (_, rest) = url.split_once('@').expect("the URL names a user");
    let (address, database) = rest.split_once('/').expect("the URL names a database");
    (address.to_owned(), format!("/{database}"))
}

/// Returns a unique name.
pub(crate) fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{}_{}", process::id(), COUNT.fetch_add(1, Relaxed))
}

/// A temporary schema. Its name needs quotes.
pub(crate) struct Schema {
    pub(crate) name: String,
}

impl Schema {
    pub(crate) fn new() -> Self {
        let name = format!("Test {}", unique());
        Self { name }
    }

    pub(crate) async fn open(&self) -> PostgresStore {
        self.open_by(&server()).await
    }

    pub(crate) async fn open_by(&self, url: &str) -> PostgresStore {
        let builder = PostgresStore::builder(url).schema(&self.name);
        builder.connect().await.unwrap()
    }

    /// Returns a connection with the schema as its search path.
    pub(crate) async fn connect(&self) -> PgConnection {
        let mut connection = PgConnection::connect(&server()).await.unwrap();
        let path = format!("SET search_path TO \"{}\"", self.name);
        execute(&mut connection, &path).await;
        connection
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        execute_at_end(format!("DROP SCHEMA IF EXISTS \"{}\" CASCADE", self.name));
    }
}

pub(crate) async fn execute(connection: &mut PgConnection, statements: &str) {
    try_execute(connection, statements).await.unwrap();
}

pub(crate) async fn try_execute(
    connection: &mut PgConnection,
    statements: &str,
) -> Result<(), sqlx::Error> {
    let statements = AssertSqlSafe(statements.to_owned());
    let done = sqlx::raw_sql(statements).execute(connection).await;
    done.map(drop)
}

/// Executes statements in a context that is not async.
pub(crate) fn execute_at_end(statements: String) {
    let executed = thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(async {
            let mut connection = PgConnection::connect(&server()).await.unwrap();
            execute(&mut connection, &statements).await;
        });
    });
    let executed = executed.join();
    assert!(executed.is_ok() || thread::panicking());
}

/// A store without a record.
pub(crate) async fn fresh() -> (PostgresStore, Schema) {
    let schema = Schema::new();
    (schema.open().await, schema)
}

pub(crate) fn tokens(store: &PostgresStore) -> ApiTokens {
    ApiTokens::new(store.clone(), TokenFormat::new("acme").unwrap())
}

/// How many sessions of an application have begun to listen, and done nothing since.
pub(crate) async fn listening(hand: &mut PgConnection, application: &str) -> i64 {
    let listening = "SELECT count(*) FROM pg_stat_activity \
         WHERE application_name = $1 AND query LIKE 'LISTEN%' AND state = 'idle'";
    let sessions = sqlx::query_scalar(listening).bind(application);
    sessions.fetch_one(&mut *hand).await.unwrap()
}

/// Waits until a session of an application listens.
pub(crate) async fn listens(hand: &mut PgConnection, application: &str) {
    let deadline = Duration::from_secs(20);
    let wait = async {
        while listening(hand, application).await != 1 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(deadline, wait).await.expect("it listens");
}
