//! Shows the start of a pod: spinners on a terminal, plain lines elsewhere.
//!
//! All of it goes to standard error; standard output has the pod's id and the logs only.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::keeper::{Index, News};
use super::report::{Names, sentence};
use crate::out;

/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(120);
/// A container on its way.
const SPINNER: &str = "{spinner} {prefix} {msg}";
/// A container that runs or has ended.
const ENDED: &str = "  {prefix} {msg}";

/// The lines of a pod that is being started.
#[derive(Debug)]
pub(super) struct Screen {
    bars: MultiProgress,
    terminal: bool,
    rows: BTreeMap<Index, ProgressBar>,
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; the test below reads each of them.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl Screen {
    /// A screen on standard error.
    pub(super) fn new() -> Self {
        let terminal = io::stderr().is_terminal();
        let target = if terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            bars: MultiProgress::with_draw_target(target),
            terminal,
            rows: BTreeMap::new(),
        }
    }

    /// Shows what happened with a container.
    pub(super) fn tell(&mut self, news: &News, names: &Names) {
        if !self.terminal {
            if let Some(sentence) = sentence(news, names) {
                out::note(&sentence.painted(names));
            }
            return;
        }
        if let News::Starting(index, _) = news {
            let row = self.row(*index, names);
            row.set_style(style(SPINNER));
            row.set_message("starts");
            row.enable_steady_tick(TURN);
        }
        let Some(sentence) = sentence(news, names) else {
            return;
        };
        match sentence.container {
            Some(index) => {
                let row = self.row(index, names);
                row.set_message(sentence.state());
                if matches!(news, News::Started(..) | News::Exited(..)) {
                    row.disable_steady_tick();
                    row.set_style(style(ENDED));
                    row.tick();
                }
            }
            None => self.print(|| out::note(&sentence.painted(names))),
        }
    }

    fn row(&mut self, index: Index, names: &Names) -> &ProgressBar {
        let bars = &self.bars;
        self.rows.entry(index).or_insert_with(|| {
            let name = format!("{:width$}", names.get(index), width = names.width());
            let row = ProgressBar::new_spinner().with_style(style(SPINNER));
            bars.add(row.with_prefix(name).with_message("starts"))
        })
    }

    /// Prints something between the lines.
    pub(super) fn print<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bars.suspend(print)
    }

    /// Leaves the lines as they are: what comes now is printed below, a line each.
    pub(super) fn end(&mut self) {
        for (_, row) in std::mem::take(&mut self.rows) {
            row.abandon();
        }
        // Nothing is drawn over what is printed from now on.
        self.bars = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        self.terminal = false;
    }
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressStyle;

    #[test]
    fn templates_can_be_read() {
        for template in [super::SPINNER, super::ENDED] {
            ProgressStyle::with_template(template).unwrap();
        }
    }
}
