//! `cache`: clears the caches of running nodes.

use clap::Subcommand;
use serde::Serialize;

use crate::{
    failure::Failure,
    output::{print_json, print_line},
    session::Session,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make every node clear its cache when it next reads the change log, about once a second: for
    /// changes that the log does not show, like those made by hand while triggers were off
    Clear,
}

#[derive(Serialize)]
struct Cleared {
    cleared: bool,
}

pub(crate) async fn run(command: &Command, session: &Session) -> Result<(), Failure> {
    let Command::Clear = command;
    let cleared = session.operator.clear_caches().await;
    cleared.map_err(|error| {
        Failure::from(error).unless_certain(|| {
            "It is not certain whether the nodes clear their caches: repeat the command until it succeeds."
                .to_owned()
        })
    })?;
    if session.json {
        print_json(&Cleared { cleared: true })
    } else {
        print_line("Every node clears its cache when it next reads the change log.")
    }
}
