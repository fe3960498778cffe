//! Imports that are interrupted and repeated.

use jiff::Timestamp;
use tower_api_tokens::{
    AuditAction, AuditEvent, AuditLog, AuditOutcome, AuditQuery, MemoryStore, StoreErrorKind,
    TokenRegistryExt, TokenTarget, Usage, UsageLog,
    testing::{Fault, FaultyStore, ManualClock},
    transfer::{Completeness, FaultKind, Import, TransferErrorKind},
};

use crate::support::{adds_up, app_record, at, export, furnished, import, token_record, tokens};

#[tokio::test]
async fn a_second_import_finds_everything_present() {
    let file = export(&furnished(1200).await).await;
    let store = MemoryStore::new();
    import(&store, &file).await;
    let again = import(&store, &file).await.report;
    assert_eq!(
        (again.read, again.already_present, again.faults()),
        (1202, 1202, 0)
    );
    assert_eq!(export(&store).await, file);
}

#[tokio::test]
async fn an_import_that_was_interrupted_anywhere_is_finished_by_another() {
    let file = export(&furnished(40).await).await;
    for cut in (0..file.len()).step_by(97) {
        let store = MemoryStore::new();
        let begun = import(&store, &file.as_bytes()[..cut]).await.report;
        let finished = import(&store, &file).await.report;
        assert_eq!(finished.already_present, begun.inserted);
        assert_eq!(finished.inserted + begun.inserted, 42);
        assert_eq!(export(&store).await, file);
    }
}

#[tokio::test]
async fn an_unacknowledged_batch_counts_as_already_present() {
    let file = export(&furnished(30).await).await;
    for fault in [
        Fault::Error(StoreErrorKind::Unavailable),
        Fault::WriteError(StoreErrorKind::ReadOnly),
        Fault::LateError(StoreErrorKind::Unavailable),
        Fault::Panic,
        Fault::WritePanic,
    ] {
        let inner = MemoryStore::new();
        let store = FaultyStore::new(inner.clone());
        store.set_fault(fault);
        let error = Import::new(&store).run(file.as_bytes()).await.unwrap_err();
        assert_eq!(error.kind(), TransferErrorKind::Store, "{error:?}");
        let report = error.report().unwrap();
        assert_eq!(report.completeness, Completeness::Stopped);
        adds_up(report);
        store.set_fault(Fault::None);
        let finished = import(&store, &file).await.report;
        assert_eq!((finished.read, finished.faults()), (32, 0));
        assert_eq!(export(&inner).await, file);
    }
}

#[tokio::test]
async fn an_existing_record_that_differs_is_a_conflict_and_unchanged() {
    let file = export(&furnished(10).await).await;
    let store = MemoryStore::new();
    import(&store, &file).await;
    let record = |n| token_record(&app_record(1), n);
    let target = |n| TokenTarget::any(record(n).id);
    store
        .rename(&target(1), "renamed", Timestamp::UNIX_EPOCH)
        .await
        .unwrap();
    store.revoke(&target(2), at(0)).await.unwrap();
    store.disable_app(&app_record(1).id, at(0)).await.unwrap();
    let before = export(&store).await;

    let again = import(&store, &file).await;
    assert_eq!(
        (again.report.conflicts, again.report.already_present),
        (3, 9)
    );
    let lines: Vec<&str> = file.lines().collect();
    let reported: Vec<_> = again.faults.iter().map(|fault| fault.line()).collect();
    assert_eq!(reported, [2, 12, 13]);
    assert!(again.faults.iter().all(|f| f.kind() == FaultKind::Conflict));
    let reasons: Vec<_> = again.faults.iter().map(|fault| fault.reason()).collect();
    for (reason, field) in reasons.iter().zip(["disabled_at", "revoked_at", "name"]) {
        assert!(reason.ends_with(&format!("differs in {field}")), "{reason}");
    }
    let rejected: Vec<&str> = again.rejects.lines().collect();
    assert_eq!(rejected, [lines[1], lines[11], lines[12]]);
    assert_eq!(export(&store).await, before);
}

#[tokio::test]
async fn a_digest_or_an_identifier_that_is_taken_is_a_conflict() {
    let file = export(&furnished(3).await).await;
    let store = MemoryStore::new();
    let app = app_record(1);
    store.insert_app(&app).await.unwrap();
    let (mut same_digest, mut same_id) = (token_record(&app, 100), token_record(&app, 101));
    same_digest.digest = token_record(&app, 1).digest;
    same_id.id = token_record(&app, 2).id;
    store.insert_all(&[same_digest, same_id]).await.unwrap();
    let imported = import(&store, &file).await;
    assert_eq!(
        (imported.report.conflicts, imported.report.inserted),
        (2, 2)
    );
    assert!(imported.faults[0].reason().contains("digest"));
    assert!(imported.faults[1].reason().contains("id"));
}

#[tokio::test]
async fn a_token_that_was_used_since_agrees_and_one_used_less_does_not() {
    let file = export(&furnished(7).await).await;
    let store = MemoryStore::new();
    import(&store, &file).await;
    let used = token_record(&app_record(1), 7).id;
    store
        .record_usage(&[Usage::new(used, at(1_000_000_000), 5)])
        .await
        .unwrap();
    let later = export(&store).await;
    assert_eq!(import(&store, &file).await.report.faults(), 0);
    let behind = MemoryStore::new();
    import(&behind, &file).await;
    let conflict = &import(&behind, &later).await.faults[0];
    assert!(
        conflict.reason().ends_with("last_used_at, uses"),
        "{conflict}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_of_one_file_share_the_work() {
    let file = export(&furnished(3000).await).await;
    let store = MemoryStore::new();
    let imports = (0..4).map(|_| {
        let (store, file) = (store.clone(), file.clone());
        tokio::spawn(async move {
            let report = import(&store, &file).await.report;
            (report, export(&store).await == file)
        })
    });
    let mut inserted = 0;
    for report in futures_util::future::join_all(imports).await {
        let (report, is_whole) = report.unwrap();
        assert!(is_whole);
        assert_eq!((report.read, report.faults()), (3002, 0));
        inserted += report.inserted;
    }
    assert_eq!(inserted, 3002);
}

#[tokio::test]
async fn every_transaction_of_an_import_has_an_event() {
    let file = export(&furnished(3).await).await;
    let (inner, now) = (
        MemoryStore::new(),
        Timestamp::new(1_800_000_000, 0).unwrap(),
    );
    let store = FaultyStore::new(inner.clone());
    let import = || {
        let import = Import::new(&store).clock(ManualClock::new(now));
        import.actor("ops").run(file.as_bytes())
    };
    store.set_fault(Fault::WriteError(StoreErrorKind::Full));
    assert!(import().await.is_err());
    assert!(tokens(&inner).await.is_empty());
    store.set_fault(Fault::None);
    import().await.unwrap();
    let events = inner.events(&AuditQuery::default()).await.unwrap().items;
    let value = |event: &AuditEvent, field: &str| {
        let change = event.changes.iter().find(|change| change.field == field);
        change.and_then(|change| change.new.clone())
    };
    let mut inserted = 0;
    for event in &events {
        assert_eq!((event.actor.as_str(), event.at), ("ops", now));
        assert_eq!(event.action, AuditAction::ImportTokens);
        assert_eq!(event.outcome, AuditOutcome::Done);
        assert_eq!(value(event, "import"), value(&events[0], "import"));
        inserted += value(event, "tokens").unwrap().parse::<usize>().unwrap();
    }
    assert_eq!(inserted, tokens(&inner).await.len());

    // An import that finds everything there has one event, and each import another identifier.
    import().await.unwrap();
    let later = inner.events(&AuditQuery::default()).await.unwrap().items;
    assert_eq!(later.len(), events.len() + 1);
    let new = later.iter().find(|event| !events.contains(event)).unwrap();
    assert_eq!(value(new, "tokens"), None);
    assert_ne!(value(new, "import"), value(&events[0], "import"));

    // Without an actor, the events name the operator.
    let other = MemoryStore::new();
    Import::new(&other).run(file.as_bytes()).await.unwrap();
    let unnamed = other.events(&AuditQuery::default()).await.unwrap().items;
    assert_eq!(unnamed.len(), events.len());
    assert!(unnamed.iter().all(|event| event.actor == "operator"));
}
