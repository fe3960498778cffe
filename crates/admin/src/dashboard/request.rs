//! Forms, queries and identifiers in requests to the dashboard.

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
    names::matches_typed,
    view::{Field, Notice, Tone},
};

/// A submitted form. [`Session::read_form`](super::session::Session::read_form) unwraps it.
pub(super) type FormResult<T> = Result<Form<T>, FormRejection>;

/// The query of a URL.
pub(super) type QueryResult<T> = Result<Query<T>, QueryRejection>;

/// The identifier in a path, as text.
pub(super) type PathResult = Result<Path<String>, PathRejection>;

/// Returns the query, or the default if it is malformed.
pub(super) fn query_or_default<T: Default>(query: QueryResult<T>) -> T {
    query.map_or_else(|_| T::default(), |Query(query)| query)
}

/// Parses the identifier in a path.
pub(super) fn parse_id<T: FromStr>(id: &PathResult) -> Option<T> {
    id.as_ref().ok()?.parse().ok()
}

/// The change that was made right before a page is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Done {
    pub(super) done: String,
}

/// The form that confirms a change by the name of the record.
#[derive(Debug, Deserialize)]
pub(super) struct Confirmation {
    #[serde(default)]
    confirm: String,
}

impl Confirmation {
    /// Checks that the name of the `record` ("token", "app") was typed. If not, returns a notice that
    /// the record was not `done` ("revoked", "disabled"), and the field with its error.
    pub(super) fn check(self, name: &str, record: &str, done: &str) -> Result<(), (Notice, Field)> {
        if matches_typed(&self.confirm, name) {
            return Ok(());
        }
        let mut confirm = Field::with_value(self.confirm);
        confirm.set_error(format!("That doesn't match the {record}'s name."));
        let (title, detail) = match record {
            "app" => ("App", "To confirm, type the app's name below."),
            _ => ("Token", "To confirm, type the token's name below."),
        };
        let title = format!("{title} not {done}.");
        Err((Notice::new(Tone::Bad, title, detail), confirm))
    }
}
