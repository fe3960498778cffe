//! Records as they are shown: to people as cells and fields, to programs as JSON.

use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tower_api_tokens::{
    AppRecord, AuditEvent, AuditOutcome, Clock, SystemClock, TokenRecord, TokenStatus,
};

use crate::output::Listed;

/// An app.
#[derive(Serialize)]
pub(crate) struct AppView {
    id: String,
    name: String,
    created_at: Time,
    disabled_at: Option<Time>,
}

impl AppView {
    pub(crate) fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("id", self.id.clone()),
            ("name", self.name.clone()),
            ("created", self.created_at.to_string()),
            ("disabled", time_or(self.disabled_at, "no")),
        ]
    }
}

impl From<&AppRecord> for AppView {
    fn from(app: &AppRecord) -> Self {
        Self {
            id: app.id.to_string(),
            name: app.name.clone(),
            created_at: Time(app.created_at),
            disabled_at: app.disabled_at.map(Time),
        }
    }
}

impl Listed for AppView {
    const COLUMNS: &'static [&'static str] = &["ID", "NAME", "CREATED", "DISABLED"];

    fn cells(&self) -> Vec<String> {
        self.fields().into_iter().map(|(_, value)| value).collect()
    }
}

/// A token.
#[derive(Serialize)]
pub(crate) struct TokenView {
    id: String,
    app_id: String,
    app_name: String,
    name: String,
    masked: String,
    scopes: Vec<String>,
    status: &'static str,
    created_at: Time,
    expires_at: Option<Time>,
    revoked_at: Option<Time>,
    successor_id: Option<String>,
    last_used_at: Option<Time>,
    uses: u64,
}

impl TokenView {
    pub(crate) fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("id", self.id.clone()),
            ("token", self.masked.clone()),
            ("app", format!("{} ({})", self.app_name, self.app_id)),
            ("name", self.name.clone()),
            ("scopes", self.scopes()),
            ("status", self.status.to_owned()),
            ("created", self.created_at.to_string()),
            ("expires", time_or(self.expires_at, "never")),
            ("last used", time_or(self.last_used_at, "never")),
            ("uses", self.uses.to_string()),
        ];
        if let Some(at) = self.revoked_at {
            fields.push(("revoked", at.to_string()));
        }
        if let Some(successor) = &self.successor_id {
            fields.push(("successor", successor.clone()));
        }
        fields
    }

    fn scopes(&self) -> String {
        match self.scopes.as_slice() {
            [] => "none".to_owned(),
            scopes => scopes.join(" "),
        }
    }
}

impl From<&TokenRecord> for TokenView {
    fn from(token: &TokenRecord) -> Self {
        Self {
            id: token.id.to_string(),
            masked: token.mask.to_string(),
            app_id: token.app.id.to_string(),
            app_name: token.app.name.clone(),
            name: token.name.clone(),
            scopes: token.scopes.iter().map(str::to_owned).collect(),
            status: status_word(token.status(SystemClock::default().now())),
            created_at: Time(token.created_at),
            expires_at: token.expires_at.map(Time),
            revoked_at: token.revoked_at.map(Time),
            successor_id: token.successor.map(|id| id.to_string()),
            last_used_at: token.last_used_at.map(Time),
            uses: token.uses,
        }
    }
}

impl Listed for TokenView {
    const COLUMNS: &'static [&'static str] = &[
        "ID",
        "TOKEN",
        "APP",
        "NAME",
        "SCOPES",
        "CREATED",
        "LAST USED",
        "EXPIRES",
        "STATUS",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.masked.clone(),
            self.app_name.clone(),
            self.name.clone(),
            self.scopes(),
            self.created_at.to_string(),
            time_or(self.last_used_at, "never"),
            time_or(self.expires_at, "never"),
            self.status.to_owned(),
        ]
    }
}

/// An audit event.
#[derive(Serialize)]
pub(crate) struct EventView {
    id: String,
    at: Time,
    actor: String,
    action: &'static str,
    app_id: Option<String>,
    token_id: Option<String>,
    outcome: &'static str,
    reason: Option<String>,
}

impl From<&AuditEvent> for EventView {
    fn from(event: &AuditEvent) -> Self {
        let (outcome, reason) = match &event.outcome {
            AuditOutcome::Refused(reason) => ("refused", Some(reason.clone())),
            _ => ("done", None),
        };
        Self {
            id: event.id.to_string(),
            at: Time(event.at),
            actor: event.actor.clone(),
            action: event.action.as_str(),
            app_id: event.app.map(|id| id.to_string()),
            token_id: event.token.map(|id| id.to_string()),
            outcome,
            reason,
        }
    }
}

impl Listed for EventView {
    const COLUMNS: &'static [&'static str] =
        &["TIME", "ACTOR", "ACTION", "APP", "TOKEN", "OUTCOME"];

    fn cells(&self) -> Vec<String> {
        let or_none = |id: &Option<String>| id.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            self.at.to_string(),
            self.actor.clone(),
            self.action.to_owned(),
            or_none(&self.app_id),
            or_none(&self.token_id),
            match &self.reason {
                Some(reason) => format!("{}: {reason}", self.outcome),
                None => self.outcome.to_owned(),
            },
        ]
    }
}

/// A status as a word, the same in options, tables and JSON.
pub(crate) fn status_word(status: TokenStatus) -> &'static str {
    match status {
        TokenStatus::Live => "live",
        TokenStatus::Revoked => "revoked",
        TokenStatus::Expired => "expired",
        TokenStatus::AppDisabled => "app_disabled",
        _ => "unknown",
    }
}

/// A time: to the second for people, in full for programs.
#[derive(Clone, Copy)]
pub(crate) struct Time(pub(crate) Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}", self.0)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A time that there may not be.
pub(crate) fn time_or(at: Option<impl Into<Time>>, none: &str) -> String {
    at.map_or_else(|| none.to_owned(), |at| at.into().to_string())
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}
