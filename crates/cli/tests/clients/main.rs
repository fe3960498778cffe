//! OAuth 2.0 clients from PyPI and npm, and the samples of the guide to other languages, with `api-tokens serve`.
//! `TEST_CLIENTS` names the directory that `.ci/clients` made.

mod fronts;
mod programs;
mod samples;
#[path = "../../../../tests/services/mod.rs"]
#[expect(dead_code, reason = "these tests need more than one service")]
mod services;
mod site;

use std::{env, process::ExitCode};

use services::run_groups;

fn main() -> ExitCode {
    let has_clients = env::var_os("TEST_CLIENTS").is_some();
    let has_nginx = fronts::find_nginx().is_some();
    let has_envoy = env::var_os("TEST_ENVOY").is_some();
    run_groups(vec![
        ("TEST_CLIENTS", has_clients, programs::direct()),
        (
            "TEST_CLIENTS and nginx",
            has_clients && has_nginx,
            programs::through_nginx(),
        ),
        (
            "TEST_CLIENTS and TEST_ENVOY",
            has_clients && has_envoy,
            programs::through_envoy(),
        ),
        ("TEST_CLIENTS", has_clients, samples::with_clients()),
        ("go", samples::has_go(), samples::with_go()),
    ])
}
