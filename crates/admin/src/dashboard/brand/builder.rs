use std::borrow::Cow;

use tower_api_tokens::normalize_name;

use super::{
    Brand, BrandError, Link, SignOut,
    accent::{Accent, shade_for},
};
use crate::{
    address::{is_local_path, is_web_url},
    dashboard::{
        assets::STYLE,
        color::Color,
        contrast::{Scheme, check},
    },
};

/// A builder for [`Brand`]. [`build`](Self::build) checks all settings.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct BrandBuilder {
    name: Option<String>,
    logo: Option<String>,
    accent: Option<String>,
    dark_accent: Option<String>,
    stylesheet: Option<String>,
    links: Vec<Link>,
    sign_out: Option<SignOut>,
}

impl BrandBuilder {
    /// Sets the name beside the logo and in the titles of pages. Defaults to `API tokens`.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Sets the path of the logo, on the origin of the dashboard. It is shown as a square in front of
    /// the name and in the tab of the browser. Defaults to the icon of the dashboard.
    pub fn logo(mut self, path: &str) -> Self {
        self.logo = Some(path.to_owned());
        self
    }

    /// Sets the color of buttons, selected options and the focus, as `#rrggbb`. Defaults to that of the
    /// dashboard. It needs a contrast of at least 3 with the light backgrounds (WCAG 2.2). The colors of
    /// text on and beside it derive from it.
    pub fn accent(mut self, color: &str) -> Self {
        self.accent = Some(color.to_owned());
        self
    }

    /// Sets the accent color in the dark color scheme, as `#rrggbb`. Defaults to the shade of
    /// [`accent`](Self::accent) that is nearest to it and has enough contrast.
    pub fn dark_accent(mut self, color: &str) -> Self {
        self.dark_accent = Some(color.to_owned());
        self
    }

    /// Sets the path of a stylesheet on the origin of the dashboard, which the pages load after their
    /// own. Defaults to none.
    ///
    /// It can set the custom properties of the dashboard's stylesheet, such as `--page`, `--text` and
    /// `--sans`. The contrast of the colors that it sets is not checked. Selectors and classes may change
    /// between versions.
    pub fn stylesheet(mut self, path: &str) -> Self {
        self.stylesheet = Some(path.to_owned());
        self
    }

    /// Adds a link above the navigation of the dashboard: to a path, or to an `http` or `https` URL.
    /// Defaults to none.
    pub fn with_link(mut self, label: &str, target: &str) -> Self {
        self.links.push(Link {
            label: label.to_owned(),
            target: target.to_owned(),
        });
        self
    }

    /// Sets the address that signs people out: a path, or an `http` or `https` URL. Replaces the
    /// dashboard's own link, which it shows if the guard accepts `Basic`.
    pub fn sign_out_link(mut self, target: &str) -> Self {
        self.sign_out = Some(SignOut::Link(target.to_owned()));
        self
    }

    /// Sets the path that signs people out when the dashboard posts an empty form to it, like
    /// [`sign_out_link`](Self::sign_out_link).
    ///
    /// The form has no token against cross-site requests. Check `Sec-Fetch-Site` or `Origin` instead, as
    /// tower-http's `CsrfLayer` does. Answer with a redirect on the same origin: the content security
    /// policy also applies to the redirects of a form.
    pub fn sign_out_form(mut self, path: &str) -> Self {
        self.sign_out = Some(SignOut::Form(path.to_owned()));
        self
    }

    /// Checks the settings, and creates the brand.
    ///
    /// # Errors
    ///
    /// Returns an error if a name or label is not 1 to 100 characters without control characters, an
    /// address is not a path of the same origin or an `http` or `https` URL, a color is not written as
    /// `#rrggbb`, or a color has too little contrast.
    pub fn build(self) -> Result<Brand, BrandError> {
        let default = Brand::default();
        let style = style(self.accent.as_deref(), self.dark_accent.as_deref())?;
        Ok(Brand {
            name: self
                .name
                .map_or(Ok(default.name), |name| named("name", &name))?,
            logo: path("logo", self.logo)?,
            stylesheet: path("stylesheet", self.stylesheet)?,
            links: self
                .links
                .into_iter()
                .map(checked)
                .collect::<Result<_, _>>()?,
            sign_out: self.sign_out.map(sign_out).transpose()?,
            style: style.map_or(default.style, Cow::Owned),
        })
    }
}

fn named(what: &str, name: &str) -> Result<String, BrandError> {
    normalize_name(name).map_err(|_| BrandError::name(what, name))
}

fn path(what: &str, path: Option<String>) -> Result<Option<String>, BrandError> {
    match path {
        Some(path) if !is_local_path(&path) => Err(BrandError::path(what, &path)),
        path => Ok(path),
    }
}

fn target(what: &str, target: String) -> Result<String, BrandError> {
    if is_local_path(&target) || is_web_url(&target) {
        Ok(target)
    } else {
        Err(BrandError::link(what, &target))
    }
}

fn checked(link: Link) -> Result<Link, BrandError> {
    Ok(Link {
        label: named("label of a link", &link.label)?,
        target: target("link", link.target)?,
    })
}

fn sign_out(sign_out: SignOut) -> Result<SignOut, BrandError> {
    Ok(match sign_out {
        SignOut::Link(address) => SignOut::Link(target("sign-out link", address)?),
        SignOut::Form(address) if is_local_path(&address) => SignOut::Form(address),
        SignOut::Form(address) => return Err(BrandError::path("sign-out form", &address)),
    })
}

/// Returns the style sheet of the dashboard with these accent colors, or `None` without any.
fn style(accent: Option<&str>, dark_accent: Option<&str>) -> Result<Option<String>, BrandError> {
    let parse = |what, text: Option<&str>| {
        let parsed = text.map(|text| Color::parse(text).ok_or(BrandError::color(what, text)));
        parsed.transpose()
    };
    let accent = parse("accent", accent)?;
    let (light, dark) = (Scheme::light(STYLE), Scheme::dark(STYLE));
    let dark_accent = parse("dark accent", dark_accent)?
        .or_else(|| accent.map(|accent| shade_for(accent, &dark)));
    let mut style = STYLE.to_owned();
    if let Some(accent) = accent {
        style += &format!("\n:root {{ {} }}\n", Accent::new(accent, &light));
    }
    let Some(dark_accent) = dark_accent else {
        return Ok(None);
    };
    style += &format!(
        "\n@media (prefers-color-scheme: dark) {{\n  :root {{ {} }}\n}}\n",
        Accent::new(dark_accent, &dark)
    );
    check(&style).map_err(|low| BrandError::contrast(&low))?;
    Ok(Some(style))
}

#[cfg(test)]
mod tests;
