//! The choice of an app in forms and filters.

use std::collections::HashMap;

use askama::{Template, filters::HtmlSafe};
use tower_api_tokens::{AppId, AppQuery, AppRecord, check_name_part};

use super::{errors, names::visible};
use crate::operations::{OperationError, Operator};

/// How many apps a list offers. With more apps, the form has a search field.
const LISTED: usize = 200;

/// The apps to choose from: all of them, or the results of a search.
pub(super) struct AppChoice {
    /// Sorted by name.
    pub(super) apps: Vec<AppOption>,
    /// Whether there are too many apps for a list, so that one must be searched for.
    pub(super) must_search: bool,
    /// The search term.
    pub(super) find: String,
    /// A summary of the search results.
    pub(super) summary: String,
}

pub(super) struct AppOption {
    pub(super) id: String,
    /// The name, followed by the identifier if several apps share the name.
    pub(super) label: String,
    pub(super) disabled: bool,
    /// Whether the operator signed in with a token of this app.
    pub(super) own: bool,
}

impl AppChoice {
    /// Loads all apps. If there are too many, loads the apps that match `find` by name or identifier,
    /// and the `chosen` one. If none is chosen and the search has a single result, chooses that.
    pub(super) async fn load(
        operator: &Operator,
        chosen: &mut String,
        find: &str,
    ) -> Result<Self, OperationError> {
        let query = AppQuery::default().limit(LISTED);
        let mut found = operator.list_apps(&query).await?;
        let must_search = found.next.is_some();
        let find = find.trim();
        let mut summary = String::new();
        if must_search {
            found = match find {
                "" => tower_api_tokens::Page::empty(),
                part if check_name_part(part).is_err() => tower_api_tokens::Page::empty(),
                part => operator.list_apps(&query.name(part)).await?,
            };
            add_by_id(operator, find, &mut found.items).await?;
            if !find.is_empty() {
                summary = summarize(found.items.len(), found.next.is_some());
            }
            add_by_id(operator, chosen, &mut found.items).await?;
        }
        let apps = options(&found.items, own_app(operator));
        if let (true, true, [only]) = (must_search, chosen.is_empty(), apps.as_slice()) {
            chosen.clone_from(&only.id);
        }
        Ok(Self {
            apps,
            must_search,
            find: find.to_owned(),
            summary,
        })
    }

    /// Returns whether an app can be chosen.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.apps.iter().any(|app| app.id == id)
    }

    /// Returns whether there are no apps besides the operator's own.
    pub(super) fn is_empty(&self) -> bool {
        !self.must_search && self.apps.iter().all(|app| app.own)
    }

    /// Returns the operator's own app.
    pub(super) fn own(&self) -> Option<&AppOption> {
        self.apps.iter().find(|app| app.own)
    }

    /// Returns whether the list starts with a placeholder: there are several apps, or the only one is
    /// the operator's own, which is rarely the right choice for a new token.
    pub(super) fn needs_placeholder(&self) -> bool {
        self.apps.len() != 1 || self.own().is_some()
    }
}

/// Returns the app of the token that the operator signed in with, if the operator also manages others: it
/// is rarely the right choice for a new token.
pub(super) fn own_app(operator: &Operator) -> Option<AppId> {
    match operator.limited_to() {
        Some(_) => None,
        None => operator.actor().own_app(),
    }
}

/// The choice of an app in the filter of a list.
#[derive(Template)]
#[template(path = "app_filter.html")]
pub(super) struct AppFilter {
    pub(super) choice: AppChoice,
    /// The identifier of the chosen app; empty for all apps.
    chosen: String,
    /// Whether the list has the chosen app besides the choices.
    offers_chosen: bool,
}

impl HtmlSafe for AppFilter {}

impl AppFilter {
    pub(super) fn new(choice: AppChoice, chosen: &str) -> Self {
        Self {
            choice,
            chosen: chosen.to_owned(),
            offers_chosen: false,
        }
    }

    /// Adds the chosen app to the list.
    pub(super) fn with_chosen(mut self) -> Self {
        self.offers_chosen = true;
        self
    }

    /// Returns the summary of the search results, unless an app is chosen.
    pub(super) fn summary(&self) -> Option<&str> {
        let summary = self.choice.summary.as_str();
        (!summary.is_empty() && self.chosen.is_empty()).then_some(summary)
    }
}

/// Adds the app with this identifier, if it exists and is not listed yet.
async fn add_by_id(
    operator: &Operator,
    id: &str,
    apps: &mut Vec<AppRecord>,
) -> Result<(), OperationError> {
    let Ok(id) = id.trim().parse::<AppId>() else {
        return Ok(());
    };
    if apps.iter().any(|app| app.id == id) {
        return Ok(());
    }
    match operator.get_app(&id).await {
        Ok(app) => apps.push(app),
        Err(error) if errors::is_unknown_app(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

fn summarize(found: usize, more: bool) -> String {
    match found {
        0 => "No apps found with this name or ID.".to_owned(),
        1 => "1 app found.".to_owned(),
        _ if more => format!("More than {LISTED} apps found. Type more of the name."),
        n => format!("{n} apps found. Choose one."),
    }
}

fn options(apps: &[AppRecord], own: Option<AppId>) -> Vec<AppOption> {
    let mut named: HashMap<String, usize> = HashMap::new();
    for app in apps {
        *named.entry(visible(&app.name)).or_default() += 1;
    }
    let mut options: Vec<AppOption> = apps
        .iter()
        .map(|app| {
            let own = own == Some(app.id);
            let mut label = visible(&app.name);
            if named.get(&label) != Some(&1) {
                label = format!("{label} ({})", app.id);
            }
            if own {
                label += " (yours)";
            }
            AppOption {
                id: app.id.to_string(),
                label,
                disabled: app.disabled_at.is_some(),
                own,
            }
        })
        .collect();
    options.sort_by_cached_key(|app| (app.own, app.label.to_lowercase()));
    options
}
