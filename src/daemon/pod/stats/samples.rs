//! Keeps what later readings need from earlier ones: open files, and the figures that need two readings.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use holdfast_disk::TreeUsage;
use holdfast_kernel::cgroup::Cgroup;
use holdfast_kernel::id::{ContainerId, PodId};

/// Shortest time over which CPU use is averaged; asking more often repeats the last figure.
const CPU_WINDOW: Duration = Duration::from_millis(500);

/// Longest time over which CPU use is averaged: an average over hours would say nothing of now. Kubelets ask
/// every ten to fifteen seconds.
const CPU_WINDOW_MAX: Duration = Duration::from_secs(90);

/// Shortest time of the very first average, after which a caller looks again.
pub(super) const FIRST_WINDOW: Duration = Duration::from_millis(100);

/// How old the size of a writable layer may be. Measuring it walks the whole tree.
const LAYER_AGE: Duration = Duration::from_secs(10);

/// Whose sample it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    Pod(PodId),
    Container(ContainerId),
}

#[derive(Debug, Default)]
struct Sample {
    cgroup: Option<Arc<Cgroup>>,
    cpu: Cpu,
    layer: Option<(Instant, TreeUsage)>,
}

/// The last look at the CPU time, and the average that was made at it.
#[derive(Debug, Default, Clone, Copy)]
struct Cpu {
    seen: Option<(Instant, u64)>,
    nano_cores: Option<u64>,
}

impl Cpu {
    /// Takes a look; the average since the last one, when there is one that says something.
    fn update(&mut self, now: Instant, usage: u64) -> Option<u64> {
        let Some((then, before)) = self.seen else {
            self.seen = Some((now, usage));
            return None;
        };
        let elapsed = now.saturating_duration_since(then);
        if elapsed > CPU_WINDOW_MAX {
            *self = Self {
                seen: Some((now, usage)),
                nano_cores: None,
            };
            return None;
        }
        let window = match self.nano_cores {
            Some(_) => CPU_WINDOW,
            None => FIRST_WINDOW,
        };
        if elapsed >= window {
            let used = u128::from(usage.saturating_sub(before)) * 1_000_000_000;
            self.nano_cores = u64::try_from(used / elapsed.as_nanos().max(1)).ok();
            self.seen = Some((now, usage));
        }
        self.nano_cores
    }
}

/// The samples of all pods and containers.
#[derive(Debug, Default)]
pub(crate) struct Samples(Mutex<HashMap<Owner, Sample>>);

impl Samples {
    fn lock(&self) -> MutexGuard<'_, HashMap<Owner, Sample>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The container is gone.
    pub(crate) fn forget(&self, id: ContainerId) {
        self.lock().remove(&Owner::Container(id));
    }

    /// Nothing of the pod runs any more.
    pub(crate) fn forget_pod(&self, id: PodId) {
        self.lock().remove(&Owner::Pod(id));
    }

    /// Forgets what a reading has kept of things that were removed under it.
    pub(super) fn retain(&self, known: impl Fn(Owner) -> bool) {
        self.lock().retain(|owner, _| known(*owner));
    }

    /// CPU use in billionths of a core, averaged since an earlier look.
    pub(super) fn nano_cores(&self, owner: Owner, usage: u64) -> Option<u64> {
        let mut samples = self.lock();
        let sample = samples.entry(owner).or_default();
        sample.cpu.update(Instant::now(), usage)
    }

    /// The cgroup that was opened for an earlier reading.
    pub(super) fn cgroup(&self, owner: Owner) -> Option<Arc<Cgroup>> {
        self.lock().get(&owner)?.cgroup.clone()
    }

    /// Keeps a cgroup for later readings, or forgets one that is gone.
    pub(super) fn keep_cgroup(&self, owner: Owner, cgroup: Option<Arc<Cgroup>>) {
        self.lock().entry(owner).or_default().cgroup = cgroup;
    }

    /// The size of a container's layer, when it is not too old.
    pub(super) fn layer(&self, id: ContainerId) -> Option<TreeUsage> {
        let (when, usage) = self.lock().get(&Owner::Container(id))?.layer?;
        (when.elapsed() < LAYER_AGE).then_some(usage)
    }

    /// Keeps the size of a container's layer.
    pub(super) fn keep_layer(&self, id: ContainerId, usage: TreeUsage) {
        let mut samples = self.lock();
        samples.entry(Owner::Container(id)).or_default().layer = Some((Instant::now(), usage));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_use_is_averaged_over_windows_that_say_something() {
        let (mut cpu, start) = (Cpu::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(cpu.update(at(0), 1_000_000), None, "one look is no average");
        assert_eq!(cpu.update(at(50), 9_000_000), None, "too short");
        // 100 ms of CPU time in 200 ms are half a core.
        assert_eq!(cpu.update(at(200), 101_000_000), Some(500_000_000));
        assert_eq!(cpu.update(at(300), 999_000_000), Some(500_000_000));
        assert_eq!(cpu.update(at(1200), 1_101_000_000), Some(1_000_000_000));
        assert_eq!(cpu.update(at(200_000), 1_101_000_000), None, "hours ago");
        assert_eq!(cpu.update(at(200_100), 1_101_000_000), Some(0));
    }
}
