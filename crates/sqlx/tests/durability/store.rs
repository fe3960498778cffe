//! The stores under test, selected by their URLs.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};
use tower_api_tokens::TokenRegistry;
use tower_api_tokens_sqlx::{PostgresStore, SqliteStore};

const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) enum Store {
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
}

impl Store {
    pub(crate) async fn open(url: &str) -> Self {
        if url.starts_with("postgres:") {
            return Self::Postgres(PostgresStore::connect(url).await.unwrap());
        }
        Self::Sqlite(SqliteStore::connect(url).await.unwrap())
    }

    pub(crate) fn registry(&self) -> &dyn TokenRegistry {
        match self {
            Self::Sqlite(store) => store,
            Self::Postgres(store) => store,
        }
    }

    pub(crate) async fn close(self) {
        match self {
            Self::Sqlite(store) => store.close().await,
            Self::Postgres(store) => store.close().await,
        }
    }
}

/// Waits until the server is done with the requests of killed processes: it may carry them out before it
/// notices that the client is gone.
#[expect(clippy::disallowed_methods, reason = "the server takes real time")]
pub(crate) async fn settle(url: &str) {
    if !url.starts_with("postgres:") {
        return;
    }
    let mut connection = PgConnection::connect(url).await.unwrap();
    let others = "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let begun = Instant::now();
    loop {
        let count: i64 = sqlx::query_scalar(others)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        if count == 0 {
            break;
        }
        assert!(begun.elapsed() < DEADLINE, "{count} sessions go on");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    connection.close().await.unwrap();
}
