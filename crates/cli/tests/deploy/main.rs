//! The files in `deploy`: the unit for systemd, the configuration and the container file.
//!
//! Neither systemd nor a registry of images is available here. So the unit is checked by
//! `systemd-analyze`, and its command runs with its arguments, its variables and its directories under
//! another user. The build of the container file runs without a container.

mod container;
mod service;
#[expect(dead_code, reason = "the tests here need several services")]
#[path = "../../../../tests/services/mod.rs"]
mod services;
mod unit;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use services::Test;

fn main() -> ExitCode {
    let unit: Vec<Test> = vec![("the_unit_is_valid_and_hardened", || {
        Box::pin(async { unit::the_unit_is_valid_and_hardened() })
    })];
    let command: Vec<Test> = vec![
        ("the_command_of_the_unit_runs_in_its_directories", || {
            Box::pin(async { unit::the_command_of_the_unit_runs_in_its_directories() })
        }),
        ("the_example_of_a_configuration_is_valid", || {
            Box::pin(async { unit::the_example_of_a_configuration_is_valid() })
        }),
        (
            "the_command_that_the_guide_checks_the_configuration_with_works",
            || {
                Box::pin(async {
                    unit::the_command_that_the_guide_checks_the_configuration_with_works()
                })
            },
        ),
        ("the_container_file_copies_what_the_build_needs", || {
            Box::pin(async { container::the_container_file_copies_what_the_build_needs() })
        }),
        (
            "the_command_of_the_container_runs_with_its_variables",
            || {
                Box::pin(async {
                    container::the_command_of_the_container_runs_with_its_variables()
                })
            },
        ),
        (
            "the_command_of_the_guide_issues_a_token_for_an_administrator",
            || {
                Box::pin(async {
                    container::the_command_of_the_guide_issues_a_token_for_an_administrator()
                })
            },
        ),
    ];
    let lint: Vec<Test> = vec![("the_container_file_passes_its_linter", || {
        Box::pin(async { container::the_container_file_passes_its_linter() })
    })];
    let has_systemd = Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_ok();
    services::run_groups(vec![
        ("systemd-analyze", has_systemd, unit),
        ("nothing", true, command),
        (
            "TEST_HADOLINT",
            env::var_os("TEST_HADOLINT").is_some(),
            lint,
        ),
    ])
}

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn deployed(name: &str) -> PathBuf {
    root().join("deploy").join(name)
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_api-tokens");
