//! The dashboard: pages on which people manage apps and tokens.
//!
//! The path of a request: the gate turns away who may not, the page's own module does one operation
//! and renders one template, and [`headers`] binds the browser. A page needs no script; the one
//! there is copies a token.
//!
//! A token is shown in the answer to the form that made it, and nowhere else. The form has a number
//! that makes it known again when it is sent twice: by a reload, or by going back and sending it
//! anew.

mod app;
mod app_choice;
mod apps;
mod assets;
#[cfg(test)]
mod contrast;
mod create;
mod curl;
mod event;
mod form_key;
mod headers;
mod list;
mod lockout;
mod message;
mod names;
mod page;
mod request;
mod reveal;
mod session;
mod settings;
mod sign;
mod token;
mod token_page;
mod usage;
mod view;
mod words;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::map_response,
    routing::{get, post},
};

use super::gate::Gate;
use message::Message;
use session::Session;
use settings::Settings;

/// The longest form, in bytes.
const MAX_FORM: usize = 64 * 1024;

/// The pages, behind the gate. Their `curl` lines call `service_url`.
pub(super) fn router(gate: Gate, service_url: Option<Arc<str>>) -> Router {
    let settings = Settings {
        service_url,
        takes_passwords: gate.takes_passwords(),
    };
    let pages = Router::new()
        .route("/", get(list::show))
        .route("/new", get(create::show).post(create::create))
        .route("/token/{id}", get(token::show))
        .route("/token/{id}/rename", post(token::rename))
        .route("/token/{id}/rotate", post(token::rotate))
        .route("/token/{id}/revoke", post(token::revoke))
        .route("/apps", get(apps::show).post(apps::create))
        .route("/apps/{id}", get(app::show))
        .route("/apps/{id}/disable", post(app::disable))
        .route("/apps/{id}/enable", post(app::enable))
        .fallback(no_such_page)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .with_state(settings);
    let sign = sign::router(gate.clone());
    gate.around(pages, message::refusal)
        .merge(sign)
        .merge(assets::router())
        .layer(map_response(headers::secure))
}

async fn no_such_page(session: Session) -> Message {
    Message::no_such_page(&session.page)
}

async fn method_not_allowed(session: Session) -> Message {
    Message::method_not_allowed(&session.page)
}
