//! A service with API tokens in an SQLite file, and a dashboard to manage them.
//!
//! `cargo run --example quickstart`, then try the line that it prints, and open the dashboard. `DATABASE_URL` and
//! `LISTEN_ADDR` say where the tokens are kept and where it listens.

use std::{env, error::Error, io, time::Duration};

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};
use tokio::{net::TcpListener, signal};
use tower_api_tokens::{
    ApiTokenLayer, ApiTokens, AppId, AppPrincipal, AppQuery, AppRecord, LifecycleError, NewToken,
    SqliteStore, TokenFormat, TokenQuery, TokenRecord,
    admin::{Admin, TokenGuard},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let database = env::var("DATABASE_URL").unwrap_or_else(|_| "sqlite://tokens.db".into());
    let address = env::var("LISTEN_ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());

    let store = SqliteStore::open(&database)
        .await
        // The URL of another database may hold a password.
        .map_err(|error| explain("cannot open DATABASE_URL", &error))?;
    let tokens = ApiTokens::new(store, TokenFormat::new("demo")?);

    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| explain(&format!("cannot listen on LISTEN_ADDR={address}"), &error))?;
    let address = listener.local_addr()?;
    let operators = app(&tokens, "operators").await?;
    let guard = TokenGuard::new(&tokens, [operators.id]).realm("quickstart")?;
    let admin = Admin::builder(&tokens, guard)
        .service_url(&format!("http://{address}/whoami"))
        .build();
    let router = Router::new()
        .route("/whoami", get(whoami))
        .route_layer(ApiTokenLayer::new(&tokens).realm("quickstart")?)
        .route("/public", get(async || "Anybody may read this.\n"))
        .nest_service("/tokens", admin.dashboard());

    let shutdown = shutdown()?;
    println!("listening on http://{address}");
    let token = first_token(&tokens, "demo", "quickstart", "demo:read").await?;
    println!("token: {token}");
    let shown = if token.contains('…') {
        "$TOKEN"
    } else {
        &token
    };
    println!("try: curl -H 'Authorization: Bearer {shown}' http://{address}/whoami");
    println!("dashboard: http://{address}/tokens");
    // One for each start, because none is shown twice, and for no longer than a day.
    let admin_token = NewToken::named("admin")
        .scopes("tokens:admin tokens:owner".parse()?)
        .expires_in(Duration::from_secs(24 * 60 * 60));
    let issued = tokens.issue(&operators.id, admin_token).await?;
    let password = issued.token().expose();
    println!("sign in: any user name, and the password {password}");

    let follower = tokens.follow().start().await?;
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown)
        .await?;
    follower.stop().await?;
    // What the store has not taken yet of who did what.
    admin.operations().flush_audit().await?;
    Ok(())
}

async fn whoami(principal: AppPrincipal) -> Json<Value> {
    Json(json!({
        "app_id": principal.app_id().as_str(),
        "app_name": principal.app_name(),
        "token_id": principal.token_id().to_string(),
        "token_name": principal.token_name(),
        "scopes": principal.scopes().iter().collect::<Vec<_>>(),
    }))
}

/// Issues a token on the first start, and returns its text; later returns its mask.
async fn first_token(
    tokens: &ApiTokens,
    app_name: &str,
    name: &str,
    scopes: &str,
) -> Result<String, Box<dyn Error>> {
    let app = app(tokens, app_name).await?;
    if let Some(record) = find_token(tokens, app.id, name).await? {
        return Ok(record.mask.to_string());
    }
    let token = NewToken::named(name).scopes(scopes.parse()?);
    let issued = tokens.issue(&app.id, token).await?;
    Ok(issued.token().expose().to_owned())
}

async fn app(tokens: &ApiTokens, name: &str) -> Result<AppRecord, LifecycleError> {
    match find_app(tokens, name).await? {
        Some(app) => Ok(app),
        None => tokens.create_app(name).await,
    }
}

async fn find_app(tokens: &ApiTokens, name: &str) -> Result<Option<AppRecord>, LifecycleError> {
    let mut query = AppQuery::default();
    loop {
        let page = tokens.list_apps(&query).await?;
        let found = page.items.into_iter().find(|app| app.name == name);
        match page.next {
            Some(next) if found.is_none() => query = query.after(next),
            _ => return Ok(found),
        }
    }
}

async fn find_token(
    tokens: &ApiTokens,
    app: AppId,
    name: &str,
) -> Result<Option<TokenRecord>, LifecycleError> {
    // Selects those with the name in theirs.
    let mut query = TokenQuery::default().app(app).name(name);
    loop {
        let page = tokens.list(&query).await?;
        let found = page.items.into_iter().find(|token| token.name == name);
        match page.next {
            Some(next) if found.is_none() => query = query.after(next),
            _ => return Ok(found),
        }
    }
}

/// Heeds SIGINT and SIGTERM from now on, and tells when one has come.
#[cfg(unix)]
fn shutdown() -> io::Result<impl Future<Output = ()>> {
    use signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn shutdown() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = signal::ctrl_c().await;
    })
}

/// An error with its causes.
fn explain(what: &str, error: &dyn Error) -> Box<dyn Error> {
    let mut text = format!("{what}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text.into()
}
