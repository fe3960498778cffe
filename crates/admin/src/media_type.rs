//! The media type of a request's body.

use http::{HeaderMap, header::CONTENT_TYPE};

/// Returns whether the body has one of these media types, with any parameters.
pub(crate) fn is_one_of(types: &[&str], headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|text| text.to_str().ok());
    let essence = content_type.and_then(|text| text.split(';').next());
    let essence = essence.unwrap_or_default().trim();
    types.iter().any(|one| essence.eq_ignore_ascii_case(one))
}
