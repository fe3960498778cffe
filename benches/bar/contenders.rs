//! The layer, the least that could stand in its place, and what people write instead. Each is a
//! function from a request to its response, with an inner service that is ready at once.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::{Ready, ready},
    hash::{BuildHasherDefault, Hasher},
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::Empty;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use serde_json::json;
use sha2::{Digest, Sha256};
use tower::{Layer, Service};
use tower_api_tokens::{
    ApiTokenLayer, ApiTokens, AppPrincipal, MemoryStore, NewToken, TokenFormat, TokenRecord,
};
use tower_http::auth::{AsyncAuthorizeRequest, AsyncRequireAuthorizationLayer};

type Body = Empty<Bytes>;

/// A platform with so many tokens of a thousand apps, or of one where there are fewer.
pub(crate) struct Platform {
    pub(crate) tokens: ApiTokens,
    pub(crate) issued: Vec<(HeaderValue, TokenRecord)>,
}

impl Platform {
    pub(crate) fn new(count: usize) -> Self {
        let runtime = runtime();
        let format = TokenFormat::new("acme_live").unwrap();
        let tokens = ApiTokens::builder(MemoryStore::new(), format)
            .max_staleness(std::time::Duration::from_secs(86_400))
            .capacity(count * 2)
            .build();
        let issued = runtime.block_on(async {
            let mut issued = Vec::with_capacity(count);
            let apps = (count / 1000).clamp(1, 1000);
            for app in 0..apps {
                let app = tokens.create_app(&format!("Customer {app}")).await.unwrap();
                for token in 0..count / apps {
                    let new = NewToken::named(format!("integration {token}"));
                    // Every other one expires some day, which has to be judged.
                    let new = match token % 2 {
                        0 => new,
                        _ => new.expires_in(std::time::Duration::from_secs(365 * 86_400)),
                    };
                    let new = tokens.issue(&app.id, new).await.unwrap();
                    issued.push((bearer(new.token().expose()), new.record().clone()));
                }
            }
            issued
        });
        Self { tokens, issued }
    }

    /// Presents every token once, so that all are remembered.
    pub(crate) fn warm(&self) {
        runtime().block_on(async {
            for (header, _) in &self.issued {
                let token = &header.as_bytes()["Bearer ".len()..];
                self.tokens
                    .authenticator()
                    .authenticate(token)
                    .await
                    .unwrap();
            }
        });
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn bearer(token: &str) -> HeaderValue {
    format!("Bearer {token}").parse().unwrap()
}

pub(crate) fn request(credential: &HeaderValue) -> Request<Body> {
    let mut request = Request::new(Empty::new());
    let value = credential.clone();
    request.headers_mut().insert(AUTHORIZATION, value);
    request
}

/// The service behind every contender.
#[derive(Clone)]
pub(crate) struct Inner;

impl<B> Service<Request<B>> for Inner {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        black_box(request.extensions().get::<AppPrincipal>());
        ready(Ok(Response::new(Empty::new())))
    }
}

/// Calls a service that answers at once.
pub(crate) fn call<S, B>(service: &mut S, request: Request<Body>) -> StatusCode
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let response = pin!(service.call(request));
    match response.poll(&mut cx) {
        Poll::Ready(Ok(response)) => response.status(),
        Poll::Ready(Err(never)) => match never {},
        Poll::Pending => panic!("the store was asked"),
    }
}

/// Digests are as good as random, so their first bytes serve as a hash.
#[derive(Default)]
pub(crate) struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

pub(crate) type Table = HashMap<[u8; 32], AppPrincipal, BuildHasherDefault<FirstBytes>>;

/// The least that has to be done: get the header, hash, look up in a table, insert the principal.
pub(crate) fn floor(platform: &Platform) -> impl FnMut(Request<Body>) -> StatusCode {
    let table: Table = platform
        .issued
        .iter()
        .map(|(_, record)| (*record.digest.as_bytes(), AppPrincipal::of(record)))
        .collect();
    move |mut request| {
        let presented = request.headers().get(AUTHORIZATION);
        let token = presented.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        let digest: [u8; 32] = Sha256::digest(token.unwrap_or_default()).into();
        let Some(principal) = table.get(&digest) else {
            return StatusCode::UNAUTHORIZED;
        };
        request.extensions_mut().insert(principal.clone());
        call(&mut Inner, request)
    }
}

pub(crate) fn bare() -> impl FnMut(Request<Body>) -> StatusCode {
    |request| call(&mut Inner, request)
}

pub(crate) fn layer(platform: &Platform) -> impl FnMut(Request<Body>) -> StatusCode + Send + use<> {
    let mut service = ApiTokenLayer::new(&platform.tokens).layer(Inner);
    move |request| call(&mut service, request)
}

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

/// tower-http's asynchronous authorization, over digests as bytes.
pub(crate) fn binary_key(platform: &Platform) -> impl FnMut(Request<Body>) -> StatusCode {
    let table = platform
        .issued
        .iter()
        .map(|(_, record)| (*record.digest.as_bytes(), AppPrincipal::of(record)));
    let table = Arc::new(tokio::sync::RwLock::new(table.collect()));
    let mut service = AsyncRequireAuthorizationLayer::new(BinaryKey(table)).layer(Inner);
    move |request| call(&mut service, request)
}

/// tower-http's asynchronous authorization the way it is mostly written: over digests as text.
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

fn admit(request: &mut Request<Body>, found: Option<AppPrincipal>) -> Result<(), Response<Body>> {
    match found {
        Some(principal) => {
            request.extensions_mut().insert(principal);
            Ok(())
        }
        None => {
            let mut response = Response::new(Empty::new());
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            Err(response)
        }
    }
}

/// jsonwebtoken with HS256, behind tower-http's asynchronous authorization; and a token for it.
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
                Err(_) => Err(Response::new(Empty::<Bytes>::new())),
            }
        }
    };
    let mut service = AsyncRequireAuthorizationLayer::new(authorize).layer(Inner);
    (
        move |request| call(&mut service, request),
        bearer(&token.unwrap()),
    )
}
