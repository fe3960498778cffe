//! The style sheet, the script and the icon.
//!
//! They are served without authentication, so that error pages have styles too, and a browser
//! prompts for credentials only once.

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::get,
};
use http::header;

pub(super) fn router() -> Router {
    Router::new()
        .route("/assets/dashboard.css", get(style))
        .route("/assets/dashboard.js", get(script))
        .route("/assets/icon.svg", get(icon))
}

async fn style() -> Response {
    asset(
        "text/css; charset=utf-8",
        include_str!("../../templates/assets/dashboard.css"),
    )
}

async fn script() -> Response {
    asset(
        "text/javascript; charset=utf-8",
        include_str!("../../templates/assets/dashboard.js"),
    )
}

async fn icon() -> Response {
    asset(
        "image/svg+xml",
        include_str!("../../templates/assets/icon.svg"),
    )
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let fields = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "max-age=300"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (fields, text).into_response()
}
