use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tower_api_tokens::{
    AuditEvent, ChangeObserver, StoreError, StoreErrorKind, TokenRegistry,
    store::{audit_log, catch_panic},
};

use super::AuditSink;
use crate::telemetry;

/// How many events may be queued for the store. When the queue is full, the oldest is dropped.
const CAPACITY: usize = 1024;

/// How long the store may take to append an event before the event is queued.
const APPEND_TIMEOUT: Duration = Duration::from_secs(1);

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Passes audit events to the sinks, and records those that are not part of a change in the store.
/// Clones share a queue.
#[derive(Clone)]
pub(crate) struct Trail {
    queue: Arc<Queue>,
    sinks: Vec<Arc<dyn AuditSink>>,
}

/// The events that are not in the store yet.
struct Queue {
    log: Arc<dyn TokenRegistry>,
    pending: Mutex<Pending>,
    /// Held while queued events are written.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Pending {
    events: VecDeque<AuditEvent>,
    /// How many events were dropped because the queue was full.
    dropped: u64,
    /// Whether a task is writing them.
    retrying: bool,
}

impl Trail {
    pub(crate) fn new(log: Arc<dyn TokenRegistry>) -> Self {
        Self {
            queue: Arc::new(Queue {
                log,
                pending: Mutex::default(),
                writing: tokio::sync::Mutex::default(),
            }),
            sinks: Vec::new(),
        }
    }

    pub(crate) fn add_sink(&mut self, sink: Arc<dyn AuditSink>) {
        self.sinks.push(sink);
    }

    fn notify_sinks(&self, event: &AuditEvent) {
        for sink in &self.sinks {
            let _ = catch_unwind(AssertUnwindSafe(|| sink.record(event)));
        }
    }

    /// Records an event that is not part of a change, and passes it to the sinks. If the store is slow
    /// or fails, the event is queued, so that the caller does not wait.
    pub(crate) async fn record(&self, event: AuditEvent) {
        self.notify_sinks(&event);
        if self.waiting() > 0 {
            // The store is failing already.
            return Queue::push(&self.queue, event);
        }
        if let Err(error) = self.queue.append(&event).await {
            telemetry::managing_failed("failed to record an audit event; retrying", &error);
            Queue::push(&self.queue, event);
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.pending().events.len()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.queue.pending().dropped
    }

    /// Writes the queued events to the store.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        self.queue.write_all().await
    }
}

impl ChangeObserver for Trail {
    fn changed(&self, event: &AuditEvent, recorded: bool) {
        self.notify_sinks(event);
        if !recorded {
            Queue::push(&self.queue, event.clone());
        }
    }
}

impl Queue {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn append(&self, event: &AuditEvent) -> Result<(), StoreError> {
        // Safe to cancel: an event that was not appended in time is appended again.
        let appending = catch_panic(|| async { audit_log(&*self.log)?.append(event).await });
        match tokio::time::timeout(APPEND_TIMEOUT, appending).await {
            Ok(Err(error)) if error.kind() == StoreErrorKind::AlreadyExists => Ok(()),
            Ok(appended) => appended,
            Err(elapsed) => Err(StoreError::unavailable(elapsed)),
        }
    }

    fn push(queue: &Arc<Self>, event: AuditEvent) {
        let mut pending = queue.pending();
        if pending.events.len() >= CAPACITY {
            pending.events.pop_front();
            pending.dropped += 1;
        }
        pending.events.push_back(event);
        if !pending.retrying {
            pending.retrying = true;
            tokio::spawn(Arc::clone(queue).retry());
        }
    }

    /// Retries with exponential backoff, until the queue is empty.
    async fn retry(self: Arc<Self>) {
        let mut pause = FIRST_RETRY;
        loop {
            tokio::time::sleep(pause).await;
            let written = self.write_all().await;
            let mut pending = self.pending();
            if pending.events.is_empty() {
                pending.retrying = false;
                return;
            }
            pause = match written {
                Ok(()) => FIRST_RETRY,
                Err(_) => (pause * 2).min(LAST_RETRY),
            };
        }
    }

    /// Writes the queued events, oldest first, until one fails. That event moves to the end of the
    /// queue, so that it does not block the others.
    async fn write_all(&self) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        loop {
            let Some(oldest) = self.pending().events.front().cloned() else {
                return Ok(());
            };
            let appended = self.append(&oldest).await;
            let mut pending = self.pending();
            // The event may have been dropped in the meantime.
            let is_first = pending.events.front().map(|event| event.id) == Some(oldest.id);
            match appended {
                Ok(()) if is_first => drop(pending.events.pop_front()),
                Ok(()) => {}
                Err(error) => {
                    if is_first {
                        pending.events.rotate_left(1);
                    }
                    return Err(error);
                }
            }
        }
    }
}
