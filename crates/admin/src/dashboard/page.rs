//! What every page needs: the mount path, the signed-in actor and the current time.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::OriginalUri,
    response::{Html, IntoResponse, Redirect, Response},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{StatusCode, Uri, request::Parts};
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tower_api_tokens::{AppId, AuditAction, name_in_app, store::digest_words};

use super::{
    brand::{Brand, SignOut},
    names::visible,
    settings::Settings,
};
use crate::{actor::Actor, operations::Operator};

/// The length of the account tag in the sign-out URL, in bytes.
const ACCOUNT_TAG_LEN: usize = 12;

/// What every page needs.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// The path at which the dashboard is mounted, without a trailing slash.
    pub(super) root: String,
    /// The display name of the signed-in actor; empty if no one is signed in.
    pub(super) actor: String,
    /// The name that identifies the actor in the audit log.
    pub(super) actor_id: String,
    /// How the actor signs out, if the host or Basic authentication allows it.
    pub(super) sign_out: Option<SignOut>,
    /// Whether the dashboard can prompt for another account.
    pub(super) can_switch: bool,
    pub(super) now: Timestamp,
    pub(super) section: Section,
    pub(super) brand: Arc<Brand>,
    /// The app that the signed-in actor is limited to.
    app: Option<AppId>,
    /// The actions that the limits of the signed-in actor allow. Pages have forms for no others.
    actions: Vec<AuditAction>,
}

/// The entry of the navigation that a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Tokens,
    Apps,
    Policy,
    Nodes,
    Activity,
}

impl Section {
    fn of(path: &str) -> Self {
        match path.split('/').nth(1) {
            Some("overview") => Self::Overview,
            Some("apps") => Self::Apps,
            Some("policy") => Self::Policy,
            Some("nodes") => Self::Nodes,
            Some("activity") => Self::Activity,
            _ => Self::Tokens,
        }
    }
}

impl Page {
    /// Creates the page of an actor.
    pub(super) fn new(parts: &Parts, operator: &Operator, settings: &Settings) -> Self {
        let actor = operator.actor();
        let actions = AuditAction::ALL.iter().copied();
        let page = Self::anonymous(settings, parts);
        let own = page
            .can_switch
            .then(|| SignOut::Link(page.link(&sign_out_path(actor))));
        Self {
            actor: visible(actor.label()),
            actor_id: visible(actor.name()),
            sign_out: page.brand.sign_out().cloned().or(own),
            now: operator.now(),
            app: operator.limited_to(),
            actions: actions
                .filter(|action| operator.check_action(*action).is_ok())
                .collect(),
            ..page
        }
    }

    /// Creates the page of a request that did not pass the gate.
    pub(super) fn anonymous(settings: &Settings, parts: &Parts) -> Self {
        Self {
            root: root(parts),
            actor: String::new(),
            actor_id: String::new(),
            sign_out: None,
            can_switch: settings.uses_basic_auth,
            now: Timestamp::UNIX_EPOCH,
            section: Section::of(parts.uri.path()),
            brand: settings.brand.clone(),
            app: None,
            actions: Vec::new(),
        }
    }

    /// Returns the app that the signed-in actor is limited to. The pages then show no choice of an app.
    pub(super) fn only_app(&self) -> Option<&AppId> {
        self.app.as_ref()
    }

    /// Returns whether the limits of the signed-in actor allow an action.
    pub(super) fn allows(&self, action: AuditAction) -> bool {
        self.actions.contains(&action)
    }

    pub(super) fn may_issue(&self) -> bool {
        self.allows(AuditAction::IssueToken)
    }

    pub(super) fn may_edit_tokens(&self) -> bool {
        self.allows(AuditAction::EditToken)
    }

    pub(super) fn may_create_apps(&self) -> bool {
        self.allows(AuditAction::CreateApp)
    }

    pub(super) fn may_edit_apps(&self) -> bool {
        self.allows(AuditAction::EditApp)
    }

    pub(super) fn may_disable_apps(&self) -> bool {
        self.allows(AuditAction::DisableApp)
    }

    /// Returns the name of an actor without the app that the signed-in actor is limited to as well. A name
    /// that could be mistaken for that of the staff stays as it is.
    pub(super) fn short_actor<'a>(&self, actor: &'a str) -> &'a str {
        let own = |app: &AppId| {
            let name = name_in_app(actor, app)?.trim();
            (!name.is_empty() && !name.eq_ignore_ascii_case("support")).then_some(name)
        };
        self.app.as_ref().and_then(own).unwrap_or(actor)
    }

    /// Returns whether the page belongs to the list of tokens.
    pub(super) fn is_about_tokens(&self) -> bool {
        self.section == Section::Tokens
    }

    pub(super) fn is_about_everything(&self) -> bool {
        self.section == Section::Overview
    }

    pub(super) fn is_about_apps(&self) -> bool {
        self.section == Section::Apps
    }

    pub(super) fn is_about_policy(&self) -> bool {
        self.section == Section::Policy
    }

    pub(super) fn is_about_nodes(&self) -> bool {
        self.section == Section::Nodes
    }

    pub(super) fn is_about_activity(&self) -> bool {
        self.section == Section::Activity
    }

    /// Returns the address that signs the actor out.
    pub(super) fn sign_out_link(&self) -> Option<&str> {
        match self.sign_out.as_ref()? {
            SignOut::Link(address) => Some(address),
            SignOut::Form(_) => None,
        }
    }

    /// Returns the path of the form that signs the actor out.
    pub(super) fn sign_out_form(&self) -> Option<&str> {
        match self.sign_out.as_ref()? {
            SignOut::Form(path) => Some(path),
            SignOut::Link(_) => None,
        }
    }

    /// Returns the path of the list of tokens.
    pub(super) fn home(&self) -> &str {
        if self.root.is_empty() {
            "/"
        } else {
            &self.root
        }
    }

    /// Returns the full path of a dashboard page; `/` is the list of tokens.
    pub(super) fn link(&self, path: &str) -> String {
        match path {
            "/" => self.home().to_owned(),
            path => format!("{}{path}", self.root),
        }
    }

    /// Redirects to a page after a change, so that a reload does not repeat the change.
    pub(super) fn go_to(&self, path: &str) -> Response {
        Redirect::to(&self.link(path)).into_response()
    }
}

/// Returns the URI of the request before nesting removed the mount path.
pub(super) fn original_uri(parts: &Parts) -> &Uri {
    let original = parts.extensions.get::<OriginalUri>();
    original.map_or(&parts.uri, |original| &original.0)
}

/// Returns the mount path: the prefix that nesting removed from the request's path.
fn root(parts: &Parts) -> String {
    let original = original_uri(parts).path();
    let root = original.strip_suffix(parts.uri.path()).unwrap_or(original);
    root.trim_end_matches('/').to_owned()
}

/// Returns the path that signs an actor out. It identifies the account by a digest, because URLs are
/// logged.
pub(super) fn sign_out_path(actor: &Actor) -> String {
    let digest = digest_words(["sign out", actor.identity()]);
    let tag = BASE64_URL_SAFE_NO_PAD.encode(&digest[..ACCOUNT_TAG_LEN]);
    format!("/sign-out?account={tag}")
}

/// Returns a query string of the fields that are not empty, starting with the question mark.
pub(super) fn query_string(fields: &[(&str, &str)]) -> String {
    let mut query = String::new();
    for (name, value) in fields {
        if !value.is_empty() {
            query.push(if query.is_empty() { '?' } else { '&' });
            query.push_str(name);
            query.push('=');
            query.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
        }
    }
    query
}

/// Renders a page with a status.
pub(super) fn render(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
