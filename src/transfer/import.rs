use std::{
    error::Error,
    fmt,
    io::{self, BufRead, Write},
    iter,
    sync::Arc,
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{TryStreamExt, stream};

use super::{
    ImportReport, LineFault, Progress, TransferError, import_options::ImportOptions, run::Run,
};
use crate::{lifecycle::TokenFormats, random::Entropy, store::TokenRegistry, time::Clock};

/// Imports apps and tokens into a registry, in the format described in the [module
/// documentation](super).
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{
///     MemoryStore,
///     transfer::{FaultKind, Import},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = r#"
/// {"token":{"app":{"id":"42","name":"Acme Ltd"},"digest":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}}
/// {"token":{"app":"43","digest":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}}
/// "#;
/// let (store, mut faults, mut rejects) = (MemoryStore::new(), Vec::new(), Vec::new());
/// let report = Import::new(&store)
///     .actor("ops@example.com")
///     .on_fault(|fault| faults.push(fault.clone()))
///     .rejects(&mut rejects)
///     .run(file.as_bytes())
///     .await?;
/// assert_eq!((report.read, report.inserted, report.refused), (2, 1, 1));
/// assert_eq!((faults[0].line(), faults[0].kind()), (3, FaultKind::UnknownApp));
/// assert!(rejects.starts_with(br#"{"token":{"app":"43""#));
/// # Ok(())
/// # }
/// ```
///
/// If an authenticator in the same process has refused a token as unknown within the last few
/// seconds, it may continue to do so for that long after the import.
///
/// # Cancellation
///
/// If the future is dropped, some of the records have been inserted. Import the same file again to
/// finish.
#[must_use = "an import does nothing until it is run"]
pub struct Import<'a> {
    options: ImportOptions<'a>,
}

impl<'a> Import<'a> {
    /// Creates an import into a registry, which may already have records.
    pub fn new(registry: &'a dyn TokenRegistry) -> Self {
        Self {
            options: ImportOptions::new(registry),
        }
    }

    /// Sets the clock. Defaults to [`SystemClock`](crate::SystemClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.options.clock = Arc::new(clock);
        self
    }

    /// Sets the source of randomness. Defaults to [`SystemEntropy`](crate::SystemEntropy).
    pub fn entropy(mut self, entropy: impl Entropy) -> Self {
        self.options.entropy = Arc::new(entropy);
        self
    }

    /// Sets the actor of the import, for the registry's audit log. Defaults to `operator` if the registry has an
    /// audit log; otherwise, nothing is recorded.
    ///
    /// Each transaction of the import has an event `token.import` with two
    /// [changes](crate::AuditEvent::changes): `import` is the same for all of them, and `tokens` is the number of
    /// tokens that the transaction inserted. A transaction of one token names the token as well. An
    /// import that inserts nothing has one event too.
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.options.actor = Some(actor.into());
        self
    }

    /// Sets the formats of the tokens; see [`ApiTokens::formats`](crate::ApiTokens::formats). Defaults
    /// to none.
    ///
    /// A line is then bad if its token is neither expired nor revoked, and its app or one of its
    /// scopes is limited to another format.
    pub fn formats(mut self, formats: &TokenFormats) -> Self {
        self.options.formats = Some(formats.clone());
        self
    }

    /// Stops at the first bad line: no record after it is inserted. Defaults to continuing with the
    /// next line. Records are then inserted one by one, which is slower with a store on disk.
    pub fn stop_at_fault(mut self) -> Self {
        self.options.stops = true;
        self
    }

    /// Sets a function that is called for each bad line, in order.
    pub fn on_fault(mut self, on_fault: impl FnMut(&LineFault) + Send + 'a) -> Self {
        self.options.on_fault = Box::new(on_fault);
        self
    }

    /// Sets a function that is called with the progress after each batch.
    pub fn on_progress(mut self, on_progress: impl FnMut(Progress) + Send + 'a) -> Self {
        self.options.on_progress = Box::new(on_progress);
        self
    }

    /// Copies the bad lines to a file. After they are corrected, that file can be imported on its
    /// own. Writing to it delays the import, so it should not block for long.
    pub fn rejects(mut self, file: &'a mut (impl Write + Send)) -> Self {
        self.options.rejects = Some(file);
        self
    }

    /// Imports a file from disk or from memory. Reading blocks the task, so use
    /// [`run_stream`](Self::run_stream) to read from a network.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`run_stream`](Self::run_stream).
    pub async fn run(self, file: impl BufRead + Send) -> Result<ImportReport, TransferError> {
        self.run_stream(chunks(file)).await
    }

    /// Imports a file that arrives in chunks, such as the body of a request or an
    /// [`ExportStream`](super::ExportStream). At most a batch of 1,000 lines and one chunk are in
    /// memory.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read or has a newer version, if the bad lines cannot
    /// be written, or if the store or the random number generator fails. Bad lines are not an
    /// error: check [`ImportReport::faults`].
    pub async fn run_stream<E>(
        self,
        file: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<ImportReport, TransferError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut run = Run::new(self.options, Box::pin(file.map_err(TransferError::read)));
        let ran = run.finish().await;
        let flushed = run.flush_rejects();
        match ran.and(flushed) {
            Ok(()) => Ok(run.report),
            Err(error) => Err(error.reporting(run.report)),
        }
    }
}

/// How much of a file is read at a time.
const CHUNK: usize = 64 * 1024;

/// Reads a file as a stream of chunks.
fn chunks(mut file: impl BufRead + Send) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let mut next = move || -> io::Result<Option<Bytes>> {
        loop {
            let available = match file.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let chunk = Bytes::copy_from_slice(&available[..available.len().min(CHUNK)]);
            file.consume(chunk.len());
            return Ok((!chunk.is_empty()).then_some(chunk));
        }
    };
    stream::iter(iter::from_fn(move || next().transpose()))
}

impl fmt::Debug for Import<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import")
            .field("actor", &self.options.actor)
            .field("stops", &self.options.stops)
            .finish_non_exhaustive()
    }
}
