//! Inserts the tokens of a load test into a store.

use tower_api_tokens::{
    ApiToken, AppRecord, Clock, EntropyError, MaskedToken, SystemClock, SystemEntropy, TokenFormat,
    TokenId, TokenRecord, TokenRegistry, TokenRegistryExt,
};

use crate::{failure::Failure, progress};

/// The number of tokens in one insert.
const BATCH: usize = 1000;

/// The inserted tokens.
pub(super) struct Seeded {
    pub(super) format: TokenFormat,
    pub(super) live: Vec<ApiToken>,
    pub(super) revoked: Vec<ApiToken>,
}

/// Inserts live tokens for an app, and a tenth as many revoked ones.
pub(super) async fn insert(
    registry: &dyn TokenRegistry,
    app: &AppRecord,
    live: usize,
) -> Result<Seeded, Failure> {
    let mut seeded = Seeded {
        format: TokenFormat::new("load").map_err(|error| Failure::failed(error.to_string()))?,
        live: Vec::with_capacity(live),
        revoked: Vec::new(),
    };
    let total = live + live.div_ceil(10);
    let bar = progress::items("Inserting", total as u64);
    let mut inserted = 0;
    while inserted < total {
        let mut batch = Vec::with_capacity(BATCH);
        for number in inserted..total.min(inserted + BATCH) {
            let (token, mut record) = generate(&seeded.format, app)
                .map_err(|error| Failure::failed("cannot generate tokens").because(error))?;
            if number < live {
                seeded.live.push(token);
            } else {
                record = record.revoke(app.created_at);
                seeded.revoked.push(token);
            }
            batch.push(record);
        }
        registry.insert_all(&batch).await?;
        inserted += batch.len();
        bar.set_position(inserted as u64);
    }
    bar.finish_and_clear();
    Ok(seeded)
}

fn generate(
    format: &TokenFormat,
    app: &AppRecord,
) -> Result<(ApiToken, TokenRecord), EntropyError> {
    let entropy = SystemEntropy::default();
    let now = SystemClock::default().now();
    let token = format.generate(&entropy)?;
    let record = TokenRecord::new(
        TokenId::generate(now, &entropy)?,
        token.digest(),
        MaskedToken::default(),
        app.clone(),
        "load test",
        now,
    );
    Ok((token, record))
}
