//! The form for a new token.

use std::time::Duration;

use askama::Template;
use axum::{extract::State, response::Response};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use tower_api_tokens::{
    AppId, LifecycleErrorKind, NewToken, ScopeSet, TokenFormats, normalize_name, parse_expiry,
};

use super::{
    app_choice::AppChoice,
    errors::{self, CHOOSE_OPTION, FIX_FIELDS, INVALID_APP_ID},
    form_key::FormKey,
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

const EXPIRIES: &[(&str, &str)] = &[
    ("7", "7 days"),
    ("30", "30 days"),
    ("90", "90 days"),
    ("365", "1 year"),
    ("date", "Custom date"),
    ("never", "Never"),
];

const INVALID_DATE: &str = "Enter a date, such as 2031-12-24.";

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
    expiries: &'static [(&'static str, &'static str)],
    today: String,
}

impl NewPage {
    /// Returns whether the chosen expiry is one of the options.
    fn is_listed_expiry(&self) -> bool {
        let chosen = self.form.expires.value.as_str();
        self.expiries.iter().any(|(value, _)| *value == chosen)
    }
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
        ];
        let invalid = fields.iter().find(|(_, field)| field.has_error());
        invalid.map_or("", |(name, _)| name)
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
    /// The search term for an app.
    find: String,
    /// The check boxes of scopes.
    #[serde(flatten)]
    checked: Checked,
}

/// Shows the form, filled in from the URL or from a search for an app.
pub(super) async fn show(
    session: Session,
    preset: QueryResult<Submitted>,
) -> Result<Response, Message> {
    let preset = query_or_default(preset);
    let expires = match preset.expires.as_str() {
        "" => "90",
        chosen => chosen,
    };
    let form = NewForm {
        nonce: session.or_error_page(session.operator.new_key())?,
        expires: Field::with_value(expires),
        name: Field::with_value(preset.name),
        app: Field::with_value(preset.app),
        scopes: Field::with_value(preset.scopes),
        checked: preset.checked,
        format: Field::with_value(preset.format),
        date: preset.date,
    };
    form_page(session, StatusCode::OK, form, &preset.find, None).await
}

pub(super) async fn create(
    State(settings): State<Settings>,
    session: Session,
    form: FormResult<Submitted>,
) -> Result<Response, Message> {
    let submitted = session.read_form(form)?;
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
    let apps = AppChoice::load(&session.operator, form.app.value.trim(), find).await;
    let apps = session.or_error_page(apps)?;
    if let (true, Some(app)) = (form.app.value.is_empty(), apps.only()) {
        form.app.value.clone_from(&app.id);
    }
    if !apps.contains(form.app.value.trim()) {
        // Otherwise, the browser would select the first app.
        form.app.value.clear();
    }
    let suggestions = scope_choice::suggest(&session.operator, &form.checked).await;
    let not_created = || Notice::new(Tone::Bad, "Token not created.", FIX_FIELDS);
    let shown = NewPage {
        notice: notice.or_else(|| form.has_error().then(not_created)),
        no_apps: apps.is_empty() && form.app.value.is_empty(),
        grants: Grants::of(session.operator.actor(), session.page.now),
        apps,
        suggestions,
        form,
        formats: FormatOption::all(session.operator.formats()),
        expiries: EXPIRIES,
        today: session.page.now.strftime("%F").to_string(),
        page: session.page,
    };
    Ok(render(status, &shown))
}

/// Validates the form. Returns the request that it describes, unless a field has an error.
fn read(submitted: Submitted, now: Timestamp) -> (NewForm, Option<(AppId, NewToken)>) {
    let name = normalize_name(&submitted.name);
    let app = submitted.app.trim().parse::<AppId>();
    let chosen = scope_choice::chosen(&submitted.checked);
    let all_scopes: Vec<&str> = [submitted.scopes.as_str()]
        .into_iter()
        .chain(chosen)
        .collect();
    let all_scopes = all_scopes.join(" ");
    let scopes = ScopeSet::parse_list(&all_scopes);
    let expiry = Expiry::read(&submitted.expires, &submitted.date, now);
    let mut form = NewForm {
        nonce: submitted.nonce,
        name: Field::with_value(submitted.name),
        app: Field::with_value(submitted.app),
        scopes: Field::with_value(submitted.scopes),
        checked: submitted.checked,
        format: Field::with_value(submitted.format),
        expires: Field::with_value(submitted.expires),
        date: submitted.date,
    };
    if name.is_err() {
        form.name.set_error(errors::invalid_name(&form.name.value));
    }
    if app.is_err() {
        form.app.set_error(match form.app.value.trim() {
            "" => "Choose an app.",
            _ => INVALID_APP_ID,
        });
    }
    if scopes.is_err() {
        form.scopes.set_error(errors::invalid_scopes(&all_scopes));
    }
    if let Err(error) = &expiry {
        form.expires.set_error(*error);
    }
    let valid = match (name, app, scopes, expiry) {
        (Ok(name), Ok(app), Ok(scopes), Ok(expiry)) => {
            let mut new = expiry.apply(NewToken::named(name).scopes(scopes));
            if !form.format.value.is_empty() {
                new = new.format(form.format.value.as_str());
            }
            Some((app, new))
        }
        _ => None,
    };
    (form, valid)
}

/// Sets an error at the field that it belongs to. Returns false if it belongs to none.
fn set_field_error(form: &mut NewForm, error: &OperationError) -> bool {
    let field = match error.kind() {
        OperationErrorKind::ScopeNotHeld => &mut form.scopes,
        OperationErrorKind::ExpiryNotHeld => &mut form.expires,
        OperationErrorKind::Lifecycle(kind) => match kind {
            LifecycleErrorKind::InvalidName => &mut form.name,
            LifecycleErrorKind::InvalidExpiry => &mut form.expires,
            LifecycleErrorKind::UnknownApp | LifecycleErrorKind::AppDisabled => &mut form.app,
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

/// When the token expires.
enum Expiry {
    Never,
    In(Duration),
    At(Timestamp),
}

impl Expiry {
    fn read(choice: &str, date: &str, now: Timestamp) -> Result<Self, &'static str> {
        match choice {
            "never" => Ok(Self::Never),
            "date" => last_day(date, now).map(Self::At),
            days => match days.parse::<u32>() {
                Ok(days @ 1..=3650) => Ok(Self::In(Duration::from_secs(86_400) * days)),
                _ => Err(CHOOSE_OPTION),
            },
        }
    }

    fn apply(self, new: NewToken) -> NewToken {
        match self {
            Self::Never => new,
            Self::In(lifetime) => new.expires_in(lifetime),
            Self::At(at) => new.expires_at(at),
        }
    }
}

/// Returns the end of a day, or an exact instant as it is.
fn last_day(date: &str, now: Timestamp) -> Result<Timestamp, &'static str> {
    let date = date.trim();
    let end = parse_expiry(date).map_err(|_| INVALID_DATE)?;
    match end > now {
        true => Ok(end),
        false => Err("Choose today or a later date."),
    }
}
