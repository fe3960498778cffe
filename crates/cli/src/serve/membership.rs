//! Registers the server as a node of the fleet.

use std::{env, fs};

use clap::Args;
use tower_api_tokens::{FleetMember, StoreErrorKind};

use crate::{failure::Failure, note::note, session::Session};

#[derive(Args)]
#[group(skip)]
pub(super) struct Options {
    /// Name of this node in `api-tokens nodes`. Defaults to the name of the machine
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
}

/// The registration, unless the server can only read the store.
pub(super) struct Membership(Option<FleetMember>);

impl Membership {
    /// Registers the server, before it verifies a token. Fails if its bound is longer than the fleet allows, or if it
    /// cannot register although every node has to.
    pub(super) async fn begin(session: &Session, options: &Options) -> Result<Self, Failure> {
        if !session.read_only {
            let name = options.node_name.clone().unwrap_or_else(machine);
            let joining = session.tokens.join_fleet().name(&name);
            match joining.version(env!("CARGO_PKG_VERSION")).start().await {
                Ok(member) => return Ok(Self(Some(member))),
                // The role may have been granted fewer rights.
                Err(error) if matches!(error.kind(), StoreErrorKind::ReadOnly) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(nodes) = session.registry.node_registry() {
            let checked = session.tokens.authenticator().check_fleet_bound(nodes);
            match checked.await {
                // A store without these settings limits nothing.
                Err(error) if error.kind() != StoreErrorKind::Unsupported => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        Ok(Self(None))
    }

    /// Removes the registration, after the last token was verified.
    pub(super) async fn end(self) {
        if let Some(member) = self.0
            && member.leave().await.is_err()
        {
            note("warning: this node is still registered; `api-tokens nodes` lists it as gone");
        }
    }
}

/// The name of the machine, if it is known.
fn machine() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| env::var("HOSTNAME").ok());
    name.map(|name| name.trim().to_owned()).unwrap_or_default()
}
