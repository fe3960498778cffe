//! The filters of listings of tokens.

use clap::Args;
use tower_api_tokens::{
    AuditEvent, Clock, MaskedToken, SystemClock, TokenCondition, TokenId, TokenOrder, TokenQuery,
    TokenStatus, one_line,
};

use crate::{
    backend::{Context, TokenFilter},
    failure::Failure,
    time::{Future, Past},
    views::statuses,
};

#[derive(Args, Default, PartialEq)]
pub(super) struct Filters {
    /// Only the token with this identifier
    #[arg(long)]
    id: Option<TokenId>,
    /// Only tokens of this app, by its identifier or name
    #[arg(long, visible_alias = "of-app")]
    app: Option<String>,
    /// Only tokens with this status
    #[arg(long, value_parser = statuses())]
    status: Option<TokenStatus>,
    /// Only tokens whose name contains this text
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Only tokens of this format, by its label or prefix
    #[arg(long, value_name = "LABEL")]
    format: Option<String>,
    /// Only tokens that end with these characters, as their masks show them
    #[arg(long, value_name = "TEXT", value_parser = last_four)]
    last_four: Option<String>,
    /// Only tokens that were created by this actor, as `token show` prints it
    #[arg(long, value_name = "ACTOR", value_parser = actor)]
    created_by: Option<String>,
    /// Only tokens that were created before this time: how long ago, like `90d`, or a date or time, like
    /// `2026-01-31` (UTC)
    #[arg(long, value_name = "WHEN", visible_alias = "issued-before")]
    created_before: Option<Past>,
    /// Only tokens that expire before this time: a duration from now, like `14d`, or a date or time, like
    /// `2027-01-31` (UTC)
    #[arg(long, value_name = "WHEN")]
    expires_before: Option<Future>,
    /// Only tokens that never expire
    #[arg(long)]
    never_expires: bool,
    /// Only tokens that were created before this time and not used since; takes the same values as
    /// `--created-before`. Only recorded uses count
    #[arg(long, value_name = "WHEN")]
    unused_since: Option<Past>,
    /// Only tokens without a recorded use
    #[arg(long)]
    never_used: bool,
    /// Only tokens that were replaced in a rotation; `--replaced=false` lists only those that were not
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    replaced: Option<bool>,
    /// Only replaced tokens that were used after their rotation; `--used-since-rotation=false` lists only
    /// those that were not
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    used_since_rotation: Option<bool>,
}

impl Filters {
    /// Whether there is no filter.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the name to look for is empty, as an unset variable is. Every name contains it.
    pub(super) fn has_empty_name(&self) -> bool {
        self.name.as_deref().is_some_and(str::is_empty)
    }

    /// Reads the filters of a listing in this order.
    pub(super) async fn read(
        &self,
        context: &Context<'_>,
        order: Option<TokenOrder>,
    ) -> Result<TokenFilter, Failure> {
        let now = SystemClock::default().now();
        let past = |at: Option<Past>| at.map(|at| at.instant(now));
        let expires_before = self.expires_before;
        let expires_before = expires_before.map(|at| at.instant(now, "--expires-before"));
        let mut query = TokenQuery::default();
        query.id = self.id;
        query.status = self.status;
        query.name.clone_from(&self.name);
        query.mask_tail.clone_from(&self.last_four);
        query.created_by.clone_from(&self.created_by);
        query.created_before = past(self.created_before);
        query.expires_before = expires_before.transpose()?;
        query.never_expires = self.never_expires;
        query.unused_since = past(self.unused_since);
        query.never_used = self.never_used;
        query.replaced = self.replaced;
        query.used_since_rotation = self.used_since_rotation;
        query.order = order;
        query.check().map_err(|conflict| {
            let [one, other] = conflict.conditions().map(option);
            Failure::usage(format!(
                "no token can match both `{one}` and `{other}`; change or remove one of them"
            ))
        })?;
        if let Some(app) = &self.app {
            query = query.app(context.find_app(app).await?.id);
        }
        Ok(TokenFilter {
            query,
            format: self.format.clone(),
        })
    }
}

/// Returns a condition as it is passed as an argument.
fn option(condition: TokenCondition) -> String {
    let name = condition.name.replace('_', "-");
    match condition.value {
        None | Some("true") => format!("--{name}"),
        Some("false") => format!("--{name}=false"),
        Some(value) => format!("--{name} {value}"),
    }
}

fn last_four(text: &str) -> Result<String, &'static str> {
    match !text.is_empty() && MaskedToken::new("", text).is_ok() {
        true => Ok(text.to_owned()),
        false => Err("expected the 1 to 4 characters at the end of the token's mask"),
    }
}

fn actor(text: &str) -> Result<String, &'static str> {
    match !text.is_empty() && one_line(text, AuditEvent::MAX_ACTOR_LEN) == text {
        true => Ok(text.to_owned()),
        false => Err("expected the name of an actor in one line, like `cli:ada`"),
    }
}
