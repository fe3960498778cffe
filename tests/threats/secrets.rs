//! One scenario that uses everything, and a search of all its output for secrets.

use std::{
    error::Error,
    fmt::{Debug, Display, Write as _},
    io,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use futures_util::FutureExt;
use http::{Request, Response, StatusCode};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_api_tokens::testing::ManualClock;
use tower_api_tokens::{
    ApiToken, ApiTokenLayer, ApiTokensBuilder, AppId, AppQuery, Authenticator, EntropyError,
    Grantable, ImportedToken, MaskedToken, MemoryStore, NewToken, Rejection, Replacement, Scope,
    StoreError, StoreErrorKind, TokenDigest, TokenFormat, TokenId, TokenQuery, TokenTarget,
};

use crate::support::{
    Act, Always, START, Strict, Tap, Tapped, anonymous, authorized, basic, bearer, tokens_in,
    uncached, unknown,
};

/// All output, from whatever source.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<String>>);

impl Said {
    fn note(&self, text: impl Display) {
        writeln!(self.0.lock().unwrap(), "{text}").unwrap();
    }

    fn debug(&self, value: &(impl Debug + ?Sized)) {
        self.note(format_args!("{value:?} {value:#?}"));
    }

    fn error(&self, error: &(dyn Error + 'static)) {
        let mut next = Some(error);
        while let Some(error) = next {
            self.note(format_args!("{error} {error:?} {error:#?}"));
            next = error.source();
        }
    }
}

impl io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap()
            .push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The forms in which a token or its digest may appear.
fn canaries(token: &str) -> Vec<String> {
    let digest = TokenDigest::of(token.as_bytes());
    let bytes = digest.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = |bytes: &[u8]| {
        let numbers: Vec<_> = bytes.iter().map(u8::to_string).collect();
        numbers.join(", ")
    };
    let secret = token.rsplit('_').next().unwrap();
    vec![
        token.to_owned(),
        // The start of the random part; a mask shows the end of the checksum.
        secret[..10].to_owned(),
        secret[secret.len() - 8..].to_owned(),
        list(token.as_bytes()),
        list(&bytes[..8]),
        hex[..16].to_owned(),
        hex.to_uppercase()[..16].to_owned(),
        URL_SAFE_NO_PAD.encode(bytes)[..12].to_owned(),
        STANDARD.encode(bytes)[..12].to_owned(),
        STANDARD.encode(format!("u:{token}")),
        STANDARD.encode(token),
        String::from_utf8_lossy(&bytes[..8]).into_owned(),
        format!("{:?}", String::from_utf8_lossy(&bytes[..8])),
    ]
}

/// Which canaries of which tokens appear in the output.
fn slips(said: &str, tokens: &[String]) -> Vec<String> {
    let canaries = tokens.iter().flat_map(|token| canaries(token));
    canaries.filter(|canary| said.contains(canary)).collect()
}

/// An inner service that logs everything it gets.
fn chatty(
    said: &Said,
) -> impl Service<
    Request<String>,
    Response = Response<String>,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone
+ use<> {
    let said = said.clone();
    service_fn(move |request: Request<String>| {
        tracing::trace!(?request, "inner");
        said.debug(&request);
        said.debug(request.headers());
        if let Some(principal) = request.extensions().get::<tower_api_tokens::AppPrincipal>() {
            said.debug(principal);
        }
        std::future::ready(Ok(Response::new("inner".to_owned())))
    })
}

async fn ask<S, B>(said: &Said, service: S, request: Request<String>) -> StatusCode
where
    S: Service<Request<String>, Response = Response<B>> + Clone + Debug,
    S::Error: Debug,
    S::Future: Debug,
    B: Debug + http_body::Body<Data = bytes::Bytes, Error: Debug>,
{
    use http_body_util::BodyExt;

    said.debug(&service);
    let mut service = service;
    let call = service.ready().await.unwrap().call(request);
    said.debug(&call);
    let response = call.await.unwrap();
    said.debug(&response);
    if let Some(rejection) = response.extensions().get::<Rejection>() {
        said.note(rejection.kind());
        said.error(rejection);
    }
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    said.note(String::from_utf8_lossy(&body));
    status
}

#[tokio::test(start_paused = true)]
async fn neither_a_token_nor_its_digest_ever_appears_in_output() {
    let said = Said::default();
    let writer = said.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(move || writer.clone())
        .finish();
    let _subscribed = tracing::subscriber::set_default(subscriber);
    let panics = said.clone();
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| panics.note(info)));
    let outcome = AssertUnwindSafe(scenario(&said)).catch_unwind().await;
    panic::set_hook(hook);

    let mut text = said.0.lock().unwrap().clone();
    let tokens = outcome.unwrap_or_else(|_| panic!("the scenario ended early:\n{text}"));
    assert_eq!(slips(&text, &tokens), Vec::<String>::new());

    // The expected output is present, so the capture works.
    for kind in [
        "missing_credential",
        "malformed_credential",
        "wrong_format",
        "unknown_token",
        "revoked_token",
        "expired_token",
        "disabled_app",
        "insufficient_scope",
        "store_failure",
        "store_timeout",
        "overload",
        "DEBUG tower_api_tokens",
        "TRACE threats",
        "Sensitive",
        "the store panics",
        "TokenDigest(redacted)",
        "ApiToken(redacted)",
    ] {
        assert!(text.contains(kind), "{kind} was not said");
    }
    // And the search finds each form.
    for token in &tokens {
        for canary in canaries(token) {
            let silent = text.len();
            text.push_str(&canary);
            assert!(!slips(&text, &tokens).is_empty());
            text.truncate(silent);
        }
    }
}

/// Runs the scenario and returns its tokens.
async fn scenario(said: &Said) -> Vec<String> {
    let mut plaintexts = vec![unknown(), unknown().replace("acme_", "acme_x")];
    let clock = ManualClock::new(START);
    let store = Tap::new(MemoryStore::new(), |name, nth| match (name, nth) {
        ("find", 0) => Act::Panic,
        ("find", 1) => Act::PanicLater,
        ("find", 2) => Act::Hang,
        ("find", 3) => Act::FailBefore(StoreErrorKind::Corrupt),
        // A revocation is tried again without its audit event.
        ("revoke", 0 | 1) => Act::FailBefore(StoreErrorKind::ReadOnly),
        _ => Act::Pass,
    });
    let set = |tokens: ApiTokensBuilder| {
        let legacy = TokenFormat::new("legacy").unwrap();
        tokens.with_accepted_format(legacy).max_lookups(1)
    };
    said.debug(&set(tokens_in(store.clone()).clock(clock.clone())));
    let fixture = uncached(store).clock(clock.clone()).configure(set);
    let fixture = fixture.build().await;
    let (tokens, app) = (&fixture.tokens, fixture.app().id);
    let hour = Duration::from_secs(3600);

    let new = NewToken::named("t").scopes("read".parse().unwrap());
    said.debug(&new);
    let expiring = tokens.issue(&app, new.clone().expires_in(hour)).await;
    let expiring = expiring.unwrap();
    let revoked = tokens
        .app(app, &Grantable::everything())
        .issue(new.clone())
        .await
        .unwrap();
    let other = tokens.create_app("other").await.unwrap();
    let orphan = tokens.issue(&other.id, new.clone()).await.unwrap();
    let rotated = tokens
        .rotate(fixture.issued.record().id, hour)
        .await
        .unwrap();
    for issued in [&fixture.issued, &expiring, &revoked, &orphan, &rotated] {
        said.debug(issued);
        said.debug(issued.token());
        said.debug(issued.record());
        said.note(issued.record().mask);
        plaintexts.push(issued.token().expose().to_owned());
    }
    let imported_text = TokenFormat::new("legacy")
        .unwrap()
        .generate(&tower_api_tokens::SystemEntropy::default())
        .unwrap();
    plaintexts.push(imported_text.expose().to_owned());
    let mask = MaskedToken::new("legacy_", "9f3c").unwrap();
    let imported = ImportedToken::new(new.clone(), imported_text.digest(), mask);
    said.debug(&imported);
    said.debug(&tokens.import(&app, imported.clone()).await.unwrap());
    said.error(&tokens.import(&app, imported.clone()).await.unwrap_err());
    let strict = tokens_in(MemoryStore::new()).build();
    said.error(&strict.import(&app, imported).await.unwrap_err());

    // The plan of the store: two panics, a timeout and an error.
    let layer = ApiTokenLayer::new(tokens)
        .basic()
        .api_key_header("x-api-key")
        .unwrap()
        .attribute_responses();
    said.debug(&layer);
    let inner = chatty(said);
    let service = Chatty(layer.layer(inner.clone()));
    for _ in 0..4 {
        let status = ask(said, service.clone(), bearer(fixture.token())).await;
        assert_eq!(status, 503);
    }

    said.error(&tokens.revoke(revoked.record().id).await.unwrap_err());
    said.debug(&tokens.revoke(revoked.record().id).await.unwrap());
    said.debug(&tokens.disable_app(&other.id).await.unwrap());
    for issued in [&fixture.issued, &expiring, &rotated] {
        let text = issued.token().expose();
        let mut keyed = anonymous();
        keyed
            .headers_mut()
            .insert("x-api-key", text.parse().unwrap());
        for request in [bearer(text), basic(text), keyed] {
            assert_eq!(ask(said, service.clone(), request).await, 200);
        }
    }
    clock.set(START.checked_add(hour).unwrap());
    for text in &plaintexts {
        let mut keyed = bearer(text);
        keyed
            .headers_mut()
            .insert("x-api-key", text.parse().unwrap());
        for request in [
            bearer(text),
            basic(text),
            keyed,
            authorized(format!("Bearer {text} {text}")),
            authorized(format!("Bearer {text},{text}")),
            authorized(format!("Basic {text}")),
            authorized(format!("Digest {text}, Bearer {text}")),
            authorized(text),
            authorized(format!("Bearer {}", text.repeat(100))),
            anonymous(),
        ] {
            ask(said, service.clone(), request).await;
        }
        if let Err(rejection) = tokens.authenticator().authenticate(text.as_bytes()).await {
            said.error(&rejection);
        }
    }
    let optional = Chatty(layer.clone().optional().layer(inner.clone()));
    let digest = authorized(format!("Digest {}", plaintexts[0]));
    assert_eq!(ask(said, optional, digest).await, 200);

    // A different record, scopes, too many requests.
    let other_record = rotated.record().clone();
    let liar = Authenticator::new(Always(move || Ok(Some(other_record.clone()))));
    let liar = Chatty(ApiTokenLayer::new(liar).layer(inner.clone()));
    assert_eq!(ask(said, liar, bearer(fixture.token())).await, 401);
    let guard = layer.require_all("admin".parse().unwrap());
    said.debug(&guard);
    said.debug(&guard.layer(Strict::default()));
    let guarded = Chatty(layer.layer(guard.layer(inner.clone())));
    let may_read = bearer(rotated.token().expose());
    assert_eq!(ask(said, guarded, may_read).await, 403);
    let full = tokens_in(MemoryStore::new()).max_lookups(0).build();
    let full = Chatty(ApiTokenLayer::new(&full).layer(inner));
    assert_eq!(ask(said, full, bearer(fixture.token())).await, 503);

    errors(said, &fixture, &plaintexts).await;
    values(said, &fixture, rotated.token());
    plaintexts
}

/// Every error that a token in the wrong place can cause.
async fn errors(said: &Said, fixture: &Tapped, plaintexts: &[String]) {
    let tokens = &fixture.tokens;
    let zero = Duration::ZERO;
    said.error(
        &tokens
            .rotate(fixture.issued.record().id, zero)
            .await
            .unwrap_err(),
    );
    said.error(
        &tokens
            .rotate(fixture.issued.record().id, Duration::MAX)
            .await
            .unwrap_err(),
    );
    let nothing = TokenId::from_bytes([0; 16]);
    said.error(&tokens.get(nothing).await.unwrap_err());
    said.error(
        &tokens
            .create_app_with_id(fixture.app().id, "a")
            .await
            .unwrap_err(),
    );
    for text in plaintexts {
        let long = text.repeat(3);
        said.error(&tokens.create_app(&long).await.unwrap_err());
        let new = NewToken::named(format!("{text}\n"));
        let new = new.expires_at(jiff::Timestamp::MIN);
        said.error(&tokens.issue(&fixture.app().id, new).await.unwrap_err());
        said.error(&text.parse::<TokenDigest>().unwrap_err());
        said.error(&text.parse::<TokenId>().unwrap_err());
        said.error(&text.parse::<MaskedToken>().unwrap_err());
        said.error(&MaskedToken::new(text, "").unwrap_err());
        said.error(&MaskedToken::new("", text).unwrap_err());
        said.error(&AppId::new(text).unwrap_err());
        said.error(&TokenFormat::new(text).unwrap_err());
        said.error(&Scope::new(&format!("{text}\"")).unwrap_err());
        let layer = || ApiTokenLayer::new(tokens);
        said.error(&layer().realm(&format!("{text}\n")).unwrap_err());
        said.error(&layer().api_key_header(format!("{text} ")).unwrap_err());
        // A failed comparison of digests prints both.
        let digest = TokenDigest::of(text.as_bytes());
        let compared = panic::catch_unwind(|| {
            assert_eq!(digest, TokenDigest::of(b"another"));
        });
        assert!(compared.is_err());
    }
    said.error(&EntropyError::new("dry"));
    said.error(&StoreError::unavailable("down"));
}

/// Every public value that contains a token, a digest or a record.
fn values(said: &Said, fixture: &Tapped, token: &ApiToken) {
    let record = fixture.issued.record();
    said.debug(&fixture.tokens);
    said.debug(fixture.tokens.authenticator());
    said.debug(&Authenticator::builder(MemoryStore::new()));
    said.debug(
        &fixture
            .tokens
            .app(fixture.app().id, &Grantable::everything()),
    );
    said.debug(token);
    said.debug(&token.digest());
    said.debug(&Some([token.digest()]));
    said.debug(&record);
    said.debug(&MemoryStore::new());
    said.debug(&TokenTarget::any(record.id));
    said.debug(&Replacement::new(
        TokenTarget::any(record.id),
        record.clone(),
        START,
    ));
    said.debug(&TokenQuery::default().app(fixture.app().id));
    said.debug(&AppQuery::default());
}

/// Gives a service without `Debug` the `Debug` output of the layer's own parts.
#[derive(Clone)]
struct Chatty<S>(S);

impl<S> Debug for Chatty<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chatty")
    }
}

impl<S: Service<R>, R> Service<R> for Chatty<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.0.call(request)
    }
}
