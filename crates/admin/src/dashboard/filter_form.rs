//! The form with the filter of the list of tokens, and the headings that sort it.

use askama::{Template, filters::HtmlSafe};
use tower_api_tokens::{TokenFormats, TokenOrder, TokenQuery, TokenStatus};

use super::{
    app_choice::AppFilter,
    input::Input,
    page::{Page, query_string},
    token_filter::{Filter, order_label, orders},
    view::{Field, status_label},
};

/// The form with the filter.
#[derive(Template)]
#[template(path = "token_filter.html")]
pub(super) struct FilterForm {
    /// The full path of the list.
    path: String,
    name: String,
    is_set: bool,
    apps: AppFilter,
    /// Whether there are apps to choose from.
    has_apps: bool,
    status: Choice,
    /// Whether the further filters are shown, because one of them may be invalid.
    is_open: bool,
    inputs: Vec<Input>,
    choices: Vec<Choice>,
    chips: Vec<Chip>,
}

impl HtmlSafe for FilterForm {}

/// A field with options.
struct Choice {
    name: &'static str,
    label: &'static str,
    /// The label of the option that filters nothing.
    any: &'static str,
    options: Vec<(String, String)>,
    chosen: String,
}

impl Choice {
    fn new<V: Into<String>, L: Into<String>>(
        [name, label, any]: [&'static str; 3],
        options: impl IntoIterator<Item = (V, L)>,
        chosen: &str,
    ) -> Self {
        let options = options.into_iter();
        Self {
            name,
            label,
            any,
            options: options
                .map(|(value, label)| (value.into(), label.into()))
                .collect(),
            chosen: chosen.trim().to_owned(),
        }
    }
}

/// A filter that is set, with the link that removes it.
struct Chip {
    label: String,
    remove: String,
}

impl FilterForm {
    pub(super) fn new(
        page: &Page,
        filter: &Filter,
        apps: AppFilter,
        formats: &TokenFormats,
        is_valid: bool,
    ) -> Self {
        let path = page.home();
        Self {
            is_set: filter.is_set(),
            name: filter.name.clone(),
            apps,
            has_apps: page.only_app().is_none(),
            status: Choice::new(
                ["status", "Status", "Any status"],
                TokenStatus::ALL
                    .iter()
                    .map(|status| (status.as_str(), status_label(*status))),
                &filter.status,
            ),
            is_open: !is_valid && filter.is_further_set(),
            inputs: inputs(filter),
            choices: choices(filter, formats),
            chips: filter
                .chosen()
                .map(|(name, label)| Chip {
                    label,
                    remove: format!("{path}{}", query_string(&filter.fields_with(name, ""))),
                })
                .collect(),
            path: path.to_owned(),
        }
    }
}

fn inputs(filter: &Filter) -> Vec<Input> {
    let input = |name, label, value: &str| Input::new(name, label, &Field::with_value(value));
    let date = |name, label, value: &str| match value.trim().len() {
        // A link may have an exact time, which a date field cannot show.
        0 | 10 => input(name, label, value.trim()).date(),
        _ => input(name, label, value),
    };
    vec![
        date("created_before", "Created before", &filter.created_before),
        date("expires_before", "Expires before", &filter.expires_before),
        date("unused_since", "Unused since", &filter.unused_since),
        input("created_by", "Created by", &filter.created_by),
        input("last_four", "Last four characters", &filter.last_four).mono(),
        input("id", "Token ID", &filter.id).mono(),
    ]
}

fn choices(filter: &Filter, formats: &TokenFormats) -> Vec<Choice> {
    let mut choices = vec![
        Choice::new(
            ["never_expires", "Expiration", "Any"],
            [("true", "Never expires")],
            &filter.never_expires,
        ),
        Choice::new(
            ["never_used", "Use", "Any"],
            [("true", "Never used")],
            &filter.never_used,
        ),
        Choice::new(
            ["replaced", "Rotation", "Any"],
            [("true", "Replaced"), ("false", "Not replaced")],
            &filter.replaced,
        ),
        Choice::new(
            ["used_since_rotation", "Use since its rotation", "Any"],
            [("true", "Used"), ("false", "Not used")],
            &filter.used_since_rotation,
        ),
    ];
    if formats.iter().nth(1).is_some() {
        let names = formats
            .iter()
            .map(|format| (format.prefix(), format.label()));
        let chosen = formats.named(filter.format.trim());
        let chosen = chosen.map_or(filter.format.as_str(), |format| format.prefix());
        choices.push(Choice::new(["format", "Format", "Any"], names, chosen));
    }
    choices.push(Choice::new(
        ["sort", "Order", "Automatic"],
        orders(),
        &filter.sort,
    ));
    choices
}

/// The heading of a column by which the list can be sorted.
#[derive(Template)]
#[template(
    ext = "html",
    source = "<th role=\"columnheader\" scope=\"col\"{% if let Some(direction) = direction %} \
        aria-sort=\"{{ direction }}\"{% endif %}>{% if let Some(link) = link %}<a href=\"{{ link }}\">\
        {{ label }}<span class=\"hidden\">: sort by {{ order }}</span></a>{% else %}{{ label }}{% endif %}</th>"
)]
pub(super) struct Heading {
    label: &'static str,
    /// How the list is sorted by this column now.
    direction: Option<&'static str>,
    /// The link that sorts the list, and its order. There is none if that would leave out every token.
    link: Option<String>,
    order: String,
}

impl HtmlSafe for Heading {}

impl Heading {
    /// Creates the headings of the last columns of the list.
    pub(super) fn all(page: &Page, filter: &Filter, query: &TokenQuery) -> [Self; 3] {
        let current = query.order();
        let heading = |label, direction, order: TokenOrder| Self {
            label,
            direction,
            link: query.clone().sorted_by(order).check().is_ok().then(|| {
                let fields = filter.fields_with("sort", order.as_str());
                format!("{}{}", page.home(), query_string(&fields))
            }),
            order: order_label(order).to_lowercase(),
        };
        let by = |label, order| match current == order {
            true => heading(label, Some("ascending"), TokenOrder::Newest),
            false => heading(label, None, order),
        };
        [
            by("Last used", TokenOrder::LastUsed),
            by("Expires", TokenOrder::Expiry),
            match current {
                TokenOrder::Newest => heading("Created", Some("descending"), TokenOrder::Oldest),
                TokenOrder::Oldest => heading("Created", Some("ascending"), TokenOrder::Newest),
                _ => heading("Created", None, TokenOrder::Newest),
            },
        ]
    }
}
