use std::mem;

use bytes::Bytes;
use futures_core::Stream;

use super::{
    Completeness, ImportReport, LineFault, MAX_LINE_LEN, TransferError,
    batch::{Batch, Inserter, Outcome},
    events::ImportEvents,
    import_options::ImportOptions,
    line::{Line, Record},
    lines::{Lines, Read},
    report::{FaultKind, Flaw},
};
use crate::{
    store::{audit_log, catch_panic},
    time::truncate_to_microsecond,
};

/// The maximum number of lines in a batch, and of their bytes.
const BATCH_LINES: usize = 1000;
const BATCH_BYTES: usize = 1 << 20;

/// An import in progress.
pub(super) struct Run<'a, S> {
    options: ImportOptions<'a>,
    lines: Lines<S>,
    pub(super) report: ImportReport,
    /// The lines of the current batch, and the records of those that are not bad.
    entries: Vec<Entry>,
    batch: Batch,
    batch_bytes: usize,
    events: Option<ImportEvents>,
    begun: bool,
    /// Whether the next line that is not empty is the first one.
    is_first: bool,
    has_header: bool,
    /// The number of records that the end states.
    end: Option<u64>,
}

struct Entry {
    number: u64,
    text: Vec<u8>,
    /// What is wrong with the line itself.
    flaw: Option<Flaw>,
}

/// Whether to continue.
type Continue = bool;

impl<'a, S: Stream<Item = Result<Bytes, TransferError>> + Unpin + Send> Run<'a, S> {
    pub(super) fn new(options: ImportOptions<'a>, file: S) -> Self {
        Self {
            options,
            lines: Lines::new(file),
            report: ImportReport::default(),
            entries: Vec::new(),
            batch: Batch::default(),
            batch_bytes: 0,
            events: None,
            begun: false,
            is_first: true,
            has_header: false,
            end: None,
        }
    }

    /// Reads and processes the rest of the file.
    pub(super) async fn finish(&mut self) -> Result<(), TransferError> {
        loop {
            let read = self.lines.next().await?;
            let continues = match read {
                Read::End => break,
                Read::Part => self.skip_long_line().await?,
                Read::Line | Read::Unended => self.take_line(read).await?,
            };
            if !continues {
                return Ok(());
            }
        }
        let reached_end = self.insert_batch().await?;
        self.audit().await?;
        (self.options.on_progress)(self.lines.progress);
        if reached_end {
            self.report.completeness = match (self.end, self.has_header) {
                (Some(records), _) if records == self.report.read => Completeness::Complete,
                (None, false) => Completeness::Unknown,
                _ => Completeness::Incomplete,
            };
        }
        Ok(())
    }

    async fn take_line(&mut self, read: Read) -> Result<Continue, TransferError> {
        let number = self.lines.progress.lines;
        let mut text = mem::take(&mut self.lines.text);
        if number == 1 && text.starts_with("\u{feff}".as_bytes()) {
            text.drain(..3);
        }
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(true);
        }
        let is_first = mem::replace(&mut self.is_first, false);
        let flaw = match Line::read(&text) {
            Ok(_) if self.end.is_some() => Flaw::new(
                FaultKind::Misplaced,
                "the line comes after the end of an export; import each export on its own",
            ),
            Ok(Line::Header { compatible: false }) if is_first => {
                return Err(TransferError::incompatible());
            }
            Ok(Line::Header { .. }) if is_first => {
                self.has_header = true;
                return Ok(true);
            }
            Ok(Line::Header { .. }) => Flaw::new(
                FaultKind::Misplaced,
                "a header that is not the first line; import each export on its own",
            ),
            Ok(Line::End { records }) => {
                self.end = Some(records);
                return Ok(true);
            }
            Ok(Line::Record(record)) => return self.take_record(number, text, record).await,
            Err(_) if read == Read::Unended => Flaw::new(
                FaultKind::Truncated,
                "the file ends in the middle of this line; get the complete file and import it again",
            ),
            Err(flaw) => flaw,
        };
        self.take_entry(number, text, Some(flaw)).await
    }

    async fn take_record(
        &mut self,
        number: u64,
        text: Vec<u8>,
        mut record: Record,
    ) -> Result<Continue, TransferError> {
        if let Some(flaw) = self.format_flaw(&record) {
            return self.take_entry(number, text, Some(flaw)).await;
        }
        while let Err(waiting) = self.batch.push(record) {
            if !self.insert_batch().await? {
                return Ok(false);
            }
            record = waiting;
        }
        self.take_entry(number, text, None).await
    }

    /// Why a record does not comply with the limits to formats.
    fn format_flaw(&self, record: &Record) -> Option<Flaw> {
        let Record::Token(token) = record else {
            return None;
        };
        let formats = self.options.formats.as_ref()?;
        token.format_flaw(formats, self.options.clock.now())
    }

    async fn take_entry(
        &mut self,
        number: u64,
        text: Vec<u8>,
        flaw: Option<Flaw>,
    ) -> Result<Continue, TransferError> {
        self.batch_bytes += text.len();
        self.entries.push(Entry { number, text, flaw });
        let is_full = self.entries.len() >= BATCH_LINES || self.batch_bytes >= BATCH_BYTES;
        if is_full || self.options.stops {
            return self.insert_batch().await;
        }
        Ok(true)
    }

    /// Processes a line that is too long.
    async fn skip_long_line(&mut self) -> Result<Continue, TransferError> {
        let number = self.lines.progress.lines;
        self.is_first = false;
        if !self.insert_batch().await? {
            return Ok(false);
        }
        self.reject_part()?;
        while self.lines.more().await? == Read::Part {
            self.reject_part()?;
        }
        self.reject_part()?;
        let reason = format!("the line is longer than {MAX_LINE_LEN} bytes");
        let flaw = Flaw::new(FaultKind::TooLong, reason);
        self.count(number, Outcome::Fault(flaw));
        if let Some(rejects) = &mut self.options.rejects {
            rejects.write_all(b"\n").map_err(TransferError::write)?;
        }
        Ok(!self.options.stops)
    }

    pub(super) fn flush_rejects(&mut self) -> Result<(), TransferError> {
        if let Some(rejects) = &mut self.options.rejects {
            rejects.flush().map_err(TransferError::write)?;
        }
        Ok(())
    }

    /// Copies what was read last to the file of bad lines, if there is one.
    fn reject_part(&mut self) -> Result<(), TransferError> {
        if let Some(rejects) = &mut self.options.rejects {
            let written = rejects.write_all(&self.lines.text);
            written.map_err(TransferError::write)?;
        }
        Ok(())
    }

    /// Inserts the records of the current batch, and reports each of its lines.
    async fn insert_batch(&mut self) -> Result<Continue, TransferError> {
        let entries = mem::take(&mut self.entries);
        let batch = mem::take(&mut self.batch);
        self.batch_bytes = 0;
        if entries.is_empty() {
            return Ok(true);
        }
        self.begin()?;
        let inserter = Inserter {
            registry: self.options.registry,
            now: truncate_to_microsecond(self.options.clock.now()),
            entropy: &*self.options.entropy,
            events: self.events.as_ref(),
        };
        let result = inserter.insert(batch).await;
        self.report.apps_created += result.apps_created;
        let mut outcomes = result.outcomes.into_iter();
        let mut continues = true;
        for entry in entries {
            let outcome = match entry.flaw {
                Some(flaw) => Outcome::Fault(flaw),
                None => match outcomes.next() {
                    Some(outcome) => outcome,
                    None => break,
                },
            };
            if matches!(outcome, Outcome::Fault(_)) {
                continues = !self.options.stops;
                if let Some(rejects) = &mut self.options.rejects {
                    let line = [&entry.text[..], b"\n"].concat();
                    let written = rejects.write_all(&line);
                    written.map_err(TransferError::write)?;
                }
            }
            self.count(entry.number, outcome);
        }
        (self.options.on_progress)(self.lines.progress);
        match result.failure {
            Some(error) => Err(error),
            None => Ok(continues),
        }
    }

    fn count(&mut self, number: u64, outcome: Outcome) {
        self.report.read += 1;
        match outcome {
            Outcome::Inserted => self.report.inserted += 1,
            Outcome::AlreadyPresent => self.report.already_present += 1,
            Outcome::Fault(flaw) => {
                match flaw.kind {
                    FaultKind::Conflict => self.report.conflicts += 1,
                    _ => self.report.refused += 1,
                }
                (self.options.on_fault)(&LineFault::new(number, flaw));
            }
        }
    }

    /// Begins the events of the import.
    fn begin(&mut self) -> Result<(), TransferError> {
        if mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        self.events = ImportEvents::begin(
            self.options.actor.as_deref(),
            self.options.registry,
            truncate_to_microsecond(self.options.clock.now()),
            &*self.options.entropy,
        )?;
        Ok(())
    }

    /// Records the event of an import that changed nothing.
    async fn audit(&mut self) -> Result<(), TransferError> {
        let now = truncate_to_microsecond(self.options.clock.now());
        let event = self
            .events
            .as_ref()
            .and_then(|events| events.of_nothing(now));
        if let Some(event) = event {
            let log = audit_log(self.options.registry)?;
            catch_panic(|| log.append(&event)).await?;
        }
        Ok(())
    }
}
