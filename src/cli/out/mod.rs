//! What the command prints: for people in tables and colours, for programs as JSON or YAML.
//!
//! Colours are written always and taken out on the way when standard output is no terminal or `NO_COLOR` is set
//! (<https://no-color.org>). What this module must never do: print anything that was not asked for to standard
//! output, where another program may read.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::CliError;

pub(super) mod style;
pub(super) mod table;
pub(super) mod text;
pub(super) mod time;

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON document; docs/json.md describes each.
    Json,
    /// The same document as YAML.
    Yaml,
}

/// The option for it.
#[derive(Debug, Clone, Copy, Args)]
pub struct FormatArgs {
    /// How to print the result.
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: Format,
}

/// Prints a result: `people` for people, otherwise the document.
pub(super) fn print<T: Serialize>(
    format: Format,
    document: &T,
    people: impl FnOnce(&T) -> Result<(), CliError>,
) -> Result<(), CliError> {
    match format {
        Format::Table => people(document),
        Format::Json => line(&serde_json::to_string_pretty(document).map_err(CliError::Json)?),
        Format::Yaml => {
            let text = serde_yaml_ng::to_string(document).map_err(CliError::Yaml)?;
            line(text.trim_end())
        }
    }
}

/// Whether anybody is left to read standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// It may go on.
    There,
    /// The other end of the pipe is closed: what goes on for ever ends here.
    Gone,
}

/// Prints one of many results: JSON in a line of its own, YAML as a document of its own.
pub(super) fn each<T: Serialize>(
    format: Format,
    document: &T,
    people: impl FnOnce(&T) -> String,
) -> Result<Reader, CliError> {
    match format {
        Format::Table => tell(&people(document)),
        Format::Json => tell(&serde_json::to_string(document).map_err(CliError::Json)?),
        Format::Yaml => {
            let text = serde_yaml_ng::to_string(document).map_err(CliError::Yaml)?;
            tell(&format!("---\n{}", text.trim_end()))
        }
    }
}

/// Prints a line. A reader that has gone is no error: `holdfast ps | head -1`.
pub(super) fn line(text: &str) -> Result<(), CliError> {
    tell(text).map(drop)
}

/// Prints a line and says whether anybody reads on.
pub(super) fn tell(text: &str) -> Result<Reader, CliError> {
    match writeln!(anstream::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        result => result
            .map(|()| Reader::There)
            .map_err(CliError::io("write to standard output")),
    }
}

/// Prints a line to standard error: what goes on, for the person who waits.
pub(super) fn note(text: &str) {
    // Nobody is left to be told when standard error is gone.
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Prints lines.
pub(super) fn lines<'a>(texts: impl Iterator<Item = &'a str>) -> Result<(), CliError> {
    for text in texts {
        if tell(text)? == Reader::Gone {
            break;
        }
    }
    Ok(())
}
