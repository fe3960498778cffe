//! The page that finds a token by its text. The text is in the body of a form only, and is never shown.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use tower_api_tokens::LifecycleErrorKind;

use super::{
    message::Message,
    page::{Page, render},
    request::FormResult,
    session::Session,
};
use crate::operations::OperationErrorKind;

#[derive(Template)]
#[template(path = "find.html")]
struct FindPage {
    page: Page,
    /// Why no token was found.
    error: Option<&'static str>,
}

/// The form. It has no `Debug` output, so that the text is never logged.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Pasted {
    token: String,
}

pub(super) async fn show(session: Session) -> Response {
    let page = session.page;
    render(StatusCode::OK, &FindPage { page, error: None })
}

pub(super) async fn find(session: Session, form: FormResult<Pasted>) -> Result<Response, Message> {
    let form = session.read_form(form)?;
    if form.token.trim().is_empty() {
        let error = "Paste a token.";
        return Ok(failed(session, StatusCode::UNPROCESSABLE_ENTITY, error));
    }
    match session.operator.find_token(&form.token).await {
        Ok(Some(token)) => Ok(session.page.go_to(&format!("/token/{}", token.id))),
        Ok(None) => {
            let error = "No token has this text. It may have been purged.";
            Ok(failed(session, StatusCode::NOT_FOUND, error))
        }
        Err(error) if error.kind() == FOREIGN_FORMAT => {
            let error = "This isn't a token of this service. Check that you copied all of it.";
            Ok(failed(session, StatusCode::UNPROCESSABLE_ENTITY, error))
        }
        Err(error) => Err(Message::from_error(&session.page, &error)),
    }
}

const FOREIGN_FORMAT: OperationErrorKind =
    OperationErrorKind::Lifecycle(LifecycleErrorKind::ForeignFormat);

fn failed(session: Session, status: StatusCode, error: &'static str) -> Response {
    let page = session.page;
    let error = Some(error);
    render(status, &FindPage { page, error })
}
