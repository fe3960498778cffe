use std::{
    mem,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use futures_core::Stream;

use super::{
    Completeness, ImportReport, LineFault, MAX_LINE_LEN, TransferError,
    import_options::ImportOptions,
    line::{Line, Record},
    lines::{Lines, Read},
    place::{Batch, Outcome, Place},
    report::{FaultKind, Flaw},
};
use crate::{
    clock::truncate_to_microsecond,
    model::audit::{AuditAction, AuditEvent, AuditEventId, AuditOutcome},
    store::{audit_log, catch_panic},
};

/// How many lines, and how many bytes of them, are put into the registry in one step.
const BATCH_LINES: usize = 1000;
const BATCH_BYTES: usize = 1 << 20;

/// An import that is under way.
pub(super) struct Run<'a, S> {
    options: ImportOptions<'a>,
    lines: Lines<S>,
    pub(super) report: ImportReport,
    /// The lines that wait to be dealt with, and the records of those that are not at fault.
    entries: Vec<Entry>,
    batch: Batch,
    batch_bytes: usize,
    /// The event of the import, until a change has recorded it.
    event: Option<AuditEvent>,
    begun: bool,
    /// Whether the next line that is not empty is the first.
    is_first: bool,
    has_header: bool,
    /// How many records there are, as the end says.
    end: Option<u64>,
}

struct Entry {
    number: u64,
    text: Vec<u8>,
    /// What is wrong with it by itself.
    flaw: Option<Flaw>,
}

/// Whether to go on.
type GoesOn = bool;

impl<'a, S: Stream<Item = Result<Bytes, TransferError>> + Unpin + Send> Run<'a, S> {
    pub(super) fn new(options: ImportOptions<'a>, file: S) -> Self {
        Self {
            options,
            lines: Lines::new(file),
            report: ImportReport::default(),
            entries: Vec::new(),
            batch: Batch::default(),
            batch_bytes: 0,
            event: None,
            begun: false,
            is_first: true,
            has_header: false,
            end: None,
        }
    }

    /// Reads and deals with what is left of the file.
    pub(super) async fn finish(&mut self) -> Result<(), TransferError> {
        loop {
            let read = self.lines.next().await?;
            let goes_on = match read {
                Read::End => break,
                Read::Part => self.skip_long_line().await?,
                Read::Line | Read::Unended => self.take_line(read).await?,
            };
            if !goes_on {
                return Ok(());
            }
        }
        let came_to_the_end = self.settle().await?;
        self.audit().await?;
        (self.options.on_progress)(self.lines.progress);
        if came_to_the_end {
            self.report.completeness = match (self.end, self.has_header) {
                (Some(records), _) if records == self.report.read => Completeness::Complete,
                (None, false) => Completeness::Unknown,
                _ => Completeness::Incomplete,
            };
        }
        Ok(())
    }

    async fn take_line(&mut self, read: Read) -> Result<GoesOn, TransferError> {
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
                "it comes after the end of an export: import each export by itself",
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
                "a header is the first line: import each export by itself",
            ),
            Ok(Line::End { records }) => {
                self.end = Some(records);
                return Ok(true);
            }
            Ok(Line::Record(record)) => return self.take_record(number, text, record).await,
            Err(_) if read == Read::Unended => Flaw::new(
                FaultKind::Truncated,
                "the file ends in the midst of this line: get the whole file and import it again",
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
    ) -> Result<GoesOn, TransferError> {
        while let Err(waiting) = self.batch.push(record) {
            if !self.settle().await? {
                return Ok(false);
            }
            record = waiting;
        }
        self.take_entry(number, text, None).await
    }

    async fn take_entry(
        &mut self,
        number: u64,
        text: Vec<u8>,
        flaw: Option<Flaw>,
    ) -> Result<GoesOn, TransferError> {
        self.batch_bytes += text.len();
        self.entries.push(Entry { number, text, flaw });
        let is_full = self.entries.len() >= BATCH_LINES || self.batch_bytes >= BATCH_BYTES;
        if is_full || self.options.stops {
            return self.settle().await;
        }
        Ok(true)
    }

    /// Deals with a line that does not fit into memory.
    async fn skip_long_line(&mut self) -> Result<GoesOn, TransferError> {
        let number = self.lines.progress.lines;
        self.is_first = false;
        if !self.settle().await? {
            return Ok(false);
        }
        self.reject_part()?;
        while self.lines.more().await? == Read::Part {
            self.reject_part()?;
        }
        self.reject_part()?;
        let reason = format!("it is longer than {MAX_LINE_LEN} bytes");
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

    /// Keeps what was read last, if bad lines are kept.
    fn reject_part(&mut self) -> Result<(), TransferError> {
        if let Some(rejects) = &mut self.options.rejects {
            let written = rejects.write_all(&self.lines.text);
            written.map_err(TransferError::write)?;
        }
        Ok(())
    }

    /// Puts the records that wait into the registry, and accounts for every line that waits.
    async fn settle(&mut self) -> Result<GoesOn, TransferError> {
        let entries = mem::take(&mut self.entries);
        let batch = mem::take(&mut self.batch);
        self.batch_bytes = 0;
        if entries.is_empty() {
            return Ok(true);
        }
        self.begin()?;
        let place = Place {
            registry: self.options.registry,
            now: truncate_to_microsecond(self.options.clock.now()),
            entropy: &*self.options.entropy,
            event: Mutex::new(self.event.take()),
        };
        let placed = place.put(batch).await;
        self.event = place
            .event
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        self.report.apps_created += placed.apps_created;
        let mut outcomes = placed.outcomes.into_iter();
        let mut goes_on = true;
        for entry in entries {
            let outcome = match entry.flaw {
                Some(flaw) => Outcome::Fault(flaw),
                None => match outcomes.next() {
                    Some(outcome) => outcome,
                    None => break,
                },
            };
            if matches!(outcome, Outcome::Fault(_)) {
                goes_on = !self.options.stops;
                if let Some(rejects) = &mut self.options.rejects {
                    let line = [&entry.text[..], b"\n"].concat();
                    let written = rejects.write_all(&line);
                    written.map_err(TransferError::write)?;
                }
            }
            self.count(entry.number, outcome);
        }
        (self.options.on_progress)(self.lines.progress);
        match placed.failure {
            Some(error) => Err(error),
            None => Ok(goes_on),
        }
    }

    fn count(&mut self, number: u64, outcome: Outcome) {
        self.report.read += 1;
        match outcome {
            Outcome::Inserted => self.report.inserted += 1,
            Outcome::AlreadyThere => self.report.already_present += 1,
            Outcome::Fault(flaw) => {
                match flaw.kind {
                    FaultKind::Conflict => self.report.conflicts += 1,
                    _ => self.report.refused += 1,
                }
                (self.options.on_fault)(&LineFault::new(number, flaw));
            }
        }
    }

    /// Makes the event of the import.
    fn begin(&mut self) -> Result<(), TransferError> {
        if mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        let Some(actor) = &self.options.actor else {
            return Ok(());
        };
        let now = truncate_to_microsecond(self.options.clock.now());
        let id = AuditEventId::generate(now, &*self.options.entropy)?;
        let (action, outcome) = (AuditAction::ImportTokens, AuditOutcome::Done);
        let event = AuditEvent::new(id, now, actor, action, outcome);
        self.event = Some(event);
        Ok(())
    }

    /// Records the event of an import that changed nothing.
    async fn audit(&mut self) -> Result<(), TransferError> {
        if let Some(event) = self.event.take() {
            let log = audit_log(self.options.registry)?;
            catch_panic(|| log.append(&event)).await?;
        }
        Ok(())
    }
}
