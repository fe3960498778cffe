//! The history of an app or a token.

use askama::{Template, filters::HtmlSafe};

use super::event::{About, EventView};

/// The latest events of a record.
#[derive(Template)]
#[template(path = "history.html")]
pub(super) struct HistoryView {
    pub(super) about: About,
    /// The events, or `None` if they could not be read.
    pub(super) events: Option<Vec<EventView>>,
    /// The address of the list of all events, if there are older ones.
    pub(super) activity: Option<String>,
}

impl HtmlSafe for HistoryView {}
