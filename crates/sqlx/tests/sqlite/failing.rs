//! After a failed change, the next one succeeds as soon as the cause is gone.

use std::{process::Command, str::FromStr, time::Duration};

use futures_util::FutureExt;
use sqlx::{
    Connection,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::time::timeout;
use tower_api_tokens::{ApiTokens, NewToken, StoreError, StoreErrorKind, TokenQuery};
use tower_api_tokens_sqlx::SqliteStore;

use crate::support::{DEADLINE, File, Process, answer_lines, tokens, url};

fn kind(error: &tower_api_tokens::LifecycleError) -> Option<StoreErrorKind> {
    let source = std::error::Error::source(error)?;
    source.downcast_ref().map(StoreError::kind)
}

/// A store with settings that no URL has.
async fn on_pool(options: SqliteConnectOptions) -> SqliteStore {
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options);
    let store = SqliteStore::builder_on(pool.await.unwrap()).connect().await;
    store.unwrap()
}

#[tokio::test]
async fn a_full_disk_fails_changes_atomically_and_verification_continues() {
    let file = File::new();
    file.open().await.close().await;
    let options = SqliteConnectOptions::from_str(&file.url()).unwrap();
    let full = options.pragma("max_page_count", "24");
    let store = on_pool(full).await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let mut issued = Vec::new();
    let refused = async {
        loop {
            match platform.issue(&app.id, NewToken::named("ci")).await {
                Ok(token) => issued.push(token),
                Err(error) => break error,
            }
        }
    };
    let error = timeout(DEADLINE, refused).await.expect("the disk is full");
    let source = std::error::Error::source(&error).unwrap();
    let kind = source.downcast_ref().map(StoreError::kind);
    assert_eq!(kind, Some(StoreErrorKind::Full));
    assert!(!issued.is_empty());
    let count = |store: ApiTokens| async move {
        let page = store
            .list(&TokenQuery::default().limit(1000))
            .await
            .unwrap();
        page.items.len()
    };
    assert_eq!(
        count(platform.clone()).await,
        issued.len(),
        "nothing half done"
    );
    for token in &issued {
        let presented = token.token().expose().as_bytes();
        platform
            .authenticator()
            .authenticate(presented)
            .await
            .unwrap();
    }
    store.close().await;
    // With room again, everything continues.
    let platform = tokens(&file.open().await);
    assert_eq!(count(platform.clone()).await, issued.len());
    let _issued = platform
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
}

/// A limit that is lifted in the same process, because a store in memory has no file to reopen.
#[tokio::test]
async fn changes_succeed_again_once_the_disk_has_room() {
    let file = File::new();
    for url in [file.url(), "sqlite::memory:".to_owned()] {
        let options = SqliteConnectOptions::from_str(&url).unwrap();
        let options = options
            .create_if_missing(true)
            .pragma("max_page_count", "64");
        let store = on_pool(options).await;
        let platform = tokens(&store);
        let app = platform.create_app("Billing").await.unwrap();
        for _ in 0..50 {
            let issued = platform
                .issue(&app.id, NewToken::named("ci"))
                .await
                .unwrap();
            platform.revoke(issued.record().id).await.unwrap();
        }
        // A change that needs no new page may still fit after one that did not.
        let fill = async {
            let mut failures = 0;
            while failures < 4 {
                match platform.issue(&app.id, NewToken::named("ci")).await {
                    Ok(_) => failures = 0,
                    Err(error) => {
                        assert_eq!(kind(&error), Some(StoreErrorKind::Full), "{error:?}");
                        failures += 1;
                    }
                }
            }
        };
        timeout(DEADLINE, fill).await.expect("the limit is reached");
        let removed = platform.purge(jiff::Timestamp::MAX).await.unwrap();
        assert_eq!(removed, 50);
        let _issued = platform
            .issue(&app.id, NewToken::named("ci"))
            .await
            .unwrap();
        store.close().await;
    }
}

/// A limit on the size of files simulates a failing disk: writes fail with an I/O error or a full disk.
#[cfg(unix)]
#[tokio::test]
async fn changes_succeed_again_once_the_disk_recovers() {
    let file = File::new();
    file.open().await.close().await;
    let test = std::env::current_exe().unwrap();
    let mut command = Command::new("sh");
    // Exceeding the limit causes an error instead of a signal.
    command
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(test);
    let mut process = Process::start_by(command, "failing::a_process_with_a_limit");
    process.tell(&format!("open {}", file.url()));
    assert_eq!(process.answer(), "done");
    for _ in 0..3 {
        process.tell("limit 20000");
        assert_eq!(process.answer(), "done");
        process.tell("fill");
        assert!(matches!(process.answer().as_str(), "Full" | "Unavailable"));
        process.tell("issue");
        assert!(matches!(process.answer().as_str(), "Full" | "Unavailable"));
        process.tell("unlimited");
        assert_eq!(process.answer(), "done");
        process.tell("issue");
        assert_eq!(process.answer(), "done");
    }
    // A process that starts while the disk is full reports it.
    process.tell("limit 0");
    assert_eq!(process.answer(), "done");
    process.tell(&format!(
        "open {}",
        url(&file.directory.path().join("other.db"))
    ));
    assert_eq!(process.answer(), "Full");
    process.tell("unlimited");
    assert_eq!(process.answer(), "done");
    process.tell(&format!(
        "open {}",
        url(&file.directory.path().join("other.db"))
    ));
    assert_eq!(process.answer(), "done");
}

#[cfg(unix)]
#[tokio::test]
#[ignore = "started by another test"]
async fn a_process_with_a_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let hard = getrlimit(Resource::Fsize).maximum;
    let limit = |bytes| {
        let limit = Rlimit {
            current: bytes,
            maximum: hard,
        };
        setrlimit(Resource::Fsize, limit).unwrap();
    };
    let mut open: Option<(ApiTokens, tower_api_tokens::AppId)> = None;
    answer_lines(async |line| {
        let failed = match line.split_once(' ').unwrap_or((&line, "")) {
            ("open", url) => match SqliteStore::connect(url).await {
                Ok(store) => {
                    let platform = tokens(&store);
                    let app = platform.create_app("Billing").await.unwrap();
                    open = Some((platform, app.id));
                    None
                }
                Err(error) => Some(error.kind()),
            },
            ("limit", bytes) => {
                limit(Some(bytes.parse().unwrap()));
                None
            }
            ("unlimited", _) => {
                limit(hard);
                None
            }
            (what, _) => {
                let (platform, app) = open.as_ref().unwrap();
                loop {
                    match platform.issue(app, NewToken::named("ci")).await {
                        Ok(_) if what == "fill" => {}
                        Ok(_) => break None,
                        Err(error) => break kind(&error),
                    }
                }
            }
        };
        failed.map_or_else(|| "done".to_owned(), |kind| format!("{kind:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_lock_timeout_fails_only_one_change() {
    let file = File::new();
    let platform = tokens(&file.open().await);
    let app = platform.create_app("Billing").await.unwrap();
    let mut other = file.connect().await;
    for _ in 0..2 {
        sqlx::raw_sql("BEGIN IMMEDIATE")
            .execute(&mut other)
            .await
            .unwrap();
        let refused = platform
            .issue(&app.id, NewToken::named("ci"))
            .await
            .unwrap_err();
        assert_eq!(kind(&refused), Some(StoreErrorKind::Unavailable));
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
        let _issued = platform
            .issue(&app.id, NewToken::named("ci"))
            .await
            .unwrap();
    }
    other.close().await.unwrap();
}

#[tokio::test]
async fn a_dropped_change_does_not_affect_the_next() {
    let file = File::new();
    for url in [file.url(), "sqlite::memory:".to_owned()] {
        let store = SqliteStore::connect(&url).await.unwrap();
        let platform = tokens(&store);
        let app = platform.create_app("Billing").await.unwrap();
        for patience in 0..50 {
            let issue = platform.issue(&app.id, NewToken::named("dropped"));
            // The change has begun, and is dropped after a varying delay.
            let mut issue = Box::pin(issue);
            assert!((&mut issue).now_or_never().is_none());
            let _ = timeout(Duration::from_micros(patience * 20), issue).await;
            let issued = platform
                .issue(&app.id, NewToken::named("kept"))
                .await
                .unwrap();
            platform.revoke(issued.record().id).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_failed_statement_changes_nothing() {
    let file = File::new();
    let store = file.open().await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    file.execute(
        "CREATE TRIGGER broken BEFORE INSERT ON api_tokens BEGIN SELECT RAISE(ROLLBACK, 'on purpose'); END",
    )
    .await;
    assert!(
        platform
            .issue(&app.id, NewToken::named("ci"))
            .await
            .is_err()
    );
    assert!(
        platform
            .issue(&app.id, NewToken::named("ci"))
            .await
            .is_err()
    );
    file.execute("DROP TRIGGER broken").await;
    let _issued = platform
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    let all = platform.list(&TokenQuery::default()).await.unwrap();
    assert_eq!(all.items.len(), 1);
}
