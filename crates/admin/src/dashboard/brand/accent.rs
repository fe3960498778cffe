//! The custom properties of the style sheet that derive from an accent color.

use std::fmt;

use crate::dashboard::{
    color::Color,
    contrast::{GRAPHICS, SURFACES, Scheme, TEXT},
};

/// How much of the accent color is in the background of a selected option, at most, in percent.
const SOFT: u16 = 12;
/// How much a button darkens or lightens under the pointer, in percent.
const HOVER: u16 = 15;

/// An accent color, and the colors that derive from it.
pub(super) struct Accent {
    accent: Color,
    hover: Color,
    text: Color,
    soft: Color,
    on_accent: Color,
}

impl Accent {
    /// Derives the other colors, so that text has enough contrast in a color scheme. Whether the accent
    /// color itself has enough is for [`check`](crate::dashboard::contrast::check) to find.
    pub(super) fn new(accent: Color, scheme: &Scheme<'_>) -> Self {
        let root = |name| scheme.root_color(name).unwrap_or(Color::WHITE);
        let [surface, text, muted] = ["--surface", "--text", "--muted"].map(root);
        let (on_accent, away) = match accent.contrast(Color::WHITE) >= TEXT {
            true => (Color::WHITE, Color::BLACK),
            // Of black and white, at least one has a contrast of 4.5 with any color.
            false => (Color::BLACK, Color::WHITE),
        };
        let soft = (1..=SOFT)
            .rev()
            .map(|percent| surface.mix(accent, percent))
            .find(|soft| {
                [text, muted]
                    .iter()
                    .all(|text| text.contrast(*soft) >= TEXT)
            })
            .unwrap_or(surface);
        let mut backs = SURFACES.map(root).to_vec();
        backs.push(soft);
        Self {
            accent,
            hover: accent.mix(away, HOVER),
            text: nearest(accent, text, &backs, TEXT),
            soft,
            on_accent,
        }
    }
}

/// Returns the shade of a color that is nearest to it and has enough contrast for graphics in a
/// scheme.
pub(super) fn shade_for(color: Color, scheme: &Scheme<'_>) -> Color {
    let root = |name| scheme.root_color(name);
    let backs: Vec<Color> = SURFACES.iter().filter_map(|name| root(name)).collect();
    let toward = root("--text").unwrap_or(Color::WHITE);
    nearest(color, toward, &backs, GRAPHICS)
}

/// Mixes as little of another color into a color as gives it enough contrast with all backgrounds.
fn nearest(color: Color, toward: Color, backs: &[Color], minimum: f64) -> Color {
    (0..100)
        .map(|percent| color.mix(toward, percent))
        .find(|shade| backs.iter().all(|back| shade.contrast(*back) >= minimum))
        .unwrap_or(toward)
}

/// Writes the declarations.
impl fmt::Display for Accent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "--accent: {}; --accent-hover: {}; --accent-text: {}; --accent-soft: {}; \
             --on-accent: {}; --ring: {};",
            self.accent, self.hover, self.text, self.soft, self.on_accent, self.accent
        )
    }
}
