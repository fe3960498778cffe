//! Opening a store by its URL.

use tempfile::TempDir;
use tower_api_tokens::{AppId, AppRecord, StoreErrorKind, TokenRegistry, TokenRegistryExt};
use tower_api_tokens_sqlx::{AnyStore, Driver, connect};

fn url(directory: &TempDir) -> String {
    format!("sqlite://{}", directory.path().join("tokens.db").display())
}

fn app() -> AppRecord {
    let at = jiff::Timestamp::UNIX_EPOCH;
    AppRecord::new(AppId::new("billing").unwrap(), "Billing", at)
}

#[tokio::test]
async fn the_scheme_of_the_url_selects_the_store() {
    let directory = TempDir::new().unwrap();
    let store = connect(&url(&directory)).await.unwrap();
    assert_eq!(store.driver(), Driver::Sqlite);
    assert!(store.as_sqlite().is_some() && store.as_postgres().is_none());
    store.insert_app(&app()).await.unwrap();
    assert_eq!(store.app(&app().id).await.unwrap(), Some(app()));
    assert!(store.change_log().is_some() && store.usage_log().is_some());
    assert!(store.audit_log().is_some() && !store.is_read_only());
    store.close().await;
}

#[tokio::test]
async fn a_url_with_an_unknown_scheme_is_rejected_and_not_repeated() {
    for bad in ["", "tokens.db", "mysql://u:Sup3r@db/x", "Sup3r", "sqlite"] {
        let error = connect(bad).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::InvalidSettings, "{bad}");
        assert!(!format!("{error:?} {error}").contains("Sup3r"), "{error:?}");
        assert!(format!("{error:?}").contains("sqlite://PATH"), "{error:?}");
    }
    let error = connect("postgres://u:Sup3r@127.0.0.1:1/x").await;
    assert!(!format!("{:?}", error.unwrap_err()).contains("Sup3r"));
}

#[tokio::test]
async fn must_exist_creates_nothing_and_read_only_writes_nothing() {
    let directory = TempDir::new().unwrap();
    let url = url(&directory);
    for builder in [
        AnyStore::builder(&url).must_exist(),
        AnyStore::builder(&url).verify_only(),
        AnyStore::builder(&url).read_only(),
    ] {
        let error = builder.connect().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::NotFound);
    }
    assert!(!directory.path().join("tokens.db").exists());
    connect(&url).await.unwrap().close().await;
    let store = AnyStore::builder(&url).read_only().connect().await.unwrap();
    assert!(store.is_read_only() && store.usage_log().is_none());
    let error = store.insert_app(&app()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::ReadOnly);
    store.close().await;
}

#[tokio::test]
async fn lasting_stores_need_a_file_and_sqlite_has_no_schema() {
    let memory = AnyStore::builder("sqlite::memory:");
    assert!(memory.clone().connect().await.is_ok());
    for builder in [memory.clone().persistent(), memory.schema("tokens")] {
        let error = builder.connect().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::InvalidSettings);
    }
}

#[tokio::test]
async fn a_database_is_copied_unless_it_has_tools_for_that() {
    let directory = TempDir::new().unwrap();
    let (url, copy) = (url(&directory), directory.path().join("copy"));
    let store = connect(&url).await.unwrap();
    store.insert_app(&app()).await.unwrap();
    store.backup_to(&copy).await.unwrap();
    store
        .disable_app(&app().id, app().created_at)
        .await
        .unwrap();
    store.close().await;
    AnyStore::restore(&copy, &url).await.unwrap();
    let store = connect(&url).await.unwrap();
    assert_eq!(store.app(&app().id).await.unwrap(), Some(app()));
    store.close().await;

    let unlike = AnyStore::restore(&copy, "postgres://db.internal/platform").await;
    let error = unlike.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unsupported);
    assert!(format!("{error:?}").contains("pg_restore"), "{error:?}");
    for driver in Driver::ALL {
        assert_eq!(driver.backup_tools().is_none(), *driver == Driver::Sqlite);
    }
}
