//! The formats of the tokens, and what is limited to one of them, as the options give them.

use tower_api_tokens::{ApiTokensBuilder, AppId, Scope, TokenFormat};

use crate::{
    failure::Failure,
    options::{Options, given},
};

/// The formats that the options name, and the limits.
pub(crate) struct Formats {
    formats: Vec<TokenFormat>,
    scopes: Vec<(Scope, String)>,
    apps: Vec<(AppId, String)>,
}

impl Formats {
    pub(crate) fn of(options: &Options) -> Result<Self, Failure> {
        Ok(Self {
            formats: parsed("--prefix", &options.prefixes, format)?,
            scopes: parsed("--limit-scope", &options.limited_scopes, |text| {
                limit(text, Scope::new)
            })?,
            apps: parsed("--limit-app", &options.limited_apps, |text| {
                limit(text, AppId::new)
            })?,
        })
    }

    /// Returns the default format, if there is any.
    pub(crate) fn first(&self) -> Option<&TokenFormat> {
        self.formats.first()
    }

    /// Returns all formats.
    pub(crate) fn all(self) -> Vec<TokenFormat> {
        self.formats
    }

    /// Adds the limits, and the formats besides the first.
    pub(crate) fn configure(self, mut tokens: ApiTokensBuilder) -> ApiTokensBuilder {
        for format in self.formats.into_iter().skip(1) {
            tokens = tokens.with_issued_format(format);
        }
        for (scope, label) in self.scopes {
            tokens = tokens.limit_scope(scope, label);
        }
        for (app, label) in self.apps {
            tokens = tokens.limit_app(app, label);
        }
        tokens
    }
}

/// Parses the values of an option. Empty ones come from empty variables.
fn parsed<T>(
    option: &str,
    values: &[String],
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Failure> {
    let values = values.iter().filter_map(|text| given(Some(text.trim())));
    values
        .map(parse)
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::usage(format!("invalid `{option}`: {error}")))
}

/// Parses a prefix, or a label and a prefix.
fn format(text: &str) -> Result<TokenFormat, String> {
    let (label, prefix) = match text.split_once('=') {
        Some((label, prefix)) => (Some(label), prefix),
        None => (None, text),
    };
    let format = TokenFormat::new(prefix).map_err(|error| error.to_string())?;
    match label {
        Some(label) => format.with_label(label).map_err(|error| error.to_string()),
        None => Ok(format),
    }
}

/// Parses what is limited, and the label of a format. A label contains no equals sign.
fn limit<T, E: ToString>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<(T, String), String> {
    let parts = text.rsplit_once('=').filter(|(_, label)| !label.is_empty());
    let (limited, label) = parts.ok_or(
        "put the label of a format after it, with an equals sign between, such as `orders:write=live`",
    )?;
    let limited = parse(limited).map_err(|error| error.to_string())?;
    Ok((limited, label.to_owned()))
}
