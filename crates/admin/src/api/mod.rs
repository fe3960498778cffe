//! The JSON API.

mod apps;
mod cursor;
mod document;
mod events;
mod extract;
mod fields;
mod filter;
mod list;
mod nodes;
mod params;
mod policy;
mod report;
mod revision;
mod revocation;
mod search;
mod tokens;
mod values;

use axum::{
    Router,
    extract::{DefaultBodyLimit, OriginalUri},
    middleware::from_fn,
    response::{IntoResponse, Redirect},
    routing::get,
};
use http::{HeaderName, Method, StatusCode, Uri, header::ETAG};
use tower_api_tokens::RecordVersion;

use super::{gate::Gate, problem::Problem};
use document::Document;
use extract::MAX_BODY;

pub(super) fn router(gate: Gate) -> Router {
    let document = Document::new(&gate);
    let router = Router::new()
        .merge(apps::routes())
        .merge(list::routes())
        .merge(search::routes())
        .merge(revocation::routes())
        .merge(report::routes())
        .merge(tokens::routes())
        .merge(policy::routes())
        .merge(events::routes())
        .merge(nodes::routes())
        .route("/openapi.json", get(document::get_document))
        .route("/", get(redirect_to_document))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(from_fn(revision::add))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(document);
    gate.protect(router, |_, refusal| Problem::from(refusal).into_response())
}

/// Redirects from the mount path to the OpenAPI document.
async fn redirect_to_document(OriginalUri(uri): OriginalUri) -> Redirect {
    Redirect::temporary(&format!(
        "{}/openapi.json",
        uri.path().trim_end_matches('/')
    ))
}

async fn not_found(uri: Uri) -> Problem {
    let detail = format!(
        "no endpoint at `{}`; see `/openapi.json` for all endpoints",
        uri.path()
    );
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!(
        "`{}` does not support {method}; use a method from the `Allow` header",
        uri.path()
    );
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// Returns the entity tag of a record.
fn tagged(version: RecordVersion) -> [(HeaderName, String); 1] {
    [(ETAG, format!("\"{version}\""))]
}
