//! A service with API tokens in an SQLite file, and a dashboard to manage them.
//!
//! Run `cargo run -p quickstart`. `DATABASE_URL` sets the database, and `LISTEN_ADDR` the address to listen on.

use std::{env, error::Error, time::Duration};

use axum::{Router, routing::get};
use tokio::{net::TcpListener, signal};
use tower_api_tokens::{
    ApiTokenLayer, ApiTokens, AppId, AppPrincipal, NewToken, TokenFormat, TokenQuery,
};
use tower_api_tokens_admin::{Admin, TokenGuard};
use tower_api_tokens_sqlx::SqliteStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let database = env::var("DATABASE_URL").unwrap_or_else(|_| "sqlite://tokens.db".into());
    let address = env::var("LISTEN_ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let store = SqliteStore::connect(&database)
        .await
        .map_err(|error| format!("cannot open DATABASE_URL: {error:?}"))?;
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| format!("cannot listen on LISTEN_ADDR={address}: {error}"))?;
    let url = format!("http://{}", listener.local_addr()?);

    // Tokens belong to apps: one for a customer, and one for the operators, who manage all tokens.
    let tokens = ApiTokens::new(store, TokenFormat::new("demo")?);
    let demo = app(&tokens, "demo").await?;
    let operators = app(&tokens, "operators").await?;

    // The layer finds the app of each request. The guard admits operators to the dashboard.
    let guard = TokenGuard::new(&tokens, [operators]).realm("quickstart")?;
    let admin = Admin::builder(&tokens, guard)
        .service_url(&format!("{url}/whoami"))
        .build();
    let router = Router::new()
        .route("/whoami", get(whoami))
        .route_layer(ApiTokenLayer::new(&tokens).realm("quickstart")?)
        .nest_service("/tokens", admin.dashboard());
    let follower = tokens.follow().start().await?;

    // A token is shown only once, when it is created.
    let issued_before = tokens.list(&TokenQuery::default().app(demo)).await?;
    if issued_before.items.is_empty() {
        let issued = tokens.issue(&demo, NewToken::named("quickstart")).await?;
        let token = issued.token().expose();
        println!("try: curl -H 'Authorization: Bearer {token}' {url}/whoami");
    }
    let admin_token = NewToken::named("admin")
        .scopes("tokens:admin tokens:owner".parse()?)
        .expires_in(Duration::from_secs(24 * 60 * 60));
    let issued = tokens.issue(&operators, admin_token).await?;
    println!("create, rotate and revoke tokens: {url}/tokens");
    let password = issued.token().expose();
    println!("sign in with any user name and the password {password}");

    axum::serve(listener, router)
        .with_graceful_shutdown(async { signal::ctrl_c().await.unwrap_or_default() })
        .await?;
    follower.stop().await?;
    Ok(admin.operations().flush_audit().await?)
}

async fn whoami(app: AppPrincipal) -> String {
    format!("app {}, token {}\n", app.app_id(), app.token_name())
}

/// Returns the identifier of an app, which it creates on the first start.
async fn app(tokens: &ApiTokens, id: &str) -> Result<AppId, Box<dyn Error>> {
    let id = AppId::new(id)?;
    if tokens.get_app(&id).await.is_err() {
        tokens.create_app_with_id(id, id.as_str()).await?;
    }
    Ok(id)
}
