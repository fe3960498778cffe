use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinHandle;
use tower_api_tokens::{
    ApiTokens, AppId, AppPrincipal, FleetMember, FleetSettings, Follower, IssuedToken, MemoryStore,
    NewToken, NodeQuery, NodeRecord, NodeRegistry, Rejection, TokenFormat, TokenRegistryExt,
    testing::{FaultyStore, ManualClock},
};

pub(crate) type Store = FaultyStore<MemoryStore>;

/// The bound of most nodes.
pub(crate) const BOUND: Duration = Duration::from_secs(5);

/// Long enough for every receipt.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// How far the clocks move at a time.
const STEP: Duration = Duration::from_millis(20);

/// A store that several processes share, and its clock.
pub(crate) struct Database {
    pub(crate) memory: MemoryStore,
    pub(crate) clock: ManualClock,
    clocks: Vec<ManualClock>,
    ticking: Option<JoinHandle<()>>,
}

impl Database {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        Self {
            memory: MemoryStore::with_clock(clock.clone()),
            clocks: vec![clock.clone()],
            clock,
            ticking: None,
        }
    }

    /// Adds a process with a clock of its own, which shows another time of day.
    pub(crate) fn process(&mut self, bound: Duration) -> Process {
        let hour = i64::try_from(self.clocks.len()).unwrap() * 3600;
        let clock = ManualClock::new(Timestamp::from_second(1_800_000_000 + hour).unwrap());
        self.clocks.push(clock.clone());
        let store = FaultyStore::new(self.memory.clone()).without_notifications();
        let tokens = ApiTokens::builder(store.clone(), TokenFormat::new("fleet").unwrap())
            .clock(clock.clone())
            .max_staleness(bound)
            .build();
        Process {
            tokens,
            store,
            clock,
        }
    }

    /// Moves all clocks along with the paused time of the runtime.
    pub(crate) fn tick(&mut self) {
        let clocks = self.clocks.clone();
        self.ticking = Some(tokio::spawn(async move {
            loop {
                tokio::time::sleep(STEP).await;
                for clock in &clocks {
                    clock.advance(STEP);
                }
            }
        }));
    }

    pub(crate) async fn declare_all_registered(&self) {
        let settings = FleetSettings::default().all_registered(true);
        self.memory
            .set_fleet(&settings, Timestamp::UNIX_EPOCH)
            .await
            .unwrap();
    }

    pub(crate) async fn nodes(&self) -> Vec<NodeRecord> {
        let page = self.memory.nodes(&NodeQuery::default()).await.unwrap();
        page.nodes.items
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(ticking) = &self.ticking {
            ticking.abort();
        }
    }
}

/// A process with its own clock and its own way to the database.
pub(crate) struct Process {
    pub(crate) tokens: ApiTokens,
    pub(crate) store: Store,
    pub(crate) clock: ManualClock,
}

impl Process {
    pub(crate) async fn join(&self) -> FleetMember {
        let joining = self.tokens.join_fleet().name("node").version("1.0.0");
        joining.start().await.unwrap()
    }

    pub(crate) async fn follow(&self) -> Follower {
        self.tokens.follow().start().await.unwrap()
    }

    pub(crate) async fn issue(&self) -> IssuedToken {
        let app = AppId::new("billing").unwrap();
        drop(self.tokens.create_app_with_id(app, "Billing").await);
        let new = NewToken::named("ci");
        self.tokens.issue(&app, new).await.unwrap()
    }

    pub(crate) async fn present(&self, token: &IssuedToken) -> Result<AppPrincipal, Rejection> {
        let presented = token.token().expose().as_bytes();
        self.tokens.authenticator().authenticate(presented).await
    }
}
