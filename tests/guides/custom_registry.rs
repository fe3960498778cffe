//! The registry that the guide to stores shows keeps the whole contract.

use tower_api_tokens::TableRegistry;

include!("shown/custom_registry.rs");

#[test]
fn it_is_short() {
    let shown = include_str!("shown/custom_registry.rs");
    assert!(shown.lines().count() <= 140);
    assert!(shown.lines().all(|line| line.chars().count() <= 100));
}

async fn fresh() -> (TableRegistry<Maps>, ()) {
    (TableRegistry::new(Maps::default()), ())
}

tower_api_tokens::registry_conformance!(fresh());
