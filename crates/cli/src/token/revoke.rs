//! `token revoke`: revokes a token, all tokens that filters select, those that leaked, or the own token.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueHint};
use serde_json::json;
use tower_api_tokens::TokenId;

use super::{filter::Filters, leak, print::print};
use crate::{
    backend::Context,
    failure::Failure,
    note::note,
    number::count,
    output::{print_json, print_line},
    progress,
    prompt::Confirmation,
    time::duration,
    views::time_or,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Identifier of the token. Without it, all tokens that match the filters are revoked
    #[arg(value_name = "ID")]
    token: Option<TokenId>,
    /// Revoke the live tokens that are found in this file or directory, or in standard input if it is `-`.
    /// They are recognized by the prefixes given to `--prefix`, so tokens imported from other systems are
    /// not found. Repeat the option for several
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(super) leaked: Vec<PathBuf>,
    /// Revoke the token that is sent to `--server`. This needs no scope
    #[arg(long, conflicts_with = "dry_run")]
    own: bool,
    /// Show what would be revoked, and revoke nothing. With `--leaked`, the exit code is 4 if there are
    /// live tokens
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Wait until no node accepts the token: until all nodes have applied the revocation, or no cached answer may
    /// be used any more. The exit code is 1 if that takes longer than `--wait`
    #[arg(long, requires = "token", conflicts_with = "dry_run")]
    everywhere: bool,
    /// How long `--everywhere` waits, at most 30 seconds with `--server`
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s", requires = "everywhere")]
    wait: Duration,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    pub(super) confirmation: Confirmation,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
    let has_filters = !arguments.filters.is_empty();
    let is_about_leak = !arguments.leaked.is_empty();
    let ways = [
        arguments.token.is_some(),
        has_filters,
        is_about_leak,
        arguments.own,
    ];
    if ways.iter().filter(|given| **given).count() > 1 {
        return Err(Failure::usage(
            "an identifier, filters, `--leaked` and `--own` exclude each other; pass one of them",
        ));
    }
    if arguments.filters.has_empty_name() {
        return Err(Failure::usage(
            "`--name` is empty, so every token would match; pass a part of the name, or leave the option out",
        ));
    }
    match arguments.token {
        Some(id) => revoke_one(id, arguments, context).await,
        None if has_filters => revoke_selected(arguments, context).await,
        None if is_about_leak => leak::run(arguments, context).await,
        None if arguments.own => revoke_own(arguments, context).await,
        None => Err(Failure::usage(
            "no tokens given; pass the identifier of a token, or filters such as `--app` or `--created-by`",
        )),
    }
}

async fn revoke_one(
    id: TokenId,
    arguments: &Arguments,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let token = context.backend.token(id).await?;
    if arguments.dry_run {
        return print(context, &token);
    }
    let question = format!(
        "Revoke `{}` of {} ({}), last used: {}? Requests with this token will fail. This cannot be undone.",
        token.name,
        token.app_name,
        token.masked,
        time_or(token.last_used_at, "never"),
    );
    arguments.confirmation.ask(&question)?;
    if arguments.everywhere {
        return revoke_everywhere(id, arguments.wait, context).await;
    }
    let revoked = context.backend.revoke(id).await.map_err(|failure| {
        failure.advising_if_uncertain(|| {
            "The token may or may not be revoked. Repeat the command until it succeeds.".to_owned()
        })
    })?;
    print(context, &revoked)
}

/// Revokes a token, and waits for the nodes.
async fn revoke_everywhere(
    id: TokenId,
    wait: Duration,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let spinner = progress::spin("Waiting for all nodes");
    let revoked = context.backend.revoke_everywhere(id, wait).await;
    spinner.finish_and_clear();
    let revoked = revoked.map_err(|failure| {
        failure.advising_if_uncertain(|| {
            "The token may or may not be revoked. Repeat the command until it succeeds.".to_owned()
        })
    })?;
    let receipt = &revoked.receipt;
    // That a node may still accept the token matters more than output that cannot be written.
    let printed = match context.json {
        true => context.print_json(&revoked),
        false => print(context, &revoked.token),
    };
    let seconds = receipt.waited_seconds;
    if receipt.is_complete() {
        note(&format!(
            "No node accepts the token any more, after {seconds:.1} seconds."
        ));
        return printed;
    }
    let lacking = receipt.nodes.iter().filter(|node| !node.applied);
    let lacking: Vec<_> = lacking
        .map(|node| format!("`{}` ({})", node.name, node.id))
        .collect();
    let nodes = match lacking.is_empty() {
        true => "there may be nodes that do not register".to_owned(),
        false => format!("not applied by {}", lacking.join(", ")),
    };
    Err(Failure::failed(format!(
        "the token is revoked, but a node may still accept it after {seconds:.1} seconds: {nodes}; repeat the command to wait longer"
    )))
}

async fn revoke_selected(arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
    let filter = arguments.filters.read(context, None).await?;
    let selection = context.backend.select(&filter).await?;
    let Some(newest) = selection.newest else {
        return Err(Failure::not_found(
            "no active token matches the filters; list all matches with `api-tokens token list`",
        ));
    };
    let tokens = count(selection.count as u64, "token");
    if arguments.dry_run {
        return match context.json {
            true => print_json(&json!({ "count": selection.count })),
            false => print_line(&format!("Would revoke {tokens}.")),
        };
    }
    let question = format!("Revoke {tokens}? Requests with them will fail. This cannot be undone.");
    arguments.confirmation.ask(&question)?;
    let spinner = progress::spin("Revoking");
    let revocation = context
        .backend
        .revoke_selected(filter, newest, selection.count)
        .await;
    spinner.finish_and_clear();
    let revocation = revocation.map_err(|failure| {
        failure.advising_if_uncertain(|| {
            "Some of the tokens may be revoked. Repeat the command to revoke the others.".to_owned()
        })
    })?;
    if context.json {
        return context.print_json(&revocation);
    }
    print_line(&match &revocation.batch {
        Some(batch) => format!(
            "Revoked {} (batch {batch}).",
            count(revocation.revoked, "token")
        ),
        None => "Revoked no token: none matches any more.".to_owned(),
    })
}

/// Revokes the token that the server would authenticate the command by.
async fn revoke_own(arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
    arguments.confirmation.ask(
        "Revoke the token that this command uses? Requests with it will fail. This cannot be undone.",
    )?;
    context.backend.revoke_own().await.map_err(|failure| {
        failure.advising_if_uncertain(|| {
            "The token may or may not be revoked. Repeat the command until it succeeds, or until the server does not accept the token.".to_owned()
        })
    })?;
    match context.json {
        true => print_json(&json!({ "revoked": true })),
        false => print_line("The server does not accept the token any more."),
    }
}
