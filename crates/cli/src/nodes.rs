//! `nodes`: lists the nodes that verify tokens, sets what holds for all of them, and removes those that are gone.

use std::time::Duration;

use clap::{Args, Subcommand};
use futures_util::TryStreamExt;
use serde::{Serialize, Serializer};
use serde_json::json;
use tower_api_tokens::{FleetSettings, NodeId};

use crate::{
    backend::{Context, Document, Fleet, Node},
    failure::Failure,
    number::grouped,
    output::{Listed, Listing, print_fields, print_json, print_line},
    session::Purpose,
    time::duration,
    views::Time,
};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// List the nodes that have registered, with the changes that they lack. This is the default
    List,
    /// Show what holds for all nodes
    Show,
    /// Set what holds for all nodes. Anything that you do not specify stays the same
    Set(Set),
    /// Remove a node that is gone for good, so that revocations no longer wait for it. A node that still
    /// runs registers itself again
    Remove {
        /// Identifier of the node
        id: NodeId,
    },
}

#[derive(Args)]
struct Set {
    /// Longest `--max-staleness` with which a node may start, like `5s`
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_staleness: Option<Duration>,
    /// Allow any `--max-staleness`
    #[arg(long, conflicts_with = "max_staleness")]
    any_max_staleness: bool,
    /// Whether every node that verifies tokens registers. `token revoke --everywhere` then returns as soon as
    /// all registered nodes have applied the revocation. Set it only once no node is read-only or of an
    /// earlier version
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    all_registered: Option<bool>,
}

impl Arguments {
    pub(crate) fn purpose(&self) -> Purpose {
        match &self.command {
            None | Some(Command::List | Command::Show) => Purpose::Read,
            Some(Command::Set(_) | Command::Remove { .. }) => Purpose::Change,
        }
    }
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
    match &arguments.command {
        None | Some(Command::List) => list(context).await,
        Some(Command::Show) => print(context, &context.backend.fleet().await?),
        Some(Command::Set(set)) => set_fleet(set, context).await,
        Some(Command::Remove { id }) => {
            context.backend.remove_node(*id).await?;
            match context.json {
                true => print_json(&json!({ "removed": true })),
                false => print_line("Removed the node."),
            }
        }
    }
}

async fn list(context: &Context<'_>) -> Result<(), Failure> {
    let mut listing = Listing::new::<Row>(context.json);
    let mut nodes = context.backend.nodes();
    while let Some(node) = nodes.try_next().await? {
        listing.add(&Row(&node))?;
    }
    listing.end("No nodes have registered. `api-tokens serve` registers unless it is read-only.")
}

async fn set_fleet(set: &Set, context: &Context<'_>) -> Result<(), Failure> {
    if set.max_staleness.is_none() && !set.any_max_staleness && set.all_registered.is_none() {
        return Err(Failure::usage(
            "nothing to set: pass `--max-staleness`, `--any-max-staleness` or `--all-registered`",
        ));
    }
    let fleet = context.backend.fleet().await?;
    let bound = match set.any_max_staleness {
        true => None,
        false => set.max_staleness.or(fleet.max_staleness()),
    };
    let settings = FleetSettings::default()
        .max_staleness(bound)
        .all_registered(set.all_registered.unwrap_or(fleet.all_registered));
    print(context, &context.backend.set_fleet(settings).await?)
}

fn print(context: &Context<'_>, fleet: &Document<Fleet>) -> Result<(), Failure> {
    if context.json {
        return print_json(fleet);
    }
    let bound = fleet.max_staleness();
    let bound = bound.map_or_else(|| "any".to_owned(), |bound| format!("{bound:?}"));
    let all = if fleet.all_registered { "yes" } else { "no" };
    print_fields(&[
        ("nodes", grouped(fleet.nodes)),
        ("lag", grouped(fleet.lag)),
        ("max staleness", bound),
        ("all registered", all.to_owned()),
    ])
}

/// A node in the list.
struct Row<'r>(&'r Document<Node>);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Listed for Row<'_> {
    const COLUMNS: &'static [&'static str] = &[
        "ID",
        "NAME",
        "VERSION",
        "BOUND",
        "CHANGES BEHIND",
        "LAST REPORT",
        "STATUS",
    ];

    fn cells(&self) -> Vec<String> {
        let node = self.0;
        let status = match (node.gone, node.lag) {
            (true, _) => "gone",
            (false, None) => "starting",
            (false, Some(_)) => "running",
        };
        vec![
            node.id.to_string(),
            node.name.clone(),
            node.version.clone(),
            format!("{}s", node.max_staleness_seconds),
            node.lag.map_or_else(|| "unknown".to_owned(), grouped),
            Time(node.reported_at).to_string(),
            status.to_owned(),
        ]
    }
}
