//! The colours of the command: the terminal's own sixteen, so that they fit every theme.

use anstyle::{AnsiColor, Style};

/// Headings and names that a reader looks for.
pub(crate) const STRONG: Style = Style::new().bold();
/// Text that is there for completeness.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// In order, running, the same.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Something that deserves a look.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
/// Something that failed or is missing.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();

/// Colours that tell things of one kind from each other: containers in a log, namespaces in a matrix.
pub(crate) const PALETTE: [Style; 6] = [
    AnsiColor::Cyan.on_default(),
    AnsiColor::Magenta.on_default(),
    AnsiColor::Green.on_default(),
    AnsiColor::Yellow.on_default(),
    AnsiColor::Blue.on_default(),
    AnsiColor::Red.on_default(),
];

/// A text in a style.
pub(crate) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}
