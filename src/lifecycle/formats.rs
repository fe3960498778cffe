//! The formats in which tokens are issued and accepted, and the scopes and apps that are limited to
//! one of them.

use std::collections::HashMap;

use thiserror::Error;

use super::{LifecycleError, LifecycleErrorKind};
use crate::{
    model::{
        app::AppId,
        record::TokenRecord,
        scope::{Scope, ScopeSet},
    },
    token::{MaskedToken, TokenFormat},
    words::List,
};

/// The formats of an [`ApiTokens`](super::ApiTokens), and the scopes and apps that are limited to
/// one of them.
///
/// Returned by [`ApiTokens::formats`](super::ApiTokens::formats).
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{ApiTokens, MaskedToken, MemoryStore, TokenFormat};
///
/// let live = TokenFormat::new("acme_live")?.with_label("live")?;
/// let test = TokenFormat::new("acme_test")?.with_label("test")?;
/// let tokens = ApiTokens::builder(MemoryStore::new(), live)
///     .with_issued_format(test)
///     .build();
///
/// let mask = MaskedToken::new("acme_test_", "x7Kq")?;
/// assert_eq!(tokens.formats().label_of(&mask), Some("test"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TokenFormats {
    /// The default one first.
    issued: Vec<TokenFormat>,
    accepted: Vec<TokenFormat>,
    /// Whether tokens of other formats may have a successor in the default format.
    replaces_imported: bool,
    scope_limits: Vec<(Scope, String)>,
    app_limits: HashMap<AppId, String>,
}

/// How a request for a new token selects its format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum FormatChoice {
    /// The first one that is issued.
    #[default]
    Default,
    Prefix(String),
    Label(String),
}

impl TokenFormats {
    pub(super) fn new(format: TokenFormat) -> Self {
        Self {
            issued: vec![format],
            accepted: Vec::new(),
            replaces_imported: false,
            scope_limits: Vec::new(),
            app_limits: HashMap::new(),
        }
    }

    pub(super) fn issue(&mut self, format: TokenFormat) {
        self.issued.push(format);
    }

    pub(super) fn accept(&mut self, format: TokenFormat) {
        self.accepted.push(format);
    }

    pub(super) fn replace_imported(&mut self) {
        self.replaces_imported = true;
    }

    pub(super) fn limit_scope(&mut self, scope: Scope, label: String) {
        self.scope_limits.retain(|(limited, _)| *limited != scope);
        self.scope_limits.push((scope, label));
    }

    pub(super) fn limit_app(&mut self, app: AppId, label: String) {
        self.app_limits.insert(app, label);
    }

    /// Returns the formats in which tokens are issued, the default one first.
    #[must_use]
    pub fn issued(&self) -> &[TokenFormat] {
        &self.issued
    }

    /// Returns all formats: those that are issued, then those that are only accepted.
    pub fn iter(&self) -> impl Iterator<Item = &TokenFormat> {
        self.issued.iter().chain(&self.accepted)
    }

    /// Returns the format that a token has, by its mask. If several formats have the same prefix,
    /// the first one applies.
    #[must_use]
    pub fn of(&self, mask: &MaskedToken) -> Option<&TokenFormat> {
        self.iter().find(|format| format.has_mask(mask))
    }

    /// Returns the [label](TokenFormat::label) of the format that a token has, by its mask. Returns
    /// `None` if it has none of these formats.
    #[must_use]
    pub fn label_of(&self, mask: &MaskedToken) -> Option<&str> {
        self.of(mask).map(TokenFormat::label)
    }

    /// Returns the format with this label or prefix, for filters such as [`TokenQuery::format`].
    ///
    /// # Errors
    ///
    /// Returns an error that lists the labels if no format has this name, or the prefixes if several
    /// formats have this label.
    ///
    /// [`TokenQuery::format`]: crate::TokenQuery::format
    pub fn named(&self, name: &str) -> Result<&TokenFormat, LifecycleError> {
        if let Some(format) = self.iter().find(|format| format.prefix() == name) {
            return Ok(format);
        }
        let labelled: Vec<_> = self.iter().filter(|f| f.label() == name).collect();
        let prefixes = distinct(labelled.iter().map(|format| format.prefix()));
        match labelled.first() {
            Some(format) if prefixes.len() == 1 => Ok(format),
            Some(_) => Err(FormatError::Ambiguous(prefixes).into()),
            None => {
                let labels = distinct(self.iter().map(TokenFormat::label));
                Err(FormatError::Unknown(labels).into())
            }
        }
    }

    /// Returns the label of the format that the tokens of an app with these scopes are limited to, if
    /// there is a limit.
    #[must_use]
    pub fn required(&self, app: &AppId, scopes: &ScopeSet) -> Option<&str> {
        let of_scopes = || {
            let mut limits = self.scope_limits.iter();
            limits.find(|(scope, _)| scopes.contains(scope))
        };
        let of_app = self.app_limits.get(app);
        of_app
            .or_else(|| of_scopes().map(|(_, label)| label))
            .map(String::as_str)
    }

    /// Returns the issued format that a request selects.
    pub(super) fn chosen(&self, choice: &FormatChoice) -> Result<&TokenFormat, FormatError> {
        let fits = |format: &&TokenFormat| match choice {
            FormatChoice::Default => true,
            FormatChoice::Prefix(prefix) => format.prefix() == prefix,
            FormatChoice::Label(label) => format.label() == label,
        };
        let issued = |name: fn(&TokenFormat) -> &str| distinct(self.issued.iter().map(name));
        self.issued.iter().find(fits).ok_or_else(|| match choice {
            FormatChoice::Prefix(_) => FormatError::UnknownPrefix(issued(TokenFormat::prefix)),
            _ => FormatError::UnknownLabel(issued(TokenFormat::label)),
        })
    }

    /// Returns the format of all tokens that are issued, if there is only one, and nothing is limited to a
    /// format.
    pub(super) fn only(&self) -> Option<&TokenFormat> {
        match self.issued.as_slice() {
            [format] if self.scope_limits.is_empty() && self.app_limits.is_empty() => Some(format),
            _ => None,
        }
    }

    /// Returns the format for the successor of a token with this mask: the same format, so that a
    /// token for a sandbox is not replaced by one for production.
    pub(super) fn of_successor(&self, mask: &MaskedToken) -> Result<&TokenFormat, FormatError> {
        match self.of(mask) {
            Some(format) => Ok(format),
            None if self.replaces_imported => self.chosen(&FormatChoice::Default),
            None => Err(FormatError::NotRotated(distinct(
                self.iter().map(TokenFormat::prefix),
            ))),
        }
    }

    /// Checks that a token has the format that its app and its scopes are limited to. Everything
    /// that creates a token must call this.
    pub(crate) fn check(&self, token: &TokenRecord) -> Result<(), FormatError> {
        self.check_parts(&token.app.id, &token.scopes, &token.mask)
    }

    /// Like [`check`](Self::check), before a record exists.
    pub(crate) fn check_parts(
        &self,
        app: &AppId,
        scopes: &ScopeSet,
        mask: &MaskedToken,
    ) -> Result<(), FormatError> {
        match self.app_limits.get(app) {
            Some(required) if self.label_of(mask) != Some(required) => {
                Err(self.broken(Subject::App(*app), required))
            }
            _ => self.check_scopes(scopes, mask),
        }
    }

    /// Checks that a token with this mask has the format that these scopes are limited to.
    /// Everything that adds scopes to a token must call this.
    pub(crate) fn check_scopes(
        &self,
        scopes: &ScopeSet,
        mask: &MaskedToken,
    ) -> Result<(), FormatError> {
        let label = self.label_of(mask);
        let is_broken = |(scope, required): &&(Scope, String)| {
            label != Some(required) && scopes.contains(scope)
        };
        match self.scope_limits.iter().find(is_broken) {
            Some((scope, required)) => Err(self.broken(Subject::Scope(scope.clone()), required)),
            None => Ok(()),
        }
    }

    fn broken(&self, subject: Subject, required: &str) -> FormatError {
        FormatError::Limit(Limit {
            subject,
            format: required.to_owned(),
            is_configured: self.iter().any(|format| format.label() == required),
        })
    }
}

/// Names without repetition, in their order.
fn distinct<'f>(names: impl Iterator<Item = &'f str>) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::new();
    for name in names {
        if !distinct.iter().any(|known| known == name) {
            distinct.push(name.to_owned());
        }
    }
    distinct
}

/// Why a token cannot have a format. The message does not repeat what the request contained.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum FormatError {
    #[error("no format has this label or prefix; use {}", List(.0))]
    Unknown(Vec<String>),
    #[error("several formats have this label; use the prefix {}", List(.0))]
    Ambiguous(Vec<String>),
    #[error("no tokens of this format are issued here; choose {}", List(.0))]
    UnknownLabel(Vec<String>),
    #[error("no tokens with this prefix are issued here; choose {}", List(.0))]
    UnknownPrefix(Vec<String>),
    #[error(
        "a token of this format cannot be rotated here, only those with the prefix {}; issue a new token instead", List(.0)
    )]
    NotRotated(Vec<String>),
    #[error(transparent)]
    Limit(Limit),
}

/// A limit to one format that a token does not comply with.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{subject} is limited to tokens of the format `{format}`; {}", self.hint())]
pub(crate) struct Limit {
    subject: Subject,
    format: String,
    /// Whether there is a format with this label at all.
    is_configured: bool,
}

impl Limit {
    /// The label of the format that is required.
    pub(crate) fn format(&self) -> &str {
        &self.format
    }

    fn hint(&self) -> &'static str {
        match &self.subject {
            _ if !self.is_configured => "no such format is configured, so correct the limit",
            Subject::Scope(_) => "issue one of that format, or leave out the scope",
            Subject::App(_) => "issue one of that format, or choose another app",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    Scope(Scope),
    App(AppId),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Scope(scope) => write!(f, "the scope `{}`", scope.as_str()),
            Self::App(app) => write!(f, "the app `{app}`"),
        }
    }
}

impl From<FormatError> for LifecycleError {
    fn from(error: FormatError) -> Self {
        let kind = match &error {
            FormatError::Limit(_) => LifecycleErrorKind::FormatNotAllowed,
            _ => LifecycleErrorKind::UnknownFormat,
        };
        Self::with_source(kind, error)
    }
}
