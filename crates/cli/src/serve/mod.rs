//! `serve`: the management API, the dashboard and an endpoint that proxies ask about each request, on
//! one address.

mod connections;
mod first_token;
mod forward_auth;
mod listen;
mod log;
mod room;
mod shutdown;
mod token_file;

use std::{io, path::PathBuf, time::Duration};

use axum::{Router, response::Redirect, routing::get};
use clap::Args;
use http::HeaderName;
use tower_api_tokens::{
    ApiTokenLayer, AppId, FollowerBuilder, LayerError, ScopeSet, StoreErrorKind,
};
use tower_api_tokens_admin::{Admin, TokenGuard};

use crate::{
    failure::Failure,
    moment::{self, Expiry},
    note::note,
    number::at_least_one,
    scopes,
    session::{Purpose, Session},
};
use first_token::FirstToken;
use listen::Endpoint;
use room::Room;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The address or name, and the port, to listen on; who can reach it can try tokens, so let it be
    /// the proxies alone
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: Endpoint,
    /// Serve `/verify` alone, without the API and the dashboard. The store is not changed, except that
    /// uses are recorded. `--read-only` implies it, and records none
    #[arg(
        long,
        conflicts_with_all = ["admin_scopes", "admin_apps", "admin_token_file", "admin_token_expires", "trust_origin", "service_url"]
    )]
    verify_only: bool,
    /// The realm that challenges name
    #[arg(long, default_value = "api")]
    realm: String,
    /// A header field that may carry a token besides `Authorization`
    #[arg(long, value_name = "FIELD")]
    api_key_header: Option<HeaderName>,
    /// A further scope of the first administrator's token, besides `tokens:admin` and
    /// `tokens:owner`, or several with commas between them; can be repeated
    #[arg(long = "admin-scope", value_name = "SCOPE", value_parser = scopes::list)]
    admin_scopes: Vec<ScopeSet>,
    /// An app, by its identifier, whose tokens with `tokens:admin` may manage tokens, besides
    /// `api-tokens-admin`; repeat it for more
    #[arg(long = "admin-app", value_name = "APP")]
    admin_apps: Vec<AppId>,
    /// The new file that the first administrator's token is written to
    #[arg(long, value_name = "FILE", default_value = "api-tokens-admin-token")]
    admin_token_file: PathBuf,
    /// When the first administrator's token expires: a time like those of `token issue --expires`, or
    /// `never`
    #[arg(long, value_name = "WHEN", default_value = "1d")]
    admin_token_expires: Expiry,
    /// How long a token that was revoked by another process may still be admitted
    #[arg(long, value_parser = moment::duration, default_value = "5s", value_name = "TIME")]
    max_staleness: Duration,
    /// How long a connection may bring no complete head of a request before it is closed; longer
    /// than the proxy keeps idle connections, which is 60 s for nginx
    #[arg(long, value_parser = moment::duration_above_zero, default_value = "75s", value_name = "TIME")]
    idle_timeout: Duration,
    /// How many connections there may be. One more closes the connection that has been idle for
    /// longest. Fewer if the process may not open as many files
    #[arg(long, value_name = "COUNT", default_value = "4096", value_parser = at_least_one)]
    max_connections: usize,
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
            verify_only: self.verify_only,
        }
    }
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), Failure> {
    log::start()?;
    let lists = &arguments.admin_scopes;
    let admin_scopes = ScopeSet::new([TokenGuard::SCOPE, TokenGuard::OWNER])
        .map_err(|error| Failure::usage(error.to_string()))
        .and_then(|admin| scopes::union(&[&[admin], &lists[..]].concat()))?;
    check_options(session, arguments).await?;
    let layer = layer(session, arguments).map_err(|error| Failure::usage(error.to_string()))?;
    let verifying = forward_auth::router(layer);
    let verify_only = arguments.verify_only || session.read_only;
    let router = match verify_only {
        true => verifying,
        false => managing(&admin(session, arguments)?).merge(verifying),
    };
    let follower = following(session, arguments).start().await?;
    let listener = arguments.listen.listen().await?;
    let address = listener.local_addr().map_err(cannot_serve)?;
    // Before it says that it listens: a program that has read that may stop it.
    let stop = shutdown::requested().map_err(cannot_serve)?;
    let places = room::within_descriptors(arguments.max_connections);

    if verify_only {
        note("Serving /verify alone, without the API and the dashboard");
    } else {
        let token = FirstToken {
            scopes: admin_scopes,
            expiry: arguments.admin_token_expires,
            file: &arguments.admin_token_file,
        };
        token.issue(session).await?;
        note(&format!("Dashboard: http://{address}/tokens"));
    }
    note(&format!("Listening on http://{address}"));
    let (idle, room) = (arguments.idle_timeout, Room::new(places));
    connections::serve(listener, router, idle, room, stop).await;
    // Whatever became of the connections, what is known of usage is kept.
    match follower.stop().await {
        Err(error) if verify_only && error.kind() == StoreErrorKind::ReadOnly => {
            note("Uses were not recorded: the store may only be read. `--read-only` says so.");
            Ok(())
        }
        stopped => Ok(stopped?),
    }
}

/// Checks what would be wrong without being noticed.
async fn check_options(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    if let Some(name) = &arguments.api_key_header
        && forward_auth::is_of_answers(name)
    {
        return Err(Failure::usage(format!(
            "`{name}` cannot carry a token, because proxies set it from the answers; use another, such as `x-api-key`"
        )));
    }
    for app in &arguments.admin_apps {
        // Otherwise anyone who may create apps could create it, and its tokens would manage tokens.
        if session.registry.app(app).await?.is_none() {
            return Err(Failure::not_found(format!(
                "there is no app `{app}` for `--admin-app`; create it first, or leave the option out"
            )));
        }
    }
    Ok(())
}

/// The API and the dashboard. A slash at the end of their paths changes nothing.
fn managing(admin: &Admin) -> Router {
    Router::new()
        .route("/", get(async || Redirect::to("/tokens")))
        .nest_service("/tokens", admin.dashboard())
        .nest_service("/api", admin.router())
}

fn following(session: &Session, arguments: &Arguments) -> FollowerBuilder {
    let follower = session.tokens.follow();
    let follower = follower.poll_interval(poll_interval(arguments.max_staleness));
    match session.read_only {
        true => follower.without_usage(),
        false => follower,
    }
}

/// How often the store's changes are read: several times within the bound.
fn poll_interval(max_staleness: Duration) -> Duration {
    match max_staleness {
        // Nothing is cached, so nothing has to be invalidated.
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
    let mut admin = Admin::builder(&session.operations, guard);
    if let Some(url) = &arguments.service_url {
        admin = admin.service_url(url);
    }
    for origin in &arguments.trust_origin {
        let trusting = admin.with_trusted_origin(origin);
        admin = trusting.map_err(|error| Failure::usage(error.to_string()))?;
    }
    Ok(admin.build())
}
