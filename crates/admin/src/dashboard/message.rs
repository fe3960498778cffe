//! Pages with a single message, such as an error.

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header, request::Parts};
use tower_api_tokens::{LifecycleErrorKind, TokenId};

use super::{
    brand::SignOut,
    curl::Snippet,
    errors, login,
    page::{Page, render},
    settings::Settings,
};
use crate::{
    gate::Refusal,
    guard::Denied,
    operations::{OperationError, OperationErrorKind},
    problem::{SOON, TOO_MANY_KEYS},
};

/// A page that ends the handling of a request.
#[derive(Debug)]
pub(super) struct Message(Box<Response>);

impl IntoResponse for Message {
    fn into_response(self) -> Response {
        *self.0
    }
}

/// Renders the page for a request that did not pass the gate.
pub(super) fn refused(settings: &Settings, request: &Parts, refusal: Refusal) -> Response {
    let mut page = Page::anonymous(settings, request);
    if let Refusal::Denied(denied) = &refusal
        && let Some(response) = login::redirect(denied, request, &page)
    {
        return response;
    }
    // A browser discards credentials after a 401 by itself, and keeps sending them after anything else.
    let is_unauthorized =
        matches!(&refusal, Refusal::Denied(denied) if denied.status == StatusCode::UNAUTHORIZED);
    if !is_unauthorized {
        let uses_basic = page.can_switch && request.headers.contains_key(header::AUTHORIZATION);
        let own = uses_basic.then(|| SignOut::Link(page.link("/sign-out")));
        page.sign_out = page.brand.sign_out().cloned().or(own);
    }
    let message = match refusal {
        Refusal::CrossSite => Message::cross_site(&page),
        Refusal::Denied(denied) => Message::denied(&page, denied),
    };
    message.into_response()
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage<'a> {
    page: &'a Page,
    title: &'a str,
    detail: &'a str,
    commands: &'a [Snippet],
    links: &'a [(&'a str, &'a str)],
}

const TO_TOKENS: (&str, &str) = ("/", "View all tokens");
const TRY_AGAIN: (&str, &str) = ("/", "Try again");
const SIGN_IN: (&str, &str) = ("/sign-in", "Sign in");
const SWITCH: (&str, &str) = ("/sign-in", "Use another account");
const TO_APPS: (&str, &str) = ("/apps", "View all apps");

impl Message {
    fn new(
        page: &Page,
        status: StatusCode,
        title: &str,
        detail: &str,
        links: &[(&str, &str)],
    ) -> Self {
        let message = MessagePage {
            page,
            title,
            detail,
            commands: &[],
            links,
        };
        Self(Box::new(render(status, &message)))
    }

    pub(super) fn no_such_page(page: &Page) -> Self {
        let detail = "Check the address, or start from the list of tokens.";
        let status = StatusCode::NOT_FOUND;
        Self::new(page, status, "Page not found", detail, &[TO_TOKENS])
    }

    pub(super) fn no_such_token(page: &Page) -> Self {
        let detail = "Check the address. The token may have been purged.";
        let status = StatusCode::NOT_FOUND;
        Self::new(page, status, "Token not found", detail, &[TO_TOKENS])
    }

    pub(super) fn no_such_app(page: &Page) -> Self {
        let detail = "Check the address, or choose an app from the list.";
        let status = StatusCode::NOT_FOUND;
        let link = match page.only_app() {
            Some(_) => TO_TOKENS,
            None => TO_APPS,
        };
        Self::new(page, status, "App not found", detail, &[link])
    }

    fn cross_site(page: &Page) -> Self {
        let detail = "Nothing was changed. To make changes, use the forms on these pages.";
        let title = "Request blocked: it came from another site";
        Self::new(page, StatusCode::FORBIDDEN, title, detail, &[TO_TOKENS])
    }

    /// The guard has denied the request.
    pub(super) fn denied(page: &Page, denied: Denied) -> Self {
        // The browser keeps sending the same account, so trying again alone would not help.
        let links = match denied.status {
            StatusCode::FORBIDDEN if page.can_switch => [SWITCH, TRY_AGAIN].as_slice(),
            _ => &[TRY_AGAIN],
        };
        let title = match denied.status {
            StatusCode::BAD_REQUEST => "Couldn't sign you in",
            StatusCode::UNAUTHORIZED => "Sign in to manage tokens",
            StatusCode::FORBIDDEN => "You can't manage tokens",
            _ => "Temporarily unavailable",
        };
        let detail = denied.browser_detail.unwrap_or(&denied.detail);
        let mut message = Self::new(page, denied.status, title, detail, links);
        message.0.headers_mut().extend(denied.headers);
        message
    }

    /// The page behind the browser's prompt after signing out, for an operator who cancels it.
    pub(super) fn signed_out(page: &Page, denied: Denied) -> Self {
        let detail = "Your browser no longer sends your credentials. Sign in again to continue.";
        let title = "You are signed out";
        let mut message = Self::new(page, denied.status, title, detail, &[SIGN_IN]);
        message.0.headers_mut().extend(denied.headers);
        message
    }

    /// The operator has made a change that locks them out.
    pub(super) fn locked_out(page: &Page, title: &str, detail: &str, commands: &[Snippet]) -> Self {
        let links = if page.can_switch {
            [SWITCH].as_slice()
        } else {
            &[TO_TOKENS]
        };
        let message = MessagePage {
            page,
            title,
            detail,
            commands,
            links,
        };
        Self(Box::new(render(StatusCode::OK, &message)))
    }

    pub(super) fn no_such_results(page: &Page) -> Self {
        let detail = "This page of results doesn't exist. Start from the first page.";
        let status = StatusCode::BAD_REQUEST;
        Self::new(page, status, "Invalid address", detail, &[TO_APPS])
    }

    /// The query has a form that no link or form of the dashboard creates.
    pub(super) fn invalid_filter(page: &Page) -> Self {
        let detail = "The filter in the address is invalid. Choose the filter on the page instead.";
        let status = StatusCode::BAD_REQUEST;
        Self::new(page, status, "Invalid address", detail, &[TO_TOKENS])
    }

    /// No token that still works matches the filter.
    pub(super) fn nothing_to_revoke(page: &Page) -> Self {
        let detail = "No token that matches the filters still works.";
        let status = StatusCode::NOT_FOUND;
        Self::new(page, status, "Nothing to revoke", detail, &[TO_TOKENS])
    }

    /// The form does not come from the dashboard, or is too large.
    pub(super) fn bad_form(page: &Page, status: StatusCode) -> Self {
        let detail = "Go back, reload the page, and fill in the form again.";
        Self::new(page, status, "Couldn't read the form", detail, &[TO_TOKENS])
    }

    pub(super) fn method_not_allowed(page: &Page) -> Self {
        let detail = "Reload the page that you came from, and use its buttons.";
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let title = "This address can't be opened directly";
        Self::new(page, status, title, detail, &[TO_TOKENS])
    }

    /// The form was submitted before, and created this token.
    pub(super) fn already_created(page: &Page, token: TokenId) -> Self {
        let link = format!("/token/{token}");
        Self::new(
            page,
            StatusCode::CONFLICT,
            "This token was created already",
            "You submitted the form before, so nothing was changed. A token can't be shown again: \
             if you didn't copy it, revoke it and create a new one.",
            &[(&link, "View token"), TO_TOKENS],
        )
    }

    /// An error that belongs to no field of a form.
    pub(super) fn from_error(page: &Page, error: &OperationError) -> Self {
        match error.kind() {
            OperationErrorKind::Lifecycle(LifecycleErrorKind::UnknownToken) => {
                Self::no_such_token(page)
            }
            OperationErrorKind::Lifecycle(LifecycleErrorKind::UnknownApp) => {
                Self::no_such_app(page)
            }
            OperationErrorKind::Lifecycle(
                LifecycleErrorKind::Store | LifecycleErrorKind::Entropy,
            ) => Self::unavailable(page),
            OperationErrorKind::Lifecycle(
                LifecycleErrorKind::ReadOnly | LifecycleErrorKind::NotPermitted,
            ) => {
                let (detail, status) = (errors::in_change(error), StatusCode::FORBIDDEN);
                Self::new(page, status, "You can't change this", &detail, &[TO_TOKENS])
            }
            OperationErrorKind::Lifecycle(LifecycleErrorKind::TooManyKeys) => {
                let (detail, status) = (errors::in_change(error), StatusCode::SERVICE_UNAVAILABLE);
                let message = Self::new(page, status, "Nothing was changed", &detail, &[TRY_AGAIN]);
                message.retry_after(TOO_MANY_KEYS)
            }
            _ => {
                let detail = errors::in_change(error);
                let status = StatusCode::CONFLICT;
                Self::new(page, status, "Nothing was changed", &detail, &[TO_TOKENS])
            }
        }
    }

    fn unavailable(page: &Page) -> Self {
        let message = Self::new(
            page,
            StatusCode::SERVICE_UNAVAILABLE,
            "Can't reach the token database",
            "Tokens can't be shown or changed right now. If you were making a change, check whether \
             it went through before you try again.",
            &[TRY_AGAIN],
        );
        message.retry_after(SOON)
    }

    fn retry_after(mut self, seconds: &'static str) -> Self {
        let seconds = HeaderValue::from_static(seconds);
        self.0.headers_mut().insert(header::RETRY_AFTER, seconds);
        self
    }
}
