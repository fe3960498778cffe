//! The published metrics.

use std::{collections::BTreeMap, time::Duration};

use metrics::set_default_local_recorder;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tower_api_tokens::{
    RejectionKind,
    testing::{Fault, Fixture},
};

const NEVER: Duration = Duration::from_secs(1 << 30);

async fn named(name: &'static str) -> Fixture {
    let fixture = Fixture::builder().configure(move |tokens| tokens.name(name));
    fixture.build().await
}

/// What has been published since the last call: `name{label="value"}` and the number.
fn published(recorder: &DebuggingRecorder) -> BTreeMap<String, f64> {
    let shown = recorder.snapshotter().snapshot().into_vec().into_iter();
    shown
        .map(|(key, unit, description, value)| {
            let key = key.key();
            assert!(
                unit.is_some() && description.is_some(),
                "{key} is described"
            );
            let labels = key.labels();
            let labels: Vec<_> = labels
                .map(|l| format!("{}={:?}", l.key(), l.value()))
                .collect();
            let number = match value {
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(value) => value.into_inner(),
                DebugValue::Histogram(_) => panic!("{key} is a histogram"),
            };
            (format!("{}{{{}}}", key.name(), labels.join(",")), number)
        })
        .collect()
}

#[tokio::test]
async fn the_statistics_are_published() {
    let recorder = DebuggingRecorder::new();
    let _installed = set_default_local_recorder(&recorder);
    let fixture = named("public").await;
    let authenticator = fixture.tokens.authenticator();
    for _ in 0..3 {
        fixture.refusal(&fixture.issued).await;
    }
    authenticator
        .authenticate(b"acme_garbage")
        .await
        .unwrap_err();
    authenticator
        .authenticate(b"acme_garbage")
        .await
        .unwrap_err();
    fixture
        .tokens
        .revoke(fixture.issued.record().id)
        .await
        .unwrap();
    fixture.refusal(&fixture.issued).await;
    assert!(published(&recorder).is_empty(), "requests publish nothing");

    fixture.tokens.authenticator().publish_metrics();
    let published = published(&recorder);
    let number = |name: &str| published[&format!("{name}{{authenticator=\"public\"}}")];
    assert_eq!(number("api_tokens_hits_total"), 2.0);
    assert_eq!(number("api_tokens_lookups_total"), 2.0);
    assert_eq!(number("api_tokens_lookups_in_flight"), 0.0);
    assert_eq!(number("api_tokens_cache_entries"), 1.0);
    assert_eq!(number("api_tokens_cache_absent_entries"), 0.0);
    assert_eq!(number("api_tokens_cache_complete"), 0.0);
    assert_eq!(number("api_tokens_cache_pending"), 0.0);
    assert_eq!(number("api_tokens_revision_lag"), 0.0);
    let refused = |kind: &str| {
        published[&format!("api_tokens_refusals_total{{authenticator=\"public\",kind=\"{kind}\"}}")]
    };
    assert_eq!(refused("wrong_format"), 2.0);
    assert_eq!(refused("revoked_token"), 1.0);
    assert_eq!(refused("store_failure"), 0.0, "there from the beginning");
    assert_eq!(
        published.len(),
        8 + RejectionKind::ALL.len(),
        "and a lease only with a follower"
    );
}

#[tokio::test]
async fn two_authenticators_are_distinguished_by_name() {
    let recorder = DebuggingRecorder::new();
    let _installed = set_default_local_recorder(&recorder);
    let (one, other) = (named("one").await, named("other").await);
    one.refusal(&one.issued).await;
    one.refusal(&one.issued).await;
    for fixture in [&one, &other] {
        fixture.tokens.authenticator().publish_metrics();
    }
    let published = published(&recorder);
    assert_eq!(
        published["api_tokens_hits_total{authenticator=\"one\"}"],
        1.0
    );
    assert_eq!(
        published["api_tokens_hits_total{authenticator=\"other\"}"],
        0.0
    );
}

#[tokio::test]
async fn a_follower_publishes_once_more_when_it_stops() {
    let recorder = DebuggingRecorder::new();
    let _installed = set_default_local_recorder(&recorder);
    let fixture = named("default").await;
    let follower = fixture.tokens.follow().poll_interval(NEVER).start().await;
    let follower = follower.unwrap();
    follower.catch_up().await.unwrap();
    fixture.refusal(&fixture.issued).await;
    published(&recorder);
    follower.stop().await.unwrap();
    let last = published(&recorder);
    assert_eq!(
        last["api_tokens_lookups_total{authenticator=\"default\"}"],
        1.0
    );
}

#[tokio::test]
async fn the_published_lease_age_grows_while_the_store_hangs() {
    let recorder = DebuggingRecorder::new();
    let _installed = set_default_local_recorder(&recorder);
    let fixture = named("default").await;
    let often = Duration::from_millis(1);
    let follower = fixture.tokens.follow().poll_interval(often).start().await;
    let _follower = follower.unwrap();
    fixture.store.set_fault(Fault::HangForEver);
    fixture.clock.advance(Duration::from_secs(4));
    let age = "api_tokens_lease_age_seconds{authenticator=\"default\"}";
    let seen = async {
        while published(&recorder).get(age) != Some(&4.0) {
            tokio::time::sleep(often).await;
        }
    };
    let deadline = Duration::from_secs(10);
    tokio::time::timeout(deadline, seen)
        .await
        .expect("the age is published");
}
