//! The form that edits an app.

use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;
use tower_api_tokens::{
    AppEdit, AppRecord, AuditAction, AuditQuery, LifecycleErrorKind, RecordVersion,
};

use super::{
    app::find,
    directory::Directory,
    edit::{EditForm, FormState},
    edit_page::{self, EditPage},
    errors,
    event::About,
    input::Input,
    lines,
    message::Message,
    names::visible,
    request::PathResult,
    session::Session,
    view::Field,
};
use crate::operations::{OperationError, OperationErrorKind, Operator};

/// The form as submitted. A field that is missing does not change the app.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Submitted {
    version: String,
    name: Option<String>,
    metadata: Option<String>,
}

/// The form as shown.
pub(super) struct Form {
    name: Field,
    metadata: Field,
}

impl EditForm for Form {
    type Key = PathResult;
    type Record = AppRecord;
    type Submitted = Submitted;
    type Edit = AppEdit;

    const ACTION: AuditAction = AuditAction::EditApp;
    const RECORD: &'static str = "App";
    const DONE: &'static str = "edited";

    fn of(app: &AppRecord) -> Self {
        Self {
            name: Field::with_value(&app.name),
            metadata: Field::with_value(lines::of_metadata(&app.metadata)),
        }
    }

    async fn find(session: &Session, id: &PathResult) -> Result<AppRecord, Message> {
        find(session, id).await
    }

    fn version(app: &AppRecord) -> RecordVersion {
        app.version()
    }

    fn path(app: &AppRecord) -> String {
        format!("/apps/{}", app.id)
    }

    fn submitted_version(submitted: &Submitted) -> &str {
        &submitted.version
    }

    fn read_edit(submitted: Submitted, app: &AppRecord, _: Timestamp) -> (Self, Option<AppEdit>) {
        let (mut form, mut edit) = (Self::of(app), AppEdit::default());
        let name = form.name.submit(submitted.name, lines::read_name);
        if let Some(name) = name.filter(|name| *name != app.name) {
            edit = edit.name(name);
        }
        let metadata = form.metadata.submit(submitted.metadata, |text| {
            lines::metadata_patch(text, &app.metadata)
        });
        if let Some(patch) = metadata {
            edit = edit.metadata(patch);
        }
        (form, (!edit.is_empty()).then_some(edit))
    }

    fn has_error(&self) -> bool {
        self.name.has_error() || self.metadata.has_error()
    }

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

    async fn save(
        operator: &Operator,
        app: &AppRecord,
        edit: AppEdit,
    ) -> Result<(), OperationError> {
        operator.edit_app(&app.id, app.version(), edit).await?;
        Ok(())
    }

    async fn render(
        &self,
        session: Session,
        app: &AppRecord,
        state: FormState,
    ) -> Result<Response, Message> {
        let saved: Option<Self> = state.saved(app);
        let saved = saved.as_ref();
        let name = Input::new("name", "Name", &self.name).saved(saved.map(|form| &form.name));
        let (mut inputs, mut remarks) = (vec![name], Vec::new());
        if session.is_owner() {
            let metadata = Input::metadata(&self.metadata);
            inputs.push(metadata.saved(saved.map(|form| &form.metadata)));
            remarks.extend(edit_page::kept_metadata(&app.metadata));
        } else {
            let remark = "Only owners can edit an app's metadata.";
            remarks.push(remark.to_owned());
        }
        let mut directory = Directory::default();
        directory.add_app(app);
        let query = AuditQuery::default().app(app.id);
        let changes = edit_page::latest_changes(&session, state, query, About::App, directory);
        let changes = changes.await;
        let page = EditPage {
            notice: state.notice(Self::RECORD),
            kind: "app",
            name: visible(&app.name),
            path: Self::path(app),
            version: app.version(),
            inputs,
            expiry: None,
            remarks,
            changes,
            page: session.page,
        };
        Ok(page.render(state.status()))
    }
}
