//! The style sheet, the script and the icon.

use axum::response::{IntoResponse, Response};
use http::header;

pub(super) async fn style() -> Response {
    asset(
        "text/css; charset=utf-8",
        include_str!("../../../templates/assets/dashboard.css"),
    )
}

pub(super) async fn script() -> Response {
    asset(
        "text/javascript; charset=utf-8",
        include_str!("../../../templates/assets/dashboard.js"),
    )
}

pub(super) async fn icon() -> Response {
    asset(
        "image/svg+xml",
        include_str!("../../../templates/assets/icon.svg"),
    )
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
