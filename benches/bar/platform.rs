//! Tokens in memory, requests with these tokens, and the inner service of every candidate.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};
use tower::Service;
use tower_api_tokens::{
    ApiTokens, AppEdit, AppPrincipal, MemoryStore, MetadataPatch, NewToken, TokenFormat,
    TokenRecord,
};

pub(crate) type Body = axum::body::Body;

/// Issued tokens and their records.
pub(crate) struct Platform {
    pub(crate) tokens: ApiTokens,
    pub(crate) issued: Vec<(HeaderValue, TokenRecord)>,
}

impl Platform {
    /// Returns about one token in a hundred.
    pub(crate) fn some(&self) -> Vec<HeaderValue> {
        let some = self.issued.iter().step_by(101);
        some.map(|(header, _)| header.clone()).collect()
    }

    /// Issues `count` tokens, to one app per thousand tokens, but to a thousand apps at most. Names
    /// have 24 bytes.
    pub(crate) fn new(count: usize) -> Self {
        Self::with_metadata(count, MetadataPatch::default())
    }

    /// As [`new`](Self::new), with metadata for every app.
    pub(crate) fn with_metadata(count: usize, metadata: MetadataPatch) -> Self {
        let runtime = runtime();
        let format = TokenFormat::new("acme_live").unwrap();
        let tokens = ApiTokens::builder(MemoryStore::new(), format)
            .max_staleness(Duration::from_secs(86_400))
            .capacity(count * 2)
            .build();
        let issued = runtime.block_on(async {
            let mut issued = Vec::with_capacity(count);
            let apps = (count / 1000).clamp(1, 1000);
            for app in 0..apps {
                let app = tokens
                    .create_app(&format!("Customer {app:015}"))
                    .await
                    .unwrap();
                let edit = AppEdit::default().metadata(metadata.clone());
                let app = tokens.edit_app(&app.id, None, edit).await.unwrap();
                for token in 0..count / apps {
                    let new = NewToken::named(format!("integration {token:012}"));
                    // Every other token has an expiry, which must then be checked.
                    let new = match token % 2 {
                        0 => new,
                        _ => new.expires_in(Duration::from_secs(365 * 86_400)),
                    };
                    let new = tokens.issue(&app.id, new).await.unwrap();
                    issued.push((bearer(new.token().expose()), new.record().clone()));
                }
            }
            issued
        });
        Self { tokens, issued }
    }

    /// Verifies every token once, so that all are cached.
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

pub(crate) fn bearer(token: &str) -> HeaderValue {
    format!("Bearer {token}").parse().unwrap()
}

pub(crate) fn request(credential: &HeaderValue) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    let value = credential.clone();
    request.headers_mut().insert(AUTHORIZATION, value);
    request
}

/// The inner service of every candidate.
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
        ready(Ok(Response::new(Body::empty())))
    }
}

/// Calls a service whose future is ready immediately.
pub(crate) fn call<S, B>(service: &mut S, request: Request<Body>) -> StatusCode
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    match at_once(service.call(request)) {
        Ok(response) => response.status(),
        Err(never) => match never {},
    }
}

/// Returns the output of a future that is ready immediately.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(given) => given,
        Poll::Pending => panic!("the store was queried"),
    }
}
