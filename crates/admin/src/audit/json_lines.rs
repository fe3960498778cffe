use std::{
    fmt,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use tokio::sync::oneshot;
use tower_api_tokens::AuditEvent;

use super::AuditSink;
use crate::view::EventView;

/// How many lines the queue holds.
const CAPACITY: usize = 4096;

/// An audit sink that writes each event as one line of JSON.
///
/// ```no_run
/// use std::fs::OpenOptions;
///
/// use tower_api_tokens::{ApiTokens, MemoryStore, TokenFormat};
/// use tower_api_tokens_admin::{JsonLines, Operations};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
/// let file = OpenOptions::new().append(true).create(true).open("audit.jsonl")?;
/// let operations = Operations::new(&tokens).with_sink(JsonLines::new(file)?);
/// # Ok(())
/// # }
/// ```
///
/// A line contains `id`, `at`, `actor`, `action`, `app_id`, `token_id`, `outcome` (`done` or
/// `refused`) and `reason`, as in the JSON API. Only the store has the `changes` that an edit made.
/// The writer is flushed when the queue is empty.
///
/// # Lost lines
///
/// A separate thread writes the lines, so that a slow disk or pipe never delays a request. Its queue
/// holds 4,096 lines. When the queue is full or a write fails, lines are lost, and
/// [`lost`](Self::lost) counts them. A partially written line is terminated, so that the next one
/// stays intact. The events remain in the store. Call [`flush`](Self::flush) before the process ends.
///
/// Clones share the thread and its queue.
#[derive(Clone)]
pub struct JsonLines {
    lines: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

enum Message {
    Line(Vec<u8>),
    Flush(oneshot::Sender<io::Result<()>>),
}

impl JsonLines {
    /// Creates a sink that writes to `writer`, in a thread that ends with the last clone.
    ///
    /// # Errors
    ///
    /// Returns an error if the thread cannot be started.
    pub fn new(writer: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, queue) = sync_channel(CAPACITY);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        thread::Builder::new()
            .name("audit-json-lines".into())
            .spawn(move || write_lines(writer, &queue, &counter))?;
        Ok(Self { lines, lost })
    }

    /// Waits until all lines recorded so far are written.
    ///
    /// # Errors
    ///
    /// Returns an error if the writer fails or the queue is full.
    pub async fn flush(&self) -> io::Result<()> {
        let (done, flushed) = oneshot::channel();
        match self.lines.try_send(Message::Flush(done)) {
            Ok(()) => flushed.await.map_err(|_| stopped())?,
            Err(TrySendError::Full(_)) => Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "the queue of audit lines is full; try again",
            )),
            Err(TrySendError::Disconnected(_)) => Err(stopped()),
        }
    }

    /// Returns how many lines were lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

fn stopped() -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "the thread that writes audit lines has panicked",
    )
}

fn write_lines(mut writer: impl Write, queue: &Receiver<Message>, lost: &AtomicU64) {
    // Whether the last line may have been written only in part.
    let mut torn = false;
    while let Ok(first) = queue.recv() {
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Line(line) => {
                    let end: &[u8] = if torn { b"\n" } else { b"" };
                    let written = writer.write_all(end).and_then(|()| writer.write_all(&line));
                    torn = written.is_err();
                    if torn {
                        lost.fetch_add(1, Relaxed);
                    }
                }
                Message::Flush(done) => {
                    let _ = done.send(writer.flush());
                }
            }
            next = queue.try_recv().ok();
        }
        // Nobody waits for this flush. `flush` reports its own errors.
        let _ = writer.flush();
    }
}

impl AuditSink for JsonLines {
    fn record(&self, event: &AuditEvent) {
        let sent = serde_json::to_vec(&EventView::from(event).without_changes())
            .ok()
            .map(|mut line| {
                line.push(b'\n');
                self.lines.try_send(Message::Line(line))
            });
        if !matches!(sent, Some(Ok(()))) {
            self.lost.fetch_add(1, Relaxed);
        }
    }
}

impl fmt::Debug for JsonLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLines")
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}
