//! A protected service that counts what reaches it.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use jiff::Timestamp;
use tower::{Layer, service_fn};
use tower_api_tokens::{
    ApiTokenLayer, ApiTokens, AppPrincipal, IssuedToken, MemoryStore, NewToken, TokenFormat,
    testing::{ManualClock, UnreliableStore},
};

use crate::wire::{self, Answer, Raw};

pub(crate) struct Protected {
    pub(crate) tokens: ApiTokens,
    pub(crate) store: UnreliableStore<MemoryStore>,
    pub(crate) clock: ManualClock,
    pub(crate) token: IssuedToken,
    pub(crate) address: SocketAddr,
    inner_calls: Arc<AtomicUsize>,
}

impl Protected {
    pub(crate) async fn new() -> Self {
        Self::with(|layer| layer).await
    }

    /// A service behind a layer that is set up by `settings`.
    pub(crate) async fn with(settings: impl FnOnce(ApiTokenLayer) -> ApiTokenLayer) -> Self {
        let store = UnreliableStore::new(MemoryStore::new());
        let clock = ManualClock::new(Timestamp::new(1_800_000_000, 0).unwrap());
        let tokens = ApiTokens::builder(store.clone(), TokenFormat::new("acme").unwrap())
            .clock(clock.clone())
            .build();
        let app = tokens.create_app("Billing").await.unwrap();
        let new = NewToken::named("ci").scopes("read".parse().unwrap());
        let token = tokens.issue(&app.id, new).await.unwrap();
        let inner_calls = Arc::new(AtomicUsize::new(0));
        let layer = settings(ApiTokenLayer::new(&tokens));
        let service = layer.layer(service_fn(whoami(Arc::clone(&inner_calls))));
        let address = wire::serve(service).await;
        Self {
            tokens,
            store,
            clock,
            token,
            address,
            inner_calls,
        }
    }

    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.plaintext())
    }

    pub(crate) fn plaintext(&self) -> &str {
        self.token.token().expose()
    }

    /// Asks over both protocols; they must agree.
    pub(crate) async fn ask(&self, raw: &Raw) -> Answer {
        wire::ask_both(self.address, raw).await
    }

    pub(crate) async fn admits(&self, raw: &Raw) {
        let before = self.inner_calls();
        let answer = self.ask(raw).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "Billing"));
        assert_eq!(self.inner_calls() - before, 2, "once over each protocol");
    }

    pub(crate) async fn admits_nobody(&self, raw: &Raw) {
        let before = self.inner_calls();
        let answer = self.ask(raw).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "nobody"));
        assert_eq!(self.inner_calls() - before, 2, "once over each protocol");
    }

    pub(crate) async fn refuses(&self, raw: &Raw, status: u16, challenge: &str) -> Answer {
        let before = self.inner_calls();
        let answer = self.ask(raw).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.values("www-authenticate"), [challenge]);
        assert_eq!(self.inner_calls(), before, "the inner service was called");
        answer
    }

    pub(crate) fn inner_calls(&self) -> usize {
        self.inner_calls.load(SeqCst)
    }
}

type Whoami = std::future::Ready<Result<Response<Full<Bytes>>, Infallible>>;

fn whoami(calls: Arc<AtomicUsize>) -> impl Fn(Request<Incoming>) -> Whoami + Clone {
    move |mut request| {
        calls.fetch_add(1, SeqCst);
        let shown = format!("{:?}", request.headers());
        assert!(!shown.contains("acme_"), "the token is shown: {shown}");
        let principal = request.extensions().get::<AppPrincipal>();
        let name = principal
            .map_or("nobody", AppPrincipal::app_name)
            .to_owned();
        let mut response = match *request.method() {
            Method::HEAD => Response::default(),
            _ => Response::new(Full::from(name)),
        };
        if request.headers().contains_key("upgrade") {
            let _upgrade = hyper::upgrade::on(&mut request);
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert("connection", "upgrade".parse().unwrap());
            headers.insert("upgrade", "websocket".parse().unwrap());
            *response.body_mut() = Full::default();
        }
        std::future::ready(Ok(response))
    }
}

pub(crate) const BEARER: &str = "Bearer realm=\"api\"";

pub(crate) fn invalid_token() -> String {
    format!("{BEARER}, error=\"invalid_token\", error_description=\"The token is not valid.\"")
}

pub(crate) fn invalid_request(detail: &str) -> String {
    format!("{BEARER}, error=\"invalid_request\", error_description=\"{detail}\"")
}

pub(crate) const MALFORMED: &str = "The credential is malformed: send exactly one token.";
