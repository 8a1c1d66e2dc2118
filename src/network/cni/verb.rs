//! The operations that plugins have.

use std::fmt;

/// The operations that a plugin is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Join a pod to the network.
    Add,
    /// Undo that; works without a namespace as well.
    Del,
    /// Is a pod still joined as it was (0.4.0)?
    Check,
    /// Forget all pods but these (1.1.0).
    Gc,
    /// Can pods be joined (1.1.0)?
    Status,
    /// Which versions are spoken?
    Version,
}

impl Verb {
    /// The name of the operation in `CNI_COMMAND`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Verb::Add => "ADD",
            Verb::Del => "DEL",
            Verb::Check => "CHECK",
            Verb::Gc => "GC",
            Verb::Status => "STATUS",
            Verb::Version => "VERSION",
        }
    }

    /// The name of a call among the steps of [`fault`].
    pub(super) fn step(self) -> &'static str {
        match self {
            Verb::Add => "cni.add",
            Verb::Del => "cni.del",
            Verb::Check => "cni.check",
            Verb::Gc => "cni.gc",
            Verb::Status => "cni.status",
            Verb::Version => "cni.version",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
