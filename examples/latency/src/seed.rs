//! Fills a store with the tokens of the test.

use std::error::Error;

use indicatif::ProgressBar;
use tower_api_tokens::{
    ApiToken, AppId, AppQuery, AppRecord, Clock, MaskedToken, StoreError, SystemClock,
    SystemEntropy, TokenFormat, TokenId, TokenRecord, TokenRegistry, TokenRegistryExt,
};

/// How many tokens are inserted in one step.
const BATCH: usize = 1000;

/// The tokens that were inserted.
pub(crate) struct Seeded {
    pub(crate) app: AppId,
    pub(crate) live: Vec<ApiToken>,
    pub(crate) revoked: Vec<ApiToken>,
}

/// Whether a store holds what is not of this test.
pub(crate) async fn is_in_use(store: &impl TokenRegistry) -> Result<bool, StoreError> {
    let apps = store.apps(&AppQuery::default().limit(1)).await?;
    Ok(!apps.items.is_empty())
}

/// Inserts `live` live tokens and a tenth as many revoked ones, all of one app.
pub(crate) async fn insert(
    store: &impl TokenRegistry,
    format: &TokenFormat,
    live: usize,
    bar: &ProgressBar,
) -> Result<Seeded, Box<dyn Error>> {
    let (clock, entropy) = (SystemClock::default(), SystemEntropy::default());
    let now = clock.now();
    let app = AppRecord::new(AppId::generate(now, &entropy)?, "Load test", now);
    store.insert_app(&app).await?;
    let mut seeded = Seeded {
        app: app.id,
        live: Vec::with_capacity(live),
        revoked: Vec::new(),
    };
    let total = live + live.div_ceil(10);
    bar.set_message("inserting");
    bar.set_length(total as u64);
    while seeded.live.len() + seeded.revoked.len() < total {
        let begun = seeded.live.len() + seeded.revoked.len();
        let mut batch = Vec::with_capacity(BATCH);
        for n in begun..total.min(begun + BATCH) {
            let token = format.generate(&entropy)?;
            let end = &token.expose()[token.expose().len() - 4..];
            let mut record = TokenRecord::new(
                TokenId::generate(now, &entropy)?,
                token.digest(),
                MaskedToken::new("load_", end)?,
                app.clone(),
                "load test",
                now,
            );
            if n < live {
                seeded.live.push(token);
            } else {
                record.revoked_at = Some(now);
                seeded.revoked.push(token);
            }
            batch.push(record);
        }
        store.insert_all(&batch).await?;
        bar.inc(batch.len() as u64);
    }
    Ok(seeded)
}

/// Ends the use of what was inserted.
pub(crate) async fn disable(store: &impl TokenRegistry, app: &AppId) -> Result<(), StoreError> {
    let now = SystemClock::default().now();
    store.disable_app(app, now).await.map(|_| ())
}
