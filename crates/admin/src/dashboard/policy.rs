//! The page of the policy, and the form that sets it.

use std::{collections::BTreeMap, time::Duration};

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use tower_api_tokens::{AppId, AuditAction, Policy, RecordVersion, ScopeSet};

use super::{
    edit::{EditForm, FormState},
    input::Input,
    lifetime, lines,
    message::Message,
    names::excerpt,
    page::{Page, render},
    request::{Done, QueryResult, query_or_default},
    session::Session,
    text::grouped,
    view::{Field, Notice, ScopesView, Tone},
};
use crate::operations::{OperationError, Operator};

#[derive(Template)]
#[template(path = "policy.html")]
struct PolicyPage {
    page: Page,
    notice: Option<Notice>,
    rules: Rules,
    /// Whether the service has stricter rules of its own.
    is_stricter: bool,
    /// The form, for an operator who may set the policy.
    form: Option<PolicyForm>,
}

/// The rules in effect.
struct Rules {
    max_lifetime: String,
    default_lifetime: String,
    expiration: &'static str,
    max_live_tokens: String,
    names: &'static str,
    /// The scopes that tokens may have, or `None` for any.
    scopes: Option<ScopesView>,
    scopes_of: Vec<(AppId, ScopesView)>,
}

impl Rules {
    fn of(policy: &Policy) -> Self {
        let lifetime = |lifetime: Option<Duration>, none: &str| {
            lifetime.map_or_else(|| none.to_owned(), lifetime::text)
        };
        Self {
            max_lifetime: lifetime(policy.max_lifetime, "No limit"),
            default_lifetime: lifetime(policy.default_lifetime, "None"),
            expiration: match policy.requires_expiry() {
                true => "Required",
                false => "Optional",
            },
            max_live_tokens: policy
                .max_live_tokens
                .map_or_else(|| "No limit".to_owned(), |most| grouped(most.into())),
            names: match policy.unique_names {
                true => "Unique in each app",
                false => "May repeat",
            },
            scopes: policy.scopes.as_ref().map(ScopesView::all),
            scopes_of: policy
                .scopes_of
                .iter()
                .map(|(app, scopes)| (*app, ScopesView::all(scopes)))
                .collect(),
        }
    }
}

/// The form as the template shows it.
struct PolicyForm {
    version: RecordVersion,
    lifetimes: Vec<Input>,
    expiry_required: bool,
    unique_names: bool,
    limits_scopes: bool,
    scopes: Vec<Input>,
    /// The saved check boxes, if another edit was saved while the form was open.
    saved: Option<String>,
}

/// The form as submitted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Submitted {
    version: String,
    max_lifetime: String,
    default_lifetime: String,
    max_live_tokens: String,
    expiry_required: String,
    unique_names: String,
    limits_scopes: String,
    scopes: String,
    scopes_of: String,
}

/// The fields of the form.
pub(super) struct Form {
    max_lifetime: Field,
    default_lifetime: Field,
    max_live_tokens: Field,
    expiry_required: bool,
    unique_names: bool,
    limits_scopes: bool,
    scopes: Field,
    scopes_of: Field,
}

impl Form {
    /// Validates the form, and returns the policy that it describes.
    fn read(submitted: Submitted) -> (Self, Policy) {
        let mut form = Self {
            max_lifetime: Field::with_value(submitted.max_lifetime),
            default_lifetime: Field::with_value(submitted.default_lifetime),
            max_live_tokens: Field::with_value(submitted.max_live_tokens),
            expiry_required: !submitted.expiry_required.is_empty(),
            unique_names: !submitted.unique_names.is_empty(),
            limits_scopes: !submitted.limits_scopes.is_empty(),
            scopes: Field::with_value(submitted.scopes),
            scopes_of: Field::with_value(submitted.scopes_of),
        };
        let mut policy = Policy::default();
        policy.expiry_required = form.expiry_required;
        policy.unique_names = form.unique_names;
        policy.max_lifetime = form.max_lifetime.read(optional(lifetime::read)).flatten();
        policy.default_lifetime = form
            .default_lifetime
            .read(optional(lifetime::read))
            .flatten();
        let most = optional(|text| {
            let most = text.parse();
            most.map_err(|_| "Enter a whole number, such as 20.".to_owned())
        });
        policy.max_live_tokens = form.max_live_tokens.read(most).flatten();
        if form.limits_scopes {
            policy.scopes = form.scopes.read(lines::read_scopes);
        } else if !form.scopes.value.trim().is_empty() {
            let error = "Check “Allow only these scopes”, or remove the scopes.";
            form.scopes.set_error(error);
        }
        policy.scopes_of = form.scopes_of.read(read_apps).unwrap_or_default();
        (form, policy)
    }

    /// Returns the form as the template shows it. With a `saved` form, shows what differs from it.
    fn shown(&self, version: RecordVersion, saved: Option<&Self>) -> PolicyForm {
        let mut lifetimes = vec![
            Input::new("max_lifetime", "Maximum lifetime", &self.max_lifetime)
                .saved(saved.map(|form| &form.max_lifetime))
                .hint(
                    "Days, such as 90, or a number of hours, minutes or seconds, such as 12 hours. \
                     Every token must then expire. Leave it empty for no limit.",
                ),
            Input::new(
                "default_lifetime",
                "Default lifetime",
                &self.default_lifetime,
            )
            .saved(saved.map(|form| &form.default_lifetime))
            .hint(
                "For tokens that are created without an explicit expiration. Leave it empty for \
                 none.",
            ),
            Input::new(
                "max_live_tokens",
                "Active tokens per app",
                &self.max_live_tokens,
            )
            .saved(saved.map(|form| &form.max_live_tokens))
            .hint(
                "The most that an app may have. Tokens that were replaced don't count. Leave it \
                 empty for no limit.",
            ),
        ];
        let mut scopes = vec![
            Input::new("scopes", "Scopes", &self.scopes)
                .saved(saved.map(|form| &form.scopes))
                .mono()
                .hint("Separate scopes with spaces."),
            Input::new("scopes_of", "Scopes by app", &self.scopes_of)
                .saved(saved.map(|form| &form.scopes_of))
                .lines()
                .placeholder("APP-ID=invoices:read invoices:write")
                .hint(
                    "One app per line: its ID, an equals sign, and its scopes. They replace the \
                     scopes above.",
                ),
        ];
        match lifetimes.iter().any(Input::has_error) {
            true => Input::focus_first_invalid(&mut lifetimes),
            false => Input::focus_first_invalid(&mut scopes),
        }
        PolicyForm {
            version,
            lifetimes,
            scopes,
            expiry_required: self.expiry_required,
            unique_names: self.unique_names,
            limits_scopes: self.limits_scopes,
            saved: saved
                .filter(|saved| saved.boxes() != self.boxes())
                .map(|saved| {
                    let chosen: Vec<&str> = saved.boxes().into_iter().flatten().collect();
                    match chosen.is_empty() {
                        true => "none of these".to_owned(),
                        false => chosen.join(", "),
                    }
                }),
        }
    }

    /// Returns the labels of the check boxes that are checked.
    fn boxes(&self) -> [Option<&'static str>; 3] {
        [
            self.expiry_required.then_some("Every token must expire"),
            self.unique_names
                .then_some("Names must be unique in each app"),
            self.limits_scopes.then_some("Allow only these scopes"),
        ]
    }
}

impl EditForm for Form {
    type Key = ();
    type Record = Policy;
    type Submitted = Submitted;
    type Edit = Policy;

    const ACTION: AuditAction = AuditAction::SetPolicy;
    const RECORD: &'static str = "Policy";
    const DONE: &'static str = "saved";

    fn of(policy: &Policy) -> Self {
        let lifetime = |lifetime: Option<Duration>| {
            Field::with_value(lifetime.map(lifetime::text).unwrap_or_default())
        };
        let most = policy.max_live_tokens.map(|most| most.to_string());
        let scopes = policy.scopes.as_ref().map(ScopeSet::as_str);
        let apps = policy.scopes_of.iter();
        let apps: Vec<String> = apps
            .map(|(app, scopes)| format!("{app}={scopes}"))
            .collect();
        Self {
            max_lifetime: lifetime(policy.max_lifetime),
            default_lifetime: lifetime(policy.default_lifetime),
            max_live_tokens: Field::with_value(most.unwrap_or_default()),
            expiry_required: policy.expiry_required,
            unique_names: policy.unique_names,
            limits_scopes: policy.scopes.is_some(),
            scopes: Field::with_value(scopes.unwrap_or_default()),
            scopes_of: Field::with_value(apps.join("\n")),
        }
    }

    async fn find(session: &Session, (): &()) -> Result<Policy, Message> {
        session.or_error_page(session.operator.policy().await)
    }

    fn version(policy: &Policy) -> RecordVersion {
        policy.version()
    }

    fn path(_: &Policy) -> String {
        "/policy".to_owned()
    }

    fn submitted_version(submitted: &Submitted) -> &str {
        &submitted.version
    }

    fn read_edit(submitted: Submitted, saved: &Policy, _: Timestamp) -> (Self, Option<Policy>) {
        let (form, policy) = Self::read(submitted);
        (form, (policy != *saved).then_some(policy))
    }

    fn has_error(&self) -> bool {
        let fields = [
            &self.max_lifetime,
            &self.default_lifetime,
            &self.max_live_tokens,
            &self.scopes,
            &self.scopes_of,
        ];
        fields.into_iter().any(Field::has_error)
    }

    fn set_error(&mut self, _: &OperationError) -> bool {
        false
    }

    async fn save(
        operator: &Operator,
        saved: &Policy,
        policy: Policy,
    ) -> Result<(), OperationError> {
        operator.set_policy(saved.version(), policy).await?;
        Ok(())
    }

    async fn render(
        &self,
        session: Session,
        policy: &Policy,
        state: FormState,
    ) -> Result<Response, Message> {
        let saved: Option<Self> = state.saved(policy);
        let form = self.shown(policy.version(), saved.as_ref());
        let notice = state.notice(Self::RECORD);
        Ok(policy_page(session, state.status(), policy, notice, form))
    }
}

/// Returns a parser of text that may be empty.
fn optional<T>(
    read: impl FnOnce(&str) -> Result<T, String>,
) -> impl FnOnce(&str) -> Result<Option<T>, String> {
    |text| match text.trim() {
        "" => Ok(None),
        text => read(text).map(Some),
    }
}

fn read_apps(text: &str) -> Result<BTreeMap<AppId, ScopeSet>, String> {
    let mut apps = BTreeMap::new();
    for line in text.split(['\n', '\r']).map(str::trim) {
        if line.is_empty() {
            continue;
        }
        let (app, scopes) = line.split_once('=').unwrap_or((line, ""));
        let has_sign = line.contains('=');
        let app: AppId = match app.trim().parse() {
            Ok(app) if has_sign => app,
            _ => {
                let shown = excerpt(app.trim());
                return Err(format!(
                    "Write each line as APP-ID=scopes. This one isn't: {shown}"
                ));
            }
        };
        if apps.insert(app, lines::read_scopes(scopes)?).is_some() {
            return Err(format!("Use each app once. This one is repeated: {app}"));
        }
    }
    Ok(apps)
}

pub(super) async fn show(session: Session, done: QueryResult<Done>) -> Result<Response, Message> {
    if session.page.only_app().is_some() {
        return Err(Message::no_such_page(&session.page));
    }
    let policy = session.or_error_page(session.operator.policy().await)?;
    let notice = match query_or_default(done).done.as_str() {
        "saved" => Some(Notice::new(
            Tone::Good,
            "Policy saved.",
            "It applies to new and edited tokens. Existing tokens stay as they are.",
        )),
        _ => None,
    };
    let form = Form::of(&policy).shown(policy.version(), None);
    Ok(policy_page(session, StatusCode::OK, &policy, notice, form))
}

fn policy_page(
    session: Session,
    status: StatusCode,
    policy: &Policy,
    notice: Option<Notice>,
    form: PolicyForm,
) -> Response {
    let effective = session.operator.combined_policy(policy.clone());
    let shown = PolicyPage {
        notice,
        rules: Rules::of(&effective),
        is_stricter: effective != *policy,
        form: session.is_owner().then_some(form),
        page: session.page,
    };
    render(status, &shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_that_was_not_touched_describes_the_same_policy() {
        let app = AppId::new("billing").unwrap();
        let day = Duration::from_secs(86_400);
        let strict = Policy::default()
            .max_lifetime(90 * day)
            .default_lifetime(Duration::from_secs(5_400))
            .expiry_required()
            .unique_names()
            .max_live_tokens(0)
            .scopes(ScopeSet::default())
            .with_scopes_of(app, "a,b c".parse().unwrap());
        for policy in [Policy::default(), strict] {
            let form = Form::of(&policy);
            let checked = |is_checked: bool| if is_checked { "on" } else { "" }.to_owned();
            let submitted = Submitted {
                version: String::new(),
                expiry_required: checked(form.expiry_required),
                unique_names: checked(form.unique_names),
                limits_scopes: checked(form.limits_scopes),
                max_lifetime: form.max_lifetime.value,
                default_lifetime: form.default_lifetime.value,
                max_live_tokens: form.max_live_tokens.value,
                scopes: form.scopes.value,
                scopes_of: form.scopes_of.value,
            };
            let (form, read) = Form::read(submitted);
            assert!(!form.has_error());
            assert_eq!(read, policy);
        }
    }
}
