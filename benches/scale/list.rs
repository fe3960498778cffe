//! Measures pages of listings.

use tower_api_tokens::{TokenCursor, TokenQuery, TokenRegistry, TokenStatus};

use crate::{
    latency::Latencies,
    load::{Platform, row},
};

const PAGES: u64 = 200;

/// The number of pages for queries that match no token. It is small, because each reads the whole
/// table.
const EMPTY_PAGES: u64 = 3;

type Query = fn(&Platform, u64) -> TokenQuery;

const QUERIES: [(&str, Query); 6] = [
    ("of an app", |platform, n| {
        TokenQuery::default().app(platform.app(n))
    }),
    ("of an app, live", |platform, n| {
        let query = TokenQuery::default().app(platform.app(n));
        query.status(TokenStatus::Live)
    }),
    ("of all, the first", |_, _| TokenQuery::default()),
    ("of all, in the middle", |_, n| {
        TokenQuery::default().after(TokenCursor::from(Platform::id(n)))
    }),
    ("of all that are revoked, in the middle", |_, n| {
        let query = TokenQuery::default().after(TokenCursor::from(Platform::id(n)));
        query.status(TokenStatus::Revoked)
    }),
    ("of all that are live, 1,000, in the middle", |_, n| {
        let query = TokenQuery::default().after(TokenCursor::from(Platform::id(n)));
        query.status(TokenStatus::Live).limit(1000)
    }),
];

/// Queries that match no token.
const EMPTY_QUERIES: [(&str, Query); 2] = [
    ("of all whose app is disabled (none)", |_, _| {
        TokenQuery::default().status(TokenStatus::AppDisabled)
    }),
    ("of all by a part of the name (none)", |_, _| {
        TokenQuery::default().name("no such name")
    }),
];

pub(crate) async fn run(platforms: [&Platform; 2]) {
    let full = QUERIES.map(|query| (query, PAGES));
    let empty = EMPTY_QUERIES.map(|query| (query, EMPTY_PAGES));
    for ((name, query), pages) in full.into_iter().chain(empty) {
        let [few, many] = platforms;
        let cells = [
            page(few, query, pages).await.cell(),
            page(many, query, pages).await.cell(),
        ];
        row(&format!("page {name}, p50 / p99 ms"), cells);
    }
}

async fn page(platform: &Platform, query: Query, pages: u64) -> Latencies {
    let mut latencies = Latencies::default();
    let now = jiff::Timestamp::now();
    for n in platform.sample(pages) {
        let query = query(platform, n);
        let page = latencies.time(platform.store.tokens(&query, now)).await;
        let page = page.expect("the store answers");
        // A page that starts near the smallest identifier may be empty.
        assert!(page.items.is_empty() == (pages == EMPTY_PAGES) || n < 100);
    }
    latencies
}
