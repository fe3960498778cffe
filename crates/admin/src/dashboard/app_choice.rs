//! Apps to choose from.

use std::collections::HashMap;

use tower_api_tokens::{AppId, AppQuery, AppRecord, LifecycleErrorKind, check_name_part};

use super::names::visible;
use crate::operations::{OperationError, OperationErrorKind, Operator};

/// How many apps a list offers. Of more than these one is searched for.
const LISTED: usize = 200;

/// Apps to choose from: all of them, or those that a search has found.
pub(super) struct AppChoice {
    /// By name.
    pub(super) apps: Vec<AppOption>,
    /// Whether there are more apps than a list offers.
    pub(super) searched: bool,
    /// What was searched for.
    pub(super) find: String,
    /// What the search has found, in words.
    pub(super) says: String,
}

pub(super) struct AppOption {
    pub(super) id: String,
    /// The name, with the identifier where several apps have it.
    pub(super) label: String,
    pub(super) disabled: bool,
    /// Whether the person who chooses signed in with one of its tokens.
    pub(super) own: bool,
}

impl AppChoice {
    /// Loads the apps, or finds those with `find` in their name or as their identifier, and the one
    /// that is chosen.
    pub(super) async fn load(
        operator: &Operator,
        chosen: &str,
        find: &str,
    ) -> Result<Self, OperationError> {
        let query = AppQuery::default().limit(LISTED);
        let mut found = operator.list_apps(&query).await?;
        let searched = found.next.is_some();
        let find = find.trim();
        let mut says = String::new();
        if searched {
            found = match find {
                "" => tower_api_tokens::Page::empty(),
                part if check_name_part(part).is_err() => tower_api_tokens::Page::empty(),
                part => operator.list_apps(&query.name(part)).await?,
            };
            add(operator, find, &mut found.items).await?;
            if !find.is_empty() {
                says = outcome(found.items.len(), found.next.is_some());
            }
            add(operator, chosen, &mut found.items).await?;
        }
        Ok(Self {
            apps: options(&found.items, operator.actor().own_app()),
            searched,
            find: find.to_owned(),
            says,
        })
    }

    /// Whether an app can be chosen.
    pub(super) fn offers(&self, id: &str) -> bool {
        self.apps.iter().any(|app| app.id == id)
    }

    /// Whether there is no app but that of the person who chooses.
    pub(super) fn is_empty(&self) -> bool {
        !self.searched && self.apps.iter().all(|app| app.own)
    }

    /// The app of the person who chooses.
    pub(super) fn own(&self) -> Option<&AppOption> {
        self.apps.iter().find(|app| app.own)
    }

    /// The only app that was found.
    pub(super) fn only(&self) -> Option<&AppOption> {
        match self.apps.as_slice() {
            [app] if self.searched => Some(app),
            _ => None,
        }
    }

    /// Whether the list begins with no app chosen: there are several, or the only one is for those
    /// who manage tokens, and not for what calls the service.
    pub(super) fn begins_open(&self) -> bool {
        self.apps.len() != 1 || self.own().is_some()
    }
}

/// Adds the app with this identifier, if there is one that is not among them.
async fn add(
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
        Err(error) if is_unknown(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

fn is_unknown(error: &OperationError) -> bool {
    error.kind() == OperationErrorKind::Lifecycle(LifecycleErrorKind::UnknownApp)
}

fn outcome(found: usize, more: bool) -> String {
    match found {
        0 => "No app has this in its name or as its ID.".to_owned(),
        1 => "1 app matches.".to_owned(),
        _ if more => format!("More than {LISTED} apps match: type more of the name."),
        n => format!("{n} apps match: choose one."),
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
