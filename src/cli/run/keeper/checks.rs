//! Turns the results of a container's probes into a verdict.

use super::probe::{Passed, ProbeKind, Probes};

/// Where the probes of a running container stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checks {
    started: bool,
    ready: bool,
    streaks: [Streak; 3],
}

/// Equal results in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Streak {
    result: Passed,
    length: u32,
}

/// The change that a probe's result makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    /// The startup probe has passed: the others begin.
    StartupPassed,
    /// The container is ready now.
    Ready,
    /// The container is no longer ready.
    NotReady,
    /// The container is to be stopped.
    Unhealthy,
}

impl Checks {
    /// The checks of a container that has just started.
    pub(super) fn new(probes: &Probes) -> Self {
        let started = probes.startup.is_none();
        let none = Streak {
            result: Passed::No,
            length: 0,
        };
        Self {
            started,
            ready: started && probes.readiness.is_none(),
            streaks: [none; 3],
        }
    }

    /// Whether the startup probe, if any, has passed.
    pub(super) fn is_started(&self) -> bool {
        self.started
    }

    /// Whether this probe is due in turn: the startup probe until it has passed, the others from then on.
    pub(super) fn is_active(&self, kind: ProbeKind) -> bool {
        (kind == ProbeKind::Startup) != self.started
    }

    /// Counts a result of an active probe.
    pub(super) fn count(&mut self, probes: &Probes, kind: ProbeKind, passed: Passed) -> Verdict {
        let Some(probe) = probes.get(kind) else {
            return Verdict::Same;
        };
        let streak = &mut self.streaks[kind as usize];
        if streak.result == passed {
            streak.length = streak.length.saturating_add(1);
        } else {
            *streak = Streak {
                result: passed,
                length: 1,
            };
        }
        let counts = match passed {
            Passed::Yes => streak.length >= probe.successes,
            Passed::No => streak.length >= probe.failures,
        };
        match (counts, kind, passed) {
            (false, ..) | (true, ProbeKind::Liveness, Passed::Yes) => Verdict::Same,
            (true, ProbeKind::Startup, Passed::Yes) => {
                self.started = true;
                self.ready = probes.readiness.is_none();
                Verdict::StartupPassed
            }
            (true, ProbeKind::Startup | ProbeKind::Liveness, Passed::No) => Verdict::Unhealthy,
            (true, ProbeKind::Readiness, passed) => {
                let ready = passed == Passed::Yes;
                let verdict = match (self.ready, ready) {
                    (false, true) => Verdict::Ready,
                    (true, false) => Verdict::NotReady,
                    _ => Verdict::Same,
                };
                self.ready = ready;
                verdict
            }
        }
    }
}
