//! The security requirements of operations.

use std::collections::BTreeMap;

use utoipa::openapi::SecurityRequirement;

use super::ApiTokenSecurity;

/// The scopes of a requirement, by the name of its schemes. `utoipa` shows them only in JSON.
fn schemes(requirement: &SecurityRequirement) -> BTreeMap<String, Vec<String>> {
    let json = serde_json::to_value(requirement).unwrap_or_default();
    serde_json::from_value(json).unwrap_or_default()
}

/// Returns the scopes that a token needs for each of the requirements that name the scheme of API tokens.
pub(super) fn scopes_of(requirements: &[SecurityRequirement]) -> Vec<Vec<String>> {
    let of_tokens = |requirement| schemes(requirement).remove(ApiTokenSecurity::SCHEME);
    requirements.iter().filter_map(of_tokens).collect()
}

/// Adds another scheme as an alternative to that of API tokens, with the same scopes, next to each
/// requirement that names it.
pub(super) fn add_alternative(requirements: Option<&mut Vec<SecurityRequirement>>, scheme: &str) {
    let Some(requirements) = requirements else {
        return;
    };
    let alternatives = requirements.iter().filter_map(|requirement| {
        let mut schemes = schemes(requirement);
        let scopes = schemes.remove(ApiTokenSecurity::SCHEME)?;
        let alternative = SecurityRequirement::new(scheme, scopes);
        let others = schemes.into_iter();
        Some(others.fold(alternative, |all, (name, scopes)| all.add(name, scopes)))
    });
    let alternatives = alternatives.filter(|alternative| !requirements.contains(alternative));
    let alternatives: Vec<_> = alternatives.collect();
    requirements.extend(alternatives);
}
