//! Stores that are opened as read-only.

use std::{fs, path::Path, process::Command};

use tower_api_tokens::{
    AppQuery, LifecycleErrorKind, NewToken, StoreError, StoreErrorKind, TokenQuery, TokenRegistry,
};
use tower_api_tokens_sqlx::SqliteStore;

use crate::support::{File, Process, answer_lines, message, tokens, url};

#[tokio::test]
async fn the_settings_of_a_store_are_those_of_a_builder() {
    let file = File::new();
    let builder = || SqliteStore::builder(&file.url());
    for missing in [builder().must_exist(), builder().read_only()] {
        let error = missing.connect().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::NotFound, "{error:?}");
        assert!(!file.path().exists());
    }
    let memory = SqliteStore::builder("sqlite::memory:");
    for refused in [memory.clone().persistent(), memory.clone().read_only()] {
        let error = refused.connect().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::InvalidSettings);
        assert!(message(&error).contains("sqlite://PATH"), "{error:?}");
    }
    memory.must_exist().connect().await.unwrap();
    file.open().await;
    builder().must_exist().persistent().connect().await.unwrap();
    for mode in ["", "?mode=rw", "?mode=rwc", "?mode=ro"] {
        let url = format!("{}{mode}", file.url());
        let reading = SqliteStore::builder(&url).read_only().connect().await;
        let refused = tokens(&reading.unwrap()).create_app("Billing").await;
        let refused = refused.unwrap_err();
        let source = std::error::Error::source(&refused).unwrap();
        let kind = source.downcast_ref().map(StoreError::kind);
        assert_eq!(kind, Some(StoreErrorKind::ReadOnly), "{mode}");
    }
}

#[tokio::test]
async fn a_store_opened_for_reading_verifies_and_refuses_changes() {
    let file = File::new();
    let url = format!("{}?mode=ro", file.url());
    assert!(
        SqliteStore::connect(&url).await.is_err(),
        "nothing is created"
    );
    assert!(!file.path().exists());
    let writing = tokens(&file.open().await);
    let app = writing.create_app("Billing").await.unwrap();
    let issued = writing.issue(&app.id, NewToken::named("ci")).await.unwrap();

    let reading = tokens(&SqliteStore::connect(&url).await.unwrap());
    let presented = issued.token().expose().as_bytes();
    reading
        .authenticator()
        .authenticate(presented)
        .await
        .unwrap();
    let refused = reading
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), LifecycleErrorKind::Store);
    let refused = reading.revoke(issued.record().id).await.unwrap_err();
    let source = std::error::Error::source(&refused).unwrap();
    let kind = source.downcast_ref().map(StoreError::kind);
    assert_eq!(kind, Some(StoreErrorKind::ReadOnly));
    assert_eq!(
        writing
            .list(&TokenQuery::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    // Requests are served although their usage cannot be recorded.
    let follower = reading.follow().start().await.unwrap();
    reading
        .authenticator()
        .authenticate(presented)
        .await
        .unwrap();
    assert!(follower.stop().await.is_err());
}

/// Runs this program as a user other than root, who would ignore permissions.
#[cfg(unix)]
fn unprivileged() -> Process {
    use std::os::unix::process::CommandExt;

    let mut command = Command::new(std::env::current_exe().unwrap());
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    Process::start_by(command, "read_only::a_process_that_reads_files")
}

#[cfg(unix)]
#[tokio::test]
#[ignore = "started by other tests"]
async fn a_process_that_reads_files() {
    let mut open: Option<SqliteStore> = None;
    answer_lines(async |line| {
        if line == "read" {
            let read = open.as_ref().unwrap().apps(&AppQuery::default()).await;
            return match read {
                Ok(apps) => apps.items.len().to_string(),
                Err(error) => message(&error),
            };
        }
        match SqliteStore::connect(&line).await {
            Ok(store) => {
                open = Some(store);
                "opened".to_owned()
            }
            Err(error) => format!("{:?} {}", error.kind(), message(&error)),
        }
    })
    .await;
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;

    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_in_a_write_protected_directory_can_be_read() {
    let file = File::new();
    let store = file.open().await;
    tokens(&store).create_app("Billing").await.unwrap();
    store.close().await;
    set_mode(&file.path(), 0o644);
    set_mode(file.directory.path(), 0o555);
    let mut reader = unprivileged();
    reader.tell(&format!("{}?mode=ro", file.url()));
    assert_eq!(reader.answer(), "opened");
    reader.tell("read");
    assert_eq!(reader.answer(), "1");
    // Opening it for writing fails, and the message explains how to read it.
    let mut writer = unprivileged();
    writer.tell(&file.url());
    let refused = writer.answer();
    assert!(
        refused.starts_with("ReadOnly") && refused.contains("?mode=ro"),
        "{refused}"
    );
    // Once another process changes the file, the reader cannot follow, and returns no old data.
    set_mode(file.directory.path(), 0o755);
    tokens(&file.open().await)
        .create_app("Another")
        .await
        .unwrap();
    reader.tell("read");
    let refused = reader.answer();
    assert!(refused.contains("restart this process"), "{refused}");
}

#[cfg(unix)]
#[tokio::test]
async fn unmerged_changes_are_never_ignored() {
    let file = File::new();
    let store = file.open().await;
    tokens(&store).create_app("Billing").await.unwrap();
    // As after a crash: the log contains changes that the file lacks.
    let copy = File::new();
    let link = copy.directory.path().join("link.db");
    std::os::unix::fs::symlink("tokens.db", &link).unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("tokens.db{suffix}");
        fs::copy(
            file.directory.path().join(&name),
            copy.directory.path().join(&name),
        )
        .unwrap();
        set_mode(&copy.directory.path().join(&name), 0o644);
    }
    set_mode(copy.directory.path(), 0o555);
    let mut reader = unprivileged();
    for path in [copy.path(), link] {
        reader.tell(&format!("{}?mode=ro", url(&path)));
        let refused = reader.answer();
        assert!(refused.contains("tokens.db-wal"), "{refused}");
        assert!(refused.contains("cannot be written"), "{refused}");
    }
    set_mode(copy.directory.path(), 0o755);
    store.close().await;
}
