//! The records in the lines of a file.

use jiff::Timestamp;

use super::{
    FORMAT, VERSION,
    json::{Fields, required, wrong},
    report::{FaultKind, Flaw},
};
use crate::{
    lifecycle::TokenFormats,
    model::{
        app::{AppId, AppRecord},
        audit::{AuditEvent, one_line},
        metadata::Metadata,
        name,
        record::TokenRecord,
        restrictions::Restrictions,
        scope::ScopeSet,
    },
    time::truncate_to_microsecond,
    token::{MaskedToken, TokenDigest, TokenId},
};

/// The name of a token without one.
const NO_NAME: &str = "imported";

pub(super) enum Line {
    Header { compatible: bool },
    Record(Record),
    End { records: u64 },
}

pub(super) enum Record {
    App(Box<AppLine>),
    Token(Box<TokenLine>),
}

impl Line {
    pub(super) fn read(text: &[u8]) -> Result<Self, Flaw> {
        let mut fields = Fields::read(text)?;
        let line = if let Some(format) = fields.text("format")? {
            let version = fields.count("version")?;
            let compatible = format == FORMAT && version == Some(VERSION);
            if !compatible {
                return Ok(Self::Header { compatible });
            }
            Self::Header { compatible }
        } else if let Some(app) = fields.object("app")? {
            Self::Record(Record::App(Box::new(AppLine::read(app)?)))
        } else if let Some(token) = fields.object("token")? {
            Self::Record(Record::Token(Box::new(TokenLine::read(token)?)))
        } else if let Some(mut end) = fields.object("end")? {
            let apps = required("apps", end.count("apps")?)?;
            let tokens = required("tokens", end.count("tokens")?)?;
            end.end()?;
            let records = apps.saturating_add(tokens);
            Self::End { records }
        } else {
            return Err(Flaw::new(
                FaultKind::Malformed,
                "neither an `app` nor a `token`; use an object with one of the two",
            ));
        };
        fields.end()?;
        Ok(line)
    }
}

/// The app in a line.
pub(super) struct AppLine {
    pub(super) id: AppId,
    name: String,
    created_at: Option<Timestamp>,
    disabled_at: Option<Timestamp>,
    metadata: Option<Metadata>,
}

impl AppLine {
    fn read(mut fields: Fields) -> Result<Self, Flaw> {
        let line = Self {
            id: required("id", fields.parsed("id")?)?,
            name: required("name", fields.parsed_by("name", name::normalize_name)?)?,
            created_at: fields.time("created_at")?,
            disabled_at: fields.time("disabled_at")?,
            metadata: fields.metadata("metadata")?,
        };
        fields.end()?;
        Ok(line)
    }

    pub(super) fn record(&self, now: Timestamp) -> AppRecord {
        let created_at = self.created_at.unwrap_or(now);
        let mut app = AppRecord::new(self.id, self.name.as_str(), created_at);
        app.disabled_at = self.disabled_at;
        app.metadata = self.metadata.clone().unwrap_or_default();
        app
    }

    /// The fields in which an existing record differs.
    pub(super) fn differences(&self, there: &AppRecord) -> Vec<&'static str> {
        let is_complete = self.created_at.is_some();
        fields_that([
            ("name", self.name != there.name),
            ("created_at", differs(self.created_at, there.created_at)),
            (
                "disabled_at",
                (is_complete || self.disabled_at.is_some())
                    && self.disabled_at != there.disabled_at.map(truncate_to_microsecond),
            ),
            (
                "metadata",
                metadata_differs(is_complete, self.metadata.as_ref(), &there.metadata),
            ),
        ])
    }
}

/// The token in a line. Without an identifier, it is a token of another system, and only the given
/// fields matter.
pub(super) struct TokenLine {
    pub(super) id: Option<TokenId>,
    pub(super) digest: TokenDigest,
    app: AppId,
    /// The name of the app, which is created if it does not exist.
    app_name: Option<String>,
    mask: Option<MaskedToken>,
    name: Option<String>,
    scopes: Option<ScopeSet>,
    restrictions: Option<Restrictions>,
    metadata: Option<Metadata>,
    created_at: Option<Timestamp>,
    created_by: Option<String>,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    successor: Option<TokenId>,
    last_used_at: Option<Timestamp>,
    uses: u64,
}

impl TokenLine {
    fn read(mut fields: Fields) -> Result<Self, Flaw> {
        let (app, app_name) = read_app(&mut fields)?;
        let line = Self {
            id: fields.parsed("id")?,
            digest: read_digest(&mut fields)?,
            app,
            app_name,
            mask: fields.parsed("mask")?,
            name: fields.parsed_by("name", name::normalize_name)?,
            scopes: fields.parsed("scopes")?,
            restrictions: fields.parsed("restrictions")?,
            metadata: fields.metadata("metadata")?,
            created_at: fields.time("created_at")?,
            created_by: fields.parsed_by("created_by", actor)?,
            expires_at: fields.time("expires_at")?,
            revoked_at: fields.time("revoked_at")?,
            successor: fields.parsed("successor")?,
            last_used_at: fields.time("last_used_at")?,
            uses: fields.count("uses")?.unwrap_or(0),
        };
        fields.end()?;
        if line.id.is_some() {
            required("mask", line.mask)?;
            required("name", line.name.as_ref())?;
            required("created_at", line.created_at)?;
        }
        Ok(line)
    }

    /// The app that is given along with the token.
    pub(super) fn given_app(&self, now: Timestamp) -> Option<AppRecord> {
        let name = self.app_name.as_ref()?;
        Some(AppRecord::new(self.app, name.as_str(), now))
    }

    /// The record to insert. Only the identifier of its app is used.
    pub(super) fn record(&self, id: TokenId, now: Timestamp) -> TokenRecord {
        let mut token = TokenRecord::new(
            id,
            self.digest,
            self.mask.unwrap_or_default(),
            AppRecord::new(self.app, "", now),
            self.name.as_deref().unwrap_or(NO_NAME),
            self.created_at.unwrap_or(now),
        );
        token.scopes = self.scopes.clone().unwrap_or_default();
        token.restrictions = self.restrictions.clone();
        token.metadata = self.metadata.clone().unwrap_or_default();
        token.created_by.clone_from(&self.created_by);
        token.expires_at = self.expires_at;
        token.revoked_at = self.revoked_at;
        token.successor = self.successor;
        token.last_used_at = self.last_used_at;
        token.uses = self.uses;
        token
    }

    /// Why the token does not comply with the limits to formats. A token that has expired or was
    /// revoked always complies, because it grants nothing.
    pub(super) fn format_flaw(&self, formats: &TokenFormats, now: Timestamp) -> Option<Flaw> {
        let has_expired = self.expires_at.is_some_and(|expires_at| expires_at <= now);
        if self.revoked_at.is_some() || has_expired {
            return None;
        }
        let (none, mask) = (ScopeSet::default(), self.mask.unwrap_or_default());
        let scopes = self.scopes.as_ref().unwrap_or(&none);
        let error = formats.check_parts(&self.app, scopes, &mask).err()?;
        Some(Flaw::new(FaultKind::FormatNotAllowed, error.to_string()))
    }

    /// The fields in which an existing record differs. Its usage may have increased.
    pub(super) fn differences(&self, there: &TokenRecord) -> Vec<&'static str> {
        let is_complete = self.id.is_some();
        let time_differs = |here: Option<Timestamp>, there: Option<Timestamp>| {
            (is_complete || here.is_some()) && here != there.map(truncate_to_microsecond)
        };
        let scopes = self.scopes.clone().or(is_complete.then(ScopeSet::default));
        fields_that([
            ("id", self.id.is_some_and(|id| id != there.id)),
            ("digest", self.digest != there.digest),
            ("app", self.app != there.app.id),
            ("mask", self.mask.is_some_and(|mask| mask != there.mask)),
            (
                "name",
                self.name.as_ref().is_some_and(|name| *name != there.name),
            ),
            (
                "scopes",
                scopes.is_some_and(|scopes| scopes != there.scopes),
            ),
            (
                "restrictions",
                (is_complete || self.restrictions.is_some())
                    && self.restrictions != there.restrictions,
            ),
            (
                "metadata",
                metadata_differs(is_complete, self.metadata.as_ref(), &there.metadata),
            ),
            ("created_at", differs(self.created_at, there.created_at)),
            (
                "created_by",
                (is_complete || self.created_by.is_some()) && self.created_by != there.created_by,
            ),
            (
                "expires_at",
                time_differs(self.expires_at, there.expires_at),
            ),
            (
                "revoked_at",
                time_differs(self.revoked_at, there.revoked_at),
            ),
            (
                "successor",
                (is_complete || self.successor.is_some()) && self.successor != there.successor,
            ),
            (
                "last_used_at",
                self.last_used_at > there.last_used_at.map(truncate_to_microsecond),
            ),
            ("uses", self.uses > there.uses),
        ])
    }
}

fn metadata_differs(is_complete: bool, here: Option<&Metadata>, there: &Metadata) -> bool {
    match here {
        Some(here) => here != there,
        None => is_complete && !there.is_empty(),
    }
}

/// Checks the name of an actor.
fn actor(name: &str) -> Result<String, &'static str> {
    match one_line(name, AuditEvent::MAX_ACTOR_LEN) == name {
        true => Ok(name.to_owned()),
        false => Err("use at most 200 bytes without control characters"),
    }
}

fn differs(here: Option<Timestamp>, there: Timestamp) -> bool {
    here.is_some_and(|here| here != truncate_to_microsecond(there))
}

fn fields_that<const N: usize>(fields: [(&'static str, bool); N]) -> Vec<&'static str> {
    let disagreeing = fields.into_iter().filter(|(_, differs)| *differs);
    disagreeing.map(|(field, _)| field).collect()
}

/// Reads the identifier of a token's app, and the app's name if given.
fn read_app(fields: &mut Fields) -> Result<(AppId, Option<String>), Flaw> {
    match fields.text_or_object("app")? {
        Ok(id) => Ok((AppId::new(&id).map_err(|error| wrong("app", error))?, None)),
        Err(mut app) => {
            let id = required("id", app.parsed("id")?)?;
            let name = required("name", app.parsed_by("name", name::normalize_name)?)?;
            app.end()?;
            Ok((id, Some(name)))
        }
    }
}

fn read_digest(fields: &mut Fields) -> Result<TokenDigest, Flaw> {
    let parse = |text: &str| {
        let digest = TokenDigest::from_base64url(text);
        digest.map_err(|_| "not 32 bytes in base64url without padding")
    };
    match fields.parsed_by("digest_base64url", parse)? {
        Some(digest) => Ok(digest),
        None => required("digest", fields.parsed("digest")?),
    }
}
