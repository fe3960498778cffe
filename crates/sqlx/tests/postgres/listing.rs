//! Listings read few pages, and follow the uses of tokens that any version records.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::timeout;
use tower_api_tokens::{
    AppId, TokenDigest, TokenId, TokenOrder, TokenQuery, TokenRegistry, Usage, UsageLog,
};

use crate::{
    first_pages::{COLUMNS, Sample, first_pages, limit_of, plain, values},
    plans::{EXPLAINED, Explained},
    releases::{Node, RELEASED, digest_of, id_of, tables_of},
    services::Test,
    support::{Schema, execute, server},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![
        no_first_page_reads_much_more_than_the_plain_one,
        uses_from_before_an_upgrade_are_listed_by_their_day,
        nodes_of_released_versions_move_the_tokens_that_they_use,
        a_use_writes_to_no_index_unless_it_is_the_first_of_its_day,
    ]
}

const SOON: Duration = Duration::from_secs(30);

const DAY: i64 = 86_400_000_000;

const TOKENS: u64 = 100_000;

/// Half of the tokens are of one app.
async fn fill(schema: &Schema, now: Timestamp) {
    let mut hand = schema.connect().await;
    let values = values(now, "n % 20 = 1", "n % 1000 = 67");
    execute(
        &mut hand,
        &format!(
            "INSERT INTO api_token_apps SELECT 'app-' || n, 'App', 0 FROM generate_series(0, 5000) n; \
             INSERT INTO api_tokens (id, digest, app_id, name, scopes, {COLUMNS}) \
             SELECT ('0198c9d28f6a70008' || lpad(to_hex(n), 15, '0'))::uuid, sha256(n::text::bytea), \
                'app-' || (n / 1000 % 2 * (n % 5000)), 'ci', '', {values} \
             FROM generate_series(1, {TOKENS}) n"
        ),
    )
    .await;
    for table in ["api_tokens", "api_token_apps"] {
        execute(&mut hand, &format!("VACUUM (ANALYZE) {table}")).await;
    }
}

async fn no_first_page_reads_much_more_than_the_plain_one() {
    let _alone = EXPLAINED.lock().await;
    let schema = Schema::new();
    schema.open().await.close().await;
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    fill(&schema, now).await;
    let explained = Explained::new(&schema, "");
    let store = schema.open_by(&explained.url(&server())).await;
    let sample = Sample {
        app: AppId::new("app-0").unwrap(),
        id: "0198c9d2-8f6a-7000-8000-000000000064".parse().unwrap(),
        digest: TokenDigest::of(b"100"),
        now,
    };
    explained.take();
    store.tokens(&plain(), now).await.unwrap();
    let limit = limit_of(explained.pages());
    let mut excessive = Vec::new();
    for (name, query) in first_pages(&sample) {
        explained.take();
        let page = store.tokens(&query, now).await.unwrap();
        assert!(page.items.iter().all(|token| query.selects(token, now)));
        assert!(!page.items.is_empty(), "{name}");
        let (pages, plan) = (explained.pages(), explained.take());
        if pages > limit {
            excessive.push(format!("{name}: {pages} pages\n{plan}"));
        }
    }
    assert!(
        excessive.is_empty(),
        "more than {limit} pages:\n{}",
        excessive.join("\n")
    );
    store.close().await;
}

/// Returns the day of the last use, and whether that was after the rotation.
async fn recorded(hand: &mut PgConnection, number: u128) -> (Option<i64>, Option<bool>) {
    let select =
        "SELECT last_used_day, used_since_rotation FROM api_tokens WHERE id = $1::text::uuid";
    let select = sqlx::query_as(AssertSqlSafe(select)).bind(id_of(number));
    select.fetch_one(hand).await.unwrap()
}

async fn uses_from_before_an_upgrade_are_listed_by_their_day() {
    for version in 1..=RELEASED {
        let (schema, mut hand) = tables_of(version).await;
        let insert = "INSERT INTO api_token_apps VALUES ('app', 'App', 0)";
        execute(&mut hand, insert).await;
        // More than are filled in one step. The last ones are locked by another session for a moment.
        execute(
            &mut hand,
            &format!(
                "INSERT INTO api_tokens (id, digest, mask, app_id, name, scopes, created_at, last_used_at, successor) \
                 SELECT lpad(to_hex(n), 32, '0')::uuid, sha256(n::text::bytea), '…', 'app', 'ci', '', 0, \
                    CASE WHEN n % 3 > 0 THEN n * {DAY} - 1 END, CASE WHEN n % 2 = 0 THEN gen_random_uuid() END \
                 FROM generate_series(1, 2500) n"
            ),
        )
        .await;
        let mut other = schema.connect().await;
        let store = schema.open().await;
        execute(
            &mut other,
            "BEGIN; SELECT FROM api_tokens WHERE expires_at IS NULL FOR UPDATE",
        )
        .await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        execute(&mut other, "COMMIT").await;
        timeout(SOON, store.finish_upgrade())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(recorded(&mut hand, 1).await, (Some(0), None));
        // A random identifier has no time, so any use counts as one after the rotation.
        assert_eq!(recorded(&mut hand, 2).await, (Some(1), Some(true)));
        assert_eq!(recorded(&mut hand, 3).await, (None, None));
        assert_eq!(recorded(&mut hand, 6).await, (None, Some(false)));
        assert_eq!(recorded(&mut hand, 2500).await, (Some(2499), Some(true)));
        let now = Timestamp::UNIX_EPOCH;
        let all = TokenQuery::default().sorted_by(TokenOrder::LastUsed);
        let page = store.tokens(&all.limit(1000), now).await.unwrap();
        let keys: Vec<_> = page
            .items
            .iter()
            .map(|t| TokenOrder::LastUsed.key(t))
            .collect();
        assert!(keys.is_sorted(), "from version {version}: {keys:?}");
    }
}

async fn nodes_of_released_versions_move_the_tokens_that_they_use() {
    for version in 1..=RELEASED {
        let (schema, mut hand) = tables_of(version).await;
        let insert = "INSERT INTO api_token_apps VALUES ('app', 'App', 0)";
        execute(&mut hand, insert).await;
        let mut node = Node::start(&schema, version).await;
        node.issue(1).await;
        let store = schema.open().await;
        timeout(SOON, store.finish_upgrade())
            .await
            .unwrap()
            .unwrap();
        node.issue(2).await;
        assert_eq!(recorded(&mut hand, 1).await, (None, None));
        for number in [1, 2] {
            node.record_usage(number).await;
            assert_eq!(recorded(&mut hand, number).await, (Some(0), None));
        }
        // The identifier has no time.
        assert_eq!(node.rotate(1, 3).await.0, "done");
        assert_eq!(recorded(&mut hand, 1).await, (Some(0), Some(true)));
        let used = TokenQuery::default().used_since_rotation(true);
        let found = store.tokens(&used, Timestamp::UNIX_EPOCH).await.unwrap();
        let digests: Vec<_> = found.items.iter().map(|token| token.digest).collect();
        assert_eq!(digests, [digest_of(1)], "version {version}");
    }
}

async fn a_use_writes_to_no_index_unless_it_is_the_first_of_its_day() {
    let (schema, mut hand) = tables_of(RELEASED).await;
    let insert = "INSERT INTO api_token_apps VALUES ('app', 'App', 0)";
    execute(&mut hand, insert).await;
    let mut node = Node::start(&schema, RELEASED).await;
    node.issue(1).await;
    node.issue(2).await;
    let store = schema.open().await;
    timeout(SOON, store.finish_upgrade())
        .await
        .unwrap()
        .unwrap();
    node.rotate(2, 3).await;
    let mut heap_only = 0;
    for (at, is_new_day) in [
        (DAY, true),
        (DAY + 1, false),
        (2 * DAY - 1, false),
        (2 * DAY, true),
    ] {
        for number in [1_u128, 2] {
            let at = Timestamp::from_microsecond(at).unwrap();
            let id = TokenId::from_bytes(number.to_be_bytes());
            store.record_usage(&[Usage::new(id, at, 1)]).await.unwrap();
            heap_only += i64::from(!is_new_day);
        }
    }
    store.close().await;
    let updates = "SELECT pg_stat_get_tuples_hot_updated(to_regclass('api_tokens')::oid)";
    let counted = async {
        loop {
            let hot: i64 = sqlx::query_scalar(updates)
                .fetch_one(&mut hand)
                .await
                .unwrap();
            if hot >= heap_only {
                return hot;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // The server counts with a delay.
    let hot = timeout(SOON, counted).await.unwrap();
    assert_eq!(hot, heap_only);
}
