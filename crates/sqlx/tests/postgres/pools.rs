//! Slow or blocked statements do not delay verification and the follower, which use other connections.

use std::{future::Future, time::Duration};

use futures_util::future::join_all;
use sqlx::{Connection, PgConnection, postgres::PgPoolOptions};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout},
};
use tower_api_tokens::{
    ApiTokens, AppId, AppQuery, AppRecord, Follower, IssuedToken, NewToken, TokenDigest,
    TokenFormat, TokenQuery, TokenRegistry, TokenStore, Usage, UsageLog,
};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    races::at,
    server::Server,
    services::Test,
    support::{Schema, execute, server, tokens},
};

const DEADLINE: Duration = Duration::from_secs(60);

/// `max_staleness`, and the timeout of a lookup.
const BOUND: Duration = Duration::from_secs(2);

/// The duration of each fault.
const TROUBLE: Duration = Duration::from_secs(3);

pub(crate) fn tests() -> Vec<Test> {
    tests![
        a_locked_token_row_does_not_affect_verification,
        slow_searches_do_not_affect_verification,
        a_flood_over_two_connections_does_not_affect_the_lease,
        hanging_lookups_do_not_affect_the_lease,
        a_dropped_search_releases_its_connection,
        the_number_of_connections_is_limited,
    ]
}

/// Tests that need a separate server.
pub(crate) fn tests_of_servers() -> Vec<Test> {
    tests![a_missing_synchronous_standby_does_not_affect_verification]
}

/// A node with a follower, and tokens of which one is cached.
struct Node {
    store: PostgresStore,
    platform: ApiTokens,
    follower: Follower,
    hot: IssuedToken,
    cold: Vec<IssuedToken>,
    app: AppRecord,
}

impl Node {
    async fn start(store: PostgresStore) -> Self {
        let platform = ApiTokens::builder(store.clone(), TokenFormat::new("acme").unwrap());
        let platform = platform.max_staleness(BOUND).lookup_timeout(BOUND).build();
        let follower = platform.follow().poll_interval(Duration::from_millis(100));
        let follower = follower.usage_interval(Duration::from_millis(100));
        let follower = follower.start().await.unwrap();
        let app = platform.create_app("Billing").await.unwrap();
        let issue = async || {
            platform
                .issue(&app.id, NewToken::named("ci"))
                .await
                .unwrap()
        };
        let hot = issue().await;
        let mut cold = Vec::new();
        for _ in 0..100 {
            cold.push(issue().await);
        }
        let node = Self {
            store,
            platform: platform.clone(),
            follower,
            hot,
            cold,
            app,
        };
        node.admits(&node.hot).await;
        node
    }

    async fn admits(&self, token: &IssuedToken) {
        let presented = token.token().expose().as_bytes();
        let admitted = self.platform.authenticator().authenticate(presented).await;
        admitted.unwrap_or_else(|error| panic!("a valid token is refused: {error:?}"));
    }

    /// Checks all the time that the cached token is admitted, and with `looks_up` also others that have to
    /// be looked up, and that the lease stays valid.
    async fn is_unharmed(&self, looks_up: bool) {
        let begun = Instant::now();
        let mut cold = self.cold.iter();
        while begun.elapsed() < TROUBLE {
            self.admits(&self.hot).await;
            if looks_up && let Some(token) = cold.next() {
                self.admits(token).await;
            }
            let age = self.platform.authenticator().stats().lease_age.unwrap();
            assert!(age < BOUND, "the lease is {age:?} old");
            sleep(Duration::from_millis(30)).await;
        }
        assert!(
            !looks_up || cold.len() < 90,
            "{} lookups were made",
            100 - cold.len()
        );
    }

    async fn stop(self) {
        let _ = timeout(DEADLINE, self.follower.stop()).await;
        self.store.close().await;
    }
}

/// A store with its own pools, and one on the caller's pool.
async fn stores(url: &str, schema: &str) -> [PostgresStore; 2] {
    let own = PostgresStore::builder(url).schema(schema).connect();
    let pool = PgPoolOptions::new().max_connections(10).connect(url);
    let shared = PostgresStore::builder_on(pool.await.unwrap()).schema(schema);
    [own.await.unwrap(), shared.connect().await.unwrap()]
}

fn spawn_many<T: Send + 'static, W: Future<Output = T> + Send + 'static>(
    count: usize,
    work: impl Fn(usize) -> W,
) -> JoinSet<T> {
    (0..count).map(work).collect()
}

async fn a_locked_token_row_does_not_affect_verification() {
    for number in 0..2 {
        let schema = Schema::new();
        let node = Node::start(stores(&server(), &schema.name).await[number].clone()).await;
        let mut hand = schema.connect().await;
        let hold = format!(
            "BEGIN; SELECT FROM api_tokens WHERE id = '{}' FOR UPDATE",
            node.hot.record().id
        );
        execute(&mut hand, &hold).await;
        let usage = [Usage::new(node.hot.record().id, at(1), 1)];
        let records = spawn_many(30, |_| {
            let store = node.store.clone();
            async move { store.record_usage(&usage).await }
        });
        node.is_unharmed(true).await;
        drop(records);
        execute(&mut hand, "ROLLBACK").await;
        // Usage is recorded again.
        let recorded = async {
            while node.store.record_usage(&usage).await.is_err() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(DEADLINE, recorded).await.unwrap();
        node.stop().await;
    }
}

/// Delays every statement that reads the name of a token called `slow`.
async fn slow_down(hand: &mut PgConnection, app: &AppRecord) {
    let columns: String = sqlx::query_scalar(
        "SELECT string_agg(CASE column_name WHEN 'name' THEN \
            'CASE WHEN name = ''slow'' THEN name || pg_sleep(0.05)::text ELSE name END AS name' \
            ELSE quote_ident(column_name) END, ', ' ORDER BY ordinal_position) \
         FROM information_schema.columns \
         WHERE table_schema = current_schema() AND table_name = 'api_token_details'",
    )
    .fetch_one(&mut *hand)
    .await
    .unwrap();
    let slow = format!(
        "INSERT INTO api_tokens (id, digest, mask, app_id, name, scopes, created_at) \
         SELECT gen_random_uuid(), sha256(n::text::bytea), 'acme_…aaaa', '{}', 'slow', '', 0 \
         FROM generate_series(1, 200) n; \
         ALTER VIEW api_token_details RENAME TO plain_records; \
         CREATE VIEW api_token_details AS SELECT {columns} FROM plain_records",
        app.id
    );
    execute(hand, &slow).await;
}

fn search(node: &Node) -> JoinHandle<Result<(), String>> {
    let store = node.store.clone();
    tokio::spawn(async move {
        let query = TokenQuery::default().name("no such name");
        let found = store.tokens(&query, at(1)).await;
        found.map(drop).map_err(|error| format!("{error:?}"))
    })
}

async fn slow_searches_do_not_affect_verification() {
    for number in 0..2 {
        let schema = Schema::new();
        let node = Node::start(stores(&server(), &schema.name).await[number].clone()).await;
        slow_down(&mut schema.connect().await, &node.app).await;
        let searches: Vec<_> = (0..12).map(|_| search(&node)).collect();
        let change = async {
            // They do not block revocations either.
            let (last, _) = node.cold.split_last().unwrap();
            let revoked = timeout(2 * TROUBLE, node.platform.revoke(last.record().id)).await;
            revoked.expect("it waits for no search").unwrap();
        };
        tokio::join!(node.is_unharmed(true), change);
        assert!(
            searches.iter().any(|search| !search.is_finished()),
            "they were slow"
        );
        for search in searches {
            search.abort();
        }
        node.stop().await;
    }
}

async fn a_dropped_search_releases_its_connection() {
    for number in 0..2 {
        let schema = Schema::new();
        let node = Node::start(stores(&server(), &schema.name).await[number].clone()).await;
        slow_down(&mut schema.connect().await, &node.app).await;
        // One by one, more than there are connections.
        for _ in 0..12 {
            let search = search(&node);
            sleep(Duration::from_millis(100)).await;
            search.abort();
        }
        let apps = node.store.apps(&AppQuery::default()).await;
        assert_eq!(apps.unwrap().items.len(), 1);
        node.stop().await;
    }
}

async fn a_flood_over_two_connections_does_not_affect_the_lease() {
    let schema = Schema::new();
    let builder = PostgresStore::builder(&server()).schema(&schema.name);
    let node = Node::start(builder.max_connections(2).connect().await.unwrap()).await;
    let flood = spawn_many(300, |client| {
        let store = node.store.clone();
        async move {
            for number in 0_usize.. {
                let digest = TokenDigest::of(format!("{client} {number}").as_bytes());
                // Some time out.
                drop(store.find(&digest).await);
            }
        }
    });
    node.is_unharmed(false).await;
    drop(flood);
    node.stop().await;
}

async fn hanging_lookups_do_not_affect_the_lease() {
    for number in 0..2 {
        let schema = Schema::new();
        let node = Node::start(stores(&server(), &schema.name).await[number].clone()).await;
        let mut hand = schema.connect().await;
        execute(
            &mut hand,
            "BEGIN; LOCK TABLE api_tokens IN ACCESS EXCLUSIVE MODE",
        )
        .await;
        let lookups = spawn_many(60, |number| {
            let (store, digest) = (node.store.clone(), TokenDigest::of(&number.to_be_bytes()));
            async move {
                timeout(Duration::from_secs(1), store.find(&digest))
                    .await
                    .is_err()
            }
        });
        node.is_unharmed(false).await;
        let hung = lookups
            .join_all()
            .await
            .into_iter()
            .filter(|hung| *hung)
            .count();
        assert!(hung > 50, "{hung} of the lookups hung");
        execute(&mut hand, "ROLLBACK").await;
        // Their connections are available again.
        let found = join_all(
            node.cold
                .iter()
                .map(|token| node.store.find(&token.record().digest)),
        );
        assert!(found.await.into_iter().all(|found| found.is_ok()));
        node.stop().await;
    }
}

async fn a_missing_synchronous_standby_does_not_affect_verification() {
    let server = Server::start_new(&[]).await;
    for number in 0..2 {
        let schema = format!("away_{number}");
        let node = Node::start(stores(&server.url(), &schema).await[number].clone()).await;
        let mut hand = PgConnection::connect(&server.url()).await.unwrap();
        let set = async |hand: &mut PgConnection, statement: &str| {
            execute(hand, statement).await;
            execute(hand, "SELECT pg_reload_conf()").await;
        };
        set(
            &mut hand,
            "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
        )
        .await;
        // Other sessions see it a moment later.
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        let revocations: Vec<_> = node.cold[50..90]
            .iter()
            .map(|token| {
                let (platform, id) = (node.platform.clone(), token.record().id);
                tokio::spawn(async move { platform.revoke(id).await })
            })
            .collect();
        let waiting = async {
            while sqlx::query_scalar::<_, i64>(waits)
                .fetch_one(&mut hand)
                .await
                .unwrap()
                == 0
            {
                assert!(
                    revocations
                        .iter()
                        .any(|revocation| !revocation.is_finished())
                );
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(DEADLINE, waiting).await.expect("a commit waits");
        let begun = Instant::now();
        let mut cold = node.cold[..45].iter();
        while begun.elapsed() < TROUBLE {
            node.admits(&node.hot).await;
            if let Some(token) = cold.next() {
                node.admits(token).await;
            }
            let age = node.platform.authenticator().stats().lease_age.unwrap();
            assert!(age < BOUND, "the lease is {age:?} old");
            sleep(Duration::from_millis(30)).await;
        }
        set(&mut hand, "ALTER SYSTEM RESET synchronous_standby_names").await;
        for revocation in revocations {
            // Those without a connection in time fail with that error.
            let _ = timeout(DEADLINE, revocation).await.unwrap().unwrap();
        }
        let again = async {
            while node
                .platform
                .revoke(node.cold[95].record().id)
                .await
                .is_err()
            {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(DEADLINE, again).await.expect("changes go on");
        node.stop().await;
    }
}

async fn the_number_of_connections_is_limited() {
    for (allowed, expected) in [(1, 3), (2, 3), (5, 6), (10, 11)] {
        let schema = Schema::new();
        let name = crate::support::unique();
        let url = format!("{}?application_name={name}", server());
        let builder = PostgresStore::builder(&url).schema(&schema.name);
        let store = builder.max_connections(allowed).connect().await.unwrap();
        let platform = tokens(&store);
        let follower = platform.follow().poll_interval(Duration::from_millis(20));
        let follower = follower.start().await.unwrap();
        let mut busy = spawn_many(40, |number| {
            let (store, digest) = (store.clone(), TokenDigest::of(&number.to_be_bytes()));
            let absent = AppId::new("absent").unwrap();
            async move {
                loop {
                    match number % 3 {
                        0 => assert!(store.find(&digest).await.unwrap().record.is_none()),
                        1 => assert!(store.app(&absent).await.unwrap().is_none()),
                        _ => assert!(store.apps(&AppQuery::default()).await.is_ok()),
                    }
                }
            }
        });
        let mut hand = schema.connect().await;
        let mut most = 0;
        let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
        let counting = async {
            let mut counts_at_most = 0;
            while counts_at_most < 20 {
                let open = sqlx::query_scalar::<_, i64>(count).bind(&name);
                most = most.max(open.fetch_one(&mut hand).await.unwrap());
                counts_at_most += u32::from(most >= expected);
                assert!(busy.try_join_next().is_none());
            }
        };
        let counted = timeout(DEADLINE, counting).await;
        assert_eq!(most, expected, "of {allowed}");
        counted.unwrap();
        busy.shutdown().await;
        follower.stop().await.unwrap();
        store.close().await;
    }
}
