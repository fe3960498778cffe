#![expect(
    clippy::expect_used,
    reason = "a fixture that cannot be set up fails the test"
)]

use std::fmt;

use jiff::Timestamp;

use super::{FaultyStore, ManualClock};
use crate::{
    ApiTokenLayer, ApiTokens, ApiTokensBuilder, AppId, AppPrincipal, AppRecord, IssuedToken,
    MemoryStore, NewToken, Rejection, RejectionKind, TokenFormat, TokenRegistry,
};

/// A test fixture for a service that uses API tokens: a store in memory that fails on demand, a
/// clock set by hand, and an app with a token.
///
/// The app is called `Billing` and its token `ci`. The token has the scope `invoices:read` and the
/// prefix `acme`, and does not expire. The clock shows a time in January 2027.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use http::{Request, Response, StatusCode};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_api_tokens::{
///     AppPrincipal, StoreErrorKind,
///     testing::{Fault, Fixture},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fixture = Fixture::new().await;
/// let service = ServiceBuilder::new()
///     .layer(fixture.layer())
///     .service_fn(async |request: Request<String>| {
///         let app = request.extensions().get::<AppPrincipal>().map(AppPrincipal::app_id);
///         assert!(app.is_some());
///         Ok::<_, std::convert::Infallible>(Response::new(String::new()))
///     });
/// let request = || Request::get("/").header("authorization", fixture.bearer()).body(String::new());
/// let answer = service.clone().oneshot(request()?).await?;
/// assert_eq!(answer.status(), StatusCode::OK);
///
/// // A cached answer is used for five seconds at most. Then the store has to answer.
/// fixture.store.set_fault(Fault::Error(StoreErrorKind::Unavailable));
/// fixture.clock.advance(Duration::from_secs(6));
/// let answer = service.oneshot(request()?).await?;
/// assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
/// # Ok(())
/// # }
/// ```
///
/// Its methods panic if the store fails or refuses a call, which fails the test.
#[derive(Debug)]
#[non_exhaustive]
pub struct Fixture<T = IssuedToken, S = FaultyStore<MemoryStore>> {
    /// The apps and tokens, with their authenticator.
    pub tokens: ApiTokens,
    /// The store.
    pub store: S,
    /// The clock of the authenticator and of the lifecycle.
    pub clock: ManualClock,
    /// The issued token; `()` in an [empty](FixtureBuilder::empty) fixture.
    pub issued: T,
}

impl Fixture {
    /// Creates a fixture with the default settings.
    pub async fn new() -> Self {
        Self::builder().build().await
    }

    /// Creates a fixture without an app and without a token.
    #[must_use]
    pub fn empty() -> Fixture<()> {
        Self::builder().empty()
    }

    /// Returns a builder for a fixture.
    pub fn builder() -> FixtureBuilder {
        FixtureBuilder {
            store: FaultyStore::new(MemoryStore::new()),
            prefix: "acme".into(),
            clock: ManualClock::new(Timestamp::constant(1_800_000_000, 0)),
            configure: Box::new(|tokens| tokens),
        }
    }
}

impl<T, S> Fixture<T, S> {
    /// Creates an app.
    ///
    /// # Panics
    ///
    /// Panics if the name is invalid or the store fails.
    pub async fn create_app(&self, name: &str) -> AppRecord {
        let created = self.tokens.create_app(name).await;
        created.expect("the app is created")
    }

    /// Issues a token to an app.
    ///
    /// # Panics
    ///
    /// Panics if the token cannot be issued.
    pub async fn issue(&self, app: &AppId, token: NewToken) -> IssuedToken {
        let issued = self.tokens.issue(app, token).await;
        issued.expect("the token is issued")
    }

    /// Returns a layer that accepts the fixture's tokens.
    pub fn layer(&self) -> ApiTokenLayer {
        ApiTokenLayer::new(&self.tokens)
    }

    /// Verifies a token, as a request with it does.
    ///
    /// # Errors
    ///
    /// Returns the rejection if the token is not admitted.
    pub async fn present(&self, token: &IssuedToken) -> Result<AppPrincipal, Rejection> {
        let token = token.token().expose().as_bytes();
        self.tokens.authenticator().authenticate(token).await
    }

    /// Verifies a token and returns why it is rejected; `None` if it is admitted.
    pub async fn refusal(&self, token: &IssuedToken) -> Option<RejectionKind> {
        let rejection = self.present(token).await.err()?;
        Some(rejection.kind())
    }
}

impl<S> Fixture<IssuedToken, S> {
    /// Returns the app.
    #[must_use]
    pub fn app(&self) -> &AppRecord {
        &self.issued.record().app
    }

    /// Returns the text of the app's token.
    #[must_use]
    pub fn token(&self) -> &str {
        self.issued.token().expose()
    }

    /// Returns the value of the `Authorization` header with the app's token.
    #[must_use]
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.token())
    }
}

/// A builder for a [`Fixture`].
#[must_use = "a builder does nothing until `build` or `empty` is called"]
pub struct FixtureBuilder<S = FaultyStore<MemoryStore>> {
    store: S,
    prefix: String,
    clock: ManualClock,
    configure: Box<dyn FnOnce(ApiTokensBuilder) -> ApiTokensBuilder + Send>,
}

impl<S: TokenRegistry + Clone> FixtureBuilder<S> {
    /// Sets the store. Defaults to a [`FaultyStore`] over a [`MemoryStore`].
    pub fn store<R: TokenRegistry + Clone>(self, store: R) -> FixtureBuilder<R> {
        FixtureBuilder {
            store,
            prefix: self.prefix,
            clock: self.clock,
            configure: self.configure,
        }
    }

    /// Sets the prefix of the tokens. Defaults to `acme`.
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// Sets the clock. Defaults to a new one that shows a time in January 2027.
    pub fn clock(mut self, clock: ManualClock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets further settings of the tokens and the authenticator, such as
    /// [`max_staleness`](ApiTokensBuilder::max_staleness).
    pub fn configure(
        mut self,
        configure: impl FnOnce(ApiTokensBuilder) -> ApiTokensBuilder + Send + 'static,
    ) -> Self {
        let before = self.configure;
        self.configure = Box::new(|tokens| configure(before(tokens)));
        self
    }

    /// Builds the fixture, with its app and token.
    ///
    /// # Panics
    ///
    /// Panics if the prefix is invalid or the store fails.
    pub async fn build(self) -> Fixture<IssuedToken, S> {
        let Fixture {
            tokens,
            store,
            clock,
            ..
        } = self.empty();
        let app = tokens.create_app("Billing").await;
        let app = app.expect("the app is created").id;
        let scopes = "invoices:read".parse().expect("these are scopes");
        let issued = tokens
            .issue(&app, NewToken::named("ci").scopes(scopes))
            .await;
        Fixture {
            issued: issued.expect("the token is issued"),
            tokens,
            store,
            clock,
        }
    }

    /// Builds the fixture without an app and without a token.
    ///
    /// # Panics
    ///
    /// Panics if the prefix is invalid.
    #[must_use]
    pub fn empty(self) -> Fixture<(), S> {
        let format = TokenFormat::new(&self.prefix).expect("the prefix is valid");
        let tokens = ApiTokens::builder(self.store.clone(), format).clock(self.clock.clone());
        Fixture {
            tokens: (self.configure)(tokens).build(),
            store: self.store,
            clock: self.clock,
            issued: (),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for FixtureBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixtureBuilder")
            .field("store", &self.store)
            .field("prefix", &self.prefix)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}
