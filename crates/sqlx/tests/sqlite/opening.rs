//! Opening: concurrently, from older versions, and with errors.

use std::{fs, path::Path, process::Command};

use sqlx::{Row, SqlitePool, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tower_api_tokens::{AppId, AppQuery, StoreErrorKind, TokenRegistry};
use tower_api_tokens_sqlx::SqliteStore;

use crate::support::{File, Process, RELEASED, answer_lines, message, tokens, url, write_version};

const OPENERS: usize = 8;
const ROUNDS: usize = 50;

/// The file before it is opened: missing, or written by a released version.
async fn prepare(file: &Path, version: usize) {
    if version > 0 {
        write_version(file, version).await;
    }
}

/// Opens and reads a file, as every process does at startup.
async fn open_and_read(url: &str) -> Result<(), String> {
    let store = SqliteStore::connect(url)
        .await
        .map_err(|error| message(&error))?;
    let apps = store.apps(&AppQuery::default()).await;
    apps.map_err(|error| message(&error))?;
    store.close().await;
    Ok(())
}

async fn processes_open_one_file(version: usize) {
    let directory = TempDir::new().unwrap();
    let mut openers: Vec<_> = (0..OPENERS)
        .map(|_| Process::start("opening::a_process_that_opens_files"))
        .collect();
    for round in 0..ROUNDS {
        let file = directory.path().join(format!("{round}.db"));
        prepare(&file, version).await;
        for opener in &mut openers {
            opener.tell(&url(&file));
        }
        for opener in &mut openers {
            assert_eq!(opener.answer(), "opened", "round {round}");
        }
    }
}

#[tokio::test]
#[ignore = "started by other tests"]
async fn a_process_that_opens_files() {
    answer_lines(async |url| match open_and_read(&url).await {
        Ok(()) => "opened".to_owned(),
        Err(error) => error,
    })
    .await;
}

#[tokio::test]
async fn processes_create_one_file_concurrently() {
    processes_open_one_file(0).await;
}

#[tokio::test]
async fn processes_upgrade_one_file_of_version_1_concurrently() {
    processes_open_one_file(1).await;
}

#[tokio::test]
async fn processes_upgrade_one_file_of_version_2_concurrently() {
    processes_open_one_file(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_of_one_process_open_one_file_concurrently() {
    let directory = TempDir::new().unwrap();
    for round in 0..ROUNDS {
        let file = directory.path().join(format!("{round}.db"));
        prepare(&file, round % (RELEASED + 1)).await;
        let openers: Vec<_> = (0..OPENERS)
            .map(|_| {
                let url = url(&file);
                tokio::spawn(async move { open_and_read(&url).await })
            })
            .collect();
        for opener in openers {
            assert_eq!(opener.await.unwrap(), Ok(()), "round {round}");
        }
    }
}

#[tokio::test]
async fn processes_upgrade_one_file_of_version_3_concurrently() {
    processes_open_one_file(3).await;
}

#[tokio::test]
async fn processes_upgrade_one_file_of_version_4_concurrently() {
    processes_open_one_file(4).await;
}

#[tokio::test]
async fn files_of_every_version_are_upgraded_without_loss() {
    for version in 1..=RELEASED {
        let file = File::new();
        write_version(&file.path(), version).await;
        // Versions from the third on reject this mask and the other app's identifier.
        let (mask, other) = if version < 3 {
            ("abc", "an/other")
        } else {
            ("a…c", "other")
        };
        file.execute(&format!(
            "INSERT INTO api_token_apps (id, name, created_at, disabled_at) VALUES ('app', 'Billing', 1, NULL), ('{other}', 'Other', 2, NULL);
             INSERT INTO api_tokens (id, digest, mask, app_id, name, scopes, created_at)
             VALUES (zeroblob(16), zeroblob(32), '{mask}', 'app', 'ci', 'read', 3)",
        ))
        .await;
        let store = file.open().await;
        let app = AppId::new("app").unwrap();
        assert_eq!(store.app(&app).await.unwrap().unwrap().name, "Billing");
        tokens(&store).create_app("Another").await.unwrap();
        let mut connection = file.connect().await;
        let rows = sqlx::query("SELECT name, mask FROM api_tokens")
            .fetch_all(&mut connection)
            .await
            .unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].get::<&str, _>(1), mask);
    }
}

#[tokio::test]
async fn invalid_urls_and_paths_are_rejected() {
    for url in ["postgres://localhost/tokens", "tokens.db", "", "mysql:x"] {
        let error = SqliteStore::connect(url).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::InvalidSettings, "{url}");
        assert!(message(&error).contains("sqlite://PATH"), "{error:?}");
    }
    let error = SqliteStore::connect("sqlite:///no/such/directory/tokens.db")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::InvalidSettings);
    assert!(message(&error).contains("/no/such/directory"), "{error:?}");
    let directory = TempDir::new().unwrap();
    let error = SqliteStore::connect(&url(directory.path()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::InvalidSettings);
    assert!(message(&error).contains("name a file"), "{error:?}");
}

#[tokio::test]
async fn a_url_without_a_file_is_rejected() {
    for url in [
        "sqlite:",
        "sqlite://",
        "sqlite://?mode=rwc",
        "sqlite:?mode=ro",
        "sqlite://?mode=rw&cache=private",
        "sqlite:// ",
        "sqlite://%20",
        "sqlite:file:",
        "sqlite:file:tokens.db",
        "sqlite:file::memory:",
        "sqlite://tokens.db?m%6Fde=memory",
        "sqlite://tokens.db?mode=ro&mode=memory",
        "sqlite://tokens.db?mode=mem%6Fry",
    ] {
        let builder = || SqliteStore::builder(url);
        for builder in [builder(), builder().must_exist(), builder().read_only()] {
            let error = builder.connect().await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::InvalidSettings, "{url}");
        }
    }
    let error = SqliteStore::connect("sqlite://").await.unwrap_err();
    assert!(message(&error).contains("sqlite://PATH"), "{error:?}");
    for options in [
        SqliteConnectOptions::new(),
        SqliteConnectOptions::new().filename(""),
        SqliteConnectOptions::new().in_memory(true),
        SqliteConnectOptions::new()
            .in_memory(true)
            .filename("tokens"),
    ] {
        let pool = SqlitePool::connect_lazy_with(options);
        let error = SqliteStore::builder_on(pool).connect().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::InvalidSettings, "{error:?}");
    }
    assert!(!Path::new("tokens.db").exists() && !Path::new("tokens").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_private_with_any_umask() {
    use std::os::unix::fs::PermissionsExt;

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let file = File::new();
    for (umask, expected) in [("022", 0o600), ("000", 0o600), ("077", 0o600)] {
        let made = file.directory.path().join(format!("{umask}.db"));
        let mut command = Command::new("sh");
        let test = std::env::current_exe().unwrap();
        command
            .args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")])
            .arg(test);
        let mut process = Process::start_by(command, "opening::a_process_that_keeps_files_open");
        process.tell(&url(&made));
        assert_eq!(process.answer(), "opened");
        for suffix in ["", "-wal", "-shm"] {
            let path = file.directory.path().join(format!("{umask}.db{suffix}"));
            assert_eq!(mode(&path), expected, "{}", path.display());
        }
        let backup = file.directory.path().join(format!("{umask}.db.backup"));
        assert_eq!(mode(&backup), expected, "{}", backup.display());
    }
    // An existing file keeps its permissions.
    file.open().await.close().await;
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
    let store = file.open().await;
    tokens(&store).create_app("Billing").await.unwrap();
    assert_eq!(mode(&file.path()), 0o640);
    // No temporary file is left.
    let mut left: Vec<_> = fs::read_dir(file.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("new"))
        .collect();
    left.sort();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
#[ignore = "started by other tests"]
async fn a_process_that_keeps_files_open() {
    let mut open = Vec::new();
    answer_lines(async |url| {
        let store = SqliteStore::connect(&url).await.unwrap();
        tokens(&store).create_app("Billing").await.unwrap();
        let backup = format!("{}.backup", url.trim_start_matches("sqlite://"));
        store.backup_to(backup).await.unwrap();
        open.push(store);
        "opened".to_owned()
    })
    .await;
}
