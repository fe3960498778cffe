//! `token edit`: edits a token.

use std::time::Duration;

use clap::{ArgGroup, Args};
use tower_api_tokens::{Clock, Networks, RecordVersion, ScopeSet, SystemClock, TokenEdit, TokenId};

use super::print::print;
use crate::{
    backend::Context, failure::Failure, metadata::MetadataChanges, networks, scopes, time::Expiry,
};

/// Anything that is not specified stays the same.
#[derive(Args)]
#[command(group(
    ArgGroup::new("changes")
        .required(true)
        .multiple(true)
        .args(["name", "scopes", "no_scopes", "expires", "networks", "any_network", "metadata", "remove_metadata"])
))]
pub(crate) struct Arguments {
    /// Identifier of the token
    id: TokenId,
    /// New name of the token; say where it is used
    #[arg(long)]
    name: Option<String>,
    /// New scope of the token, replacing all existing ones. Separate several with commas, or repeat
    /// the option
    #[arg(
        long = "scope",
        visible_alias = "scopes",
        value_name = "SCOPE",
        value_parser = scopes::list
    )]
    scopes: Vec<ScopeSet>,
    /// Remove all scopes
    #[arg(long, conflicts_with = "scopes")]
    no_scopes: bool,
    /// When the token expires; takes the same values as `token issue --expires`
    #[arg(long, value_name = "WHEN")]
    expires: Option<Expiry>,
    /// Network from which the token may be used, replacing all existing ones. Separate several with
    /// commas, or repeat the option
    #[arg(long = "network", value_name = "CIDR")]
    networks: Vec<Networks>,
    /// Let the token be used from any network
    #[arg(long, conflicts_with = "networks")]
    any_network: bool,
    #[command(flatten)]
    metadata: MetadataChanges,
    /// Edit the token only if it still has this version, which `token show` prints
    #[arg(long, value_name = "VERSION")]
    if_version: Option<RecordVersion>,
}

impl Arguments {
    fn edit(&self) -> Result<TokenEdit, Failure> {
        let mut edit = TokenEdit::default().metadata(self.metadata.read()?);
        edit.name.clone_from(&self.name);
        if self.no_scopes || !self.scopes.is_empty() {
            edit = edit.scopes(scopes::union(&self.scopes)?);
        }
        if self.expires == Some(Expiry::In(Duration::ZERO)) {
            return Err(Failure::usage(
                "the expiry is not in the future; choose a later time, or revoke the token",
            ));
        }
        if let Some(expires) = self.expires {
            edit = edit.expires_at(expires.instant(SystemClock::default().now())?);
        }
        if self.any_network || !self.networks.is_empty() {
            edit = edit.networks(networks::union(&self.networks)?);
        }
        Ok(edit)
    }
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
    let (id, edit) = (arguments.id, arguments.edit()?);
    let edited = context.backend.edit_token(id, arguments.if_version, edit);
    let edited = edited.await.map_err(|failure| {
        failure.advising_if_uncertain(|| {
            format!(
                "The token may or may not have been edited: check with `api-tokens token show {id}`."
            )
        })
    })?;
    print(context, &edited)
}
