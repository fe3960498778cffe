//! `serve`: serves the management API, the dashboard and token verification for reverse proxies.

mod application;
mod client_address;
mod expiring;
mod first_token;
mod forward_auth;
mod log;
mod maintenance;
mod membership;
mod network;
mod notifications;
mod observation;
mod operations;
mod preload;
mod revision;
mod systemd;
mod token_file;

use std::{fmt::Display, io, path::PathBuf, time::Duration};

use axum::{Router, response::Redirect, routing::get};
use clap::Args;
use http::HeaderName;
use tokio::select;
use tower_api_tokens::{ApiTokenLayer, AppId, FollowerBuilder, ScopeSet, StoreErrorKind};
use tower_api_tokens_admin::{Admin, Introspection, OAuthEndpoints, TokenGuard};
use zeroize::Zeroizing;

use crate::{
    configuration,
    failure::Failure,
    maintain::Retention,
    note::{log_notes, note},
    options::{Options, read_url},
    scopes,
    session::{Purpose, Session},
    time::{self, Expiry},
};
use application::Application;
use client_address::ClientAddresses;
use expiring::ExpiringRecorder;
use first_token::FirstToken;
use forward_auth::ForwardAuth;
use maintenance::MaintenanceTask;
use membership::Membership;
use network::{ConnectionLimit, Listener, Server, Signals};
use observation::Observation;
use operations::{Health, Metrics};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    configuration: configuration::Options,
    #[command(flatten)]
    network: network::NetworkOptions,
    #[command(flatten)]
    operations: operations::Options,
    #[command(flatten)]
    log: log::Options,
    /// Serve only `/verify` and `/introspect`, without the API, the dashboard and `/revoke`, and write
    /// only token usage to the store. `--read-only` implies this option and writes nothing
    #[arg(
        long,
        conflicts_with_all = ["admin_scopes", "admin_apps", "admin_token_file", "admin_token_expires", "trust_origin", "service_url", "every_use_is_recorded", "purge_tokens_after", "trim_events_after", "max_events", "max_idempotency_keys"]
    )]
    verify_only: bool,
    /// File with the URL of the primary, if the store is a PostgreSQL standby; only its owner may read it. The
    /// server then reads changes from the primary, so that the standby's lag does not add to
    /// `--max-staleness`, and looks tokens up there while the standby is behind or unavailable. Needs
    /// `--verify-only` or `--read-only`
    #[arg(long, value_name = "FILE")]
    primary_file: Option<PathBuf>,
    /// Identifier of an app whose tokens with `tokens:introspect` can use `/introspect`. Repeat the
    /// option for several. By default, tokens of any app can
    #[arg(long = "introspect-app", value_name = "APP")]
    introspect_apps: Vec<AppId>,
    /// Do not serve `/revoke`, with which the holder of a token revokes it
    #[arg(long)]
    no_revoke: bool,
    /// Realm in `WWW-Authenticate` challenges
    #[arg(long, default_value = "api")]
    realm: String,
    /// Header field in which to accept tokens, besides `Authorization`. Your proxy must send it to `/verify`, and
    /// remove it from what it forwards to your service
    #[arg(long, value_name = "FIELD")]
    api_key_header: Option<HeaderName>,
    #[command(flatten)]
    client_address: client_address::Options,
    #[command(flatten)]
    revision: revision::Options,
    /// Additional scope for the first administrator's token, besides `tokens:admin` and
    /// `tokens:owner`. Separate several with commas, or repeat the option
    #[arg(long = "admin-scope", value_name = "SCOPE", value_parser = scopes::list)]
    admin_scopes: Vec<ScopeSet>,
    /// Identifier of another app, besides `api-tokens-admin`, whose tokens with `tokens:admin` can
    /// manage tokens. Repeat the option for several
    #[arg(long = "admin-app", value_name = "APP")]
    admin_apps: Vec<AppId>,
    /// New file to write the first administrator's token to
    #[arg(long, value_name = "FILE", default_value = "api-tokens-admin-token")]
    admin_token_file: PathBuf,
    /// When the first administrator's token expires; takes the same values as `token issue --expires`
    #[arg(long, value_name = "WHEN", default_value = "1d")]
    admin_token_expires: Expiry,
    /// How long a token may still be accepted after another process revoked it
    #[arg(long, value_parser = time::duration, default_value = "5s", value_name = "DURATION")]
    max_staleness: Duration,
    #[command(flatten)]
    notifications: notifications::Options,
    #[command(flatten)]
    preload: preload::PreloadOptions,
    /// Origin, such as `https://admin.example`, whose pages may make changes. Needed if a proxy in
    /// front of the dashboard or the API changes the host. Repeat the option for several
    #[arg(long, value_name = "ORIGIN")]
    trust_origin: Vec<String>,
    /// URL of your service, for the `curl` examples in the dashboard
    #[arg(long, value_name = "URL")]
    service_url: Option<String>,
    /// Accept tokens in any format. Needed for tokens imported from other systems
    #[arg(long)]
    accept_any_format: bool,
    /// Every node that verifies tokens records their uses. The report then has a card for rotated tokens
    /// without a recorded use, which are safe to revoke
    #[arg(long)]
    every_use_is_recorded: bool,
    #[command(flatten)]
    retention: Retention,
    /// Refuse requests with a new idempotency key, with the status 503, while there are this many of the last
    /// day. A key is never deleted before its day has passed. Defaults to any number
    #[arg(long, value_name = "NUMBER")]
    max_idempotency_keys: Option<usize>,
    #[command(flatten)]
    membership: membership::Options,
}

impl Arguments {
    /// Whether only the configuration is to be checked.
    pub(crate) fn is_check(&self) -> bool {
        self.configuration.check
    }

    /// Reads the URL of the primary, if there is one.
    pub(crate) fn primary(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        let file = self.primary_file.as_deref();
        file.map(|file| read_url(file, "URL of the primary"))
            .transpose()
    }

    pub(crate) fn purpose(&self) -> Purpose {
        Purpose::Serve {
            any_format: self.accept_any_format,
            every_use_is_recorded: self.every_use_is_recorded,
            max_idempotency_keys: self.max_idempotency_keys,
            max_staleness: self.max_staleness,
            cache_capacity: self.preload.cache_capacity,
            verify_only: self.verify_only,
        }
    }
}

/// What `serve` does, according to its options.
struct Service {
    verification: ForwardAuth,
    introspection: Introspection,
    router: Router,
    addresses: ClientAddresses,
    /// The scopes of the first administrator's token.
    admin_scopes: ScopeSet,
    verify_only: bool,
}

impl Service {
    /// Builds the service, without reading the store.
    fn new(arguments: &Arguments, session: &Session) -> Result<Self, Failure> {
        let lists = &arguments.admin_scopes;
        let admin_scopes = ScopeSet::new([TokenGuard::SCOPE, TokenGuard::OWNER])
            .map_err(|error| Failure::usage(error.to_string()))
            .and_then(|admin| scopes::union(&[&[admin], &lists[..]].concat()))?;
        check_api_key_header(arguments)?;
        let addresses = ClientAddresses::new(&arguments.client_address)?;
        let verify_only = arguments.verify_only || session.read_only;
        if !verify_only {
            arguments.retention.check_events_kept(expiring::WITHIN)?;
        }
        let verification = ForwardAuth::new(layer(session, arguments, &addresses)?);
        let endpoints = oauth_endpoints(session, arguments, verify_only, &addresses)?;
        let mut router = verification.router().merge(endpoints.router());
        if !verify_only {
            let admin = admin(session, arguments, addresses.clone())?;
            router = management(&admin, arguments.log.access_log).merge(router);
        }
        Ok(Self {
            verification,
            introspection: endpoints.introspection(),
            router,
            addresses,
            admin_scopes,
            verify_only,
        })
    }
}

/// Checks the options, without opening the store or listening.
pub(crate) fn check(arguments: &Arguments, options: &Options) -> Result<(), Failure> {
    arguments.log.filter()?;
    if options.primary.is_some() && !arguments.verify_only && !options.read_only {
        return Err(Failure::usage(
            "`--primary-file` is for servers that only verify tokens: pass `--verify-only` or `--read-only` too, or use the primary as the store",
        ));
    }
    let session = Session::rehearse(options, arguments.purpose())?;
    Service::new(arguments, &session)?;
    arguments.network.certificate()?;
    Ok(())
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), Failure> {
    arguments.log.start()?;
    let Service {
        verification,
        introspection,
        router,
        addresses,
        admin_scopes,
        verify_only,
    } = Service::new(arguments, session)?;
    check_apps(session, arguments).await?;
    // Listen before the follower starts, so that a port in use is the only error reported.
    let certificate = arguments.network.certificate()?;
    let listeners = arguments.network.listen(certificate.as_ref()).await?;
    let for_operators = arguments.operations.listen(&arguments.network).await?;
    let max_connections = network::within_descriptors(arguments.network.max_connections);
    let limit = ConnectionLimit::new(max_connections);
    let authenticator = session.tokens.authenticator();
    let metrics = arguments.operations.are_set();
    let metrics = metrics.then(|| Metrics::install(authenticator, &limit, session.store()));
    let metrics = metrics.transpose()?;
    let mut server = Server::new(&arguments.network);
    let recent = recent(arguments.max_staleness);
    let health = Health::new(server.phase(), authenticator, recent);
    let _upkeep = metrics.as_ref().map(Metrics::start_upkeep);
    let observation = Observation {
        log: arguments.log.access_log.then_some(addresses),
        requests: metrics.as_ref().map(Metrics::requests),
    };
    if let (Some(listener), Some(metrics)) = (for_operators, metrics) {
        operations::serve(listener, &mut server, health.clone(), metrics);
    }
    // Before the follower and the first request: what is cached earlier would not be covered by receipts.
    let membership = Membership::begin(session, &arguments.membership).await?;
    let follower = follower(session, arguments).start().await?;
    if let Some(source) = follower.preloaded_from() {
        note(&preload::describe(source, authenticator.stats().entries));
    }
    // Before the message that it listens: a program that reads the message may stop it.
    let mut signals = Signals::catch(certificate).map_err(cannot_serve)?;

    if verify_only {
        note("Serving only /verify and /introspect, without the API and the dashboard");
    } else {
        let token = FirstToken {
            scopes: admin_scopes,
            expiry: arguments.admin_token_expires,
            file: &arguments.admin_token_file,
        };
        token.issue(session).await?;
        if let Some(url) = listeners.iter().find_map(Listener::url) {
            note(&format!("Dashboard: {url}/tokens"));
        }
    }
    let _maintenance = (!verify_only)
        .then(|| MaintenanceTask::start(&session.operator, arguments.retention.maintenance()));
    let _expiring = (!verify_only).then(|| ExpiringRecorder::start(&session.tokens));
    let application = Application::new(verification, introspection, router, observation);
    // Before the message that it listens: a program that reads the message may ask for this.
    health.started();
    for listener in listeners {
        note(&format!("Listening on {listener}"));
        server.serve(listener, application.clone(), &limit);
    }
    log_notes();
    systemd::ready();
    server.run(&mut signals).await;
    // Usage is recorded even if connections were cut off.
    let stopped = select! {
        stopped = follower.stop() => stopped,
        () = signals.stop() => return Err(Failure::failed(
            "a signal ended the server before the latest uses were recorded",
        )),
    };
    membership.end().await;
    match stopped {
        Err(error) if verify_only && error.kind() == StoreErrorKind::ReadOnly => {
            note(
                "warning: usage was not recorded, because the store is read-only; with `--read-only`, this is expected",
            );
            Ok(())
        }
        stopped => Ok(stopped?),
    }
}

/// Rejects a header field that would be insecure.
fn check_api_key_header(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(name) = &arguments.api_key_header
        && forward_auth::is_identity_field(name)
    {
        return Err(Failure::usage(format!(
            "`{name}` cannot carry tokens, because proxies set it from the response; use another header field, such as `x-api-key`"
        )));
    }
    Ok(())
}

/// Rejects apps that do not exist.
async fn check_apps(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let admins = arguments.admin_apps.iter().map(|app| (app, "--admin-app"));
    let introspectors = arguments.introspect_apps.iter();
    for (app, option) in admins.chain(introspectors.map(|app| (app, "--introspect-app"))) {
        // Otherwise anyone who can create apps could create this one, and act with its tokens.
        if session.registry.app(app).await?.is_none() {
            return Err(Failure::not_found(format!(
                "no app has the identifier `{app}` given to `{option}`; create it first, or leave out the option"
            )));
        }
    }
    Ok(())
}

/// Routes the API and the dashboard, with and without a slash at the end of their paths.
fn management(admin: &Admin, has_access_log: bool) -> Router {
    let observed = |router: Router| match has_access_log {
        true => observation::with_routes(router),
        false => router,
    };
    Router::new()
        .route("/", get(async || Redirect::to("/tokens")))
        .nest_service("/tokens", observed(admin.dashboard()))
        .nest_service("/api", observed(admin.router()))
}

fn follower(session: &Session, arguments: &Arguments) -> FollowerBuilder {
    let follower = session.tokens.follow();
    let follower = follower.poll_interval(poll_interval(arguments.max_staleness));
    let follower = arguments.notifications.configure(follower);
    let follower = arguments.preload.configure(follower);
    match session.read_only {
        true => follower.without_usage(),
        false => follower,
    }
}

/// The interval for reading the change log: several times within `max_staleness`.
fn poll_interval(max_staleness: Duration) -> Duration {
    match max_staleness {
        // Nothing is cached, so nothing has to be invalidated.
        Duration::ZERO => Duration::from_secs(1),
        bound => (bound / 5).min(Duration::from_secs(1)),
    }
}

/// How old the latest read of the change log may be while the store counts as available: several polls,
/// because a bound of zero would never be met.
fn recent(max_staleness: Duration) -> Duration {
    max_staleness.max(3 * poll_interval(max_staleness))
}

fn cannot_serve(error: io::Error) -> Failure {
    Failure::failed("cannot start the server").because(error)
}

fn layer(
    session: &Session,
    arguments: &Arguments,
    addresses: &ClientAddresses,
) -> Result<ApiTokenLayer, Failure> {
    let of_client = addresses.clone();
    let mut layer = ApiTokenLayer::new(&session.tokens)
        .client_address(move |request| of_client.of_subrequest(request))
        .realm(&arguments.realm)
        .map_err(usage)?;
    if let Some(name) = &arguments.api_key_header {
        layer = layer.api_key_header(name.clone()).map_err(usage)?;
    }
    Ok(revision::configure(layer, &arguments.revision, addresses))
}

fn oauth_endpoints(
    session: &Session,
    arguments: &Arguments,
    verify_only: bool,
    addresses: &ClientAddresses,
) -> Result<OAuthEndpoints, Failure> {
    let addresses = addresses.clone();
    let endpoints = OAuthEndpoints::builder(&session.operations).realm(&arguments.realm);
    let mut endpoints = endpoints
        .map_err(usage)?
        .caller_address(move |request| addresses.of_request(request));
    if !arguments.introspect_apps.is_empty() {
        endpoints = endpoints.introspected_by(arguments.introspect_apps.iter().copied());
    }
    if arguments.no_revoke || verify_only {
        endpoints = endpoints.without_revocation();
    }
    Ok(endpoints.build())
}

fn usage(error: impl Display) -> Failure {
    Failure::usage(error.to_string())
}

fn admin(
    session: &Session,
    arguments: &Arguments,
    addresses: ClientAddresses,
) -> Result<Admin, Failure> {
    let administrators = [first_token::app()?].into_iter();
    let apps = administrators.chain(arguments.admin_apps.iter().copied());
    let guard = TokenGuard::new(&session.tokens, apps).realm(&arguments.realm);
    let guard = guard
        .map_err(usage)?
        .client_address(move |request| addresses.of_request(request));
    let mut admin = Admin::builder(&session.operations, guard);
    if let Some(url) = &arguments.service_url {
        admin = admin.service_url(url);
    }
    for origin in &arguments.trust_origin {
        let trusted = admin.with_trusted_origin(origin);
        admin = trusted
            .map_err(|error| Failure::usage(format!("invalid `--trust-origin`: {error}")))?;
    }
    Ok(admin.build())
}
