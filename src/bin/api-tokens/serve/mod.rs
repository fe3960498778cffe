//! `serve`: the management API, the dashboard and an endpoint that proxies ask about each request, on
//! one address.

mod connections;
mod first_token;
mod forward_auth;
mod shutdown;

use std::{io, net::SocketAddr, time::Duration};

use axum::{Router, response::Redirect, routing::get};
use clap::Args;
use http::HeaderName;
use tokio::net::TcpListener;
use tower_api_tokens::{
    ApiTokenLayer, AppId, LayerError, ScopeSet,
    admin::{Admin, TokenGuard},
};

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
    /// A further scope of the first administrator's token, besides `tokens:admin` and
    /// `tokens:owner`; repeat it for more
    #[arg(long = "admin-scope", value_name = "SCOPE")]
    admin_scopes: Vec<String>,
    /// An app, by its identifier, whose tokens with `tokens:admin` may manage tokens, besides
    /// `api-tokens-admin`; repeat it for more
    #[arg(long = "admin-app", value_name = "APP")]
    admin_apps: Vec<AppId>,
    /// How long a token that was revoked by another process may still be admitted
    #[arg(long, value_parser = moment::duration, default_value = "5s", value_name = "TIME")]
    max_staleness: Duration,
    /// How long a connection may bring no complete head of a request before it is closed; longer
    /// than the proxy keeps idle connections, which is 60 s for nginx
    #[arg(long, value_parser = moment::duration_above_zero, default_value = "75s", value_name = "TIME")]
    idle_timeout: Duration,
    /// An origin, like `https://admin.example`, whose pages may change something; needed where a
    /// proxy in front of the dashboard or the API changes the host
    #[arg(long, value_name = "ORIGIN")]
    trust_origin: Vec<String>,
    /// The URL of the service that takes the tokens, for the `curl` lines of the dashboard
    #[arg(long, value_name = "URL")]
    service_url: Option<String>,
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
        [TokenGuard::SCOPE, TokenGuard::OWNER]
            .into_iter()
            .chain(arguments.admin_scopes.iter().map(String::as_str)),
    )
    .map_err(|error| Failure::usage(error.to_string()))?;
    let follower = session.tokens.follow();
    let follower = follower.poll_interval(poll_interval(arguments.max_staleness));
    let follower = follower.start().await?;
    let listener = TcpListener::bind(arguments.listen).await.map_err(|error| {
        Failure::failed(format!("cannot listen on {}", arguments.listen))
            .because(error)
            .advising("Give another address: `--listen 127.0.0.1:0` takes any port that is free.")
    })?;
    let address = listener.local_addr().map_err(cannot_serve)?;
    // Before it says that it listens: whoever has read that may stop it.
    let stop = shutdown::requested().map_err(cannot_serve)?;
    let layer = layer(session, arguments).map_err(|error| Failure::usage(error.to_string()))?;
    let admin = admin(session, arguments)?;
    let router = Router::new()
        .route("/", get(async || Redirect::to("/tokens")))
        .nest_service("/tokens", admin.dashboard())
        .nest_service("/api", admin.router())
        .merge(forward_auth::router(
            layer,
            arguments.api_key_header.clone(),
        ));

    first_token::issue(session, admin_scopes).await?;
    note(&format!(
        "Dashboard: http://{address}/tokens\nListening on http://{address}"
    ));
    connections::serve(listener, router, arguments.idle_timeout, stop).await;
    // Whatever became of the connections, what is known of usage is kept.
    Ok(follower.stop().await?)
}

/// How often the store's changes are read: several times within the bound.
fn poll_interval(max_staleness: Duration) -> Duration {
    match max_staleness {
        // Nothing is remembered, so nothing has to be heeded.
        Duration::ZERO => Duration::from_secs(1),
        bound => (bound / 5).min(Duration::from_secs(1)),
    }
}

fn cannot_serve(error: io::Error) -> Failure {
    Failure::failed("cannot serve").because(error)
}

fn layer(session: &Session, arguments: &Arguments) -> Result<ApiTokenLayer, LayerError> {
    let layer = ApiTokenLayer::new(&session.tokens).realm(&arguments.realm)?;
    match &arguments.api_key_header {
        Some(name) => layer.api_key_header(name.clone()),
        None => Ok(layer),
    }
}

fn admin(session: &Session, arguments: &Arguments) -> Result<Admin, Failure> {
    let administrators = [first_token::app()?].into_iter();
    let apps = administrators.chain(arguments.admin_apps.iter().copied());
    let guard = TokenGuard::new(&session.tokens, apps).realm(&arguments.realm);
    let guard = guard.map_err(|error| Failure::usage(error.to_string()))?;
    let mut admin = Admin::new(&session.operations, guard);
    if let Some(url) = &arguments.service_url {
        admin = admin.service_url(url);
    }
    for origin in &arguments.trust_origin {
        let trusting = admin.trust_origin(origin);
        admin = trusting.map_err(|error| Failure::usage(error.to_string()))?;
    }
    Ok(admin)
}
