//! A load test of a custom store, as the guide to measuring shows it.

use jiff::Timestamp;
use tower_api_tokens::{AppId, AppRecord, MaskedToken, TokenId};

include!("shown/measure.rs");

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_counted() {
    let token = "partner-secret".to_owned();
    let now = Timestamp::UNIX_EPOCH;
    let record = TokenRecord::new(
        TokenId::from_bytes([1; 16]),
        TokenDigest::of(token.as_bytes()),
        MaskedToken::new("partner-", "cret").unwrap(),
        AppRecord::new(AppId::new("42").unwrap(), "Partner Ltd", now),
        "legacy key",
        now,
    );
    let partners = Partners(HashMap::from([(record.digest, record)]));
    let report = measure(partners, &[token]).await.unwrap();
    print(&report);
    assert_eq!(report.requests(), 2_000);
    assert_eq!(report.figures(Kind::Miss).count(), 200);
}
