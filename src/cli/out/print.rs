//! Printing results and notes: the formats, and what becomes of a reader that has gone.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::exit::FailureKind;
use crate::failure::VerbError;

/// The formats of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people to read.
    Table,
    /// JSON, as docs/json.md describes it.
    Json,
    /// The same as YAML.
    Yaml,
}

/// The option that selects the format.
#[derive(Debug, Clone, Copy, Args)]
pub struct FormatArgs {
    /// Format of the output.
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: Format,
}

/// Why a result cannot be printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrintError {
    /// Standard output takes nothing.
    #[error("cannot write to standard output")]
    Write(#[source] io::Error),
    /// A result has no JSON form, which cannot happen with what is printed here.
    #[error("cannot write the result as JSON")]
    Json(#[source] serde_json::Error),
    /// A result has no YAML form, which cannot happen either.
    #[error("cannot write the result as YAML")]
    Yaml(#[source] serde_yaml_ng::Error),
}

impl VerbError for PrintError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Write(_) | Self::Json(_) | Self::Yaml(_) => FailureKind::Failed,
        }
    }
}

/// Prints a result: `people` for people, otherwise the document.
pub(crate) fn print<T: Serialize>(
    format: Format,
    document: &T,
    people: impl FnOnce(&T) -> Result<(), PrintError>,
) -> Result<(), PrintError> {
    match format {
        Format::Table => people(document),
        Format::Json => line(&serde_json::to_string_pretty(document).map_err(PrintError::Json)?),
        Format::Yaml => {
            let text = serde_yaml_ng::to_string(document).map_err(PrintError::Yaml)?;
            line(text.trim_end())
        }
    }
}

/// Whether anybody is left to read standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    There,
    /// The other end of the pipe is closed, so a verb that would go on for ever ends.
    Gone,
}

/// Prints one of many results: JSON in a line of its own, YAML as a document of its own.
pub(crate) fn each<T: Serialize>(
    format: Format,
    document: &T,
    people: impl FnOnce(&T) -> String,
) -> Result<Reader, PrintError> {
    match format {
        Format::Table => print_line(&people(document)),
        Format::Json => print_line(&serde_json::to_string(document).map_err(PrintError::Json)?),
        Format::Yaml => {
            let text = serde_yaml_ng::to_string(document).map_err(PrintError::Yaml)?;
            print_line(&format!("---\n{}", text.trim_end()))
        }
    }
}

/// Prints a line. A reader that has gone is no error: `holdfast ps | head -1`.
pub(crate) fn line(text: &str) -> Result<(), PrintError> {
    print_line(text).map(drop)
}

/// Prints a line and says whether anybody reads on.
pub(crate) fn print_line(text: &str) -> Result<Reader, PrintError> {
    match writeln!(anstream::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        result => result.map(|()| Reader::There).map_err(PrintError::Write),
    }
}

/// Prints a line to standard error: what goes on, for the person who waits.
pub(crate) fn note(text: &str) {
    // Nobody is left to be told when standard error is gone.
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Prints lines until the reader has gone.
pub(crate) fn lines<'a>(texts: impl Iterator<Item = &'a str>) -> Result<(), PrintError> {
    for text in texts {
        if print_line(text)? == Reader::Gone {
            break;
        }
    }
    Ok(())
}
