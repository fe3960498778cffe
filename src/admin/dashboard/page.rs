//! What every page has: where the dashboard is mounted, who is signed in, and the time.

use askama::Template;
use axum::{
    extract::OriginalUri,
    response::{Html, IntoResponse, Redirect, Response},
};
use http::{StatusCode, request::Parts};
use jiff::Timestamp;

/// What every page has.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// The path at which the dashboard is mounted, without a slash at its end.
    pub(super) root: String,
    /// Who is signed in; empty for nobody.
    pub(super) actor: String,
    pub(super) now: Timestamp,
    /// Whether it is one of the pages about apps.
    pub(super) is_about_apps: bool,
}

impl Page {
    pub(super) fn new(parts: &Parts, actor: &str, now: Timestamp) -> Self {
        let path = parts.uri.path();
        Self {
            root: root(parts),
            actor: actor.to_owned(),
            now,
            is_about_apps: path == "/apps" || path.starts_with("/apps/"),
        }
    }

    /// What there is of a page for whom the gate does not let in.
    pub(super) fn of_nobody(parts: &Parts) -> Self {
        Self::new(parts, "", Timestamp::UNIX_EPOCH)
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

/// A page with a status.
pub(super) fn render(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
