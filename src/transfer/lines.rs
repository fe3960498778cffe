use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

use super::{MAX_LINE_LEN, Progress};

/// The lines of a file, of which no more than one longest line is ever in memory.
pub(super) struct Lines<R> {
    source: R,
    /// What was read last: a line without its line feed, or a part of a line that is too long.
    pub(super) text: Vec<u8>,
    /// How far the reading has come; the line read last is counted.
    pub(super) progress: Progress,
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A line, or the rest of one, with a line feed.
    Line,
    /// What is there after the last line feed.
    Unended,
    /// As much of a line as one may have, and more of it is to come.
    Part,
    /// Nothing: the end of the file.
    End,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source,
            text: Vec::new(),
            progress: Progress::default(),
        }
    }

    /// Reads the next line.
    pub(super) async fn next(&mut self) -> io::Result<Read> {
        let read = self.more().await?;
        self.progress.lines += u64::from(read != Read::End);
        Ok(read)
    }

    /// Reads more of a line of which a part was read.
    pub(super) async fn more(&mut self) -> io::Result<Read> {
        self.text.clear();
        loop {
            let available = self.source.fill_buf().await?;
            if available.is_empty() {
                let unended = !self.text.is_empty();
                return Ok(if unended { Read::Unended } else { Read::End });
            }
            let room = MAX_LINE_LEN - self.text.len();
            let end = available.iter().take(room + 1).position(|b| *b == b'\n');
            let length = end.unwrap_or(available.len().min(room));
            self.text.extend_from_slice(&available[..length]);
            let is_part = end.is_none() && available.len() > room;
            let consumed = length + usize::from(end.is_some());
            self.source.consume(consumed);
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
