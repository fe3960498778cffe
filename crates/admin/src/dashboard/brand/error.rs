use thiserror::Error;

use crate::dashboard::contrast::LowContrast;

/// The error for a [`Brand`](super::Brand) that the dashboard cannot show.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct BrandError {
    kind: BrandErrorKind,
    message: String,
}

/// The kinds of [`BrandError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BrandErrorKind {
    /// A name or label is empty, longer than 100 characters, or contains control characters.
    Name,
    /// An address is not a path of the same origin, or not an `http` or `https` URL.
    Address,
    /// A color is not written as `#rrggbb`.
    Color,
    /// A color has too little contrast with the backgrounds of the dashboard.
    Contrast,
}

impl BrandError {
    pub(super) fn name(what: &str, text: &str) -> Self {
        let message =
            format!("invalid {what} {text:?}; use 1 to 100 characters without control characters");
        Self::new(BrandErrorKind::Name, message)
    }

    pub(super) fn path(what: &str, text: &str) -> Self {
        let message = format!(
            "invalid {what} {text:?}; expected a path of the same origin: one `/` at the \
             start, no `\\`, and other characters percent-encoded"
        );
        Self::new(BrandErrorKind::Address, message)
    }

    pub(super) fn link(what: &str, text: &str) -> Self {
        let message = format!(
            "invalid {what} {text:?}; expected a path, like `/account`, or a URL, like \
             `https://acme.example/docs`, with other characters percent-encoded"
        );
        Self::new(BrandErrorKind::Address, message)
    }

    pub(super) fn color(what: &str, text: &str) -> Self {
        let message = format!("invalid {what} {text:?}; expected a color like `#4f46e5`");
        Self::new(BrandErrorKind::Color, message)
    }

    pub(super) fn contrast(low: &LowContrast) -> Self {
        let (shade, setter) = match low.scheme {
            "dark" => ("lighter", "dark_accent"),
            _ => ("darker", "accent"),
        };
        let message = format!("{low}; set a {shade} `{setter}`");
        Self::new(BrandErrorKind::Contrast, message)
    }

    fn new(kind: BrandErrorKind, message: String) -> Self {
        Self { kind, message }
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> BrandErrorKind {
        self.kind
    }
}
