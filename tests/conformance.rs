//! The library's own store passes the conformance suite.

use tower_api_tokens::MemoryStore;

async fn fresh() -> (MemoryStore, ()) {
    (MemoryStore::new(), ())
}

tower_api_tokens::registry_conformance!(fresh());
