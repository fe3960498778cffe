//! Tests that need a server. They are ignored without it, or fail with `REQUIRE_SERVICES=1`.

use std::{env, process::ExitCode, time::Duration};

use futures_util::future::BoxFuture;
use libtest_mimic::{Arguments, Failed, Trial};

/// A test that waits in vain fails after this time, instead of blocking those after it.
const DEADLINE: Duration = Duration::from_secs(900);

/// The name of a test, and the function that runs it.
pub(crate) type Test = (&'static str, fn() -> BoxFuture<'static, ()>);

/// Tests that need the named service, and whether it was found.
pub(crate) type Group<'a> = (&'a str, bool, Vec<Test>);

/// Runs tests that need a service. Without it they are ignored or, if it is required, fail.
pub(crate) fn run(service: &str, found: bool, tests: Vec<Test>) -> ExitCode {
    run_groups(vec![(service, found, tests)])
}

/// Runs tests that need several services, like [`run`].
pub(crate) fn run_groups(groups: Vec<Group<'_>>) -> ExitCode {
    let trials = groups.into_iter().flat_map(trials).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trials((service, found, tests): Group<'_>) -> impl Iterator<Item = Trial> {
    let required = env::var("REQUIRE_SERVICES").is_ok_and(|value| value == "1");
    tests.into_iter().map(move |(name, test)| {
        let service = service.to_owned();
        Trial::test(name, move || {
            if !found {
                return Err(Failed::from(format!("it needs {service}")));
            }
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?;
            let done = runtime.block_on(async { tokio::time::timeout(DEADLINE, test()).await });
            let seconds = DEADLINE.as_secs();
            done.map_err(|_| Failed::from(format!("it did not end within {seconds} s")))
        })
        .with_ignored_flag(!found && !required)
    })
}
