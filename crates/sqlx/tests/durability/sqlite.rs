//! SQLite: a file that the killed process leaves behind with its journal.

use tempfile::TempDir;

use crate::{flawed::Flaw, ordeal::Ordeal, services::Test, violation::Violation};

const KILLS: u32 = 300;

/// The number of kills within which a flaw must show.
const KILLS_OF_FLAWED: u32 = 100;

pub(crate) fn tests() -> Vec<Test> {
    tests![
        a_killed_process_loses_nothing_in_sqlite,
        a_token_acknowledged_too_early_is_detected,
        a_rotation_acknowledged_too_early_is_detected,
        a_revocation_acknowledged_too_early_is_detected,
        a_rotation_in_two_steps_is_detected,
        an_audit_event_without_its_change_is_detected,
    ]
}

fn file(directory: &TempDir) -> String {
    format!("sqlite://{}/tokens.db", directory.path().display())
}

async fn a_killed_process_loses_nothing_in_sqlite() {
    let directory = TempDir::new().unwrap();
    let mut ordeal = Ordeal::on(&file(&directory), None).await;
    for _ in 0..KILLS {
        ordeal.kill_process().await.unwrap();
    }
    ordeal.has_hit_the_midst();
    ordeal.has_hit_both_sides();
}

async fn a_token_acknowledged_too_early_is_detected() {
    let violation = violation_of(Flaw::IssuesBehind).await;
    assert!(matches!(violation, Violation::Lost(_)), "{violation:?}");
}

async fn a_rotation_acknowledged_too_early_is_detected() {
    let violation = violation_of(Flaw::RotatesBehind).await;
    assert!(matches!(violation, Violation::Lost(_)), "{violation:?}");
}

async fn a_revocation_acknowledged_too_early_is_detected() {
    let violation = violation_of(Flaw::RevokesBehind).await;
    let is_missed = matches!(violation, Violation::Unheard(_) | Violation::Differs { .. });
    assert!(is_missed, "{violation:?}");
}

async fn a_rotation_in_two_steps_is_detected() {
    let violation = violation_of(Flaw::RotatesInTwoSteps).await;
    // Before its second step, or before the change is logged.
    let is_noticed = matches!(violation, Violation::Unaccounted(_) | Violation::Unheard(_));
    assert!(is_noticed, "{violation:?}");
}

async fn an_audit_event_without_its_change_is_detected() {
    let violation = violation_of(Flaw::RecordsApart).await;
    assert!(
        matches!(violation, Violation::Unrecorded(..)),
        "{violation:?}"
    );
}

/// Checks that a flaw is detected.
async fn violation_of(flaw: Flaw) -> Violation {
    let directory = TempDir::new().unwrap();
    let mut ordeal = Ordeal::on(&file(&directory), Some(flaw)).await;
    for _ in 0..KILLS_OF_FLAWED {
        if let Err(violation) = ordeal.kill_process().await {
            return violation;
        }
    }
    panic!("{flaw:?} was not noticed");
}
