//! Signing out, and switching accounts, with HTTP Basic authentication.
//!
//! A browser keeps sending its credentials until they are rejected. So the sign-out page answers 401
//! to the account that signs out, which makes the browser discard the credentials and prompt for
//! others. The URL identifies that account, so that the next one, with which the browser repeats the
//! request, is let in.

use std::sync::Arc;

use axum::{
    Extension, Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header::AUTHORIZATION, request::Parts};
use serde::Deserialize;
use tower::util::MapResponseLayer;

use super::{
    message::Message,
    page::{Page, sign_out_path},
    request::{QueryResult, query_or_default},
    settings::Settings,
};
use crate::{
    gate::{Gate, set_no_store},
    guard::Denied,
};

/// Creates the router of the sign-in pages. They are outside the gate, because an account without
/// permission to manage tokens must be able to switch.
pub(super) fn router(gate: Gate, settings: Settings) -> Router {
    Router::new()
        .route("/sign-in", get(sign_in))
        .route("/sign-out", get(sign_out))
        .layer(MapResponseLayer::new(set_no_store))
        .layer(Extension(Arc::new(gate)))
        .with_state(settings)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SignOut {
    account: String,
}

/// Prompts for credentials, unless the request has valid ones.
async fn sign_in(
    State(settings): State<Settings>,
    Extension(gate): Extension<Arc<Gate>>,
    request: Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    let page = Page::anonymous(&settings, &parts);
    if !page.can_switch {
        return Message::no_such_page(&page).into_response();
    }
    match gate.guard.authenticate(&mut parts).await {
        Ok(_) => page.go_to("/"),
        Err(denied) => prompt(&gate, &page, parts, denied, Message::denied).await,
    }
}

/// Prompts for the credentials of another account.
async fn sign_out(
    State(settings): State<Settings>,
    Extension(gate): Extension<Arc<Gate>>,
    query: QueryResult<SignOut>,
    request: Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    let page = Page::anonymous(&settings, &parts);
    if !page.can_switch {
        return Message::no_such_page(&page).into_response();
    }
    let account = query_or_default(query).account;
    match gate.guard.authenticate(&mut parts).await {
        Ok(actor) => {
            let path = sign_out_path(&actor);
            if path.ends_with(&format!("={account}")) {
                let denied = Denied::forbidden("");
                prompt(&gate, &page, parts, denied, Message::signed_out).await
            } else if account.is_empty() {
                page.go_to(&path)
            } else {
                page.go_to("/")
            }
        }
        Err(denied) => prompt(&gate, &page, parts, denied, Message::signed_out).await,
    }
}

/// Returns what the guard answers to a request without credentials, which makes a browser prompt.
async fn prompt(
    gate: &Gate,
    page: &Page,
    mut parts: Parts,
    denied: Denied,
    render: fn(&Page, Denied) -> Message,
) -> Response {
    if denied.status == StatusCode::SERVICE_UNAVAILABLE {
        return Message::denied(page, denied).into_response();
    }
    parts.headers.remove(AUTHORIZATION);
    match gate.guard.authenticate(&mut parts).await {
        Err(Denied {
            response: Some(response),
            ..
        }) => response.map(Body::from),
        // The guard accepts the request for another reason, such as a cookie.
        Ok(_) => page.go_to("/"),
        Err(denied) if denied.status == StatusCode::UNAUTHORIZED => {
            render(page, denied).into_response()
        }
        Err(denied) => Message::denied(page, denied).into_response(),
    }
}
