//! Word of changes, from the nodes that make them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{
    PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::schema::Schema;
use crate::entropy::jittered;

const CHANNEL: &str = "api_token_changes";

/// How long it takes before a connection that was lost is opened again. Where it is refused, each time
/// takes twice as long as the one before, up to the longest: a standby refuses it always. At random it
/// may take half as long, so that nodes do not come all at once.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long a connection may be silent before it is seen whether it still leads to the server.
const SILENCE: Duration = Duration::from_secs(30);

/// How long the server may take to show that it is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// Listens on a connection of its own from the first follower on, and tells the followers in this
/// process. Word that is lost makes them slower, and nothing else: they read the log in any case.
pub(super) struct Listener {
    told: Arc<Notify>,
    pool: PgPool,
    schema: String,
    /// A pooler that lends connections by the transaction loses what a connection listens to.
    in_vain: bool,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Listener {
    pub(super) fn new(pool: &PgPool, schema: &Schema, in_vain: bool) -> Self {
        Self {
            told: Arc::default(),
            pool: pool.clone(),
            schema: schema.name().to_owned(),
            in_vain,
            task: Mutex::default(),
        }
    }

    /// Tells the followers in this process of a change that was made in it.
    pub(super) fn tell(&self) {
        self.told.notify_waiters();
    }

    /// Waits for word.
    pub(super) async fn changed(&self) {
        let told = self.told.notified();
        self.start();
        told.await;
    }

    fn start(&self) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = task.as_ref().is_some_and(|task| !task.is_finished());
        if !runs && !self.in_vain && !self.pool.is_closed() {
            let listening = listen(self.pool.clone(), self.schema.clone(), self.told.clone());
            *task = Some(tokio::spawn(listening));
        }
    }

    /// Ends the connection.
    pub(super) fn stop(&self) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn listen(pool: PgPool, schema: String, told: Arc<Notify>) {
    let mut pause = PAUSE;
    loop {
        if let Ok(listener) = begin(&pool).await {
            // What happened while nobody listened.
            told.notify_waiters();
            // It ends by being lost, and why makes no difference.
            drop(hear(listener, &schema, &told).await);
            pause = PAUSE;
        }
        sleep(jittered(pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn begin(pool: &PgPool) -> Result<PgListener, sqlx::Error> {
    let own = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .acquire_timeout(PATIENCE)
        .connect_lazy_with(pool.connect_options().as_ref().clone());
    let mut listener = PgListener::connect_with(&own).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Passes word on until the connection is lost.
async fn hear(mut listener: PgListener, schema: &str, told: &Notify) -> Result<(), sqlx::Error> {
    loop {
        match timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(word))) if word.payload() == schema => told.notify_waiters(),
            Ok(Ok(Some(_))) => {}
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let alive = sqlx::query("SELECT 1").execute(&mut listener);
                match timeout(PATIENCE, alive).await {
                    Ok(alive) => alive.map(drop)?,
                    Err(_) => return Ok(()),
                }
            }
        }
    }
}
