//! `token revoke`: revokes a token, or all tokens that filters select.

use clap::Args;
use tower_api_tokens::TokenId;

use super::{filter::Filters, print::print};
use crate::{
    backend::Context,
    failure::Failure,
    number::count,
    output::{print_json, print_line},
    progress,
    prompt::Confirmation,
    views::time_or,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Identifier of the token. Without it, all tokens that match the filters are revoked
    #[arg(value_name = "ID")]
    token: Option<TokenId>,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    confirmation: Confirmation,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
    match (arguments.token, arguments.filters.is_empty()) {
        (Some(id), true) => revoke_one(id, &arguments.confirmation, context).await,
        (None, false) => revoke_selected(arguments, context).await,
        (Some(_), false) => Err(Failure::usage(
            "an identifier and filters exclude each other; pass one or the other",
        )),
        (None, true) => Err(Failure::usage(
            "no tokens given; pass the identifier of a token, or filters such as `--app` or `--created-by`",
        )),
    }
}

async fn revoke_one(
    id: TokenId,
    confirmation: &Confirmation,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let token = context.backend.token(id).await?;
    let question = format!(
        "Revoke `{}` of {} ({}), last used: {}? Requests with this token will fail. This cannot be undone.",
        token.name,
        token.app_name,
        token.masked,
        time_or(token.last_used_at, "never"),
    );
    confirmation.ask(&question)?;
    let revoked = context.backend.revoke(id).await.map_err(|failure| {
        failure.advising_if_uncertain(|| {
            "The token may or may not be revoked. Repeat the command until it succeeds.".to_owned()
        })
    })?;
    print(context, &revoked)
}

async fn revoke_selected(arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
    let filter = arguments.filters.read(context, None).await?;
    let selection = context.backend.select(&filter).await?;
    let Some(newest) = selection.newest else {
        return Err(Failure::not_found(
            "no active token matches the filters; list all matches with `api-tokens token list`",
        ));
    };
    let question = format!(
        "Revoke {}? Requests with them will fail. This cannot be undone.",
        count(selection.count as u64, "token"),
    );
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
        return print_json(&revocation);
    }
    print_line(&match &revocation.batch {
        Some(batch) => format!(
            "Revoked {} (batch {batch}).",
            count(revocation.revoked, "token")
        ),
        None => "Revoked no token: none matches any more.".to_owned(),
    })
}
