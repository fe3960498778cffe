//! Apps to choose from.

use std::collections::HashMap;

use super::words::visible;
use crate::{
    admin::{OperationError, Operator},
    app::AppRecord,
    store::AppQuery,
};

/// With more apps than this an identifier is typed instead.
const LISTED: usize = 200;

/// Apps to choose from.
pub(super) enum AppChoice {
    /// All of them, by name.
    Listed(Vec<AppOption>),
    /// More than anybody would choose from.
    TooMany,
}

pub(super) struct AppOption {
    pub(super) id: String,
    /// The name, with the identifier where several apps have it.
    pub(super) label: String,
    pub(super) disabled: bool,
}

impl AppChoice {
    pub(super) async fn load(operator: &Operator) -> Result<Self, OperationError> {
        let apps = operator
            .list_apps(&AppQuery::default().limit(LISTED))
            .await?;
        Ok(match apps.next {
            Some(_) => Self::TooMany,
            None => Self::Listed(options(&apps.items)),
        })
    }

    /// Whether an app can be chosen.
    pub(super) fn offers(&self, id: &str) -> bool {
        match self {
            Self::Listed(apps) => apps.iter().any(|app| app.id == id),
            Self::TooMany => true,
        }
    }

    /// Whether there is no app at all.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Listed(apps) if apps.is_empty())
    }
}

fn options(apps: &[AppRecord]) -> Vec<AppOption> {
    let mut named: HashMap<&str, usize> = HashMap::new();
    for app in apps {
        *named.entry(&app.name).or_default() += 1;
    }
    let mut options: Vec<AppOption> = apps
        .iter()
        .map(|app| AppOption {
            id: app.id.to_string(),
            label: match named.get(app.name.as_str()) {
                Some(1) => visible(&app.name),
                _ => format!("{} ({})", visible(&app.name), app.id),
            },
            disabled: app.disabled_at.is_some(),
        })
        .collect();
    options.sort_by_cached_key(|app| app.label.to_lowercase());
    options
}
