//! Nothing that was acknowledged is lost, and nothing is left half done, when a managing process or the
//! database server is killed in the midst of its work: `SIGKILL`, hundreds of times, each time followed
//! by a comparison of the whole store with everything acknowledged so far.
//!
//! This program is both sides: started with a store in its environment, it is the managing process.

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
