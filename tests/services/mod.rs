//! Tests that need a server: ignored without it, a failure when `REQUIRE_SERVICES=1` asks for it.

use std::{env, process::ExitCode};

use futures_util::future::BoxFuture;
use libtest_mimic::{Arguments, Failed, Trial};

/// A test by its name, and what runs it.
pub(crate) type Test = (&'static str, fn() -> BoxFuture<'static, ()>);

/// Runs tests that need what `service` names. Without it they are ignored, unless it is required:
/// then each of them fails.
pub(crate) fn run(service: &str, found: bool, tests: Vec<Test>) -> ExitCode {
    let required = env::var("REQUIRE_SERVICES").is_ok_and(|value| value == "1");
    let trials = tests.into_iter().map(|(name, test)| {
        let service = service.to_owned();
        Trial::test(name, move || {
            if !found {
                return Err(Failed::from(format!("it needs {service}")));
            }
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?;
            runtime.block_on(test());
            Ok(())
        })
        .with_ignored_flag(!found && !required)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
