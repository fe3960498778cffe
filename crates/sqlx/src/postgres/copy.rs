//! Reads the binary format of `COPY`.

use std::{mem, ops::Range};

use tower_api_tokens::{StoreError, StoreErrorKind};

use crate::rows::{Columns, TOKEN_COLUMNS};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// The columns of a token and the latest revision.
const COLUMNS: usize = TOKEN_COLUMNS + 2;

/// Where the columns of a row are; `None` for null.
type Fields = [Option<Range<usize>>; COLUMNS];

#[derive(Debug, thiserror::Error)]
#[error("the server sent something else than rows of tokens")]
struct Malformed;

fn malformed() -> StoreError {
    StoreError::with_source(StoreErrorKind::Corrupt, Malformed)
}

/// Rows that were received.
#[derive(Debug, Default)]
pub(super) struct CopiedPage {
    bytes: Vec<u8>,
    rows: Vec<Fields>,
    /// How much of the bytes was read.
    read: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Header,
    Rows,
    End,
}

/// A row that was received.
#[derive(Debug)]
pub(super) struct CopiedRow<'a> {
    bytes: &'a [u8],
    fields: &'a Fields,
}

impl CopiedPage {
    /// Adds what the server sent. It may end anywhere in a row.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        self.bytes.extend_from_slice(chunk);
        if self.state == State::Header && !self.read_header()? {
            return Ok(());
        }
        while self.state == State::Rows && self.read_row()? {}
        match self.state == State::End && self.read < self.bytes.len() {
            true => Err(malformed()),
            false => Ok(()),
        }
    }

    fn read_header(&mut self) -> Result<bool, StoreError> {
        let Some((signature, rest)) = self.bytes.split_at_checked(SIGNATURE.len()) else {
            return Ok(false);
        };
        if signature != SIGNATURE {
            return Err(malformed());
        }
        let Some((_flags, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(false);
        };
        let Some((len, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(false);
        };
        let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| malformed())?;
        if rest.len() < len {
            return Ok(false);
        }
        self.read = SIGNATURE.len() + 8 + len;
        self.state = State::Rows;
        Ok(true)
    }

    /// Reads a row, if all of it has arrived.
    fn read_row(&mut self) -> Result<bool, StoreError> {
        let mut at = self.read;
        let Some(count) = self.number::<2>(&mut at) else {
            return Ok(false);
        };
        match i16::from_be_bytes(count) {
            -1 => {
                self.state = State::End;
                self.read = at;
                return Ok(true);
            }
            count if usize::try_from(count) == Ok(COLUMNS) => {}
            _ => return Err(malformed()),
        }
        let mut fields: Fields = [const { None }; COLUMNS];
        for field in &mut fields {
            let Some(len) = self.number::<4>(&mut at) else {
                return Ok(false);
            };
            let len = i32::from_be_bytes(len);
            if len >= 0 {
                let begin = at;
                at += usize::try_from(len).map_err(|_| malformed())?;
                *field = Some(begin..at);
            } else if len != -1 {
                return Err(malformed());
            }
            if at > self.bytes.len() {
                return Ok(false);
            }
        }
        self.rows.push(fields);
        self.read = at;
        Ok(true)
    }

    fn number<const N: usize>(&self, at: &mut usize) -> Option<[u8; N]> {
        let bytes = *self.bytes.get(*at..)?.first_chunk()?;
        *at += N;
        Some(bytes)
    }

    /// Takes the rows that have arrived, if there are at least so many.
    pub(super) fn take(&mut self, least: usize) -> Result<Option<Self>, StoreError> {
        if self.rows.len() < least {
            return Ok(None);
        }
        let rest = Self {
            bytes: self.bytes.split_off(self.read),
            rows: Vec::with_capacity(least),
            read: 0,
            state: self.state,
        };
        Ok(Some(mem::replace(self, rest)))
    }

    /// Returns the remaining rows, after the server has said that there are no more.
    pub(super) fn finish(self) -> Result<Self, StoreError> {
        match self.state {
            State::End => Ok(self),
            State::Header | State::Rows => Err(malformed()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn rows(&self) -> Vec<CopiedRow<'_>> {
        let row = |fields| CopiedRow {
            bytes: &self.bytes,
            fields,
        };
        self.rows.iter().map(row).collect()
    }
}

impl CopiedRow<'_> {
    fn field(&self, column: usize) -> Option<&[u8]> {
        let range = self.fields.get(column)?.clone()?;
        self.bytes.get(range)
    }

    fn exactly<const N: usize>(&self, column: usize) -> Result<Option<[u8; N]>, StoreError> {
        let field = self.field(column);
        let field = field.map(|field| field.try_into().map_err(|_| malformed()));
        field.transpose()
    }
}

impl Columns for CopiedRow<'_> {
    fn integer(&self, column: usize) -> Result<Option<i64>, StoreError> {
        Ok(self.exactly(column)?.map(i64::from_be_bytes))
    }

    fn text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        let text = self.field(column).map(std::str::from_utf8);
        text.transpose().map_err(|_| malformed())
    }

    fn bytes(&self, column: usize) -> Result<Option<&[u8]>, StoreError> {
        Ok(self.field(column))
    }

    fn identifier(&self, column: usize) -> Result<Option<[u8; 16]>, StoreError> {
        self.exactly(column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Vec<u8> {
        [SIGNATURE, &[0; 4], &3_u32.to_be_bytes(), b"ext"].concat()
    }

    fn row(number: i64) -> Vec<u8> {
        let mut bytes = i16::try_from(COLUMNS).unwrap().to_be_bytes().to_vec();
        for column in 0..COLUMNS {
            match column {
                0 => bytes.extend([&16_i32.to_be_bytes()[..], &[7; 16]].concat()),
                1 => bytes.extend((-1_i32).to_be_bytes()),
                2 => bytes.extend([&2_i32.to_be_bytes()[..], "é".as_bytes()].concat()),
                _ => bytes.extend([&8_i32.to_be_bytes()[..], &number.to_be_bytes()].concat()),
            }
        }
        bytes
    }

    fn numbers(page: &CopiedPage) -> Vec<i64> {
        let rows = page.rows();
        let numbers = rows.iter().map(|row| {
            assert_eq!(row.identifier(0).unwrap(), Some([7; 16]));
            assert_eq!(row.bytes(1).unwrap(), None);
            assert_eq!(row.text(2).unwrap(), Some("é"));
            assert!(row.integer(2).is_err() && row.identifier(3).is_err());
            row.integer(3).unwrap().unwrap()
        });
        numbers.collect()
    }

    #[test]
    fn rows_are_read_wherever_the_chunks_end() {
        let rows = (0..5).flat_map(row);
        let all: Vec<u8> = header()
            .into_iter()
            .chain(rows)
            .chain((-1_i16).to_be_bytes())
            .collect();
        for len in 1..all.len() {
            let (mut copied, mut read) = (CopiedPage::default(), Vec::new());
            for chunk in all.chunks(len) {
                copied.push(chunk).unwrap();
                while let Some(page) = copied.take(2).unwrap() {
                    read.extend(numbers(&page));
                }
            }
            read.extend(numbers(&copied.finish().unwrap()));
            assert_eq!(read, [0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn an_incomplete_copy_is_an_error() {
        let all = [header(), row(1), (-1_i16).to_be_bytes().to_vec()].concat();
        for len in 0..all.len() {
            let mut copied = CopiedPage::default();
            copied.push(&all[..len]).unwrap();
            copied.finish().unwrap_err();
        }
        let mut copied = CopiedPage::default();
        copied.push(&all).unwrap();
        copied.push(&[0]).unwrap_err();
    }

    #[test]
    fn other_bytes_are_an_error() {
        CopiedPage::default()
            .push(b"PGCOPY\n\xff\r\n1")
            .unwrap_err();
        let mut copied = CopiedPage::default();
        copied.push(&header()).unwrap();
        copied.push(&3_i16.to_be_bytes()).unwrap_err();
    }
}
