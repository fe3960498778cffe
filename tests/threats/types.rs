//! What the compiler guarantees.

use std::{
    cell::RefCell,
    convert::Infallible,
    fmt, future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::{Body, Frame};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_api_tokens as crate_root;
use tower_api_tokens::{
    ApiToken, ApiTokenAuth, ApiTokenLayer, MemoryStore, RequireScopeLayer, TokenDigest, extract,
    middleware, store,
};

use crate::support::{Strict, bearer, uncached};

macro_rules! assert_sent_between_threads {
    ($($type:ty),* $(,)?) => {
        const _: fn() = || {
            fn moves<T: Send + Sync + 'static>() {}
            $(moves::<$type>();)*
        };
    };
}

assert_sent_between_threads![
    crate_root::ApiToken,
    crate_root::ApiTokenAuth<()>,
    crate_root::ApiTokenLayer,
    crate_root::ApiTokens,
    crate_root::ApiTokensBuilder,
    crate_root::AppId,
    crate_root::AppIdError,
    crate_root::AppPrincipal,
    crate_root::AppQuery,
    crate_root::AppRecord,
    crate_root::AppTokens,
    crate_root::Authenticator,
    crate_root::AuthenticatorBuilder,
    Box<dyn crate_root::Clock>,
    crate_root::DigestError,
    Box<dyn crate_root::Entropy>,
    crate_root::EntropyError,
    crate_root::BoundKey,
    crate_root::ImportedToken,
    crate_root::IdempotencyKey,
    crate_root::IdempotencyKeyError,
    crate_root::IssuedToken,
    crate_root::LayerError,
    crate_root::LifecycleError,
    crate_root::LifecycleErrorKind,
    crate_root::MaskError,
    crate_root::MaskedToken,
    crate_root::MemoryStore,
    crate_root::NameError,
    crate_root::NewToken,
    crate_root::Page<crate_root::TokenRecord, crate_root::TokenId>,
    crate_root::PageSize,
    crate_root::PrefixError,
    crate_root::Rejection,
    crate_root::RejectionKind,
    crate_root::RequireScopeLayer,
    crate_root::Restrictions,
    crate_root::Replacement,
    crate_root::Rotation,
    crate_root::Scope,
    crate_root::ScopeError,
    crate_root::ScopeSet,
    crate_root::StoreError,
    crate_root::StoreErrorKind,
    crate_root::SystemClock,
    crate_root::SystemEntropy,
    crate_root::TokenDigest,
    crate_root::TokenFormat,
    crate_root::TokenId,
    crate_root::TokenIdError,
    crate_root::TokenQuery,
    crate_root::TokenRecord,
    Box<dyn store::TokenRegistry>,
    Box<dyn store::TokenStore>,
    crate_root::TokenStatus,
    crate_root::TokenTarget,
    crate_root::TransitionError,
    crate_root::transfer::ImportReport,
    crate_root::transfer::LineFault,
    crate_root::transfer::TransferError,
    extract::AppPrincipalRejection,
    extract::AppPrincipalRejectionKind,
    middleware::RequireScope<()>,
    middleware::RequireScopeFuture<()>,
    middleware::ResponseBody<String>,
];

// `ResponseFuture` is `Send` if its parts are: a lookup cannot be shared between threads.
const _: fn() = || {
    fn moves<T: Send + 'static>() {}
    moves::<middleware::ResponseFuture<Strict, String>>();
};

/// Fails to compile if a type has a trait, because both implementations then apply.
macro_rules! assert_lacks {
    ($type:ty: $($bound:tt)+) => {
        const _: fn() = || {
            trait Lacks<Marker> {
                fn check() {}
            }
            struct Has;
            impl<T: ?Sized> Lacks<()> for T {}
            impl<T: ?Sized + $($bound)+> Lacks<Has> for T {}
            let _ = <$type as Lacks<_>>::check;
        };
    };
}

assert_lacks!(ApiToken: Clone);
assert_lacks!(ApiToken: fmt::Display);
assert_lacks!(ApiToken: fmt::LowerHex);
assert_lacks!(ApiToken: AsRef<str>);
assert_lacks!(ApiToken: AsRef<[u8]>);
assert_lacks!(ApiToken: std::ops::Deref);
assert_lacks!(ApiToken: Into<String>);
assert_lacks!(ApiToken: Into<http::HeaderValue>);
assert_lacks!(ApiToken: std::str::FromStr);
assert_lacks!(ApiToken: From<String>);
assert_lacks!(ApiToken: PartialEq);
assert_lacks!(ApiToken: std::hash::Hash);
assert_lacks!(crate_root::IssuedToken: Clone);
assert_lacks!(crate_root::IssuedToken: fmt::Display);
assert_lacks!(TokenDigest: fmt::Display);
assert_lacks!(TokenDigest: fmt::LowerHex);
assert_lacks!(TokenDigest: AsRef<[u8]>);
assert_lacks!(TokenDigest: PartialOrd);

/// Uses `Json`, which responds with anything that can be serialized.
macro_rules! assert_not_serializable {
    ($($type:ty),*) => {$(
        const _: fn() = || {
            trait Lacks<Marker> {
                fn check() {}
            }
            struct Has;
            impl<T> Lacks<()> for T {}
            impl<T> Lacks<Has> for T where axum::Json<T>: axum::response::IntoResponse {}
            let _ = <$type as Lacks<_>>::check;
        };
    )*};
}

assert_not_serializable!(ApiToken, crate_root::IssuedToken);

/// An error that is neither `Debug` nor `Send`, and such a body.
struct Plain(#[expect(dead_code, reason = "makes the type stay in its thread")] Rc<()>);

struct Local(RefCell<Option<bytes::Bytes>>);

impl Body for Local {
    type Data = bytes::Bytes;
    type Error = Plain;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Plain>>> {
        let data = self.0.borrow_mut().take();
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }
}

#[tokio::test]
async fn any_body_any_error_and_futures_without_send_are_supported() {
    let fixture = uncached(MemoryStore::new()).build().await;
    let counted = Rc::new(RefCell::new(0));
    let count = Rc::clone(&counted);
    let inner = service_fn(move |request: Request<Rc<str>>| {
        let count = Rc::clone(&count);
        async move {
            *count.borrow_mut() += 1;
            let body = Rc::<str>::clone(request.body());
            match &*body {
                "fail" => Err(Plain(Rc::new(()))),
                _ => Ok(Response::new(Local(RefCell::new(None)))),
            }
        }
    });
    let layer = ApiTokenLayer::new(&fixture.tokens);
    let may_read = RequireScopeLayer::all("invoices:read".parse().unwrap());
    let service = layer.layer(may_read.layer(inner));
    let request = |body: &str| bearer(fixture.token()).map(|_| Rc::<str>::from(body));
    let response = service.clone().oneshot(request("")).await;
    assert!(response.is_ok_and(|response| response.status() == 200));
    assert!(service.clone().oneshot(request("fail")).await.is_err());
    let refused = Request::new(Rc::<str>::from(""));
    let response = service.oneshot(refused).await;
    assert!(response.is_ok_and(|response| response.status() == 401));
    assert_eq!(*counted.borrow(), 2);
}

#[tokio::test]
async fn a_response_without_an_http_body_is_passed_on() {
    let fixture = uncached(MemoryStore::new()).build().await;
    // Neither side is an `http_body::Body`.
    let inner = service_fn(async |_: Request<u8>| Ok::<_, Infallible>(Response::new('x')));
    let service = ApiTokenLayer::new(&fixture.tokens).layer(inner);
    let request = bearer(fixture.token()).map(|_| 1_u8);
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_inner_service_can_be_accessed_and_taken_out() {
    let fixture = uncached(MemoryStore::new()).build().await;
    let mut service: ApiTokenAuth<Strict> =
        ApiTokenLayer::new(&fixture.tokens).layer(Strict::default());
    assert_eq!(service.get_ref().seen().calls(), 0);
    let inner = service.get_mut();
    let ready = future::poll_fn(|cx| Service::<Request<()>>::poll_ready(inner, cx)).await;
    assert!(ready.is_ok());
    let mut inner = service.into_inner();
    assert!(inner.call(Request::new(())).await.is_ok());
}
