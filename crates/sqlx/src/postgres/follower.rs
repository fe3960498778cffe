//! The connection of a follower: on it the log is read, and notifications come.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use sqlx::{
    Acquire, PgPool,
    postgres::{PgListener, PgPoolOptions, PgRow},
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use tower_api_tokens::store::jittered;

use super::{
    connections::{Query, fetch_in_transaction},
    schema::Schema,
    session::Bounds,
};

const CHANNEL: &str = "api_token_changes";

/// How long it takes before `LISTEN` is tried again. Where it is refused, each time takes twice as long
/// as the one before, up to the longest: a standby refuses it always. At random it may take half as
/// long, so that nodes do not come all at the same time.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long a connection may be silent before it is seen whether it still leads to the server.
const SILENCE: Duration = Duration::from_secs(30);

/// How long the server may take for anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads the log and listens, on one connection from the first need on, and wakes the followers in this
/// process. A notification that is lost makes them slower, and nothing else: they read the log in any
/// case.
pub(super) struct Follower {
    told: Arc<Notify>,
    /// Whether the next reading takes another connection.
    leaves: Arc<AtomicBool>,
    source: Source,
    running: Mutex<Option<Running>>,
}

/// How the connection is made and used.
#[derive(Clone)]
pub(super) struct Source {
    /// Gives its options, and no connection.
    pub(super) pool: PgPool,
    pub(super) schema: Schema,
    /// Whether a session lasts from one transaction to the next. Behind a pooler it may not, and what
    /// listens is lost.
    pub(super) keeps_sessions: bool,
    /// Whether notifications can arrive.
    pub(super) listens: bool,
    /// Whether each statement is in a transaction of its own.
    pub(super) in_transactions: bool,
}

struct Running {
    task: JoinHandle<()>,
    reads: mpsc::Sender<Read>,
}

struct Read {
    query: Query,
    answer: oneshot::Sender<Result<Vec<PgRow>, sqlx::Error>>,
}

impl Follower {
    pub(super) fn new(source: Source) -> Self {
        Self {
            told: Arc::default(),
            leaves: Arc::default(),
            source,
            running: Mutex::default(),
        }
    }

    /// Wakes the followers in this process, after a change that was made in it.
    pub(super) fn wake(&self) {
        self.told.notify_waiters();
    }

    /// Lets the next reading take another connection, which may lead to another server.
    pub(super) fn reconnect(&self) {
        self.leaves.store(true, Relaxed);
    }

    /// Waits for a notification.
    pub(super) async fn changed(&self) {
        let told = self.told.notified();
        drop(self.start());
        told.await;
    }

    /// Runs one statement that reads.
    pub(super) async fn read(&self, query: Query) -> Result<Vec<PgRow>, sqlx::Error> {
        let (answer, answered) = oneshot::channel();
        let reads = self.start().ok_or(sqlx::Error::PoolClosed)?;
        let sent = reads.send(Read { query, answer }).await;
        sent.map_err(|_| sqlx::Error::WorkerCrashed)?;
        answered.await.map_err(|_| sqlx::Error::WorkerCrashed)?
    }

    fn start(&self) -> Option<mpsc::Sender<Read>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &*running
            && !running.task.is_finished()
        {
            return Some(running.reads.clone());
        }
        if self.source.pool.is_closed() {
            return None;
        }
        let (reads, asked) = mpsc::channel(16);
        let (told, leaves) = (Arc::clone(&self.told), Arc::clone(&self.leaves));
        let serving = serve(self.source.clone(), asked, told, leaves);
        let task = tokio::spawn(serving);
        let sender = reads.clone();
        *running = Some(Running { task, reads });
        Some(sender)
    }

    /// Ends the connection.
    pub(super) fn stop(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = running.take() {
            running.task.abort();
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve(
    source: Source,
    mut reads: mpsc::Receiver<Read>,
    told: Arc<Notify>,
    leaves: Arc<AtomicBool>,
) {
    let mut link = Link::default();
    let (mut pause, mut next_trial) = (PAUSE, Instant::now());
    loop {
        tokio::select! {
            read = reads.recv() => match read {
                Some(read) => {
                    if leaves.swap(false, Relaxed) {
                        link = Link::default();
                    }
                    link.answer(&source, read).await;
                }
                None => return,
            },
            heard = hear(&mut link.listener), if link.listener.is_some() => match heard {
                Heard::Notification(payload) if payload == source.schema.name() => told.notify_waiters(),
                Heard::Notification(_) => {}
                Heard::Silence => link.check().await,
                Heard::Loss => {
                    link = Link::default();
                    next_trial = Instant::now() + jittered(PAUSE);
                }
            },
            () = sleep_until(next_trial), if source.listens && !link.listens => {
                match link.listen(&source).await {
                    Ok(()) => {
                        // What happened while nobody listened.
                        told.notify_waiters();
                        pause = PAUSE;
                    }
                    Err(_) => pause = (pause * 2).min(LONGEST_PAUSE),
                }
                next_trial = Instant::now() + jittered(pause);
            }
        }
    }
}

enum Heard {
    Notification(String),
    Silence,
    Loss,
}

/// Waits for what comes next. To stop waiting loses nothing.
async fn hear(listener: &mut Option<PgListener>) -> Heard {
    let Some(listener) = listener else {
        return Heard::Loss;
    };
    match timeout(SILENCE, listener.try_recv()).await {
        Ok(Ok(Some(notification))) => Heard::Notification(notification.payload().to_owned()),
        Ok(Ok(None) | Err(_)) => Heard::Loss,
        Err(_) => Heard::Silence,
    }
}

#[derive(Default)]
struct Link {
    listener: Option<PgListener>,
    listens: bool,
}

impl Link {
    async fn connect(&mut self, source: &Source) -> Result<&mut PgListener, sqlx::Error> {
        if self.listener.is_none() {
            self.listens = false;
            let keeps_sessions = source.keeps_sessions;
            let own = PgPoolOptions::new()
                .max_connections(1)
                .max_lifetime(None)
                .idle_timeout(None)
                .acquire_timeout(PATIENCE)
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        match keeps_sessions {
                            true => Bounds::LOOKUP.pin(connection).await,
                            false => Ok(()),
                        }
                    })
                })
                .connect_lazy_with(source.pool.connect_options().as_ref().clone());
            let mut listener = PgListener::connect_with(&own).await?;
            // A new connection would not be known to listen.
            listener.eager_reconnect(false);
            self.listener = Some(listener);
        }
        self.listener.as_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Listens, if it is not refused, as on a standby.
    async fn listen(&mut self, source: &Source) -> Result<(), sqlx::Error> {
        let listening = async { self.connect(source).await?.listen(CHANNEL).await };
        let listening = timeout(PATIENCE, listening).await;
        let listening = listening.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        self.keep_after(&listening);
        self.listens = listening.is_ok();
        listening
    }

    async fn answer(&mut self, source: &Source, read: Read) {
        let Read { query, mut answer } = read;
        let fetched = tokio::select! {
            fetched = timeout(PATIENCE, self.fetch(source, query)) => {
                fetched.unwrap_or(Err(sqlx::Error::PoolTimedOut))
            }
            // It was dropped midway.
            () = answer.closed() => Err(sqlx::Error::PoolTimedOut),
        };
        self.keep_after(&fetched);
        // Nobody may wait for it any more.
        drop(answer.send(fetched));
    }

    async fn fetch(&mut self, source: &Source, query: Query) -> Result<Vec<PgRow>, sqlx::Error> {
        let listener = self.connect(source).await?;
        if !source.in_transactions {
            return query.fetch_all(listener).await;
        }
        let connection = listener.acquire().await?;
        let begin = Bounds::LOOKUP.begin();
        let rows = fetch_in_transaction(connection, begin, query).await;
        if rows.is_err() {
            *self = Self::default();
        }
        rows
    }

    /// Whether the server is still there.
    async fn check(&mut self) {
        let Some(listener) = &mut self.listener else {
            return;
        };
        let answers = timeout(PATIENCE, sqlx::query("SELECT 1").execute(listener)).await;
        let answers = answers.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        self.keep_after(&answers);
    }

    /// Gives the connection up unless the server has answered on it.
    fn keep_after<T>(&mut self, result: &Result<T, sqlx::Error>) {
        if !matches!(result, Ok(_) | Err(sqlx::Error::Database(_))) {
            *self = Self::default();
        }
    }
}
