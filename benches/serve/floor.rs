//! Handlers that do the work of `/verify` and `/introspect`, and nothing else: they check no expiry, follow
//! no changes, count no uses, and have no timeouts.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::{Arc, RwLock},
};

use axum::{
    Form, Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use crate::platform::runtime;

/// The first argument of the process that serves these handlers. The second is a file of tokens.
pub(crate) const ARGUMENT: &str = "--floor";

struct Known {
    app_id: String,
    app_name: String,
    token_id: String,
    scopes: String,
}

type Table = Arc<RwLock<HashMap<[u8; 32], Arc<Known>>>>;

/// Serves until the process is killed.
pub(crate) fn run(file: &Path) {
    let mut table = HashMap::new();
    for line in fs::read_to_string(file).unwrap().lines() {
        let mut fields = line.split('\t').map(str::to_owned);
        let mut field = || fields.next().expect("five fields");
        let digest: [u8; 32] = Sha256::digest(field()).into();
        let known = Known {
            app_id: field(),
            app_name: field(),
            token_id: field(),
            scopes: field(),
        };
        table.insert(digest, Arc::new(known));
    }
    let router = Router::new()
        .route("/verify", get(verify))
        .route("/introspect", post(introspect))
        .with_state(Table::new(RwLock::new(table)));
    runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        eprintln!("Listening on http://{}", listener.local_addr().unwrap());
        axum::serve(listener, router).await.unwrap();
    });
}

fn look_up(table: &Table, token: &[u8]) -> Option<Arc<Known>> {
    let digest: [u8; 32] = Sha256::digest(token).into();
    table.read().unwrap().get(&digest).cloned()
}

fn authenticate(table: &Table, headers: &HeaderMap) -> Result<Arc<Known>, StatusCode> {
    let value = headers.get(header::AUTHORIZATION);
    let token = value.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    let found = token.and_then(|token| look_up(table, token));
    found.ok_or(StatusCode::UNAUTHORIZED)
}

async fn verify(
    State(table): State<Table>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, StatusCode> {
    let known = authenticate(&table, &headers)?;
    let name = known.app_name.replace(' ', "%20");
    Ok([
        (header::CACHE_CONTROL.as_str(), "no-store".to_owned()),
        ("x-api-app-id", known.app_id.clone()),
        ("x-api-app-name", name),
        ("x-api-token-id", known.token_id.clone()),
        ("x-api-scopes", known.scopes.clone()),
    ])
}

#[derive(Deserialize)]
struct Request {
    token: String,
}

#[derive(Serialize)]
struct Active {
    active: bool,
    scope: String,
    client_id: String,
    token_type: &'static str,
    iat: i64,
    jti: String,
}

async fn introspect(
    State(table): State<Table>,
    headers: HeaderMap,
    Form(request): Form<Request>,
) -> Result<impl IntoResponse, StatusCode> {
    let caller = authenticate(&table, &headers)?;
    if caller.scopes != "tokens:introspect" {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let known = look_up(&table, request.token.as_bytes()).ok_or(StatusCode::NOT_FOUND)?;
    let active = Active {
        active: true,
        scope: known.scopes.clone(),
        client_id: known.app_id.clone(),
        token_type: "Bearer",
        iat: 1_796_000_000,
        jti: known.token_id.clone(),
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(active)))
}
