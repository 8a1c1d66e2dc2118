//! Failures that end the command with an exit code other than 0.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use super::exit::FailureKind;

/// The error of a verb. Each verb, or each group of verbs that do the same, has its own beside its code.
pub trait VerbError: Error + Send + Sync + 'static {
    /// Says which exit code the error leads to. An implementation names every variant, so that a new one is decided.
    fn kind(&self) -> FailureKind;
}

/// Why a command failed: the error of its verb, and what that means for the exit code.
#[derive(Debug)]
pub struct CliError {
    cause: Box<dyn Error + Send + Sync>,
    kind: FailureKind,
}

impl<E: VerbError> From<E> for CliError {
    fn from(error: E) -> Self {
        Self {
            kind: error.kind(),
            cause: Box::new(error),
        }
    }
}

impl CliError {
    /// The exit code that the command ends with.
    pub fn exit_code(&self) -> ExitCode {
        self.kind.exit_code()
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(out)
    }
}

impl Error for CliError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}
