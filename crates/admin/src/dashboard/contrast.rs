//! Checks the contrast of the colors in a style sheet by WCAG 2.2: at least 4.5 for text (1.4.3), and 3
//! for controls and graphics (1.4.11).

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use thiserror::Error;

use super::color::Color;

/// The minimum contrast of text.
pub(super) const TEXT: f64 = 4.5;
/// The minimum contrast of controls and graphics.
pub(super) const GRAPHICS: f64 = 3.0;

/// The backgrounds behind text that sets none of its own.
pub(super) const SURFACES: [&str; 4] = ["--page", "--surface", "--sunken", "--hover"];

/// The colors of controls and graphics, which are on any surface.
const CONTROLS: [&str; 4] = ["--accent", "--ring", "--control", "--bad"];

/// Two colors of a style sheet have too little contrast.
#[derive(Clone, Debug, Error, PartialEq)]
#[error(
    "in the {scheme} color scheme, `{front}` on `{back}` has a contrast of {contrast:.2}, less than \
     {minimum}"
)]
pub(super) struct LowContrast {
    pub(super) scheme: &'static str,
    front: String,
    back: String,
    contrast: f64,
    minimum: f64,
}

/// Checks every color scheme of a style sheet.
pub(super) fn check(style: &str) -> Result<(), LowContrast> {
    for scheme in Scheme::all(style) {
        scheme.check_controls()?;
        scheme.check_text()?;
        scheme.check_soft_backgrounds()?;
    }
    Ok(())
}

type Declarations<'a> = HashMap<&'a str, &'a str>;

/// The rules of one color scheme, each with one selector.
pub(super) struct Scheme<'a> {
    pub(super) name: &'static str,
    rules: Vec<(&'a str, Declarations<'a>)>,
}

impl<'a> Scheme<'a> {
    pub(super) fn light(style: &'a str) -> Self {
        Self {
            name: "light",
            rules: rules(style, str::is_empty),
        }
    }

    pub(super) fn dark(style: &'a str) -> Self {
        let applies =
            |media: &str| media.is_empty() || media.contains("prefers-color-scheme: dark");
        Self {
            name: "dark",
            rules: rules(style, applies),
        }
    }

    fn all(style: &'a str) -> [Self; 2] {
        [Self::light(style), Self::dark(style)]
    }

    /// Returns the color of a custom property of the page, like `--accent`.
    pub(super) fn root_color(&self, name: &str) -> Option<Color> {
        self.color("", self.custom("", name)?)
    }

    /// Returns the declarations for a selector, and for its base without `:hover`.
    fn declared(&self, selector: &str) -> Declarations<'a> {
        let base = selector.split(":hover").next().unwrap_or(selector);
        let mut declared = Declarations::new();
        for name in [base, selector] {
            let rules = self.rules.iter().filter(|(rule, _)| *rule == name);
            declared.extend(rules.flat_map(|(_, rule)| rule.clone()));
        }
        declared
    }

    /// Returns the value of a custom property for a selector. A declaration for the selector or an
    /// ancestor takes precedence over one for `:root`.
    fn custom(&self, selector: &str, name: &str) -> Option<&'a str> {
        let last = |applies: &dyn Fn(&str) -> bool| {
            let rules = self.rules.iter().filter(|(rule, _)| applies(rule));
            rules
                .filter_map(|(_, declared)| declared.get(name).copied())
                .next_back()
        };
        let is_own = |rule: &str| rule.ends_with(selector) || selector.starts_with(rule);
        last(&|rule| !selector.is_empty() && is_own(rule)).or_else(|| last(&|rule| rule == ":root"))
    }

    /// Resolves a value to a color for a selector.
    fn color(&self, selector: &str, value: &str) -> Option<Color> {
        if let Some(name) = value.strip_prefix("var(").and_then(|v| v.strip_suffix(')')) {
            return self.color("", self.custom(selector, name)?);
        }
        match value.strip_prefix('#') {
            Some(short) if short.len() == 3 => {
                let long: String = short.chars().flat_map(|digit| [digit; 2]).collect();
                Color::parse(&format!("#{long}"))
            }
            _ => Color::parse(value),
        }
    }

    /// Checks two values for a selector. Returns whether both are colors.
    fn check(
        &self,
        selector: &str,
        front: &str,
        back: &str,
        minimum: f64,
    ) -> Result<bool, LowContrast> {
        let colors = self.color(selector, front).zip(self.color(selector, back));
        let Some((front_color, back_color)) = colors else {
            return Ok(false);
        };
        let contrast = front_color.contrast(back_color);
        if contrast >= minimum {
            return Ok(true);
        }
        Err(LowContrast {
            scheme: self.name,
            front: format!("{selector} {front} {front_color}")
                .trim()
                .to_owned(),
            back: format!("{back} {back_color}"),
            contrast,
            minimum,
        })
    }

    fn check_controls(&self) -> Result<(), LowContrast> {
        for front in CONTROLS {
            for back in SURFACES {
                self.check("", &variable(front), &variable(back), GRAPHICS)?;
            }
        }
        Ok(())
    }

    /// Checks every rule that sets a text color. Returns how many pairs of colors it found.
    fn check_text(&self) -> Result<usize, LowContrast> {
        let mut pairs = 0;
        for (selector, _) in &self.rules {
            let declared = self.declared(selector);
            let Some(front) = declared.get("color") else {
                continue;
            };
            // Icons are graphics, not text.
            let minimum = if selector.contains("svg") {
                GRAPHICS
            } else {
                TEXT
            };
            let backs = match declared.get("background") {
                Some(back) => vec![(*back).to_owned()],
                None => SURFACES.map(variable).to_vec(),
            };
            for back in backs {
                pairs += usize::from(self.check(selector, front, &back, minimum)?);
            }
        }
        Ok(pairs)
    }

    fn check_soft_backgrounds(&self) -> Result<(), LowContrast> {
        for back in ["--good-soft", "--warn-soft", "--bad-soft", "--accent-soft"] {
            for front in ["--text", "--muted"] {
                self.check("", &variable(front), &variable(back), TEXT)?;
            }
        }
        Ok(())
    }
}

fn variable(name: &str) -> String {
    format!("var({name})")
}

/// Returns the rules whose media query `wanted` accepts.
fn rules(style: &str, wanted: impl Fn(&str) -> bool) -> Vec<(&str, Declarations<'_>)> {
    let (mut rules, mut media, mut rest) = (Vec::new(), "", style);
    while let Some(at) = rest.find(['{', '}']) {
        let (head, after) = (&rest[..at], &rest[at + 1..]);
        if rest[at..].starts_with('}') {
            (media, rest) = ("", after);
            continue;
        }
        let head = head.rsplit("*/").next().unwrap_or(head).trim();
        if head.starts_with('@') {
            (media, rest) = (head, after);
            continue;
        }
        let (body, after) = after.split_once('}').unwrap_or((after, ""));
        rest = after;
        if wanted(media) {
            let declarations: Declarations<'_> = body
                .split(';')
                .filter_map(|declaration| declaration.split_once(':'))
                .map(|(name, value)| (name.trim(), value.trim()))
                .collect();
            rules.extend(
                head.split(',')
                    .map(|rule| (rule.trim(), declarations.clone())),
            );
        }
    }
    rules
}
