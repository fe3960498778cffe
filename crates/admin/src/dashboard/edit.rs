//! Requests to a form that edits a record: show and save.
//!
//! The form contains the version of the record that it shows. If the record was changed since, saving
//! the form changes nothing, and shows the form again beside what is saved now.

use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use tower_api_tokens::{AuditAction, RecordVersion};

use super::{
    errors::{self, FIX_FIELDS},
    message::Message,
    request::FormResult,
    session::Session,
    view::{Notice, Tone},
};
use crate::operations::{OperationError, Operator};

/// A form that edits a record.
pub(super) trait EditForm: Sized + Send + Sync {
    /// What identifies the record in the path of a request.
    type Key: Send + Sync;
    type Record: Send + Sync;
    /// The form as submitted.
    type Submitted: Send;
    /// What the form changes in the record.
    type Edit: Send;

    /// What saving the form does.
    const ACTION: AuditAction;
    /// What notices call the record.
    const RECORD: &'static str;
    /// The value of `done` in the address that a saved form leads to.
    const DONE: &'static str;

    /// Returns the form of a record as it is saved.
    fn of(record: &Self::Record) -> Self;

    /// Looks up the record. Returns a page with the error if it cannot be read.
    fn find(
        session: &Session,
        key: &Self::Key,
    ) -> impl Future<Output = Result<Self::Record, Message>> + Send;

    fn version(record: &Self::Record) -> RecordVersion;

    /// Returns the path of the record's own page.
    fn path(record: &Self::Record) -> String;

    /// Returns the version of the record that the form showed, as text.
    fn submitted_version(submitted: &Self::Submitted) -> &str;

    /// Validates the submitted fields, and returns what they change in the record. Returns `None` if
    /// they change nothing.
    fn read_edit(
        submitted: Self::Submitted,
        record: &Self::Record,
        now: Timestamp,
    ) -> (Self, Option<Self::Edit>);

    fn has_error(&self) -> bool;

    /// Sets an error at the field that it belongs to. Returns false if it belongs to none.
    fn set_error(&mut self, error: &OperationError) -> bool;

    /// Applies an edit to the record, if the record still has this version.
    fn save(
        operator: &Operator,
        record: &Self::Record,
        edit: Self::Edit,
    ) -> impl Future<Output = Result<(), OperationError>> + Send;

    /// Renders the page with the form.
    fn render(
        &self,
        session: Session,
        record: &Self::Record,
        state: FormState,
    ) -> impl Future<Output = Result<Response, Message>> + Send;
}

/// What became of a form before it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FormState {
    /// It was opened.
    Opened,
    /// It was submitted, and a field has an error.
    Invalid,
    /// It was submitted, but overtaken by another edit.
    Overtaken,
}

impl FormState {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Opened => StatusCode::OK,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Overtaken => StatusCode::CONFLICT,
        }
    }

    /// Returns why the `record` was not saved.
    pub(super) fn notice(self, record: &str) -> Option<Notice> {
        match self {
            Self::Opened => None,
            Self::Invalid => Some(Notice::new(
                Tone::Bad,
                format!("{record} not saved."),
                FIX_FIELDS,
            )),
            Self::Overtaken => Some(Notice::new(
                Tone::Bad,
                format!("{record} not saved: it was changed after you opened this form."),
                "Your input is kept. Compare it with the saved values, then save again.",
            )),
        }
    }

    /// Returns the form of the record as it is saved, if what was typed is compared with it.
    pub(super) fn saved<F: EditForm>(self, record: &F::Record) -> Option<F> {
        (self == Self::Overtaken).then(|| F::of(record))
    }
}

pub(super) async fn show<F: EditForm>(session: Session, key: F::Key) -> Result<Response, Message> {
    let record = F::find(&session, &key).await?;
    session.check(F::ACTION)?;
    let form = F::of(&record);
    form.render(session, &record, FormState::Opened).await
}

pub(super) async fn save<F: EditForm>(
    session: Session,
    key: F::Key,
    form: FormResult<F::Submitted>,
) -> Result<Response, Message> {
    let submitted = session.read_form(form)?;
    let version: Result<RecordVersion, _> = F::submitted_version(&submitted).parse();
    let version = version.map_err(|_| Message::bad_form(&session.page, StatusCode::BAD_REQUEST))?;
    let record = F::find(&session, &key).await?;
    session.require(F::ACTION).await?;
    let (mut form, edit) = F::read_edit(submitted, &record, session.page.now);
    if F::version(&record) != version {
        return form.render(session, &record, FormState::Overtaken).await;
    }
    // Checked here, so that a typing error leaves no audit event.
    if form.has_error() {
        return form.render(session, &record, FormState::Invalid).await;
    }
    let path = F::path(&record);
    let Some(edit) = edit else {
        return Ok(session.page.go_to(&path));
    };
    match F::save(&session.operator, &record, edit).await {
        Ok(()) => Ok(session.page.go_to(&format!("{path}?done={}", F::DONE))),
        Err(error) if errors::is_stale(&error) => {
            let record = F::find(&session, &key).await?;
            form.render(session, &record, FormState::Overtaken).await
        }
        Err(error) if form.set_error(&error) => {
            form.render(session, &record, FormState::Invalid).await
        }
        Err(error) => Err(Message::from_error(&session.page, &error)),
    }
}
