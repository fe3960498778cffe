//! Fields of forms.

use askama::{Template, filters::HtmlSafe};
use jiff::Timestamp;

use super::{names::visible, text::Moment, view::Field};
use crate::actor::Actor;

/// A text field of a form, with its label, error and hint.
#[derive(Template)]
#[template(path = "input.html")]
pub(super) struct Input {
    name: &'static str,
    label: &'static str,
    hint: String,
    placeholder: &'static str,
    kind: Kind,
    is_mono: bool,
    is_focused: bool,
    field: Field,
    /// What is saved now, if that is not what was typed.
    saved: Option<String>,
}

impl HtmlSafe for Input {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Line,
    Lines,
    Date,
}

impl Input {
    pub(super) fn new(name: &'static str, label: &'static str, field: &Field) -> Self {
        Self {
            name,
            label,
            hint: String::new(),
            placeholder: "",
            kind: Kind::Line,
            is_mono: false,
            is_focused: false,
            field: field.clone(),
            saved: None,
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    pub(super) fn placeholder(mut self, example: &'static str) -> Self {
        self.placeholder = example;
        self
    }

    /// Makes it a field of several lines.
    pub(super) fn lines(mut self) -> Self {
        self.kind = Kind::Lines;
        self.mono()
    }

    pub(super) fn date(mut self) -> Self {
        self.kind = Kind::Date;
        self
    }

    pub(super) fn mono(mut self) -> Self {
        self.is_mono = true;
        self
    }

    /// Gives the first field with an error the focus.
    pub(super) fn focus_first_invalid(inputs: &mut [Self]) {
        if let Some(first) = inputs.iter_mut().find(|input| input.has_error()) {
            first.is_focused = true;
        }
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name
    }

    pub(super) fn has_error(&self) -> bool {
        self.field.has_error()
    }

    /// Creates the field for networks.
    pub(super) fn networks(field: &Field) -> Self {
        Self::new("networks", "Networks", field)
            .mono()
            .placeholder("10.0.0.0/8, 2001:db8::/32")
            .hint("Networks that requests may come from. Leave it empty to allow any.")
    }

    /// Creates the field for metadata.
    pub(super) fn metadata(field: &Field) -> Self {
        Self::new("metadata", "Metadata", field)
            .lines()
            .placeholder("plan=pro")
            .hint("One key=value per line. Your service can read it on every request.")
    }

    /// Creates the field for the metadata of a token, unless the actor may write none.
    pub(super) fn metadata_of_token(field: &Field, actor: &Actor) -> Option<Self> {
        let input = Self::metadata(field);
        match actor.writable_metadata() {
            None => Some(input),
            Some([]) => None,
            Some(keys) => {
                let keys = keys.join(", ");
                let hint = format!("One key=value per line. The keys that you can set: {keys}.");
                Some(input.placeholder("").hint(hint))
            }
        }
    }

    /// Shows what is saved now, if that is known and not what was typed.
    pub(super) fn saved(mut self, saved: Option<&Field>) -> Self {
        let Some(saved) = saved else {
            return self;
        };
        let lines = |text: &str| -> Vec<String> {
            let lines = text.lines().map(|line| line.trim().to_owned());
            lines.filter(|line| !line.is_empty()).collect()
        };
        let saved = lines(&saved.value);
        if lines(&self.field.value) != saved {
            let shown: Vec<String> = saved.iter().map(|line| visible(line)).collect();
            self.saved = Some(shown.join("\n"));
        }
        self
    }

    fn is_filled(&self) -> bool {
        !self.field.value.is_empty()
    }

    /// Returns whether one of the fields is filled in or has an error.
    pub(super) fn any_used(inputs: &[Self]) -> bool {
        inputs
            .iter()
            .any(|input| input.is_filled() || input.has_error())
    }

    fn is_lines(&self) -> bool {
        self.kind == Kind::Lines
    }

    fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Date => "date",
            _ => "text",
        }
    }

    /// Returns the identifiers of what describes the field.
    fn described_by(&self) -> String {
        let parts = [
            ("hint", !self.hint.is_empty()),
            ("saved", self.saved.is_some()),
            ("error", self.has_error()),
        ];
        let parts = parts.iter().filter(|(_, shown)| *shown);
        let ids: Vec<String> = parts
            .map(|(part, _)| format!("{}-{part}", self.name))
            .collect();
        ids.join(" ")
    }
}

/// The field that confirms a change by the name of the record or the number of records, and the button.
#[derive(Template)]
#[template(path = "confirm.html")]
pub(super) struct ConfirmInput {
    id: &'static str,
    error_id: &'static str,
    /// What to type.
    name: String,
    field: Field,
    button: &'static str,
}

impl HtmlSafe for ConfirmInput {}

impl ConfirmInput {
    /// Creates the field for the `name` of a record. A page shows each identifier once.
    pub(super) fn new(
        [id, error_id]: [&'static str; 2],
        name: &str,
        field: Field,
        button: &'static str,
    ) -> Self {
        Self {
            id,
            error_id,
            name: visible(name),
            field,
            button,
        }
    }
}

/// The choice of an expiry.
#[derive(Template)]
#[template(path = "expiry.html")]
pub(super) struct ExpiryInput {
    pub(super) choices: Vec<(&'static str, String)>,
    pub(super) chosen: Field,
    pub(super) date: String,
    pub(super) today: String,
    pub(super) is_focused: bool,
    /// The latest expiry that the operator may grant, if that is limited.
    pub(super) until: Option<Moment>,
}

impl HtmlSafe for ExpiryInput {}

impl ExpiryInput {
    pub(super) fn new(
        choices: Vec<(&'static str, String)>,
        chosen: &Field,
        date: &str,
        now: Timestamp,
    ) -> Self {
        Self {
            choices,
            chosen: chosen.clone(),
            date: date.to_owned(),
            today: now.strftime("%F").to_string(),
            is_focused: false,
            until: None,
        }
    }

    fn focuses(&self, value: &str) -> bool {
        self.is_focused && self.chosen.value == value
    }

    /// Returns whether the first choice gets the focus, because none is chosen.
    fn focuses_first(&self) -> bool {
        let chosen = self.chosen.value.as_str();
        self.is_focused && self.choices.iter().all(|(value, _)| *value != chosen)
    }
}
