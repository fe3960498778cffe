//! The connection of a follower, which reads the log and receives notifications.

use std::{
    mem,
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
    sync::{Notify, mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use tower_api_tokens::store::jittered;

use super::{
    connections::{Query, fetch_in_transaction},
    open::OPENED_WITHIN,
    schema::Schema,
    session::Timeouts,
};

const CHANNEL: &str = "api_token_changes";

/// The delay before `LISTEN` is retried. It doubles after each refusal, up to the maximum: a standby
/// always refuses. Each delay is randomly shortened by up to half, so that nodes do not retry in step.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long a connection may be silent before it is checked.
const SILENCE: Duration = Duration::from_secs(30);

/// The timeout for every response of the server, after the connection is open.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the log, listens for notifications, and wakes the followers in this process. It connects on
/// first use. A lost notification only delays followers, because they poll the log anyway.
pub(super) struct Follower {
    notified: Arc<Notify>,
    /// Whether anything in this process has waited for a notification.
    is_awaited: watch::Sender<bool>,
    /// Whether the next reading uses a new connection.
    leaves: Arc<AtomicBool>,
    source: Source,
    running: Mutex<Option<Running>>,
}

/// How to connect, and how to use the connection.
#[derive(Clone)]
pub(super) struct Source {
    /// Provides the connection options, but no connection.
    pub(super) pool: PgPool,
    pub(super) schema: Schema,
    /// Whether a session outlives a transaction. Behind a pooler it may not, and `LISTEN` would be lost.
    pub(super) keeps_sessions: bool,
    /// Whether notifications can arrive.
    pub(super) listens: bool,
    /// Whether each statement runs in its own transaction.
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
            notified: Arc::default(),
            is_awaited: watch::Sender::new(false),
            leaves: Arc::default(),
            source,
            running: Mutex::default(),
        }
    }

    /// Returns what wakes the followers in this process.
    pub(super) fn notified(&self) -> Arc<Notify> {
        Arc::clone(&self.notified)
    }

    /// Wakes the followers in this process after a change by this process.
    pub(super) fn wake(&self) {
        self.notified.notify_waiters();
    }

    /// Makes the next reading use a new connection, which may reach another server.
    pub(super) fn reconnect(&self) {
        self.leaves.store(true, Relaxed);
    }

    /// Waits for a notification. The server sends none before the first call.
    pub(super) async fn changed(&self) {
        let notified = self.notified.notified();
        self.is_awaited
            .send_if_modified(|is_awaited| !mem::replace(is_awaited, true));
        drop(self.start());
        notified.await;
    }

    /// Runs a read statement.
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
        let (notified, leaves) = (Arc::clone(&self.notified), Arc::clone(&self.leaves));
        let is_awaited = self.is_awaited.subscribe();
        let serving = serve(self.source.clone(), asked, notified, is_awaited, leaves);
        let task = tokio::spawn(serving);
        let sender = reads.clone();
        *running = Some(Running { task, reads });
        Some(sender)
    }

    /// Closes the connection.
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
    notified: Arc<Notify>,
    mut is_awaited: watch::Receiver<bool>,
    leaves: Arc<AtomicBool>,
) {
    let mut link = Link::default();
    let mut wants_to_listen = false;
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
            heard = next_event(&mut link.listener), if link.listener.is_some() => match heard {
                Event::Notification(payload) if payload == source.schema.name() => notified.notify_waiters(),
                Event::Notification(_) => {}
                Event::Silence => link.check().await,
                Event::Loss => {
                    link = Link::default();
                    next_trial = Instant::now() + jittered(PAUSE);
                }
            },
            () = async { drop(is_awaited.wait_for(|is| *is).await) }, if source.listens && !wants_to_listen => {
                wants_to_listen = true;
            }
            () = sleep_until(next_trial), if wants_to_listen && !link.listens => {
                match link.listen(&source).await {
                    Ok(()) => {
                        // Changes may have happened while it was not listening.
                        notified.notify_waiters();
                        pause = PAUSE;
                    }
                    Err(_) => pause = (pause * 2).min(LONGEST_PAUSE),
                }
                next_trial = Instant::now() + jittered(pause);
            }
        }
    }
}

enum Event {
    Notification(String),
    Silence,
    Loss,
}

/// Waits for the next event. Dropping the future loses nothing.
async fn next_event(listener: &mut Option<PgListener>) -> Event {
    let Some(listener) = listener else {
        return Event::Loss;
    };
    match timeout(SILENCE, listener.try_recv()).await {
        Ok(Ok(Some(notification))) => Event::Notification(notification.payload().to_owned()),
        Ok(Ok(None) | Err(_)) => Event::Loss,
        Err(_) => Event::Silence,
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
                .acquire_timeout(OPENED_WITHIN)
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        match keeps_sessions {
                            true => Timeouts::LOOKUP.set(connection).await,
                            false => Ok(()),
                        }
                    })
                })
                .connect_lazy_with(source.pool.connect_options().as_ref().clone());
            let mut listener = PgListener::connect_with(&own).await?;
            // It would reconnect by itself, without this code knowing whether it listens.
            listener.eager_reconnect(false);
            self.listener = Some(listener);
        }
        self.listener.as_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Starts to listen, unless the server refuses, as a standby does.
    async fn listen(&mut self, source: &Source) -> Result<(), sqlx::Error> {
        let listener = self.connect(source).await?;
        let listening = timeout(TIMEOUT, listener.listen(CHANNEL)).await;
        let listening = listening.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        self.keep_after(&listening);
        self.listens = listening.is_ok();
        listening
    }

    async fn answer(&mut self, source: &Source, read: Read) {
        let Read { query, mut answer } = read;
        // If the caller gives up meanwhile, its next read finds the connection.
        if let Err(error) = self.connect(source).await {
            drop(answer.send(Err(error)));
            return;
        }
        if answer.is_closed() {
            return;
        }
        let fetched = tokio::select! {
            fetched = timeout(TIMEOUT, self.fetch(source, query)) => {
                fetched.unwrap_or(Err(sqlx::Error::PoolTimedOut))
            }
            // An interrupted statement leaves the connection unusable.
            () = answer.closed() => Err(sqlx::Error::PoolTimedOut),
        };
        self.keep_after(&fetched);
        // The caller may be gone.
        drop(answer.send(fetched));
    }

    async fn fetch(&mut self, source: &Source, query: Query) -> Result<Vec<PgRow>, sqlx::Error> {
        let listener = self.connect(source).await?;
        if !source.in_transactions {
            return query.fetch_all(listener).await;
        }
        let connection = listener.acquire().await?;
        let begin = Timeouts::LOOKUP.begin();
        let rows = fetch_in_transaction(connection, begin, query).await;
        if rows.is_err() {
            *self = Self::default();
        }
        rows
    }

    /// Checks that the server still responds.
    async fn check(&mut self) {
        let Some(listener) = &mut self.listener else {
            return;
        };
        let answers = timeout(TIMEOUT, sqlx::query("SELECT 1").execute(listener)).await;
        let answers = answers.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        self.keep_after(&answers);
    }

    /// Drops the connection unless the server responded.
    fn keep_after<T>(&mut self, result: &Result<T, sqlx::Error>) {
        if !matches!(result, Ok(_) | Err(sqlx::Error::Database(_))) {
            *self = Self::default();
        }
    }
}
