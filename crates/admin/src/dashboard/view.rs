//! Records as the pages show them.

use askama::{Template, filters::HtmlSafe};
use jiff::Timestamp;
use tower_api_tokens::{AppRecord, Metadata, ScopeSet, TokenFormats, TokenRecord, TokenStatus};

use super::{
    lines,
    names::visible,
    text::{Moment, grouped},
};

/// How many scopes a row of the list shows.
const ROW_SCOPES: usize = 2;

/// A token as a row of the list and its own page show it.
pub(super) struct TokenView {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) mask: String,
    /// The label of the token's format, if there are several.
    pub(super) format: Option<String>,
    pub(super) app: AppView,
    pub(super) scopes: ScopesView,
    pub(super) badge: Badge,
    pub(super) created: Moment,
    pub(super) expires: Option<Moment>,
    pub(super) revoked: Option<Moment>,
    pub(super) last_used: Option<Moment>,
    pub(super) uses: String,
    /// The networks that requests may come from; empty for any.
    pub(super) networks: String,
    /// The instant before which the token is refused.
    pub(super) valid_from: Option<Moment>,
    pub(super) suspended: Option<Moment>,
    /// The restrictions, if this version does not understand them.
    pub(super) unknown_restrictions: Option<String>,
    pub(super) metadata: MetadataView,
}

impl TokenView {
    pub(super) fn new(token: &TokenRecord, now: Timestamp) -> Self {
        let moment = |at: Timestamp| Moment::new(at, now);
        Self {
            id: token.id.to_string(),
            name: visible(&token.name),
            mask: token.mask.to_string(),
            format: None,
            app: AppView::new(&token.app, now),
            scopes: ScopesView::truncated(&token.scopes),
            badge: Badge::of_token(token, now),
            created: moment(token.created_at),
            expires: token.expires_at.map(moment),
            revoked: token.revoked_at.map(moment),
            last_used: token.last_used_at.map(moment),
            uses: grouped(token.uses),
            networks: lines::of_networks(token.networks()),
            valid_from: token.not_before().map(moment),
            suspended: token.suspended_at().map(moment),
            unknown_restrictions: token
                .restrictions
                .as_ref()
                .filter(|restrictions| !restrictions.is_understood())
                .map(|restrictions| visible(restrictions.as_str())),
            metadata: MetadataView::new(&token.metadata),
        }
    }

    pub(super) fn copyable(&self) -> Identifier {
        Identifier::new(&self.id, "token ID")
    }

    /// Adds the label of the token's format if there is more than one format to tell apart.
    pub(super) fn with_format(mut self, formats: &TokenFormats, token: &TokenRecord) -> Self {
        let label = formats.label_of(&token.mask);
        self.format = label
            .filter(|_| formats.iter().nth(1).is_some())
            .map(str::to_owned);
        self
    }
}

/// An app as a row of the list shows it.
pub(super) struct AppView {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) badge: Badge,
    pub(super) created: Moment,
    pub(super) disabled: Option<Moment>,
    pub(super) metadata: MetadataView,
}

impl AppView {
    pub(super) fn new(app: &AppRecord, now: Timestamp) -> Self {
        Self {
            id: app.id.to_string(),
            name: visible(&app.name),
            badge: match app.disabled_at {
                None => Badge::new("active", "Enabled"),
                Some(_) => Badge::new("inactive", "Disabled"),
            },
            created: Moment::new(app.created_at, now),
            disabled: app.disabled_at.map(|at| Moment::new(at, now)),
            metadata: MetadataView::new(&app.metadata),
        }
    }

    pub(super) fn copyable(&self) -> Identifier {
        Identifier::new(&self.id, "app ID")
    }
}

/// The metadata of a record.
#[derive(Template)]
#[template(
    ext = "html",
    source = "<dl class=\"metadata\">{% for (key, value) in entries %}<div><dt>{{ key }}</dt>\
        <dd>{{ value }}</dd></div>{% endfor %}</dl>"
)]
pub(super) struct MetadataView {
    entries: Vec<(String, String)>,
}

impl HtmlSafe for MetadataView {}

impl MetadataView {
    fn new(metadata: &Metadata) -> Self {
        let entries = metadata.iter();
        Self {
            entries: entries
                .map(|(key, value)| (visible(key), visible(value)))
                .collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// An identifier, with a button that copies it.
#[derive(Clone, Debug, Template)]
#[template(
    ext = "html",
    source = "<span class=\"id\"><code>{{ text }}</code><button type=\"button\" class=\"copy js-only\" \
        data-copy=\"\" aria-label=\"Copy {{ label }}\">Copy</button></span>"
)]
pub(super) struct Identifier {
    text: String,
    label: &'static str,
}

impl HtmlSafe for Identifier {}

impl Identifier {
    pub(super) fn new(id: impl ToString, label: &'static str) -> Self {
        Self {
            text: id.to_string(),
            label,
        }
    }
}

/// A colored label with the state of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Template)]
#[template(
    ext = "html",
    source = "<span class=\"badge {{ class }}\">{{ label }}</span>"
)]
pub(super) struct Badge {
    class: &'static str,
    label: &'static str,
}

impl HtmlSafe for Badge {}

impl Badge {
    const fn new(class: &'static str, label: &'static str) -> Self {
        Self { class, label }
    }

    fn of_token(token: &TokenRecord, now: Timestamp) -> Self {
        match token.status(now) {
            TokenStatus::Live if token.successor.is_some() => Self::new("rotated", "Rotated"),
            status @ TokenStatus::Live => Self::new("active", status_label(status)),
            status @ TokenStatus::Expired => Self::new("", status_label(status)),
            status => Self::new("inactive", status_label(status)),
        }
    }
}

/// Returns the label of a status.
pub(super) fn status_label(status: TokenStatus) -> &'static str {
    match status {
        TokenStatus::Live => "Active",
        TokenStatus::Revoked => "Revoked",
        TokenStatus::Expired => "Expired",
        TokenStatus::AppDisabled => "App disabled",
        TokenStatus::Restricted => "Restricted",
        TokenStatus::Suspended => "Suspended",
        TokenStatus::NotYetValid => "Not yet valid",
        other => other.as_str(),
    }
}

/// A list of scopes.
#[derive(Template)]
#[template(path = "scopes.html")]
pub(super) struct ScopesView {
    scopes: Vec<String>,
    more: usize,
}

impl HtmlSafe for ScopesView {}

impl ScopesView {
    pub(super) fn all(scopes: &ScopeSet) -> Self {
        Self::first(scopes, usize::MAX)
    }

    fn truncated(scopes: &ScopeSet) -> Self {
        Self::first(scopes, ROW_SCOPES)
    }

    fn first(scopes: &ScopeSet, shown: usize) -> Self {
        Self {
            scopes: scopes.iter().take(shown).map(str::to_owned).collect(),
            more: scopes.iter().count().saturating_sub(shown),
        }
    }
}

/// A message at the top of a page.
#[derive(Template)]
#[template(path = "notice.html")]
pub(super) struct Notice {
    tone: Tone,
    title: String,
    detail: String,
}

impl HtmlSafe for Notice {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Warn,
    Bad,
    Plain,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Plain => "",
        }
    }
}

impl Notice {
    pub(super) fn new(tone: Tone, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            tone,
            title: title.into(),
            detail: detail.into(),
        }
    }

    /// Returns whether a screen reader should interrupt to announce it.
    fn is_urgent(&self) -> bool {
        self.tone == Tone::Bad
    }

    fn is_good(&self) -> bool {
        self.tone == Tone::Good
    }
}

/// The value of a form field, and its error.
#[derive(Clone, Debug, Default)]
pub(super) struct Field {
    pub(super) value: String,
    pub(super) error: String,
}

impl Field {
    pub(super) fn with_value(value: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            error: String::new(),
        }
    }

    pub(super) fn has_error(&self) -> bool {
        !self.error.is_empty()
    }

    pub(super) fn set_error(&mut self, error: impl Into<String>) {
        self.error = error.into();
    }

    /// Reads the value. If it is invalid, sets the error and returns `None`.
    pub(super) fn read<T, E: Into<String>>(
        &mut self,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match read(&self.value) {
            Ok(value) => Some(value),
            Err(error) => {
                self.set_error(error);
                None
            }
        }
    }

    /// Takes the value from a form that may lack the field, and reads it.
    pub(super) fn submit<T, E: Into<String>>(
        &mut self,
        value: Option<String>,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.value = value?;
        self.read(read)
    }
}
