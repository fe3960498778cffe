//! The query parameters of requests.

use jiff::Timestamp;
use tower_api_tokens::check_name_part;

use crate::backend::TokenFilter;

/// The first instant that RFC 3339 can represent. No record is older.
const YEAR_ZERO: Timestamp = Timestamp::constant(-62_167_219_200, 0);

fn rfc_3339(at: Timestamp) -> String {
    at.max(YEAR_ZERO).to_string()
}

/// Returns the parameters that select the tokens of a filter.
pub(super) fn of_tokens(filter: TokenFilter) -> Result<Vec<(&'static str, String)>, NoName> {
    let TokenFilter { query, format } = filter;
    let flag = |is_set: bool| is_set.then(|| "true".to_owned());
    let parameters = [
        ("limit", Some(query.limit.get().to_string())),
        ("id", query.id.map(|id| id.to_string())),
        ("app_id", query.app.map(|app| app.to_string())),
        ("status", query.status.map(|status| status.to_string())),
        ("name", name_filter(query.name)?),
        ("format", format),
        ("last_four", query.mask_tail),
        ("created_by", query.created_by),
        ("created_before", query.created_before.map(rfc_3339)),
        ("expires_before", query.expires_before.map(rfc_3339)),
        ("never_expires", flag(query.never_expires)),
        ("unused_since", query.unused_since.map(rfc_3339)),
        ("never_used", flag(query.never_used)),
        (
            "replaced",
            query.replaced.map(|replaced| replaced.to_string()),
        ),
        (
            "used_since_rotation",
            query.used_since_rotation.map(|used| used.to_string()),
        ),
        ("sort", query.order.map(|order| order.to_string())),
    ];
    let set = parameters.into_iter();
    Ok(set
        .filter_map(|(name, value)| Some((name, value?)))
        .collect())
}

/// No record has such a name.
pub(super) struct NoName;

/// Returns the filter for a part of a name. A store finds nothing if no name can have that part, and
/// everything if it is empty. The API accepts neither.
pub(super) fn name_filter(part: Option<String>) -> Result<Option<String>, NoName> {
    match part.filter(|part| !part.is_empty()) {
        Some(part) if check_name_part(&part).is_err() => Err(NoName),
        part => Ok(part),
    }
}

/// Appends parameters to a path.
pub(super) fn with_query(
    path: &str,
    pairs: impl Iterator<Item = (&'static str, String)>,
) -> String {
    let mut target = path.to_owned();
    for (number, (name, value)) in pairs.enumerate() {
        let separator = if number == 0 { '?' } else { '&' };
        let value =
            percent_encoding::utf8_percent_encode(&value, percent_encoding::NON_ALPHANUMERIC);
        target += &format!("{separator}{name}={value}");
    }
    target
}
