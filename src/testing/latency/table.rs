//! Formats reports as Markdown tables.

use std::{fmt, time::Duration};

use super::{
    comparison::Comparison,
    figures::{Figures, Report},
    kind::Kind,
    number::whole,
};

/// Formats the report as a table with a row for each kind of request:
///
/// ```text
/// | kind    | requests | a second |     p50 |     p90 |    p99 |   p99.9 |     max |
/// |---------|---------:|---------:|--------:|--------:|-------:|--------:|--------:|
/// | hit     |    4,000 |    4,000 | 1.23 µs | 17.0 µs | 278 µs | 3.15 ms | 4.11 ms |
/// | miss    |      250 |      250 | 43.5 µs |  160 µs | 989 µs | 3.84 ms | 7.39 ms |
/// ```
///
/// A column `unavailable` is added if the store failed to answer some requests.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, &[self], false)
    }
}

/// Formats the comparison like a [`Report`], with a column for the store, and with the rows of each
/// kind side by side.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reports: Vec<_> = self.reports().iter().collect();
        write(f, &reports, true)
    }
}

fn write(f: &mut fmt::Formatter<'_>, reports: &[&Report], with_store: bool) -> fmt::Result {
    let all = || reports.iter().flat_map(|report| &report.figures);
    let with_unavailable = all().any(|figures| figures.unavailable() > 0);
    let mut rows = vec![header(with_store, with_unavailable)];
    for kind in Kind::ALL {
        for report in reports {
            let figures = report.figures(kind);
            if figures.count() == 0 {
                continue;
            }
            let mut cells = vec![kind.to_string()];
            if with_store {
                cells.push(in_a_cell(report.name()));
            }
            cells.extend(numbers(figures));
            if with_unavailable {
                cells.push(whole(figures.unavailable() as f64));
            }
            rows.push(cells);
        }
    }
    // Text is left-aligned, numbers are right-aligned.
    let texts = if with_store { 2 } else { 1 };
    let widths: Vec<_> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    for (n, row) in rows.iter().enumerate() {
        if n > 0 {
            writeln!(f)?;
        }
        f.write_str("|")?;
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if column < texts {
                write!(f, " {cell:<width$} |")?;
            } else {
                write!(f, " {cell:>width$} |")?;
            }
        }
        if n == 0 {
            f.write_str("\n|")?;
            for (column, width) in widths.iter().enumerate() {
                let end = if column < texts { '-' } else { ':' };
                write!(f, "{:-<width$}{end}|", "", width = width + 1)?;
            }
        }
    }
    Ok(())
}

fn header(with_store: bool, with_unavailable: bool) -> Vec<String> {
    let mut header = vec!["kind"];
    if with_store {
        header.push("store");
    }
    header.extend(["requests", "a second", "p50", "p90", "p99", "p99.9", "max"]);
    if with_unavailable {
        header.push("unavailable");
    }
    header.into_iter().map(str::to_owned).collect()
}

fn numbers(figures: &Figures) -> [String; 7] {
    let at = |share| time(figures.latencies().quantile(share));
    [
        whole(figures.count() as f64),
        whole(figures.throughput()),
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        time(figures.latencies().max()),
    ]
}

/// Escapes a name so that it ends neither its cell nor its line.
fn in_a_cell(name: &str) -> String {
    let mut cell = String::new();
    for c in name.chars() {
        match c {
            '|' => cell.push_str("\\|"),
            c if c.is_control() => cell.extend(c.escape_default()),
            c => cell.push(c),
        }
    }
    cell
}

/// A time with three digits, in a suitable unit.
fn time(time: Duration) -> String {
    let nanoseconds = time.as_nanos() as f64;
    // A value that would round to a thousand of a unit is shown as one of the next.
    let (value, unit) = match nanoseconds {
        ..999.5 => return format!("{nanoseconds} ns"),
        ..999_500.0 => (nanoseconds / 1e3, "µs"),
        ..999_500_000.0 => (nanoseconds / 1e6, "ms"),
        _ => (nanoseconds / 1e9, "s"),
    };
    let digits = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::latency::{Skew, figures::Load};

    fn report(name: &str, slowness: u64) -> Report {
        let load = Load {
            name: name.to_owned(),
            tokens: 100,
            skew: Skew::Uniform,
            concurrency: 8,
        };
        let mut report = Report::new(load, Some(1_000.0), Some(2_000.0));
        for n in 1..=2_000 {
            report.record(Kind::Hit, Duration::from_nanos(n * slowness), true);
        }
        for n in 1..=20 {
            report.record(Kind::Miss, Duration::from_micros(n * slowness), true);
        }
        report.ended(Duration::from_secs(2))
    }

    #[test]
    fn a_report_is_a_table() {
        let expected = "\
| kind | requests | a second |     p50 |     p90 |     p99 |   p99.9 |     max |
|------|---------:|---------:|--------:|--------:|--------:|--------:|--------:|
| hit  |    2,000 |    1,000 | 1.00 µs | 1.80 µs | 1.98 µs | 2.00 µs | 2.00 µs |
| miss |       20 |       10 | 10.0 µs | 18.0 µs | 20.0 µs | 20.0 µs | 20.0 µs |";
        assert_eq!(report("", 1).to_string(), expected);
    }

    #[test]
    fn unavailable_requests_have_their_own_column() {
        let mut report = report("", 1);
        report.record(Kind::Miss, Duration::from_secs(1), false);
        let table = report.to_string();
        let ends: Vec<_> = table.lines().map(|line| &line[line.len() - 14..]).collect();
        let expected = [
            " unavailable |",
            "------------:|",
            "           0 |",
            "           1 |",
        ];
        assert_eq!(ends, expected);
    }

    #[test]
    fn stores_are_side_by_side() {
        let reports = vec![report("a|b\n", 1), report("PostgreSQL", 100)];
        let comparison = Comparison::new(reports).unwrap();
        let expected = "\
| kind | store      | requests | a second |     p50 |     p90 |     p99 |   p99.9 |     max |
|------|------------|---------:|---------:|--------:|--------:|--------:|--------:|--------:|
| hit  | a\\|b\\n     |    2,000 |    1,000 | 1.00 µs | 1.80 µs | 1.98 µs | 2.00 µs | 2.00 µs |
| hit  | PostgreSQL |    2,000 |    1,000 |  100 µs |  180 µs |  198 µs |  200 µs |  200 µs |
| miss | a\\|b\\n     |       20 |       10 | 10.0 µs | 18.0 µs | 20.0 µs | 20.0 µs | 20.0 µs |
| miss | PostgreSQL |       20 |       10 | 1.00 ms | 1.80 ms | 2.00 ms | 2.00 ms | 2.00 ms |";
        assert_eq!(comparison.to_string(), expected);
    }

    #[test]
    fn a_time_has_three_digits_and_a_suitable_unit() {
        for (nanoseconds, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (9_996, "10.0 µs"),
            (99_960, "100 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (31_000_000, "31.0 ms"),
            (999_600_000, "1.00 s"),
            (3_600_000_000_000, "3600 s"),
        ] {
            assert_eq!(time(Duration::from_nanos(nanoseconds)), text);
        }
    }

    #[test]
    fn thousands_have_separators() {
        for (number, text) in [(0.0, "0"), (999.4, "999"), (1e6, "1,000,000")] {
            assert_eq!(whole(number), text);
        }
    }
}
