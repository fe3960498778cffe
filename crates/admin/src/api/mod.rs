//! The JSON API.

mod apps;
mod cursor;
mod document;
mod events;
mod extract;
mod fields;
mod tokens;

use axum::{
    Router,
    extract::{DefaultBodyLimit, OriginalUri},
    response::{IntoResponse, Redirect},
    routing::get,
};
use http::{Method, StatusCode, Uri};

use super::{gate::Gate, problem::Problem};
use document::Document;
use extract::MAX_BODY;

pub(super) fn router(gate: Gate) -> Router {
    let document = Document::new(&gate);
    let router = Router::new()
        .merge(apps::routes())
        .merge(tokens::routes())
        .merge(events::routes())
        .route("/openapi.json", get(document::get_document))
        .route("/", get(to_document))
        .method_not_allowed_fallback(wrong_method)
        .fallback(nothing_there)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(document);
    gate.around(router, |_, _, refusal| {
        Problem::from(refusal).into_response()
    })
}

/// Leads from where the API is mounted to its description.
async fn to_document(OriginalUri(uri): OriginalUri) -> Redirect {
    Redirect::temporary(&format!(
        "{}/openapi.json",
        uri.path().trim_end_matches('/')
    ))
}

async fn nothing_there(uri: Uri) -> Problem {
    let detail = format!("there is nothing at {}; see /openapi.json", uri.path());
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let detail = format!(
        "{} does not take {method}; `Allow` has what it takes",
        uri.path()
    );
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}
