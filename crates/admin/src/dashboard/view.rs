//! Records as the pages show them.

use std::fmt;

use askama::{Template, filters::HtmlSafe};
use jiff::Timestamp;
use tower_api_tokens::{AppRecord, ScopeSet, TokenRecord, TokenStatus};

use super::{
    names::visible,
    words::{Moment, sentence},
};

/// How many scopes a row of the list shows.
const SCOPES_OF_A_ROW: usize = 2;

/// A token as a row of the list and its own page show it.
pub(super) struct TokenView {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) mask: String,
    pub(super) app: AppView,
    pub(super) scopes: ScopesView,
    pub(super) badge: Badge,
    pub(super) created: Moment,
    pub(super) expires: Option<Moment>,
    pub(super) revoked: Option<Moment>,
    pub(super) last_used: Option<Moment>,
    pub(super) uses: u64,
}

impl TokenView {
    pub(super) fn new(token: &TokenRecord, now: Timestamp) -> Self {
        let moment = |at: Timestamp| Moment::new(at, now);
        Self {
            id: token.id.to_string(),
            name: visible(&token.name),
            mask: token.mask.to_string(),
            app: AppView::new(&token.app, now),
            scopes: ScopesView::some(&token.scopes),
            badge: Badge::of_token(token, now),
            created: moment(token.created_at),
            expires: token.expires_at.map(moment),
            revoked: token.revoked_at.map(moment),
            last_used: token.last_used_at.map(moment),
            uses: token.uses,
        }
    }
}

/// An app as a row of the list shows it.
pub(super) struct AppView {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) badge: Badge,
    pub(super) created: Moment,
    pub(super) disabled: Option<Moment>,
}

impl AppView {
    pub(super) fn new(app: &AppRecord, now: Timestamp) -> Self {
        Self {
            id: app.id.to_string(),
            name: visible(&app.name),
            badge: match app.disabled_at {
                None => Badge::new("live", "Enabled"),
                Some(_) => Badge::new("ended", "Disabled"),
            },
            created: Moment::new(app.created_at, now),
            disabled: app.disabled_at.map(|at| Moment::new(at, now)),
        }
    }
}

/// A state in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Template)]
#[template(
    ext = "html",
    source = "<span class=\"badge {{ class }}\">{{ word }}</span>"
)]
pub(super) struct Badge {
    class: &'static str,
    word: &'static str,
}

impl HtmlSafe for Badge {}

impl Badge {
    const fn new(class: &'static str, word: &'static str) -> Self {
        Self { class, word }
    }

    fn of_token(token: &TokenRecord, now: Timestamp) -> Self {
        match token.status(now) {
            TokenStatus::Live if token.successor.is_some() => Self::new("ending", "Rotated"),
            status @ TokenStatus::Live => Self::new("live", status_label(status)),
            status @ TokenStatus::Expired => Self::new("", status_label(status)),
            status => Self::new("ended", status_label(status)),
        }
    }
}

/// What a status is called on a page.
pub(super) fn status_label(status: TokenStatus) -> &'static str {
    match status {
        TokenStatus::Live => "Active",
        TokenStatus::Revoked => "Revoked",
        TokenStatus::Expired => "Expired",
        TokenStatus::AppDisabled => "App disabled",
        TokenStatus::Restricted => "Restricted",
        other => other.as_str(),
    }
}

/// Scopes, each apart.
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

    fn some(scopes: &ScopeSet) -> Self {
        Self::first(scopes, SCOPES_OF_A_ROW)
    }

    fn first(scopes: &ScopeSet, shown: usize) -> Self {
        Self {
            scopes: scopes.iter().take(shown).map(str::to_owned).collect(),
            more: scopes.iter().count().saturating_sub(shown),
        }
    }
}

/// A sentence above what the page is about.
#[derive(Template)]
#[template(path = "notice.html")]
pub(super) struct Notice {
    tone: Tone,
    says: String,
    more: String,
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
    pub(super) fn new(tone: Tone, says: impl Into<String>, more: impl Into<String>) -> Self {
        Self {
            tone,
            says: says.into(),
            more: more.into(),
        }
    }

    /// Whether a screen reader is to say it at once.
    fn is_urgent(&self) -> bool {
        self.tone == Tone::Bad
    }

    fn is_good(&self) -> bool {
        self.tone == Tone::Good
    }
}

/// What is typed into a form's field, and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Field {
    pub(super) value: String,
    pub(super) error: String,
}

impl Field {
    pub(super) fn of(value: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            error: String::new(),
        }
    }

    pub(super) fn is_wrong(&self) -> bool {
        !self.error.is_empty()
    }

    /// Says what is wrong with it, if something is.
    pub(super) fn blame(&mut self, error: Option<impl fmt::Display>) {
        if let Some(error) = error {
            self.error = sentence(&error.to_string());
        }
    }
}
