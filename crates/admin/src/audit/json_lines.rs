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

/// How many lines may wait for the writer.
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
/// A line has `id`, `at`, `actor`, `action`, `app_id`, `token_id`, `outcome` (`done` or `refused`)
/// and `reason`, as in the listing of the JSON API, and is flushed as soon as no other waits.
///
/// # What may be lost
///
/// A thread of its own writes, so a slow disk or pipe holds up no request. 4,096 lines may wait for
/// it; beyond that, and when writing fails, lines are lost here, and [`lost`](Self::lost) counts
/// them. A line that was written in part is ended, so that the next one is whole.
/// The store has those events too. Call [`flush`](Self::flush) before the process ends.
///
/// Clones are one sink.
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
    /// A sink that writes to `writer`, in a thread that ends with the last clone.
    ///
    /// # Errors
    ///
    /// When the system starts no thread.
    pub fn new(writer: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, queue) = sync_channel(CAPACITY);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        thread::Builder::new()
            .name("audit-json-lines".into())
            .spawn(move || write_lines(writer, &queue, &counter))?;
        Ok(Self { lines, lost })
    }

    /// Waits until all that was recorded before is written.
    ///
    /// # Errors
    ///
    /// When the writer fails, or more lines wait than there is room for.
    pub async fn flush(&self) -> io::Result<()> {
        let (done, flushed) = oneshot::channel();
        match self.lines.try_send(Message::Flush(done)) {
            Ok(()) => flushed.await.map_err(|_| stopped())?,
            Err(TrySendError::Full(_)) => Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "the writer of the audit lines does not keep up",
            )),
            Err(TrySendError::Disconnected(_)) => Err(stopped()),
        }
    }

    /// How many lines were lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

fn stopped() -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "the writer of the audit lines has panicked",
    )
}

fn write_lines(mut writer: impl Write, queue: &Receiver<Message>, lost: &AtomicU64) {
    // Whether a part of a line may have been written.
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
        // Who flushes is told of a failure; here it would have no reader.
        let _ = writer.flush();
    }
}

impl AuditSink for JsonLines {
    fn record(&self, event: &AuditEvent) {
        let sent = serde_json::to_vec(&EventView::from(event))
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
