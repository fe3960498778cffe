//! Common alternatives, with tower-http and jsonwebtoken.

use std::{collections::HashMap, sync::Arc};

use http::{HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use serde_json::json;
use sha2::{Digest, Sha256};
use tower::Layer;
use tower_api_tokens::AppPrincipal;
use tower_http::auth::{AsyncAuthorizeRequest, AsyncRequireAuthorizationLayer};

use crate::platform::{Body, Inner, Platform, bearer, call};

#[derive(Clone)]
struct BinaryKey(Arc<tokio::sync::RwLock<HashMap<[u8; 32], AppPrincipal>>>);

impl AsyncAuthorizeRequest<Body> for BinaryKey {
    type RequestBody = Body;
    type ResponseBody = Body;
    type Future = std::pin::Pin<
        Box<dyn Future<Output = Result<Request<Body>, Response<Body>>> + Send + 'static>,
    >;

    fn authorize(&mut self, mut request: Request<Body>) -> Self::Future {
        let table = Arc::clone(&self.0);
        Box::pin(async move {
            let presented = request.headers().get(AUTHORIZATION);
            let token = presented.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
            let digest: [u8; 32] = Sha256::digest(token.unwrap_or_default()).into();
            let found = table.read().await.get(&digest).cloned();
            admit(&mut request, found).map(|()| request)
        })
    }
}

/// tower-http's asynchronous authorization, with digests as bytes.
pub(crate) fn binary_key(platform: &Platform) -> impl FnMut(Request<Body>) -> StatusCode {
    let table = platform
        .issued
        .iter()
        .map(|(_, record)| (*record.digest.as_bytes(), AppPrincipal::of(record)));
    let table = Arc::new(tokio::sync::RwLock::new(table.collect()));
    let mut service = AsyncRequireAuthorizationLayer::new(BinaryKey(table)).layer(Inner);
    move |request| call(&mut service, request)
}

/// tower-http's asynchronous authorization as it is usually written, with digests as text.
pub(crate) fn hex_key(platform: &Platform) -> impl FnMut(Request<Body>) -> StatusCode {
    let hex =
        |digest: &[u8]| -> String { digest.iter().map(|byte| format!("{byte:02x}")).collect() };
    let table: HashMap<String, AppPrincipal> = platform
        .issued
        .iter()
        .map(|(_, record)| (hex(record.digest.as_bytes()), AppPrincipal::of(record)))
        .collect();
    let table = Arc::new(tokio::sync::RwLock::new(table));
    let authorize = move |mut request: Request<Body>| {
        let table = Arc::clone(&table);
        async move {
            let presented = request.headers().get(AUTHORIZATION);
            let token = presented.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
            let digest = hex(&Sha256::digest(token.unwrap_or_default()));
            let found = table.read().await.get(&digest).cloned();
            admit(&mut request, found).map(|()| request)
        }
    };
    let mut service = AsyncRequireAuthorizationLayer::new(authorize).layer(Inner);
    move |request| call(&mut service, request)
}

#[expect(clippy::result_large_err, reason = "tower-http asks for it")]
fn admit(request: &mut Request<Body>, found: Option<AppPrincipal>) -> Result<(), Response<Body>> {
    match found {
        Some(principal) => {
            request.extensions_mut().insert(principal);
            Ok(())
        }
        None => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            Err(response)
        }
    }
}

/// jsonwebtoken with HS256, in tower-http's asynchronous authorization, and a token for it.
pub(crate) fn hs256() -> (impl FnMut(Request<Body>) -> StatusCode, HeaderValue) {
    let secret = b"a secret of thirty-two bytes, ok";
    let claims = json!({ "sub": "app_8hFk2", "name": "Billing", "exp": 4_000_000_000_u64 });
    let token = jsonwebtoken::encode(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret(secret),
    );
    let checks = Arc::new((DecodingKey::from_secret(secret), Validation::default()));
    let authorize = move |mut request: Request<Body>| {
        let checks = Arc::clone(&checks);
        async move {
            let presented = request.headers().get(AUTHORIZATION);
            let token = presented.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
            let (key, validation) = &*checks;
            let token = token.unwrap_or_default();
            match jsonwebtoken::decode::<serde_json::Value>(token, key, validation) {
                Ok(token) => {
                    request.extensions_mut().insert(token.claims);
                    Ok(request)
                }
                Err(_) => Err(Response::new(Body::empty())),
            }
        }
    };
    let mut service = AsyncRequireAuthorizationLayer::new(authorize).layer(Inner);
    (
        move |request| call(&mut service, request),
        bearer(&token.unwrap()),
    )
}
