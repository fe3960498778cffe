//! The conformance suite for the SQLite store: on a file, in memory and on your own pools.

mod file {
    use tempfile::TempDir;
    use tower_api_tokens_sqlx::SqliteStore;

    async fn fresh() -> (SqliteStore, TempDir) {
        let directory = TempDir::new().unwrap();
        let url = format!("sqlite://{}/tokens.db", directory.path().display());
        (SqliteStore::connect(&url).await.unwrap(), directory)
    }

    tower_api_tokens::registry_conformance!(fresh());
}

mod memory {
    use tower_api_tokens_sqlx::SqliteStore;

    async fn fresh() -> (SqliteStore, ()) {
        (SqliteStore::connect("sqlite::memory:").await.unwrap(), ())
    }

    tower_api_tokens::registry_conformance!(fresh());
}

mod pool {
    use sqlx::SqlitePool;
    use tempfile::TempDir;
    use tower_api_tokens_sqlx::SqliteStore;

    async fn fresh() -> (SqliteStore, TempDir) {
        let directory = TempDir::new().unwrap();
        let url = format!("sqlite://{}/tokens.db?mode=rwc", directory.path().display());
        let pool = SqlitePool::connect(&url).await.unwrap();
        (
            SqliteStore::builder_on(pool).connect().await.unwrap(),
            directory,
        )
    }

    tower_api_tokens::registry_conformance!(fresh());
}

mod memory_pool {
    use sqlx::sqlite::SqlitePoolOptions;
    use tower_api_tokens_sqlx::SqliteStore;

    async fn fresh() -> (SqliteStore, ()) {
        let lasting = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None);
        let pool = lasting.connect("sqlite::memory:").await.unwrap();
        (SqliteStore::builder_on(pool).connect().await.unwrap(), ())
    }

    tower_api_tokens::registry_conformance!(fresh());
}
