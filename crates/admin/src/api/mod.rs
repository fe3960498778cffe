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
    routing::{get, post},
};
use http::{Method, StatusCode, Uri};

use super::{gate::Gate, problem::Problem};
use document::Document;
use extract::MAX_BODY;

pub(super) fn router(gate: Gate) -> Router {
    let document = Document::new(&gate);
    // The description names the same handlers, each with its own path.
    let router = Router::new()
        .route("/apps", get(apps::list_apps).post(apps::create_app))
        .route("/apps/{app}", get(apps::get_app))
        .route("/apps/{app}/disable", post(apps::disable_app))
        .route("/apps/{app}/enable", post(apps::enable_app))
        .route(
            "/tokens",
            get(tokens::list_tokens).post(tokens::issue_token),
        )
        .route(
            "/tokens/{token}",
            get(tokens::get_token).patch(tokens::rename_token),
        )
        .route("/tokens/{token}/rotate", post(tokens::rotate_token))
        .route("/tokens/{token}/revoke", post(tokens::revoke_token))
        .route("/events", get(events::list_events))
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
