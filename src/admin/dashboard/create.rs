//! Creating a token.

use std::time::Duration;

use askama::Template;
use axum::{
    Form,
    extract::{
        Query, State,
        rejection::{FormRejection, QueryRejection},
    },
    response::Response,
};
use http::StatusCode;
use jiff::{
    Timestamp, ToSpan,
    civil::{Date, Time},
    tz::TimeZone,
};
use serde::Deserialize;

use super::{
    Settings,
    app_choice::AppChoice,
    message::Message,
    page::{Page, render},
    reveal,
    session::Session,
    view::{Field, Notice, Tone},
};
use crate::{
    admin::{OperationError, OperationErrorKind, RequestKey},
    app::AppId,
    name,
    scope::ScopeSet,
    tokens::{LifecycleErrorKind, NewToken},
};

const EXPIRIES: &[(&str, &str)] = &[
    ("7", "7 days"),
    ("30", "30 days"),
    ("90", "90 days"),
    ("365", "1 year"),
    ("date", "On a date"),
    ("never", "Never"),
];

#[derive(Template)]
#[template(path = "new.html")]
struct NewPage {
    page: Page,
    notice: Option<Notice>,
    /// Whether there is no app that a token could belong to.
    no_apps: bool,
    apps: AppChoice,
    form: NewForm,
    expiries: &'static [(&'static str, &'static str)],
    today: String,
}

/// The form as it is shown.
#[derive(Debug, Default)]
struct NewForm {
    nonce: String,
    name: Field,
    app: Field,
    scopes: Field,
    expires: Field,
    date: String,
}

impl NewForm {
    fn is_wrong(&self) -> bool {
        [&self.name, &self.app, &self.scopes, &self.expires]
            .iter()
            .any(|field| field.is_wrong())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Preset {
    app: String,
}

/// The form as it is sent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Sent {
    nonce: String,
    name: String,
    app: String,
    scopes: String,
    expires: String,
    date: String,
}

pub(super) async fn show(
    session: Session,
    preset: Result<Query<Preset>, QueryRejection>,
) -> Result<Response, Message> {
    let preset = preset.map_or_else(|_| Preset::default(), |Query(preset)| preset);
    let form = NewForm {
        nonce: session.tried(session.operator.new_key())?,
        app: Field::of(preset.app),
        expires: Field::of("90"),
        ..NewForm::default()
    };
    form_page(session, StatusCode::OK, form).await
}

pub(super) async fn create(
    State(settings): State<Settings>,
    session: Session,
    sent: Result<Form<Sent>, FormRejection>,
) -> Result<Response, Message> {
    let Form(sent) = sent.map_err(|error| Message::bad_form(&session.page, error.status()))?;
    let key = RequestKey::new(&sent.nonce);
    let key = key.map_err(|_| Message::bad_form(&session.page, StatusCode::BAD_REQUEST))?;
    let (mut form, wanted) = read(sent, session.page.now);
    let Some((app, new)) = wanted else {
        return form_page(session, StatusCode::UNPROCESSABLE_ENTITY, form).await;
    };
    match session.operator.issue(&app, new, Some(&key)).await {
        Ok(issued) => Ok(reveal::created(&session.page, &settings, &issued)),
        Err(error) => {
            if let Some(before) = error.repeated() {
                return Err(Message::made_before(&session.page, before.token));
            }
            if !blame(&mut form, &error) {
                return Err(Message::of_error(&session.page, &error));
            }
            form_page(session, StatusCode::UNPROCESSABLE_ENTITY, form).await
        }
    }
}

async fn form_page(
    session: Session,
    status: StatusCode,
    mut form: NewForm,
) -> Result<Response, Message> {
    let apps = session.tried(AppChoice::load(&session.operator).await)?;
    if !apps.offers(&form.app.value) {
        // A list with nothing chosen would show the first app as if that were.
        form.app.value.clear();
    }
    let notice = form.is_wrong().then(|| {
        let says = "The token was not created.";
        Notice::new(Tone::Bad, says, "See what is marked below.")
    });
    let shown = NewPage {
        notice,
        no_apps: apps.is_empty(),
        apps,
        form,
        expiries: EXPIRIES,
        today: session.page.now.strftime("%F").to_string(),
        page: session.page,
    };
    Ok(render(status, &shown))
}

/// Reads the form: what it asks for, unless a field is wrong.
fn read(sent: Sent, now: Timestamp) -> (NewForm, Option<(AppId, NewToken)>) {
    let name = name::normalize(&sent.name);
    let app = sent.app.trim().parse::<AppId>();
    let scopes = sent.scopes.parse::<ScopeSet>();
    let expiry = Expiry::read(&sent.expires, &sent.date, now);
    let mut form = NewForm {
        nonce: sent.nonce,
        name: Field::of(sent.name),
        app: Field::of(sent.app),
        scopes: Field::of(sent.scopes),
        expires: Field::of(sent.expires),
        date: sent.date,
    };
    form.name.blame(name.as_ref().err());
    form.scopes.blame(scopes.as_ref().err());
    form.expires.blame(expiry.as_ref().err());
    match &app {
        Err(_) if form.app.value.trim().is_empty() => form.app.blame(Some("Choose an app.")),
        app => form.app.blame(app.as_ref().err()),
    }
    let wanted = match (name, app, scopes, expiry) {
        (Ok(name), Ok(app), Ok(scopes), Ok(expiry)) => {
            let new = expiry.apply(NewToken::named(name).scopes(scopes));
            Some((app, new))
        }
        _ => None,
    };
    (form, wanted)
}

/// Puts an error to the field that it is about, if it is about one.
fn blame(form: &mut NewForm, error: &OperationError) -> bool {
    let field = match error.kind() {
        OperationErrorKind::ScopeNotHeld => &mut form.scopes,
        OperationErrorKind::Lifecycle(kind) => match kind {
            LifecycleErrorKind::InvalidName => &mut form.name,
            LifecycleErrorKind::InvalidExpiry => &mut form.expires,
            LifecycleErrorKind::UnknownApp | LifecycleErrorKind::AppDisabled => &mut form.app,
            _ => return false,
        },
        _ => return false,
    };
    field.blame(Some(error));
    true
}

/// When the token is to expire.
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
                _ => Err("Choose one of these."),
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

/// The end of a day, in UTC.
fn last_day(date: &str, now: Timestamp) -> Result<Timestamp, &'static str> {
    const NOT_A_DATE: &str = "Give a date, like 2031-12-24.";
    let date: Date = date.trim().parse().map_err(|_| NOT_A_DATE)?;
    let end = date.checked_add(1.day()).map_err(|_| NOT_A_DATE)?;
    let end = TimeZone::UTC.to_timestamp(end.to_datetime(Time::midnight()));
    let end = end.map_err(|_| NOT_A_DATE)?;
    if end <= now {
        return Err("This day is over. Give today or a later day.");
    }
    Ok(end)
}
