//! The store in PostgreSQL, on a server that `TEST_POSTGRES_URL` names.

mod schema;
#[path = "../services/mod.rs"]
mod services;
mod support;
mod transfer;

use std::process::ExitCode;

use services::Test;

fn main() -> ExitCode {
    let mut tests: Vec<Test> = Vec::new();
    tests.extend(conformance());
    tests.extend(schema::tests());
    tests.extend(transfer::tests());
    services::run("TEST_POSTGRES_URL", support::url().is_some(), tests)
}

/// The contract of every registry.
fn conformance() -> Vec<Test> {
    let checks: &[Test] = &tower_api_tokens::registry_conformance!(list support::fresh());
    checks.to_vec()
}
