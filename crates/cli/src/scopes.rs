//! Parses scopes.

use tower_api_tokens::ScopeSet;

use crate::failure::Failure;

/// Parses scopes separated by commas or whitespace. An empty list is an error, because it usually
/// comes from an unset variable.
pub(crate) fn list(text: &str) -> Result<ScopeSet, String> {
    let scopes = ScopeSet::parse_list(text).map_err(|error| error.to_string())?;
    if scopes.is_empty() {
        return Err(
            "expected a scope like `invoices:read`; leave out the option for no scopes".into(),
        );
    }
    Ok(scopes)
}

/// Merges lists of scopes.
pub(crate) fn union(lists: &[ScopeSet]) -> Result<ScopeSet, Failure> {
    ScopeSet::new(lists.iter().flat_map(ScopeSet::iter))
        .map_err(|error| Failure::usage(error.to_string()))
}
