//! `bench`.

use crate::support::Cli;

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
    assert_eq!(measured["run"]["requests"], 400);
    let kinds = measured["run"]["kinds"].as_object().unwrap();
    let counted: u64 = kinds
        .values()
        .map(|kind| kind["count"].as_u64().unwrap())
        .sum();
    assert_eq!(counted, 400);
    assert!(measured["saturation"]["throughput"].as_f64().unwrap() > 0.0);
}

#[test]
fn people_get_a_table() {
    let table = Cli::new().run(&SMALL).done();
    for kind in ["KIND", "hit", "miss", "unknown", "garbage", "revoked"] {
        assert!(table.lines().any(|line| line.starts_with(kind)), "{table}");
    }
}

#[test]
fn a_store_in_use_is_written_to_only_when_that_was_said() {
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
fn a_load_that_cannot_be_is_refused_with_the_cure() {
    let cli = Cli::new();
    for (option, cure) in [
        ("--tokens=0", "a whole number above 0"),
        ("--concurrency=0", "a whole number above 0"),
        ("--rate=0", "a number above 0"),
        ("--rate=inf", "a number above 0"),
        ("--seconds=nan", "a number above 0"),
        ("--seconds=-1", "a number above 0"),
        ("--seconds=inf", "a number above 0"),
    ] {
        let message = cli.run(&["bench", option]).failed(2);
        assert!(message.contains(cure), "{option}: {message}");
        let written = cli.directory.path().read_dir().unwrap().count();
        assert_eq!(
            written, 0,
            "{option} was judged after something was written"
        );
    }
}
