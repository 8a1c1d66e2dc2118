//! Tables for people.

use comfy_table::{Table, presets};

use super::print::{PrintError, line};

/// A table without borders, under these headings.
pub(crate) fn new(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(headings);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// The lines of a table.
pub(crate) fn lines(table: &Table) -> Vec<String> {
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

/// A table as text, without the end of its last line.
pub(crate) fn text(table: &Table) -> String {
    lines(table).join("\n")
}

/// Prints a table on standard output.
pub(crate) fn print(table: &Table) -> Result<(), PrintError> {
    line(&text(table))
}
