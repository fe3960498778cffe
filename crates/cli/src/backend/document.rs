//! Records in the JSON form of the management API.
//!
//! With `--json`, a command prints a record as it is, so that it shows every field of a server that is
//! newer than this program.

use std::{collections::BTreeMap, ops::Deref, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};
use tower_api_tokens::{AppId, NodeId, ReceiptStatus, TokenId};
use zeroize::Zeroizing;

/// A record, and the fields that are shown to people.
#[derive(Clone, Debug)]
pub(crate) struct Document<T> {
    json: Box<RawValue>,
    fields: T,
}

impl<T: DeserializeOwned> Document<T> {
    /// Creates the document of a record from the view that the management API returns.
    pub(super) fn of(view: &impl Serialize) -> serde_json::Result<Self> {
        Self::parse(to_raw_value(view)?)
    }

    fn parse(json: Box<RawValue>) -> serde_json::Result<Self> {
        let fields = serde_json::from_str(json.get())?;
        Ok(Self { json, fields })
    }
}

impl<T> Deref for Document<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.fields
    }
}

impl<T> Serialize for Document<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Document<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut json = Box::<RawValue>::deserialize(deserializer)?;
        // A proxy may have formatted it. The output has one record on each line.
        if json.get().contains(['\n', '\r']) {
            let value: serde_json::Value =
                serde_json::from_str(json.get()).map_err(serde::de::Error::custom)?;
            json = to_raw_value(&value).map_err(serde::de::Error::custom)?;
        }
        Self::parse(json).map_err(serde::de::Error::custom)
    }
}

/// The fields of an app.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct App {
    pub(crate) id: AppId,
    pub(crate) name: String,
    pub(crate) created_at: Timestamp,
    pub(crate) disabled_at: Option<Timestamp>,
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) version: Option<String>,
}

/// The fields of a token.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Token {
    pub(crate) id: TokenId,
    pub(crate) app_id: AppId,
    pub(crate) app_name: String,
    pub(crate) name: String,
    pub(crate) masked: String,
    /// The label of the format.
    pub(crate) format: Option<String>,
    pub(crate) scopes: Vec<String>,
    /// A string, because a newer server may have statuses that this program does not know.
    pub(crate) status: String,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
    pub(crate) successor_id: Option<TokenId>,
    pub(crate) last_used_at: Option<Timestamp>,
    pub(crate) uses: u64,
    /// The networks from which it may be used, or `None` for everywhere.
    #[serde(default)]
    pub(crate) networks: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) not_before: Option<Timestamp>,
    #[serde(default)]
    pub(crate) suspended_at: Option<Timestamp>,
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) created_by: Option<String>,
    #[serde(default)]
    pub(crate) version: Option<String>,
}

/// The fields of an audit event.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Event {
    pub(crate) at: Timestamp,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) app_id: Option<String>,
    pub(crate) token_id: Option<String>,
    pub(crate) outcome: String,
    pub(crate) reason: Option<String>,
}

/// The fields of a report.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Report {
    pub(crate) cards: Vec<ReportCard>,
}

/// The fields of a part of a report.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ReportCard {
    /// A string, because a newer server may have cards that this program does not know.
    pub(crate) kind: String,
    pub(crate) count: u64,
    pub(crate) is_truncated: bool,
}

/// The tokens that a revocation would include.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Selection {
    pub(crate) count: usize,
    pub(crate) newest: Option<TokenId>,
}

/// The fields of the result of a revocation of many tokens.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Revocation {
    pub(crate) revoked: u64,
    pub(crate) batch: Option<String>,
}

/// A newly issued token, including its text.
#[derive(Deserialize, Serialize)]
pub(crate) struct IssuedDocument {
    #[serde(deserialize_with = "secret", serialize_with = "expose")]
    pub(crate) token: Zeroizing<String>,
    pub(crate) record: Document<Token>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

fn expose<S: Serializer>(token: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = r#"{"id":"a","name":"A","created_at":"2026-11-28T11:01:53Z","disabled_at":null,"plan":"x"}"#;

    #[test]
    fn a_document_keeps_fields_that_this_version_does_not_know() {
        let app: Document<App> = serde_json::from_str(APP).unwrap();
        assert_eq!(app.name, "A");
        assert_eq!(serde_json::to_string(&app).unwrap(), APP);
    }

    #[test]
    fn a_document_has_one_line() {
        let formatted = APP.replace(',', ",\n  ");
        let app: Document<App> = serde_json::from_str(&formatted).unwrap();
        let json = serde_json::to_string(&app).unwrap();
        let values: [serde_json::Value; 2] =
            [&*json, APP].map(|json| serde_json::from_str(json).unwrap());
        assert!(!json.contains('\n'), "{json}");
        assert_eq!(values[0], values[1]);
    }
}

/// The fields of a node.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) max_staleness_seconds: f64,
    pub(crate) lag: Option<u64>,
    pub(crate) reported_at: Timestamp,
    pub(crate) gone: bool,
}

/// The fields of the fleet.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Fleet {
    pub(crate) nodes: u64,
    pub(crate) lag: u64,
    max_staleness_seconds: Option<f64>,
    pub(crate) all_registered: bool,
}

impl Fleet {
    pub(crate) fn max_staleness(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.max_staleness_seconds?).ok()
    }
}

/// A revoked token, and which nodes have applied its revocation.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RevokedEverywhere {
    pub(crate) token: Document<Token>,
    pub(crate) receipt: Receipt,
}

/// Which nodes have applied a change.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Receipt {
    /// A string, because a newer server may have statuses that this program does not know.
    pub(crate) status: String,
    pub(crate) waited_seconds: f64,
    pub(crate) nodes: Vec<NodeReceipt>,
}

impl Receipt {
    /// Whether no node accepts the token.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(
            self.status.parse(),
            Ok(ReceiptStatus::Applied | ReceiptStatus::BoundPassed)
        )
    }
}

/// A node, and whether it has applied a change.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NodeReceipt {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) applied: bool,
}
