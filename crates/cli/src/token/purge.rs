//! `token purge`.

use clap::Args;
use serde::Serialize;
use tower_api_tokens::{Clock, SystemClock};

use crate::{
    failure::Failure,
    moment::Past,
    output::{print_json, print_line},
    progress,
    prompt::confirm,
    session::Session,
    views::Time,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Before when they must have been revoked or expired: so long ago, like `90d`, or before a
    /// day (UTC) like `2026-01-31`
    #[arg(long, value_name = "WHEN")]
    ended_before: Past,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct Purged {
    purged: usize,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), Failure> {
    let ended_before = arguments.ended_before.before(SystemClock::default().now());
    let question = format!(
        "Remove the records of all tokens that were revoked or expired before {}? Uses of them can then no longer be told from noise.",
        Time(ended_before)
    );
    confirm(&question, arguments.yes)?;
    let spinner = progress::spin("Purging");
    let purged = session.operator.purge(ended_before).await;
    spinner.finish_and_clear();
    let purged = purged.map_err(|error| {
        Failure::from(error).unless_certain(|| {
            "Some may have been removed: the command can be repeated.".to_owned()
        })
    })?;
    if session.json {
        print_json(&Purged { purged })
    } else {
        print_line(&format!("records removed: {purged}"))
    }
}
