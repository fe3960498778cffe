//! Latencies by percentile, the stores side by side, as an SVG image.
//!
//! The SVG is written by hand because plotting libraries add no title and no description for screen
//! readers, and draw a dashed line as thousands of strokes.

use std::fmt::{self, Write};

use tower_api_tokens::testing::latency::{Comparison, Kind, Latencies, Report};

use crate::{
    escape::escape_controls,
    number::{grouped, rounded},
};

/// The size of a panel without its labels, in pixels.
const WIDTH: f64 = 296.0;
const HEIGHT: f64 = 200.0;
/// The distance from one panel to the next.
const ACROSS: f64 = 330.0;
const DOWN: f64 = 276.0;
const LEFT: f64 = 76.0;
const COLUMNS: usize = 3;
/// The position of the legend, and the distance between its lines.
const LEGEND: f64 = 88.0;
const LEGEND_LINE: f64 = 22.0;

const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
/// How many powers of ten the horizontal axis spans: three end at the slowest thousandth.
const DEPTH: f64 = 3.0;
/// The number of segments of a line.
const PIECES: u32 = 60;

// Dark enough on white, and distinct for any colour vision. The numbers of colours and of dash
// patterns have no common divisor, so twenty stores get distinct lines.
const COLOURS: [&str; 5] = ["#0072b2", "#d55e00", "#1f2937", "#007f5f", "#882255"];
const DASHES: [&str; 4] = ["none", "8 4", "2 3", "12 3 2 3"];

/// Draws a panel for each kind of request that was sent.
pub(super) fn svg(comparison: &Comparison) -> String {
    let mut image = String::new();
    // Writing to a `String` never fails.
    let _ = write(&mut image, comparison);
    image
}

fn write(out: &mut String, comparison: &Comparison) -> fmt::Result {
    let reports = comparison.reports();
    let measured = |kind: &Kind| {
        reports
            .iter()
            .any(|report| report.figures(*kind).count() > 0)
    };
    let kinds: Vec<_> = Kind::ALL.into_iter().filter(measured).collect();
    let scale = Scale::around(reports);
    let top = LEGEND + LEGEND_LINE * reports.len() as f64 + 34.0;
    let rows = kinds.len().div_ceil(COLUMNS);
    let width = LEFT + ACROSS * COLUMNS as f64;
    let height = top + DOWN * rows as f64;
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-labelledby="title description" font-family="sans-serif" font-size="14" fill="{INK}">"#
    )?;
    writeln!(out, r#"<title id="title">{TITLE}</title>"#)?;
    write!(out, r#"<desc id="description">"#)?;
    describe(out, reports, &kinds)?;
    writeln!(out, "</desc>")?;
    writeln!(
        out,
        r##"<rect width="{width}" height="{height}" fill="#fff"/>"##
    )?;
    writeln!(
        out,
        r#"<text x="{LEFT}" y="32" font-size="20">{TITLE}</text>"#
    )?;
    let concurrency = reports.iter().map(Report::concurrency).max();
    writeln!(
        out,
        r#"<text x="{LEFT}" y="58" fill="{FAINT}">Target rate: {} requests per second, at most {} in flight. Latency counts from when each request was due</text>"#,
        rounded(comparison.rate()),
        grouped(concurrency.unwrap_or_default() as u64),
    )?;
    for (n, report) in reports.iter().enumerate() {
        legend(out, n, report)?;
    }
    for (n, kind) in kinds.into_iter().enumerate() {
        let x = LEFT + ACROSS * (n % COLUMNS) as f64;
        let y = top + DOWN * (n / COLUMNS) as f64;
        writeln!(out, r#"<g transform="translate({x} {y})">"#)?;
        panel(out, &scale, kind, n % COLUMNS == 0)?;
        for (n, report) in reports.iter().enumerate() {
            if report.figures(kind).count() > 0 {
                line(
                    out,
                    &scale,
                    n,
                    report.name(),
                    report.figures(kind).latencies(),
                )?;
            }
        }
        writeln!(out, "</g>")?;
    }
    writeln!(out, "</svg>")
}

const TITLE: &str = "Verification latency by percentile";
const INK: &str = "#1f2937";
const FAINT: &str = "#4b5563";
const GRID: &str = "#e5e7eb";

/// Writes the percentiles as text, for screen readers.
fn describe(out: &mut String, reports: &[Report], kinds: &[Kind]) -> fmt::Result {
    for kind in kinds {
        for report in reports
            .iter()
            .filter(|report| report.figures(*kind).count() > 0)
        {
            write!(out, "{kind}, {}:", text(report.name()))?;
            for (n, (name, share)) in PERCENTILES.into_iter().enumerate() {
                let comma = if n == 0 { "" } else { "," };
                let latency = report.figures(*kind).latencies().quantile(share);
                write!(out, "{comma} {name} {latency:.1?}")?;
            }
            out.push_str(". ");
        }
    }
    Ok(())
}

/// Draws the legend entry of a store.
fn legend(out: &mut String, n: usize, report: &Report) -> fmt::Result {
    let y = LEGEND + LEGEND_LINE * n as f64;
    let stroke = stroke(n);
    let end = LEFT + 44.0;
    writeln!(out, r#"<path d="M{LEFT} {y}H{end}" {stroke}/>"#)?;
    marker(out, n, LEFT + 22.0, y, "")?;
    let mut name = text(report.name());
    if let Some(sustained) = report.sustained() {
        let _ = write!(
            name,
            ": sustains {} requests per second",
            rounded(sustained)
        );
    }
    let (x, y) = (end + 10.0, y + 5.0);
    writeln!(out, r#"<text x="{x}" y="{y}">{name}</text>"#)
}

/// Draws the axes of a panel.
fn panel(out: &mut String, scale: &Scale, kind: Kind, is_first: bool) -> fmt::Result {
    writeln!(out, r#"<text y="-12" font-size="16">{kind}</text>"#)?;
    for power in scale.lowest..=scale.highest {
        let y = scale.y(f64::from(power));
        writeln!(out, r#"<path d="M0 {y:.1}H{WIDTH}" stroke="{GRID}"/>"#)?;
        if is_first {
            let label = power_of_ten(power);
            let y = y + 5.0;
            writeln!(
                out,
                r#"<text x="-8" y="{y:.1}" text-anchor="end" fill="{FAINT}">{label}</text>"#
            )?;
        }
    }
    for (name, share) in PERCENTILES {
        let x = across(share);
        writeln!(out, r#"<path d="M{x:.1} 0V{HEIGHT}" stroke="{GRID}"/>"#)?;
        let y = HEIGHT + 20.0;
        writeln!(
            out,
            r#"<text x="{x:.1}" y="{y}" text-anchor="middle" fill="{FAINT}">{name}</text>"#
        )?;
    }
    let (x, y) = (WIDTH / 2.0, HEIGHT + 40.0);
    writeln!(
        out,
        r#"<text x="{x}" y="{y}" text-anchor="middle" fill="{FAINT}" font-size="12">percentile of requests</text>"#
    )?;
    if is_first {
        let x = -HEIGHT / 2.0;
        writeln!(
            out,
            r#"<text transform="rotate(-90)" x="{x}" y="-62" text-anchor="middle" fill="{FAINT}" font-size="12">latency</text>"#
        )?;
    }
    Ok(())
}

/// Draws the latencies of one kind of request with one store.
fn line(
    out: &mut String,
    scale: &Scale,
    n: usize,
    name: &str,
    latencies: &Latencies,
) -> fmt::Result {
    out.push_str(r#"<path d=""#);
    for piece in 0..=PIECES {
        let depth = DEPTH * f64::from(piece) / f64::from(PIECES);
        let share = 1.0 - 10_f64.powf(-depth);
        let command = if piece == 0 { 'M' } else { 'L' };
        let (x, y) = (across(share), scale.y(exponent(latencies, share)));
        write!(out, "{command}{x:.1} {y:.1}")?;
    }
    writeln!(out, r#"" {}/>"#, stroke(n))?;
    for (percentile, share) in PERCENTILES {
        let y = scale.y(exponent(latencies, share));
        let latency = latencies.quantile(share);
        let tooltip = format!("{}, {percentile}: {latency:.1?}", text(name));
        marker(out, n, across(share), y, &tooltip)?;
    }
    Ok(())
}

fn stroke(n: usize) -> String {
    let (colour, dashes) = (COLOURS[n % COLOURS.len()], DASHES[n % DASHES.len()]);
    format!(r#"fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}""#)
}

/// Draws a marker in the store's shape and colour. The tooltip, if any, shows on hover.
fn marker(out: &mut String, n: usize, x: f64, y: f64, tooltip: &str) -> fmt::Result {
    let shape = match n % DASHES.len() {
        0 => "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
        1 => "m-4-4h8v8h-8z",
        2 => "m0-5l5 9h-10z",
        _ => "m0-5l5 5l-5 5l-5-5z",
    };
    let colour = COLOURS[n % COLOURS.len()];
    write!(out, r#"<path d="M{x:.1} {y:.1}{shape}" fill="{colour}""#)?;
    if tooltip.is_empty() {
        writeln!(out, "/>")
    } else {
        writeln!(out, "><title>{tooltip}</title></path>")
    }
}

/// The horizontal position of a percentile, on a scale that is logarithmic in the share of slower
/// requests: p90, p99 and p99.9 are equally far apart.
fn across(share: f64) -> f64 {
    let depth = -(1.0 - share).log10();
    (depth / DEPTH).clamp(0.0, 1.0) * WIDTH
}

/// The decimal logarithm of a latency in nanoseconds.
fn exponent(latencies: &Latencies, share: f64) -> f64 {
    let nanoseconds = latencies.quantile(share).as_nanos().max(1);
    (nanoseconds as f64).log10()
}

/// The range of the latencies, in powers of ten of nanoseconds.
struct Scale {
    lowest: i32,
    highest: i32,
}

impl Scale {
    fn around(reports: &[Report]) -> Self {
        let (mut lowest, mut highest) = (f64::INFINITY, 0.0_f64);
        let kinds = Kind::ALL.into_iter();
        for figures in kinds.flat_map(|kind| reports.iter().map(move |r| r.figures(kind))) {
            if figures.count() > 0 {
                lowest = lowest.min(exponent(figures.latencies(), 0.0));
                highest = highest.max(exponent(figures.latencies(), 0.999));
            }
        }
        let lowest = lowest.min(highest).floor() as i32;
        Self {
            lowest,
            highest: (highest.ceil() as i32).max(lowest + 1),
        }
    }

    /// The vertical position of a power of ten, from the top.
    fn y(&self, exponent: f64) -> f64 {
        let share = (exponent - f64::from(self.lowest)) / f64::from(self.highest - self.lowest);
        (1.0 - share) * HEIGHT
    }
}

/// Formats a power of ten of nanoseconds in a suitable unit.
fn power_of_ten(power: i32) -> String {
    let (unit, below) = match power {
        ..3 => ("ns", 0),
        3..6 => ("µs", 3),
        6..9 => ("ms", 6),
        _ => ("s", 9),
    };
    let number = 10_u64.pow((power - below).unsigned_abs());
    format!("{number} {unit}")
}

/// Escapes a text for XML. Control characters and characters that XML cannot hold are replaced.
fn text(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    for c in escape_controls(raw).chars() {
        match c {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => text.push(char::REPLACEMENT_CHARACTER),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_axis_is_logarithmic() {
        assert!(across(0.0).abs() < 0.01);
        let steps = [0.9, 0.99, 0.999].map(across);
        assert!((steps[0] - WIDTH / 3.0).abs() < 0.01);
        assert!((steps[1] - WIDTH * 2.0 / 3.0).abs() < 0.01);
        assert!((steps[2] - WIDTH).abs() < 0.01);
    }

    #[test]
    fn twenty_stores_get_distinct_lines() {
        let lines: std::collections::HashSet<_> = (0..20).map(stroke).collect();
        assert_eq!(lines.len(), 20);
    }

    #[test]
    fn names_are_escaped_for_xml() {
        let name = "<a href=\"x\">&\u{0}\u{ffff}\u{202e}";
        let expected = "&lt;a href=&quot;x&quot;&gt;&amp;\\u{0}\u{fffd}\\u{202e}";
        assert_eq!(text(name), expected);
    }

    #[test]
    fn a_power_of_ten_is_shown_in_a_suitable_unit() {
        for (power, shown) in [
            (0, "1 ns"),
            (3, "1 µs"),
            (5, "100 µs"),
            (6, "1 ms"),
            (10, "10 s"),
        ] {
            assert_eq!(power_of_ten(power), shown);
        }
    }
}
