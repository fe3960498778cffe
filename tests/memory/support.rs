use std::time::Duration;

use jiff::Timestamp;
use tower_api_tokens::{
    ApiTokens, AppPrincipal, AppRecord, IssuedToken, MemoryStore, NewToken, Rejection,
    RejectionKind, TokenFormat,
    testing::{FaultyStore, ManualClock},
};

pub(crate) type Store = FaultyStore<MemoryStore>;

/// The bound that the tests set.
pub(crate) const BOUND: Duration = Duration::from_secs(5);

/// A node: what it shares with others is the store alone. Word of changes is lost, unless it is put on
/// a store of another kind.
pub(crate) struct Node {
    pub(crate) tokens: ApiTokens,
    pub(crate) store: Store,
    pub(crate) clock: ManualClock,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::on(FaultyStore::new(MemoryStore::new()).without_word())
    }

    pub(crate) fn on(store: Store) -> Self {
        let clock = ManualClock::new(Timestamp::new(1_800_000_000, 0).unwrap());
        let format = TokenFormat::new("acme").unwrap();
        let tokens = ApiTokens::builder(store.clone(), format)
            .clock(clock.clone())
            .max_staleness(BOUND)
            .build();
        Self {
            tokens,
            store,
            clock,
        }
    }

    pub(crate) async fn app(&self) -> AppRecord {
        self.tokens.create_app("Billing").await.unwrap()
    }

    pub(crate) async fn issue(&self, app: &AppRecord) -> IssuedToken {
        self.tokens
            .issue(&app.id, NewToken::named("ci"))
            .await
            .unwrap()
    }

    pub(crate) async fn present(&self, token: &IssuedToken) -> Result<AppPrincipal, Rejection> {
        let presented = token.token().expose().as_bytes();
        self.tokens.authenticator().authenticate(presented).await
    }

    pub(crate) async fn refusal(&self, token: &IssuedToken) -> Option<RejectionKind> {
        self.present(token).await.err().map(|r| r.kind())
    }
}
