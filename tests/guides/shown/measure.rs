use std::collections::HashMap;

use async_trait::async_trait;
use tower_api_tokens::{
    Answer, StoreError, TokenDigest, TokenRecord, TokenStore,
    testing::latency::{Kind, LoadTest, LoadTestError, Report, Skew},
};

#[derive(Debug)]
struct Partners(HashMap<TokenDigest, TokenRecord>);

#[async_trait]
impl TokenStore for Partners {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        Ok(self.0.get(digest).cloned().into())
    }
}

async fn measure(partners: Partners, tokens: &[String]) -> Result<Report, LoadTestError> {
    let mut test = LoadTest::builder(partners)
        .with_live(tokens)
        .share(Kind::Miss, 0.1)
        .share(Kind::Revoked, 0.0)
        .skew(Skew::Zipf)
        .concurrency(8)
        .prepare()
        .await?;
    let limit = test.saturate(2_000).await?.throughput();
    test.run(limit / 4.0, 2_000).await
}

fn print(report: &Report) {
    for kind in [Kind::Hit, Kind::Miss] {
        let latencies = report.figures(kind).latencies();
        let (p50, p99) = (latencies.quantile(0.5), latencies.quantile(0.99));
        println!("{kind}: p50 {p50:?}, p99 {p99:?}");
    }
}
