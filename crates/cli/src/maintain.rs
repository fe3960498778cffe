//! `maintain`: removes records that are no longer needed.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tower_api_tokens::{Maintenance, MaintenanceReport};

use crate::{
    failure::Failure,
    number::{count, grouped},
    output::{print_json, print_line},
    progress,
    prompt::Confirmation,
    session::Session,
    time::duration,
};

/// What maintenance removes.
#[derive(Args, Clone, Copy)]
pub(crate) struct Retention {
    /// Delete the records of tokens that expired or were revoked longer ago than this, like `90d`. Defaults
    /// to keeping them
    #[arg(long, value_name = "AGE", value_parser = duration)]
    purge_tokens_after: Option<Duration>,
    /// Delete audit events that are older than this, like `400d`. Defaults to keeping them
    #[arg(long, value_name = "AGE", value_parser = duration)]
    trim_events_after: Option<Duration>,
    /// Delete the oldest audit events while there are more than this. Events of the same time are kept together.
    /// Defaults to any number
    #[arg(long, value_name = "NUMBER")]
    max_events: Option<usize>,
}

impl Retention {
    /// Checks that events are kept for so long. The event that a token expires soon would otherwise be recorded again
    /// after it was deleted.
    pub(crate) fn check_events_kept(&self, least: Duration) -> Result<(), Failure> {
        match self.trim_events_after {
            Some(age) if age < least => Err(Failure::usage(format!(
                "`--trim-events-after` must be at least {} days: the event that a token expires soon is recorded that \
                 long before, and again if it was deleted",
                least.as_secs() / 86_400
            ))),
            _ => Ok(()),
        }
    }

    pub(crate) fn maintenance(&self) -> Maintenance {
        let mut maintenance = Maintenance::new();
        if let Some(age) = self.purge_tokens_after {
            maintenance = maintenance.purge_tokens_after(age);
        }
        if let Some(age) = self.trim_events_after {
            maintenance = maintenance.trim_events_after(age);
        }
        if let Some(events) = self.max_events {
            maintenance = maintenance.max_events(events);
        }
        maintenance
    }
}

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    retention: Retention,
    /// Only print how many records would be deleted
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirmation: Confirmation,
}

#[derive(Serialize)]
struct Removed {
    tokens: usize,
    events: usize,
    idempotency_keys: usize,
}

impl From<MaintenanceReport> for Removed {
    fn from(report: MaintenanceReport) -> Self {
        Self {
            tokens: report.tokens,
            events: report.events,
            idempotency_keys: report.keys,
        }
    }
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), Failure> {
    let maintenance = arguments.retention.maintenance();
    let preview = session.operator.preview_maintenance(&maintenance).await?;
    let preview = Removed::from(preview);
    if arguments.dry_run {
        return match session.json {
            true => print_json(&preview),
            false => print_line(&format!("Would delete {}.", listed(&preview, true))),
        };
    }
    let question = format!(
        "Delete {}? Requests with a deleted token can then no longer be told apart from requests with an unknown one.",
        listed(&preview, true),
    );
    arguments.confirmation.ask(&question)?;
    let spinner = progress::spin("Deleting");
    let removed = session.operator.maintain(&maintenance).await;
    spinner.finish_and_clear();
    let removed = removed.map_err(|error| {
        Failure::from(error).advising_if_uncertain(|| {
            "Some records may have been deleted. Repeat the command to delete the rest.".to_owned()
        })
    })?;
    let removed = Removed::from(removed);
    match session.json {
        true => print_json(&removed),
        false => print_line(&format!("Deleted {}.", listed(&removed, false))),
    }
}

/// The maximum number that a preview counts.
const MOST: usize = 10_000;

fn listed(removed: &Removed, is_preview: bool) -> String {
    let shown = |number: usize, noun: &str| match is_preview && number >= MOST {
        true => format!("{} or more {noun}s", grouped(number as u64)),
        false => count(number as u64, noun),
    };
    format!(
        "{}, {} and {}",
        shown(removed.tokens, "token"),
        shown(removed.events, "audit event"),
        shown(removed.idempotency_keys, "idempotency key"),
    )
}
