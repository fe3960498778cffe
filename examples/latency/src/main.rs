//! Measures verification with your own store, and writes a file for `api-tokens bench`.
//!
//! Run `cargo run --release -p latency -- partners.json`.

use std::{collections::HashMap, env, error::Error, fs, path::PathBuf, time::Duration};

use async_trait::async_trait;
use tower_api_tokens::{
    Answer, AppId, AppRecord, Clock, MaskedToken, StoreError, SystemClock, SystemEntropy,
    TokenDigest, TokenId, TokenRecord, TokenStore,
    testing::latency::{Comparison, Kind, LoadTest},
};

/// The store to measure. Replace it with yours.
#[derive(Debug)]
struct Partners(HashMap<TokenDigest, TokenRecord>);

#[async_trait]
impl TokenStore for Partners {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        Ok(self.0.get(digest).cloned().into())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = env::args_os()
        .nth(1)
        .map_or("partners.json".into(), PathBuf::from);
    let keys: Vec<_> = (1..=10_000).map(|n| format!("partner-key-{n}")).collect();
    let test = LoadTest::builder(partners(&keys)?)
        .name("partners")
        .with_live(&keys)
        .share(Kind::Miss, 0.1)
        .share(Kind::Revoked, 0.0)
        .prepare()
        .await?;

    let comparison = Comparison::measure(&mut [test], Duration::from_secs(2)).await?;
    for report in comparison.reports() {
        println!("{report}");
        fs::write(&file, report.to_json())?;
    }
    println!(
        "\nWritten to {0}: `api-tokens bench {0} --plot latency.svg`",
        file.display()
    );
    Ok(())
}

/// The tokens of the store.
fn partners(keys: &[String]) -> Result<Partners, Box<dyn Error>> {
    let (now, entropy) = (SystemClock::default().now(), SystemEntropy::default());
    let app = AppRecord::new(AppId::new("42")?, "Partner Ltd", now);
    let mut partners = HashMap::new();
    for key in keys {
        let digest = TokenDigest::of(key.as_bytes());
        let id = TokenId::generate(now, &entropy)?;
        let mask = MaskedToken::new("partner-", "")?;
        let record = TokenRecord::new(id, digest, mask, app.clone(), "partner key", now);
        partners.insert(digest, record);
    }
    Ok(Partners(partners))
}
