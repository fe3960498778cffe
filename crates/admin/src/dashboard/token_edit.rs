//! The form that edits a token.

use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;
use tower_api_tokens::{
    AuditAction, AuditQuery, LifecycleErrorKind, PolicyError, RecordVersion, ScopeSet, TokenEdit,
    TokenRecord, TokenStatus,
};

use super::{
    directory::Directory,
    edit::{EditForm, FormState},
    edit_page::{self, EditPage},
    errors,
    event::About,
    expiry::{EXPIRIES, Expiry},
    input::{ExpiryInput, Input},
    lines,
    message::Message,
    names::visible,
    request::PathResult,
    session::Session,
    text::Moment,
    token::find,
    view::Field,
};
use crate::operations::{OperationError, OperationErrorKind, Operator};

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
pub(super) struct Form {
    name: Field,
    scopes: Field,
    networks: Field,
    metadata: Field,
    expires: Field,
    date: String,
}

impl EditForm for Form {
    type Key = PathResult;
    type Record = TokenRecord;
    type Submitted = Submitted;
    type Edit = TokenEdit;

    const ACTION: AuditAction = AuditAction::EditToken;
    const RECORD: &'static str = "Token";
    const DONE: &'static str = "edited";

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

    async fn find(session: &Session, id: &PathResult) -> Result<TokenRecord, Message> {
        find(session, id).await
    }

    fn version(token: &TokenRecord) -> RecordVersion {
        token.version()
    }

    fn path(token: &TokenRecord) -> String {
        format!("/token/{}", token.id)
    }

    fn submitted_version(submitted: &Submitted) -> &str {
        &submitted.version
    }

    fn read_edit(
        submitted: Submitted,
        token: &TokenRecord,
        now: Timestamp,
    ) -> (Self, Option<TokenEdit>) {
        let (mut form, mut edit) = (Self::of(token), TokenEdit::default());
        let name = form.name.submit(submitted.name, lines::read_name);
        if let Some(name) = name.filter(|name| *name != token.name) {
            edit = edit.name(name);
        }
        let scopes = form
            .scopes
            .submit(submitted.scopes, |text| read_scopes(text, &token.scopes));
        if let Some(scopes) = scopes.filter(|scopes| *scopes != token.scopes) {
            edit = edit.scopes(scopes);
        }
        let networks = form
            .networks
            .submit(submitted.networks, lines::read_networks);
        if let Some(networks) = networks.filter(|networks| networks.as_ref() != token.networks()) {
            edit = edit.networks(networks);
        }
        let metadata = form.metadata.submit(submitted.metadata, |text| {
            lines::metadata_patch(text, &token.metadata)
        });
        if let Some(patch) = metadata {
            edit = edit.metadata(patch);
        }
        let expires = submitted.expires.filter(|choice| choice != KEEP);
        let expires = form.expires.submit(expires, |choice| {
            Expiry::read(choice, &submitted.date, now).map(|expiry| expiry.instant(now))
        });
        if let Some(at) = expires.filter(|at| *at != token.expires_at) {
            edit = edit.expires_at(at);
        }
        form.date = submitted.date;
        (form, (!edit.is_empty()).then_some(edit))
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

    fn set_error(&mut self, error: &OperationError) -> bool {
        let field = match error.kind() {
            OperationErrorKind::ScopeNotHeld => &mut self.scopes,
            OperationErrorKind::ExpiryNotHeld => &mut self.expires,
            OperationErrorKind::NetworksNotHeld => &mut self.networks,
            OperationErrorKind::Lifecycle(kind) => match kind {
                LifecycleErrorKind::InvalidName => &mut self.name,
                LifecycleErrorKind::InvalidMetadata | LifecycleErrorKind::NotPermitted => {
                    &mut self.metadata
                }
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
                "This token was rotated, so its expiration can't be extended.".to_owned()
            }
            _ => errors::in_new_token(error),
        });
        true
    }

    async fn save(
        operator: &Operator,
        token: &TokenRecord,
        edit: TokenEdit,
    ) -> Result<(), OperationError> {
        operator.edit(token.id, token.version(), edit).await?;
        Ok(())
    }

    async fn render(
        &self,
        session: Session,
        token: &TokenRecord,
        state: FormState,
    ) -> Result<Response, Message> {
        let now = session.page.now;
        let is_active = !matches!(
            token.status(now),
            TokenStatus::Revoked | TokenStatus::Expired
        );
        let restrictions = token.restrictions.as_ref();
        let is_understood = restrictions.is_none_or(|restrictions| restrictions.is_understood());
        let saved: Option<Self> = state.saved(token);
        let saved = saved.as_ref();
        let name = Input::new("name", "Name", &self.name).saved(saved.map(|form| &form.name));
        let (mut inputs, mut remarks) = (vec![name], Vec::new());
        if is_active {
            let scopes = Input::new("scopes", "Scopes", &self.scopes)
                .mono()
                .hint("Separate scopes with spaces.");
            inputs.push(scopes.saved(saved.map(|form| &form.scopes)));
            if is_understood {
                let networks = Input::networks(&self.networks);
                inputs.push(networks.saved(saved.map(|form| &form.networks)));
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
        if let Some(metadata) = Input::metadata_of_token(&self.metadata, session.operator.actor()) {
            inputs.push(metadata.saved(saved.map(|form| &form.metadata)));
            remarks.extend(edit_page::kept_metadata(&token.metadata));
        }
        let mut directory = Directory::default();
        directory.add_token(token);
        let query = AuditQuery::default().token(token.id);
        let changes = edit_page::latest_changes(&session, state, query, About::Token, directory);
        let changes = changes.await;
        let page = EditPage {
            notice: state.notice(Self::RECORD),
            kind: "token",
            name: visible(&token.name),
            path: Self::path(token),
            version: token.version(),
            inputs,
            expiry: is_active.then(|| expiry_input(self, token, now)),
            remarks,
            changes,
            page: session.page,
        };
        Ok(page.render(state.status()))
    }
}

/// Parses a list of scopes. Commas separate scopes too, unless the token has a scope with a comma.
fn read_scopes(text: &str, old: &ScopeSet) -> Result<ScopeSet, String> {
    match old.as_str().contains(',') {
        true => lines::read_scopes(text),
        false => lines::read_scope_list(text),
    }
}

fn expiry_input(form: &Form, token: &TokenRecord, now: Timestamp) -> ExpiryInput {
    let kept = match token.expires_at {
        Some(at) => format!("Keep {}", Moment::exact(at)),
        None => "Keep: never expires".to_owned(),
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
