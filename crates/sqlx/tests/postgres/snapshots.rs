//! An old snapshot, such as that of a backup, does not make changes slower.

use sqlx::{Connection, PgConnection};
use tower_api_tokens::{Mutation, Op, TokenRegistry, TokenRegistryExt, TokenTarget};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    log::token,
    races::{app, at},
    services::Test,
    support::{Schema, execute, server},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![
        changes_cost_the_same_while_a_snapshot_is_held,
        a_purge_does_not_rescan_deleted_rows,
    ]
}

/// Holds a snapshot until it is dropped.
async fn hold() -> PgConnection {
    let mut holder = PgConnection::connect(&server()).await.unwrap();
    execute(
        &mut holder,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class",
    )
    .await;
    holder
}

/// Returns the number of blocks that revoking a token reads.
async fn blocks_of_a_revocation(schema: &Schema, number: u128) -> i64 {
    let mut hand = schema.connect().await;
    let id = tower_api_tokens::TokenId::from_bytes(number.to_be_bytes());
    let mut least = i64::MAX;
    // The first calls read catalogs for planning, and so does one after another session has changed them.
    for _ in 0..6 {
        let explain = format!(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT text) \
             SELECT * FROM api_token_revoke_token(NULL, '{id}', NULL, 5)"
        );
        let explain = sqlx::AssertSqlSafe(explain);
        let rows: Vec<(String,)> = sqlx::query_as(explain).fetch_all(&mut hand).await.unwrap();
        let plan: String = rows.into_iter().map(|(row,)| row + "\n").collect();
        let (_, hits) = plan.split_once("shared hit=").expect(&plan);
        let digits = hits.split(|c: char| !c.is_ascii_digit()).next().unwrap();
        least = least.min(digits.parse().unwrap());
    }
    least
}

async fn changes_cost_the_same_while_a_snapshot_is_held() {
    let schema = Schema::new();
    let store = schema.open().await;
    let app = app(&store).await;
    // The log is full, so every change deletes an old entry.
    let mut hand = schema.connect().await;
    execute(
        &mut hand,
        "INSERT INTO api_token_changes (revision, digest) \
         SELECT n, sha256(n::text::bytea) FROM generate_series(1, 101000) n; ANALYZE api_token_changes",
    )
    .await;
    let all: Vec<_> = (1..=3_000).map(|number| token(&app, number)).collect();
    store.insert_all(&all).await.unwrap();
    let _holder = hold().await;
    for token in &all[..100] {
        store
            .revoke(&TokenTarget::any(token.id), at(1))
            .await
            .unwrap();
    }
    let few = blocks_of_a_revocation(&schema, 1).await;
    for token in &all[100..] {
        store
            .revoke(&TokenTarget::any(token.id), at(1))
            .await
            .unwrap();
    }
    let many = blocks_of_a_revocation(&schema, 1).await;
    assert!(
        many < 2 * few + 100,
        "{few} blocks after 100 changes, {many} after 3,000"
    );
}

async fn a_purge_does_not_rescan_deleted_rows() {
    const ALL: i64 = 6_000;
    let schema = Schema::new();
    let store = schema.open().await;
    let app = app(&store).await;
    let mut hand = schema.connect().await;
    // Half of them were revoked one by one, the other half expired at the same instant.
    execute(
        &mut hand,
        &format!(
            "INSERT INTO api_tokens (id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at) \
             SELECT gen_random_uuid(), sha256(n::text::bytea), '…', '{}', 'ci', '', 0, \
                 CASE WHEN n % 2 = 0 THEN 7 END, CASE WHEN n % 2 = 1 THEN n END \
             FROM generate_series(1, {ALL}) n; ANALYZE api_tokens",
            app.id
        ),
    )
    .await;
    let _holder = hold().await;
    let read = async || {
        let mut hand = schema.connect().await;
        let read: (i64,) = sqlx::query_as(
            "SELECT heap_blks_hit FROM pg_statio_user_tables \
             WHERE schemaname = current_schema() AND relname = 'api_tokens'",
        )
        .fetch_one(&mut hand)
        .await
        .unwrap();
        read.0
    };
    hand.close().await.unwrap();
    let before = read().await;
    let purging = schema.open().await;
    let mut purged = 0;
    loop {
        let op = Op::Purge {
            before: at(1),
            limit: 50,
        };
        let applied = purging.apply(&Mutation::new(op, at(1))).await.unwrap();
        let count = applied.into_count().unwrap();
        purged += count;
        if count < 50 {
            break;
        }
    }
    assert_eq!(i64::try_from(purged).unwrap(), ALL);
    // A session reports its statistics when it ends.
    PostgresStore::close(&purging).await;
    let blocks = read().await - before;
    // Rescanning in each of 120 steps would read 60 times the number of tokens.
    assert!(blocks < 15 * ALL, "{blocks} blocks for {ALL} tokens");
}
