//! `serve`: an endpoint that proxies ask about each request.

mod first_token;
mod forward_auth;
mod shutdown;

use std::{net::SocketAddr, time::Duration};

use clap::Args;
use http::HeaderName;
use tokio::net::TcpListener;
use tower_api_tokens::{ApiTokenLayer, LayerError, ScopeSet, admin::TokenGuard};

use crate::{
    failure::Failure,
    moment,
    output::note,
    session::{Purpose, Session},
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The address to listen on; who can reach it can try tokens, so let it be the proxies alone
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The realm that challenges name
    #[arg(long, default_value = "api")]
    realm: String,
    /// A header field that may carry a token besides `Authorization`
    #[arg(long, value_name = "FIELD")]
    api_key_header: Option<HeaderName>,
    /// A scope that the first administrator's token is to have besides `tokens:admin`, so that it
    /// can be handed on; repeat it for more
    #[arg(long = "admin-scope", value_name = "SCOPE")]
    admin_scopes: Vec<String>,
    /// How long a token that was revoked by another process may still be admitted
    #[arg(long, value_parser = moment::duration, default_value = "5s", value_name = "TIME")]
    max_staleness: Duration,
    /// Verify tokens of any form, which those imported from other systems need
    #[arg(long)]
    accept_any_format: bool,
}

impl Arguments {
    pub(crate) fn purpose(&self) -> Purpose {
        Purpose::Serve {
            any_format: self.accept_any_format,
            max_staleness: self.max_staleness,
        }
    }
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), Failure> {
    let admin_scopes = ScopeSet::new(
        [TokenGuard::SCOPE]
            .into_iter()
            .chain(arguments.admin_scopes.iter().map(String::as_str)),
    )
    .map_err(|error| Failure::usage(error.to_string()))?;
    let follower = session.tokens.follow().start().await?;
    let listener = TcpListener::bind(arguments.listen).await.map_err(|error| {
        Failure::failed(format!("cannot listen on {}", arguments.listen)).because(error)
    })?;
    let address = listener.local_addr()?;
    let layer = layer(session, arguments).map_err(|error| Failure::usage(error.to_string()))?;
    let router = forward_auth::router(layer, arguments.api_key_header.clone());

    first_token::issue(session, admin_scopes).await?;
    note(&format!("Listening on http://{address}"));
    let served = shutdown::serve(listener, router).await;
    // Whatever became of the connections, what is known of usage is kept.
    let stopped = follower.stop().await;
    served?;
    Ok(stopped?)
}

fn layer(session: &Session, arguments: &Arguments) -> Result<ApiTokenLayer, LayerError> {
    let layer = ApiTokenLayer::new(&session.tokens).realm(&arguments.realm)?;
    match &arguments.api_key_header {
        Some(name) => layer.api_key_header(name.clone()),
        None => Ok(layer),
    }
}
