//! The JSON API.

mod apps;
mod cursor;
mod document;
mod events;
mod extract;
mod fields;
mod tokens;
mod view;

use axum::{
    Router,
    extract::{DefaultBodyLimit, OriginalUri},
    response::{IntoResponse, Redirect},
    routing::get,
};
use http::{Method, StatusCode, Uri};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{gate::Gate, problem::Problem};
use document::Document;

/// The longest body of a request, in bytes.
const MAX_BODY: usize = 16 * 1024;

pub(super) fn router(gate: Gate) -> Router {
    let (router, description) = OpenApiRouter::with_openapi(document::outline())
        .routes(routes!(apps::list_apps, apps::create_app))
        .routes(routes!(apps::get_app))
        .routes(routes!(apps::disable_app))
        .routes(routes!(apps::enable_app))
        .routes(routes!(tokens::list_tokens, tokens::issue_token))
        .routes(routes!(tokens::get_token, tokens::rename_token))
        .routes(routes!(tokens::rotate_token))
        .routes(routes!(tokens::revoke_token))
        .routes(routes!(events::list_events))
        .routes(routes!(document::get_document))
        .split_for_parts();
    let document = Document::new(description, &gate);
    let router = router
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
