//! The only page that shows a token.

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
    view::{Notice, Tone},
    words::from_now,
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
    says: String,
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
    let mut says = if ends > page.now {
        format!(
            "Give this token to everything that uses the old one, which stops working {}. \
             Its page says whether it is still in use.",
            from_now(ends, page.now)
        )
    } else {
        "The old token does not work any more: give this one to everything that used it.".to_owned()
    };
    if lockout::is_own(session, old) {
        says += " You are signed in with the old token: sign in with this one from then on.";
    }
    let old = OldToken {
        id: old.id.to_string(),
        says,
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
            "Copy the token now. It is not shown again.",
            "Only its digest is stored. Anyone who has the token can use it, so store it as a secret.",
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
