//! The policy in the JSON form of the management API.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::Value;
use tower_api_tokens::{Policy, ScopeSet};

use crate::failure::Failure;

/// The rules of a policy.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Rules {
    max_lifetime_seconds: Option<u64>,
    default_lifetime_seconds: Option<u64>,
    expiry_required: bool,
    max_live_tokens: Option<u32>,
    unique_names: bool,
    scopes: Option<Vec<String>>,
    scopes_of: BTreeMap<String, Vec<String>>,
    /// The rules of a server that is newer than this program.
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

impl Rules {
    /// Returns the policy. Fails if there are rules that this version does not know, because they
    /// would be lost when the policy is set.
    pub(crate) fn policy(&self) -> Result<Policy, Failure> {
        if let Some(rule) = self.unknown.keys().next() {
            return Err(Failure::failed(format!(
                "the policy has a rule that this version does not know, `{rule}`; update this program"
            )));
        }
        let mut policy = Policy::default();
        policy.max_lifetime = self.max_lifetime_seconds.map(Duration::from_secs);
        policy.default_lifetime = self.default_lifetime_seconds.map(Duration::from_secs);
        policy.expiry_required = self.expiry_required;
        policy.max_live_tokens = self.max_live_tokens;
        policy.unique_names = self.unique_names;
        policy.scopes = self.scopes.as_deref().map(scopes).transpose()?;
        for (app, list) in &self.scopes_of {
            let app = app.parse().map_err(invalid)?;
            policy.scopes_of.insert(app, scopes(list)?);
        }
        Ok(policy)
    }

    /// Whether a token that is issued without an explicit expiry gets one from the policy.
    pub(crate) fn sets_expiry(&self) -> bool {
        self.default_lifetime_seconds.is_some() || self.max_lifetime_seconds.is_some()
    }
}

fn scopes(list: &[String]) -> Result<ScopeSet, Failure> {
    ScopeSet::new(list.iter().map(String::as_str)).map_err(invalid)
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::failed("the policy is invalid").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tower_api_tokens_admin::view::PolicyView;

    fn full() -> Policy {
        let day = Duration::from_secs(86_400);
        Policy::default()
            .max_lifetime(365 * day)
            .default_lifetime(90 * day)
            .expiry_required()
            .max_live_tokens(20)
            .unique_names()
            .scopes("a b".parse().unwrap())
            .with_scopes_of("sandbox".parse().unwrap(), "c".parse().unwrap())
    }

    #[test]
    fn a_policy_reads_back_from_its_view() {
        for policy in [Policy::default(), full()] {
            let view = serde_json::to_value(PolicyView::from(&policy)).unwrap();
            let rules: Rules = serde_json::from_value(view).unwrap();
            assert_eq!(rules.policy().unwrap(), policy);
        }
    }

    #[test]
    fn a_policy_with_an_unknown_rule_is_not_changed() {
        let mut view = serde_json::to_value(PolicyView::from(&full())).unwrap();
        view["max_overlap_seconds"] = json!(1);
        let rules: Rules = serde_json::from_value(view).unwrap();
        let failure = rules.policy().unwrap_err();
        assert!(failure.message().contains("`max_overlap_seconds`"));
    }
}
