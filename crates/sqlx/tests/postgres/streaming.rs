//! All live tokens in one `COPY`.

use futures_util::{StreamExt, TryStreamExt};
use sqlx::{Connection, PgConnection};
use tower_api_tokens::{ApiTokens, ChangeLog, Mutation, Op, TokenFormat, TokenRegistry};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    log::token,
    races::{app, at},
    services::Test,
    support::{Schema, execute, server},
};

/// More than fits into the buffers between the server and a reader that waits.
const MANY: u128 = 40_000;

pub(crate) fn tests() -> Vec<Test> {
    tests![
        a_copy_that_is_terminated_is_not_complete,
        the_first_page_of_a_copy_has_an_estimate_of_all_tokens,
        a_preloaded_cache_reads_the_tokens_by_copy,
    ]
}

async fn fill(store: &PostgresStore, tokens: u128) {
    let app = app(store).await;
    let numbers: Vec<_> = (1..=tokens).collect();
    for batch in numbers.chunks(1000) {
        let records = batch.iter().map(|number| token(&app, *number)).collect();
        let insert = Mutation::new(Op::InsertTokens(records), at(0));
        store.apply(&insert).await.unwrap();
    }
}

async fn a_copy_that_is_terminated_is_not_complete() {
    let schema = Schema::new();
    let store = schema.open().await;
    fill(&store, MANY).await;
    let mut stream = store.live_stream(at(0)).unwrap();
    assert_eq!(stream.try_next().await.unwrap().unwrap().tokens.len(), 1000);
    let mut administrator = PgConnection::connect(&server()).await.unwrap();
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE query LIKE 'COPY%' AND pid <> pg_backend_pid() AND state = 'active'";
    execute(&mut administrator, terminate).await;
    let rest: Vec<_> = stream.collect().await;
    assert!(rest.len() < 39 && rest.last().unwrap().is_err());
}

async fn the_first_page_of_a_copy_has_an_estimate_of_all_tokens() {
    let schema = Schema::new();
    let store = schema.open().await;
    fill(&store, 2500).await;
    let analyze = "ANALYZE api_tokens, api_token_apps";
    execute(&mut schema.connect().await, analyze).await;
    let stream = store.live_stream(at(0)).unwrap();
    let pages: Vec<_> = stream.try_collect().await.unwrap();
    let estimates: Vec<_> = pages.iter().map(|page| page.estimated_total).collect();
    assert!(
        matches!(estimates[..], [Some(2000..=3000), None, None]),
        "{estimates:?}"
    );
}

async fn a_preloaded_cache_reads_the_tokens_by_copy() {
    let schema = Schema::new();
    let store = schema.open().await;
    fill(&store, 2500).await;
    let tokens = ApiTokens::new(store.clone(), TokenFormat::new("acme").unwrap());
    let gate = tokens.authenticator().clone();
    let follower = gate.follow(store).preload(|_| ()).start().await.unwrap();
    let stats = gate.stats();
    assert!(stats.preloaded);
    assert_eq!(stats.entries, 2500);
    follower.stop().await.unwrap();
}
