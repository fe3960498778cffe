//! Checks the contrast of the style sheet's colors by WCAG 2.2: at least 4.5 for text (1.4.3), and 3
//! for controls and graphics (1.4.11).

use std::collections::HashMap;

const STYLE: &str = include_str!("../../templates/assets/dashboard.css");

/// The backgrounds behind text that sets none of its own.
const SURFACES: [&str; 4] = ["--page", "--surface", "--sunken", "--hover"];

type Declarations = HashMap<&'static str, &'static str>;

/// The rules of one color scheme, each with one selector.
struct Scheme {
    rules: Vec<(&'static str, Declarations)>,
}

impl Scheme {
    fn light() -> Self {
        Self {
            rules: rules(STYLE, |media| media.is_empty()),
        }
    }

    fn dark() -> Self {
        Self {
            rules: rules(STYLE, |media| {
                media.is_empty() || media.contains("prefers-color-scheme: dark")
            }),
        }
    }

    /// Returns the declarations for a selector, and for its base without `:hover`.
    fn declared(&self, selector: &str) -> Declarations {
        let base = selector.split(":hover").next().unwrap();
        let mut declared = Declarations::new();
        for name in [base, selector] {
            let rules = self.rules.iter().filter(|(rule, _)| *rule == name);
            declared.extend(rules.flat_map(|(_, rule)| rule.clone()));
        }
        declared
    }

    /// Returns the value of a custom property for a selector. A declaration for the selector or an
    /// ancestor takes precedence over one for `:root`.
    fn custom(&self, selector: &str, name: &str) -> Option<&'static str> {
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
    fn color(&self, selector: &str, value: &str) -> Option<[f64; 3]> {
        if let Some(name) = value.strip_prefix("var(").and_then(|v| v.strip_suffix(')')) {
            return self.color("", self.custom(selector, name)?);
        }
        let digits = match value.strip_prefix('#')? {
            short if short.len() == 3 => short.chars().flat_map(|c| [c, c]).collect(),
            long => long.to_owned(),
        };
        let channel = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        Some([0, 2, 4].map(|at| f64::from(channel(at)) / 255.0))
    }

    fn contrast(&self, selector: &str, front: &str, back: &str) -> Option<f64> {
        let luminance = |value| Some(luminance(self.color(selector, value)?));
        let (a, b) = (luminance(front)?, luminance(back)?);
        Some((a.max(b) + 0.05) / (a.min(b) + 0.05))
    }
}

fn luminance(color: [f64; 3]) -> f64 {
    let linear = |channel: f64| match channel {
        dark if dark <= 0.040_45 => dark / 12.92,
        light => ((light + 0.055) / 1.055).powf(2.4),
    };
    let [red, green, blue] = color.map(linear);
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

/// Returns the rules whose media query `wanted` accepts.
fn rules(style: &'static str, wanted: impl Fn(&str) -> bool) -> Vec<(&'static str, Declarations)> {
    let (mut rules, mut media, mut rest) = (Vec::new(), "", style);
    while let Some(at) = rest.find(['{', '}']) {
        let (head, after) = (&rest[..at], &rest[at + 1..]);
        if rest[at..].starts_with('}') {
            (media, rest) = ("", after);
            continue;
        }
        let head = head.rsplit("*/").next().unwrap().trim();
        if head.starts_with('@') {
            (media, rest) = (head, after);
            continue;
        }
        let (body, after) = after.split_once('}').unwrap();
        rest = after;
        if wanted(media) {
            let declarations: Declarations = body
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

fn schemes() -> [(&'static str, Scheme); 2] {
    [("light", Scheme::light()), ("dark", Scheme::dark())]
}

#[test]
fn text_has_enough_contrast() {
    for (name, scheme) in schemes() {
        let mut seen = 0;
        for (selector, _) in &scheme.rules {
            let declared = scheme.declared(selector);
            let Some(front) = declared.get("color") else {
                continue;
            };
            // Icons are graphics, not text.
            let least = if selector.contains("svg") { 3.0 } else { 4.5 };
            let backs = match declared.get("background") {
                Some(back) => vec![(*back).to_owned()],
                None => SURFACES.map(|back| format!("var({back})")).to_vec(),
            };
            for back in backs {
                if let Some(contrast) = scheme.contrast(selector, front, &back) {
                    seen += 1;
                    assert!(
                        contrast >= least,
                        "{name}: {selector} on {back}: {contrast:.2}"
                    );
                }
            }
        }
        assert!(seen > 100, "{name}: found only {seen} pairs of colors");
        for back in ["--good-soft", "--warn-soft", "--bad-soft", "--accent-soft"] {
            for front in ["--text", "--muted"] {
                let [front, back] = [front, back].map(|name| format!("var({name})"));
                let contrast = scheme.contrast("", &front, &back).unwrap();
                assert!(contrast >= 4.5, "{name}: {front} on {back}: {contrast:.2}");
            }
        }
    }
}

#[test]
fn controls_and_the_focus_ring_have_enough_contrast() {
    for (name, scheme) in schemes() {
        for front in ["--control", "--ring", "--accent", "--bad"] {
            for back in SURFACES {
                let [front, back] = [front, back].map(|name| format!("var({name})"));
                let contrast = scheme.contrast("", &front, &back).unwrap();
                assert!(contrast >= 3.0, "{name}: {front} on {back}: {contrast:.2}");
            }
        }
        let controls = scheme.rules.iter().filter(|(selector, _)| {
            selector.starts_with("input[type")
                || *selector == "select"
                || *selector == ".choices label"
        });
        let mut bordered = 0;
        for (selector, declared) in controls {
            if let Some(border) = declared.get("border") {
                assert_eq!(*border, "1px solid var(--control)", "{name}: {selector}");
                bordered += 1;
            }
        }
        assert_eq!(bordered, 5, "{name}");
    }
}

#[test]
fn the_copied_state_of_a_button_has_enough_contrast() {
    for (name, scheme) in schemes() {
        // The primary button sets another background on hover.
        for state in ["", ":hover"] {
            let rule = format!("button.copied{state}");
            let declared = scheme.declared(&rule);
            let [front, back] = ["color", "background"].map(|part| declared[part]);
            let contrast = scheme.contrast(&rule, front, back).unwrap();
            assert!(contrast >= 4.5, "{name}: {rule}: {contrast:.2}");
        }
    }
}

#[test]
fn contrast_is_computed_as_in_wcag() {
    let light = Scheme::light();
    let ratio = |front, back| light.contrast("", front, back).unwrap();
    assert!((ratio("#000", "#fff") - 21.0).abs() < 0.01);
    assert!((ratio("#767676", "#ffffff") - 4.54).abs() < 0.01);
    // Green text on the color of the primary button.
    assert!(ratio("#16794c", "#4f46e5") < 1.5);
}
