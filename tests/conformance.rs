//! Every store that comes with the crate, put to the contract.

mod memory {
    use tower_api_tokens::MemoryStore;

    async fn fresh() -> (MemoryStore, ()) {
        (MemoryStore::new(), ())
    }

    tower_api_tokens::registry_conformance!(fresh());
}

mod sqlite_file {
    use tempfile::TempDir;
    use tower_api_tokens_sqlx::SqliteStore;

    async fn fresh() -> (SqliteStore, TempDir) {
        let directory = TempDir::new().unwrap();
        let url = format!("sqlite://{}/tokens.db", directory.path().display());
        (SqliteStore::open(&url).await.unwrap(), directory)
    }

    tower_api_tokens::registry_conformance!(fresh());
}

mod sqlite_memory {
    use tower_api_tokens_sqlx::SqliteStore;

    async fn fresh() -> (SqliteStore, ()) {
        (SqliteStore::open("sqlite::memory:").await.unwrap(), ())
    }

    tower_api_tokens::registry_conformance!(fresh());
}
