//! Writes the lines of a file.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{FORMAT, VERSION};
use crate::{
    model::{
        app::{AppId, AppRecord},
        metadata::Metadata,
        record::TokenRecord,
        restrictions::Restrictions,
        scope::ScopeSet,
    },
    time::truncate_to_microsecond,
    token::{MaskedToken, TokenDigest, TokenId},
};

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Line<'a> {
    App(App<'a>),
    Token(Token<'a>),
    End {
        apps: u64,
        tokens: u64,
    },
    #[serde(untagged)]
    Header {
        format: &'a str,
        version: u64,
    },
}

#[derive(Serialize)]
struct App<'a> {
    id: AppId,
    name: &'a str,
    created_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_at: Option<Time>,
    #[serde(skip_serializing_if = "Metadata::is_empty")]
    metadata: &'a Metadata,
}

#[derive(Serialize)]
struct Token<'a> {
    id: TokenId,
    digest: TokenDigest,
    mask: MaskedToken,
    app: AppId,
    name: &'a str,
    #[serde(skip_serializing_if = "ScopeSet::is_empty")]
    scopes: &'a ScopeSet,
    #[serde(skip_serializing_if = "Option::is_none")]
    restrictions: Option<&'a str>,
    #[serde(skip_serializing_if = "Metadata::is_empty")]
    metadata: &'a Metadata,
    created_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    successor: Option<TokenId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Time>,
    #[serde(skip_serializing_if = "is_zero")]
    uses: u64,
}

/// A time in microseconds, always with the same number of digits.
struct Time(Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.6}", truncate_to_microsecond(self.0)))
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

pub(super) fn header(text: &mut Vec<u8>) -> serde_json::Result<()> {
    let (format, version) = (FORMAT, VERSION);
    line(text, &Line::Header { format, version })
}

pub(super) fn app(text: &mut Vec<u8>, app: &AppRecord) -> serde_json::Result<()> {
    line(
        text,
        &Line::App(App {
            id: app.id,
            name: &app.name,
            created_at: Time(app.created_at),
            disabled_at: app.disabled_at.map(Time),
            metadata: &app.metadata,
        }),
    )
}

pub(super) fn token(text: &mut Vec<u8>, token: &TokenRecord) -> serde_json::Result<()> {
    line(
        text,
        &Line::Token(Token {
            id: token.id,
            digest: token.digest,
            mask: token.mask,
            app: token.app.id,
            name: &token.name,
            scopes: &token.scopes,
            restrictions: token.restrictions.as_ref().map(Restrictions::as_str),
            metadata: &token.metadata,
            created_at: Time(token.created_at),
            created_by: token.created_by.as_deref(),
            expires_at: token.expires_at.map(Time),
            revoked_at: token.revoked_at.map(Time),
            successor: token.successor,
            last_used_at: token.last_used_at.map(Time),
            uses: token.uses,
        }),
    )
}

pub(super) fn end(text: &mut Vec<u8>, apps: u64, tokens: u64) -> serde_json::Result<()> {
    line(text, &Line::End { apps, tokens })
}

fn line(text: &mut Vec<u8>, line: &Line<'_>) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *text, line)?;
    text.push(b'\n');
    Ok(())
}
