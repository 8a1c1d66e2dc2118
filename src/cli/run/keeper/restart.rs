//! When an ended container is started again, and how long is waited before.

use std::time::Duration;

use super::exit::Exit;

/// The first wait. The restart after the first exit comes at once.
const FIRST_BACKOFF: Duration = Duration::from_secs(10);
const MAX_BACKOFF: Duration = Duration::from_secs(300);
/// A container that ran so long begins anew.
const SETTLED: Duration = Duration::from_secs(600);

/// When a container is started again: `restartPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restart {
    /// Restart a container however it ended.
    Always,
    /// When its exit code is not 0.
    OnFailure,
    /// Restart nothing, whatever happens.
    Never,
}

impl Restart {
    /// Whether a container that ended so is started again.
    pub(super) fn wants(self, exit: &Exit) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => exit.code != 0,
            Self::Never => false,
        }
    }
}

/// Counts the restarts of a container: 0 s, 10 s, 20 s, … 5 min, as the kubelet's back-off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Backoff(u32);

impl Backoff {
    /// The count of a container that was found at this attempt.
    pub(super) fn at(attempt: u32) -> Self {
        Self(attempt)
    }

    /// How long to wait after an exit.
    pub(super) fn after(&mut self, exit: &Exit) -> Duration {
        if exit.ran >= SETTLED {
            self.0 = 0;
        }
        self.next()
    }

    /// How long to wait after a start that failed: never tried again at once.
    pub(super) fn after_failed_start(&mut self) -> Duration {
        self.0 = self.0.max(1);
        self.next()
    }

    fn next(&mut self) -> Duration {
        let count = self.0;
        self.0 = count.saturating_add(1);
        match count {
            0 => Duration::ZERO,
            // Ten doublings are far beyond the longest.
            _ => (FIRST_BACKOFF * 2_u32.pow((count - 1).min(10))).min(MAX_BACKOFF),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, Exit, Restart};
    use std::time::Duration;

    fn exit(code: i32, ran: u64) -> Exit {
        Exit {
            code,
            reason: String::new(),
            ran: Duration::from_secs(ran),
        }
    }

    #[test]
    fn waits_double_up_to_five_minutes_and_begin_anew_after_ten() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..8)
            .map(|_| backoff.after(&exit(1, 599)).as_secs())
            .collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff.after(&exit(1, 600)).as_secs(), 0);
        assert_eq!(Backoff::default().after_failed_start().as_secs(), 10);
        assert_eq!(Backoff::at(2).after(&exit(1, 0)).as_secs(), 20);
        assert_eq!(Backoff(u32::MAX).after(&exit(1, 0)).as_secs(), 300);
    }

    #[test]
    fn policies() {
        for (policy, good, bad) in [
            (Restart::Always, true, true),
            (Restart::OnFailure, false, true),
            (Restart::Never, false, false),
        ] {
            assert_eq!(policy.wants(&exit(0, 1)), good, "{policy:?}");
            assert_eq!(policy.wants(&exit(3, 1)), bad, "{policy:?}");
        }
    }
}
