use super::*;

fn digest(n: u32) -> TokenDigest {
    TokenDigest::of(&n.to_be_bytes())
}

fn app(n: u32) -> AppId {
    AppId::new(&format!("app{n}")).unwrap()
}

/// Complete, after a scan that showed a token of each of three apps.
fn complete() -> Preload {
    let preload = Preload::new();
    preload.reset();
    preload.begin_scan();
    assert!((0..3).all(|n| preload.admits_scanned(&digest(n), &app(n))));
    assert!(preload.end_scan(true));
    assert!(preload.is_complete());
    preload
}

#[test]
fn the_cache_is_complete_only_after_a_full_scan_without_losses() {
    let preload = Preload::new();
    preload.reset();
    assert_eq!(preload.wants_scan(), Some(Loss::NotLoaded));
    preload.begin_scan();
    assert!(!preload.end_scan(false) && !preload.is_complete());
    preload.begin_scan();
    preload.lose(Loss::Capacity);
    assert!(!preload.scan_is_valid());
    assert!(!preload.end_scan(true) && !preload.is_complete());
    assert_eq!(preload.wants_scan(), Some(Loss::Capacity));
    preload.begin_scan();
    assert!(preload.end_scan(true) && preload.is_complete());
    assert_eq!(preload.wants_scan(), None);
}

#[test]
fn a_loss_ends_completeness_for_readers_that_looked_before() {
    let preload = complete();
    let version = preload.complete_version();
    preload.lose(Loss::Clock);
    assert_eq!(preload.complete_version(), None);
    preload.begin_scan();
    assert!(preload.end_scan(true));
    assert!(preload.is_complete());
    assert_ne!(preload.complete_version(), version);
}

#[test]
fn a_changed_token_is_pending_until_an_answer_is_covered() {
    let preload = complete();
    preload.token_changed(&digest(7));
    assert!(preload.is_complete() && preload.is_pending(&digest(7)));
    assert_eq!((preload.pending(), preload.due(0)), (1, vec![digest(7)]));
    preload.mark_pending(&digest(7), 10);
    assert!(preload.due(9).is_empty());
    assert_eq!((preload.pending(), preload.due(10)), (1, vec![digest(7)]));
    preload.clear_pending(&digest(7));
    assert!(!preload.is_pending(&digest(7)));
    assert_eq!(preload.pending(), 0);
}

#[test]
fn no_page_undoes_a_change_made_since_the_scan_began() {
    let preload = complete();
    preload.lose(Loss::Capacity);
    preload.begin_scan();
    preload.token_changed(&digest(1));
    preload.clear_pending(&digest(1));
    assert!(!preload.admits_scanned(&digest(1), &app(1)));
    preload.app_changed(&app(2));
    assert!(!preload.admits_scanned(&digest(2), &app(2)));
    assert!(preload.is_pending(&digest(2)), "it is read by itself");
    assert!(preload.end_scan(true));
    assert!(
        !preload.is_complete(),
        "more tokens of the app may be missing"
    );
    preload.begin_scan();
    assert!(preload.admits_scanned(&digest(2), &app(2)));
    assert!(preload.end_scan(true) && preload.is_complete());
}

#[test]
fn a_change_of_an_app_ends_completeness_unless_all_its_tokens_are_cached() {
    let preload = complete();
    preload.app_changed(&app(0));
    assert!(preload.is_complete());
    // The app may have been disabled when its tokens were loaded.
    preload.app_changed(&app(3));
    assert!(!preload.is_complete());
    assert_eq!(preload.wants_scan(), Some(Loss::NotLoaded));
    preload.begin_scan();
    assert!(preload.end_scan(true) && preload.is_complete());
    // An app that is now seen enabled has been enabled all along.
    preload.app_is_enabled(&app(4));
    preload.app_changed(&app(4));
    assert!(preload.is_complete());
}

#[test]
fn a_suspect_app_stays_suspect_until_the_next_scan() {
    let preload = complete();
    preload.app_changed(&app(3));
    preload.app_is_enabled(&app(3));
    assert!(!preload.is_complete());
    preload.app_changed(&app(3));
    preload.begin_scan();
    preload.app_changed(&app(3));
    assert!(preload.end_scan(true));
    assert!(!preload.is_complete());
}

#[test]
fn changes_are_recorded_only_during_a_scan() {
    let preload = complete();
    let changed = || {
        let shards = preload.shards.iter();
        shards.map(|shard| lock(shard).changed.len()).sum::<usize>()
    };
    for n in 0..100 {
        preload.token_changed(&digest(n));
        preload.clear_pending(&digest(n));
    }
    assert_eq!(changed(), 0);
    preload.begin_scan();
    preload.token_changed(&digest(1));
    assert!(!preload.admits_scanned(&digest(1), &app(1)));
    assert!(preload.admits_scanned(&digest(2), &app(1)));
    assert!(preload.end_scan(true));
    assert_eq!(changed(), 0);
}
