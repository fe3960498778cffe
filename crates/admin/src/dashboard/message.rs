//! Pages that say one thing: why there is nothing else to see.

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header, request::Parts};
use tower_api_tokens::{LifecycleErrorKind, TokenId};

use super::{
    curl::Snippet,
    page::{Page, render},
};
use crate::{
    gate::{Gate, Refusal},
    guard::Denied,
    operations::{OperationError, OperationErrorKind},
};

/// A page that ends the handling of a request.
#[derive(Debug)]
pub(super) struct Message(Box<Response>);

impl IntoResponse for Message {
    fn into_response(self) -> Response {
        *self.0
    }
}

/// Shows why a request did not pass the gate.
pub(super) fn refusal(gate: &Gate, request: &Parts, refusal: Refusal) -> Response {
    let page = Page::of_nobody(gate, request);
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
    says: &'a str,
    commands: &'a [Snippet],
    links: &'a [(&'a str, &'a str)],
}

const TO_TOKENS: (&str, &str) = ("/", "Show all tokens");
const TRY_AGAIN: (&str, &str) = ("/", "Try again");
const SIGN_IN: (&str, &str) = ("/sign-in", "Sign in");
const SWITCH: (&str, &str) = ("/sign-in", "Use another account");
const TO_APPS: (&str, &str) = ("/apps", "Show all apps");

impl Message {
    fn new(
        page: &Page,
        status: StatusCode,
        title: &str,
        says: &str,
        links: &[(&str, &str)],
    ) -> Self {
        let message = MessagePage {
            page,
            title,
            says,
            commands: &[],
            links,
        };
        Self(Box::new(render(status, &message)))
    }

    pub(super) fn no_such_page(page: &Page) -> Self {
        let says = "The address may be mistyped, or the page has moved.";
        Self::new(
            page,
            StatusCode::NOT_FOUND,
            "There is no such page",
            says,
            &[TO_TOKENS],
        )
    }

    pub(super) fn no_such_token(page: &Page) -> Self {
        let says = "It was purged, or the address is mistyped.";
        Self::new(
            page,
            StatusCode::NOT_FOUND,
            "There is no such token",
            says,
            &[TO_TOKENS],
        )
    }

    pub(super) fn no_such_app(page: &Page) -> Self {
        let says = "The address may be mistyped.";
        Self::new(
            page,
            StatusCode::NOT_FOUND,
            "There is no such app",
            says,
            &[TO_APPS],
        )
    }

    /// Another site made the browser send the request.
    fn cross_site(page: &Page) -> Self {
        let says = "Nothing was changed. To change something, use the forms on these pages.";
        let title = "Request blocked: it came from another site";
        Self::new(page, StatusCode::FORBIDDEN, title, says, &[TO_TOKENS])
    }

    /// What a guard answered to a request without a known account, or with one that may not manage
    /// tokens.
    pub(super) fn denied(page: &Page, denied: Denied) -> Self {
        // A browser goes on to send the account that may not, so a second try alone helps nobody.
        let links = match denied.status {
            StatusCode::FORBIDDEN if page.can_switch => [SWITCH, TRY_AGAIN].as_slice(),
            _ => &[TRY_AGAIN],
        };
        let title = match denied.status {
            StatusCode::UNAUTHORIZED => "Sign in to manage tokens",
            StatusCode::FORBIDDEN => "You may not manage tokens",
            _ => "Not now",
        };
        let mut message = Self::new(page, denied.status, title, &denied.detail, links);
        message.0.headers_mut().extend(denied.headers);
        message
    }

    /// What a browser shows when the person whom it asks for another password has none.
    pub(super) fn signed_out(page: &Page, denied: Denied) -> Self {
        let says = "Your browser has dropped the password. Sign in again with this account or \
                    another one.";
        let title = "You are signed out";
        let mut message = Self::new(page, denied.status, title, says, &[SIGN_IN]);
        message.0.headers_mut().extend(denied.headers);
        message
    }

    /// A change was made that has locked out the person who made it.
    pub(super) fn locked_out(page: &Page, title: &str, says: &str, commands: &[Snippet]) -> Self {
        let links = if page.can_switch {
            [SWITCH].as_slice()
        } else {
            &[TO_TOKENS]
        };
        let message = MessagePage {
            page,
            title,
            says,
            commands,
            links,
        };
        Self(Box::new(render(StatusCode::OK, &message)))
    }

    pub(super) fn no_such_page_of_apps(page: &Page) -> Self {
        Self::bad_request(page, "There is no such page of apps: go to the first.")
    }

    /// A query that no page of the dashboard makes.
    pub(super) fn bad_request(page: &Page, says: &str) -> Self {
        let title = "This was not understood";
        Self::new(page, StatusCode::BAD_REQUEST, title, says, &[TO_TOKENS])
    }

    /// A form that is not as the dashboard makes it.
    pub(super) fn bad_form(page: &Page, status: StatusCode) -> Self {
        let says = "Go back, load the page anew, and fill in its form once more.";
        Self::new(
            page,
            status,
            "The form was not understood",
            says,
            &[TO_TOKENS],
        )
    }

    pub(super) fn method_not_allowed(page: &Page) -> Self {
        let says = "Open the page anew and use its buttons.";
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self::new(
            page,
            status,
            "This page cannot be used like this",
            says,
            &[TO_TOKENS],
        )
    }

    /// The form was sent before, and made this token.
    pub(super) fn made_before(page: &Page, token: TokenId) -> Self {
        let link = format!("/token/{token}");
        Self::new(
            page,
            StatusCode::CONFLICT,
            "This token was created already",
            "The form was sent once more, and nothing was done. The token was shown when it was \
             created and is not shown again: if it was not copied then, revoke it and create another.",
            &[(&link, "See the token"), TO_TOKENS],
        )
    }

    /// An error that no field of a form explains.
    pub(super) fn of_error(page: &Page, error: &OperationError) -> Self {
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
            _ => {
                let says = error.to_string();
                Self::new(
                    page,
                    StatusCode::CONFLICT,
                    "This was not done",
                    &says,
                    &[TO_TOKENS],
                )
            }
        }
    }

    fn unavailable(page: &Page) -> Self {
        let mut message = Self::new(
            page,
            StatusCode::SERVICE_UNAVAILABLE,
            "The token store does not answer",
            "Tokens are neither shown nor changed until it does. If you were changing something, \
             look whether it was done before you try again.",
            &[TRY_AGAIN],
        );
        let soon = HeaderValue::from_static("1");
        message.0.headers_mut().insert(header::RETRY_AFTER, soon);
        message
    }
}
