//! Records and lines as a command prints them.

use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::{
    failure::Failure,
    note::note,
    visible::{visible, visible_json},
};

/// The columns between one cell of a table and the next.
const GAP: u16 = 2;

/// Records of one kind, as a table for people or as JSON lines for programs.
pub(crate) struct Listing {
    json: bool,
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

/// Something that is listed.
pub(crate) trait Listed: Serialize {
    /// The titles of the columns.
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

    /// Adds a record. JSON is printed immediately.
    pub(crate) fn add<T: Listed>(&mut self, record: &T) -> Result<(), Failure> {
        if self.json {
            return print_json(record);
        }
        self.rows.push(record.cells());
        Ok(())
    }

    /// Prints the table, or in place of an empty one what to do about it.
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
            table.add_row(row.iter().map(|cell| visible(cell)));
        }
        if fits(&table) {
            print_table(&mut table)
        } else {
            self.print_in_full()
        }
    }

    /// Prints the records as `print_fields` does, with an empty line between them.
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

/// Whether no line of a table is wider than the terminal. A terminal that does not know its width,
/// or says that it is 0, is wide enough.
fn fits(table: &Table) -> bool {
    let Some(width) = table.width().filter(|width| *width > 0) else {
        return true;
    };
    let columns = table.column_max_content_widths();
    let gaps = usize::from(GAP) * columns.len().saturating_sub(1);
    let needed = columns.into_iter().map(usize::from).sum::<usize>() + gaps;
    !io::stdout().is_terminal() || needed <= usize::from(width)
}

/// Whether standard output was closed when the program started. The standard library then puts the
/// null device in its place, open for reading too, so that nothing that is written reports an error.
/// A null device that a shell opened is for writing alone. Other programs open it like the standard
/// library, so this matters only where the output must not be lost.
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

/// A value on standard output as one line of JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string(value).map_err(io::Error::from)?;
    print_line(&visible_json(&json))
}

/// One record in full: a line for each of its fields.
pub(crate) fn print_fields(fields: &[(&str, String)]) -> Result<(), Failure> {
    print_table(&mut fields_table(fields))
}

/// One record in full on standard error, beside what is printed for a program.
pub(crate) fn note_fields(fields: &[(&str, String)]) {
    let _ = writeln!(io::stderr(), "{}", fields_table(fields).trim_fmt());
}

/// A line on standard output.
pub(crate) fn print_line(line: &str) -> Result<(), Failure> {
    print(format!("{line}\n").as_bytes())
}

/// Bytes on standard output. They are flushed, because what is flushed when the program ends fails
/// without a word.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

fn fields_table(fields: &[(&str, String)]) -> Table {
    let mut table = plain_table();
    for (name, value) in fields {
        table.add_row([*name, &*visible(value)]);
    }
    pad(&mut table);
    table
}

/// A table that breaks no line: an identifier that is cut into pieces cannot be copied.
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
