//! prefixed-api-key in tower-http's asynchronous authorization, with a table from short tokens to
//! the hashes of long ones.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use prefixed_api_key::{PrefixedApiKey, PrefixedApiKeyController};
use tower::Layer;
use tower_api_tokens::AppPrincipal;
use tower_http::auth::AsyncRequireAuthorizationLayer;

use crate::{
    Peer,
    platform::{Body, Inner, Platform, bearer, call},
};

pub(crate) fn peer(platform: &Platform) -> Peer {
    let controller = PrefixedApiKeyController::configure()
        .prefix("mycompany".to_owned())
        .seam_defaults()
        .finalize()
        .unwrap();
    let mut table = HashMap::with_capacity(platform.issued.len());
    let mut credentials = Vec::new();
    for (n, (_, record)) in platform.issued.iter().enumerate() {
        let (key, hash) = controller.try_generate_key_and_hash().unwrap();
        if n % 101 == 0 {
            credentials.push(bearer(&key.to_string()));
        }
        table.insert(
            key.short_token().to_owned(),
            (hash, AppPrincipal::of(record)),
        );
    }
    let shared = Arc::new((controller, RwLock::new(table)));
    let authorize = move |mut request: Request<Body>| {
        let shared = Arc::clone(&shared);
        async move {
            let (controller, table) = &*shared;
            let presented = request.headers().get(AUTHORIZATION);
            let token = presented.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
            let key = token.and_then(|token| PrefixedApiKey::from_string(token).ok());
            let found = key.and_then(|key| {
                let table = table.read().unwrap();
                let (hash, principal) = table.get(key.short_token())?;
                controller.check_hash(&key, hash).then(|| principal.clone())
            });
            match found {
                Some(principal) => {
                    request.extensions_mut().insert(principal);
                    Ok(request)
                }
                None => {
                    let mut response = Response::new(Body::empty());
                    *response.status_mut() = StatusCode::UNAUTHORIZED;
                    Err(response)
                }
            }
        }
    };
    let mut service = AsyncRequireAuthorizationLayer::new(authorize).layer(Inner);
    Peer::new(move |request| call(&mut service, request), credentials)
}
