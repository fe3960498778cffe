//! The form that edits an app.

use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use tower_api_tokens::{
    AppEdit, AppRecord, AuditQuery, LifecycleErrorKind, RecordVersion, normalize_name,
};

use super::{
    app::find,
    directory::Directory,
    edit_page::{self, EditPage},
    errors::{self, FIX_FIELDS},
    event::About,
    input::Input,
    lines,
    message::Message,
    names::visible,
    request::{FormResult, PathResult},
    session::Session,
    token_edit::metadata_input,
    view::{Field, Notice, Tone},
};
use crate::operations::{OperationError, OperationErrorKind};

/// The form as submitted. A field that is missing does not change the app.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Submitted {
    version: String,
    name: Option<String>,
    metadata: Option<String>,
}

/// The form as shown.
struct Form {
    name: Field,
    metadata: Field,
}

impl Form {
    fn of(app: &AppRecord) -> Self {
        Self {
            name: Field::with_value(&app.name),
            metadata: Field::with_value(lines::of_metadata(&app.metadata)),
        }
    }

    /// Validates the submitted fields, and returns what they change in the app.
    fn read(submitted: Submitted, app: &AppRecord) -> (Self, AppEdit) {
        let (mut form, mut edit) = (Self::of(app), AppEdit::default());
        if let Some(text) = submitted.name {
            match normalize_name(&text) {
                Ok(name) if name == app.name => {}
                Ok(name) => edit = edit.name(name),
                Err(_) => form.name.set_error(errors::invalid_name(&text)),
            }
            form.name.value = text;
        }
        if let Some(text) = submitted.metadata {
            match lines::metadata_patch(&text, &app.metadata) {
                Ok(patch) => edit = edit.metadata(patch),
                Err(error) => form.metadata.set_error(error),
            }
            form.metadata.value = text;
        }
        (form, edit)
    }

    fn has_error(&self) -> bool {
        self.name.has_error() || self.metadata.has_error()
    }

    /// Sets an error at the field that it belongs to. Returns false if it belongs to none.
    fn set_error(&mut self, error: &OperationError) -> bool {
        let field = match error.kind() {
            OperationErrorKind::Lifecycle(LifecycleErrorKind::InvalidName) => &mut self.name,
            OperationErrorKind::Lifecycle(LifecycleErrorKind::InvalidMetadata) => {
                &mut self.metadata
            }
            _ => return false,
        };
        field.set_error(errors::in_change(error));
        true
    }
}

pub(super) async fn show(session: Session, id: PathResult) -> Result<Response, Message> {
    let app = find(&session, id).await?;
    let form = Form::of(&app);
    Ok(form_page(session, StatusCode::OK, &app, &form, None, false).await)
}

pub(super) async fn save(
    session: Session,
    id: PathResult,
    form: FormResult<Submitted>,
) -> Result<Response, Message> {
    let submitted = session.read_form(form)?;
    let version: Result<RecordVersion, _> = submitted.version.parse();
    let version = version.map_err(|_| Message::bad_form(&session.page, StatusCode::BAD_REQUEST))?;
    let app = find(&session, id).await?;
    let (mut form, edit) = Form::read(submitted, &app);
    if app.version() != version {
        return Ok(overtaken(session, &app, &form).await);
    }
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    let not_saved = || Some(Notice::new(Tone::Bad, "App not saved.", FIX_FIELDS));
    // Checked here, so that a typing error leaves no audit event.
    if form.has_error() {
        return Ok(form_page(session, unprocessable, &app, &form, not_saved(), false).await);
    }
    let path = format!("/apps/{}", app.id);
    if edit.is_empty() {
        return Ok(session.page.go_to(&path));
    }
    match session.operator.edit_app(&app.id, version, edit).await {
        Ok(_) => Ok(session.page.go_to(&format!("{path}?done=edited"))),
        Err(error) if errors::is_stale(&error) => {
            let app = session.or_error_page(session.operator.get_app(&app.id).await)?;
            Ok(overtaken(session, &app, &form).await)
        }
        Err(error) if form.set_error(&error) => {
            Ok(form_page(session, unprocessable, &app, &form, not_saved(), false).await)
        }
        Err(error) => Err(Message::from_error(&session.page, &error)),
    }
}

/// Renders the form of an operator whose edit was overtaken by another one.
async fn overtaken(session: Session, app: &AppRecord, form: &Form) -> Response {
    let notice = Some(edit_page::stale("App"));
    form_page(session, StatusCode::CONFLICT, app, form, notice, true).await
}

async fn form_page(
    session: Session,
    status: StatusCode,
    app: &AppRecord,
    form: &Form,
    notice: Option<Notice>,
    is_stale: bool,
) -> Response {
    let saved = Form::of(app);
    let mut inputs = vec![(Input::new("name", "Name", &form.name), &saved.name)];
    let mut remarks = Vec::new();
    if session.is_owner() {
        inputs.push((metadata_input(&form.metadata), &saved.metadata));
        let kept = lines::kept_keys(&app.metadata);
        remarks.extend(kept.map(|keys| edit_page::kept_metadata(&keys)));
    } else {
        remarks.push("Only people who may grant everything can edit an app's metadata.".to_owned());
    }
    let (mut changes, mut directory) = (Vec::new(), Directory::default());
    if is_stale {
        directory.add_app(app);
        let query = AuditQuery::default().app(app.id);
        changes = edit_page::latest_changes(&session, query, About::App, directory).await;
    }
    EditPage {
        notice,
        kind: "app",
        name: visible(&app.name),
        path: format!("/apps/{}", app.id),
        version: app.version(),
        inputs: inputs
            .into_iter()
            .map(|(input, saved)| match is_stale {
                true => input.saved(&saved.value),
                false => input,
            })
            .collect(),
        expiry: None,
        remarks,
        changes,
        page: session.page,
    }
    .render(status)
}
