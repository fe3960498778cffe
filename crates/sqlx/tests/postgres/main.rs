//! The store in PostgreSQL, on the server at `TEST_POSTGRES_URL`.
//!
//! With a racer's number in its environment, this program is one of several processes that race to rotate
//! and revoke a token.

macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        vec![$((stringify!($test), || futures_util::FutureExt::boxed($test()))),*]
    };
}

mod addresses;
mod columns;
mod compatibility;
mod connecting;
mod encryption;
mod first_pages;
mod following;
mod freezing;
mod indexes;
mod isolation;
mod listing;
mod log;
mod opening;
mod order;
mod outages;
mod planned;
mod plans;
mod pools;
mod processes;
mod proxy;
mod races;
mod releases;
mod restore;
mod retention;
mod roles;
mod round_trips;
mod schema;
#[path = "../../../../tests/services/server.rs"]
#[expect(dead_code, reason = "these tests need little of a server")]
mod server;
#[path = "../../../../tests/services/mod.rs"]
#[expect(dead_code, reason = "these tests need more than one service")]
mod services;
mod sharing;
mod snapshots;
mod streaming;
mod support;
mod transfer;
mod upgrade;
mod versions;

use std::process::ExitCode;

use services::Test;

fn main() -> ExitCode {
    if processes::race() || addresses::connect() || opening::open() {
        return ExitCode::SUCCESS;
    }
    let tests = [
        conformance(),
        columns::tests(),
        compatibility::tests(),
        connecting::tests(),
        following::tests(),
        freezing::tests(),
        indexes::tests(),
        isolation::tests(),
        listing::tests(),
        log::tests(),
        opening::tests(),
        outages::tests(),
        planned::tests(),
        plans::tests(),
        pools::tests(),
        processes::tests(),
        races::tests(),
        retention::tests(),
        roles::tests(),
        round_trips::tests(),
        schema::tests(),
        sharing::tests(),
        snapshots::tests(),
        streaming::tests(),
        transfer::tests(),
        upgrade::tests(),
        versions::tests(),
    ];
    services::run_groups(vec![
        (
            "the programs of PostgreSQL, in TEST_POSTGRES_BIN",
            server::binaries().is_some(),
            [
                addresses::tests(),
                order::tests(),
                sharing::tests_of_servers(),
                pools::tests_of_servers(),
                restore::tests(),
            ]
            .concat(),
        ),
        (
            "TEST_POSTGRES_URL",
            support::url().is_some(),
            tests.concat(),
        ),
        (
            "the programs of PostgreSQL, in TEST_POSTGRES_BIN, and `openssl`",
            server::binaries().is_some() && encryption::openssl_is_found(),
            encryption::tests(),
        ),
    ])
}

/// The conformance suite for registries.
fn conformance() -> Vec<Test> {
    let checks: &[Test] = &tower_api_tokens::registry_conformance!(list support::fresh());
    checks.to_vec()
}
