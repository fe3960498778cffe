//! The form that edits a token.

use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use tower_api_tokens::{
    AuditQuery, LifecycleErrorKind, PolicyError, RecordVersion, ScopeSet, TokenEdit, TokenRecord,
    TokenStatus, normalize_name,
};

use super::{
    directory::Directory,
    edit_page::{self, EditPage},
    errors::{self, FIX_FIELDS},
    event::About,
    expiry::{EXPIRIES, Expiry},
    input::{ExpiryInput, Input},
    lines,
    message::Message,
    names::visible,
    request::{FormResult, PathResult},
    session::Session,
    text::Moment,
    token::find,
    view::{Field, Notice, Tone},
};
use crate::operations::{OperationError, OperationErrorKind};

/// The choice of an expiry that leaves it as it is.
const KEEP: &str = "keep";

/// The form as submitted. A field that is missing does not change the token.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Submitted {
    version: String,
    name: Option<String>,
    scopes: Option<String>,
    networks: Option<String>,
    metadata: Option<String>,
    expires: Option<String>,
    date: String,
}

/// The form as shown.
struct Form {
    name: Field,
    scopes: Field,
    networks: Field,
    metadata: Field,
    expires: Field,
    date: String,
}

impl Form {
    fn of(token: &TokenRecord) -> Self {
        Self {
            name: Field::with_value(&token.name),
            scopes: Field::with_value(token.scopes.as_str()),
            networks: Field::with_value(lines::of_networks(token.networks())),
            metadata: Field::with_value(lines::of_metadata(&token.metadata)),
            expires: Field::with_value(KEEP),
            date: String::new(),
        }
    }

    fn has_error(&self) -> bool {
        let fields = [
            &self.name,
            &self.scopes,
            &self.networks,
            &self.metadata,
            &self.expires,
        ];
        fields.into_iter().any(Field::has_error)
    }

    /// Validates the submitted fields, and returns what they change in the token.
    fn read(submitted: Submitted, token: &TokenRecord, now: Timestamp) -> (Self, TokenEdit) {
        let (mut form, mut edit) = (Self::of(token), TokenEdit::default());
        if let Some(text) = submitted.name {
            match normalize_name(&text) {
                Ok(name) if name == token.name => {}
                Ok(name) => edit = edit.name(name),
                Err(_) => form.name.set_error(errors::invalid_name(&text)),
            }
            form.name.value = text;
        }
        if let Some(text) = submitted.scopes {
            match read_scopes(&text, &token.scopes) {
                Some(scopes) if scopes == token.scopes => {}
                Some(scopes) => edit = edit.scopes(scopes),
                None => form.scopes.set_error(errors::invalid_scopes(&text)),
            }
            form.scopes.value = text;
        }
        if let Some(text) = submitted.networks {
            match lines::read_networks(&text) {
                Ok(networks) if networks.as_ref() == token.networks() => {}
                Ok(networks) => edit = edit.networks(networks),
                Err(error) => form.networks.set_error(error),
            }
            form.networks.value = text;
        }
        if let Some(text) = submitted.metadata {
            match lines::metadata_patch(&text, &token.metadata) {
                Ok(patch) => edit = edit.metadata(patch),
                Err(error) => form.metadata.set_error(error),
            }
            form.metadata.value = text;
        }
        if let Some(choice) = submitted.expires.filter(|choice| choice != KEEP) {
            match Expiry::read(&choice, &submitted.date, now) {
                Ok(expiry) if expiry.instant(now) == token.expires_at => {}
                Ok(expiry) => edit = edit.expires_at(expiry.instant(now)),
                Err(error) => form.expires.set_error(error),
            }
            form.expires.value = choice;
        }
        form.date = submitted.date;
        (form, edit)
    }

    /// Sets an error at the field that it belongs to. Returns false if it belongs to none.
    fn set_error(&mut self, error: &OperationError) -> bool {
        let field = match error.kind() {
            OperationErrorKind::ScopeNotHeld => &mut self.scopes,
            OperationErrorKind::ExpiryNotHeld => &mut self.expires,
            OperationErrorKind::Lifecycle(kind) => match kind {
                LifecycleErrorKind::InvalidName => &mut self.name,
                LifecycleErrorKind::InvalidMetadata => &mut self.metadata,
                LifecycleErrorKind::InvalidNetworks => &mut self.networks,
                LifecycleErrorKind::InvalidExpiry | LifecycleErrorKind::Rotated => {
                    &mut self.expires
                }
                LifecycleErrorKind::FormatNotAllowed => &mut self.scopes,
                LifecycleErrorKind::PolicyViolation => match error.policy() {
                    Some(PolicyError::NeverExpires | PolicyError::Lifetime(_)) => &mut self.expires,
                    Some(PolicyError::Scopes(_)) => &mut self.scopes,
                    Some(PolicyError::Name) => &mut self.name,
                    _ => return false,
                },
                _ => return false,
            },
            OperationErrorKind::OwnerRequired => return false,
        };
        field.set_error(match error.kind() {
            OperationErrorKind::Lifecycle(LifecycleErrorKind::Rotated) => {
                "This token was rotated, so it can't expire later than now planned.".to_owned()
            }
            _ => errors::in_new_token(error),
        });
        true
    }
}

/// Parses a list of scopes. Commas separate scopes too, unless the token has a scope with a comma.
fn read_scopes(text: &str, old: &ScopeSet) -> Option<ScopeSet> {
    match old.as_str().contains(',') {
        true => {
            let scopes: Vec<&str> = text.split_whitespace().collect();
            scopes.join(" ").parse().ok()
        }
        false => ScopeSet::parse_list(text).ok(),
    }
}

pub(super) async fn show(session: Session, id: PathResult) -> Result<Response, Message> {
    let token = find(&session, id).await?;
    let form = Form::of(&token);
    Ok(form_page(session, StatusCode::OK, &token, &form, None, false).await)
}

pub(super) async fn save(
    session: Session,
    id: PathResult,
    form: FormResult<Submitted>,
) -> Result<Response, Message> {
    let submitted = session.read_form(form)?;
    let version: Result<RecordVersion, _> = submitted.version.parse();
    let version = version.map_err(|_| Message::bad_form(&session.page, StatusCode::BAD_REQUEST))?;
    let token = find(&session, id).await?;
    let (mut form, edit) = Form::read(submitted, &token, session.page.now);
    if token.version() != version {
        return Ok(overtaken(session, &token, &form).await);
    }
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    let not_saved = || Some(Notice::new(Tone::Bad, "Token not saved.", FIX_FIELDS));
    // Checked here, so that a typing error leaves no audit event.
    if form.has_error() {
        return Ok(form_page(session, unprocessable, &token, &form, not_saved(), false).await);
    }
    let path = format!("/token/{}", token.id);
    if edit.is_empty() {
        return Ok(session.page.go_to(&path));
    }
    match session.operator.edit(token.id, version, edit).await {
        Ok(_) => Ok(session.page.go_to(&format!("{path}?done=edited"))),
        Err(error) if errors::is_stale(&error) => {
            let token = session.or_error_page(session.operator.get(token.id).await)?;
            Ok(overtaken(session, &token, &form).await)
        }
        Err(error) if form.set_error(&error) => {
            Ok(form_page(session, unprocessable, &token, &form, not_saved(), false).await)
        }
        Err(error) => Err(Message::from_error(&session.page, &error)),
    }
}

/// Renders the form of an operator whose edit was overtaken by another one.
async fn overtaken(session: Session, token: &TokenRecord, form: &Form) -> Response {
    let notice = Some(edit_page::stale("Token"));
    form_page(session, StatusCode::CONFLICT, token, form, notice, true).await
}

async fn form_page(
    session: Session,
    status: StatusCode,
    token: &TokenRecord,
    form: &Form,
    notice: Option<Notice>,
    is_stale: bool,
) -> Response {
    let now = session.page.now;
    let is_active = !matches!(
        token.status(now),
        TokenStatus::Revoked | TokenStatus::Expired
    );
    let restrictions = token.restrictions.as_ref();
    let is_understood = restrictions.is_none_or(|restrictions| restrictions.is_understood());
    let saved = Form::of(token);
    let mut inputs = vec![(Input::new("name", "Name", &form.name), &saved.name)];
    let mut remarks = Vec::new();
    if is_active {
        let scopes = Input::new("scopes", "Scopes", &form.scopes)
            .mono()
            .hint("Separate scopes with spaces.");
        inputs.push((scopes, &saved.scopes));
        if is_understood {
            inputs.push((networks_input(&form.networks), &saved.networks));
        } else {
            remarks.push(
                "The networks can't be edited, because this version of the service doesn't \
                 understand the token's restrictions."
                    .to_owned(),
            );
        }
    } else {
        remarks.push(
            "Only the name and the metadata of an expired or revoked token can be edited."
                .to_owned(),
        );
    }
    inputs.push((metadata_input(&form.metadata), &saved.metadata));
    remarks.extend(lines::kept_keys(&token.metadata).map(|keys| edit_page::kept_metadata(&keys)));
    let (mut changes, mut directory) = (Vec::new(), Directory::default());
    if is_stale {
        directory.add_token(token);
        let query = AuditQuery::default().token(token.id);
        changes = edit_page::latest_changes(&session, query, About::Token, directory).await;
    }
    EditPage {
        notice,
        kind: "token",
        name: visible(&token.name),
        path: format!("/token/{}", token.id),
        version: token.version(),
        inputs: inputs
            .into_iter()
            .map(|(input, saved)| match is_stale {
                true => input.saved(&saved.value),
                false => input,
            })
            .collect(),
        expiry: is_active.then(|| expiry_input(form, token, now)),
        remarks,
        changes,
        page: session.page,
    }
    .render(status)
}

fn expiry_input(form: &Form, token: &TokenRecord, now: Timestamp) -> ExpiryInput {
    let kept = match token.expires_at {
        Some(at) => format!("Keep {}", Moment::exact(at)),
        None => "Keep it without expiration".to_owned(),
    };
    let never_expires = token.expires_at.is_none();
    let others = EXPIRIES
        .iter()
        .filter(|(value, _)| *value != "never" || !never_expires)
        .map(|(value, label)| match value.parse::<u32>() {
            Ok(_) => (*value, format!("In {label}")),
            Err(_) => (*value, (*label).to_owned()),
        });
    let choices = [(KEEP, kept)].into_iter().chain(others).collect();
    ExpiryInput::new(choices, &form.expires, &form.date, now)
}

/// Creates the field for networks.
pub(super) fn networks_input(field: &Field) -> Input {
    Input::new("networks", "Networks", field)
        .mono()
        .placeholder("10.0.0.0/8, 2001:db8::/32")
        .hint("Where requests may come from. Leave it empty to allow requests from everywhere.")
}

/// Creates the field for metadata.
pub(super) fn metadata_input(field: &Field) -> Input {
    Input::new("metadata", "Metadata", field)
        .lines()
        .placeholder("plan=pro")
        .hint("One key=value per line. Your service can read it with each request.")
}
