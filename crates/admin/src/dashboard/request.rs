//! What the pages read from a request.

use std::str::FromStr;

use axum::{
    Form,
    extract::{
        Path, Query,
        rejection::{FormRejection, PathRejection, QueryRejection},
    },
};
use serde::Deserialize;

use super::{
    names::is_typed,
    view::{Field, Notice, Tone},
};

/// A form as it was sent. [`Session::form`](super::session::Session::form) reads it.
pub(super) type Sent<T> = Result<Form<T>, FormRejection>;

/// The query of an address, as it is written there.
pub(super) type Asked<T> = Result<Query<T>, QueryRejection>;

/// The identifier in a path, as it is written there.
pub(super) type Id = Result<Path<String>, PathRejection>;

/// Reads a query. One that no page makes counts as none.
pub(super) fn query<T: Default>(asked: Asked<T>) -> T {
    asked.map_or_else(|_| T::default(), |Query(query)| query)
}

/// Reads the identifier in a path.
pub(super) fn id<T: FromStr>(id: Id) -> Option<T> {
    id.ok()?.parse().ok()
}

/// What was done right before the page is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct After {
    pub(super) done: String,
}

/// The form of something that cannot be undone, or that stops an app: the name of the record is typed
/// into it.
#[derive(Debug, Deserialize)]
pub(super) struct Confirmation {
    #[serde(default)]
    confirm: String,
}

impl Confirmation {
    /// What the page shows if another name was typed: that the `record` was not `done`.
    pub(super) fn check(self, name: &str, record: &str, done: &str) -> Result<(), (Notice, Field)> {
        if is_typed(&self.confirm, name) {
            return Ok(());
        }
        let mut confirm = Field::of(self.confirm);
        confirm.blame(Some(format!("This is not its name. Nothing was {done}.")));
        let says = format!("The {record} was not {done}.");
        let notice = Notice::new(Tone::Bad, says, "To confirm, type its name below.");
        Err((notice, confirm))
    }
}
