//! The filter of the list of tokens, as in the URL. Its fields have the names of the parameters of the
//! JSON API.

use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use tower_api_tokens::{
    AppId, AuditEvent, MaskedToken, TokenCondition, TokenCursor, TokenFormats, TokenOrder,
    TokenQuery, check_name_part, one_line,
};

use super::{
    errors::{CHOOSE_OPTION, INVALID_APP_ID, INVALID_SEARCH, UNKNOWN_APP},
    expiry::first_day,
    names::visible,
    pager::Place,
    view::status_label,
};

/// How many tokens a page shows.
const PAGE_SIZE: usize = 50;

/// The filter, as in the URL.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    pub(super) name: String,
    pub(super) app: String,
    /// The search term for an app.
    pub(super) find: String,
    pub(super) status: String,
    pub(super) id: String,
    pub(super) format: String,
    pub(super) last_four: String,
    pub(super) created_by: String,
    pub(super) created_before: String,
    pub(super) expires_before: String,
    pub(super) never_expires: String,
    pub(super) unused_since: String,
    pub(super) never_used: String,
    pub(super) replaced: String,
    pub(super) used_since_rotation: String,
    pub(super) sort: String,
    after: String,
    back: String,
    count: String,
}

impl Filter {
    /// Returns whether it selects some of the tokens.
    pub(super) fn is_set(&self) -> bool {
        self.is_further_set()
            || [&self.name, &self.app, &self.find, &self.status]
                .iter()
                .any(|field| !field.is_empty())
    }

    /// Returns whether one of the further filters is set.
    pub(super) fn is_further_set(&self) -> bool {
        self.further().iter().any(|(_, value)| !value.is_empty())
    }

    /// Returns whether it selects all tokens of one app.
    pub(super) fn is_whole_app(&self) -> bool {
        let unfiltered = self.name.is_empty() && self.status.is_empty() && !self.is_paged();
        self.app.parse::<AppId>().is_ok() && unfiltered && !self.is_further_set()
    }

    /// Returns whether a query that was read from it has a condition. Without one, it selects the tokens of all apps.
    pub(super) fn has_condition(query: &TokenQuery) -> bool {
        let mut unfiltered = TokenQuery::default();
        unfiltered.order = query.order;
        unfiltered.after = query.after;
        unfiltered.limit = query.limit;
        *query != unfiltered
    }

    pub(super) fn is_paged(&self) -> bool {
        !self.after.is_empty()
    }

    pub(super) fn query(&self, formats: &TokenFormats) -> Result<TokenQuery, InvalidFilter> {
        let mut query = TokenQuery::default().limit(PAGE_SIZE);
        query.name = read(&self.name, |part| {
            check_name_part(part).map_err(|_| INVALID_SEARCH)?;
            Ok(part.to_owned())
        })?;
        query.app = read(&self.app, |app| app.parse().map_err(|_| INVALID_APP_ID))?;
        query.status = read(&self.status, |status| {
            let message = "Unknown status. Choose one from the list.";
            status.parse().map_err(|_| message)
        })?;
        query.order = read(&self.sort, |order| {
            let message = "Unknown order. Choose one from the list.";
            order.parse().map_err(|_| message)
        })?;
        self.read_further(&mut query, formats)?;
        if let Err(conflict) = query.check() {
            let [one, other] = conflict.conditions().map(label_of_condition);
            return Err(InvalidFilter::bad(format!(
                "No token can match both “{one}” and “{other}”. Change or remove one of them."
            )));
        }
        if self.is_paged() {
            let message = "This page of results doesn't exist. Start from the first page.";
            let after = self.after.parse::<TokenCursor>();
            query = query.after(after.map_err(|_| InvalidFilter::bad(message))?);
            if query.has_foreign_cursor() {
                return Err(InvalidFilter::bad(message));
            }
        }
        Ok(query)
    }

    fn read_further(
        &self,
        query: &mut TokenQuery,
        formats: &TokenFormats,
    ) -> Result<(), InvalidFilter> {
        query.id = read(&self.id, |id| {
            let message = "Not a valid token ID. Copy it from the page of the token.";
            id.parse().map_err(|_| message)
        })?;
        let format = read(&self.format, |name| {
            let message = "Unknown format. Choose one from the list.";
            formats.named(name).map_err(|_| message)
        })?;
        if let Some(format) = format {
            *query = std::mem::take(query).format(format);
        }
        query.mask_tail = read(&self.last_four, |tail| match MaskedToken::new("", tail) {
            Ok(_) => Ok(tail.to_owned()),
            Err(_) => Err("Enter the last four characters of the token, as the list shows them."),
        })?;
        query.created_by = read(&self.created_by, |actor| {
            match one_line(actor, AuditEvent::MAX_ACTOR_LEN) == actor {
                true => Ok(actor.to_owned()),
                false => Err("Enter the name of an actor in one line of at most 200 characters."),
            }
        })?;
        query.created_before = date(&self.created_before)?;
        query.expires_before = date(&self.expires_before)?;
        query.unused_since = date(&self.unused_since)?;
        query.never_expires = flag(&self.never_expires)?.unwrap_or_default();
        query.never_used = flag(&self.never_used)?.unwrap_or_default();
        query.replaced = flag(&self.replaced)?;
        query.used_since_rotation = flag(&self.used_since_rotation)?;
        Ok(())
    }

    /// Returns the fields besides the name, the app, the status and the order.
    fn further(&self) -> [(&'static str, &str); 11] {
        [
            ("id", &self.id),
            ("format", &self.format),
            ("last_four", &self.last_four),
            ("created_by", &self.created_by),
            ("created_before", &self.created_before),
            ("expires_before", &self.expires_before),
            ("never_expires", &self.never_expires),
            ("unused_since", &self.unused_since),
            ("never_used", &self.never_used),
            ("replaced", &self.replaced),
            ("used_since_rotation", &self.used_since_rotation),
        ]
    }

    /// Returns the fields of the filter, without the place in the listing.
    pub(super) fn fields(&self) -> Vec<(&'static str, &str)> {
        let mut fields = vec![
            ("name", self.name.as_str()),
            ("app", &self.app),
            ("find", if self.app.is_empty() { &self.find } else { "" }),
            ("status", &self.status),
        ];
        fields.extend(self.further());
        fields.push(("sort", &self.sort));
        fields
    }

    /// Returns the fields with another value of one of them.
    pub(super) fn fields_with<'f>(
        &'f self,
        name: &str,
        value: &'f str,
    ) -> Vec<(&'static str, &'f str)> {
        let mut fields = self.fields();
        for field in &mut fields {
            if field.0 == name {
                field.1 = value;
            }
        }
        fields
    }

    /// Returns the further filters that are set: the name of each, and what it selects.
    pub(super) fn chosen(&self) -> impl Iterator<Item = (&'static str, String)> {
        let set = self.further().into_iter();
        set.filter(|(name, value)| !is_absent(name, value.trim()))
            .map(|(name, value)| (name, label(name, value.trim())))
    }

    /// Returns what each filter selects.
    pub(super) fn labels(&self) -> impl Iterator<Item = String> {
        let first = [
            ("name", &self.name),
            ("app", &self.app),
            ("status", &self.status),
        ];
        let first = first
            .into_iter()
            .filter(|(_, value)| !value.trim().is_empty());
        let first = first.map(|(name, value)| label(name, value.trim()));
        first.chain(self.chosen().map(|(_, label)| label))
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place {
            after: &self.after,
            back: &self.back,
            count: &self.count,
        }
    }
}

/// Reads a field, unless it is empty.
fn read<T>(
    text: &str,
    read: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<Option<T>, InvalidFilter> {
    match text.trim_matches(' ') {
        "" => Ok(None),
        text => read(text).map(Some).map_err(InvalidFilter::bad),
    }
}

fn date(text: &str) -> Result<Option<Timestamp>, InvalidFilter> {
    first_day(text).map_err(InvalidFilter::bad)
}

fn flag(text: &str) -> Result<Option<bool>, InvalidFilter> {
    read(text, |text| text.parse().map_err(|_| CHOOSE_OPTION))
}

/// Returns whether a further filter selects all tokens.
fn is_absent(name: &str, value: &str) -> bool {
    match name {
        "never_expires" | "never_used" => ["", "false"].contains(&value),
        _ => value.is_empty(),
    }
}

/// Returns what a filter selects.
fn label(name: &str, value: &str) -> String {
    let (prefix, value) = match (name, value) {
        ("status", status) => {
            let status = status.parse().map(status_label);
            ("Status:", status.unwrap_or(value).to_owned())
        }
        ("sort", order) => {
            let order = order.parse().map(order_label);
            ("", order.unwrap_or(value).to_owned())
        }
        ("never_expires", _) => ("Never expires", String::new()),
        ("never_used", _) => ("Never used", String::new()),
        ("replaced", "false") => ("Not replaced", String::new()),
        ("replaced", _) => ("Replaced", String::new()),
        ("used_since_rotation", "false") => ("Not used since its rotation", String::new()),
        ("used_since_rotation", _) => ("Used since its rotation", String::new()),
        (name, value) => {
            let prefix = match name {
                "name" => "Name contains",
                "app" => "App ID:",
                "id" => "Token ID:",
                "format" => "Format:",
                "last_four" => "Ends with",
                "created_by" => "Created by",
                "created_before" => "Created before",
                "expires_before" => "Expires before",
                _ => "Unused since",
            };
            (prefix, visible(value))
        }
    };
    format!("{prefix} {value}").trim().to_owned()
}

fn label_of_condition(condition: TokenCondition) -> String {
    label(condition.name, condition.value.unwrap_or_default())
}

/// Returns the orders to choose from, with their labels.
pub(super) fn orders() -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = TokenOrder::ALL.iter().copied();
    all.map(|order| (order.as_str(), order_label(order)))
}

/// Returns the label of an order.
pub(super) fn order_label(order: TokenOrder) -> &'static str {
    match order {
        TokenOrder::Newest => "Newest first",
        TokenOrder::Oldest => "Oldest first",
        TokenOrder::Expiry => "Earliest expiration first",
        TokenOrder::LastUsed => "Longest unused first",
        other => other.as_str(),
    }
}

/// Why the filter cannot be applied.
pub(super) struct InvalidFilter {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl InvalidFilter {
    fn bad(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }

    pub(super) fn unknown_app() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            message: UNKNOWN_APP.to_owned(),
        }
    }
}
