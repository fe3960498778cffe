//! The load test measures what it claims to measure.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use tower_api_tokens::{
    Answer, ApiTokens, MemoryStore, NewToken, StoreError, StoreErrorKind, TokenDigest, TokenFormat,
    TokenRecord, TokenStore,
    testing::{
        Fault, FaultyStore,
        latency::{
            Comparison, ComparisonErrorKind, Kind, LoadTest, LoadTestBuilder, LoadTestErrorKind,
            Phase, Progress, Report, ReportErrorKind, Skew,
        },
    },
};

const STALL: Duration = Duration::from_millis(100);

fn format() -> TokenFormat {
    TokenFormat::new("acme").unwrap()
}

/// A store with tokens, and their texts.
struct Platform {
    store: MemoryStore,
    live: Vec<String>,
    revoked: Vec<String>,
}

impl Platform {
    async fn new() -> Self {
        let store = MemoryStore::new();
        let tokens = ApiTokens::new(store.clone(), format());
        let app = tokens.create_app("Load test").await.unwrap();
        let (mut live, mut revoked) = (Vec::new(), Vec::new());
        for n in 0..60 {
            let issued = tokens
                .issue(&app.id, NewToken::named("load"))
                .await
                .unwrap();
            let text = issued.token().expose().to_owned();
            if n < 50 {
                live.push(text);
            } else {
                tokens.revoke(issued.record().id).await.unwrap();
                revoked.push(text);
            }
        }
        Self {
            store,
            live,
            revoked,
        }
    }

    fn test(&self, store: impl TokenStore) -> LoadTestBuilder {
        LoadTest::builder(store)
            .format(format())
            .with_live(&self.live)
            .with_revoked(&self.revoked)
    }
}

fn only_misses(test: LoadTestBuilder) -> LoadTestBuilder {
    let others = [Kind::Unknown, Kind::Garbage, Kind::Revoked];
    let test = others
        .into_iter()
        .fold(test, |test, kind| test.share(kind, 0.0));
    test.share(Kind::Miss, 1.0)
}

/// A store that is slow: always, or once when it is set to be.
#[derive(Clone, Debug)]
struct Slow {
    inner: MemoryStore,
    always: Duration,
    stalls: Arc<AtomicBool>,
}

impl Slow {
    fn new(inner: &MemoryStore, always: Duration) -> Self {
        Self {
            inner: inner.clone(),
            always,
            stalls: Arc::default(),
        }
    }
}

#[async_trait]
impl TokenStore for Slow {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        if self.stalls.swap(false, SeqCst) {
            tokio::time::sleep(STALL).await;
        }
        if !self.always.is_zero() {
            tokio::time::sleep(self.always).await;
        }
        self.inner.find(digest).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_counted_under_its_kind() {
    let platform = Platform::new().await;
    let store = FaultyStore::new(platform.store.clone());
    let test = platform.test(store.clone()).skew(Skew::Zipf);
    let mut test = test.share(Kind::Miss, 0.1).prepare().await.unwrap();
    assert_eq!(store.finds(), 60, "each token is remembered");
    let report = test.run(20_000.0, 4_000).await.unwrap();
    let counts = Kind::ALL.map(|kind| report.figures(kind).count());
    assert_eq!(counts, [3000, 400, 200, 200, 200]);
    assert_eq!(report.requests(), 4000);
    assert_eq!(
        store.finds(),
        60 + 400 + 200,
        "of misses and unknown tokens"
    );
    let report = test.saturate(1_001).await.unwrap();
    assert_eq!(report.requests(), 1001);
    assert_eq!(report.rate(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_store_affects_only_the_kinds_that_look_up() {
    let platform = Platform::new().await;
    let slowness = Duration::from_millis(20);
    let store = Slow::new(&platform.store, slowness);
    let mut test = platform
        .test(store)
        .concurrency(64)
        .prepare()
        .await
        .unwrap();
    let report = test.run(2_000.0, 1_000).await.unwrap();
    let median = |kind| report.figures(kind).latencies().quantile(0.5);
    for asks in [Kind::Miss, Kind::Unknown] {
        assert!(median(asks) >= slowness, "{asks}: {:?}", median(asks));
    }
    for remembered in [Kind::Hit, Kind::Garbage, Kind::Revoked] {
        assert!(median(remembered) < slowness, "{remembered}");
    }
}

/// One request of 2,000 stalls, and with it those that are due meanwhile: a tenth of all. A tool
/// that waits for each answer before the next request would only see the one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_counts_for_every_request_that_was_due_during_it() {
    let platform = Platform::new().await;
    let store = Slow::new(&platform.store, Duration::ZERO);
    let test = only_misses(platform.test(store.clone())).concurrency(1);
    let mut test = test.prepare().await.unwrap();

    store.stalls.store(true, SeqCst);
    let scheduled = test.run(2_000.0, 2_000).await.unwrap();
    let scheduled = scheduled.figures(Kind::Miss).latencies();
    assert!(scheduled.max() >= STALL - Duration::from_millis(1));
    assert!(scheduled.quantile(0.999) >= STALL * 9 / 10);
    assert!(
        scheduled.quantile(0.96) >= STALL / 3,
        "{:?}",
        scheduled.quantile(0.96)
    );

    store.stalls.store(true, SeqCst);
    let naive = test.saturate(2_000).await.unwrap();
    let naive = naive.figures(Kind::Miss).latencies();
    assert!(naive.max() >= STALL);
    assert!(
        naive.quantile(0.99) < STALL / 3,
        "{:?}",
        naive.quantile(0.99)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_that_cannot_be_kept_is_reported() {
    let platform = Platform::new().await;
    let store = Slow::new(&platform.store, Duration::from_millis(10));
    let test = only_misses(platform.test(store)).concurrency(2);
    let mut test = test.prepare().await.unwrap();
    let report = test.run(2_000.0, 100).await.unwrap();
    assert!(!report.kept_up());
    // The last request was due after 50 ms and is answered after 50 lookups.
    let waited = report.figures(Kind::Miss).latencies().max();
    assert!(waited >= Duration::from_millis(450), "{waited:?}");
    assert!(report.throughput() < 200.0);
}

#[tokio::test]
async fn one_thread_is_enough() {
    let platform = Platform::new().await;
    let store = Slow::new(&platform.store, Duration::from_millis(1));
    let mut test = platform.test(store).prepare().await.unwrap();
    let report = test.run(50_000.0, 2_000).await.unwrap();
    assert_eq!(report.requests(), 2_000);
    let begun_late = report.elapsed() >= Duration::from_millis(40);
    assert!(begun_late, "not before the last request is due");
}

/// Takes every token for the one that it has.
#[derive(Debug)]
struct Gullible(TokenRecord);

#[async_trait]
impl TokenStore for Gullible {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        let mut found = self.0.clone();
        found.digest = *digest;
        Ok(Some(found).into())
    }
}

#[tokio::test]
async fn admitting_an_unknown_token_ends_the_test() {
    let platform = Platform::new().await;
    let digest = TokenDigest::of(platform.live[0].as_bytes());
    let record = platform.store.find(&digest).await.unwrap().record.unwrap();
    let test = LoadTest::builder(Gullible(record)).format(format());
    let test = test.with_live(&platform.live).share(Kind::Revoked, 0.0);
    let mut test = test.prepare().await.unwrap();
    let error = test.run(10_000.0, 1_000).await.unwrap_err();
    assert_eq!(error.kind(), LoadTestErrorKind::WrongVerdict);
    assert_eq!(
        error.to_string(),
        "a request of kind `unknown` was admitted; the store must return no record for an unknown \
         digest"
    );
}

#[tokio::test]
async fn tokens_with_the_wrong_status_end_the_test() {
    let platform = Platform::new().await;
    let store = || platform.store.clone();
    let live_as_revoked = LoadTest::builder(store()).with_revoked(&platform.live);
    let revoked_as_live = LoadTest::builder(store()).with_live(&platform.revoked);
    let not_there = LoadTest::builder(MemoryStore::new()).with_live(&platform.live);
    for (test, told) in [
        (live_as_revoked, "`revoked` was admitted"),
        (revoked_as_live, "`hit` was refused as revoked_token"),
        (not_there, "`hit` was refused as unknown_token"),
    ] {
        let error = test.prepare().await.unwrap_err();
        assert_eq!(error.kind(), LoadTestErrorKind::WrongVerdict);
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[tokio::test]
async fn failures_of_the_store_are_counted() {
    let platform = Platform::new().await;
    let store = FaultyStore::new(platform.store.clone());
    let mut test = platform.test(store.clone()).prepare().await.unwrap();
    store.set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let report = test.run(10_000.0, 1_000).await.unwrap();
    let unavailable = Kind::ALL.map(|kind| report.figures(kind).unavailable());
    assert_eq!(unavailable, [0, 50, 50, 0, 0]);
    let error = platform.test(store).prepare().await.unwrap_err();
    assert_eq!(error.kind(), LoadTestErrorKind::StoreFailure);
}

#[tokio::test]
async fn tokens_without_a_format_can_be_measured() {
    let platform = Platform::new().await;
    let test = LoadTest::builder(platform.store.clone()).with_live(&platform.live);
    let mut test = test
        .with_revoked(&platform.revoked)
        .prepare()
        .await
        .unwrap();
    let report = test.saturate(1_000).await.unwrap();
    assert_eq!(report.figures(Kind::Garbage).count(), 50);
}

#[tokio::test]
async fn invalid_settings_are_refused_with_a_hint() {
    let platform = Platform::new().await;
    let test = || platform.test(platform.store.clone());
    for (test, told) in [
        (test().share(Kind::Unknown, 1.5), "from 0 to 1"),
        (test().share(Kind::Unknown, f64::NAN), "from 0 to 1"),
        (test().share(Kind::Miss, 0.9), "a sum of at most 1"),
        (
            test().share(Kind::Hit, 0.5),
            "set the shares of the other kinds",
        ),
        (test().concurrency(0), "at least 1"),
    ] {
        let error = test.prepare().await.unwrap_err();
        assert_eq!(error.kind(), LoadTestErrorKind::InvalidLoad);
        assert!(error.to_string().contains(told), "{error}");
    }
    let mut sound = test().prepare().await.unwrap();
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = sound.run(rate, 10).await.unwrap_err();
        assert!(error.to_string().contains("above 0"), "{error}");
    }
    for (rate, requests, told) in [
        (1e-300, 2, "longer than a day"),
        (1e300, usize::MAX, "too many requests"),
    ] {
        let error = sound.run(rate, requests).await.unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
    }
    let none = LoadTest::builder(MemoryStore::new());
    let error = none
        .prepare()
        .await
        .unwrap()
        .saturate(100)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("pass some to `with_live`"),
        "{error}"
    );
    let none_revoked = LoadTest::builder(platform.store.clone()).with_live(&platform.live);
    let mut none_revoked = none_revoked.prepare().await.unwrap();
    let error = none_revoked.saturate(100).await.unwrap_err();
    assert!(error.to_string().contains("`with_revoked`"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_is_reported_until_the_end() {
    let platform = Platform::new().await;
    let seen = Arc::new(Mutex::new(Vec::<Progress>::new()));
    let seer = Arc::clone(&seen);
    let test = platform.test(platform.store.clone());
    let test = test.on_progress(move |progress| seer.lock().unwrap().push(progress));
    let mut test = test.prepare().await.unwrap();
    test.saturate(1_000).await.unwrap();
    test.run(1_000.0, 500).await.unwrap();
    let seen = seen.lock().unwrap();
    let total = |phase| match phase {
        Phase::Preparing => 60,
        Phase::Saturating => 1000,
        _ => 500,
    };
    for phase in [Phase::Preparing, Phase::Saturating, Phase::Running] {
        let of_phase = seen.iter().filter(|progress| progress.phase == phase);
        let of_phase: Vec<_> = of_phase.map(|progress| progress.done).collect();
        assert!(of_phase.is_sorted());
        assert_eq!(of_phase.last(), Some(&total(phase)), "{phase:?}");
    }
    let midway = |p: &&Progress| p.phase == Phase::Running && (1..500).contains(&p.done);
    assert!(seen.iter().find(midway).is_some());
}

#[tokio::test]
async fn a_report_can_be_written_as_json() {
    let platform = Platform::new().await;
    let mut test = platform
        .test(platform.store.clone())
        .prepare()
        .await
        .unwrap();
    let scheduled = test.run(10_000.0, 1_000).await.unwrap();
    let json: serde_json::Value = serde_json::from_str(&scheduled.to_json()).unwrap();
    assert_eq!(json["rate"], 10_000);
    assert_eq!(json["requests"], 1000);
    assert_eq!(json["kinds"]["hit"]["count"], 800);
    let p99 = scheduled.figures(Kind::Hit).latencies().quantile(0.99);
    assert_eq!(
        json["kinds"]["hit"]["p99_ns"],
        u64::try_from(p99.as_nanos()).unwrap()
    );
    assert_eq!(json["kinds"].as_object().unwrap().len(), 5);
    let saturated = test.saturate(100).await.unwrap().to_json();
    let json: serde_json::Value = serde_json::from_str(&saturated).unwrap();
    assert!(json["rate"].is_null());
}

#[tokio::test]
async fn a_report_read_from_json_has_all_results() {
    let platform = Platform::new().await;
    let test = platform.test(platform.store.clone()).name("memory");
    let mut test = test.prepare().await.unwrap();
    let before = test.run(10_000.0, 100).await.unwrap();
    assert_eq!(before.sustained(), None, "nobody measured that yet");
    let sustained = test.saturate(1_000).await.unwrap().throughput();
    let report = test.run(10_000.0, 1_000).await.unwrap();
    assert_eq!(report.sustained(), Some(sustained));
    let read = Report::from_json(&report.to_json()).unwrap();
    assert_eq!(read, report);
    assert_eq!(read.name(), "memory");
    assert_eq!(read.to_string(), report.to_string());
    for share in [0.0, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0] {
        for kind in Kind::ALL {
            let of = |report: &Report| report.figures(kind).latencies().quantile(share);
            assert_eq!(of(&read), of(&report), "{kind} at {share}");
        }
    }
}

/// The format in the guide can be read by any program, from the buckets alone.
#[test]
fn the_guide_describes_the_format() {
    let guide = include_str!("../docs/measure.md");
    let (_, rest) = guide.split_once("```json\n").unwrap();
    let shown = rest.split_once("```").unwrap().0;
    let report = Report::from_json(shown).unwrap();
    let written: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    let shown: serde_json::Value = serde_json::from_str(shown).unwrap();
    for (field, value) in shown.as_object().unwrap() {
        if field != "kinds" {
            assert_eq!(written[field], *value, "{field}");
        }
        assert!(
            guide.contains(&format!("`{field}`")),
            "{field} is described"
        );
    }
    for (kind, figures) in shown["kinds"].as_object().unwrap() {
        assert_eq!(written["kinds"][kind], *figures, "{kind}");
    }
    for field in written.as_object().unwrap().keys() {
        assert!(shown.get(field).is_some(), "{field} is shown");
    }
}

#[test]
fn an_invalid_report_is_refused_with_the_reason() {
    let sound = r#"{"version": 1, "tokens": 1, "skew": "zipf", "concurrency": 1, "rate": 1,
        "sustained": null, "elapsed_ns": 1000, "kinds": {"hit": {"count": 3, "unavailable": 1,
        "buckets": [[700, 2], [900, 1]]}}}"#;
    assert_eq!(Report::from_json(sound).unwrap().requests(), 3);
    for (there, instead, told) in [
        ("\"version\": 1,", "", "no number `version`"),
        (
            "\"version\": 1",
            "\"version\": \"1\"",
            "no number `version`",
        ),
        ("\"tokens\": 1,", "", "missing field `tokens`"),
        ("\"rate\": 1,", "\"rate\": -1,", "`rate` is neither"),
        (
            "\"zipf\"",
            "\"pareto\"",
            "unknown skew; expected `uniform` or `zipf`",
        ),
        ("\"count\": 3", "\"count\": 4", "`count` of the kind `hit`"),
        ("\"count\": 3", "\"count\": 2", "`count` of the kind `hit`"),
        (
            "\"unavailable\": 1",
            "\"unavailable\": 4",
            "unavailable than made",
        ),
        ("[700, 2]", "[18446744073709551615, 2]", "above an hour"),
        ("[700, 2]", "[-700, 2]", "invalid value"),
        ("{\"version\"", "[{\"version\"", "EOF"),
    ] {
        let spoilt = sound.replace(there, instead);
        assert_ne!(spoilt, sound);
        let error = Report::from_json(&spoilt).unwrap_err();
        assert_eq!(error.kind(), ReportErrorKind::Malformed);
        let told_here = format!("{error}: {:?}", std::error::Error::source(&error));
        let by_serde = serde_json::from_str::<Report>(&spoilt).unwrap_err();
        assert!(told_here.contains(told), "{told_here}");
        assert!(by_serde.to_string().contains(told), "{by_serde}");
    }
    let newer = sound.replace("\"version\": 1", "\"version\": 2");
    let error = Report::from_json(&newer).unwrap_err();
    assert_eq!(error.kind(), ReportErrorKind::UnknownVersion);
    let told = error.to_string();
    assert!(
        told.contains("version 2") && told.contains("expected 1"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_stores_are_measured_at_half_of_what_the_slowest_sustains() {
    let platform = Platform::new().await;
    // So slow that a busy machine does not make up the difference.
    let slow = Slow::new(&platform.store, Duration::from_millis(20));
    let share = |test: LoadTestBuilder| test.share(Kind::Miss, 0.0).share(Kind::Unknown, 0.1);
    let fast = share(platform.test(platform.store.clone())).name("fast");
    let slow = share(platform.test(slow)).name("slow");
    let mut tests = [fast.prepare().await.unwrap(), slow.prepare().await.unwrap()];
    let duration = Duration::from_millis(200);
    let comparison = Comparison::measure(&mut tests, duration).await.unwrap();
    let [fast, slow] = comparison.reports() else {
        panic!("two stores: {comparison:?}");
    };
    let sustained = slow.sustained().unwrap();
    assert!(sustained < fast.sustained().unwrap());
    assert_eq!(comparison.rate(), (sustained / 2.0).floor());
    assert_eq!(comparison.best_rate(), Some(comparison.rate()));
    for report in [fast, slow] {
        assert_eq!(report.rate(), Some(comparison.rate()));
        assert_eq!(report.requests() as f64, (comparison.rate() * 0.2).ceil());
    }
    let at = Comparison::measure_at(&mut tests, 1_000.0, duration).await;
    let at = at.unwrap();
    assert_eq!((at.rate(), at.reports()[1].requests()), (1_000.0, 200));
}

#[tokio::test]
async fn reports_that_cannot_be_compared_are_refused_with_a_hint() {
    use ComparisonErrorKind::{DifferentRates, DuplicateName, Empty, LoadTest, NoSchedule};
    let platform = Platform::new().await;
    let mut test = platform
        .test(platform.store.clone())
        .prepare()
        .await
        .unwrap();
    let saturated = test.saturate(100).await.unwrap();
    let at = |rate: u32, name: &str, sustained: &str| {
        let json = r#"{"version":1,"tokens":1,"skew":"uniform","concurrency":1,"elapsed_ns":1,
            "kinds":{"hit":{"count":1,"unavailable":0,"buckets":[[9,1]]}},"#;
        let json = format!(r#"{json}"rate":{rate},"sustained":{sustained},"name":"{name}"}}"#);
        Report::from_json(&json).unwrap()
    };
    let none = r#"{"version":1,"tokens":1,"skew":"uniform","concurrency":1,"elapsed_ns":1,
        "kinds":{},"rate":5,"sustained":null,"name":"none"}"#;
    let none = Report::from_json(none).unwrap();
    for (reports, kind, told) in [
        (vec![], Empty, "no reports"),
        (vec![none], Empty, "`none` holds no requests"),
        (vec![saturated], NoSchedule, "LoadTest::run"),
        (
            vec![at(5, "a", "9"), at(5, "a", "9")],
            DuplicateName,
            "named `a`",
        ),
        (
            vec![at(6_000, "a", "12000"), at(4_000, "b", "8001")],
            DifferentRates,
            "`b` was measured at 4,000 requests a second and `a` at 6,000, which cannot be compared: \
             measure all of them at 4,000, half of what the slowest sustains",
        ),
        (
            vec![at(6_000, "a", "12000"), at(4_000, "b", "null")],
            DifferentRates,
            "measure all of them at one rate",
        ),
    ] {
        let error = Comparison::new(reports).unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains(told), "{error}");
    }
    let same = vec![at(4_000, "a", "12000"), at(4_000, "b", "8001")];
    assert!(Comparison::new(same).is_ok());

    let error = Comparison::measure(&mut [], STALL).await.unwrap_err();
    assert_eq!(error.kind(), Empty);
    let mut tests = [test];
    let error = Comparison::measure_at(&mut tests, 0.0, STALL).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), LoadTest);
    let cause = error.load_test().unwrap();
    assert_eq!(cause.kind(), LoadTestErrorKind::InvalidLoad);
}

#[tokio::test]
async fn no_token_is_printed() {
    let platform = Platform::new().await;
    let builder = platform.test(platform.store.clone());
    let mut printed = format!("{builder:?}");
    printed += &format!("{:?}", builder.prepare().await.unwrap());
    for token in platform.live.iter().chain(&platform.revoked) {
        assert!(!printed.contains(token));
    }
}
