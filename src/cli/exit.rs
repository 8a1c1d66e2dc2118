//! The exit codes of the command.

use std::process::ExitCode;

/// Exit code of `exec` when the command could not be run in the container.
pub(crate) const NOT_RUN: u8 = 125;

/// The kind of failure that ended the command; each kind has an exit code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The operation failed, or the daemon refused it.
    Failed,
    /// The command line or the manifest cannot be used.
    Usage,
    /// The daemon cannot be reached.
    Unreachable,
}

impl FailureKind {
    /// The exit code of such a failure; clap also ends with 2 for wrong usage.
    pub(crate) fn exit_code(self) -> ExitCode {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
        }
        .into()
    }
}

/// Passes on the exit code of a command that ran in a container.
pub(crate) fn code_of(code: i32) -> ExitCode {
    u8::try_from(code).unwrap_or(u8::MAX).into()
}
