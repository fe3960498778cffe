//! How the host frames the dashboard: its name, logo, colors and links.

mod accent;
mod builder;
mod error;

use std::borrow::Cow;

pub use builder::BrandBuilder;
pub use error::{BrandError, BrandErrorKind};

use super::assets::STYLE;

/// The name, the logo, the colors and the links with which a service frames the dashboard. Set it with
/// [`AdminBuilder::brand`](crate::AdminBuilder::brand).
///
/// ```
/// use tower_api_tokens_admin::Brand;
///
/// let brand = Brand::builder()
///     .name("Acme")
///     .logo("/static/logo.svg")
///     .accent("#0b6e4f")
///     .dark_accent("#2fa37c")
///     .stylesheet("/static/tokens.css")
///     .with_link("Account", "/account")
///     .with_link("Documentation", "https://docs.acme.example/tokens")
///     .sign_out_form("/logout")
///     .build()?;
/// # Ok::<(), tower_api_tokens_admin::BrandError>(())
/// ```
///
/// The content security policy stays the same. The logo and the stylesheet therefore come from the
/// origin of the dashboard, and a sign-out form is sent to it.
#[derive(Clone, Debug)]
pub struct Brand {
    name: String,
    logo: Option<String>,
    stylesheet: Option<String>,
    links: Vec<Link>,
    sign_out: Option<SignOut>,
    /// The style sheet of the dashboard, with the colors of the brand.
    style: Cow<'static, str>,
}

/// A link in the frame of the pages.
#[derive(Clone, Debug)]
pub(in crate::dashboard) struct Link {
    pub(in crate::dashboard) label: String,
    pub(in crate::dashboard) target: String,
}

/// How people sign out.
#[derive(Clone, Debug)]
pub(in crate::dashboard) enum SignOut {
    /// They open this address.
    Link(String),
    /// They send an empty form to this address.
    Form(String),
}

impl Default for Brand {
    fn default() -> Self {
        Self {
            name: "API tokens".to_owned(),
            logo: None,
            stylesheet: None,
            links: Vec::new(),
            sign_out: None,
            style: Cow::Borrowed(STYLE),
        }
    }
}

impl Brand {
    /// Creates a builder. Without settings, the dashboard looks as it does without a brand.
    pub fn builder() -> BrandBuilder {
        BrandBuilder::default()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn logo(&self) -> Option<&str> {
        self.logo.as_deref()
    }

    pub(super) fn stylesheet(&self) -> Option<&str> {
        self.stylesheet.as_deref()
    }

    pub(super) fn links(&self) -> &[Link] {
        &self.links
    }

    pub(super) fn sign_out(&self) -> Option<&SignOut> {
        self.sign_out.as_ref()
    }

    /// Returns the style sheet of the dashboard.
    pub(super) fn style(&self) -> Cow<'static, str> {
        self.style.clone()
    }
}
