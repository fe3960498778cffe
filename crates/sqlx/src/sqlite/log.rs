//! The write-ahead log of a file: who may write next, and when it is merged into the file.

use std::{
    fs::{self, File},
    path::{self, Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tokio::sync::oneshot;

use super::{file::beside, writer::execute};

/// The length from which the log is merged even while others read.
///
/// SQLite itself merges it from 4 MiB on, but it starts to write at the beginning again only at a moment at which
/// nobody reads. With many readers, there is no such moment.
const LONG: u64 = 16 << 20;

/// The length to which SQLite shortens the file when it starts to write at the beginning again.
pub(super) const SHORT: u64 = LONG / 4;

/// How much the log must grow before another attempt to merge it, after a reader has prevented one.
const GROWTH: u64 = LONG / 4;

/// How long changes wait for readers, so that the log can be merged.
const MERGE_TIMEOUT: Duration = Duration::from_millis(250);

pub(super) struct WriteAheadLog {
    path: PathBuf,
    /// The length at which it is merged next.
    next: AtomicU64,
    waiting: Arc<Mutex<Waiting>>,
}

impl WriteAheadLog {
    pub(super) fn of(database: &Path) -> Self {
        let path = beside(database, "-wal");
        Self {
            path: path::absolute(&path).unwrap_or(path),
            next: AtomicU64::new(LONG),
            waiting: Arc::default(),
        }
    }

    /// Waits until no other process of this library writes. It is their turn again once the result is dropped.
    ///
    /// SQLite has no queue: a waiting process looks now and then whether the database is locked, and may never see
    /// it unlocked while others write. So all lock the log first, on which SQLite has no locks. Processes that do
    /// not are waited for by SQLite.
    pub(super) async fn turn(&self) -> Option<Turn> {
        if !cfg!(unix) {
            // These locks would keep SQLite itself from reading and writing.
            return None;
        }
        let log = File::open(&self.path).ok()?;
        match log.try_lock() {
            Ok(()) => return Some(Turn { _locked: log }),
            Err(fs::TryLockError::WouldBlock) => {}
            Err(fs::TryLockError::Error(_)) => return None,
        }
        self.wait(log)?.await.ok()
    }

    /// Waits for the lock in a thread, or in place of the last caller if its thread still waits.
    ///
    /// A lock cannot be waited for with a timeout, so the threads of callers that gave up would accumulate.
    fn wait(&self, log: File) -> Option<oneshot::Receiver<Turn>> {
        let (sender, turn) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        waiting.caller = Some(sender);
        if !waiting.has_thread {
            let shared = Arc::clone(&self.waiting);
            // A thread of its own, because a runtime waits for its threads when it shuts down.
            thread::Builder::new()
                .name("api-tokens-turn".to_owned())
                .spawn(move || pass_on(log, &shared))
                .ok()?;
            waiting.has_thread = true;
        }
        Some(turn)
    }

    /// Merges the log into the file if it is long. That may fail, and is then tried again later.
    pub(super) async fn merge_if_long(&self, options: &SqliteConnectOptions) {
        if self.length() >= self.next.load(Relaxed) {
            self.merge(options).await;
        }
        let length = self.length();
        if length < LONG {
            self.next.store(LONG, Relaxed);
        } else if length >= self.next.load(Relaxed) {
            self.next.store(length + GROWTH, Relaxed);
        }
    }

    fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    async fn merge(&self, options: &SqliteConnectOptions) {
        let options = options.clone().busy_timeout(MERGE_TIMEOUT);
        let Ok(mut connection) = options.connect().await else {
            return;
        };
        // Readers that come later no longer read the log, so only those that are reading now are waited for.
        drop(execute(&mut connection, "PRAGMA wal_checkpoint(TRUNCATE)").await);
        drop(connection.close().await);
    }
}

/// The caller and the thread that wait for the lock of a log.
#[derive(Default)]
struct Waiting {
    /// The last caller, even if it has given up.
    caller: Option<oneshot::Sender<Turn>>,
    has_thread: bool,
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for the lock, and passes it on to the caller that waits by then.
fn pass_on(log: File, waiting: &Mutex<Waiting>) {
    let locked = log.lock();
    let mut waiting = lock(waiting);
    waiting.has_thread = false;
    let caller = waiting.caller.take();
    if let (Ok(()), Some(caller)) = (locked, caller) {
        // Unlocks it if the caller has given up.
        drop(caller.send(Turn { _locked: log }));
    }
}

/// The right to write before others.
pub(super) struct Turn {
    _locked: File,
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn log_in(directory: &tempfile::TempDir) -> WriteAheadLog {
        let database = directory.path().join("tokens.db");
        fs::write(beside(&database, "-wal"), "").unwrap();
        WriteAheadLog::of(&database)
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn writers_take_turns_and_one_that_gives_up_keeps_none() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (log_in(&directory), log_in(&directory));
        let turn = first.turn().await.unwrap();
        let given_up = second.turn().now_or_never();
        assert!(given_up.is_none(), "it is not its turn");
        let waiting = first.turn();
        drop(turn);
        let turn = waiting.await.unwrap();
        drop(turn);
        assert!(second.turn().await.is_some());
    }

    /// Counts the descriptors of this process for a log.
    #[cfg(target_os = "linux")]
    fn count_open(log: &WriteAheadLog) -> usize {
        let log = fs::canonicalize(&log.path).unwrap();
        let open = fs::read_dir("/proc/self/fd").unwrap();
        let files = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        files.filter(|file| *file == log).count()
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn writers_that_give_up_leave_at_most_one_waiting_thread() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (log_in(&directory), log_in(&directory));
        let turn = first.turn().await.unwrap();
        for _ in 0..5 {
            assert!(second.turn().now_or_never().is_none(), "it is not its turn");
        }
        assert_eq!(count_open(&second), 2, "one has the turn, and one waits");
        let mut last = Box::pin(second.turn());
        assert!(last.as_mut().now_or_never().is_none());
        assert_eq!(
            count_open(&second),
            2,
            "the last one waits in place of the others"
        );
        drop(turn);
        assert!(last.await.is_some());
        assert!(first.turn().await.is_some(), "the last turn is over");
    }

    #[tokio::test]
    async fn writers_need_no_turn_without_a_log() {
        let directory = tempfile::tempdir().unwrap();
        let log = WriteAheadLog::of(&directory.path().join("tokens.db"));
        assert!(log.turn().await.is_none());
    }
}
