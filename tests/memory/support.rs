use std::time::Duration;

use tower_api_tokens::{
    IssuedToken, MemoryStore, NewToken,
    testing::{FaultyStore, Fixture},
};

pub(crate) type Store = FaultyStore<MemoryStore>;

/// The bound in these tests.
pub(crate) const BOUND: Duration = Duration::from_secs(5);

/// A node, which shares nothing but the store with others.
pub(crate) type Node = Fixture<()>;

/// A node with its own store, which sends no notifications of changes.
pub(crate) fn new_node() -> Node {
    node_on(FaultyStore::new(MemoryStore::new()).without_notifications())
}

pub(crate) fn node_on(store: Store) -> Node {
    let fixture = Fixture::builder().store(store);
    fixture
        .configure(|tokens| tokens.max_staleness(BOUND))
        .empty()
}

/// The request for a token.
pub(crate) fn ci() -> NewToken {
    NewToken::named("ci")
}

/// A token of an app of its own.
pub(crate) async fn known(node: &Node) -> IssuedToken {
    let app = node.create_app("Billing").await;
    node.issue(&app.id, ci()).await
}
