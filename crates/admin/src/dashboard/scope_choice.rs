//! The scopes that the form for a new token suggests.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use tower_api_tokens::{Scope, ScopeSet, TokenQuery, TokenRecord};

use crate::operations::Operator;

/// How many scopes are suggested.
const MAX_SUGGESTIONS: usize = 12;

/// How many of the newest tokens are searched for scopes.
const SEARCHED_TOKENS: usize = 200;

/// The beginning of scopes for managing tokens. They are never suggested.
const MANAGING: &str = "tokens:";

/// The beginning of the names of the check boxes. The scope follows.
const FIELD: &str = "scope:";

/// The scopes that were chosen by check boxes: all fields of a form besides the others.
pub(super) type Checked = HashMap<String, String>;

/// Returns the chosen scopes.
pub(super) fn chosen(checked: &Checked) -> impl Iterator<Item = &str> {
    checked.keys().filter_map(|name| name.strip_prefix(FIELD))
}

/// A scope to choose from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ScopeOption {
    pub(super) field: String,
    pub(super) scope: String,
    pub(super) is_checked: bool,
}

/// Returns the scopes that the newest tokens have and the operator may grant, in alphabetical order,
/// and the ones that were chosen. Suggests nothing if the store fails.
pub(super) async fn suggest(operator: &Operator, checked: &Checked) -> Vec<ScopeOption> {
    let query = TokenQuery::default().limit(SEARCHED_TOKENS);
    let page = operator.list(&query).await;
    let tokens = page.map(|page| page.items).unwrap_or_default();
    options(&tokens, operator.actor().grantable().scope_set(), checked)
}

fn options(
    tokens: &[TokenRecord],
    grantable: Option<&ScopeSet>,
    checked: &Checked,
) -> Vec<ScopeOption> {
    let mut used: BTreeMap<&str, usize> = BTreeMap::new();
    for scope in tokens.iter().flat_map(|token| token.scopes.iter()) {
        *used.entry(scope).or_default() += 1;
    }
    // Scopes that the operator may grant are suggested too, even if no token has them yet.
    for scope in grantable.iter().flat_map(|scopes| scopes.iter()) {
        used.entry(scope).or_default();
    }
    let may_grant = |scope: &str| {
        grantable.is_none_or(|scopes| Scope::new(scope).is_ok_and(|scope| scopes.contains(&scope)))
    };
    // A scope with a comma cannot be in a list of scopes in a form, where commas separate scopes.
    let is_offered = |scope: &str| !scope.starts_with(MANAGING) && !scope.contains(',');
    used.retain(|scope, _| is_offered(scope) && may_grant(scope));
    let mut ranked: Vec<(&str, usize)> = used.into_iter().collect();
    ranked.sort_by_key(|(_, count)| Reverse(*count));
    ranked.truncate(MAX_SUGGESTIONS);
    let mut scopes: Vec<&str> = ranked.into_iter().map(|(scope, _)| scope).collect();
    scopes.extend(chosen(checked).filter(|scope| Scope::new(scope).is_ok()));
    scopes.sort_unstable();
    scopes.dedup();
    scopes
        .into_iter()
        .map(|scope| {
            let field = format!("{FIELD}{scope}");
            ScopeOption {
                is_checked: checked.contains_key(&field),
                scope: scope.to_owned(),
                field,
            }
        })
        .collect()
}
