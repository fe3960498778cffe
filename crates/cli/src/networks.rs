//! Parses networks.

use tower_api_tokens::{Network, Networks};

use crate::failure::Failure;

/// Merges lists of networks. Returns `None` if there is no list.
pub(crate) fn union(lists: &[Networks]) -> Result<Option<Networks>, Failure> {
    if lists.is_empty() {
        return Ok(None);
    }
    let networks = lists.iter().flat_map(Networks::as_slice);
    let networks: Vec<Network> = networks.copied().collect();
    Networks::new(networks)
        .map(Some)
        .map_err(|error| Failure::usage(error.to_string()))
}
