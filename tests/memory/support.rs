use std::time::Duration;

use tower_api_tokens::{
    IssuedToken, MemoryStore, NewToken,
    testing::{FaultyStore, Fixture},
};

pub(crate) type Store = FaultyStore<MemoryStore>;

/// The bound that the tests set.
pub(crate) const BOUND: Duration = Duration::from_secs(5);

/// A node: what it shares with others is the store alone.
pub(crate) type Node = Fixture<()>;

/// A node with a store of its own, on which word of changes is lost.
pub(crate) fn new_node() -> Node {
    node_on(FaultyStore::new(MemoryStore::new()).without_notifications())
}

pub(crate) fn node_on(store: Store) -> Node {
    let fixture = Fixture::builder().store(store);
    fixture
        .configure(|tokens| tokens.max_staleness(BOUND))
        .empty()
}

/// What a token is to be.
pub(crate) fn ci() -> NewToken {
    NewToken::named("ci")
}

/// A token of an app of its own.
pub(crate) async fn known(node: &Node) -> IssuedToken {
    let app = node.create_app("Billing").await;
    node.issue(&app.id, ci()).await
}
