//! `token purge`: deletes records of old tokens.

use clap::Args;
use serde::Serialize;
use tower_api_tokens::{Clock, SystemClock};

use crate::{
    failure::Failure,
    number::count,
    output::{print_json, print_line},
    progress,
    prompt::Confirmation,
    session::Session,
    time::Past,
    views::Time,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Delete tokens that expired or were revoked before this time: how long ago, like `90d`, or a
    /// date or time, like `2026-01-31` (UTC)
    #[arg(long, alias = "ended-before", value_name = "WHEN")]
    before: Past,
    #[command(flatten)]
    confirmation: Confirmation,
}

#[derive(Serialize)]
struct Purged {
    purged: usize,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), Failure> {
    let before = arguments.before.instant(SystemClock::default().now());
    let question = format!(
        "Delete the records of all tokens that expired or were revoked before {}? Requests with them can then no longer be told apart from requests with unknown tokens.",
        Time(before)
    );
    arguments.confirmation.ask(&question)?;
    let spinner = progress::spin("Purging");
    let purged = session.operator.purge(before).await;
    spinner.finish_and_clear();
    let purged = purged.map_err(|error| {
        Failure::from(error).advising_if_uncertain(|| {
            "Some records may have been deleted. Repeat the command to delete the rest.".to_owned()
        })
    })?;
    if session.json {
        print_json(&Purged { purged })
    } else {
        print_line(&format!("Deleted {}.", count(purged as u64, "record")))
    }
}
