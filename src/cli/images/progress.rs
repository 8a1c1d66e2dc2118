//! Shows the progress of a pull on standard error: a bar on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal};
use std::time::Duration;

use cri_api::holdfast::v1 as api;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::out::{self, text};

/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(120);
/// Before the size is known.
const SPINNER: &str = "{spinner} {msg}";
/// The template once the size is known.
const BAR: &str = "[{bar:24}] {msg}";

/// The line of one pull.
#[derive(Debug)]
pub(super) struct Line {
    bar: ProgressBar,
    terminal: bool,
    image: String,
    /// The tenth that was said last.
    said: Option<u64>,
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; the test below reads each of them.
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

impl Line {
    /// Makes the progress of a pull that begins.
    pub(super) fn new(image: &str) -> Self {
        let terminal = io::stderr().is_terminal();
        let target = if terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(1), target).with_style(style(SPINNER));
        bar.set_message(format!("pulling {image}"));
        if terminal {
            bar.enable_steady_tick(TURN);
        }
        Self {
            bar,
            terminal,
            image: image.to_owned(),
            said: None,
        }
    }

    /// Shows how far it is.
    pub(super) fn show(&mut self, layers: &[api::LayerProgress]) {
        let total: u64 = layers.iter().map(|layer| layer.size).sum();
        let done: u64 = layers.iter().map(|layer| layer.done.min(layer.size)).sum();
        let come = layers.iter().filter(|layer| layer.done >= layer.size);
        if total == 0 {
            return;
        }
        let message = format!(
            "pulling {}: {} of {}, {} of {} layers",
            self.image,
            text::size(done),
            text::size(total),
            come.count(),
            layers.len()
        );
        if self.terminal {
            self.bar.set_style(style(BAR));
            self.bar.set_length(total);
            self.bar.set_position(done);
            self.bar.set_message(message);
            return;
        }
        let tenth = done.saturating_mul(10) / total;
        if self.said.is_none_or(|said| said < tenth) {
            self.said = Some(tenth);
            out::note(&message);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressStyle;

    #[test]
    fn templates_can_be_read() {
        for template in [super::BAR, super::SPINNER] {
            ProgressStyle::with_template(template).unwrap();
        }
    }
}
