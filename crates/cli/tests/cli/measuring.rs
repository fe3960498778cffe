//! `bench`.

use std::{fs, path::Path};

use regex::Regex;
use serde_json::{Value, json};

use crate::support::{Cli, Run};

const SMALL: [&str; 7] = [
    "bench",
    "--tokens",
    "50",
    "--rate",
    "2000",
    "--seconds",
    "0.2",
];

#[test]
fn every_kind_of_request_is_measured() {
    let cli = Cli::new();
    let measured = cli
        .run(&[&SMALL[..], &["--skew", "zipf", "--json"]].concat())
        .json();
    assert_eq!(measured["requests"], 400);
    let kinds = measured["kinds"].as_object().unwrap();
    let counted: u64 = kinds
        .values()
        .map(|kind| kind["count"].as_u64().unwrap())
        .sum();
    assert_eq!(counted, 400);
    assert!(measured["sustained"].as_f64().unwrap() > 0.0);
    assert_eq!(
        (&measured["rate"], &measured["name"]),
        (&2000.into(), &"SQLite".into())
    );
}

#[test]
fn the_default_output_is_a_table() {
    let table = Cli::new().run(&SMALL).done();
    for kind in ["kind", "hit", "miss", "unknown", "garbage", "revoked"] {
        let begin = format!("| {kind} ");
        assert!(
            table.lines().any(|line| line.starts_with(&begin)),
            "{table}"
        );
    }
    for column in ["requests", "a second", "p50", "p90", "p99", "p99.9", "max"] {
        let column = format!(" {column} |");
        assert!(table.lines().next().unwrap().contains(&column), "{table}");
    }
    assert!(table.contains("Target rate: 2,000 requests per second, at most 8 in flight."));
    assert!(table.contains("The store sustains "), "{table}");
}

#[test]
fn each_kind_has_the_requested_share() {
    let shares = [
        "--miss=10%",
        "--unknown=0",
        "--garbage=0.25",
        "--revoked=0",
        "--json",
    ];
    let measured = Cli::new().run(&[&SMALL[..], &shares].concat()).json();
    let count = |kind: &str| measured["kinds"][kind]["count"].clone();
    let kinds = ["hit", "miss", "unknown", "garbage", "revoked"];
    assert_eq!(kinds.map(count), [260, 40, 0, 100, 0].map(Value::from));
}

#[test]
fn a_store_with_apps_is_measured_only_with_add_to_existing() {
    let cli = Cli::with_app();
    let refused = cli.run(&SMALL).failed(4);
    assert!(refused.contains("--add-to-existing"), "{refused}");
    assert!(
        cli.run(&["token", "list", "--json"])
            .json_lines()
            .is_empty()
    );
    cli.run(&[&SMALL[..], &["--add-to-existing"]].concat())
        .done();
    let apps = cli.run(&["app", "list", "--json"]).json_lines();
    let of = |name: &str| apps.iter().find(|app| app["name"] == name).unwrap();
    assert!(of("Load test")["disabled_at"].is_string());
    assert!(of("Billing")["disabled_at"].is_null());
}

#[test]
fn invalid_loads_are_rejected_with_a_hint() {
    let cli = Cli::new();
    for (options, hint) in [
        (&["--tokens=0"][..], "a whole number above 0"),
        (&["--concurrency=0"], "a whole number above 0"),
        (&["--rate=0"], "a number above 0"),
        (&["--rate=inf"], "a number above 0"),
        (&["--seconds=nan"], "a number above 0"),
        (&["--seconds=-1"], "a number above 0"),
        (&["--seconds=inf"], "a number above 0"),
        (&["--unknown=5"], "`5%` or `0.05`"),
        (&["--miss=90%", "--unknown=20%"], "more than 100%"),
        (&["--skew=pareto"], "zipf"),
        (
            &["--name=a", "--name=b"],
            "the number of names (2) differs from the number of stores (1)",
        ),
        (&["--name= "], "is empty"),
        (&["--seconds=1e300"], "at most a day"),
        (&["--store=", "--store="], "no store given"),
    ] {
        let message = cli.run(&[&["bench"], options].concat()).failed(2);
        assert!(message.contains(hint), "{options:?}: {message}");
        let written = cli.directory.path().read_dir().unwrap().count();
        assert_eq!(
            written, 0,
            "{options:?} was checked after something was written"
        );
    }
}

/// Two stores in the directory of a command, and what `bench` made of them.
fn two_stores(cli: &Cli, more: &[&str]) -> Run {
    let stores = ["--store", "sqlite://a.db", "--store", "sqlite://b.db"];
    cli.run(&[&SMALL[..], &stores, more].concat())
}

#[test]
fn several_stores_are_measured_side_by_side() {
    let cli = Cli::new();
    let names = ["--name", "first", "--name", "second", "--plot", "plot.svg"];
    let table = two_stores(&cli, &names).done();
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let rows: Vec<Vec<&str>> = rows
        .map(|row| row.split('|').map(str::trim).skip(1).take(2).collect())
        .collect();
    assert_eq!(
        rows[..3],
        [["kind", "store"], ["hit", "first"], ["hit", "second"]]
    );
    assert_eq!(rows.len(), 11, "{table}");
    assert!(table.contains("first sustains ") && table.contains("second sustains "));
    assert_draws(&cli.directory.path().join("plot.svg"), &["first", "second"]);
    for store in ["sqlite://a.db", "sqlite://b.db"] {
        let apps = cli
            .run(&["app", "list", "--json", "--store", store])
            .json_lines();
        assert!(apps[0]["disabled_at"].is_string(), "{apps:?}");
    }
}

#[test]
fn several_stores_are_measured_at_half_of_the_slowest_sustained_rate() {
    let cli = Cli::new();
    let stores = ["--store", "sqlite://a.db", "--store", "sqlite://b.db"];
    let names = ["--name", "a", "--name", "b", "--json"];
    let load = ["bench", "--tokens", "50", "--seconds", "0.05"];
    let reports = cli.run(&[&load[..], &stores, &names].concat()).json_lines();
    let number = |n: usize, field: &str| reports[n][field].as_f64().unwrap();
    let slowest = number(0, "sustained").min(number(1, "sustained"));
    for n in [0, 1] {
        assert_eq!(number(n, "rate"), (slowest / 2.0).floor());
    }
}

#[test]
fn stores_with_the_same_name_are_rejected() {
    let cli = Cli::new();
    let message = two_stores(&cli, &[]).failed(2);
    assert!(
        message.contains("`SQLite`") && message.contains("--name"),
        "{message}"
    );
    let message = two_stores(&cli, &["--name=a", "--name=a"]).failed(2);
    assert!(message.contains("`a`"), "{message}");
    let written = cli.directory.path().read_dir().unwrap().count();
    assert_eq!(written, 0);
}

#[test]
fn the_test_app_is_disabled_even_if_another_store_is_rejected() {
    let cli = Cli::new();
    cli.run(&["app", "create", "Billing", "--store", "sqlite://b.db"])
        .done();
    let message = two_stores(&cli, &["--name=a", "--name=b"]).failed(4);
    assert!(message.contains("--add-to-existing"), "{message}");
    let apps = cli.run(&["app", "list", "--json", "--store", "sqlite://a.db"]);
    assert!(apps.json_lines()[0]["disabled_at"].is_string());
}

#[test]
fn other_commands_accept_one_store() {
    let message = Cli::new().run(&[
        "app",
        "list",
        "--store=sqlite://a.db",
        "--store=sqlite://b.db",
    ]);
    assert!(message.failed(2).contains("only `bench` accepts several"));
}

/// A report as another program may write it.
fn report(name: &str, rate: f64) -> Value {
    json!({
        "version": 1, "name": name, "tokens": 100, "skew": "uniform", "concurrency": 4,
        "rate": rate, "sustained": 4 * 1000, "elapsed_ns": 500_000_000,
        "kinds": {
            "hit": {"count": 1000, "unavailable": 0, "buckets": [[700, 990], [31_000, 10]]},
            "miss": {"count": 10, "unavailable": 0, "buckets": [[120_000, 9], [4_000_000, 1]]},
        },
    })
}

fn write(cli: &Cli, file: &str, content: &str) {
    fs::write(cli.directory.path().join(file), content).unwrap();
}

/// A directory with reports of two stores at one rate.
fn with_reports() -> Cli {
    let cli = Cli::new();
    for name in ["partners", "postgres"] {
        write(
            &cli,
            &format!("{name}.json"),
            &report(name, 2000.0).to_string(),
        );
    }
    cli
}

const BOTH: [&str; 3] = ["bench", "partners.json", "postgres.json"];

#[test]
fn files_are_compared_without_a_store() {
    let cli = with_reports();
    let run = cli.run(&[&BOTH[..], &["--plot", "plot.svg"]].concat());
    assert_eq!(run.err, "");
    let expected = "\
| kind | store    | requests | a second |    p50 |    p90 |     p99 |   p99.9 |     max |
|------|----------|---------:|---------:|-------:|-------:|--------:|--------:|--------:|
| hit  | partners |    1,000 |    2,000 | 700 ns | 700 ns |  700 ns | 31.0 µs | 31.0 µs |
| hit  | postgres |    1,000 |    2,000 | 700 ns | 700 ns |  700 ns | 31.0 µs | 31.0 µs |
| miss | partners |       10 |       20 | 120 µs | 120 µs | 4.00 ms | 4.00 ms | 4.00 ms |
| miss | postgres |       10 |       20 | 120 µs | 120 µs | 4.00 ms | 4.00 ms | 4.00 ms |

Target rate: 2,000 requests per second, at most 4 in flight. partners sustains 4,000 per second. postgres sustains 4,000 per second.
";
    assert_eq!(run.out, expected);
    assert_draws(
        &cli.directory.path().join("plot.svg"),
        &["partners", "postgres"],
    );
    assert!(!Path::new(cli.store.strip_prefix("sqlite://").unwrap()).exists());
}

#[test]
fn bench_reads_its_own_reports() {
    let cli = Cli::new();
    let stores = two_stores(&cli, &["--name=a", "--name=b", "--json"]).done();
    write(&cli, "both.json", &stores);
    let again = cli.run(&["bench", "both.json", "--json"]).done();
    assert_eq!(again, stores);
    let renamed = cli
        .run(&["bench", "both.json", "--name=c", "--name=d"])
        .done();
    assert!(
        renamed.contains("| c ") && renamed.contains("| d "),
        "{renamed}"
    );
}

#[test]
fn a_report_without_a_name_is_named_after_its_file() {
    let cli = with_reports();
    write(&cli, "mine.json", &report("", 2000.0).to_string());
    let table = cli.run(&["bench", "mine.json", "postgres.json"]).done();
    assert!(table.contains("| mine "), "{table}");
}

#[test]
fn files_that_cannot_be_compared_are_rejected_with_a_hint() {
    let cli = with_reports();
    let without = |field: &str| {
        let mut report = report("a", 2000.0);
        report.as_object_mut().unwrap().remove(field);
        report.to_string()
    };
    let with = |field: &str, value: Value| {
        let mut report = report("a", 2000.0);
        report[field] = value;
        report.to_string()
    };
    for (content, code, expected) in [
        ("", 1, "`x.json` is empty"),
        (
            "kind,p50",
            1,
            "`x.json` is not a latency report: expected value",
        ),
        ("[]", 1, "no number `version`"),
        ("{}", 1, "no number `version`"),
        (&without("tokens"), 1, "missing field `tokens`"),
        (&with("version", 2.into()), 1, "unknown version 2"),
        (&with("kinds", json!({})), 2, "`a` holds no requests"),
        (&with("rate", Value::Null), 2, "without a schedule"),
        (&with("name", "postgres".into()), 2, "--name"),
        (
            &with("rate", 9000.into()),
            2,
            "at 2,000 requests a second and `a` at 9,000, which cannot be compared: measure all of them at 2,000",
        ),
    ] {
        write(&cli, "x.json", content);
        let plot = ["--plot", "plot.svg"];
        let message = cli.run(&[&["bench", "postgres.json", "x.json"], &plot[..]].concat());
        let message = message.failed(code);
        assert!(message.contains(expected), "{content}: {message}");
        assert!(!cli.directory.path().join("plot.svg").exists(), "{content}");
    }
    let message = cli.run(&["bench", "missing.json"]).failed(1);
    assert!(
        message.contains("cannot read `missing.json`: No such file"),
        "{message}"
    );
    let message = cli.run(&["bench", "."]).failed(1);
    assert!(message.contains("cannot read `.`"), "{message}");
    write(&cli, "bytes.json", "");
    fs::write(cli.directory.path().join("bytes.json"), [0xff, 0xfe]).unwrap();
    let message = cli.run(&["bench", "bytes.json"]).failed(1);
    assert!(message.contains("valid UTF-8"), "{message}");
}

#[test]
fn files_conflict_with_options_for_stores() {
    let cli = with_reports();
    for options in [
        &["--tokens", "5"][..],
        &["--rate", "5"],
        &["--add-to-existing"],
    ] {
        let message = cli.run(&[&BOTH[..], options].concat()).failed(2);
        assert!(message.contains("cannot be used with"), "{message}");
    }
    let message = cli.run(&[&BOTH[..], &["--store", "sqlite://other.db"]].concat());
    let message = message.failed(2);
    assert!(message.contains("either files or `--store`"), "{message}");
    assert!(!cli.directory.path().join("other.db").exists());
}

#[test]
fn unreliable_results_are_warned_about() {
    let cli = with_reports();
    let mut other = report("postgres", 2000.0);
    other["concurrency"] = 64.into();
    write(&cli, "postgres.json", &other.to_string());
    let run = cli.run(&BOTH);
    assert!(run.err.contains("different tokens, shares"), "{run:?}");

    let mut late = report("postgres", 2000.0);
    late["elapsed_ns"] = 1_000_000_000.into();
    write(&cli, "postgres.json", &late.to_string());
    let run = cli.run(&BOTH);
    assert!(run.err.contains("`postgres` could not keep up"), "{run:?}");
    assert_eq!(run.err.lines().count(), 1, "{run:?}");

    let mut fast = report("postgres", 2000.0);
    fast["sustained"] = 2100.into();
    write(&cli, "postgres.json", &fast.to_string());
    let run = cli.run(&BOTH);
    assert!(run.err.contains("`--rate 1050`"), "{run:?}");
}

#[test]
fn a_plot_overwrites_nothing_and_is_checked_before_measuring() {
    let cli = with_reports();
    write(&cli, "plot.svg", "mine");
    let message = cli
        .run(&[&BOTH[..], &["--plot", "plot.svg"]].concat())
        .failed(1);
    assert!(message.contains("`plot.svg` already exists"), "{message}");
    let kept = fs::read_to_string(cli.directory.path().join("plot.svg")).unwrap();
    assert_eq!(kept, "mine");
    let nowhere = ["--plot", "no/such/directory/plot.svg"];
    let message = cli.run(&[&SMALL[..], &nowhere].concat()).failed(1);
    assert!(message.contains("existing directory"), "{message}");
    assert!(!Path::new(cli.store.strip_prefix("sqlite://").unwrap()).exists());
}

#[test]
fn nothing_is_measured_if_standard_output_is_closed() {
    let cli = Cli::new();
    let run = cli
        .shell("exec api-tokens bench --tokens 50 --seconds 0.1 >&-")
        .output();
    let run = Run::from(run.unwrap());
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("is closed"), "{run:?}");
    assert_eq!(cli.directory.path().read_dir().unwrap().count(), 0);
}

#[test]
fn names_are_escaped_in_tables_and_plots() {
    let cli = Cli::new();
    let name = "<b a=\"1\">&|\u{1b}[2J\u{202e}\nx";
    write(&cli, "x.json", &report(name, 2000.0).to_string());
    let plain = cli.run(&["bench", "x.json", "--plot", "plot.svg"]);
    let json = cli.run(&["bench", "x.json", "--json"]).done();
    for text in [&plain.out, &plain.err, &json] {
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
    }
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["name"], name);
    assert_draws(
        &cli.directory.path().join("plot.svg"),
        &["&lt;b a=&quot;1&quot;&gt;&amp;|"],
    );
}

/// A plot is well-formed, shows every store with a line that differs by more than its colour, and
/// says in words what it shows.
fn assert_draws(path: &Path, names: &[&str]) {
    let svg = fs::read_to_string(path).unwrap();
    assert_well_formed(&svg);
    for word in [
        "<title id=",
        "<desc id=",
        "role=\"img\"",
        "hit",
        "p50",
        "p90",
        "p99",
        "p99.9",
    ] {
        assert!(svg.contains(word), "{word}: {svg}");
    }
    for name in names {
        assert!(svg.contains(name), "{name}: {svg}");
    }
    let lines =
        Regex::new(r#"stroke="(#[0-9a-f]{6})" stroke-width="2" stroke-dasharray="([^"]+)""#);
    let lines = lines.unwrap();
    let mut styles: Vec<_> = lines
        .captures_iter(&svg)
        .map(|found| (found[1].to_owned(), found[2].to_owned()))
        .collect();
    styles.sort();
    styles.dedup();
    let distinct =
        |texts: Vec<&String>| texts.iter().collect::<std::collections::HashSet<_>>().len();
    assert_eq!(styles.len(), names.len());
    assert_eq!(
        distinct(styles.iter().map(|style| &style.0).collect()),
        names.len()
    );
    assert_eq!(
        distinct(styles.iter().map(|style| &style.1).collect()),
        names.len()
    );
}

/// Whether every element of an image is closed where it should be.
fn assert_well_formed(svg: &str) {
    let tag = Regex::new(r#"<(/?)([a-z]+)(?: [a-zA-Z-]+="[^"<]*")*\s*(/?)>"#).unwrap();
    let mut open = Vec::new();
    for found in tag.captures_iter(svg) {
        let name = &found[2];
        match (&found[1], &found[3]) {
            ("/", _) => assert_eq!(open.pop(), Some(name.to_owned())),
            (_, "/") => {}
            _ => open.push(name.to_owned()),
        }
    }
    assert!(open.is_empty() && svg.trim_start().starts_with("<svg "));
    let text = tag.replace_all(svg, "");
    assert!(!text.contains(['<', '>']), "{text}");
    let entity = Regex::new("&(amp|lt|gt|quot);").unwrap();
    assert!(!entity.replace_all(svg, "").contains('&'));
}
