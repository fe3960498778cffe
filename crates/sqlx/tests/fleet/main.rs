//! A fleet of real processes on one PostgreSQL server: verifiers, a manager, and a constant load of valid
//! tokens. Measures the time from the return of `revoke` to the last admission on any node, without
//! faults and with every fault.
//!
//! `FLEET_REVOCATIONS=1000 cargo test --test fleet` sets the number of revocations per case. All processes
//! run this program.

macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        vec![$((stringify!($test), || futures_util::FutureExt::boxed($test()))),*]
    };
}

mod cases;
mod client;
mod clock;
mod failover;
mod frozen;
mod load;
mod manager;
mod measured;
mod network;
mod node;
mod process;
mod receipts;
mod rounds;
mod scene;
#[path = "../../../../tests/services/server.rs"]
mod server;
#[path = "../../../../tests/services/mod.rs"]
mod services;
mod standbys;
mod triggers;
mod unharmed;

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(part) = process::part() else {
        let found = server::binaries().is_some();
        let tests = cases::tests()
            .into_iter()
            .chain(failover::tests())
            .chain(standbys::tests())
            .chain(frozen::tests())
            .chain(receipts::tests())
            .chain(unharmed::tests())
            .chain(triggers::tests())
            .chain(measured::tests());
        return services::run(
            "the programs of PostgreSQL, in TEST_POSTGRES_BIN",
            found,
            tests.collect(),
        );
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match part.as_str() {
        node::PART => runtime.block_on(node::serve()),
        manager::PART => runtime.block_on(manager::manage()),
        other => panic!("there is no part {other}"),
    }
    // A read of standard input may still be blocked.
    std::process::exit(0);
}
