use super::*;
use crate::dashboard::assets::STYLE;

#[test]
fn the_style_sheet_has_enough_contrast() {
    if let Err(error) = check(STYLE) {
        panic!("{error}");
    }
    for scheme in Scheme::all(STYLE) {
        let pairs = scheme.check_text().unwrap();
        assert!(pairs > 100, "{}: only {pairs} pairs of colors", scheme.name);
        for names in [SURFACES, CONTROLS] {
            for name in names {
                assert!(scheme.root_color(name).is_some(), "{name}");
            }
        }
    }
}

#[test]
fn borders_of_controls_have_the_color_that_is_checked() {
    for scheme in Scheme::all(STYLE) {
        let controls = scheme.rules.iter().filter(|(selector, _)| {
            selector.starts_with("input[type")
                || *selector == "select"
                || *selector == ".choices label"
        });
        let mut bordered = 0;
        for (selector, declared) in controls {
            if let Some(border) = declared.get("border") {
                assert_eq!(
                    *border, "1px solid var(--control)",
                    "{}: {selector}",
                    scheme.name
                );
                bordered += 1;
            }
        }
        assert_eq!(bordered, 6, "{}", scheme.name);
    }
}

#[test]
fn the_copied_state_of_a_button_has_enough_contrast() {
    for scheme in Scheme::all(STYLE) {
        // The primary button sets another background on hover.
        for state in ["", ":hover"] {
            let rule = format!("button.copied{state}");
            let declared = scheme.declared(&rule);
            let [front, back] = ["color", "background"].map(|part| declared[part]);
            assert_eq!(scheme.check(&rule, front, back, TEXT), Ok(true), "{rule}");
        }
    }
}

#[test]
fn too_little_contrast_is_found_in_each_scheme() {
    for (style, message) in [
        (
            ":root { --accent: #ffee00; }",
            "in the light color scheme, `var(--accent) #ffee00` on `var(--page) #fcfcfd` has a \
             contrast of 1.",
        ),
        (
            "@media (prefers-color-scheme: dark) { :root { --accent: #1a1a40; } }",
            "in the dark color scheme, `var(--accent) #1a1a40` on `var(--page) #0e0f13` has",
        ),
        (
            ".hint { color: #ccc; }",
            "in the light color scheme, `.hint #ccc #cccccc` on `var(--page) #fcfcfd` has",
        ),
        (
            ":root { --accent-soft: #777777; }",
            "in the light color scheme, `.choices label:has(:checked) var(--accent-text) #4338ca` \
             on `var(--accent-soft) #777777` has",
        ),
    ] {
        let error = check(&format!("{STYLE}\n{style}")).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}
