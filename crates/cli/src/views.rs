//! Output formats of records: cells and fields for people, JSON for programs.

use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tower_api_tokens::{AppId, AppRecord, AuditEvent, Clock, SystemClock, TokenId, TokenRecord};
use tower_api_tokens_admin::view::{AppView, EventView, TokenView};

use crate::{number::grouped, output::Listed, session::Session};

/// An app, formatted for output.
pub(crate) struct ShownApp<'r>(pub(crate) &'r AppRecord);

impl ShownApp<'_> {
    pub(crate) fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("id", self.0.id.to_string()),
            ("name", self.0.name.clone()),
            ("created", Time(self.0.created_at).to_string()),
            ("disabled", time_or(self.0.disabled_at, "no")),
        ]
    }
}

impl Serialize for ShownApp<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        AppView::from(self.0).serialize(serializer)
    }
}

impl Listed for ShownApp<'_> {
    const COLUMNS: &'static [&'static str] = &["ID", "NAME", "CREATED", "DISABLED"];

    fn cells(&self) -> Vec<String> {
        self.fields().into_iter().map(|(_, value)| value).collect()
    }
}

/// A token at a given time, formatted for output.
pub(crate) struct ShownToken<'r> {
    token: &'r TokenRecord,
    /// The label of the token's format.
    format: Option<&'r str>,
    now: Timestamp,
}

impl<'r> ShownToken<'r> {
    pub(crate) fn now(session: &'r Session, token: &'r TokenRecord) -> Self {
        Self {
            token,
            format: session.tokens.formats().label_of(&token.mask),
            now: SystemClock::default().now(),
        }
    }

    pub(crate) fn fields(&self) -> Vec<(&'static str, String)> {
        let token = self.token;
        let mut fields = vec![
            ("id", token.id.to_string()),
            ("token", token.mask.to_string()),
            ("app", format!("{} ({})", token.app.name, token.app.id)),
            ("name", token.name.clone()),
            ("scopes", self.scopes()),
            ("status", self.status()),
            ("created", Time(token.created_at).to_string()),
            ("expires", time_or(token.expires_at, "never")),
            ("last used", time_or(token.last_used_at, "never")),
            ("uses", grouped(token.uses)),
        ];
        if let Some(at) = token.revoked_at {
            fields.push(("revoked", Time(at).to_string()));
        }
        if let Some(successor) = token.successor {
            fields.push(("successor", successor.to_string()));
        }
        if let Some(format) = self.label() {
            fields.push(("format", format.to_owned()));
        }
        fields
    }

    fn scopes(&self) -> String {
        match self.token.scopes.as_str() {
            "" => "none".to_owned(),
            scopes => scopes.to_owned(),
        }
    }

    /// The label of the format, unless it is the prefix, which the mask shows.
    fn label(&self) -> Option<&'r str> {
        let prefix = self.token.mask.as_str().split_once("_…");
        self.format
            .filter(|label| prefix.is_none_or(|(prefix, _)| prefix != *label))
    }

    /// The mask, and the label of the format.
    fn mask(&self) -> String {
        match self.label() {
            Some(label) => format!("{} ({label})", self.token.mask),
            None => self.token.mask.to_string(),
        }
    }

    fn status(&self) -> String {
        self.token.status(self.now).to_string()
    }
}

impl Serialize for ShownToken<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let view = TokenView::at(self.now, self.token).with_format(self.format);
        view.serialize(serializer)
    }
}

impl Listed for ShownToken<'_> {
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
        let token = self.token;
        vec![
            token.id.to_string(),
            self.mask(),
            token.app.name.clone(),
            token.name.clone(),
            self.scopes(),
            Time(token.created_at).to_string(),
            time_or(token.last_used_at, "never"),
            time_or(token.expires_at, "never"),
            self.status(),
        ]
    }
}

/// An audit event, formatted for output.
pub(crate) struct ShownEvent<'r>(pub(crate) &'r AuditEvent);

impl Serialize for ShownEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        EventView::from(self.0).serialize(serializer)
    }
}

impl Listed for ShownEvent<'_> {
    const COLUMNS: &'static [&'static str] =
        &["TIME", "ACTOR", "ACTION", "APP", "TOKEN", "OUTCOME"];

    fn cells(&self) -> Vec<String> {
        let none = || "-".to_owned();
        vec![
            Time(self.0.at).to_string(),
            self.0.actor.clone(),
            self.0.action.to_string(),
            self.0.app.as_ref().map_or_else(none, AppId::to_string),
            self.0.token.as_ref().map_or_else(none, TokenId::to_string),
            self.0.outcome.to_string(),
        ]
    }
}

/// A time, shown to the second for people, and in full in JSON.
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

/// Formats a time, or returns `none` if there is none.
pub(crate) fn time_or(at: Option<impl Into<Time>>, none: &str) -> String {
    at.map_or_else(|| none.to_owned(), |at| at.into().to_string())
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}
