use std::{fmt, sync::Arc};

use futures_util::TryStreamExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{Progress, TransferError, write};
use crate::{
    clock::{Clock, SystemClock},
    store::{AppQuery, PageSize, TokenQuery, TokenRegistry, catch_panic, pages},
};

/// Writes all apps and tokens of a registry, as the [module](super) says.
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
/// What a call that was dropped has written is a file that was cut off, which an import tells.
#[must_use = "an export does nothing until it is run"]
pub struct Export<'a> {
    registry: &'a dyn TokenRegistry,
    clock: Arc<dyn Clock>,
    progress: Progress,
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
    /// The length of the whole, in bytes.
    pub bytes: u64,
}

impl<'a> Export<'a> {
    /// An export of what a registry holds.
    pub fn new(registry: &'a dyn TokenRegistry) -> Self {
        Self {
            registry,
            clock: Arc::new(SystemClock),
            progress: Progress::default(),
            on_progress: Box::new(|_| {}),
        }
    }

    /// Sets the clock by which the registry is asked; the system's unless it is told.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Is told after each page how far the export has come.
    pub fn on_progress(mut self, on_progress: impl FnMut(Progress) + Send + 'a) -> Self {
        self.on_progress = Box::new(on_progress);
        self
    }

    /// Writes everything and flushes. No more than a page of 1,000 records is in memory at a time.
    ///
    /// # Errors
    ///
    /// [`Store`](super::TransferErrorKind::Store) and [`Write`](super::TransferErrorKind::Write): the
    /// file is then cut off.
    pub async fn run(
        mut self,
        mut file: impl AsyncWrite + Unpin + Send,
    ) -> Result<ExportReport, TransferError> {
        let mut report = ExportReport::default();
        let mut text = Vec::new();
        let now = self.clock.now();
        let failed = |error: serde_json::Error| TransferError::write(error.into());
        // The apps of all tokens up to this one are there by now, so none is missed below.
        let newest = TokenQuery::default().limit(1);
        let newest = catch_panic(|| self.registry.tokens(&newest, now))
            .await?
            .items
            .pop();
        let newest = newest.map(|token| token.id);

        write::header(&mut text).map_err(failed)?;
        let registry = self.registry;
        let mut apps = pages(None, move |after| async move {
            let query = AppQuery::default().limit(PageSize::MAX).after(after);
            catch_panic(|| registry.apps(&query)).await
        });
        while let Some(page) = apps.try_next().await? {
            for app in &page.items {
                write::app(&mut text, app).map_err(failed)?;
                report.apps += 1;
            }
            self.put(&mut file, &mut text, &mut report).await?;
        }
        let mut tokens = pages(None, move |after| async move {
            let query = TokenQuery::default().limit(PageSize::MAX).after(after);
            catch_panic(|| registry.tokens(&query, now)).await
        });
        while let Some(page) = tokens.try_next().await? {
            for token in page.items.iter().filter(|t| Some(t.id) <= newest) {
                write::token(&mut text, token).map_err(failed)?;
                report.tokens += 1;
            }
            self.put(&mut file, &mut text, &mut report).await?;
        }
        write::end(&mut text, &report).map_err(failed)?;
        self.put(&mut file, &mut text, &mut report).await?;
        file.flush().await.map_err(TransferError::write)?;
        Ok(report)
    }

    async fn put(
        &mut self,
        file: &mut (impl AsyncWrite + Unpin + Send),
        text: &mut Vec<u8>,
        report: &mut ExportReport,
    ) -> Result<(), TransferError> {
        file.write_all(text).await.map_err(TransferError::write)?;
        self.progress.lines += text.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.progress.bytes += text.len() as u64;
        report.bytes = self.progress.bytes;
        text.clear();
        (self.on_progress)(self.progress);
        Ok(())
    }
}

impl fmt::Debug for Export<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").finish_non_exhaustive()
    }
}
