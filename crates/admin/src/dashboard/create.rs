//! Creating a token.

use std::time::Duration;

use askama::Template;
use axum::{extract::State, response::Response};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use tower_api_tokens::{
    AppId, LifecycleErrorKind, NewToken, ScopeSet, normalize_name, parse_expiry,
};

use super::{
    app_choice::AppChoice,
    form_key::FormKey,
    message::Message,
    page::{Page, render},
    request::{self, Asked, query},
    reveal,
    session::Session,
    settings::Settings,
    view::{Field, Notice, ScopesView, Tone},
    words::Moment,
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
    ("date", "On a date"),
    ("never", "Never"),
];

const NOT_A_DATE: &str = "Give a date, like 2031-12-24.";

#[derive(Template)]
#[template(path = "new.html")]
struct NewPage {
    page: Page,
    notice: Option<Notice>,
    /// Whether an app has to be created first.
    no_apps: bool,
    /// What the person who fills the form in may grant.
    grants: Grants,
    apps: AppChoice,
    form: NewForm,
    expiries: &'static [(&'static str, &'static str)],
    today: String,
}

impl NewPage {
    /// Whether what was chosen as the expiry is among those offered.
    fn offers_expiry(&self) -> bool {
        let chosen = self.form.expires.value.as_str();
        self.expiries.iter().any(|(value, _)| *value == chosen)
    }
}

/// Which scopes a person may grant, in words.
struct Grants {
    /// Those scopes; none if it is any.
    only: Option<ScopesView>,
    /// The command that issues a token which may grant more, if this one may grant no scope that a
    /// service would ask for.
    more: Option<String>,
    /// The latest expiry that they may give; none if it is any.
    until: Option<Moment>,
}

impl Grants {
    fn of(actor: &Actor, now: Timestamp) -> Self {
        let (managing, owning) = (TokenGuard::SCOPE, TokenGuard::OWNER);
        let only = actor.grantable().scope_set();
        let nothing_else = only.is_some_and(|only| only.iter().all(|scope| scope == managing));
        let app = actor.own_app().filter(|_| nothing_else);
        Self {
            only: only.map(ScopesView::all),
            more: app.map(|app| {
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
        self.first_wrong() != ""
    }

    /// The first field that is wrong, which gets the focus.
    fn first_wrong(&self) -> &'static str {
        let fields = [
            ("name", &self.name),
            ("app", &self.app),
            ("scopes", &self.scopes),
            ("expires", &self.expires),
        ];
        let wrong = fields.iter().find(|(_, field)| field.is_wrong());
        wrong.map_or("", |(name, _)| name)
    }
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
    /// What an app is searched by.
    find: String,
}

/// Shows the form, with what an address or a search for an app has put into it.
pub(super) async fn show(session: Session, preset: Asked<Sent>) -> Result<Response, Message> {
    let preset = query(preset);
    let expires = match preset.expires.as_str() {
        "" => "90",
        chosen => chosen,
    };
    let form = NewForm {
        nonce: session.tried(session.operator.new_key())?,
        expires: Field::of(expires),
        name: Field::of(preset.name),
        app: Field::of(preset.app),
        scopes: Field::of(preset.scopes),
        date: preset.date,
    };
    form_page(session, StatusCode::OK, form, &preset.find, None).await
}

pub(super) async fn create(
    State(settings): State<Settings>,
    session: Session,
    sent: request::Sent<Sent>,
) -> Result<Response, Message> {
    let sent = session.form(sent)?;
    let key = FormKey::read(&sent.nonce, session.page.now);
    let key = key.ok_or_else(|| Message::bad_form(&session.page, StatusCode::BAD_REQUEST))?;
    let find = sent.find.clone();
    let (mut form, wanted) = read(sent, session.page.now);
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    let FormKey::Good(key) = key else {
        form.nonce = session.tried(session.operator.new_key())?;
        let notice = Notice::new(
            Tone::Bad,
            "Nothing was created: this form was open for a day or longer.",
            "If you sent it before, its token may be in the list already. If not, send it now.",
        );
        return form_page(session, StatusCode::CONFLICT, form, &find, Some(notice)).await;
    };
    let Some((app, new)) = wanted else {
        return form_page(session, unprocessable, form, &find, None).await;
    };
    let new = new.idempotency_key(key);
    match session.operator.issue(&app, new).await {
        Ok(issued) => Ok(reveal::created(&session.page, &settings, &issued)),
        Err(error) => {
            if let Some(before) = error.repeated() {
                return Err(Message::made_before(&session.page, before.token));
            }
            if !blame(&mut form, &error) {
                return Err(Message::of_error(&session.page, &error));
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
    let apps = session.tried(apps)?;
    if let (true, Some(app)) = (form.app.value.is_empty(), apps.only()) {
        form.app.value.clone_from(&app.id);
    }
    if !apps.offers(form.app.value.trim()) {
        // A list with nothing chosen would show the first app as if that were.
        form.app.value.clear();
    }
    let wrong = || {
        let says = "The token was not created.";
        Notice::new(Tone::Bad, says, "See what is marked below.")
    };
    let shown = NewPage {
        notice: notice.or_else(|| form.is_wrong().then(wrong)),
        no_apps: apps.is_empty() && form.app.value.is_empty(),
        grants: Grants::of(session.operator.actor(), session.page.now),
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
    let name = normalize_name(&sent.name);
    let app = sent.app.trim().parse::<AppId>();
    let scopes = ScopeSet::parse_list(&sent.scopes);
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

/// The end of the day that was typed; an instant in full is taken as it is.
fn last_day(date: &str, now: Timestamp) -> Result<Timestamp, &'static str> {
    let date = date.trim();
    let end = parse_expiry(date).map_err(|_| NOT_A_DATE)?;
    match end > now {
        true => Ok(end),
        false => Err("Choose today or a later date."),
    }
}
