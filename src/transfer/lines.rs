use bytes::{Buf, Bytes};
use futures_core::Stream;
use futures_util::TryStreamExt;

use super::{MAX_LINE_LEN, Progress, TransferError};

/// The lines of a file that arrives in chunks. At most one chunk and one line of the maximum length
/// are in memory.
pub(super) struct Lines<S> {
    source: S,
    /// The rest of the latest chunk.
    chunk: Bytes,
    /// What was read last: a line without its line feed, or a part of a line that is too long.
    pub(super) text: Vec<u8>,
    /// How far the file has been read, including the latest line.
    pub(super) progress: Progress,
}

/// The result of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A line, or the rest of one, that ended with a line feed.
    Line,
    /// Text after the last line feed.
    Unended,
    /// A part of a line of the maximum length; the rest follows.
    Part,
    /// The end of the file.
    End,
}

impl<S: Stream<Item = Result<Bytes, TransferError>> + Unpin> Lines<S> {
    pub(super) fn new(source: S) -> Self {
        Self {
            source,
            chunk: Bytes::new(),
            text: Vec::new(),
            progress: Progress::default(),
        }
    }

    /// Reads the next line.
    pub(super) async fn next(&mut self) -> Result<Read, TransferError> {
        let read = self.more().await?;
        self.progress.lines += u64::from(read != Read::End);
        Ok(read)
    }

    /// Reads more of a line that is too long.
    pub(super) async fn more(&mut self) -> Result<Read, TransferError> {
        self.text.clear();
        loop {
            while self.chunk.is_empty() {
                match self.source.try_next().await? {
                    Some(chunk) => self.chunk = chunk,
                    None if self.text.is_empty() => return Ok(Read::End),
                    None => return Ok(Read::Unended),
                }
            }
            let available = &self.chunk[..];
            let room = MAX_LINE_LEN - self.text.len();
            let end = available.iter().take(room + 1).position(|b| *b == b'\n');
            let length = end.unwrap_or(available.len().min(room));
            self.text.extend_from_slice(&available[..length]);
            let is_part = end.is_none() && available.len() > room;
            let consumed = length + usize::from(end.is_some());
            self.chunk.advance(consumed);
            self.progress.bytes += consumed as u64;
            if end.is_some() {
                return Ok(Read::Line);
            }
            if is_part {
                return Ok(Read::Part);
            }
        }
    }
}
