//! The style sheet, the script and the icon.
//!
//! They are served without authentication, so that error pages have styles too, and a browser
//! prompts for credentials only once.

use std::{borrow::Cow, sync::Arc};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::header;

use super::brand::Brand;

/// The style sheet without a brand.
pub(super) const STYLE: &str = include_str!("../../templates/assets/dashboard.css");

pub(super) fn router(brand: Arc<Brand>) -> Router {
    Router::new()
        .route("/assets/dashboard.css", get(style))
        .route("/assets/dashboard.js", get(script))
        .route("/assets/icon.svg", get(icon))
        .with_state(brand)
}

async fn style(State(brand): State<Arc<Brand>>) -> Response {
    asset("text/css; charset=utf-8", brand.style())
}

async fn script() -> Response {
    let script = include_str!("../../templates/assets/dashboard.js");
    asset("text/javascript; charset=utf-8", script.into())
}

async fn icon() -> Response {
    let icon = include_str!("../../templates/assets/icon.svg");
    asset("image/svg+xml", icon.into())
}

fn asset(kind: &'static str, text: Cow<'static, str>) -> Response {
    let fields = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "max-age=300"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (fields, text).into_response()
}
