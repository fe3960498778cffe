//! Prints records and lines.

use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use tower_api_tokens::Revision;

use crate::{
    escape::{escape_controls, escape_json},
    failure::Failure,
    note::note,
};

/// The width of the gap between the columns of a table.
const GAP: u16 = 2;

/// A list of records, printed as a table for people or as JSON Lines for programs.
pub(crate) struct Listing {
    json: bool,
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

/// A record in a list.
pub(crate) trait Listed: Serialize {
    /// The column headers.
    const COLUMNS: &'static [&'static str];

    /// The cells of the record.
    fn cells(&self) -> Vec<String>;
}

impl Listing {
    pub(crate) fn new<T: Listed>(json: bool) -> Self {
        Self {
            json,
            columns: T::COLUMNS,
            rows: Vec::new(),
        }
    }

    /// Adds a record. With JSON, prints it immediately.
    pub(crate) fn add<T: Listed>(&mut self, record: &T) -> Result<(), Failure> {
        if self.json {
            return print_json(record);
        }
        self.rows.push(record.cells());
        Ok(())
    }

    /// Prints the table, or `empty` if it has no rows.
    pub(crate) fn end(self, empty: &str) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        if self.rows.is_empty() {
            note(empty);
            return Ok(());
        }
        let mut table = plain_table();
        table.set_header(self.columns);
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| escape_controls(cell)));
        }
        if fits(&table) {
            print_table(&mut table)
        } else {
            self.print_in_full()
        }
    }

    /// Prints the records as lists of fields, separated by empty lines.
    fn print_in_full(&self) -> Result<(), Failure> {
        for (number, row) in self.rows.iter().enumerate() {
            if number > 0 {
                print_line("")?;
            }
            let fields: Vec<_> = self.columns.iter().copied().zip(row.clone()).collect();
            print_fields(&fields)?;
        }
        Ok(())
    }
}

/// Whether a table fits the width of the terminal. A terminal of unknown width, or of width 0, counts
/// as wide enough.
fn fits(table: &Table) -> bool {
    let Some(width) = table.width().filter(|width| *width > 0) else {
        return true;
    };
    let columns = table.column_max_content_widths();
    let gaps = usize::from(GAP) * columns.len().saturating_sub(1);
    let needed = columns.into_iter().map(usize::from).sum::<usize>() + gaps;
    !io::stdout().is_terminal() || needed <= usize::from(width)
}

/// Whether standard output was closed when the program started. The standard library then replaces it
/// with the null device, opened for reading and writing, and no write fails. A shell opens the null
/// device only for writing. Other programs may open it as the standard library does, so check this
/// only where the output must not be lost.
#[cfg(target_os = "linux")]
pub(crate) fn is_closed() -> bool {
    use std::{fs::metadata, os::unix::fs::MetadataExt};

    use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};

    let (Ok(null), Ok(out)) = (metadata("/dev/null"), fstat(io::stdout())) else {
        return false;
    };
    FileType::from_raw_mode(out.st_mode) == FileType::CharacterDevice
        && out.st_rdev == null.rdev()
        && fcntl_getfl(io::stdout()).is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDWR)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn is_closed() -> bool {
    false
}

/// Prints a value as one line of JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string(value).map_err(io::Error::from)?;
    print_line(&escape_json(&json))
}

/// Prints a record with the revision of the store that includes its change, if there was one.
pub(crate) fn print_changed_json(
    record: &impl Serialize,
    revision: Option<Revision>,
) -> Result<(), Failure> {
    let json = serde_json::to_string(record).map_err(io::Error::from)?;
    // The record may be kept as text, so the field is added to its text.
    let json = match (revision, json.strip_suffix('}')) {
        (Some(revision), Some(fields)) => format!("{fields},\"revision\":\"{revision}\"}}"),
        _ => json,
    };
    print_line(&escape_json(&json))
}

/// Prints a record as a list of fields, one per line.
pub(crate) fn print_fields(fields: &[(&str, String)]) -> Result<(), Failure> {
    print_table(&mut fields_table(fields))
}

/// Prints a record to standard error, where it does not mix with output for a program.
pub(crate) fn note_fields(fields: &[(&str, String)]) {
    let _ = writeln!(io::stderr(), "{}", fields_table(fields).trim_fmt());
}

/// Prints a line.
pub(crate) fn print_line(line: &str) -> Result<(), Failure> {
    print(format!("{line}\n").as_bytes())
}

/// Prints bytes and flushes them: errors of the flush at the end of the program would be lost.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

fn fields_table(fields: &[(&str, String)]) -> Table {
    let mut table = plain_table();
    for (name, value) in fields {
        table.add_row([*name, &*escape_controls(value)]);
    }
    pad(&mut table);
    table
}

/// Creates a table that never wraps lines: a wrapped identifier cannot be copied.
fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn print_table(table: &mut Table) -> Result<(), Failure> {
    pad(table);
    print_line(&table.trim_fmt())
}

fn pad(table: &mut Table) {
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
}
