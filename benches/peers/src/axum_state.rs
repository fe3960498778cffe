//! axum's `from_fn_with_state`, with digests as bytes.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use axum::{
    extract::State,
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use http::{Request, StatusCode, header::AUTHORIZATION};
use sha2::{Digest, Sha256};
use tower::Layer;
use tower_api_tokens::AppPrincipal;

use crate::platform::{Body, Inner, Platform, call};

type Table = Arc<RwLock<HashMap<[u8; 32], AppPrincipal>>>;

async fn authorize(
    State(table): State<Table>,
    mut request: Request<Body>,
    next: Next,
) -> Result<Response, StatusCode> {
    let presented = request.headers().get(AUTHORIZATION);
    let token = presented.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let digest: [u8; 32] = Sha256::digest(token.unwrap_or_default()).into();
    let found = table.read().unwrap().get(&digest).cloned();
    request
        .extensions_mut()
        .insert(found.ok_or(StatusCode::UNAUTHORIZED)?);
    Ok(next.run(request).await)
}

pub(crate) fn binary_key(platform: &Platform) -> impl FnMut(Request<Body>) -> StatusCode + use<> {
    let table = platform
        .issued
        .iter()
        .map(|(_, record)| (*record.digest.as_bytes(), AppPrincipal::of(record)));
    let table: Table = Arc::new(RwLock::new(table.collect()));
    let mut service = from_fn_with_state(table, authorize).layer(Inner);
    move |request| call(&mut service, request)
}
