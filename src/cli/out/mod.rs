//! The output of the command: tables and colours for people, JSON or YAML for programs.
//!
//! Colours are written always and taken out on the way when standard output is no terminal or `NO_COLOR` is set
//! (<https://no-color.org>). What this module must never do: print anything that was not asked for to standard
//! output, where another program may read.

mod print;
pub(super) mod style;
pub(super) mod table;
pub(super) mod text;
pub(super) mod time;

pub(super) use print::{
    Format, FormatArgs, PrintError, Reader, each, line, lines, note, print, print_line,
};
