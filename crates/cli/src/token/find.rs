//! `token find`: finds the record of a token by its text.

use clap::Args;

use super::print::print;
use crate::{
    backend::{Context, FoundToken},
    failure::Failure,
    presented,
};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    misplaced: presented::Misplaced,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
    arguments.misplaced.check()?;
    let token = presented::read("api-tokens token find")?;
    // No format has other characters, so the error is the same as for any other wrong text.
    let text = str::from_utf8(&token).unwrap_or_default();
    match context.backend.find_token(text).await? {
        FoundToken::Record(token) => print(context, &token),
        FoundToken::OtherFormat(failure) => Err(failure),
        FoundToken::Unknown => Err(Failure::not_found(
            "no token has this text; its record may have been purged",
        )),
    }
}
