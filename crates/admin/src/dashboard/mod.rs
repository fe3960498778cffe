//! The dashboard: web pages on which operators manage apps and tokens.
//!
//! The gate authenticates each request. Then the module of the page runs one operation and renders
//! one template, and [`headers`] adds the security headers. Every page works without scripts; the
//! one script copies tokens and identifiers, and adds local times.
//!
//! A token is shown only in the response to the form that created it. The form contains an
//! idempotency key, so submitting it again, by a reload or after going back, creates no second token.

mod activity;
mod app;
mod app_choice;
mod app_edit;
mod app_page;
mod apps;
mod assets;
pub(super) mod brand;
mod color;
mod contrast;
mod create;
mod csv;
mod curl;
mod directory;
mod edit;
mod edit_page;
mod errors;
mod event;
mod expiry;
mod filter_form;
mod find;
mod form_key;
mod headers;
mod history;
mod input;
mod lifetime;
mod lines;
mod list;
mod lockout;
mod login;
mod message;
mod names;
mod nodes;
mod overview;
mod page;
mod pager;
mod policy;
mod request;
mod reveal;
mod revocation;
mod scope_choice;
mod session;
mod settings;
mod sign;
mod text;
mod token;
mod token_edit;
mod token_filter;
mod token_page;
mod total;
mod usage;
mod view;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::map_response,
    routing::{get, post},
};
use http::request::Parts;

use super::gate::Gate;
use brand::Brand;
use message::Message;
use session::Session;
use settings::Settings;

/// The maximum length of a form, in bytes.
const MAX_FORM: usize = 64 * 1024;

/// Creates the router of the pages, behind the gate. Their `curl` commands call `service_url`.
pub(super) fn router(gate: Gate, service_url: Option<Arc<str>>, brand: Arc<Brand>) -> Router {
    let settings = Settings {
        service_url,
        uses_basic_auth: gate.uses_basic_auth(),
        brand: brand.clone(),
    };
    let pages = Router::new()
        .route("/", get(list::show))
        .route("/find", get(find::show).post(find::find))
        .route("/overview", get(overview::show))
        .route("/revoke", get(revocation::show).post(revocation::revoke))
        .route("/new", get(create::show).post(create::create))
        .route("/token/{id}", get(token::show))
        .route("/token/{id}/rename", post(token::rename))
        .route(
            "/token/{id}/edit",
            get(edit::show::<token_edit::Form>).post(edit::save::<token_edit::Form>),
        )
        .route("/token/{id}/suspend", post(token::suspend))
        .route("/token/{id}/resume", post(token::resume))
        .route("/token/{id}/rotate", post(token::rotate))
        .route("/token/{id}/revoke", post(token::revoke))
        .route("/apps", get(apps::show).post(apps::create))
        .route("/apps/{id}", get(app::show))
        .route(
            "/apps/{id}/edit",
            get(edit::show::<app_edit::Form>).post(edit::save::<app_edit::Form>),
        )
        .route("/apps/{id}/delete", post(app::delete))
        .route("/apps/{id}/disable", post(app::disable))
        .route("/apps/{id}/enable", post(app::enable))
        .route(
            "/policy",
            get(policy::show).post(edit::save::<policy::Form>),
        )
        .route("/nodes", get(nodes::show))
        .route("/activity", get(activity::show))
        .route("/tokens.csv", get(list::export))
        .route("/apps.csv", get(apps::export))
        .route("/activity.csv", get(activity::export))
        .fallback(no_such_page)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .with_state(settings.clone());
    let sign = sign::router(gate.clone(), settings.clone());
    let refuse = move |request: &Parts, refusal| message::refused(&settings, request, refusal);
    gate.protect(pages, refuse)
        .merge(sign)
        .merge(assets::router(brand))
        .layer(map_response(headers::secure))
}

async fn no_such_page(session: Session) -> Message {
    Message::no_such_page(&session.page)
}

async fn method_not_allowed(session: Session) -> Message {
    Message::method_not_allowed(&session.page)
}
