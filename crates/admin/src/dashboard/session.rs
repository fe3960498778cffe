//! The signed-in operator, and what every page needs.

use axum::{Form, extract::FromRequestParts};
use http::{StatusCode, request::Parts};
use tower_api_tokens::AuditAction;

use super::{message::Message, page::Page, request::FormResult, settings::Settings};
use crate::operations::{OperationError, Operator};

/// The signed-in operator, and what every page needs.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) operator: Operator,
    pub(super) page: Page,
}

impl Session {
    /// Returns the result of an operation, or the page that shows its error.
    pub(super) fn or_error_page<T>(&self, result: Result<T, OperationError>) -> Result<T, Message> {
        result.map_err(|error| Message::from_error(&self.page, &error))
    }

    /// Returns whether the operator may grant everything, and therefore set the policy, delete apps and
    /// edit their metadata.
    pub(super) fn is_owner(&self) -> bool {
        let may_set_policy = self.page.allows(AuditAction::SetPolicy);
        may_set_policy && self.operator.actor().grantable().is_everything()
    }

    /// Checks that the limits of the operator allow an action, before a page with its form is shown.
    pub(super) fn check(&self, action: AuditAction) -> Result<(), Message> {
        self.or_error_page(self.operator.check_action(action))
    }

    /// Checks that the limits of the operator allow an action whose form was submitted. A refusal is
    /// recorded.
    pub(super) async fn require(&self, action: AuditAction) -> Result<(), Message> {
        self.or_error_page(self.operator.require_action(action).await)
    }

    /// Returns the content of a form, or a page that explains that it is malformed.
    pub(super) fn read_form<T>(&self, form: FormResult<T>) -> Result<T, Message> {
        match form {
            Ok(Form(form)) => Ok(form),
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
        // The gate has put it there for every page.
        let operator = operator.ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
        let page = Page::new(parts, &operator, settings);
        Ok(Self { operator, page })
    }
}
