//! Records of several logs in the order of their times, as the containers have written them.

use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::Style;

use super::arguments::LogsArgs;
use super::line::{Line, Stream};
use super::logs_error::LogsError;
use super::source::Source;
use crate::out::Reader;

/// The prefix of each line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heads {
    Names,
    Nothing,
}

#[derive(Debug)]
pub(super) struct Printer {
    timestamps: bool,
    since: Option<i64>,
    only: Option<Stream>,
    /// Bytes that may still be shown.
    left: Option<u64>,
    heads: Heads,
    /// Whether a prefix has colours: on standard output and on standard error.
    colours: (bool, bool),
}

impl Printer {
    /// Makes a printer for the arguments.
    pub(super) fn new(args: &LogsArgs, heads: Heads) -> Self {
        Self {
            timestamps: args.timestamps,
            since: args.since,
            only: args.stream,
            left: args.limit_bytes,
            heads,
            colours: (
                AutoStream::choice(&io::stdout()) != ColorChoice::Never,
                AutoStream::choice(&io::stderr()) != ColorChoice::Never,
            ),
        }
    }

    /// Shows everything that is there now, the oldest first.
    pub(super) fn drain(&mut self, sources: &mut [Source]) -> Result<Reader, LogsError> {
        loop {
            for source in sources.iter_mut() {
                source.fill()?;
            }
            let times = sources.iter().enumerate();
            let times = times.filter_map(|(index, source)| Some((source.peek()?.nanos, index)));
            let Some((_, oldest)) = times.min() else {
                break;
            };
            let width = sources.iter().map(|source| source.name.len()).max();
            let source = &mut sources[oldest];
            let Some(line) = source.take() else { break };
            let too_old = self.since.is_some_and(|since| line.nanos < since);
            if too_old || self.only.is_some_and(|only| only != line.stream) {
                continue;
            }
            let name = (
                source.name.as_str(),
                source.style,
                width.unwrap_or_default(),
            );
            match self.print(&line, name) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Reader::Gone),
                Err(error) => return Err(LogsError::Write(error)),
            }
            if self.left == Some(0) {
                return Ok(Reader::Gone);
            }
        }
        let flushed = io::stdout().flush().and_then(|()| io::stderr().flush());
        match flushed {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
            result => result.map(|()| Reader::There).map_err(LogsError::Write),
        }
    }

    fn print(&mut self, line: &Line, name: (&str, Style, usize)) -> io::Result<()> {
        let mut text = Vec::new();
        if self.heads == Heads::Names {
            text.extend(self.prefix(line.stream, name).into_bytes());
        }
        if self.timestamps {
            text.extend_from_slice(&line.time);
            text.push(b' ');
        }
        text.extend_from_slice(&line.content);
        // What goes on is joined only where nothing stands in front of it.
        if !line.partial || self.timestamps || self.heads == Heads::Names {
            text.push(b'\n');
        }
        if let Some(left) = &mut self.left {
            text.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= text.len() as u64;
        }
        match line.stream {
            Stream::Stdout => io::stdout().write_all(&text),
            Stream::Stderr => io::stderr().write_all(&text),
        }
    }

    fn prefix(&self, stream: Stream, (name, style, width): (&str, Style, usize)) -> String {
        let coloured = match stream {
            Stream::Stdout => self.colours.0,
            Stream::Stderr => self.colours.1,
        };
        if coloured {
            format!("{style}{name:width$} |{style:#} ")
        } else {
            format!("{name:width$} | ")
        }
    }
}
