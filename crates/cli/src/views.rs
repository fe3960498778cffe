//! Output formats of records: cells and fields for people, JSON for programs. The terms are those of the dashboard.

use std::{collections::BTreeMap, fmt};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tower_api_tokens::TokenStatus;

use crate::{
    backend::{App, Document, Event, Token},
    number::grouped,
    output::Listed,
};

/// An app, formatted for output.
pub(crate) struct ShownApp<'r>(pub(crate) &'r Document<App>);

impl ShownApp<'_> {
    pub(crate) fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("id", self.0.id.to_string()),
            ("name", self.0.name.clone()),
            ("status", self.status().to_owned()),
            ("created", Time(self.0.created_at).to_string()),
        ];
        if let Some(at) = self.0.disabled_at {
            fields.push(("disabled", Time(at).to_string()));
        }
        fields.extend(metadata(&self.0.metadata));
        fields.extend(version(self.0.version.as_ref()));
        fields
    }

    fn status(&self) -> &'static str {
        match self.0.disabled_at {
            None => "enabled",
            Some(_) => "disabled",
        }
    }
}

impl Serialize for ShownApp<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Listed for ShownApp<'_> {
    const COLUMNS: &'static [&'static str] = &["ID", "NAME", "STATUS", "CREATED"];

    fn cells(&self) -> Vec<String> {
        let fields = self.fields().into_iter().take(Self::COLUMNS.len());
        fields.map(|(_, value)| value).collect()
    }
}

/// A token, formatted for output.
pub(crate) struct ShownToken<'r>(pub(crate) &'r Document<Token>);

impl ShownToken<'_> {
    pub(crate) fn fields(&self) -> Vec<(&'static str, String)> {
        let token = self.0;
        let mut fields = vec![
            ("id", token.id.to_string()),
            ("name", token.name.clone()),
            ("token", token.masked.clone()),
            ("app", format!("{} ({})", token.app_name, token.app_id)),
            ("scopes", self.scopes()),
            ("status", self.status()),
            ("last used", self.last_used()),
            ("uses", grouped(token.uses)),
            ("expires", time_or(token.expires_at, "never")),
            ("created", Time(token.created_at).to_string()),
        ];
        if let Some(actor) = &token.created_by {
            fields.push(("created by", actor.clone()));
        }
        if let Some(at) = token.not_before {
            fields.push(("not valid before", Time(at).to_string()));
        }
        if let Some(networks) = &token.networks {
            fields.push(("networks", networks.join(",")));
        }
        if let Some(at) = token.suspended_at {
            fields.push(("suspended", Time(at).to_string()));
        }
        if let Some(at) = token.revoked_at {
            fields.push(("revoked", Time(at).to_string()));
        }
        if let Some(successor) = token.successor_id {
            fields.push(("replaced by", successor.to_string()));
        }
        fields.extend(metadata(&token.metadata));
        fields.extend(version(token.version.as_ref()));
        if let Some(format) = self.label() {
            fields.push(("format", format.to_owned()));
        }
        fields
    }

    /// The label of the format, unless it is the prefix, which the mask shows.
    fn label(&self) -> Option<&str> {
        let prefix = self.0.masked.split_once("_…");
        let label = self.0.format.as_deref();
        label.filter(|label| prefix.is_none_or(|(prefix, _)| prefix != *label))
    }

    /// The mask, and the label of the format.
    pub(crate) fn mask(&self) -> String {
        match self.label() {
            Some(label) => format!("{} ({label})", self.0.masked),
            None => self.0.masked.clone(),
        }
    }

    pub(crate) fn status(&self) -> String {
        status_words(&self.0.status)
    }

    pub(crate) fn last_used(&self) -> String {
        time_or(self.0.last_used_at, "never")
    }

    fn scopes(&self) -> String {
        match self.0.scopes.as_slice() {
            [] => "none".to_owned(),
            scopes => scopes.join(" "),
        }
    }
}

impl Serialize for ShownToken<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Listed for ShownToken<'_> {
    const COLUMNS: &'static [&'static str] = &[
        "ID",
        "NAME",
        "TOKEN",
        "APP",
        "SCOPES",
        "STATUS",
        "LAST USED",
        "EXPIRES",
        "CREATED",
    ];

    fn cells(&self) -> Vec<String> {
        let token = self.0;
        vec![
            token.id.to_string(),
            token.name.clone(),
            self.mask(),
            token.app_name.clone(),
            self.scopes(),
            self.status(),
            self.last_used(),
            time_or(token.expires_at, "never"),
            Time(token.created_at).to_string(),
        ]
    }
}

/// Returns a line for each key.
fn metadata(metadata: &BTreeMap<String, String>) -> impl Iterator<Item = (&'static str, String)> {
    let entries = metadata.iter();
    entries.map(|(key, value)| ("metadata", format!("{key}={value}")))
}

fn version(version: Option<&String>) -> Option<(&'static str, String)> {
    version.map(|version| ("version", version.clone()))
}

/// The word for a live token.
const ACTIVE: &str = "active";

/// Returns the words for a status.
fn status_words(status: &str) -> String {
    if status == TokenStatus::Live.as_str() {
        return ACTIVE.to_owned();
    }
    status.replace('_', " ")
}

/// Creates a parser of a status. It also accepts the word that JSON has for a live token.
pub(crate) fn statuses() -> impl TypedValueParser<Value = TokenStatus> {
    let values = TokenStatus::ALL.iter().map(|status| match status {
        TokenStatus::Live => PossibleValue::new(ACTIVE).alias(status.as_str()),
        status => PossibleValue::new(status.as_str()),
    });
    PossibleValuesParser::new(values).try_map(|word| match &*word {
        ACTIVE => Ok(TokenStatus::Live),
        other => other.parse(),
    })
}

/// An audit event, formatted for output.
pub(crate) struct ShownEvent<'r>(pub(crate) &'r Document<Event>);

impl Serialize for ShownEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Listed for ShownEvent<'_> {
    const COLUMNS: &'static [&'static str] =
        &["TIME", "ACTOR", "ACTION", "APP", "TOKEN", "OUTCOME"];

    fn cells(&self) -> Vec<String> {
        let event = self.0;
        let or_none = |id: &Option<String>| id.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            Time(event.at).to_string(),
            event.actor.clone(),
            event.action.clone(),
            or_none(&event.app_id),
            or_none(&event.token_id),
            match &event.reason {
                Some(reason) => format!("{}: {reason}", event.outcome),
                None => event.outcome.clone(),
            },
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
