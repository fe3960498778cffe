use std::{
    fmt,
    io::Write,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::{Progress, TransferError, write};
use crate::{
    model::{
        app::{AppId, AppRecord},
        record::TokenRecord,
    },
    store::{
        AppQuery, Page, PageSize, StoreError, TokenCursor, TokenQuery, TokenRegistry, catch_panic,
        pages,
    },
    time::{Clock, SystemClock},
    token::TokenId,
};

/// Writes all apps and tokens of a registry in the format described in the [module
/// documentation](super).
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{MemoryStore, transfer::Export};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut file = Vec::new();
/// let report = Export::new(&MemoryStore::new()).run(&mut file).await?;
/// assert_eq!((report.apps, report.tokens), (0, 0));
/// assert!(file.ends_with(b"{\"end\":{\"apps\":0,\"tokens\":0}}\n"));
/// # Ok(())
/// # }
/// ```
///
/// # Cancellation
///
/// If the future is dropped, the file is incomplete, which an import detects.
#[must_use = "an export does nothing until it is run"]
pub struct Export<'a> {
    registry: &'a dyn TokenRegistry,
    clock: Arc<dyn Clock>,
    on_progress: Box<dyn FnMut(Progress) + Send + 'a>,
}

/// What an export has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportReport {
    /// The number of apps.
    pub apps: u64,
    /// The number of tokens.
    pub tokens: u64,
    /// The total length, in bytes.
    pub bytes: u64,
}

impl<'a> Export<'a> {
    /// Creates an export of a registry.
    pub fn new(registry: &'a dyn TokenRegistry) -> Self {
        Self {
            registry,
            clock: Arc::new(SystemClock),
            on_progress: Box::new(|_| {}),
        }
    }

    /// Sets the clock. Defaults to [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets a function that is called with the progress after each page.
    pub fn on_progress(mut self, on_progress: impl FnMut(Progress) + Send + 'a) -> Self {
        self.on_progress = Box::new(on_progress);
        self
    }

    /// Writes everything to a file or to memory, and flushes it. Writing blocks the task, so use
    /// [`stream`](Self::stream) to write to a network. At most one page of 1,000 records is in
    /// memory.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind [`Store`](super::TransferErrorKind::Store) if the registry
    /// fails, of the kind [`Corrupt`](super::TransferErrorKind::Corrupt) if the registry leaves out a
    /// record that it cannot read, and of the kind [`Write`](super::TransferErrorKind::Write) if the
    /// file cannot be written. The file is then incomplete.
    pub async fn run(self, mut file: impl Write + Send) -> Result<ExportReport, TransferError> {
        let mut chunks = self.stream();
        while let Some(chunk) = chunks.try_next().await? {
            file.write_all(&chunk).map_err(TransferError::write)?;
        }
        file.flush().map_err(TransferError::write)?;
        Ok(chunks.report())
    }

    /// Streams everything in pages of 1,000 records, for example as the body of a response, or into
    /// [`Import::run_stream`](super::Import::run_stream). A page is read when the stream is polled
    /// for it.
    ///
    /// The stream ends after an error, which means that the registry, or a record in it, cannot be
    /// read. The file is then incomplete.
    pub fn stream(self) -> ExportStream<'a> {
        let state = ExportState {
            registry: self.registry,
            now: self.clock.now(),
            on_progress: self.on_progress,
            newest: None,
            stage: Stage::Header,
            text: Vec::new(),
            report: ExportReport::default(),
            progress: Progress::default(),
        };
        let chunks = stream::try_unfold(state, |mut state| async {
            Ok(state.next().await?.map(|chunk| (chunk, state)))
        });
        ExportStream {
            chunks: Box::pin(chunks.fuse()),
            report: ExportReport::default(),
        }
    }
}

type Chunks<'a> = dyn Stream<Item = Result<(Bytes, ExportReport), TransferError>> + Send + 'a;

/// The chunks of an [`Export`].
#[must_use = "a stream does nothing until it is polled"]
pub struct ExportStream<'a> {
    chunks: Pin<Box<Chunks<'a>>>,
    report: ExportReport,
}

impl ExportStream<'_> {
    /// Returns what the chunks so far contain.
    #[must_use]
    pub fn report(&self) -> ExportReport {
        self.report
    }
}

impl Stream for ExportStream<'_> {
    type Item = Result<Bytes, TransferError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.chunks
            .poll_next_unpin(context)
            .map_ok(|(chunk, report)| {
                self.report = report;
                chunk
            })
    }
}

impl fmt::Debug for ExportStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportStream")
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

/// An export in progress.
struct ExportState<'a> {
    registry: &'a dyn TokenRegistry,
    now: Timestamp,
    on_progress: Box<dyn FnMut(Progress) + Send + 'a>,
    /// The newest token when the export began.
    newest: Option<TokenId>,
    stage: Stage<'a>,
    text: Vec<u8>,
    report: ExportReport,
    progress: Progress,
}

enum Stage<'a> {
    Header,
    Apps(Pages<'a, AppRecord, AppId>),
    Tokens(Pages<'a, TokenRecord, TokenCursor>),
    Done,
}

type Pages<'a, T, K> = Pin<Box<dyn Stream<Item = Result<Page<T, K>, StoreError>> + Send + 'a>>;

impl<'a> ExportState<'a> {
    /// Reads and writes the next chunk.
    async fn next(&mut self) -> Result<Option<(Bytes, ExportReport)>, TransferError> {
        let failed = |error: serde_json::Error| TransferError::write(error.into());
        if let Stage::Header = self.stage {
            // The apps of all tokens up to this one exist by now, so the pass over the apps misses
            // none.
            let newest = TokenQuery::default().limit(1);
            let newest = catch_panic(|| self.registry.tokens(&newest, self.now)).await?;
            check_complete(&newest, "tokens")?;
            let newest = newest.items.first();
            self.newest = newest.map(|token| token.id);
            write::header(&mut self.text).map_err(failed)?;
            self.stage = Stage::Apps(self.apps());
        }
        if let Stage::Apps(pages) = &mut self.stage {
            match pages.try_next().await? {
                Some(page) => {
                    check_complete(&page, "apps")?;
                    for app in &page.items {
                        write::app(&mut self.text, app).map_err(failed)?;
                        self.report.apps += 1;
                    }
                    return Ok(Some(self.chunk()));
                }
                None => self.stage = Stage::Tokens(self.tokens()),
            }
        }
        if let Stage::Tokens(pages) = &mut self.stage {
            match pages.try_next().await? {
                Some(page) => {
                    check_complete(&page, "tokens")?;
                    let known = page.items.iter().filter(|t| Some(t.id) <= self.newest);
                    for token in known {
                        write::token(&mut self.text, token).map_err(failed)?;
                        self.report.tokens += 1;
                    }
                }
                None => {
                    write::end(&mut self.text, self.report.apps, self.report.tokens)
                        .map_err(failed)?;
                    self.stage = Stage::Done;
                }
            }
            return Ok(Some(self.chunk()));
        }
        Ok(None)
    }

    fn apps(&self) -> Pages<'a, AppRecord, AppId> {
        let registry = self.registry;
        Box::pin(pages(None, move |after| async move {
            let query = AppQuery::default().limit(PageSize::MAX).after(after);
            catch_panic(|| registry.apps(&query)).await
        }))
    }

    fn tokens(&self) -> Pages<'a, TokenRecord, TokenCursor> {
        let (registry, now) = (self.registry, self.now);
        Box::pin(pages(None, move |after| async move {
            let query = TokenQuery::default().limit(PageSize::MAX).after(after);
            catch_panic(|| registry.tokens(&query, now)).await
        }))
    }

    /// What was written since the last chunk.
    fn chunk(&mut self) -> (Bytes, ExportReport) {
        let text = std::mem::take(&mut self.text);
        self.progress.lines += text.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.progress.bytes += text.len() as u64;
        self.report.bytes = self.progress.bytes;
        (self.on_progress)(self.progress);
        (text.into(), self.report)
    }
}

/// Fails if the store has left records out of a page. Once exported, a store may be deleted.
fn check_complete<T, K>(page: &Page<T, K>, records: &str) -> Result<(), TransferError> {
    match page.unreadable.as_slice() {
        [] => Ok(()),
        unreadable => Err(TransferError::corrupt(records, unreadable)),
    }
}

impl fmt::Debug for Export<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").finish_non_exhaustive()
    }
}
