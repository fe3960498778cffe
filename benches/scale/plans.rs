//! Prints what each statement of the store reads, from the plans that the server reports.

use std::{
    collections::BTreeSet,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tower_api_tokens::{
    ApiTokens, ChangeLog, TokenCursor, TokenFormat, TokenQuery, TokenRegistry, TokenRegistryExt,
    TokenStatus, TokenStore, Usage, UsageLog,
};
use tower_api_tokens_sqlx::PostgresStore;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};

use crate::{
    first_pages::{Sample, first_pages, limit_of, plain},
    load::{AGE, Platform},
};

/// `auto_explain` reports the plan of each statement, including those in triggers, to the client
/// that sent it.
const SETTINGS: &str = "options[session_preload_libraries]=auto_explain\
    &options[auto_explain.log_min_duration]=0\
    &options[auto_explain.log_nested_statements]=on\
    &options[auto_explain.log_analyze]=on\
    &options[auto_explain.log_buffers]=on\
    &options[client_min_messages]=log";

/// The target of the events in which sqlx logs the server's notices.
const TARGET: &str = "sqlx::postgres::notice";

/// Opens a store whose plans the server reports.
async fn open(platform: &Platform) -> PostgresStore {
    let separator = if platform.url.contains('?') { '&' } else { '?' };
    let url = format!("{}{separator}{SETTINGS}", platform.url);
    let builder = PostgresStore::builder(&url).schema(platform.schema);
    let store = builder.max_connections(1).connect().await;
    store.expect("the store opens")
}

fn format(prefix: &str) -> TokenFormat {
    TokenFormat::new(prefix).expect("it is a prefix")
}

pub(crate) async fn run(plans: &Plans, platform: &Platform) {
    let store = open(platform).await;
    let tokens = ApiTokens::builder(store.clone(), format("acme_live"))
        .with_issued_format(format("acme_test"))
        .build();

    let now = Timestamp::now();
    let revision = store.revision().await.expect("the store answers");
    let after = |n| TokenQuery::default().after(TokenCursor::from(Platform::id(n)));
    println!("\n| {} tokens | reads |\n|---|---|", platform.tokens);
    let explained = Explained { plans, platform };
    let find = async |n| store.find(&Platform::digest(n)).await.map(drop);
    explained.print("find", find).await;
    let get = async |n| tokens.get(Platform::id(n)).await.map(drop);
    explained.print("get", get).await;
    let page = async |n| tokens.list(&after(n).app(platform.app(n))).await.map(drop);
    explained.print("page of an app", page).await;
    let page = async |n| tokens.list(&after(n)).await.map(drop);
    explained.print("page of all", page).await;
    let revoked = |n| after(n).status(TokenStatus::Revoked);
    let page = async |n| tokens.list(&revoked(n)).await.map(drop);
    explained.print("page of all that are revoked", page).await;
    let page = async |n| store.live(Some(Platform::id(n)), 1000, now).await.map(drop);
    explained.print("page of a preload", page).await;
    let changes = async |_| store.changes(revision, 1000).await.map(drop);
    explained.print("changes", changes).await;
    let rotate = async |n| {
        tokens
            .rotate(Platform::id(n), Duration::ZERO)
            .await
            .map(drop)
    };
    explained.print("rotate", rotate).await;
    let revoke = async |n| tokens.revoke(Platform::id(n)).await.map(drop);
    explained.print("revoke", revoke).await;
    let record = async |n| {
        store
            .record_usage(&[Usage::new(Platform::id(n), now, 1)])
            .await
    };
    explained.print("record usage", record).await;
    let purge = async |_| store.purge(now - AGE / 2, 1000).await.map(drop);
    explained.print("purge", purge).await;
    store.close().await;
}

/// Prints how many pages of the database the first page of each listing reads.
pub(crate) async fn first_pages_of(plans: &Plans, platform: &Platform) {
    let (store, now) = (open(platform).await, Timestamp::now());
    let middle = platform.tokens / 2;
    let sample = Sample {
        app: platform.app(middle),
        id: Platform::id(middle),
        digest: Platform::digest(middle),
        now,
    };
    let read = async |query: &TokenQuery| {
        plans.take();
        let page = store.tokens(query, now).await;
        let found = page.expect("the store answers").items.len();
        (pages(&plans.take().concat()), found)
    };
    let (plain, _) = read(&plain()).await;
    println!(
        "\n| first page of {} tokens | tokens | pages read | at most |",
        platform.tokens
    );
    println!("|---|---|---|---|");
    for (name, query) in first_pages(&sample) {
        let (pages, found) = read(&query).await;
        println!("| {name} | {found} | {pages} | {} |", limit_of(plain));
    }
    println!();
    store.close().await;
}

/// Prints the plans of calls.
struct Explained<'a> {
    plans: &'a Plans,
    platform: &'a Platform,
}

impl Explained<'_> {
    /// Makes a call several times, each time with another token, because the server may change the
    /// plan of a prepared statement after the fifth time.
    async fn print<E: Debug>(&self, name: &str, call: impl AsyncFn(u64) -> Result<(), E>) {
        self.plans.take();
        let middle = self.platform.tokens / 2;
        let live =
            (middle..).filter(|n| !self.platform.has_ended(*n) && !Platform::is_replaced(*n));
        for n in live.take(8) {
            call(n).await.expect("the store answers");
        }
        let plans = self.plans.take();
        let scans: BTreeSet<_> = plans.iter().flat_map(|plan| scans(plan)).collect();
        let scans: Vec<_> = scans.into_iter().collect();
        println!("| {name} | {} |", scans.join("; "));
    }
}

/// The plans that the server reported.
#[derive(Clone, Default)]
pub(crate) struct Plans(Arc<Mutex<Vec<String>>>);

impl Plans {
    /// Collects the plans of all stores from here on.
    pub(crate) fn collect() -> Self {
        let plans = Self::default();
        let layer = plans
            .clone()
            .with_filter(Targets::new().with_target(TARGET, tracing::Level::TRACE));
        tracing_subscriber::registry().with(layer).init();
        plans
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Subscriber> Layer<S> for Plans {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut self.clone());
    }
}

impl Visit for Plans {
    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        plans.push(format!("{value:?}"));
    }
}

/// Returns how many pages a statement has read, of its plan with buffers.
fn pages(plan: &str) -> u64 {
    let buffers = plan.split_once("Buffers: shared ").map(|(_, rest)| rest);
    let line = buffers.and_then(|rest| rest.split(['\n', '\\']).next());
    let counts = line.into_iter().flat_map(|line| line.split(' '));
    let counts = counts.filter_map(|count| count.split_once('='));
    let counts = counts.filter(|(kind, _)| ["hit", "read"].contains(kind));
    counts.filter_map(|(_, n)| n.parse::<u64>().ok()).sum()
}

/// Returns how a plan reads tables, for example `Index Scan using api_tokens_pkey on api_tokens`.
fn scans(plan: &str) -> impl Iterator<Item = String> {
    let nodes = plan.split("\\n").flat_map(str::lines);
    nodes.filter_map(|line| {
        let (node, _) = line.split_once("  (cost=")?;
        let node = node.trim_start_matches([' ', '-', '>']);
        let (scan, table) = node.split_once(" on ")?;
        let table = table.split(' ').next()?;
        let reads = scan.contains("Scan") && table.starts_with("api_token");
        reads.then(|| format!("{scan} on {table}"))
    })
}
