//! The store that comes with the library, put to the contract.

use tower_api_tokens::MemoryStore;

async fn fresh() -> (MemoryStore, ()) {
    (MemoryStore::new(), ())
}

tower_api_tokens::registry_conformance!(fresh());
