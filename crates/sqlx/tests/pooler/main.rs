//! The store in PostgreSQL behind PgBouncer in transaction mode: the conformance suite, and tests specific
//! to poolers. Uses the server at `TEST_POSTGRES_URL`.

mod bouncer;
#[path = "../../../../tests/services/mod.rs"]
mod services;

use std::{
    process::ExitCode,
    str::FromStr,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{join, join_all},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::time::{sleep, timeout};
use tower_api_tokens::{
    ApiTokens, IssuedToken, NewToken, StoreErrorKind, TokenFormat, TokenRegistry, TokenStore,
};
use tower_api_tokens_sqlx::PostgresStore;

use bouncer::Bouncer;
use services::Test;

const DEADLINE: Duration = Duration::from_secs(20);

static URL: OnceLock<String> = OnceLock::new();

fn main() -> ExitCode {
    let bouncer = Bouncer::start();
    if let Some(bouncer) = &bouncer {
        URL.get_or_init(|| bouncer.url().to_owned());
    }
    let checks: &[Test] = &tower_api_tokens::registry_conformance!(list fresh());
    let mut tests = checks.to_vec();
    tests.push(("nodes_behind_a_pooler_share_a_store", || {
        nodes_behind_a_pooler_share_a_store().boxed()
    }));
    tests.push(("a_url_can_disable_prepared_statements", || {
        a_url_can_disable_prepared_statements().boxed()
    }));
    tests.push(("a_pooler_is_detected", || a_pooler_is_detected().boxed()));
    tests.push(("a_pooler_without_a_second_connection_is_used", || {
        a_pooler_without_a_second_connection_is_used().boxed()
    }));
    tests.push(("errors_of_the_pooler_itself_are_not_of_statements", || {
        errors_of_the_pooler_itself_are_not_of_statements().boxed()
    }));
    let service = "TEST_POSTGRES_URL and `pgbouncer`";
    tests.push(("an_unsupported_startup_parameter_is_reported", || {
        an_unsupported_startup_parameter_is_reported().boxed()
    }));
    let code = services::run(service, bouncer.is_some(), tests);
    if bouncer.is_some() {
        remove_schemas();
    }
    code
}

fn url() -> &'static str {
    URL.get().expect("PgBouncer was started")
}

/// The number of schemas created so far.
static SCHEMAS: AtomicU32 = AtomicU32::new(0);

fn schema() -> String {
    schema_name(SCHEMAS.fetch_add(1, Relaxed))
}

fn schema_name(number: u32) -> String {
    format!("Pooler {}_{number}", std::process::id())
}

#[tokio::main(flavor = "current_thread")]
async fn remove_schemas() {
    let server = std::env::var("TEST_POSTGRES_URL").unwrap();
    let mut connection = PgConnection::connect(&server).await.unwrap();
    for number in 0..SCHEMAS.load(Relaxed) {
        let name = schema_name(number);
        let remove = AssertSqlSafe(format!("DROP SCHEMA IF EXISTS \"{name}\" CASCADE"));
        let removed = sqlx::raw_sql(remove).execute(&mut connection).await;
        removed.unwrap();
    }
}

async fn open(schema: &str) -> PostgresStore {
    let builder = PostgresStore::builder(url()).schema(schema);
    builder.transaction_pooler().connect().await.unwrap()
}

async fn fresh() -> (PostgresStore, ()) {
    (open(&schema()).await, ())
}

fn tokens(store: &PostgresStore) -> ApiTokens {
    ApiTokens::new(store.clone(), TokenFormat::new("acme").unwrap())
}

async fn issue(store: &PostgresStore) -> IssuedToken {
    let app = tokens(store).create_app("Billing").await.unwrap();
    let issued = tokens(store).issue(&app.id, NewToken::named("ci")).await;
    issued.unwrap()
}

async fn nodes_behind_a_pooler_share_a_store() {
    let schema = schema();
    // They create the tables concurrently too.
    let nodes = join_all((0..4).map(|_| open(&schema))).await;
    let (here, there) = (tokens(&nodes[0]), tokens(&nodes[1]));
    let follower = here.follow().poll_interval(Duration::from_millis(50));
    let _follower = follower.start().await.unwrap();
    let app = there.create_app("Billing").await.unwrap();
    for _ in 0..10 {
        let issued = there.issue(&app.id, NewToken::named("ci")).await.unwrap();
        let presented = issued.token().expose().as_bytes();
        let admitted = async || here.authenticator().authenticate(presented).await.is_ok();
        assert!(admitted().await);
        there.revoke(issued.record().id).await.unwrap();
        let applied = async {
            while admitted().await {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, applied)
            .await
            .expect("the revocation is applied");
    }
}

async fn a_url_can_disable_prepared_statements() {
    let url = format!("{}?statement-cache-capacity=0", url());
    let builder = PostgresStore::builder(&url).schema(schema());
    let store = builder.connect().await.unwrap();
    let issued = issue(&store).await;
    let lookups = (0..50).map(|_| store.find(&issued.record().digest));
    for found in join_all(lookups).await {
        assert_eq!(found.unwrap().record.as_ref(), Some(issued.record()));
    }
}

async fn an_unsupported_startup_parameter_is_reported() {
    let pool = PgPool::connect_lazy(url()).unwrap();
    let refused = PostgresStore::builder_on(pool).connect().await;
    let error = refused.expect_err("PgBouncer refuses the connection");
    assert_eq!(error.kind(), StoreErrorKind::InvalidSettings);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("extra_float_digits"), "{source}");
    assert!(source.contains("ignore_startup_parameters"), "{source}");
}

async fn a_pooler_is_detected() {
    let own = PostgresStore::builder(url()).schema(schema());
    // PgBouncer rejects unknown parameters.
    let options = PgConnectOptions::from_str(url()).unwrap();
    let pool = PgPool::connect_lazy_with(options.extra_float_digits(None));
    let callers = PostgresStore::builder_on(pool).schema(schema());
    for builder in [own, callers] {
        let store = builder.connect().await.unwrap();
        let issued = issue(&store).await;
        let app = issued.record().app.id;
        for _ in 0..20 {
            let lookups = (0..20).map(|_| store.find(&issued.record().digest));
            let listed = (0..20).map(|_| store.app(&app));
            let (found, listed) = join(join_all(lookups), join_all(listed)).await;
            for answer in found {
                assert_eq!(answer.unwrap().record.as_ref(), Some(issued.record()));
            }
            for app in listed {
                assert!(app.unwrap().is_some());
            }
        }
    }
}

/// In session mode, the first connection keeps the only server process, and the second waits for it.
async fn a_pooler_without_a_second_connection_is_used() {
    for mode in ["session", "transaction"] {
        let bouncer = Bouncer::start_with(mode, 1).unwrap();
        let builder = PostgresStore::builder(bouncer.url()).schema(schema());
        let store = timeout(DEADLINE, builder.connect()).await;
        let store = store.unwrap_or_else(|_| panic!("{mode}: it opens in time"));
        let store = store.unwrap();
        tokens(&store).create_app("Billing").await.unwrap();
    }
}

async fn errors_of_the_pooler_itself_are_not_of_statements() {
    let (server, _) = url().rsplit_once('/').unwrap();
    let refused = PostgresStore::builder(&format!("{server}/nowhere")).connect();
    let error = refused.await.expect_err("PgBouncer has no such database");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("nowhere"), "{source}");
    assert!(!source.contains("transaction_pooler"), "{source}");
}
