//! Colors, and their contrast by WCAG 2.2.

use std::fmt;

/// A color of the sRGB color space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Color([u8; 3]);

impl Color {
    pub(super) const BLACK: Self = Self([0; 3]);
    pub(super) const WHITE: Self = Self([255; 3]);

    /// Parses `#rrggbb`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#')?.as_bytes();
        let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
        let channel = |at| u8::try_from(digit(at)? * 16 + digit(at + 1)?).ok();
        let color = Self([channel(0)?, channel(2)?, channel(4)?]);
        (digits.len() == 6).then_some(color)
    }

    /// Mixes `percent` of another color into this one.
    pub(super) fn mix(self, other: Self, percent: u16) -> Self {
        let percent = percent.min(100);
        let mut mixed = self.0;
        for (channel, other) in mixed.iter_mut().zip(other.0) {
            let sum = u16::from(*channel) * (100 - percent) + u16::from(other) * percent;
            *channel = u8::try_from((sum + 50) / 100).unwrap_or(u8::MAX);
        }
        Self(mixed)
    }

    /// Returns the contrast ratio, from 1 to 21.
    pub(super) fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    fn luminance(self) -> f64 {
        let linear = |channel: u8| match f64::from(channel) / 255.0 {
            dark if dark <= 0.040_45 => dark / 12.92,
            light => ((light + 0.055) / 1.055).powf(2.4),
        };
        let [red, green, blue] = self.0.map(linear);
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
}

/// Writes `#rrggbb`.
impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_color_is_written_as_it_is_parsed() {
        for text in ["#000000", "#4f46e5", "#ffffff"] {
            assert_eq!(Color::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Color::parse("#4F46E5"), Color::parse("#4f46e5"));
    }

    #[test]
    fn other_spellings_of_colors_are_refused() {
        for bad in [
            "",
            "#",
            "4f46e5",
            "#fff",
            "#4f46e",
            "#4f46e5f",
            "#4f46e5ff",
            "#4f46eg",
            "#+f46e5",
            "# f46e5",
            "red",
            "#ééé",
            "rgb(0 0 0)",
            "#4f46e5;",
        ] {
            assert_eq!(Color::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn contrast_is_computed_as_in_wcag() {
        assert!((Color::BLACK.contrast(Color::WHITE) - 21.0).abs() < 0.01);
        let gray = Color::parse("#767676").unwrap();
        assert!((gray.contrast(Color::WHITE) - 4.54).abs() < 0.01);
        let [green, indigo] = ["#16794c", "#4f46e5"].map(|text| Color::parse(text).unwrap());
        assert!(green.contrast(indigo) < 1.5);
    }

    #[test]
    fn mixing_moves_a_color_toward_another() {
        assert_eq!(Color::BLACK.mix(Color::WHITE, 0), Color::BLACK);
        assert_eq!(Color::BLACK.mix(Color::WHITE, 100), Color::WHITE);
        assert_eq!(Color::BLACK.mix(Color::WHITE, 50).to_string(), "#808080");
    }
}
