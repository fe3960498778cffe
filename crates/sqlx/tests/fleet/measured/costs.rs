//! What each kind of statement costs the database.

use std::sync::atomic::Ordering::Relaxed;

use fleet_simulation::{Cost, Costs};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use sqlx::{Connection, Executor, PgConnection, postgres::PgListener};
use tower_api_tokens::{
    ApiTokens, ChangeLog, TokenDigest, TokenFormat, TokenId, TokenStore, Usage, UsageLog,
};
use tower_api_tokens_sqlx::PostgresStore;

use super::processor::Processes;
use crate::{
    network::Network,
    node::{Duty, Place, Settings},
    scene::Scene,
};

/// How many tokens there are.
const TOKENS: usize = 200;

/// How many connections listen, and how many lookups run concurrently.
const CONNECTIONS: usize = 40;

const NODES: usize = 3;

/// A cost, by its name, and what the simulation assumes.
pub(crate) type Compared = (&'static str, Cost, Cost);

struct Bench {
    scene: Scene,
    network: Network,
    processes: Processes,
}

impl Bench {
    fn url(&self, role: &str) -> String {
        let address = self.network.address();
        format!("postgres://{role}@{address}/postgres?sslmode=disable")
    }

    /// What has been spent so far.
    fn spent(&self) -> Cost {
        let nodes = self.scene.nodes.iter().map(|node| &node.network);
        let mut spent = Cost::default();
        for network in nodes.chain([&self.network]) {
            spent.bytes += network.traffic.bytes.load(Relaxed) as f64;
            spent.statements += network.traffic.statements.load(Relaxed) as f64;
        }
        spent.processor = self.processes.microseconds();
        spent
    }

    /// The cost of one of `count` repetitions.
    async fn of_each(&self, count: usize, mut repeated: impl AsyncFnMut(usize)) -> Cost {
        // The first calls prepare statements.
        for n in 0..2 {
            repeated(n).await;
        }
        let before = self.spent();
        for n in 2..count + 2 {
            repeated(n).await;
        }
        difference(self.spent(), before, count)
    }
}

fn difference(after: Cost, before: Cost, count: usize) -> Cost {
    let count = count as f64;
    Cost {
        processor: (after.processor - before.processor) / count,
        bytes: (after.bytes - before.bytes) / count,
        statements: (after.statements - before.statements) / count,
    }
}

/// Measures every cost.
pub(crate) async fn measure() -> Vec<Compared> {
    let scene = Scene::without_nodes(Settings::DEFAULT, 0).await;
    let mut bench = Bench {
        network: Network::to(vec![scene.server.address()]).await,
        processes: Processes::of(&scene.server.url()).await,
        scene,
    };
    let store = PostgresStore::builder(&bench.url("recorder"))
        .read_only()
        .max_connections(2)
        .connect()
        .await
        .unwrap();
    let first = store.revision().await.unwrap();
    let issued = bench.scene.manager.issue(TOKENS).await;
    let ids: Vec<TokenId> = issued
        .iter()
        .map(|issued| issued.id.parse().unwrap())
        .collect();
    let digests: Vec<_> = issued
        .iter()
        .map(|issued| TokenDigest::of(issued.token.as_bytes()))
        .collect();
    let latest = store.revision().await.unwrap();
    let changes = (latest.number - first.number) as usize;

    let lookup = bench
        .of_each(2000, async |n| {
            let found = store.find(&digests[n % TOKENS]).await.unwrap();
            assert!(found.record.is_some());
        })
        .await;
    let lookup_of_many = bench
        .of_each(100, async |_| {
            store.find_many(&digests).await.unwrap();
        })
        .await;
    let poll = bench
        .of_each(2000, async |_| {
            store.changes(latest, 1000).await.unwrap();
        })
        .await;
    let poll_of_many = bench
        .of_each(200, async |_| {
            store.changes(first, 1000).await.unwrap();
        })
        .await;
    let record = async |ids: &[TokenId], n: usize| {
        let at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(n as i64);
        let usages: Vec<_> = ids.iter().map(|id| Usage::new(*id, at, 1)).collect();
        store.record_usage(&usages).await.unwrap();
    };
    let usage = bench
        .of_each(500, async |n| record(&ids[..1], 1 + n).await)
        .await;
    let usage_of_many = bench
        .of_each(50, async |n| record(&ids, 1000 + n).await)
        .await;
    let notification = notification(&bench).await;
    let change = change(&bench, &ids).await;
    let connect = connect(&bench, &digests, lookup).await;
    let before = bench.spent();
    let place = Place::at(&[bench.scene.server.address()]).duty(Duty::Record);
    bench.scene.start_nodes(&vec![place; NODES]).await;
    let start = difference(bench.spent(), before, NODES);

    let assumed = Costs::MEASURED;
    vec![
        ("start of a node", start, assumed.start),
        ("connection", connect, assumed.connect),
        ("poll", poll, assumed.poll),
        (
            "change that is read",
            difference(poll_of_many, poll, changes),
            assumed.change_read,
        ),
        ("lookup", lookup, assumed.lookup),
        (
            "token of a lookup of many",
            difference(lookup_of_many, lookup, TOKENS),
            assumed.token_read,
        ),
        ("recording of uses", usage, assumed.usage),
        (
            "token whose uses are recorded",
            difference(usage_of_many, usage, TOKENS - 1),
            assumed.use_recorded,
        ),
        ("notification", notification, assumed.notification),
        ("change", change, assumed.change),
    ]
}

/// Notifications of another schema, so that only the connections have work.
async fn notification(bench: &Bench) -> Cost {
    let mut sender = PgConnection::connect(&bench.scene.server.url())
        .await
        .unwrap();
    let mut listeners = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut listener = PgListener::connect(&bench.url("edge")).await.unwrap();
        listener.listen("api_token_changes").await.unwrap();
        listeners.push(listener);
    }
    let cost = bench
        .of_each(200, async |_| {
            sender
                .execute("NOTIFY api_token_changes, 'other'")
                .await
                .unwrap();
            join_all(listeners.iter_mut().map(PgListener::recv)).await;
        })
        .await;
    difference(cost, Cost::default(), CONNECTIONS)
}

async fn change(bench: &Bench, ids: &[TokenId]) -> Cost {
    let store = PostgresStore::connect(&bench.url("console")).await.unwrap();
    let tokens = ApiTokens::new(store, TokenFormat::new("fleet").unwrap());
    let revoked = ids.iter().skip(TOKENS / 2);
    let mut revoked = revoked.copied();
    bench
        .of_each(TOKENS / 2 - 2, async |_| {
            tokens.revoke(revoked.next().unwrap()).await.unwrap();
        })
        .await
}

/// Another connection for lookups, without the lookup.
async fn connect(bench: &Bench, digests: &[TokenDigest], lookup: Cost) -> Cost {
    let store = PostgresStore::builder(&bench.url("recorder"))
        .read_only()
        .max_connections(30)
        .connect()
        .await
        .unwrap();
    let traffic = &bench.network.traffic;
    let (before, open) = (bench.spent(), traffic.open.load(Relaxed));
    let lookups = digests.iter().take(CONNECTIONS);
    for found in join_all(lookups.map(|digest| store.find(digest))).await {
        found.unwrap();
    }
    let opened = traffic.open.load(Relaxed) - open;
    let all = difference(bench.spent(), before, 1);
    let lookups = CONNECTIONS as f64;
    let of_lookups = Cost {
        processor: lookups * lookup.processor,
        bytes: lookups * lookup.bytes,
        statements: lookups * lookup.statements,
    };
    difference(all, of_lookups, usize::try_from(opened).unwrap())
}
