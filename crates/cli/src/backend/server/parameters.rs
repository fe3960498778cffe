//! The query parameters of requests.

use tower_api_tokens::check_name_part;
use tower_api_tokens_admin::token_parameters;

use crate::backend::TokenFilter;

type Parameters = Vec<(&'static str, String)>;

/// Returns the parameters that list the tokens of a filter.
pub(super) fn of_tokens(filter: TokenFilter) -> Result<Parameters, NoName> {
    let limit = filter.query.limit.get().to_string();
    let mut parameters = of_selection(filter)?;
    parameters.push(("limit", limit));
    Ok(parameters)
}

/// Returns the parameters that select the tokens of a filter.
pub(super) fn of_selection(filter: TokenFilter) -> Result<Parameters, NoName> {
    let TokenFilter { mut query, format } = filter;
    query.name = name_filter(query.name)?;
    let mut parameters = token_parameters(&query);
    parameters.extend(format.map(|format| ("format", format)));
    Ok(parameters)
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
