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

/// How many events may wait for the store. When there are more, the oldest is dropped.
const CAPACITY: usize = 1024;

/// How long a store may take to append an event before the event is left waiting.
const PATIENCE: Duration = Duration::from_secs(1);

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Brings audit events to the sinks, and those that are not part of a change into the store. Clones
/// share what waits for the store.
#[derive(Clone)]
pub(crate) struct Trail {
    journal: Arc<Journal>,
    sinks: Vec<Arc<dyn AuditSink>>,
}

/// The events that the store has not taken yet.
struct Journal {
    log: Arc<dyn TokenRegistry>,
    waiting: Mutex<Waiting>,
    /// Held while waiting events are written.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<AuditEvent>,
    /// How many events were dropped for want of room.
    dropped: u64,
    /// Whether a task writes them.
    attended: bool,
}

impl Trail {
    pub(crate) fn new(log: Arc<dyn TokenRegistry>) -> Self {
        Self {
            journal: Arc::new(Journal {
                log,
                waiting: Mutex::default(),
                writing: tokio::sync::Mutex::default(),
            }),
            sinks: Vec::new(),
        }
    }

    pub(crate) fn add_sink(&mut self, sink: Arc<dyn AuditSink>) {
        self.sinks.push(sink);
    }

    fn tell(&self, event: &AuditEvent) {
        for sink in &self.sinks {
            let _ = catch_unwind(AssertUnwindSafe(|| sink.record(event)));
        }
    }

    /// Tells the sinks and the store of an event that is not part of a change. While the store does
    /// not take it, the event waits, and nothing waits for the event.
    pub(crate) async fn record(&self, event: AuditEvent) {
        self.tell(&event);
        if self.waiting() > 0 {
            // The store is in trouble already.
            return Journal::keep(&self.journal, event);
        }
        if let Err(error) = self.journal.append(&event).await {
            telemetry::managing_failed("an audit event waits for the store", &error);
            Journal::keep(&self.journal, event);
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.journal.waiting().events.len()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.journal.waiting().dropped
    }

    /// Writes what waits.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        self.journal.write_all().await
    }
}

impl ChangeObserver for Trail {
    fn changed(&self, event: &AuditEvent, recorded: bool) {
        self.tell(event);
        if !recorded {
            Journal::keep(&self.journal, event.clone());
        }
    }
}

impl Journal {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn append(&self, event: &AuditEvent) -> Result<(), StoreError> {
        // Not run to its end: what was not appended in time is appended again.
        let appending = catch_panic(|| async { audit_log(&*self.log)?.append(event).await });
        match tokio::time::timeout(PATIENCE, appending).await {
            Ok(Err(error)) if error.kind() == StoreErrorKind::AlreadyExists => Ok(()),
            Ok(appended) => appended,
            Err(elapsed) => Err(StoreError::unavailable(elapsed)),
        }
    }

    fn keep(journal: &Arc<Self>, event: AuditEvent) {
        let mut waiting = journal.waiting();
        if waiting.events.len() >= CAPACITY {
            waiting.events.pop_front();
            waiting.dropped += 1;
        }
        waiting.events.push_back(event);
        if !waiting.attended {
            waiting.attended = true;
            tokio::spawn(Arc::clone(journal).attend());
        }
    }

    /// Tries again, less and less often, until nothing waits.
    async fn attend(self: Arc<Self>) {
        let mut pause = FIRST_RETRY;
        loop {
            tokio::time::sleep(pause).await;
            let written = self.write_all().await;
            let mut waiting = self.waiting();
            if waiting.events.is_empty() {
                waiting.attended = false;
                return;
            }
            pause = match written {
                Ok(()) => FIRST_RETRY,
                Err(_) => (pause * 2).min(LAST_RETRY),
            };
        }
    }

    /// Writes what waits, the oldest first, up to the first that the store does not take; that one
    /// gets behind the others, so that it cannot hold them up.
    async fn write_all(&self) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        loop {
            let Some(oldest) = self.waiting().events.front().cloned() else {
                return Ok(());
            };
            let appended = self.append(&oldest).await;
            let mut waiting = self.waiting();
            // It may have been dropped meanwhile.
            let is_first = waiting.events.front().map(|event| event.id) == Some(oldest.id);
            match appended {
                Ok(()) if is_first => drop(waiting.events.pop_front()),
                Ok(()) => {}
                Err(error) => {
                    if is_first {
                        waiting.events.rotate_left(1);
                    }
                    return Err(error);
                }
            }
        }
    }
}
