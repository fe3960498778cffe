//! The page with the form that edits an app or a token.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use tower_api_tokens::{AuditQuery, Metadata, RecordVersion};

use super::{
    directory::Directory,
    edit::FormState,
    event::{About, EventView},
    input::{ExpiryInput, Input},
    lines,
    page::{Page, render},
    session::Session,
    view::Notice,
};

/// In how many events the latest changes are looked for.
const MAX_SEARCHED: usize = 20;

/// How many changes are shown to an operator whose form was overtaken by another edit.
const MAX_CHANGES: usize = 3;

#[derive(Template)]
#[template(path = "edit.html")]
pub(super) struct EditPage {
    pub(super) page: Page,
    pub(super) notice: Option<Notice>,
    /// What the record is: `token` or `app`.
    pub(super) kind: &'static str,
    /// The name of the record.
    pub(super) name: String,
    /// The path of the record's own page.
    pub(super) path: String,
    /// The version of the record that the form shows.
    pub(super) version: RecordVersion,
    pub(super) inputs: Vec<Input>,
    pub(super) expiry: Option<ExpiryInput>,
    /// What the form does not contain, and why.
    pub(super) remarks: Vec<String>,
    /// The latest changes, if the form was overtaken by another edit.
    pub(super) changes: Vec<EventView>,
}

impl EditPage {
    pub(super) fn render(mut self, status: StatusCode) -> Response {
        Input::focus_first_invalid(&mut self.inputs);
        let inputs_are_valid = !self.inputs.iter().any(Input::has_error);
        if let Some(expiry) = &mut self.expiry {
            expiry.is_focused = inputs_are_valid && expiry.chosen.has_error();
        }
        render(status, &self)
    }
}

/// Returns the remark about metadata that the form does not contain, if there is any.
pub(super) fn kept_metadata(metadata: &Metadata) -> Option<String> {
    lines::kept_keys(metadata).map(|keys| {
        format!(
            "These metadata keys can't be edited here and won't change: {keys}. Change them \
             with the API."
        )
    })
}

/// Returns the latest changes of a record, if its form was overtaken by one. Returns none if they
/// cannot be read.
pub(super) async fn latest_changes(
    session: &Session,
    state: FormState,
    query: AuditQuery,
    about: About,
    mut directory: Directory,
) -> Vec<EventView> {
    if state != FormState::Overtaken {
        return Vec::new();
    }
    let found = session.operator.events(&query.limit(MAX_SEARCHED)).await;
    let mut events = found.map(|found| found.items).unwrap_or_default();
    events.retain(|event| {
        let is_about_app = event.action.as_str().starts_with("app.");
        EventView::is_change(event) && (about != About::App || is_about_app)
    });
    events.truncate(MAX_CHANGES);
    directory
        .look_up(&session.operator, events.iter(), None)
        .await;
    let views = events.iter();
    views
        .map(|event| EventView::new(event, about, &directory, &session.page))
        .collect()
}
