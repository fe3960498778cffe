//! The table for people, and the JSON for programs.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use serde_json::{Value, json};
use tower_api_tokens::testing::latency::{Kind, Report};

use crate::{Measured, args::Args};

pub(crate) fn table(args: &Args, measured: &Measured) -> String {
    let run = &measured.run;
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header([
        "kind",
        "requests",
        "a second",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "unavailable",
    ]);
    for kind in Kind::ALL {
        let figures = run.figures(kind);
        if figures.count() == 0 {
            continue;
        }
        let at = |share| time(figures.latencies().quantile(share));
        table.add_row([
            kind.to_string(),
            whole(figures.count() as f64),
            whole(figures.throughput()),
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            time(figures.latencies().max()),
            whole(figures.unavailable() as f64),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!(
        "{}\n\n{table}\n\nWithout a schedule: {} a second.",
        title(args, run),
        whole(measured.saturation.throughput()),
    )
}

/// What was measured, in a line.
pub(crate) fn title(args: &Args, run: &Report) -> String {
    let rate = run.rate().unwrap_or_default();
    format!(
        "{}, {} tokens, {} due a second, at most {} at once",
        args.store.name(),
        whole(args.tokens as f64),
        whole(rate),
        run.concurrency(),
    )
}

pub(crate) fn json(args: &Args, measured: &Measured) -> serde_json::Result<Value> {
    let report = |report: &Report| serde_json::from_str::<Value>(&report.to_json());
    Ok(json!({
        "store": args.store.name(),
        "tokens": args.tokens,
        "saturation": report(&measured.saturation)?,
        "run": report(&measured.run)?,
    }))
}

/// A time to three digits, in the unit that suits it.
pub(crate) fn time(time: Duration) -> String {
    let nanoseconds = time.as_nanos() as f64;
    let (value, unit) = match nanoseconds {
        ..1e3 => (nanoseconds, "ns"),
        ..1e6 => (nanoseconds / 1e3, "µs"),
        ..1e9 => (nanoseconds / 1e6, "ms"),
        _ => (nanoseconds / 1e9, "s"),
    };
    let digits = match value {
        _ if unit == "ns" => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// A whole number with its thousands apart.
fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
