//! A schema for each test.

use std::{
    process,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tower_api_tokens::PostgresStore;

/// The database that the tests may use.
pub(crate) fn url() -> Option<String> {
    std::env::var("TEST_POSTGRES_URL").ok()
}

pub(crate) fn server() -> String {
    url().expect("`TEST_POSTGRES_URL` names a database")
}

/// A schema that is there for one test.
pub(crate) struct Schema {
    pub(crate) name: String,
}

impl Schema {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Relaxed);
        let name = format!("test {}_{number}", process::id());
        Self { name }
    }

    pub(crate) async fn open(&self) -> PostgresStore {
        let builder = PostgresStore::builder(&server()).schema(&self.name);
        builder.connect().await.unwrap()
    }

    /// A connection on which tables are named without their schema.
    pub(crate) async fn connect(&self) -> PgConnection {
        let mut connection = PgConnection::connect(&server()).await.unwrap();
        let path = format!("SET search_path TO \"{}\"", self.name);
        execute(&mut connection, &path).await;
        connection
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let drop = format!("DROP SCHEMA IF EXISTS \"{}\" CASCADE", self.name);
        let removed = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().unwrap().block_on(async {
                let mut connection = PgConnection::connect(&server()).await.unwrap();
                execute(&mut connection, &drop).await;
            });
        });
        removed.join().expect("the test's schema is removed");
    }
}

pub(crate) async fn execute(connection: &mut PgConnection, statements: &str) {
    let statements = AssertSqlSafe(statements.to_owned());
    sqlx::raw_sql(statements).execute(connection).await.unwrap();
}

/// A store without a record.
pub(crate) async fn fresh() -> (PostgresStore, Schema) {
    let schema = Schema::new();
    (schema.open().await, schema)
}
