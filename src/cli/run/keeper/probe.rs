//! The probes of a container, and the result of one.

use std::time::Duration;

/// The three kinds of probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbeKind {
    /// Has to pass once before the others begin.
    Startup,
    /// Says whether the container can do its work.
    Readiness,
    /// A container that fails it is stopped, and restarted by its policy.
    Liveness,
}

impl ProbeKind {
    pub(crate) const ALL: [Self; 3] = [Self::Startup, Self::Readiness, Self::Liveness];
}

/// Pace and thresholds of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probe {
    /// Wait before the first one: after the start, or after the startup probe has passed.
    pub delay: Duration,
    /// Wait between one probe and the next.
    pub period: Duration,
    /// So many failures in a row count.
    pub failures: u32,
    /// So many successes in a row count.
    pub successes: u32,
}

/// The probes of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Probes {
    pub startup: Option<Probe>,
    pub readiness: Option<Probe>,
    pub liveness: Option<Probe>,
}

impl Probes {
    /// Returns the probe of a kind, if the container has one.
    pub(crate) fn get(&self, kind: ProbeKind) -> Option<&Probe> {
        match kind {
            ProbeKind::Startup => self.startup.as_ref(),
            ProbeKind::Readiness => self.readiness.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
        }
    }
}

/// Result of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passed {
    Yes,
    /// The probe failed or took too long.
    No,
}
