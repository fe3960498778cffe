//! The example that measures latency, run as a newcomer would.

use std::process::Command;

use tempfile::TempDir;

/// Runs the latency example, and returns its status and what it wrote.
fn latency(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_latency"))
        .args(["--tokens", "50", "--seconds", "0.2", "--rate", "5000"])
        .args(arguments)
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let complained = String::from_utf8(output.stderr).unwrap();
    let token = regex::Regex::new("load_[0-9A-Za-z]{38}").unwrap();
    assert!(!token.is_match(&told) && !token.is_match(&complained));
    (output.status.success(), told, complained)
}

#[test]
fn the_latencies_of_every_kind_are_told_to_programs_and_drawn() {
    let directory = TempDir::new().unwrap();
    let plot = directory.path().join("latency.svg");
    let (succeeded, told, _) = latency(&["--json", "--plot", plot.to_str().unwrap()]);
    assert!(succeeded);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let run = &told["run"];
    assert_eq!(run["requests"], 1000);
    let kinds = run["kinds"].as_object().unwrap();
    let counts = |kind: &str| kinds[kind]["count"].as_u64().unwrap();
    let kinds = ["hit", "miss", "unknown", "garbage", "revoked"];
    assert_eq!(kinds.map(counts), [800, 50, 50, 50, 50]);
    let drawn = std::fs::read_to_string(plot).unwrap();
    assert_well_formed(&drawn);
    for word in kinds.into_iter().chain(["p50", "p99.9", "max"]) {
        assert!(drawn.contains(word), "{word}");
    }
}

/// Whether every element of an image is closed where it should be.
fn assert_well_formed(svg: &str) {
    let tag = regex::Regex::new(r#"<(/?)([a-z]+)(?: [a-zA-Z-]+="[^"<]*")*\s*(/?)>"#).unwrap();
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
    assert!(!tag.replace_all(svg, "").contains(['<', '>']));
}

#[test]
fn the_latencies_are_a_table_for_people() {
    let (succeeded, told, complained) = latency(&["--store", "memory", "--garbage", "0%"]);
    assert!(succeeded && complained.is_empty(), "{complained}");
    let rows = told.lines().filter(|line| line.starts_with("| "));
    let rows: Vec<Vec<&str>> = rows
        .map(|row| row.split('|').map(str::trim).skip(1).collect())
        .collect();
    assert_eq!(rows[0][..3], ["kind", "requests", "a second"]);
    let counted: Vec<_> = rows[1..].iter().map(|row| (row[0], row[1])).collect();
    let expected = [
        ("hit", "850"),
        ("miss", "50"),
        ("unknown", "50"),
        ("revoked", "50"),
    ];
    assert_eq!(counted, expected);
}

#[test]
fn latency_is_not_measured_in_a_store_that_is_in_use() {
    let directory = TempDir::new().unwrap();
    let store = format!("sqlite://{}", directory.path().join("tokens.db").display());
    assert!(latency(&["--store", &store]).0);
    let (succeeded, _, complained) = latency(&["--store", &store]);
    assert!(
        !succeeded && complained.contains("--add-to-existing"),
        "{complained}"
    );
    assert!(latency(&["--store", &store, "--add-to-existing"]).0);
}

#[test]
fn latency_tells_what_is_wrong_with_its_arguments() {
    for (arguments, expected) in [
        (&["--store", "mysql://here"][..], "sqlite://PATH"),
        (
            &["--store", "sqlite:///no/such/directory/x.db"],
            "create it",
        ),
        (&["--unknown", "5"], "`5%` or `0.05`"),
        (&["--miss", "90%", "--unknown", "20%"], "100% together"),
        (&["--concurrency", "0"], "above 0"),
        (&["--skew", "pareto"], "zipf"),
    ] {
        let (succeeded, _, complained) = latency(arguments);
        assert!(!succeeded && complained.contains(expected), "{complained}");
    }
}
