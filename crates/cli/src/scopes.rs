//! Scopes as they are typed.

use tower_api_tokens::ScopeSet;

use crate::failure::Failure;

/// Reads a list of scopes with commas or white space between them. An empty one is an error: it is
/// what a variable that is not set leaves behind.
pub(crate) fn list(text: &str) -> Result<ScopeSet, String> {
    let scopes = ScopeSet::parse_list(text).map_err(|error| error.to_string())?;
    if scopes.is_empty() {
        return Err("give a scope, like `invoices:read`, or leave out the option".into());
    }
    Ok(scopes)
}

/// The scopes of all these lists.
pub(crate) fn union(lists: &[ScopeSet]) -> Result<ScopeSet, Failure> {
    ScopeSet::new(lists.iter().flat_map(ScopeSet::iter))
        .map_err(|error| Failure::usage(error.to_string()))
}
