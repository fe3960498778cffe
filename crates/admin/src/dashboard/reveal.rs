//! The page that shows a new token, once.

use std::time::Duration;

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use tower_api_tokens::{IssuedToken, TokenRecord};

use super::{
    curl, lockout,
    names::visible,
    page::{Page, render},
    session::Session,
    settings::Settings,
    text::relative_time,
    view::{Notice, Tone},
};

#[derive(Template)]
#[template(path = "reveal.html")]
struct RevealPage<'a> {
    page: &'a Page,
    title: &'static str,
    notice: Notice,
    id: String,
    name: String,
    app: String,
    secret: &'a str,
    curl: Option<String>,
    old: Option<OldToken>,
}

/// The token that was rotated.
struct OldToken {
    id: String,
    next_step: String,
}

pub(super) fn created(page: &Page, settings: &Settings, issued: &IssuedToken) -> Response {
    show(page, settings, "Token created", issued, None)
}

pub(super) fn rotated(
    session: &Session,
    settings: &Settings,
    issued: &IssuedToken,
    old: &TokenRecord,
    overlap: Duration,
) -> Response {
    let page = &session.page;
    let overlap_ends = page.now.checked_add(overlap).unwrap_or(Timestamp::MAX);
    let ends = old
        .expires_at
        .map_or(overlap_ends, |at| at.min(overlap_ends));
    let mut next_step = if ends > page.now {
        format!(
            "Replace the old token everywhere you use it. It stops working {}. Its page shows \
             whether it is still in use.",
            relative_time(ends, page.now)
        )
    } else {
        "The old token no longer works. Replace it everywhere you use it.".to_owned()
    };
    if lockout::is_own(session, old) {
        next_step += " You signed in with the old token: sign in with the new one from now on.";
    }
    let old = OldToken {
        id: old.id.to_string(),
        next_step,
    };
    show(page, settings, "Token rotated", issued, Some(old))
}

fn show(
    page: &Page,
    settings: &Settings,
    title: &'static str,
    issued: &IssuedToken,
    old: Option<OldToken>,
) -> Response {
    let record = issued.record();
    let secret = issued.token().expose();
    let shown = RevealPage {
        page,
        title,
        notice: Notice::new(
            Tone::Warn,
            "Copy your token now. You won't see it again.",
            "We store only a hash. Keep the token in a secrets manager.",
        ),
        id: record.id.to_string(),
        name: visible(&record.name),
        app: visible(&record.app.name),
        secret,
        curl: settings
            .service_url
            .as_deref()
            .map(|url| curl::with_token(secret, url)),
        old,
    };
    render(StatusCode::OK, &shown)
}
