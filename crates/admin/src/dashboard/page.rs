//! What every page has: where the dashboard is mounted, who is signed in, and the time.

use askama::Template;
use axum::{
    extract::OriginalUri,
    response::{Html, IntoResponse, Redirect, Response},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{StatusCode, request::Parts};
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tower_api_tokens::store::digest_words;

use super::names::visible;
use crate::{actor::Actor, gate::Gate};

/// How many bytes of a digest name an account.
const ACCOUNT_TAG_LEN: usize = 12;

/// What every page has.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// The path at which the dashboard is mounted, without a slash at its end.
    pub(super) root: String,
    /// Who is signed in; empty for nobody.
    pub(super) actor: String,
    /// The path of the page that signs them out, where there is one.
    pub(super) sign_out: Option<String>,
    /// Whether a person can sign in as someone else here.
    pub(super) can_switch: bool,
    pub(super) now: Timestamp,
    /// Whether it is one of the pages about apps.
    pub(super) is_about_apps: bool,
}

impl Page {
    /// The page for an actor. `can_switch` is whether they signed in with a password.
    pub(super) fn new(parts: &Parts, actor: &Actor, can_switch: bool, now: Timestamp) -> Self {
        Self {
            actor: visible(actor.name()),
            sign_out: can_switch.then(|| sign_out_path(actor)),
            now,
            ..Self::empty(parts, can_switch)
        }
    }

    /// What there is of a page for whom the gate does not let in.
    pub(super) fn of_nobody(gate: &Gate, parts: &Parts) -> Self {
        Self::empty(parts, gate.takes_passwords())
    }

    fn empty(parts: &Parts, can_switch: bool) -> Self {
        let path = parts.uri.path();
        Self {
            root: root(parts),
            actor: String::new(),
            sign_out: None,
            can_switch,
            now: Timestamp::UNIX_EPOCH,
            is_about_apps: path == "/apps" || path.starts_with("/apps/"),
        }
    }

    /// The path of the list of tokens.
    pub(super) fn home(&self) -> &str {
        if self.root.is_empty() {
            "/"
        } else {
            &self.root
        }
    }

    /// The path of a page of the dashboard; the list of tokens is `/` there.
    pub(super) fn link(&self, path: &str) -> String {
        match path {
            "/" => self.home().to_owned(),
            path => format!("{}{path}", self.root),
        }
    }

    /// Goes on to a page after a change, so that a reload does not make it again.
    pub(super) fn go_to(&self, path: &str) -> Response {
        Redirect::to(&self.link(path)).into_response()
    }
}

/// The path at which the dashboard is mounted: what nesting took from the request's.
fn root(parts: &Parts) -> String {
    let original = parts.extensions.get::<OriginalUri>();
    let original = original.map_or_else(|| parts.uri.path(), |uri| uri.0.path());
    let root = original.strip_suffix(parts.uri.path()).unwrap_or(original);
    root.trim_end_matches('/').to_owned()
}

/// The path of the page that signs an actor out. It names the account by a digest, because addresses
/// are logged.
pub(super) fn sign_out_path(actor: &Actor) -> String {
    let digest = digest_words(["sign out", actor.identity()]);
    let tag = BASE64_URL_SAFE_NO_PAD.encode(&digest[..ACCOUNT_TAG_LEN]);
    format!("/sign-out?account={tag}")
}

/// The query of an address, with the question mark, of those fields that are not empty.
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

/// A page with a status.
pub(super) fn render(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
