use std::{error::Error, fs, io, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::PgPool;
use tower_api_tokens::{
    Answer, AppId, AppRecord, MaskedToken, StoreError, StoreErrorKind, TokenDigest, TokenId,
    TokenRecord, TokenRegistryExt, TokenStore,
    testing::latency::{Comparison, Kind, LoadTest, LoadTestError},
};
use tower_api_tokens_sqlx::PostgresStore;

#[derive(Debug)]
struct PartnerKeys(PgPool);

#[async_trait]
impl TokenStore for PartnerKeys {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        let query = "SELECT id, partner, revoked FROM partner_keys WHERE sha256 = $1";
        let row: Option<(i64, String, bool)> = sqlx::query_as(query)
            .bind(&digest.as_bytes()[..])
            .fetch_optional(&self.0)
            .await
            .map_err(StoreError::unavailable)?;
        let Some((id, partner, revoked)) = row else {
            return Ok(None.into());
        };
        let record = record(*digest, id, partner, revoked);
        let corrupt = |source| StoreError::with_source(StoreErrorKind::Corrupt, source);
        Ok(Some(record.map_err(corrupt)?).into())
    }
}

fn record(
    digest: TokenDigest,
    id: i64,
    partner: String,
    revoked: bool,
) -> Result<TokenRecord, Box<dyn Error + Send + Sync>> {
    let id = TokenId::from_bytes(u128::from(id.unsigned_abs()).to_be_bytes());
    let mask = MaskedToken::new("partner-key-", "")?;
    let now = Timestamp::UNIX_EPOCH;
    let app = AppRecord::new(AppId::new(&partner)?, partner, now);
    let mut token = TokenRecord::new(id, digest, mask, app, "partner key", now);
    token.revoked_at = revoked.then_some(now);
    Ok(token)
}

async fn measure(
    url: &str,
    keys: usize,
    duration: Duration,
) -> Result<Comparison, Box<dyn Error>> {
    let keys: Vec<_> = (1..=keys).map(|n| format!("partner-key-{n}")).collect();
    let partners = PartnerKeys(PgPool::connect(url).await?);
    let store = PostgresStore::connect(url).await?;
    copy(&partners, &store, &keys).await?;
    let mut tests = [
        prepare("partner_keys", partners, &keys).await?,
        prepare("PostgresStore", store, &keys).await?,
    ];
    Ok(Comparison::measure(&mut tests, duration).await?)
}

async fn prepare(
    name: &str,
    store: impl TokenStore,
    keys: &[String],
) -> Result<LoadTest, LoadTestError> {
    let test = LoadTest::builder(store).name(name).with_live(keys);
    let test = test.share(Kind::Miss, 0.2).share(Kind::Revoked, 0.0);
    test.concurrency(4).prepare().await
}

/// Puts the keys into a store of the library.
async fn copy(
    partners: &PartnerKeys,
    store: &PostgresStore,
    keys: &[String],
) -> Result<(), StoreError> {
    let mut records = Vec::new();
    for key in keys {
        let digest = TokenDigest::of(key.as_bytes());
        records.extend(partners.find(&digest).await?.record);
    }
    if let Some(record) = records.first() {
        store.insert_app(&record.app).await?;
    }
    for batch in records.chunks(1_000) {
        store.insert_all(batch).await?;
    }
    Ok(())
}

fn write(comparison: &Comparison) -> io::Result<()> {
    for report in comparison.reports() {
        fs::write(format!("{}.json", report.name()), report.to_json())?;
    }
    Ok(())
}
