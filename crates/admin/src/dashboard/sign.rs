//! Signing out, and signing in as someone else, where the browser asks for a password.
//!
//! A browser goes on to send a password until it is refused. So signing out is an answer of 401 to
//! the account that is left, which makes the browser forget its password and ask for another. The
//! account is named by the address, so that the next one, with which the browser repeats the
//! request, is let in.

use std::sync::Arc;

use axum::{
    Extension, Router,
    body::Body,
    extract::Request,
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header::AUTHORIZATION, request::Parts};
use serde::Deserialize;

use super::{
    message::Message,
    page::{Page, sign_out_path},
    request::{Asked, query},
};
use crate::{
    gate::{Gate, keep_private},
    guard::Denied,
};

/// The pages outside of the gate: it lets nobody through who may not manage tokens, and they need
/// another account most.
pub(super) fn router(gate: Gate) -> Router {
    Router::new()
        .route("/sign-in", get(sign_in))
        .route("/sign-out", get(sign_out))
        .layer(map_response(keep_private))
        .layer(Extension(Arc::new(gate)))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Left {
    account: String,
}

/// Asks for a password, unless the request has one that is let in.
async fn sign_in(Extension(gate): Extension<Arc<Gate>>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let page = Page::of_nobody(&gate, &parts);
    if !gate.takes_passwords() {
        return Message::no_such_page(&page).into_response();
    }
    match gate.guard.authenticate(&mut parts).await {
        Ok(_) => page.go_to("/"),
        Err(denied) => ask(&gate, parts, denied, Message::denied).await,
    }
}

/// Asks for another password than that of the account that is left.
async fn sign_out(
    Extension(gate): Extension<Arc<Gate>>,
    left: Asked<Left>,
    request: Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    let page = Page::of_nobody(&gate, &parts);
    if !gate.takes_passwords() {
        return Message::no_such_page(&page).into_response();
    }
    let left = query(left).account;
    match gate.guard.authenticate(&mut parts).await {
        Ok(actor) => {
            let path = sign_out_path(&actor);
            if path.ends_with(&format!("={left}")) {
                let denied = Denied::forbidden("");
                ask(&gate, parts, denied, Message::signed_out).await
            } else if left.is_empty() {
                page.go_to(&path)
            } else {
                page.go_to("/")
            }
        }
        Err(denied) => ask(&gate, parts, denied, Message::signed_out).await,
    }
}

/// What the guard answers to a request without a password, which makes a browser ask for one.
async fn ask(
    gate: &Gate,
    mut parts: Parts,
    denied: Denied,
    render: fn(&Page, Denied) -> Message,
) -> Response {
    let page = Page::of_nobody(gate, &parts);
    if denied.status == StatusCode::SERVICE_UNAVAILABLE {
        return Message::denied(&page, denied).into_response();
    }
    parts.headers.remove(AUTHORIZATION);
    match gate.guard.authenticate(&mut parts).await {
        Err(Denied {
            response: Some(response),
            ..
        }) => response.map(Body::from),
        // Something else than a password lets the request in.
        Ok(_) => page.go_to("/"),
        Err(denied) if denied.status == StatusCode::UNAUTHORIZED => {
            render(&page, denied).into_response()
        }
        Err(denied) => Message::denied(&page, denied).into_response(),
    }
}
