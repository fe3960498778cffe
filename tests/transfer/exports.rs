use std::{error::Error, sync::Mutex};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tempfile::TempDir;
use tower_api_tokens::{
    MemoryStore, StoreErrorKind, TokenRegistryExt,
    testing::{Fault, FaultyStore},
    transfer::{Completeness, Export, Import, Progress, TransferErrorKind},
};
use tower_api_tokens_sqlx::SqliteStore;

use crate::support::{app_record, at, export, furnished, import, token_record, tokens};

async fn sqlite() -> (SqliteStore, TempDir) {
    let directory = TempDir::new().unwrap();
    let url = format!("sqlite://{}/tokens.db", directory.path().display());
    (SqliteStore::connect(&url).await.unwrap(), directory)
}

#[tokio::test]
async fn exports_are_identical_along_a_chain_of_stores() {
    let memory = furnished(2500).await;
    let file = export(&memory).await;
    let (sqlite, _directory) = sqlite().await;
    let there = import(&sqlite, &file).await.report;
    assert_eq!((there.read, there.inserted), (2502, 2502));
    assert_eq!(there.completeness, Completeness::Complete);
    assert_eq!(export(&sqlite).await, file);
    let back = MemoryStore::new();
    import(&back, export(&sqlite).await).await;
    assert_eq!(export(&back).await, file);
    assert_eq!(tokens(&back).await, tokens(&memory).await);
}

#[tokio::test]
async fn a_file_is_written_as_it_is_documented() {
    let store = MemoryStore::new();
    let mut app = app_record(1);
    store.insert_app(&app).await.unwrap();
    app.disabled_at = Some(at(5));
    store.disable_app(&app.id, at(5)).await.unwrap();
    store.insert(&token_record(&app, 1)).await.unwrap();
    let mut used = token_record(&app, 2);
    used.scopes = "write read".parse().unwrap();
    used.expires_at = Some(at(10));
    used.revoked_at = Some(at(9));
    used.successor = Some(token_record(&app, 1).id);
    used.last_used_at = Some(at(8));
    used.uses = 3;
    store.insert(&used).await.unwrap();
    let digest = |n: u32| token_record(&app, n).digest.to_hex();
    let expected = format!(
        r#"{{"format":"tower-api-tokens","version":1}}
{{"app":{{"id":"app-1","name":"App 1","created_at":"2027-01-15T08:00:00.000001Z","disabled_at":"2027-01-15T08:00:00.000005Z"}}}}
{{"token":{{"id":"00000002-0707-0707-0707-070707070707","digest":"{}","mask":"acme_…x7Kq","app":"app-1","name":"token 2","scopes":"read write","created_at":"2027-01-15T08:00:00.000002Z","expires_at":"2027-01-15T08:00:00.000010Z","revoked_at":"2027-01-15T08:00:00.000009Z","successor":"00000001-0707-0707-0707-070707070707","last_used_at":"2027-01-15T08:00:00.000008Z","uses":3}}}}
{{"token":{{"id":"00000001-0707-0707-0707-070707070707","digest":"{}","mask":"acme_…x7Kq","app":"app-1","name":"token 1","created_at":"2027-01-15T08:00:00.000001Z"}}}}
{{"end":{{"apps":1,"tokens":2}}}}
"#,
        digest(2),
        digest(1)
    );
    assert_eq!(export(&store).await, expected);
}

#[tokio::test]
async fn the_longest_record_fits_into_a_line() {
    let store = MemoryStore::new();
    let mut app = app_record(1);
    app.name = "\u{10ffff}".repeat(100);
    store.insert_app(&app).await.unwrap();
    let mut token = token_record(&app, 1);
    token.name = "\\".repeat(100);
    let scopes: Vec<String> = (0..8).map(|n| format!("{n}{}", "'".repeat(127))).collect();
    token.scopes = scopes[..7].join(" ").parse().unwrap();
    store.insert(&token).await.unwrap();
    let copy = MemoryStore::new();
    assert_eq!(import(&copy, export(&store).await).await.report.inserted, 2);
    assert_eq!(tokens(&copy).await, [token]);
}

#[tokio::test]
async fn progress_is_reported_up_to_the_last_byte() {
    let store = furnished(2500).await;
    let (told, mut file) = (Mutex::new(Vec::<Progress>::new()), Vec::new());
    Export::new(&store)
        .on_progress(|progress| told.lock().unwrap().push(progress))
        .run(&mut file)
        .await
        .unwrap();
    let told = told.into_inner().unwrap();
    assert!(told.len() >= 4 && told.is_sorted_by_key(|progress| progress.bytes));
    let last = told.last().unwrap();
    assert_eq!((last.lines, last.bytes), (2504, file.len() as u64));
}

#[tokio::test]
async fn a_token_issued_during_an_export_is_left_out_and_none_lacks_its_app() {
    let store = furnished(1500).await;
    let newcomer = app_record(0);
    let meanwhile = Mutex::new(Some((newcomer.clone(), token_record(&newcomer, 9000))));
    let mut file = Vec::new();
    let report = Export::new(&store)
        .on_progress(|_| {
            if let Some((app, token)) = meanwhile.lock().unwrap().take() {
                futures_util::future::FutureExt::now_or_never(async {
                    store.insert_app(&app).await.unwrap();
                    store.insert(&token).await.unwrap();
                })
                .unwrap();
            }
        })
        .run(&mut file)
        .await
        .unwrap();
    assert_eq!((report.apps, report.tokens), (2, 1500));
    let imported = import(&MemoryStore::new(), &file).await.report;
    assert_eq!((imported.inserted, imported.faults()), (1502, 0));
}

#[tokio::test]
async fn a_failing_store_and_a_full_disk_are_distinguished() {
    let store = FaultyStore::new(furnished(10).await);
    let mut small = [0; 100];
    let full = Export::new(&store)
        .run(std::io::Cursor::new(&mut small[..]))
        .await;
    let error = full.unwrap_err();
    assert_eq!(error.kind(), TransferErrorKind::Write, "{error:?}");
    store.set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let error = Export::new(&store).run(Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), TransferErrorKind::Store);
}

#[tokio::test]
async fn a_store_is_moved_into_another_without_a_file() {
    let (old, new) = (furnished(2500).await, MemoryStore::new());
    let report = Import::new(&new)
        .run_stream(Export::new(&old).stream())
        .await
        .unwrap();
    assert_eq!((report.inserted, report.faults()), (2502, 0));
    assert_eq!(report.completeness, Completeness::Complete);
    assert_eq!(export(&new).await, export(&old).await);
}

#[tokio::test]
async fn a_stream_holds_what_a_file_does_and_counts_it() {
    let store = furnished(2500).await;
    let (mut chunks, mut file) = (Export::new(&store).stream(), Vec::new());
    while let Some(chunk) = chunks.try_next().await.unwrap() {
        file.extend_from_slice(&chunk);
        assert_eq!(chunks.report().bytes, file.len() as u64);
    }
    assert!(chunks.next().await.is_none());
    assert_eq!((chunks.report().apps, chunks.report().tokens), (2, 2500));
    assert_eq!(export(&store).await.into_bytes(), file);
}

#[tokio::test]
async fn a_stream_ends_after_an_error_of_the_store() {
    let store = FaultyStore::new(furnished(2500).await);
    let mut chunks = Export::new(&store).stream();
    chunks.try_next().await.unwrap();
    store.set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let error = chunks.try_next().await.unwrap_err();
    assert_eq!(error.kind(), TransferErrorKind::Store);
    store.set_fault(Fault::None);
    assert!(chunks.next().await.is_none());
}

#[tokio::test]
async fn an_interrupted_stream_fails_the_import() {
    let store = MemoryStore::new();
    let line = export(&furnished(1).await).await;
    let chunks = stream::iter([Ok(Bytes::from(line)), Err("the connection was reset")]);
    let error = Import::new(&store).run_stream(chunks).await.unwrap_err();
    assert_eq!(error.kind(), TransferErrorKind::Read);
    assert_eq!(
        error.source().unwrap().to_string(),
        "the connection was reset"
    );
}
