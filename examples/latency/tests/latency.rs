//! The example that measures a store of your own, run as a newcomer would.

use std::{fs, process::Command};

use tempfile::TempDir;
use tower_api_tokens::testing::latency::{Kind, Report};

#[test]
fn a_store_is_measured_into_a_file() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("partners.json");
    let output = Command::new(env!("CARGO_BIN_EXE_latency"))
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    let report = Report::from_json(&fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!((report.name(), report.tokens()), ("partners", 10_000));
    assert!(told.starts_with(&format!("{report}\n")), "{told}");
    assert!(report.figures(Kind::Miss).count() > 0);
}
