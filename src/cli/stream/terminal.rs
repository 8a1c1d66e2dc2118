//! The terminal of this program.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use holdfast_kernel::sys::tty;

/// A session with a terminal needs one at standard input.
#[derive(Debug, thiserror::Error)]
#[error(
    "standard input is not a terminal; leave out --tty, or the option that passes standard input on"
)]
pub(crate) struct NoTerminal;

/// Refuses a session that passes a terminal's input on when standard input is not a terminal.
pub(crate) fn require_terminal() -> Result<(), NoTerminal> {
    if io::stdin().is_terminal() {
        Ok(())
    } else {
        Err(NoTerminal)
    }
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
        if !io::stdin().is_terminal() {
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
