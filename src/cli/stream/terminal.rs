//! The terminal of this program.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use holdfast_kernel::sys::tty;

/// Whether standard input is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Rows and columns of the terminal, when there is one.
pub(crate) fn size() -> Option<(u16, u16)> {
    let out = tty::size(io::stdout().as_fd());
    let size = out.or_else(|_| tty::size(io::stdin().as_fd())).ok()?;
    (size.0 > 0 && size.1 > 0).then_some(size)
}

/// A terminal at standard input that passes every key on, until this is dropped.
#[derive(Debug)]
pub(super) struct Raw(Termios);

impl Raw {
    /// Makes it raw. None when standard input is no terminal.
    pub(super) fn enter() -> io::Result<Option<Self>> {
        if !stdin_is_terminal() {
            return Ok(None);
        }
        let saved = tcgetattr(io::stdin())?;
        let mut raw = saved.clone();
        cfmakeraw(&mut raw);
        // What was typed before is for the command, so it is not thrown away.
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &raw)?;
        Ok(Some(Self(saved)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that has hung up has no settings to restore.
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.0);
    }
}
