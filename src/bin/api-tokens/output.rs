//! What a command prints: on standard output what was asked for, on standard error the rest.

use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::{
    failure::Failure,
    visible::{visible, visible_json},
};

/// Records of one kind, as a table for people or as JSON lines for programs.
pub(crate) struct Listing {
    json: bool,
    table: Table,
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
        let mut table = plain_table();
        table.set_header(T::COLUMNS);
        Self { json, table }
    }

    /// Adds a record: JSON is printed at once.
    pub(crate) fn add<T: Listed>(&mut self, record: &T) -> Result<(), Failure> {
        if self.json {
            return print_json(record);
        }
        let cells = record.cells();
        self.table.add_row(cells.iter().map(|cell| visible(cell)));
        Ok(())
    }

    /// Prints the table, or in place of an empty one what to do about it.
    pub(crate) fn end(mut self, empty: &str) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        if self.table.is_empty() {
            note(empty);
            return Ok(());
        }
        print_table(&mut self.table)
    }
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
    let mut table = fields_table(fields);
    arrange(&mut table, io::stderr().is_terminal());
    let _ = writeln!(io::stderr(), "{}", table.trim_fmt());
}

/// A line on standard output.
pub(crate) fn print_line(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Lines on standard error for the person; a closed one is nobody's loss.
pub(crate) fn note(text: &str) {
    let mut err = io::stderr().lock();
    for line in text.lines() {
        let _ = writeln!(err, "{}", visible(line));
    }
}

fn fields_table(fields: &[(&str, String)]) -> Table {
    let mut table = plain_table();
    for (name, value) in fields {
        table.add_row([*name, &*visible(value)]);
    }
    table
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

fn print_table(table: &mut Table) -> Result<(), Failure> {
    arrange(table, io::stdout().is_terminal());
    print_line(&table.trim_fmt())
}

/// Fits a table to the terminal; elsewhere no line is broken.
fn arrange(table: &mut Table, terminal: bool) {
    table.set_content_arrangement(if terminal {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    });
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
}
