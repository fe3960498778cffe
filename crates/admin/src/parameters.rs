//! The filters of tokens as the parameters of URLs.

use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tower_api_tokens::TokenQuery;

/// The first instant that RFC 3339 can represent. No record is older.
const YEAR_ZERO: Timestamp = Timestamp::constant(-62_167_219_200, 0);

/// Returns the filters and the order of a query as the parameters of the JSON API, such as
/// `("status", "live")`. The position and the limit are not among them.
#[must_use]
pub fn token_parameters(query: &TokenQuery) -> Vec<(&'static str, String)> {
    let rfc_3339 = |at: Option<Timestamp>| at.map(|at| at.max(YEAR_ZERO).to_string());
    let flag = |is_set: bool| is_set.then(|| "true".to_owned());
    let format = query.mask_head.as_deref();
    let prefix = format.map(|head| head.strip_suffix('_').unwrap_or(head).to_owned());
    let parameters = [
        ("id", query.id.map(|id| id.to_string())),
        ("app_id", query.app.map(|app| app.to_string())),
        ("status", query.status.map(|status| status.to_string())),
        ("name", query.name.clone()),
        ("format", prefix),
        ("last_four", query.mask_tail.clone()),
        ("created_by", query.created_by.clone()),
        ("created_before", rfc_3339(query.created_before)),
        ("expires_before", rfc_3339(query.expires_before)),
        ("never_expires", flag(query.never_expires)),
        ("unused_since", rfc_3339(query.unused_since)),
        ("never_used", flag(query.never_used)),
        ("replaced", query.replaced.map(|is| is.to_string())),
        (
            "used_since_rotation",
            query.used_since_rotation.map(|used| used.to_string()),
        ),
        ("sort", query.order.map(|order| order.to_string())),
    ];
    let set = parameters.into_iter();
    set.filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// Returns a query string without the question mark.
pub(super) fn query_text(query: &TokenQuery) -> String {
    let parameters = token_parameters(query);
    let pairs = parameters.iter().map(|(name, value)| {
        let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
        format!("{name}={value}")
    });
    pairs.collect::<Vec<_>>().join("&")
}
