//! `policy`: shows and sets the rules for new and edited tokens.

use std::{collections::BTreeMap, time::Duration};

use clap::{ArgGroup, Args, Subcommand};
use serde::Serialize;
use serde_json::Value;
use tower_api_tokens::{AppId, Policy, RecordVersion, ScopeSet};

use crate::{
    backend::{Context, Document, Rules},
    failure::Failure,
    output::print_fields,
    scopes,
    session::Purpose,
    time,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show the rules that every new or edited token must follow
    Show,
    /// Set rules; rules that you do not specify stay the same. Existing tokens are not affected
    Set(Box<Arguments>),
}

impl Command {
    pub(crate) fn purpose(&self) -> Purpose {
        match self {
            Self::Show => Purpose::Read,
            Self::Set(_) => Purpose::Change,
        }
    }
}

/// The value of a rule, or none.
#[derive(Clone, Copy, Debug)]
struct Rule<T>(Option<T>);

/// The word that removes a rule.
const NONE: &str = "none";

#[derive(Args)]
#[command(group(
    ArgGroup::new("rules").required(true).multiple(true).args([
        "max_lifetime", "default_lifetime", "expiry_required", "max_live_tokens", "unique_names",
        "scopes", "any_scope", "app_scopes", "remove_app_scopes",
    ])
))]
pub(crate) struct Arguments {
    /// Maximum time from the creation of a token to its expiry, like `365d`, or `none`. Every token
    /// must then expire
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    max_lifetime: Option<Rule<Duration>>,
    /// Lifetime of tokens that are issued without an expiry, like `90d`, or `none`
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    default_lifetime: Option<Rule<Duration>>,
    /// Whether every token must expire
    #[arg(long, value_name = "BOOL")]
    expiry_required: Option<bool>,
    /// How many live tokens an app may have, or `none` for any number. Tokens that have a successor do
    /// not count
    #[arg(long, value_name = "COUNT", value_parser = number)]
    max_live_tokens: Option<Rule<u32>>,
    /// Whether the live tokens of an app must have different names
    #[arg(long, value_name = "BOOL")]
    unique_names: Option<bool>,
    /// Scope that tokens may have, replacing all that the policy allows now. Separate several with
    /// commas, or repeat the option
    #[arg(
        long = "scope",
        visible_alias = "scopes",
        value_name = "SCOPE",
        value_parser = scopes::list
    )]
    scopes: Vec<ScopeSet>,
    /// Allow any scope
    #[arg(long, conflicts_with = "scopes")]
    any_scope: bool,
    /// Scopes that the tokens of an app may have, instead of those of `--scope`, such as
    /// `sandbox=orders:read,orders:write`; takes the identifier of the app. Repeat the option for
    /// several apps
    #[arg(long, value_name = "APP=SCOPES", value_parser = scopes_of_app)]
    app_scopes: Vec<(AppId, ScopeSet)>,
    /// Let the tokens of this app have the scopes of `--scope` again. Repeat the option for several
    /// apps
    #[arg(long, value_name = "APP")]
    remove_app_scopes: Vec<AppId>,
    /// Set the rules only if the policy still has this version, which `policy show` prints
    #[arg(long, value_name = "VERSION")]
    if_version: Option<RecordVersion>,
}

fn rule<T>(text: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Rule<T>, String> {
    match text {
        NONE => Ok(Rule(None)),
        text => read(text).map(|value| Rule(Some(value))),
    }
}

fn lifetime(text: &str) -> Result<Rule<Duration>, String> {
    rule(text, |text| match time::duration_above_zero(text) {
        Ok(lifetime) if lifetime.subsec_nanos() == 0 => Ok(lifetime),
        _ => Err(
            "expected whole seconds, minutes, hours, days or weeks, like `90d`, or `none`".into(),
        ),
    })
}

fn number(text: &str) -> Result<Rule<u32>, String> {
    rule(text, |text| {
        let number = text.parse();
        number.map_err(|_| "expected a whole number, like `20`, or `none`".into())
    })
}

fn scopes_of_app(text: &str) -> Result<(AppId, ScopeSet), String> {
    let (app, list) = text
        .split_once('=')
        .ok_or("expected the identifier of an app and scopes, like `sandbox=orders:read`")?;
    let app = AppId::new(app).map_err(|error| error.to_string())?;
    Ok((app, scopes::list(list)?))
}

impl Arguments {
    fn apply(&self, policy: &mut Policy) -> Result<(), Failure> {
        if let Some(Rule(lifetime)) = self.max_lifetime {
            policy.max_lifetime = lifetime;
        }
        if let Some(Rule(lifetime)) = self.default_lifetime {
            policy.default_lifetime = lifetime;
        }
        if let Some(required) = self.expiry_required {
            policy.expiry_required = required;
        }
        if let Some(Rule(most)) = self.max_live_tokens {
            policy.max_live_tokens = most;
        }
        if let Some(unique) = self.unique_names {
            policy.unique_names = unique;
        }
        if self.any_scope {
            policy.scopes = None;
        } else if !self.scopes.is_empty() {
            policy.scopes = Some(scopes::union(&self.scopes)?);
        }
        for app in &self.remove_app_scopes {
            policy.scopes_of.remove(app);
        }
        let mut apps: BTreeMap<AppId, Vec<ScopeSet>> = BTreeMap::new();
        for (app, list) in &self.app_scopes {
            apps.entry(*app).or_default().push(list.clone());
        }
        for (app, lists) in apps {
            policy.scopes_of.insert(app, scopes::union(&lists)?);
        }
        Ok(())
    }
}

pub(crate) async fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    let policy = context.backend.policy().await?;
    let policy = match command {
        Command::Show => policy,
        Command::Set(arguments) => set(&arguments, &policy, context).await?,
    };
    print(context, &policy)
}

/// Changes the rules that were read, unless they have been changed since.
async fn set(
    arguments: &Arguments,
    policy: &Rules,
    context: &Context<'_>,
) -> Result<Document<Rules>, Failure> {
    let mut policy = policy.policy()?;
    let version = arguments.if_version.unwrap_or_else(|| policy.version());
    arguments.apply(&mut policy)?;
    let set = context.backend.set_policy(Some(version), policy).await;
    set.map_err(|failure| {
        failure.advising_if_uncertain(|| {
            "The policy may or may not be set: check with `api-tokens policy show`.".to_owned()
        })
    })
}

/// A policy in JSON, with its version.
#[derive(Serialize)]
struct Versioned {
    #[serde(flatten)]
    rules: BTreeMap<String, Value>,
    /// Absent if the policy has rules that this version does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<RecordVersion>,
}

fn print(context: &Context<'_>, document: &Document<Rules>) -> Result<(), Failure> {
    let policy = document.policy();
    if context.json {
        let rules = serde_json::to_value(document).and_then(serde_json::from_value);
        return context.print_json(&Versioned {
            rules: rules
                .map_err(|error| Failure::failed("cannot format the policy").because(error))?,
            version: policy.ok().map(|policy| policy.version()),
        });
    }
    print_fields(&fields(&policy?))
}

fn fields(policy: &Policy) -> Vec<(&'static str, String)> {
    let lifetime = |lifetime: Option<Duration>| {
        lifetime.map_or_else(|| NONE.to_owned(), time::in_largest_unit)
    };
    let yes_or_no = |is_set: bool| if is_set { "yes" } else { "no" }.to_owned();
    let most = policy.max_live_tokens.map(|most| most.to_string());
    let scopes = |scopes: &ScopeSet| match scopes.as_str() {
        "" => NONE.to_owned(),
        list => list.to_owned(),
    };
    let mut fields = vec![
        ("max lifetime", lifetime(policy.max_lifetime)),
        ("default lifetime", lifetime(policy.default_lifetime)),
        ("expiry required", yes_or_no(policy.requires_expiry())),
        ("max live tokens", most.unwrap_or_else(|| NONE.to_owned())),
        ("unique names", yes_or_no(policy.unique_names)),
        (
            "scopes",
            policy
                .scopes
                .as_ref()
                .map_or_else(|| "any".to_owned(), scopes),
        ),
    ];
    for (app, of_app) in &policy.scopes_of {
        fields.push(("app scopes", format!("{app}={}", scopes(of_app))));
    }
    fields.push(("version", policy.version().to_string()));
    fields
}
