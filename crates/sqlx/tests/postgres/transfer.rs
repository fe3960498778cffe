//! Transfers from SQLite to PostgreSQL and back.

#[path = "../../../../tests/transfer/support.rs"]
#[expect(dead_code, reason = "the tests of other stores take more of it")]
mod records;

use tower_api_tokens::{TokenRegistry, transfer::Completeness};
use tower_api_tokens_sqlx::SqliteStore;

use crate::{services::Test, support::fresh};
use records::{export, furnish, import};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        (
            "records_move_from_sqlite_to_postgres_and_back_byte_for_byte",
            || Box::pin(records_move_from_sqlite_to_postgres_and_back_byte_for_byte()),
        ),
        ("an_interrupted_import_is_completed_by_another", || {
            Box::pin(an_interrupted_import_is_completed_by_another())
        }),
        (
            "records_rejected_by_the_database_are_reported_by_line",
            || Box::pin(records_rejected_by_the_database_are_reported_by_line()),
        ),
    ]
}

async fn sqlite() -> SqliteStore {
    SqliteStore::connect("sqlite::memory:").await.unwrap()
}

async fn records_move_from_sqlite_to_postgres_and_back_byte_for_byte() {
    let (old, new) = (sqlite().await, sqlite().await);
    let (postgres, _schema) = fresh().await;
    furnish(&old, 3000).await;
    let file = export(&old).await;
    for store in [&postgres as &dyn TokenRegistry, &new] {
        let report = import(store, &file).await.report;
        assert_eq!((report.inserted, report.faults()), (3002, 0));
        assert_eq!(report.completeness, Completeness::Complete);
        assert!(export(store).await == file, "the export is the same");
    }
}

async fn an_interrupted_import_is_completed_by_another() {
    let (old, (postgres, _schema)) = (sqlite().await, fresh().await);
    furnish(&old, 2500).await;
    let file = export(&old).await;
    let cut = import(&postgres, &file.as_bytes()[..file.len() / 2]).await;
    assert_eq!(cut.report.completeness, Completeness::Incomplete);
    let (begun, finished) = (cut.report.inserted, import(&postgres, &file).await.report);
    assert!(begun > 1000);
    assert_eq!((finished.already_present, finished.faults()), (begun, 0));
    assert!(export(&postgres).await == file, "nothing is missing");
}

async fn records_rejected_by_the_database_are_reported_by_line() {
    let (old, (postgres, _schema)) = (sqlite().await, fresh().await);
    furnish(&old, 1500).await;
    let file = export(&old).await;
    import(&postgres, &file).await;
    let mut lines: Vec<_> = file.lines().map(str::to_owned).collect();
    for line in [20, 700, 1400] {
        lines[line] = lines[line].replace("\"name\":\"", "\"name\":\"re");
        lines[line + 1] = lines[line + 1].replace("0707-", "0708-");
    }
    let imported = import(&postgres, lines.join("\n")).await;
    let lines: Vec<_> = imported.faults.iter().map(|fault| fault.line()).collect();
    assert_eq!(lines, [21, 22, 701, 702, 1401, 1402]);
    assert_eq!(
        (imported.report.conflicts, imported.report.already_present),
        (6, 1496)
    );
    assert!(export(&postgres).await == file, "nothing was changed");
}
