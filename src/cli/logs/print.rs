//! Records of several logs in the order of their times, as the containers have written them.

use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::Style;

use super::arguments::LogsArgs;
use super::line::{Line, Stream};
use super::logs_error::LogsError;
use super::source::Source;
use crate::out::Reader;

/// Bytes of lines that are written together.
const GATHERED_LIMIT: usize = 64 << 10;

/// The prefix of each line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heads {
    Names,
    Nothing,
}

/// Lines for standard output and standard error that are written together: a system call for each line would take most
/// of the time.
#[derive(Debug, Default)]
struct Outputs {
    gathered: Vec<u8>,
    /// Where the gathered lines go.
    stream: Option<Stream>,
}

impl Outputs {
    /// Adds text for a stream. What was gathered for the other one goes out first, so that a terminal shows both in the
    /// order of their times.
    fn write(&mut self, stream: Stream, text: &[u8]) -> io::Result<()> {
        if self.stream != Some(stream) || self.gathered.len() + text.len() > GATHERED_LIMIT {
            self.flush()?;
        }
        self.stream = Some(stream);
        self.gathered.extend_from_slice(text);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = match self.stream {
            Some(Stream::Stdout) => write_all(io::stdout(), &self.gathered),
            Some(Stream::Stderr) => write_all(io::stderr(), &self.gathered),
            None => Ok(()),
        };
        self.gathered.clear();
        written
    }
}

fn write_all(mut output: impl Write, text: &[u8]) -> io::Result<()> {
    output.write_all(text)?;
    output.flush()
}

/// Whether anybody reads on after a write.
fn reader_after(written: io::Result<()>) -> Result<Reader, LogsError> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        written => written.map(|()| Reader::There).map_err(LogsError::Write),
    }
}

/// The source whose next record is the oldest.
fn oldest(sources: &[Source]) -> Option<usize> {
    if let [only] = sources {
        return only.peek().map(|_| 0);
    }
    let times = sources.iter().enumerate();
    let times = times.filter_map(|(index, source)| Some((source.peek()?.nanos(), index)));
    times.min().map(|(_, index)| index)
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
    outputs: Outputs,
    /// The buffer in which a line is put together.
    text: Vec<u8>,
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
            outputs: Outputs::default(),
            text: Vec::new(),
        }
    }

    /// Shows everything that is there now, the oldest first.
    pub(super) fn drain(&mut self, sources: &mut [Source]) -> Result<Reader, LogsError> {
        loop {
            for source in sources.iter_mut() {
                source.fill()?;
            }
            let Some(oldest) = oldest(sources) else {
                break;
            };
            let width = sources.iter().map(|source| source.name.len()).max();
            let source = &mut sources[oldest];
            let Some(line) = source.take() else { break };
            let too_old = self.since.is_some_and(|since| line.nanos() < since);
            if too_old || self.only.is_some_and(|only| only != line.stream) {
                continue;
            }
            let name = (
                source.name.as_str(),
                source.style,
                width.unwrap_or_default(),
            );
            let mut written = self.print(&line, name);
            let is_full = self.left == Some(0);
            if is_full {
                written = written.and_then(|()| self.outputs.flush());
            }
            if reader_after(written)? == Reader::Gone || is_full {
                return Ok(Reader::Gone);
            }
        }
        reader_after(self.outputs.flush())
    }

    fn print(&mut self, line: &Line, name: (&str, Style, usize)) -> io::Result<()> {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        if self.heads == Heads::Names {
            text.extend(self.prefix(line.stream, name).into_bytes());
        }
        if self.timestamps {
            text.extend_from_slice(line.time());
            text.push(b' ');
        }
        text.extend_from_slice(line.content());
        // What goes on is joined only where nothing stands in front of it.
        if !line.partial || self.timestamps || self.heads == Heads::Names {
            text.push(b'\n');
        }
        if let Some(left) = &mut self.left {
            text.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= text.len() as u64;
        }
        let written = self.outputs.write(line.stream, &text);
        self.text = text;
        written
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
