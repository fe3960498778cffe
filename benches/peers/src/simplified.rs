//! api-keys-simplified with its default settings and one hash.

use std::sync::Arc;

use api_keys_simplified::{ApiKeyManagerV0, Environment, ExposeSecret, KeyStatus, SecureString};
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use tower::Layer;
use tower_http::auth::AsyncRequireAuthorizationLayer;

use crate::{
    Peer,
    platform::{Body, Inner, bearer, call},
};

pub(crate) fn peer() -> Peer {
    let manager = ApiKeyManagerV0::init_default_config("gpmcp_sk").unwrap();
    let key = manager.generate(Environment::production()).unwrap();
    let credentials = vec![bearer(key.key().expose_secret())];
    let shared = Arc::new((manager, key.expose_hash().hash().to_owned()));
    let authorize = move |request: Request<Body>| {
        let shared = Arc::clone(&shared);
        async move {
            let (manager, hash) = &*shared;
            let presented = request.headers().get(AUTHORIZATION);
            let token = presented.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
            let token = SecureString::from(token.unwrap_or_default().to_owned());
            match manager.verify(&token, hash) {
                Ok(KeyStatus::Valid) => Ok(request),
                _ => {
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
