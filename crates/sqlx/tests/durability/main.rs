//! Killing a manager process or the database server loses no acknowledged change and leaves no partial
//! one. Each is killed hundreds of times with `SIGKILL`, and each time the whole store is compared with
//! everything acknowledged so far.
//!
//! With a store in its environment, this program is the manager process.

macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        vec![$((stringify!($test), || futures_util::FutureExt::boxed($test()))),*]
    };
}

mod audit;
mod flawed;
mod ledger;
mod life;
mod manager;
mod operation;
mod ordeal;
mod postgres;
#[path = "../../../../tests/services/server.rs"]
#[expect(dead_code, reason = "these tests kill servers only")]
mod server;
#[path = "../../../../tests/services/mod.rs"]
#[expect(dead_code, reason = "these tests need more than one service")]
mod services;
mod sqlite;
mod store;
mod violation;

use std::process::ExitCode;

fn main() -> ExitCode {
    if life::live() {
        return ExitCode::SUCCESS;
    }
    services::run_groups(vec![
        ("a directory for files", true, sqlite::tests()),
        (
            "the programs of PostgreSQL, in TEST_POSTGRES_BIN",
            server::binaries().is_some(),
            postgres::tests(),
        ),
    ])
}
