//! Lookups and reads of the log that reach different servers.

use std::time::Duration;

use jiff::Timestamp;
use proptest::{collection::vec, prelude::*};
use tower_api_tokens::{
    AppRecord, Authenticator, Clock, Follower, Metadata, RejectionKind, TokenId,
    testing::ManualClock,
};

use crate::{
    cluster::{APPS, Cluster, app_id},
    fleet::BOUND,
    verdicts::config,
};

/// How often the log is at least read from the primary.
const READ_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
enum Step {
    Issue,
    Revoke(usize),
    /// An app gets another name and metadata, and is disabled or enabled.
    Edit(u32, bool),
    Present(usize, usize),
    PresentGarbage(usize),
    Replicate(usize),
    /// Whether the log is read from the server that lags, for all of the next reads but the last.
    LogLags(bool),
    /// Whether the other server answers.
    OtherAnswers(bool),
    Promote,
    /// Time passes, and the followers read the log if it is time to.
    Advance(Duration),
    /// Time passes, and the followers read the log.
    Tick(Duration),
}

fn step(log_lags: bool) -> impl Strategy<Value = Step> {
    let node = 0_usize..2;
    let change = prop_oneof![
        any::<usize>().prop_map(Step::Revoke),
        (0..APPS, prop::bool::weighted(0.3)).prop_map(|(app, disabled)| Step::Edit(app, disabled)),
    ];
    prop_oneof![
        4 => Just(Step::Issue),
        8 => change,
        12 => (node.clone(), any::<usize>()).prop_map(|(node, token)| Step::Present(node, token)),
        1 => node.prop_map(Step::PresentGarbage),
        3 => (0_usize..8).prop_map(Step::Replicate),
        2 * u32::from(log_lags) => any::<bool>().prop_map(Step::LogLags),
        1 => any::<bool>().prop_map(Step::OtherAnswers),
        1 => Just(Step::Promote),
        8 => (1_u64..=1000).prop_map(|ms| Step::Advance(Duration::from_millis(ms))),
        6 => (1_u64..=1000).prop_map(|ms| Step::Tick(Duration::from_millis(ms))),
    ]
}

struct Token {
    number: usize,
    id: TokenId,
    issued_at: Duration,
    revoked_at: Option<Duration>,
}

/// An app since an edit. Its name shows the number of the edit, and its metadata too.
struct Edition {
    made_at: Duration,
    disabled: bool,
}

struct Fixture {
    cluster: Cluster,
    clock: ManualClock,
    nodes: Vec<(Authenticator, Follower)>,
    tokens: Vec<Token>,
    apps: Vec<Vec<Edition>>,
    promoted: bool,
    /// The bound, plus how much later the log may have shown a change.
    bound: Duration,
    /// When the log was last read.
    read_at: Duration,
}

impl Fixture {
    async fn new() -> Self {
        let cluster = Cluster::new();
        let clock = ManualClock::new(Timestamp::new(1_800_000_000, 0).unwrap());
        let mut fixture = Self {
            cluster: cluster.clone(),
            clock: clock.clone(),
            nodes: Vec::new(),
            tokens: Vec::new(),
            apps: (0..APPS).map(|_| Vec::new()).collect(),
            promoted: false,
            bound: BOUND,
            read_at: Duration::ZERO,
        };
        for app in 0..APPS {
            fixture.edit(app, false);
        }
        for _ in 0..5 {
            fixture.issue();
        }
        fixture.cluster.servers().replicate(usize::MAX);
        for preloads in [true, false] {
            let authenticator = Authenticator::builder(cluster.clone())
                .clock(clock.clone())
                .max_staleness(BOUND)
                .build();
            let follower = authenticator.follow(cluster.clone());
            let follower = follower.poll_interval(Duration::from_secs(1 << 30));
            let follower = match preloads {
                true => follower.preload(|_| ()),
                false => follower,
            };
            let follower = follower.start().await.unwrap();
            fixture.nodes.push((authenticator, follower));
        }
        fixture
    }

    fn issue(&mut self) {
        let number = self.tokens.len();
        let now = self.clock.now();
        let id = self
            .cluster
            .servers()
            .issue(u32::try_from(number).unwrap(), now);
        self.tokens.push(Token {
            number,
            id,
            issued_at: self.clock.monotonic(),
            revoked_at: None,
        });
    }

    fn edit(&mut self, app: u32, disabled: bool) {
        let editions = &mut self.apps[app as usize];
        let (number, now) = (editions.len().to_string(), self.clock.now());
        let mut record = AppRecord::new(app_id(app), &number, Timestamp::UNIX_EPOCH);
        record.metadata = Metadata::new([("edition", number)]).unwrap();
        record.disabled_at = disabled.then_some(now);
        self.cluster.servers().edit(record);
        editions.push(Edition {
            made_at: self.clock.monotonic(),
            disabled,
        });
    }

    async fn take(&mut self, step: Step) {
        let now = self.clock.now();
        match step {
            Step::Issue => self.issue(),
            Step::Edit(app, disabled) => self.edit(app, disabled),
            Step::Revoke(token) => {
                let number = token % self.tokens.len();
                let token = &mut self.tokens[number];
                self.cluster.servers().revoke(token.id, now);
                token.revoked_at.get_or_insert(self.clock.monotonic());
            }
            Step::Present(node, token) => {
                self.check(node, &self.tokens[token % self.tokens.len()])
                    .await;
            }
            Step::PresentGarbage(node) => {
                let refused = self.nodes[node].0.authenticate(b"garbage").await;
                let refused = refused.unwrap_err().kind();
                assert_eq!(refused, RejectionKind::UnknownToken);
            }
            Step::Replicate(changes) => self.cluster.servers().replicate(changes),
            Step::LogLags(lags) => {
                // That a server lags only shows when another one has answered.
                self.bound = BOUND + READ_EVERY;
                self.cluster.servers().log_lags = lags;
            }
            Step::OtherAnswers(answers) => self.cluster.servers().other_answers = answers,
            Step::Promote => {
                if !self.promoted {
                    self.promoted = true;
                    self.cluster.servers().promote(0, now);
                    self.read_log().await;
                }
            }
            Step::Advance(time) => {
                let left = self.read_at + READ_EVERY - self.clock.monotonic();
                self.clock.advance(time.min(left));
                if time >= left {
                    self.read_log().await;
                }
            }
            Step::Tick(time) => {
                let left = self.read_at + READ_EVERY - self.clock.monotonic();
                self.clock.advance(time.min(left));
                self.read_log().await;
            }
        }
    }

    /// Reads the log from whichever server it is, and finally from the primary.
    async fn read_log(&mut self) {
        self.read_at = self.clock.monotonic();
        let lags = self.cluster.servers().log_lags;
        for (_, follower) in &self.nodes {
            if lags {
                let _ = follower.catch_up().await;
            }
        }
        self.cluster.servers().log_lags = false;
        for (_, follower) in &self.nodes {
            follower.catch_up().await.unwrap();
        }
        self.cluster.servers().log_lags = lags;
    }

    async fn check(&self, node: usize, token: &Token) {
        let text = format!("token-{}", token.number);
        let verdict = self.nodes[node].0.authenticate(text.as_bytes()).await;
        let now = self.clock.monotonic();
        // What the app was at some time within the bound.
        let editions = &self.apps[token.number % self.apps.len()];
        let is_outdated = |edition: usize| {
            let replaced = editions.get(edition + 1);
            replaced.is_some_and(|replaced| replaced.made_at + self.bound <= now)
        };
        let may_be_disabled = (0..editions.len()).any(|n| editions[n].disabled && !is_outdated(n));
        if let Ok(principal) = &verdict {
            let edition: usize = principal.app_name().parse().unwrap();
            assert!(
                !editions[edition].disabled && !is_outdated(edition),
                "edition {edition} of {} since {:?}; {:?}",
                editions.len(),
                now - editions[edition].made_at,
                self.nodes[node].0.stats(),
            );
            assert_eq!(principal.metadata("edition"), Some(principal.app_name()));
        }
        let refused = verdict.err().map(|rejection| rejection.kind());
        if refused == Some(RejectionKind::DisabledApp) {
            assert!(may_be_disabled, "the app has been enabled for long");
            return;
        }
        match (token.revoked_at, refused) {
            (Some(revoked_at), None) => assert!(
                now < revoked_at + self.bound,
                "admitted {:?} after the revocation; {:?}",
                now - revoked_at,
                self.nodes[node].0.stats(),
            ),
            (None, Some(kind)) => assert!(
                kind == RejectionKind::UnknownToken && now < token.issued_at + self.bound,
                "refused {:?} after it was issued: {kind}; {:?}",
                now - token.issued_at,
                self.nodes[node].0.stats(),
            ),
            (_, Some(kind)) => assert!(
                matches!(
                    kind,
                    RejectionKind::UnknownToken | RejectionKind::RevokedToken
                ),
                "{kind}"
            ),
            (None, None) => {}
        }
    }
}

fn run(steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut fixture = Fixture::new().await;
        for step in steps {
            fixture.take(step).await;
        }
        // A server that lags, however far, does not keep the others from admitting.
        for _ in 0..12 {
            fixture.take(Step::Tick(READ_EVERY)).await;
            for token in &fixture.tokens {
                for node in 0..2 {
                    fixture.check(node, token).await;
                }
            }
        }
    });
}

proptest! {
    #![proptest_config(config(256))]
    #[test]
    fn lagging_and_abandoned_servers_do_not_break_the_bound(
        steps in vec(step(false), 1..100),
    ) {
        run(steps);
    }

    #[test]
    fn lagging_and_abandoned_servers_do_not_break_the_bound_even_as_source_of_the_log(steps in vec(step(true), 1..100)) {
        run(steps);
    }
}

/// A node that has read the log up to the latest change, and a token that was revoked after the
/// other server got its last change.
async fn revoked_on_one_server(promote: bool, lost: usize) -> (Fixture, Duration) {
    let mut fixture = Fixture::new().await;
    let now = fixture.clock.now();
    if promote {
        fixture.cluster.servers().promote(lost, now);
    }
    fixture.take(Step::Revoke(0)).await;
    fixture.take(Step::Tick(READ_EVERY)).await;
    let began = fixture.clock.monotonic();
    (fixture, began)
}

#[tokio::test(start_paused = true)]
async fn a_paused_standby_admits_no_revoked_token_beyond_the_bound() {
    let (mut fixture, began) = revoked_on_one_server(false, 0).await;
    while fixture.clock.monotonic() < began + 10 * BOUND {
        fixture.check(0, &fixture.tokens[0]).await;
        fixture.check(1, &fixture.tokens[0]).await;
        fixture.check(1, &fixture.tokens[1]).await;
        fixture.take(Step::Tick(READ_EVERY)).await;
    }
}

/// A node that only reads the log from a paused standby, after a token was revoked on the primary
/// and a lookup of something else has shown that.
async fn revoked_beyond_the_log() -> Fixture {
    let mut fixture = Fixture::new().await;
    fixture.cluster.servers().log_lags = true;
    fixture.take(Step::Revoke(0)).await;
    // Each of the servers answers one of them.
    for garbage in ["garbage", "other-garbage"] {
        let refused = fixture.nodes[1].0.authenticate(garbage.as_bytes()).await;
        assert_eq!(refused.unwrap_err().kind(), RejectionKind::UnknownToken);
    }
    assert_eq!(fixture.nodes[1].0.stats().revision_lag, 1);
    fixture
}

#[tokio::test(start_paused = true)]
async fn a_paused_standby_with_the_log_admits_no_revoked_token_beyond_the_bound() {
    let mut fixture = revoked_beyond_the_log().await;
    for _ in 0..50 {
        fixture.nodes[1].1.catch_up().await.unwrap();
        // Each server is the first to answer.
        for token in [0, 0, 1, 1, 1, 0] {
            fixture.check(1, &fixture.tokens[token]).await;
        }
        fixture.take(Step::PresentGarbage(1)).await;
        fixture.clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_standby_as_the_only_server_leads_to_503() {
    let fixture = revoked_beyond_the_log().await;
    fixture.cluster.servers().primary_answers = false;
    let verdict = async |text: &str| {
        let verdict = fixture.nodes[1].0.authenticate(text.as_bytes()).await;
        verdict.map(drop).map_err(|rejection| rejection.kind())
    };
    assert_eq!(verdict("token-0").await, Ok(()));
    // For one minute. After that, a change that no server shows any more counts as lost with its
    // server.
    let mut left = Duration::from_secs(60);
    while left > BOUND {
        left -= BOUND;
        fixture.clock.advance(BOUND);
        fixture.nodes[1].1.catch_up().await.unwrap();
        for text in ["token-0", "token-1", "unknown"] {
            assert_eq!(verdict(text).await, Err(RejectionKind::StoreFailure));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_primary_admits_no_revoked_token_beyond_the_bound() {
    // It has made as many changes as the server that took over, and different ones.
    for lost in [0, 1] {
        let (mut fixture, began) = revoked_on_one_server(true, lost).await;
        while fixture.clock.monotonic() < began + 10 * BOUND {
            fixture.check(0, &fixture.tokens[0]).await;
            fixture.check(1, &fixture.tokens[0]).await;
            fixture.check(1, &fixture.tokens[2]).await;
            fixture.take(Step::Tick(READ_EVERY)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn servers_that_all_lag_too_far_lead_to_503() {
    let cluster = Cluster::new();
    let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
    let token = cluster.servers().issue(0, clock.now());
    // Lookups alternate between the servers, so this one uses a store with the other server only.
    let lagging = Cluster::new();
    lagging.servers().issue(0, clock.now());
    let authenticator = Authenticator::builder(lagging)
        .clock(clock.clone())
        .max_staleness(BOUND)
        .build();
    let follower = authenticator.follow(cluster.clone());
    let follower = follower.poll_interval(Duration::from_secs(1 << 30));
    let follower = follower.start().await.unwrap();
    authenticator.authenticate(b"token-0").await.unwrap();
    cluster.servers().revoke(token, clock.now());
    clock.advance(Duration::from_secs(1));
    follower.catch_up().await.unwrap();
    authenticator.authenticate(b"token-0").await.unwrap();
    clock.advance(BOUND - Duration::from_secs(1));
    follower.catch_up().await.unwrap();
    let refused = authenticator.authenticate(b"token-0").await.unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::StoreFailure);
    let unknown = authenticator.authenticate(b"unknown").await.unwrap_err();
    assert_eq!(unknown.kind(), RejectionKind::StoreFailure, "nor is it 401");
}
