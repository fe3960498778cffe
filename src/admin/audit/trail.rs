use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::AuditSink;
use crate::{
    audit::AuditEvent,
    store::{StoreError, StoreErrorKind, TokenRegistry, audit_log},
    telemetry,
};

/// How many events may wait for the store.
const CAPACITY: usize = 1024;

/// How long a store may take to append an event before the event is left waiting.
const PATIENCE: Duration = Duration::from_secs(5);

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Brings audit events into the store and to the sinks. Clones share what waits for the store.
#[derive(Clone)]
pub(in crate::admin) struct Trail {
    journal: Arc<Journal>,
    sinks: Vec<Arc<dyn AuditSink>>,
}

/// A place for an event that the store may not take at once. An operation begins only with one, so
/// that there is always room for what it will have to say.
type Slot = OwnedSemaphorePermit;

/// The events that the store has not taken yet.
struct Journal {
    log: Arc<dyn TokenRegistry>,
    slots: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    /// Held by whoever writes what waits.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<(AuditEvent, Slot)>,
    /// Whether a task is at it.
    attended: bool,
}

impl Trail {
    pub(in crate::admin) fn new(log: Arc<dyn TokenRegistry>) -> Self {
        Self {
            journal: Arc::new(Journal {
                log,
                slots: Arc::new(Semaphore::new(CAPACITY)),
                waiting: Mutex::default(),
                writing: tokio::sync::Mutex::default(),
            }),
            sinks: Vec::new(),
        }
    }

    pub(in crate::admin) fn add_sink(&mut self, sink: Arc<dyn AuditSink>) {
        self.sinks.push(sink);
    }

    /// A place for one more event, unless too many are waiting.
    pub(in crate::admin) fn reserve(&self) -> Option<Slot> {
        let slots = Arc::clone(&self.journal.slots);
        slots.try_acquire_owned().ok()
    }

    /// Tells the sinks alone.
    pub(in crate::admin) fn tell(&self, event: &AuditEvent) {
        for sink in &self.sinks {
            let _ = catch_unwind(AssertUnwindSafe(|| sink.record(event)));
        }
    }

    /// Tells the sinks and the store; what the store does not take waits for it.
    pub(in crate::admin) async fn record(&self, event: AuditEvent, slot: Slot) {
        self.tell(&event);
        if let Err(error) = self.journal.append(&event).await {
            telemetry::managing_failed("an audit event waits for the store", &error);
            Journal::keep(&self.journal, event, slot);
        }
    }

    pub(in crate::admin) fn waiting(&self) -> usize {
        self.journal.waiting().events.len()
    }

    /// Writes what waits.
    pub(in crate::admin) async fn flush(&self) -> Result<(), StoreError> {
        self.journal.write_all().await
    }
}

impl Journal {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn append(&self, event: &AuditEvent) -> Result<(), StoreError> {
        match tokio::time::timeout(PATIENCE, audit_log(&*self.log)?.append(event)).await {
            Ok(Err(error)) if error.kind() == StoreErrorKind::AlreadyExists => Ok(()),
            Ok(appended) => appended,
            Err(elapsed) => Err(StoreError::unavailable(elapsed)),
        }
    }

    fn keep(journal: &Arc<Self>, event: AuditEvent, slot: Slot) {
        let mut waiting = journal.waiting();
        waiting.events.push_back((event, slot));
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
            let oldest = self
                .waiting()
                .events
                .front()
                .map(|(event, _)| event.clone());
            let Some(oldest) = oldest else {
                return Ok(());
            };
            let appended = self.append(&oldest).await;
            let mut waiting = self.waiting();
            match appended {
                Ok(()) => drop(waiting.events.pop_front()),
                Err(error) => {
                    waiting.events.rotate_left(1);
                    return Err(error);
                }
            }
        }
    }
}
