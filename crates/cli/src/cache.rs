//! `cache`: clears the caches of running nodes.

use clap::Subcommand;
use serde::Serialize;

use crate::{
    failure::Failure,
    output::{print_changed_json, print_line},
    session::Session,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make every node clear its cache within about a second. Needed only after changes that are
    /// missing from the change log, such as manual ones made while the triggers were off
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
        Failure::from(error).advising_if_uncertain(|| {
            "The nodes may or may not clear their caches. Repeat the command until it succeeds."
                .to_owned()
        })
    })?;
    if session.json {
        print_changed_json(
            &Cleared { cleared: true },
            session.operator.latest_revision(),
        )
    } else {
        print_line("Every node will clear its cache within about a second.")
    }
}
