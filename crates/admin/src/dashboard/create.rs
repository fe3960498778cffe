//! The form for a new token.

use askama::Template;
use axum::{extract::State, response::Response};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use tower_api_tokens::{
    AppId, AuditAction, LifecycleErrorKind, NewToken, PolicyError, TokenFormats,
};

use super::{
    app_choice::AppChoice,
    errors::{self, FIX_FIELDS, INVALID_APP_ID},
    expiry::{EXPIRIES, Expiry, first_day},
    form_key::FormKey,
    input::{ExpiryInput, Input},
    lines,
    message::Message,
    page::{Page, render},
    request::{FormResult, QueryResult, query_or_default},
    reveal,
    scope_choice::{self, Checked, ScopeOption},
    session::Session,
    settings::Settings,
    text::Moment,
    view::{Field, Notice, ScopesView, Tone},
};
use crate::{
    actor::Actor,
    guard::TokenGuard,
    operations::{OperationError, OperationErrorKind},
};

#[derive(Template)]
#[template(path = "new.html")]
struct NewPage {
    page: Page,
    notice: Option<Notice>,
    /// Whether an app must be created first.
    no_apps: bool,
    grants: Grants,
    apps: AppChoice,
    suggestions: Vec<ScopeOption>,
    form: NewForm,
    formats: Vec<FormatOption>,
    expiry: ExpiryInput,
    /// The fields that most tokens leave empty.
    options: Vec<Input>,
    /// Whether these fields are shown without opening them first.
    shows_options: bool,
}

/// A format to choose from.
struct FormatOption {
    label: String,
    /// The label, and how tokens begin.
    text: String,
}

impl FormatOption {
    /// Returns the issued formats. Of those with the same label, the first one is issued.
    fn all(formats: &TokenFormats) -> Vec<Self> {
        let mut options: Vec<Self> = Vec::new();
        for format in formats.issued() {
            if options.iter().all(|option| option.label != format.label()) {
                options.push(Self {
                    label: format.label().to_owned(),
                    text: match format.label() == format.prefix() {
                        true => format.label().to_owned(),
                        false => format!("{} ({}_…)", format.label(), format.prefix()),
                    },
                });
            }
        }
        options
    }
}

/// What the operator may grant, as the form explains it.
struct Grants {
    /// The scopes that they may grant, or `None` for any.
    only: Option<ScopesView>,
    /// The command that issues a token which may grant any scope. Shown if the operator may grant none
    /// but the one for managing tokens.
    command: Option<String>,
    /// The latest expiry that they may grant, or `None` for any.
    until: Option<Moment>,
}

impl Grants {
    fn of(actor: &Actor, now: Timestamp) -> Self {
        let (managing, owning) = (TokenGuard::SCOPE, TokenGuard::OWNER);
        let only = actor.grantable().scope_set();
        let only_managing = only.is_some_and(|only| only.iter().all(|scope| scope == managing));
        let app = actor.own_app().filter(|_| only_managing);
        Self {
            only: only.map(ScopesView::all),
            command: app.map(|app| {
                format!(
                    "api-tokens token issue --app {app} --name administrator \
                     --scope {managing} --scope {owning}"
                )
            }),
            until: actor
                .grantable()
                .latest_expiry()
                .map(|at| Moment::new(at, now)),
        }
    }
}

/// The form as shown.
#[derive(Debug, Default)]
struct NewForm {
    nonce: String,
    name: Field,
    app: Field,
    scopes: Field,
    /// The scopes that are chosen by check boxes.
    checked: Checked,
    format: Field,
    expires: Field,
    date: String,
    networks: Field,
    not_before: Field,
    metadata: Field,
}

impl NewForm {
    fn has_error(&self) -> bool {
        self.first_invalid() != ""
    }

    /// Returns the first field with an error, which gets the focus.
    fn first_invalid(&self) -> &'static str {
        let fields = [
            ("name", &self.name),
            ("app", &self.app),
            ("scopes", &self.scopes),
            ("format", &self.format),
            ("expires", &self.expires),
            ("networks", &self.networks),
            ("not_before", &self.not_before),
            ("metadata", &self.metadata),
        ];
        let invalid = fields.iter().find(|(_, field)| field.has_error());
        invalid.map_or("", |(name, _)| name)
    }

    /// Returns the fields that most tokens leave empty.
    fn options(&self, actor: &Actor) -> Vec<Input> {
        let not_before = Input::new("not_before", "Not valid before", &self.not_before)
            .date()
            .hint("The token works from the beginning of this day, UTC. Leave it empty to start immediately.");
        let mut options = vec![Input::networks(&self.networks), not_before];
        options.extend(Input::metadata_of_token(&self.metadata, actor));
        if options
            .iter()
            .any(|option| option.is_called(self.first_invalid()))
        {
            Input::focus_first_invalid(&mut options);
        }
        options
    }
}

/// The form as submitted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Submitted {
    nonce: String,
    name: String,
    app: String,
    scopes: String,
    /// The label of a format; empty for the default one.
    format: String,
    expires: String,
    date: String,
    networks: String,
    not_before: String,
    metadata: String,
    /// The search term for an app.
    find: String,
    /// The check boxes of scopes.
    #[serde(flatten)]
    checked: Checked,
}

impl From<Submitted> for NewForm {
    fn from(submitted: Submitted) -> Self {
        Self {
            nonce: submitted.nonce,
            name: Field::with_value(submitted.name),
            app: Field::with_value(submitted.app),
            scopes: Field::with_value(submitted.scopes),
            checked: submitted.checked,
            format: Field::with_value(submitted.format),
            expires: Field::with_value(submitted.expires),
            date: submitted.date,
            networks: Field::with_value(submitted.networks),
            not_before: Field::with_value(submitted.not_before),
            metadata: Field::with_value(submitted.metadata),
        }
    }
}

/// Shows the form, filled in from the URL or from a search for an app.
pub(super) async fn show(
    session: Session,
    preset: QueryResult<Submitted>,
) -> Result<Response, Message> {
    session.check(AuditAction::IssueToken)?;
    let preset = query_or_default(preset);
    let find = preset.find.clone();
    let mut form = NewForm::from(preset);
    form.nonce = session.or_error_page(session.operator.new_key())?;
    if form.expires.value.is_empty() {
        form.expires.value = "90".to_owned();
    }
    form_page(session, StatusCode::OK, form, &find, None).await
}

pub(super) async fn create(
    State(settings): State<Settings>,
    session: Session,
    form: FormResult<Submitted>,
) -> Result<Response, Message> {
    let submitted = session.read_form(form)?;
    session.require(AuditAction::IssueToken).await?;
    let key = FormKey::read(&submitted.nonce, session.page.now);
    let key = key.ok_or_else(|| Message::bad_form(&session.page, StatusCode::BAD_REQUEST))?;
    let find = submitted.find.clone();
    let (mut form, valid) = read(submitted, session.page.now);
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    let FormKey::Valid(key) = key else {
        form.nonce = session.or_error_page(session.operator.new_key())?;
        let notice = Notice::new(
            Tone::Bad,
            "Token not created: this form has expired.",
            "If you submitted it before, check the list for its token. If not, submit it again now.",
        );
        return form_page(session, StatusCode::CONFLICT, form, &find, Some(notice)).await;
    };
    let Some((app, new)) = valid else {
        return form_page(session, unprocessable, form, &find, None).await;
    };
    let new = new.idempotency_key(key);
    match session.operator.issue(&app, new).await {
        Ok(issued) => Ok(reveal::created(&session.page, &settings, &issued)),
        Err(error) => {
            if let Some(before) = error.repeated() {
                return Err(Message::already_created(&session.page, before.token));
            }
            if !set_field_error(&mut form, &error) {
                return Err(Message::from_error(&session.page, &error));
            }
            form_page(session, unprocessable, form, &find, None).await
        }
    }
}

async fn form_page(
    session: Session,
    status: StatusCode,
    mut form: NewForm,
    find: &str,
    notice: Option<Notice>,
) -> Result<Response, Message> {
    let apps = AppChoice::load(&session.operator, &mut form.app.value, find).await;
    let apps = session.or_error_page(apps)?;
    if !apps.contains(form.app.value.trim()) {
        // Otherwise, the browser would select the first app.
        form.app.value.clear();
    }
    let suggestions = scope_choice::suggest(&session.operator, &form.checked).await;
    let options = form.options(session.operator.actor());
    let now = session.page.now;
    let grants = Grants::of(session.operator.actor(), now);
    let expiries = EXPIRIES
        .iter()
        .map(|(value, label)| (*value, (*label).to_owned()));
    let mut expiry = ExpiryInput::new(expiries.collect(), &form.expires, &form.date, now);
    expiry.until.clone_from(&grants.until);
    expiry.is_focused = form.first_invalid() == "expires";
    let not_created = || Notice::new(Tone::Bad, "Token not created.", FIX_FIELDS);
    let shown = NewPage {
        notice: notice.or_else(|| form.has_error().then(not_created)),
        no_apps: apps.is_empty() && form.app.value.is_empty(),
        grants,
        apps,
        suggestions,
        form,
        formats: FormatOption::all(session.operator.formats()),
        expiry,
        shows_options: Input::any_used(&options),
        options,
        page: session.page,
    };
    Ok(render(status, &shown))
}

/// Validates the form. Returns the request that it describes, unless a field has an error.
fn read(submitted: Submitted, now: Timestamp) -> (NewForm, Option<(AppId, NewToken)>) {
    let mut form = NewForm::from(submitted);
    let name = form.name.read(lines::read_name);
    let app = form.app.read(|text| match text.trim() {
        "" => Err("Choose an app."),
        id => id.parse::<AppId>().map_err(|_| INVALID_APP_ID),
    });
    let chosen: Vec<&str> = scope_choice::chosen(&form.checked).collect();
    let scopes = form.scopes.read(|typed| {
        let all = [&[typed], chosen.as_slice()].concat();
        lines::read_scope_list(&all.join(" "))
    });
    let date = form.date.as_str();
    let expiry = form.expires.read(|choice| Expiry::read(choice, date, now));
    let end = expiry.and_then(|expiry| expiry.instant(now));
    let networks = form.networks.read(lines::read_networks);
    let not_before = form.not_before.read(|day| match (first_day(day)?, end) {
        (Some(from), Some(end)) if end <= from => Err("Choose a day before the token expires."),
        (from, _) => Ok(from),
    });
    let metadata = form.metadata.read(lines::read_metadata);
    let (Some(name), Some(app), Some(scopes), Some(expiry)) = (name, app, scopes, expiry) else {
        return (form, None);
    };
    let (Some(networks), Some(not_before), Some(metadata)) = (networks, not_before, metadata)
    else {
        return (form, None);
    };
    let new = NewToken::named(name).scopes(scopes).metadata(metadata);
    let mut new = expiry.apply(new);
    if let Some(networks) = networks {
        new = new.networks(networks);
    }
    if let Some(from) = not_before {
        new = new.not_before(from);
    }
    if !form.format.value.is_empty() {
        new = new.format(form.format.value.as_str());
    }
    (form, Some((app, new)))
}

/// Sets an error at the field that it belongs to. Returns false if it belongs to none.
fn set_field_error(form: &mut NewForm, error: &OperationError) -> bool {
    let field = match error.kind() {
        OperationErrorKind::ScopeNotHeld => &mut form.scopes,
        OperationErrorKind::ExpiryNotHeld => &mut form.expires,
        OperationErrorKind::NetworksNotHeld => &mut form.networks,
        OperationErrorKind::Lifecycle(kind) => match kind {
            LifecycleErrorKind::InvalidName => &mut form.name,
            LifecycleErrorKind::InvalidExpiry => &mut form.expires,
            LifecycleErrorKind::UnknownApp | LifecycleErrorKind::AppDisabled => &mut form.app,
            LifecycleErrorKind::InvalidNetworks => &mut form.networks,
            LifecycleErrorKind::InvalidMetadata | LifecycleErrorKind::NotPermitted => {
                &mut form.metadata
            }
            LifecycleErrorKind::PolicyViolation => match error.policy() {
                Some(PolicyError::NeverExpires | PolicyError::Lifetime(_)) => &mut form.expires,
                Some(PolicyError::Scopes(_)) => &mut form.scopes,
                Some(PolicyError::Name) => &mut form.name,
                _ => &mut form.app,
            },
            LifecycleErrorKind::UnknownFormat | LifecycleErrorKind::FormatNotAllowed => {
                &mut form.format
            }
            _ => return false,
        },
        OperationErrorKind::OwnerRequired => return false,
    };
    field.set_error(errors::in_new_token(error));
    true
}
