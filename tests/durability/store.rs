//! The stores that are tried, told apart by their URLs.

use tower_api_tokens::{SqliteStore, TokenRegistry};

pub(crate) enum Store {
    Sqlite(SqliteStore),
}

impl Store {
    pub(crate) async fn open(url: &str) -> Self {
        Self::Sqlite(SqliteStore::open(url).await.unwrap())
    }

    pub(crate) fn registry(&self) -> &dyn TokenRegistry {
        match self {
            Self::Sqlite(store) => store,
        }
    }

    pub(crate) async fn close(self) {
        match self {
            Self::Sqlite(store) => store.close().await,
        }
    }
}
