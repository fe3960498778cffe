//! Who asks for a page, and what it has for them.

use axum::{Form, extract::FromRequestParts};
use http::{StatusCode, request::Parts};

use super::{message::Message, page::Page, request::Sent, settings::Settings};
use crate::operations::{OperationError, Operator};

/// Who asks for a page, and what it has for them.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) operator: Operator,
    pub(super) page: Page,
}

impl Session {
    /// What an operation gave, or the page that says why it did not.
    pub(super) fn tried<T>(&self, result: Result<T, OperationError>) -> Result<T, Message> {
        result.map_err(|error| Message::of_error(&self.page, &error))
    }

    /// What a form holds, or the page that says that the dashboard has no such form.
    pub(super) fn form<T>(&self, sent: Sent<T>) -> Result<T, Message> {
        match sent {
            Ok(Form(sent)) => Ok(sent),
            Err(error) => Err(Message::bad_form(&self.page, error.status())),
        }
    }
}

impl FromRequestParts<Settings> for Session {
    type Rejection = StatusCode;

    async fn from_request_parts(
        parts: &mut Parts,
        settings: &Settings,
    ) -> Result<Self, StatusCode> {
        let operator: Option<Operator> = parts.extensions.get().cloned();
        // The gate is around every page.
        let operator = operator.ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
        let can_switch = settings.takes_passwords;
        let page = Page::new(parts, operator.actor(), can_switch, operator.now());
        Ok(Self { operator, page })
    }
}
