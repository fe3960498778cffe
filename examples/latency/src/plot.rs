//! The distributions side by side, as an SVG image.

use std::{error::Error, time::Duration};

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use tower_api_tokens::testing::latency::{Kind, Latencies, Report};

use crate::{
    args::Args,
    output::{time, title},
};

const SIZE: (u32, u32) = (1080, 560);
// Where the distributions lie, in pixels.
const LEFT: i32 = 72;
const RIGHT: i32 = 1067;
const TOP: i32 = 84;
const BOTTOM: i32 = 510;
/// Into how many parts a factor of ten is divided.
const PARTS: f64 = 16.0;
const INK: RGBColor = RGBColor(0x1f, 0x29, 0x37);
const FAINT: RGBColor = RGBColor(0x6b, 0x72, 0x80);
const GRID: RGBColor = RGBColor(0xe5, 0xe7, 0xeb);
const FILL: RGBColor = RGBColor(0x60, 0xa5, 0xfa);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

/// Draws the latencies of each kind that there were requests of.
pub(crate) fn svg(args: &Args, report: &Report) -> Result<String, Box<dyn Error>> {
    let kinds = Kind::ALL.into_iter();
    let kinds: Vec<_> = kinds
        .filter(|kind| report.figures(*kind).count() > 0)
        .collect();
    let mut image = String::new();
    {
        let area = SVGBackend::with_string(&mut image, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        text(
            &area,
            &title(args, report),
            (LEFT, 28),
            21.0,
            HPos::Left,
            INK,
        )?;
        let how = "latency from the instant in which a request was due; wider is more frequent";
        text(&area, how, (LEFT, 54), 16.0, HPos::Left, FAINT)?;
        let all = kinds.iter().map(|kind| report.figures(*kind).latencies());
        let scale = Scale::around(all);
        scale.draw(&area)?;
        let width = (RIGHT - LEFT) / i32::try_from(kinds.len())?;
        for (n, kind) in (0..).zip(&kinds) {
            let middle = LEFT + width * n + width * 3 / 10;
            let figures = report.figures(*kind);
            shape(&area, &scale, figures.latencies(), middle, width * 7 / 25)?;
            marks(&area, &scale, figures.latencies(), middle, width * 7 / 25)?;
            text(
                &area,
                kind.as_str(),
                (middle, BOTTOM + 24),
                18.0,
                HPos::Center,
                INK,
            )?;
        }
        area.present()?;
    }
    Ok(image)
}

/// A logarithmic axis from one power of ten to another.
struct Scale {
    lowest: i32,
    highest: i32,
}

impl Scale {
    fn around<'a>(all: impl Iterator<Item = &'a Latencies>) -> Self {
        let (mut lowest, mut highest) = (f64::INFINITY, f64::NEG_INFINITY);
        for latencies in all {
            lowest = lowest.min(exponent(latencies.quantile(0.0)));
            highest = highest.max(exponent(latencies.max()));
        }
        let (lowest, highest) = (lowest.floor() as i32, highest.ceil() as i32);
        Self {
            lowest,
            highest: highest.max(lowest + 1),
        }
    }

    /// The height of a power of ten.
    fn y(&self, exponent: f64) -> i32 {
        let share = (exponent - f64::from(self.lowest)) / f64::from(self.highest - self.lowest);
        BOTTOM - (share * f64::from(BOTTOM - TOP)).round() as i32
    }

    fn draw(&self, area: &Area<'_>) -> Drawn {
        for power in self.lowest..=self.highest {
            let y = self.y(f64::from(power));
            area.draw(&PathElement::new([(LEFT, y), (RIGHT, y)], GRID))?;
            let nanoseconds = 10_u64.pow(power.unsigned_abs());
            let label = time(Duration::from_nanos(nanoseconds));
            let label = label.replace(".00", "").replace(".0", "");
            text(area, &label, (LEFT - 8, y), 16.0, HPos::Right, FAINT)?;
        }
        Ok(())
    }
}

/// The power of ten that a time is in nanoseconds.
fn exponent(time: Duration) -> f64 {
    (time.as_nanos().max(1) as f64).log10()
}

/// A shape that is as wide at each height as latencies are frequent there.
fn shape(
    area: &Area<'_>,
    scale: &Scale,
    latencies: &Latencies,
    middle: i32,
    half_width: i32,
) -> Drawn {
    const SAMPLES: usize = 4000;
    let begin = f64::from(scale.lowest);
    let parts = f64::from(scale.highest - scale.lowest) * PARTS;
    let mut frequencies = vec![0_u32; parts as usize + 1];
    for sample in 0..SAMPLES {
        let latency = latencies.quantile((sample as f64 + 0.5) / SAMPLES as f64);
        let part = ((exponent(latency) - begin) * PARTS) as usize;
        frequencies[part.min(parts as usize)] += 1;
    }
    let most = frequencies.iter().copied().max().unwrap_or(1);
    let outline = |side: i32| {
        let points = frequencies.iter().enumerate().filter(|(_, n)| **n > 0);
        points.map(move |(part, n)| {
            let width = f64::from(*n) / f64::from(most) * f64::from(half_width);
            let height = scale.y(begin + (part as f64 + 0.5) / PARTS);
            (middle + side * (width.round() as i32).max(1), height)
        })
    };
    let points: Vec<_> = outline(-1).chain(outline(1).rev()).collect();
    area.draw(&Polygon::new(points.clone(), FILL.mix(0.55)))?;
    let closed = points.iter().chain(points.first()).copied();
    area.draw(&PathElement::new(closed.collect::<Vec<_>>(), FILL))?;
    Ok(())
}

/// The percentiles, with their values beside them.
fn marks(
    area: &Area<'_>,
    scale: &Scale,
    latencies: &Latencies,
    middle: i32,
    half_width: i32,
) -> Drawn {
    let mut free = i32::MAX;
    for (name, latency) in [
        ("p50", latencies.quantile(0.5)),
        ("p90", latencies.quantile(0.9)),
        ("p99", latencies.quantile(0.99)),
        ("p99.9", latencies.quantile(0.999)),
        ("max", latencies.max()),
    ] {
        let y = scale.y(exponent(latency));
        let tick = half_width / 3;
        area.draw(&PathElement::new(
            [(middle - tick, y), (middle + tick, y)],
            INK,
        ))?;
        // Labels go up, and keep out of each other's way.
        let label_y = y.min(free);
        free = label_y - 16;
        let label_x = middle + half_width + 6;
        area.draw(&PathElement::new(
            [(middle + tick, y), (label_x - 3, label_y)],
            FAINT.mix(0.5),
        ))?;
        let label = format!("{name} {}", time(latency));
        text(area, &label, (label_x, label_y), 15.0, HPos::Left, INK)?;
    }
    Ok(())
}

fn text(
    area: &Area<'_>,
    text: &str,
    at: (i32, i32),
    size: f64,
    side: HPos,
    colour: RGBColor,
) -> Drawn {
    let style = TextStyle::from(("sans-serif", size).into_font());
    let style = style.color(&colour).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text, at, style))?;
    Ok(())
}
